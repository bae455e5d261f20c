"""`dcu clock`: whether the box knows the time, why, and the cure where its floor is wrong."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from dcu.cli.answers import answering, as_json, say
from dcu.cli.technician import ask, clock_lines
from dcu.cli.work import config_option


@click.command()
@config_option
@click.option(
    "--floor",
    type=click.DateTime(["%Y-%m-%d"]),
    help="Lower the moment before which no true time is: the box once believed a clock that was far ahead.",
)
@as_json
@answering
def clock(config_file: Path, floor: datetime | None, *, as_json: bool) -> None:
    """Whether the running box knows the time, and why; no disconnection is made while it does not."""
    question: dict[str, Any] = {"ask": "clock"}
    if floor is not None:
        question["floor"] = int(floor.replace(tzinfo=UTC).timestamp())
    say(ask(config_file, question), as_json=as_json, text=lambda time: "\n".join(clock_lines(time)))
