"""Each module of the verifier made wrong in every way of `mutation_sites`: some test has to notice.

`python -m tests.proof mutation` tries them all; `python -m tests.proof.mutation checks/voices` one module. What
nothing can notice stands in mutation_explained.toml, each with its reason; one that some test does notice, or that no
module has any more, fails the run.
"""

import ast
import json
import os
import subprocess
import sys
import tempfile
import tomllib
from collections import Counter
from pathlib import Path

from tests.proof.mutation_sites import Site, sites
from tests.proof.run import Line, Run

ROOT = Path(__file__).parents[2]
EXPLAINED = Path(__file__).with_name("mutation_explained.toml")
ROOM = "dcu/relay/"
TESTS = (
    "tests/relay",
    "tests/core/test_command_life.py",
    *(f"tests/headend/test_{name}.py" for name in ("kit", "document", "signed_documents", "signing_vectors")),
)
ELSEWHERE = ("test_crash_on_disk", "test_machine", "test_on_a_line", "test_orders_on_a_line")
"""Tests that run other processes, or a line in its own time: they judge nobody here."""

# What decides, the most important first.
VERIFIER = (
    "envelope", "canonical", "public_key", "key", "key_document", "members", "schema", "permit", "case",
    "checks/voices", "checks/freshness", "checks/meters", "checks/safety", "checks/table",
    "policy/document", "policy/hours", "policy/floor", "policy/comparison", "policy/vet",
    "deeds/__init__", "deeds/shape", "deeds/plain", "deeds/money", "deeds/limit", "deeds/sense",
    "docket", "documents", "book", "trust", "receipts", "withdrawals", "allowance",
    "leases", "restraints", "timetable", "life", "ruling", "standing", "gate", "locks", "warrant",
    "duties", "resends", "on_demand", "inspections", "alarms",
    "desk", "intake", "letters", "dispatch", "executor",
)  # fmt: skip

Key = tuple[str, str, str, str, int]
"""File, function, source line, change, and which of several that are alike."""


def mutation(run: Run) -> list[Line]:
    """Every change of the verifier; the small share: some of one module, and one that nothing can notice."""
    if not run.full:
        return [_a_handful(run)]
    found = tried([ROOM + name + ".py" for name in VERIFIER], run.scratch / "found.json")
    return [_line(found, explained(), stale())]


def _line(found: dict, reasons: dict[Key, str], gone: list[str]) -> Line:
    fates = Counter(each["fate"] for each in found["sites"])
    alive = [key(each) for each in found["sites"] if each["fate"] == "survived"]
    open_ones = [each for each in alive if each not in reasons]
    noticed = [each for each in reasons if each not in set(alive)]
    notes = [
        f"What nothing can notice is explained change by change in tests/proof/{EXPLAINED.name}.",
        "Not changed: docstrings, annotations, log lines, and the words with which something is explained.",
        f"Judged by {found['tests']:,} tests of {', '.join(TESTS)}; {len(found['left_out'])} slow ones judged nobody.",
        *[f"{name}: {words}." for name, words in _by_module(found, reasons).items()],
        *[f"Nobody noticed: {_words(each)}." for each in open_ones],
        *[f"Explained, and yet noticed: {_words(each)}." for each in noticed],
        *[f"Explained, and not in the code: {words}." for words in gone],
    ]
    result = f"{fates['killed']:,} noticed by a failing test, {fates['stuck']} by not ending, "
    result += f"{len(alive) - len(open_ones)} explained, {len(open_ones)} open"
    return Line(
        "each change of the verifier makes a test fail, or it is explained why nothing can",
        f"all {len(found['sites']):,} changes of {len(_by_module(found, reasons))} modules, one at a time",
        result,
        not open_ones and not noticed and not gone,
        tuple(notes),
    )


