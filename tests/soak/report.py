"""What runs found, kept: `docs/SOAK.md` is written by the run and by nobody else."""

import json
from pathlib import Path
from typing import Any

from tests.faults.report import ROOT, commit, machine
from tests.soak.judge import KINDS
from tests.soak.run import Outcome

DOCUMENT = ROOT / "docs" / "SOAK.md"
FIGURES = ROOT / "docs" / "soak.json"

HEAD = """# What became of every interval

Written by `python -m tests.soak --keep`; edit nothing here. The figures as data: `soak.json`.

The parts of `dcu field` that read meters run in virtual time over a paced line with virtual meters, while faults that
are drawn from a seed befall line, meters, power and clocks. Then a judge that shares no code with the box compares its
store with what each meter wrote down when it captured it: every interval is held with the values that the meter
captured, or absent for a reason that was truly injected; every row of a bill or of a log is there once, or was lost
before anybody could have read it. A mistake is anything else. Storms are four days of one meter with many faults at
once.
"""

Run = dict[str, Any]


def begun(command: str) -> Run:
    """What is known of a run before it: which program it is, and where."""
    return {"command": command, "commit": commit(), "machine": machine()}


def keep(run: Run, what: str, whole: Outcome, seconds: float, figures: Path = FIGURES) -> None:
    """Take the place of what an earlier run of the same kind found."""
    known = json.loads(figures.read_text()) if figures.exists() else []
    run = run | {
        "what": what,
        "seconds": round(seconds),
        "intervals": dict(whole.verdict.intervals.most_common()),
        "rows": dict(whole.verdict.rows.most_common()),
        "mistakes": {kind: whole.verdict.kinds[kind] for kind in KINDS},
        "faults": dict(sorted(whole.happened.items())),
        "starts": whole.starts,
    }
    known = sorted([run, *(each for each in known if each["what"] != what)], key=lambda each: each["what"])
    figures.write_text(json.dumps(known, indent=1, ensure_ascii=False) + "\n")
    figures.with_name(DOCUMENT.name).write_text(document(known))


def document(known: list[Run]) -> str:
    """The page."""
    return "\n".join([HEAD, *(line for run in known for line in _section(run))])


def _section(run: Run) -> list[str]:
    intervals, rows, mistakes = run["intervals"], run["rows"], run["mistakes"]
    made = f"`{run['command']}`, commit {run['commit']}, {run['seconds']} s on {run['machine']}"
    return [
        f"## {run['what'][:1].upper()}{run['what'][1:]}",
        "",
        f"{made}; the box was started {run['starts']} times.",
        "",
        "| of | count | share |",
        "|---|---|---|",
        *_counts("intervals", intervals),
        *_counts("rows of bills and logs", rows),
        "",
        "| mistake | count |",
        "|---|---|",
        *(f"| {kind} | {count} |" for kind, count in mistakes.items()),
        "",
        "Faults: " + ", ".join(f"{name} {count}" for name, count in run["faults"].items()) + ".",
        "",
    ]


def _counts(name: str, counts: dict[str, int]) -> list[str]:
    whole = sum(counts.values())
    parts = [f"| {name}: {part} | {count} | {count / whole:.4%} |" for part, count in counts.items()]
    return [f"| {name} | {whole} | |", *parts]
