"""`dcu backlog`: what the store holds, what waits, what was given up, and for how long an outage it is enough."""

from datetime import tzinfo
from pathlib import Path
from typing import Any, Final

import click

from dcu.cli.answers import answering, as_json, say
from dcu.cli.holding import holding_of
from dcu.cli.work import config_option
from dcu.reading import from_epoch

_HOUR_S: Final = 3600
_DAY_S: Final = 86_400
_ROW: Final = "{:<8} {:>9} {:>9} {:>9} {:>8}  {:<16}  {:<16}"


@click.command()
@config_option
@as_json
@answering
def backlog(config_file: Path, *, as_json: bool) -> None:
    """Per stream: held, not delivered yet, oldest and newest, given up; and for how long an outage the store is enough.

    Asks the running field process; of a stopped one it reads the file.
    """
    config, holding = holding_of(config_file)
    try:
        answer = {"running": holding.running} | holding.stock()
    finally:
        holding.close()
    say(answer, as_json=as_json, text=lambda a: _text(a, config.dcu.timezone))


def _text(answer: dict[str, Any], zone: tzinfo) -> str:
    state = "running" if answer["running"] else "stopped: read from its file"
    lines = [f"{answer['dcu']}  epoch {answer['epoch']}  ({state})"]
    lines.append(_ROW.format("stream", "held", "waiting", "given up", "a day", "oldest", "newest"))
    for each in answer["streams"]:
        rate = "" if each["per_day"] is None else f"{each['per_day']:.0f}"
        times = [_moment(each[name], zone) for name in ("oldest_s", "newest_s")]
        counts = (each["held"], each["undelivered"], each["dropped"])
        lines.append(_ROW.format(each["stream"], *counts, rate, *times).rstrip())
    used, limit = answer["used_bytes"], answer["limit_bytes"]
    growth = answer["bytes_per_day"]
    words = f"{_size(used)} of {_size(limit)} used"
    lines.append(words if growth is None else f"{words}, {_size(growth)} a day")
    if answer["holds_s"] is None:
        lines.append("too early to say for how long an outage the store is enough")
    else:
        lines.append(f"at today's rate the store holds {_span(answer['holds_s'])} of outage")
    return "\n".join(lines)


def _moment(epoch_s: int | None, zone: tzinfo) -> str:
    return "" if epoch_s is None else f"{from_epoch(epoch_s).astimezone(zone):%Y-%m-%d %H:%M}"


def _span(seconds: float) -> str:
    """Rounded down: what is promised is there."""
    if seconds >= 2 * _DAY_S:
        return f"{int(seconds // _DAY_S):,} days"
    return f"{int(seconds // _HOUR_S)} hours" if seconds >= 2 * _HOUR_S else f"{int(seconds // 60)} minutes"


def _size(octets: float) -> str:
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if octets >= size:
            return f"{octets / size:.1f} {unit}"
    return f"{octets:.0f} B"
