"""Plays the story from its first act to the table, and makes the report."""

import logging
import time
from pathlib import Path
from typing import Any

from rich.console import Console

from dcu.demo.orders import Orders
from dcu.demo.screen import Screen
from dcu.demo.stage import METERS, Stage
from dcu.demo.story import Story
from dcu.errors import DcuError, SocketFault
from dcu.wire import connect

log = logging.getLogger(__name__)

ANSWER_WITHIN_S = 60.0


def play(directory: Path, *, quiet: bool) -> dict[str, Any]:
    """The whole story in `directory`; its report.

    Raises:
        DcuError: the stage could not be set, or an act did not come to its end.
    """
    stage, console = Stage(directory), Console(highlight=False)
    screen = Screen(console, quiet=quiet)
    story = Story(stage, screen, lambda: refusals(directory), lambda question: answer(directory, question))
    orders = Orders(story)
    directory.mkdir(parents=True, exist_ok=True)
    logging.basicConfig(filename=directory / "demo.log", level=logging.INFO)
    began_s = time.monotonic()
    try:
        with screen.running():
            for act in (
                story.commissioning,
                story.readings,
                story.outage,
                story.drain,
                orders.refused,
                orders.obeyed,
                orders.restrained,
                story.verified,
            ):
                act()
            screen.doing("the end")
    except DcuError as fault:
        story.prove("the story came to its end", str(fault), held=False)
    except Exception as fault:  # our own mistake: what was proven so far is told all the same
        log.exception("the story broke off")
        story.prove("the story came to its end", repr(fault), held=False)
    finally:
        if hasattr(story, "head_end"):
            story.head_end.close()
        stage.close()
    screen.table(story.lines)
    return report(story, time.monotonic() - began_s)


def report(story: Story, seconds: float) -> dict[str, Any]:
    """The same as the table, as data."""
    proof = story.completeness
    moved = {m.serial: story.stage.actuations(m.serial) for m in METERS}
    return {
        "held": bool(story.lines) and all(line.held for line in story.lines),
        "seconds": round(seconds, 1),
        "intervals_expected": proof.expected if proof else 0,
        "intervals_delivered": proof.delivered if proof else 0,
        "intervals_missing": [list(i) for i in proof.missing] if proof else [],
        "values_different": len(proof.different) if proof else 0,
        "intervals_invented": len(proof.invented) if proof else 0,
        "duplicates_after_deduplication": len(proof.twice) if proof else 0,
        "intervals_read_late": proof.late if proof else 0,
        "records_repeated": proof.repeated_records if proof else 0,
        "refusals": story.codes,
        "actuations": moved,
        "double_actuations": sum(methods.count(1) > 1 or methods.count(2) > 1 for methods in moved.values()),
        "proven": [{"claim": line.claim, "shown": line.shown, "held": line.held} for line in story.lines],
    }


def answer(directory: Path, question: dict[str, Any]) -> Any:
    """What the field process says to a technician. Raises SocketFault."""
    wire = connect(directory / "run" / "field.sock")
    try:
        wire.send(question)
        return wire.receive(ANSWER_WITHIN_S)["answer"]
    finally:
        wire.close()


def refusals(directory: Path) -> dict[str, int]:
    """The box's own count of refused documents by code, as `dcu status` shows it."""
    try:
        counts = answer(directory, {"ask": "status"})["counts"]
    except SocketFault:
        return {}
    return {name.removeprefix("refused."): n for name, n in counts.items() if name.startswith("refused.")}
