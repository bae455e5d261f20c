"""Rows that need the whole field process: its disk, its files, its memory, a loop that hangs."""

import os
import signal
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from functools import reduce
from operator import add
from pathlib import Path
from statistics import median

from dcu.demo.proof import Completeness
from tests.faults import whole
from tests.faults.report import Line
from tests.faults.run import Run
from tests.faults.whole import Watchdog, WholeBox, mounted, whole_box

AT_REST = 0.25
"""Part of a processor that a box may take while it waits for its card; a loop that spins takes all of one."""

START_S = 2.0
"""A start that fails takes longer, with the pause before it: who starts more often spins."""

ENOUGH_MB = 160
"""Of data: with so much the box has to live."""


def _lines(seconds: float) -> float:
    """Of log that a lasting fault may cost: what is said at its begin, and then one in three seconds."""
    return 10 + seconds / 3


def line_of(
    row: int, fault: str, injection: str, tried: str, proof: Completeness, recovery: str, *, good: bool
) -> Line:
    """A line about a box, of what its store held against what its meters captured."""
    lost, doubled = len(proof.missing) + len(proof.different), len(proof.twice) + len(proof.invented)
    tried = f"{tried}; {proof.expected} intervals captured"
    return Line(row, fault, injection, tried, lost, doubled, recovery, good and proof.holds)


def killed(run: Run) -> list[Line]:
    """Row 2 with all of field in it: as systemd starts it, and forked, which lets it be killed far more often."""
    return [
        _killed(run, "kill -9 of a whole field process", 60, 1),
        _killed(run, "kill -9 of a whole field process, forked with all imports done", 1000, 4),
    ]


def _killed(run: Run, fault: str, kills: int, boxes: int) -> Line:
    """So many kills, of some boxes side by side; of several boxes each is forked."""

    def one(number: int) -> tuple[int, Completeness, list[float]]:
        directory = run.scratch / f"killed-{boxes}-{number}"
        directory.mkdir()
        box, proof, back = whole.kills(directory, kills // boxes, f"{run.seed}/{number}", forked=boxes > 1)
        return box.starts, proof, back

    with ThreadPoolExecutor(boxes) as pool:
        found = list(pool.map(one, range(boxes)))
    back = [seconds for *_, each in found for seconds in each]
    recovery = f"answers again: median {median(back):.1f} s, worst {max(back):.1f} s"
    injection = f"SIGKILL at 0.1 to 2.5 s of its life{f', {boxes} boxes at once' if boxes > 1 else ''}"
    tried, proof = f"{sum(starts - 1 for starts, *_ in found)} kills", _all([each for _, each, _ in found])
    return line_of(2, fault, injection, tried, proof, recovery, good=True)


def _all(proofs: list[Completeness]) -> Completeness:
    """Of several boxes."""
    return Completeness(*(reduce(add, (getattr(each, name) for each in proofs)) for name in Completeness.__slots__))


def disk_full(run: Run) -> list[Line]:
    """Somebody fills the file system to the last octet: once, and again each time that there is room."""
    return [_filled(run, again=False), _filled(run, again=True)]


def _filled(run: Run, *, again: bool) -> Line:
    seconds, directory = run.of(5, 40), run.scratch / f"again-{again}"
    directory.mkdir()
    with mounted(directory / "state", 40), whole_box(directory) as box:
        box.start()
        box.until_held(1)
        filler = directory / "state" / "filler"
        _fill(filler)
        before, began, lines = box.starts, time.monotonic(), len(box.log.splitlines())
        while time.monotonic() - began < seconds:
            time.sleep(0.5)
            if again:
                _fill(filler)
        answers = box.ask("status") is not None
        restarts, said = box.starts - before, len(box.log.splitlines()) - lines
        filler.unlink()
        took = box.until_held(2)
        box.stop()
        proof, (shed, holes) = box.proof(), box.announced()
    recovery = (
        f"{restarts} restarts and {said} lines of log in {seconds} s, "
        f"field.sock {'answers' if answers else 'silent'}; stores two more intervals of each meter {took:.0f} s after "
        f"room is made, by itself; {shed} records shed and announced, {len(proof.missing)} intervals with them"
    )
    fault = "disk full, and what is freed is taken at once" if again else "disk full"
    injection = "tmpfs of 40 MB, filled to the last octet"
    lost = holes if shed else holes + len(proof.missing)
    doubled = len(proof.twice) + len(proof.invented)
    good = not (lost or doubled or proof.different) and answers and not restarts and said <= _lines(seconds)
    return Line(5, fault, injection, f"{seconds} s; {proof.expected} intervals captured", lost, doubled, recovery, good)


def _fill(path: Path) -> None:
    """Take all that is free, down to single pages."""
    with path.open("ab", buffering=0) as file:
        for size in (1 << 20, 1 << 16, 1 << 12):
            with suppress(OSError):
                while True:
                    file.write(bytes(size))


@contextmanager
def loop_mounted(place: Path, image: Path, megabytes: int) -> Iterator[None]:
    """An ext4 of its own on a loop device. Raises OSError where nothing may be mounted."""
    place.mkdir(parents=True, exist_ok=True)
    with image.open("wb") as file:
        file.truncate(megabytes << 20)
    _tool("mkfs.ext4", "-q", "-F", str(image))
    _tool("mount", "-o", "loop", str(image), str(place))
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(place)], check=False, capture_output=True)


