"""`dcu lock`, `dcu unlock`: nothing from afar moves a relay while somebody works at the pole."""

import getpass
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from dcu.cli.answers import answering, as_json, say
from dcu.cli.technician import ask
from dcu.cli.work import config_option

_who = click.option("--who", default=getpass.getuser, show_default="the login", help="Whose lock it is.")


@click.command()
@click.argument("meter", required=False)
@_who
@click.option("--why", default="", help="Work in hand; the head-end is told.")
@click.option("--hours", type=click.IntRange(1, 72), default=4, show_default=True, help="Until it ends by itself.")
@click.option("--list", "listing", is_flag=True, help="What is locked or frozen now; nothing is locked.")
@config_option
@as_json
@answering
def lock(meter: str | None, who: str, why: str, hours: int, config_file: Path, *, listing: bool, as_json: bool) -> None:
    """Refuse every command from afar to METER, a serial or `all`: neither off nor on. Renew it by locking again.

    A lock only restricts: it moves no relay itself, ends after its hours, and the head-end gets a signed word of it.
    """
    if listing:
        found = ask(config_file, {"ask": "restraints"})
        say(found, as_json=as_json, text=lambda rows: "\n".join(map(_line, rows)) or "nothing is locked or frozen")
        return
    if meter is None or not why:
        raise click.UsageError("lock what, and --why? A serial or `all`; or --list")
    made = ask(config_file, {"ask": "lock", "meter": meter, "who": who, "why": why, "hours": hours})
    say(made, as_json=as_json, text=_line)


@click.command()
@click.argument("meter")
@_who
@config_option
@as_json
@answering
def unlock(meter: str, who: str, config_file: Path, *, as_json: bool) -> None:
    """End the lock of METER, a serial or `all`, before its time."""
    say(ask(config_file, {"ask": "unlock", "meter": meter, "who": who}), as_json=as_json, text=_ended)


def _line(found: dict[str, Any]) -> str:
    until = datetime.fromtimestamp(found["until"]).astimezone()
    words = f" by {found['who']}: {found['why']}" if found["who"] or found["why"] else ""
    return f"{found['kind']} {found['meter']} until {until:%Y-%m-%d %H:%M}{words}"


def _ended(found: dict[str, Any]) -> str:
    return f"{found['meter']} is not locked any more"
