"""A pytest plugin that tries changes of the package: each in a process of its own, forked when all tests are loaded.

A change is noticed when one of the tests that run its lines fails. `mutation` runs it.
"""

import ast
import contextlib
import gc
import hashlib
import json
import math
import os
import pickle
import select
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType, FunctionType

import pytest

from tests.proof.mutation_code import Loading, load_anew, renew, run_by_loading
from tests.proof.mutation_reach import Choice, Reached, Uses, traced
from tests.proof.mutation_sites import Site, apply, sites

ROOT = Path(__file__).parents[2]
PACKAGE = "dcu/relay"
SLOW_S = 1.0
"""A test that takes more of a processor, traced, judges nobody: what it alone would notice counts as unnoticed."""

PATIENCE_S = 30.0
"""So much of a processor, traced, the tests of one change may take together: what is left of them judges it not."""

MEASURED_S = 120.0
LIKELY = 20
WORKERS = 2
ANEW = ("-x", "-q", "-s", "-p", "no:cacheprovider", "-p", "no:unraisableexception", "-o", "timeout=0")
"""What is left open by the process that forked is none of these tests' business."""

PASSED = {pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED}
"""The latter where a change gave the tests other names: they judge it not."""

ASLEEP_S = 300.0
"""A process whose every thread has slept for so long does not end."""

KILLED, STUCK, SURVIVED = 10, 11, 12


def pytest_addoption(parser) -> None:
    """Which modules, which of their changes, and where to write what was found."""
    parser.addoption("--mutate", action="append", default=[], help="a module of the package, from the root")
    parser.addoption("--change", action="append", type=int, default=[], help="only the changes of these numbers")
    parser.addoption("--found", help="a file for what became of each")


def pytest_runtestloop(session) -> bool | None:
    """Instead of running the tests."""
    if not session.config.option.mutate:
        return None
    Trials(session).run()
    return True


class Failures:
    """Hears of the first test that failed; ends the process in a test that uses up its share of a processor."""

    def __init__(self, limits_s: Mapping[str, float], order: Iterable[str] = ()) -> None:
        self.of, self._limits_s, self._order = "", limits_s, list(order)
        signal.signal(signal.SIGPROF, lambda _signal, _frame: os._exit(STUCK))

    def pytest_runtest_setup(self, item) -> None:
        """Time of a processor, which no load of the machine lengthens."""
        signal.setitimer(signal.ITIMER_PROF, self._limits_s.get(item.nodeid, MEASURED_S))

    def pytest_runtest_logreport(self, report) -> None:
        """As pytest tells it."""
        if report.failed and not self.of:
            self.of = report.nodeid

    def pytest_collectreport(self, report) -> None:
        """A file of tests that cannot be loaded."""
        self.pytest_runtest_logreport(report)

    def pytest_collection_modifyitems(self, items) -> None:
        """Only those that can notice, in their order; of tests that are loaded anew."""
        if self._order:
            known = {item.nodeid: item for item in items}
            items[:] = [known[name] for name in self._order if name in known]


@dataclass(frozen=True)
class Module:
    """One that is changed: its tree, its code as it is, and its functions that live."""

    path: str
    tree: ast.Module
    code: CodeType
    living: list[FunctionType]