def _tool(*words: str, ok: tuple[int, ...] = (0,)) -> None:
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode not in ok:
        raise OSError(f"{' '.join(words)}: {done.stderr.strip()}")


def read_only(run: Run) -> list[Line]:
    """ext4 gives up (as it does on an error of the card) and is read-only; later somebody repairs and mounts it."""
    seconds, state, image = run.of(4, 30), run.scratch / "state", run.scratch / "card.img"
    with loop_mounted(state, image, 24), whole_box(run.scratch) as box:
        box.start()
        box.until_held(1)
        subprocess.run(["mount", "-o", "remount,abort", str(state)], check=False, capture_output=True)
        before, lines, spent = box.starts, len(box.log.splitlines()), _cpu_s(box)
        time.sleep(seconds)
        answers = box.ask("status") is not None
        restarts, said = box.starts - before, len(box.log.splitlines()) - lines
        share = (_cpu_s(box) - spent) / seconds if not restarts else None
        _tool("umount", "-l", str(state))
        _tool("e2fsck", "-p", "-f", str(image), ok=(0, 1))
        _tool("mount", "-o", "loop", str(image), str(state))
        took = box.until_held(2)
        box.stop()
        proof = box.proof()
    busy = "" if share is None else f", {100 * share:.0f} % CPU"
    recovery = (
        f"{restarts} restarts and {said} lines of log in {seconds} s{busy}, field.sock "
        f"{'answers' if answers else 'silent'}; stores again {took:.1f} s after the card is back, by itself"
    )
    injection = "ext4 on a loop device, remount,abort in mid-flow; later umount, e2fsck, mount"
    calm = answers and share is not None and share <= AT_REST and said <= _lines(seconds)
    return [line_of(6, "file system read-only", injection, f"{seconds} s", proof, recovery, good=calm)]


