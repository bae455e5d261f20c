"""What a run found, row by row, printed and kept: `docs/RELIABILITY.md` is written by the run and by nobody else."""

import fcntl
import json
import os
import platform
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "docs" / "RELIABILITY.md"
FIGURES = ROOT / "docs" / "reliability.json"
WRITTEN = ("docs/RELIABILITY.md", "docs/reliability.json", "docs/SAFETY.md", "docs/safety.json")
"""By runs: that they are not yet committed says nothing about what was run."""

HEAD = """# What was tried, and what was lost

Written by `make faults` (`python -m tests.faults`), line by line as each fault was tried; edit nothing here. The
figures as data: `reliability.json`. Rows are those of the project's fault matrix.

What is simulated: meters and lines (`dcu/sim`), years of time (a virtual clock under the real field parts), and power
cuts (the recorded writes of a real store's process, replayed up to each boundary under a pessimist's disk: nothing is
there before its sync returned). A card that acknowledges a flush and has not done it cannot be shown so. What is real:
processes and their kills, SQLite and its files, mosquitto with mutual TLS, strace's failing calls, mounted file
systems. All on one machine that is not a pole-top box: times are its own.

*lost*: acknowledged and then not there, at the worst trial. *doubled*: there twice after de-duplication by
(dcu, epoch, stream, id).
"""


@dataclass(frozen=True, slots=True)
class Line:
    """One fault that was tried.

    Attributes:
        row: of the matrix.
        fault: what.
        injection: how it was made.
        tried: how often, in words with its unit.
        lost: acknowledged things that were gone; None where nothing can be.
        doubled: the same for twice.
        recovery: how it went on, and how soon.
        good: as it has to be.
    """

    row: int
    fault: str
    injection: str
    tried: str
    lost: int | None
    doubled: int | None
    recovery: str
    good: bool


def commit() -> str:
    """Of the checkout, with a mark where something other than what runs write is not the commit's."""
    name = _git("rev-parse", "--short", "HEAD")
    changed = _git("status", "--porcelain", "--untracked-files=no", "--", ".", *(f":!{path}" for path in WRITTEN))
    return f"{name}-dirty" if name and changed else name or "unknown"


def _git(*words: str) -> str:
    return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()


def machine() -> str:
    """What it ran on."""
    kernel = platform.release().split("-")[0]
    return f"{platform.machine()}, {platform.system()} {kernel}, Python {platform.python_version()}"


def keep(row: int, lines: list[Line], *, seed: int, command: str, of_commit: str, seconds: float) -> None:
    """Take the place of what was known of a row, in both files; runs of other rows may do so at the same time."""
    run = {"seed": seed, "command": command, "commit": of_commit, "machine": machine(), "seconds": round(seconds)}
    with alone():
        known = json.loads(FIGURES.read_text()) if FIGURES.exists() else []
        known = [each for each in known if each["row"] != row]
        known += [asdict(line) | run for line in lines]
        known.sort(key=lambda each: each["row"])
        FIGURES.write_text(json.dumps(known, indent=1, ensure_ascii=False) + "\n")
        DOCUMENT.write_text(document(known))


@contextmanager
def alone() -> Iterator[None]:
    """Nobody else writes a page and its figures in `docs` meanwhile: two runs at once take turns."""
    folder = os.open(FIGURES.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def document(known: list[dict]) -> str:
    """The page."""
    rows = [
        "| row | fault | injection | tried | lost | doubled | recovery | holds |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for each in known:
        lost, doubled = ("-" if each[name] is None else each[name] for name in ("lost", "doubled"))
        words = [each["row"], each["fault"], each["injection"], each["tried"], lost, doubled, each["recovery"]]
        words.append("yes" if each["good"] else "**NO**")
        rows.append("| " + " | ".join(str(word).replace("|", "/") for word in words) + " |")
    runs = ["", "## The runs", "", "| row | command | seed | commit | seconds | machine |", "|---|---|---|---|---|---|"]
    seen = set()
    for each in known:
        if each["row"] not in seen:
            seen.add(each["row"])
            runs.append(
                f"| {each['row']} | `{each['command']}` | {each['seed']} | {each['commit']} | {each['seconds']} "
                f"| {each['machine']} |"
            )
    return HEAD + "\n" + "\n".join(rows + runs) + "\n"


def shown(line: Line) -> str:
    """A line for a terminal."""
    lost, doubled = ("-" if n is None else n for n in (line.lost, line.doubled))
    mark = "ok " if line.good else "NOT"
    return (
        f"{mark} {line.row:>3} {line.fault} [{line.injection}]: {line.tried}; lost {lost}, doubled {doubled}; "
        f"{line.recovery}"
    )
