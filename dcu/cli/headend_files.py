"""What the commands of `dcu headend` have in common: files of documents, times as people write them, answers."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import click

from dcu.cli.answers import answering, say
from dcu.errors import OperatorFault
from dcu.headend.heads import Heads, Known
from dcu.headend.receipts import digest_of
from dcu.headend.signing import draft
from dcu.headend.telling import told
from dcu.relay.envelope import MAX_DOCUMENT_OCTETS

PATH: Final = click.Path(path_type=Path)
_MOST_OCTETS: Final = 4 * MAX_DOCUMENT_OCTETS


class Kit(click.Group):
    """A group whose commands answer every DcuError in one line, with the exit code of its kind."""

    def invoke(self, ctx: click.Context) -> Any:
        """As click does."""
        return answering(super().invoke)(ctx)


class Moment(click.ParamType[int]):
    """UTC seconds, or a date, or a date and time with its offset, as 2026-11-23T10:00+05:30; without one it is UTC."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """In UTC seconds."""
        text = str(value)
        if text.isascii() and text.isdigit():
            return int(text)
        try:
            at = datetime.fromisoformat(text)
        except ValueError:
            self.fail(f"{text!r} is no time: 1795417800, 2026-11-23, or 2026-11-23T10:00+05:30", param, ctx)
        return int((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp())


out_option = click.option("--out", type=PATH, required=True, help="File for the unsigned document.")


def read_file(path: Path) -> bytes:
    """A document's octets. Raises OperatorFault."""
    try:
        with path.open("rb") as file:
            return file.read(_MOST_OCTETS).strip()
    except OSError as fault:
        raise OperatorFault(f"cannot be read: {fault.strerror}", place=str(path)) from fault


def write_file(path: Path, octets: bytes) -> None:
    """Raises OperatorFault."""
    try:
        path.write_bytes(octets)
    except OSError as fault:
        raise OperatorFault(f"cannot be written: {fault.strerror}", place=str(path)) from fault


def answer(facts: Mapping[str, Any], words: str, *, as_json: bool) -> None:
    """Say it: to a person in words, to a program as facts."""
    say(dict(facts), as_json=as_json, text=lambda _: words)


def known_box(state: Path, dcu: str) -> Known:
    """What the file of `dcu headend verify --state` knows of a box. Raises OperatorFault: nothing; ConfigFault."""
    known = Heads.load(state).boxes.get(dcu)
    if known is None:
        raise OperatorFault(
            f"nothing is known of {dcu}", place=str(state), cure="verify one of its leases with --state"
        )
    return known


def put_draft(claims: Mapping[str, Any], out: Path, *, as_json: bool, more: Mapping[str, Any] | None = None) -> None:
    """Write an unsigned document and say what it would do; `more` are facts beside that, each a list of clauses."""
    envelope = draft(claims)
    words = told(envelope)
    write_file(out, envelope)
    facts = {"told": words, "digest": digest_of(envelope), "claims": dict(claims), **(more or {})}
    lines = [f"{name}: {clause}" for name, clauses in (more or {}).items() for clause in clauses]
    answer(facts, "\n".join([f"{out}: {words}; not signed yet", *lines]), as_json=as_json)


def decorated(command: Callable[..., Any], options: list[Callable[..., Any]]) -> Callable[..., Any]:
    """A function under several click options, the first of them first in its help."""
    for option in reversed(options):
        command = option(command)
    return command