def _cpu_s(box: WholeBox) -> float:
    if box.process is None or not Path(f"/proc/{box.process.pid}/stat").exists():
        return 0.0
    fields = Path(f"/proc/{box.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


FILES = ("dcu.toml", "secrets.toml", "trust.json", "receipt.key", "state/dcu.db", "state/dcu.db-wal")


def truncated(run: Run) -> list[Line]:
    """Each file of field's in turn is empty after a power cut, as cheap file systems leave them."""
    lines = []
    names = FILES if run.full else FILES[1:2]
    for number, name in enumerate(names):
        directory = run.scratch / str(number)
        directory.mkdir()
        with whole_box(directory) as box:
            box.start()
            box.until_held(1)
            box.kill()
            box._wanted.clear()
            time.sleep(0.3)
            path = directory / name
            sound = path.read_bytes() if path.exists() else b""
            path.write_bytes(b"")
            lines.append(_emptied(box, name, sound))
    return lines


def _emptied(box: WholeBox, name: str, sound: bytes) -> Line:
    box.start()
    deadline = time.monotonic() + 60
    codes = len(box.codes)
    while len(box.codes) == codes and not box.held() and time.monotonic() < deadline:
        time.sleep(0.2)
    refused = len(box.codes) > codes
    last = box.log.strip().splitlines()[-1].replace(f"{box.directory}/", "")
    named = Path(name).stem in last.lower()
    if refused:
        (box.directory / name).write_bytes(sound)
    took = box.until_held(1)
    box.stop()
    proof = box.proof()
    if refused:
        recovery = (
            f"does not start on it, exit {box.codes[codes]}, says: {last[:110]}; goes on {took:.1f} s after it is back"
        )
    else:
        recovery = f"starts, and holds what the meters still hold {took:.1f} s later"
    fault = f"{name} is empty after a power cut"
    return line_of(
        8, fault, "truncated to 0 octets between kill and start", "once", proof, recovery, good=named or not refused
    )


def technician(run: Run) -> list[Line]:
    """Somebody holds the database in his sqlite3 shell, before field starts and while it runs."""
    seconds = run.of(4, 60)
    with whole_box(run.scratch) as box:
        box.start()
        box.until_held(1)
        refused = _shell(run.scratch / "state" / "dcu.db")
        box.kill()
        box._wanted.clear()
        time.sleep(0.3)
        with closing(sqlite3.connect(run.scratch / "state" / "dcu.db", isolation_level=None)) as shell:
            shell.execute("BEGIN EXCLUSIVE")
            lines = len(box.log.splitlines())
            box.start()
            time.sleep(seconds)
            starts, said = box.starts, len(box.log.splitlines()) - lines
            shell.execute("ROLLBACK")
        took = box.until_held(1)
        box.stop()
        proof = box.proof()
    recovery = (
        f"while it runs the shell is told: {refused}; held before its start, field says so at each of "
        f"{starts - 1} starts ({said} lines of log), and serves {took:.1f} s after the shell lets go"
    )
    good = "locked" in refused
    return [
        line_of(
            10, "technician's sqlite3 shell", f"BEGIN EXCLUSIVE for {seconds} s", "2 ways", proof, recovery, good=good
        )
    ]


def _shell(path: Path) -> str:
    try:
        with closing(sqlite3.connect(path, timeout=1.0)) as shell:
            shell.execute("BEGIN EXCLUSIVE")
    except sqlite3.OperationalError as fault:
        return str(fault)
    return "nothing: it got in"


def low_memory(run: Run) -> list[Line]:
    """Less and less address space for data; then as much as it wants again."""
    words, spinning, seconds = [], [], run.of(6, 30)
    with whole_box(run.scratch) as box:
        for limit in (160, 80, 40) if run.full else (40,):
            before, lines = box.starts, len(box.log.splitlines())
            box.before = ["prlimit", f"--data={limit << 20}"]
            box.start()
            time.sleep(seconds)
            held, starts, said = box.held(), box.starts - before, len(box.log.splitlines()) - lines
            words.append(f"{limit} MB of data: {starts} starts and {said} lines of log in {seconds} s, holds {held}")
            if starts > seconds / START_S + 2 or (limit == ENOUGH_MB and (starts > 1 or not held)):
                spinning.append(limit)
            box.stop()
        box.before = []
        box.start()
        took = box.until_held(1)
        box.stop()
        proof = box.proof()
    recovery = f"{'; '.join(words)}; without a limit it goes on after {took:.1f} s"
    good = not spinning
    return [line_of(41, "low memory", "prlimit --data", f"{len(words)} limits", proof, recovery, good=good)]


HUNG = "tests.faults.hung"


def hung(run: Run) -> list[Line]:
    """Each loop in turn stops for ever: nobody feeds the watchdog, and what stands for systemd starts it again."""
    loops = ("store", "bus-pole", "relay", "uplink", "cli", "main") if run.full else ("store",)
    limit_s = 60.0 if run.full else 5.0
    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(lambda loop: _hung(run, loop, limit_s), loops))
    missed = [loop for loop, (wait, _) in zip(loops, found, strict=True) if wait is None]
    longest = max((wait for wait, _ in found if wait is not None), default=0.0)
    recovery = f"not fed for {limit_s:g} s in each; longest from hanging to kill {longest:.0f} s"
    return [
        line_of(
            42,
            f"a loop hangs for ever ({', '.join(loops)})",
            "its next heartbeat never returns; a watchdog as systemd's",
            f"{len(loops)} loops",
            _all([proof for _, proof in found]),
            f"watchdog fed all the same by: {', '.join(missed)}" if missed else recovery,
            good=not missed,
        )
    ]


def _hung(run: Run, loop: str, limit_s: float) -> tuple[float | None, Completeness]:
    """(Seconds from hanging to the end of the watchdog's patience, what the box held in the end)."""
    directory = run.scratch / loop
    directory.mkdir()
    with whole_box(directory, program=("-m", HUNG)) as box:
        watchdog = Watchdog(directory / "notify")
        box.environment = {
            "NOTIFY_SOCKET": str(directory / "notify"),
            "DCU_HUNG": loop,
            "DCU_HUNG_WHEN": str(directory / "now"),
            "DCU_HUNG_PULSE_S": "" if run.full else "2",
        }
        box.start()
        box.until_held(1)
        (directory / "now").touch()
        wait = watchdog.wait_unfed(limit_s, within_s=240.0)
        box.environment = {}
        if box.process is not None:
            box.process.send_signal(signal.SIGABRT)  # where nobody noticed it too, to see what is held
        box.until_held(1)
        box.stop()
        return wait, box.proof()
