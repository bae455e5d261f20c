"""What a run found, claim by claim: `docs/SAFETY.md` is written by the run and by nobody else."""

import json
from dataclasses import asdict
from pathlib import Path

from dcu.command import LIFE, OPEN, State
from tests.faults.report import alone, commit, machine
from tests.proof.parts import WHERE
from tests.proof.run import Line

__all__ = ["commit", "keep", "shown", "table"]

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "docs" / "SAFETY.md"
FIGURES = ROOT / "docs" / "safety.json"

HEAD = """# Who may switch, and what was tried to switch without

Written by `make proof` (`python -m tests.proof`), part by part as each was tried; edit nothing here. The figures as
data: `safety.json`. A small share of every part is in `make test`.

What decides is always the program's own code. What is made up for a part is said beside it: time that passes when it
is told to, a store in memory, meters on a wall. Nothing here was measured on a pole.

What is promised, and what is not: somebody who takes over uplink or the broker can delay or silence anything,
reconnects included, and can cause nothing. Local root owns the meters of its box. Meters of suite 0 cannot verify the
utility: the box is the last one who does.
"""


def keep(part: str, lines: list[Line], *, order: list[str], seed: int, seconds: float, at: str) -> list[dict]:
    """Take the place of what was known of a part, in both files; `at`: the commit. Returns all that is known then."""
    with alone():
        return _keep(part, lines, order, seed, seconds, at)


def _keep(part: str, lines: list[Line], order: list[str], seed: int, seconds: float, at: str) -> list[dict]:
    known = json.loads(FIGURES.read_text()) if FIGURES.exists() else []
    known = [each for each in known if each["part"] != part and each["part"] in order]
    run = {
        "part": part,
        "seed": seed,
        "command": f"python -m tests.proof --seed {seed} {part}",
        "commit": at,
        "machine": machine(),
        "seconds": round(seconds),
    }
    known += [asdict(line) | run for line in lines]
    known.sort(key=lambda each: order.index(each["part"]))
    FIGURES.write_text(json.dumps(known, indent=1, ensure_ascii=False) + "\n")
    DOCUMENT.write_text(document(known))
    return known


def document(known: list[dict]) -> str:
    """The page."""
    rows = ["| claim | tried | result | holds | part |", "|---|---|---|---|---|"]
    notes, runs = [], ["| part | command | seed | commit | seconds | machine |", "|---|---|---|---|---|---|"]
    seen = set()
    for each in known:
        words = [each["claim"], each["tried"], each["result"], "yes" if each["good"] else "**NO**", each["part"]]
        rows.append(_row(words))
        notes += [f"- {each['part']}: {note}" for note in each["notes"]]
        if each["part"] not in seen:
            seen.add(each["part"])
            command = f"`{each['command']}`"
            runs.append(_row([each["part"], command, each["seed"], each["commit"], each["seconds"], each["machine"]]))
    left = [part for part in WHERE if part not in seen]
    if left:
        rows += ["", f"Not yet tried in full: {', '.join(left)}."]
    text = [HEAD, *rows, "", "## What has to be explained", "", *notes, "", "## The life of a command", "", *life()]
    return "\n".join([*text, "", "## The runs", "", *runs]) + "\n"


def life() -> list[str]:
    """The state machine, drawn from the very table that moves commands (`dcu.command.LIFE`)."""
    lines = [
        "Drawn from `dcu.command.LIFE`, the table that moves commands. What is not here cannot happen. `pending` is",
        "what is judged as a disconnect; `taken-back` is for connects alone.",
        "",
        "```mermaid",
        "stateDiagram-v2",
        *[f"    [*] --> {_name(state)}" for state in (State.ACCEPTED, State.PENDING, State.REFUSED)],
    ]
    lines += [f"    {_name(before)} --> {_name(after)}: {event.value}" for (before, event), after in LIFE.items()]
    lines += [f"    {_name(state)} --> [*]" for state in State if state not in OPEN]
    return [*lines, "```"]


def _name(state: State) -> str:
    return state.value.replace("-", "_")


def table(known: list[dict]) -> str:
    """All that is known, a line each, for a terminal."""
    words = [("yes" if each["good"] else "NO ", each["part"], each["claim"], each["result"]) for each in known]
    width = max((len(part) for _, part, _, _ in words), default=0)
    return "\n".join(
        f"{holds} {part:{width}} {claim}\n{'':{width + 5}}{result}" for holds, part, claim, result in words
    )


def _row(words: list) -> str:
    return "| " + " | ".join(str(word).replace("|", "/").replace("\n", " ") for word in words) + " |"


def shown(line: Line) -> str:
    """A line for a terminal."""
    notes = "".join(f"\n        {note}" for note in line.notes)
    return f"{'ok ' if line.good else 'NOT'} {line.claim}\n        {line.tried}: {line.result}{notes}"