class Trials:
    """All changes of some modules, tried by the tests that were collected."""

    def __init__(self, session) -> None:
        self._option, self._cache = session.config.option, session.config.cache
        self._items = {item.nodeid: item for item in session.items}
        self._limits_s: dict[str, float] = {}
        self._failures = Failures(self._limits_s)
        session.config.pluginmanager.register(self._failures)
        files = sorted(str(path.relative_to(ROOT)) for path in (ROOT / PACKAGE).rglob("*.py"))
        self._sources = {file: (ROOT / file).read_text() for file in files}
        self._package = hashlib.sha256("".join(self._sources.values()).encode()).hexdigest()
        self._trees = {file: ast.parse(source) for file, source in self._sources.items()}
        self._killers: dict[tuple[str, str], list[str]] = defaultdict(list)
        self._known: dict[str, str] = self._cache.get("mutation/known", {})  # by what a change was noticed last time

    def run(self) -> None:
        """Measure, try, write down."""
        reached = self._measured()
        self._limits_s |= {test: 2 + 10 * found.seconds for test, found in reached.items()}
        print(f"{len(reached)} tests; left out {self._left_out}", flush=True)
        self._loading = self._run_by_loading()
        self._choice = Choice(reached, Uses(self._trees), ROOT)
        tried: list[dict] = []
        for file in self._option.mutate:
            tried += self._tried(file, outside=False)
            self._cache.set("mutation/known", self._known)
        self._show_that_nothing_is_noticed(list(reached))
        for file in self._option.mutate:
            tried += self._tried(file, outside=True)
            self._cache.set("mutation/known", self._known)
        Path(self._option.found).write_text(
            json.dumps({"tests": len(reached), "left_out": self._left_out, "sites": tried})
        )

    def _run_by_loading(self) -> Loading:
        modules = [file.removesuffix(".py").removesuffix("/__init__").replace("/", ".") for file in self._sources]
        for _, (code, said) in forked([lambda: (0, pickle.dumps(run_by_loading(modules)))]):
            assert code == 0, f"before anything was changed: {said.decode()}"
            return pickle.loads(said)
        raise AssertionError("nothing was forked")

    # ---- what each test runs ----------------------------------------------------------------------------------------

    def _measured(self) -> dict[str, Reached]:
        """Kept until the package changes, or the file of a test."""
        kept = self._cache.get("mutation/reached", {})
        digests = {file: self._state(file) for file in {name.split("::")[0] for name in self._items}}
        state = {name: digests[name.split("::")[0]] for name in self._items}
        new = [name for name in self._items if kept.get(name, [""])[0] != state[name]]
        shares = [new[n::WORKERS] for n in range(WORKERS)]
        works = ((lambda share=share: (0, pickle.dumps([self._reach(name) for name in share]))) for share in shares)
        for n, (code, said) in forked(works):
            assert code == 0, f"before anything was changed: {said.decode()}"
            for name, found in zip(shares[n], pickle.loads(said), strict=True):
                kept[name] = [state[name], found.seconds, {file: sorted(lines) for file, lines in found.lines.items()}]
        self._cache.set("mutation/reached", kept)
        found = {name: Reached(*kept[name][1:]) for name in self._items}
        self._left_out = [name for name, reached in found.items() if reached.seconds > SLOW_S]
        return {name: reached for name, reached in found.items() if reached.seconds <= SLOW_S}

    def _state(self, file: str = "") -> str:
        text = (ROOT / file).read_text() if file else ""
        return hashlib.sha256((self._package + text).encode()).hexdigest()

    def _reach(self, name: str) -> Reached:
        reached = traced(lambda: self._noticed([name]), f"{ROOT / PACKAGE}/")
        failed, self._failures.of = self._failures.of, ""
        if failed:  # it cannot judge: too slow when it is traced, or not green to begin with
            return Reached(math.inf, {})
        lines = {str(Path(file).relative_to(ROOT)): found for file, found in reached.lines.items()}
        return Reached(reached.seconds, lines)

    def _noticed(self, names: Iterable[str]) -> str:
        """The first of these tests that fails; empty: none does."""
        items = [self._items[name] for name in names]
        for item, after in zip(items, [*items[1:], None], strict=False):
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=after)
            if self._failures.of:
                break
        return self._failures.of

    def _show_that_nothing_is_noticed(self, tests: list[str]) -> None:
        """Modules that are loaded anew and are what they were please every test."""
        path, state = str(ROOT / self._option.mutate[0]), self._state()
        if self._cache.get("mutation/anew", "") == state:
            return
        code = compile(Path(path).read_text(), path, "exec", dont_inherit=True)

        def unchanged() -> tuple[int, bytes]:
            load_anew(path, code)
            return SURVIVED, self._noticed_anew(tests).of.encode()

        for _, (code, said) in forked([unchanged]):
            assert (code, said) == (SURVIVED, b""), f"noticed, and nothing was changed: {said.decode()}"
        self._cache.set("mutation/anew", state)

    # ---- one change after the other ---------------------------------------------------------------------------------

    def _tried(self, file: str, *, outside: bool) -> Iterator[dict]:
        """The quick ones first: those within functions."""
        path, tree = str(ROOT / file), self._trees[file]
        every = sites(file, self._sources[file], tree)
        wanted = [every[n] for n in self._option.change] or every
        wanted = [site for site in wanted if bool(site.names) is outside]
        print(f"{file}: {len(wanted)} {'outside of' if outside else 'within'} functions", flush=True)
        living = [each for each in gc.get_objects() if type(each) is FunctionType and each.__code__.co_filename == path]
        code = compile(ast.parse(self._sources[file]), path, "exec", dont_inherit=True)
        module = Module(path, tree, code, living)
        chosen: list[list[str]] = []

        def works() -> Iterator[Callable[[], tuple[int, bytes]]]:
            for site in wanted:
                tests = self._choice.tests(site, self._likely(site), PATIENCE_S)
                chosen.append(tests)
                yield lambda site=site, tests=tests: self._trial(site, tests, module)

        gc.freeze()
        for n, (code, said) in forked(works()):
            yield self._told(wanted[n], chosen[n], code, said.decode())

    def _likely(self, site: Site) -> list[str]:
        """Tests that noticed it the last time, or another change of the same function; the likely ones first."""
        known = self._known.get(str(site.key), "")
        killers = [each for each in self._killers[site.file, site.where] if each != known]
        return [known, *killers] if known in self._items else killers

    def _trial(self, site: Site, tests: list[str], module: Module) -> tuple[int, bytes]:
        """In a process of its own."""
        apply(site, module.tree)
        new = compile(module.tree, module.path, "exec", dont_inherit=True)
        if renew(module.code, new, module.living, self._loading):
            self._noticed(tests)
            failures = self._failures
        else:
            load_anew(module.path, new)
            failures = self._noticed_anew(tests)
        return (KILLED if failures.of else SURVIVED), failures.of.encode()

    def _noticed_anew(self, tests: list[str]) -> Failures:
        """The same, by tests that are loaded once more beside the changed module; the likely ones first."""
        failures = Failures(self._limits_s)
        for some in (tests[:1], tests[1:LIKELY], tests[LIKELY:]):
            if some and not failures.of:
                failures = Failures(self._limits_s, some)
                files = sorted({test.split("::")[0] for test in some})
                code = pytest.main([*ANEW, *files], [failures])
                if code == pytest.ExitCode.USAGE_ERROR and not failures.of:
                    failures.of = f"{files[0]}: its conftest"  # cannot be loaded, as unchanged it could
                assert failures.of or code in PASSED, f"pytest ended with {code}"
        return failures

    def _told(self, site: Site, tests: list[str], code: int, said: str) -> dict:
        killers = self._killers[site.file, site.where]
        if code == KILLED and said in self._items:
            self._known[str(site.key)] = said
            if said not in killers:
                killers.insert(0, said)
        fate = "killed" if code == KILLED else "stuck" if code == STUCK or code < 0 else "survived"
        if fate != "killed":
            seconds = self._choice.seconds(tests)
            print(f"{fate}: {site} | {site.line} | {len(tests)} tests, {seconds:.0f} s {said}", flush=True)
        kept = {name: getattr(site, name) for name in ("file", "where", "line", "change", "number")}
        return kept | {"fate": fate, "by": said, "tests": len(tests)}