def _by_module(found: dict, reasons: dict[Key, str]) -> dict[str, str]:
    told = {}
    for file in dict.fromkeys(each["file"] for each in found["sites"]):
        mine = [each for each in found["sites"] if each["file"] == file]
        alive = [key(each) for each in mine if each["fate"] == "survived"]
        why = sum(each in reasons for each in alive)
        told[file.removeprefix(ROOM)] = (
            f"{len(mine)} changes, {len(mine) - len(alive)} noticed, {why} explained, {len(alive) - why} open"
        )
    return told


def _a_handful(run: Run) -> Line:
    """A few of one module, which some test must notice; and one that is explained, which none may."""
    file, tests = ROOM + "canonical.py", "tests/relay/test_envelope.py::test_is_refused_by_its_own_check"
    few = [f"{tests}[{name}]" for name in ("a name twice", "a float")]
    every = _sites(file)
    reasons = explained()
    silent = next(n for n, each in enumerate(every) if each.key in reasons)
    loud = [n for n, each in enumerate(every) if each.where in {"_distinct", "_no_float"} and "raise" in each.line]
    found = tried([file], run.scratch / "found.json", tests=few, changes=[*loud, silent])
    killed = {key(each) for each in found["sites"] if each["fate"] == "killed"}  # in the order in which they ended
    noticed, unnoticed = [every[n].key in killed for n in loud], every[silent].key in killed
    return Line(
        "a change of the verifier makes a test fail, and one that nothing can notice does not",
        f"{len(loud)} changes, and one that is explained",
        f"{sum(noticed)} noticed, the other one {'noticed' if unnoticed else 'not'}",
        len(noticed) == len(loud) > 0 and all(noticed) and not unnoticed and not stale(),
    )


def tried(files: list[str], into: Path, *, tests: list[str] | None = None, changes: list[int] | None = None) -> dict:
    """What became of the changes of these modules."""
    words = [word for file in files for word in ("--mutate", file)]
    words += [word for n in changes or () for word in ("--change", str(n))]
    plugin = ["-m", "pytest", "-p", "tests.proof.mutation_trial", "-q", "-s", "-o", "timeout=0"]
    words += [word for name in ELSEWHERE for word in ("--ignore", f"tests/relay/{name}.py")]
    command = [sys.executable, *plugin, *words, "--found", str(into), *(tests or TESTS)]
    subprocess.run(command, cwd=ROOT, check=True, env=os.environ | {"PYTHONHASHSEED": "0"})
    return json.loads(into.read_text())


def explained() -> dict[Key, str]:
    """Changes that nothing can notice, and why."""
    listed = tomllib.loads(EXPLAINED.read_text())["explained"]
    return {key({"number": 0} | each): each["why"] for each in listed}


def stale() -> list[str]:
    """Explained changes that no module has any more."""
    reasons = explained()
    there = {site.key for file in {each[0] for each in reasons} for site in _sites(file)}
    return [_words(each) for each in reasons if each not in there]


def key(each: dict) -> Key:
    """By what a change is known."""
    return each["file"], each["where"], each["line"], each["change"], each["number"]


def _words(each: Key) -> str:
    file, where, line, change, number = each
    return f"{file} {where or 'module'}: {change}{f' ({number + 1})' if number else ''} in `{line}`"


def _sites(file: str) -> list[Site]:
    source = (ROOT / file).read_text()
    return sites(file, source, ast.parse(source))


def main() -> int:
    """The modules that are named."""
    with tempfile.TemporaryDirectory() as scratch:
        names = [name.removeprefix(ROOM).removesuffix(".py") for name in sys.argv[1:]] or list(VERIFIER)
        found = tried([f"{ROOM}{name}.py" for name in names], Path(scratch) / "found.json")
    mine = {each["file"] for each in found["sites"]}
    line = _line(found, {each: why for each, why in explained().items() if each[0] in mine}, stale())
    print(f"{line.tried}: {line.result}", *line.notes, sep="\n  ")
    return int(not line.good)


if __name__ == "__main__":
    sys.exit(main())