# ---- processes ------------------------------------------------------------------------------------------------------


def forked(works: Iterable[Callable[[], tuple[int, bytes]]]) -> Iterator[tuple[int, tuple[int, bytes]]]:
    """Do each of `works` in a process of its own, `WORKERS` at a time: its number, its exit code, what it said.

    One that sleeps for ever is killed; its code is then minus the number of the signal.
    """
    sys.stdout.flush()
    scratch = Path(tempfile.mkdtemp(prefix="mutation-"))
    running: dict[int, _Running] = {}
    try:
        for n, work in enumerate(works):
            place = scratch / str(n)
            place.mkdir()
            pid = _fork(work, place)
            running[pid] = _Running(n, place, os.pidfd_open(pid))
            while len(running) == WORKERS:
                yield _ended(running)
        while running:
            yield _ended(running)
    finally:
        for pid in running:
            os.killpg(pid, signal.SIGKILL)
        shutil.rmtree(scratch, ignore_errors=True)


@dataclass
class _Running:
    number: int
    place: Path
    end: int  # a descriptor that can be read when the process has ended
    awake_s: float = field(default_factory=time.monotonic)

    def sleeps_for_ever(self, pid: int) -> bool:
        """Whether none of its threads has been seen at work for long."""
        with contextlib.suppress(OSError):  # a thread that ends meanwhile was awake
            tasks = Path(f"/proc/{pid}/task").glob("*/stat")
            if all(stat.read_text().rpartition(")")[2].split()[0] == "S" for stat in tasks):
                return time.monotonic() - self.awake_s > ASLEEP_S
        self.awake_s = time.monotonic()
        return False


def _fork(work: Callable[[], tuple[int, bytes]], place: Path) -> int:
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        os.setpgid(0, 0)
        os.environ["PYTEST_DEBUG_TEMPROOT"] = str(place)
        nothing = os.open(os.devnull, os.O_RDWR)
        for there in (0, 1, 2):
            os.dup2(nothing, there)
        code, said = work()
        (place / "said").write_bytes(said)
    except BaseException:  # whatever a change does, this process ends here
        (place / "said").write_text(traceback.format_exc()[-500:])
    finally:
        os._exit(code)


def _ended(running: dict[int, _Running]) -> tuple[int, tuple[int, bytes]]:
    """Wait for one that ends; kill what sleeps for ever."""
    ends = {each.end: pid for pid, each in running.items()}
    while not (ready := select.select(list(ends), [], [], 1.0)[0]):
        for pid, each in running.items():
            if each.sleeps_for_ever(pid):
                os.killpg(pid, signal.SIGKILL)
    pid = ends[ready[0]]
    ended = running.pop(pid)
    os.close(ended.end)
    _, status = os.waitpid(pid, 0)
    said = ended.place / "said"
    told = said.read_bytes() if said.exists() else b""
    _swept(pid, ended.place)
    return ended.number, (os.waitstatus_to_exitcode(status), told)


def _swept(pid: int, place: Path) -> None:
    """Nothing is left of it."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)
    shutil.rmtree(place, ignore_errors=True)
