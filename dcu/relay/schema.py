"""The payload of a command, schema v1: which members each operation has, and what each may hold (check 9). Pure.

No lists, no wildcards: one meter a command, ever. Source: reference/command-authority.md 11.
"""

from collections.abc import Callable, Mapping
from enum import Enum
from typing import Final, TypeVar

from dcu.command import Command, CommandRefused, Operation, OutputState, Refusal, Why
from dcu.relay.canonical import Json
from dcu.relay.envelope import IDENTIFIER

E = TypeVar("E", bound=Enum)

MAX_TEXT: Final = 64

UNBUILT: Final = frozenset(
    {"permit", "lease", "notice", "case", "ledger", "low_credit_at", "witness", "arm", "not_after"}
)
"""Members that name rules which this program does not enforce yet: refused (E_POLICY), never ignored."""

_COMMON: Final = frozenset({"v", "typ", "cmd_id", "op", "iss", "dcu", "jid", "meter", "iat", "exp"})
_REQUIRED: Final = {
    Operation.CONNECT: _COMMON | {"seq"},
    Operation.DISCONNECT: _COMMON | {"seq", "why", "pol"},
    Operation.MESSAGE: _COMMON | {"why", "text"},
}
_OPTIONAL: Final = {
    Operation.CONNECT: frozenset({"why", "expect"}),
    Operation.DISCONNECT: frozenset({"nbf", "area", "expect"}),
    Operation.MESSAGE: frozenset({"nbf", "area"}),
}


def read_command(claims: Mapping[str, Json]) -> Command:
    """The command that the claims spell. Members of `UNBUILT` are let through to the check that refuses them.

    Raises:
        CommandRefused: E_SCHEMA.
    """
    op = _one_of(Operation, claims.get("op"), "op")
    _check_members(claims, op)
    if claims["v"] != 1 or claims["v"] is True or claims["typ"] != "relay":
        raise CommandRefused(Refusal.E_SCHEMA, "not a command of version 1")
    why = _maybe(claims, "why", lambda v: _one_of(Why, v, "why"))
    if why is Why.CREDIT and op is not Operation.CONNECT and "area" not in claims:
        raise CommandRefused(Refusal.E_SCHEMA, "a credit disconnect or message names its area")
    return Command(
        cmd_id=_name(claims["cmd_id"], "cmd_id"),
        op=op,
        iss=_name(claims["iss"], "iss"),
        dcu=_name(claims["dcu"], "dcu"),
        jid=_name(claims["jid"], "jid"),
        meter=_name(claims["meter"], "meter"),
        seq=_maybe(claims, "seq", lambda v: _integer(v, "seq", least=1)),
        iat=_integer(claims["iat"], "iat"),
        nbf=_maybe(claims, "nbf", lambda v: _integer(v, "nbf")),
        exp=_integer(claims["exp"], "exp"),
        why=why,
        area=_maybe(claims, "area", lambda v: _name(v, "area")),
        expect=_maybe(claims, "expect", lambda v: _one_of(OutputState, v, "expect")),
        pol=_maybe(claims, "pol", lambda v: _integer(v, "pol")),
        text=_maybe(claims, "text", _text),
    )


def hints(claims: Mapping[str, Json]) -> tuple[str, str, str, str]:
    """(iss, cmd_id, op, meter) for the receipt of a command that has not the schema; empty where not legible."""
    iss, cmd_id, op, meter = (
        value if isinstance(value := claims.get(member), str) and IDENTIFIER.fullmatch(value) else ""
        for member in ("iss", "cmd_id", "op", "meter")
    )
    return iss, cmd_id, op, meter


def _check_members(claims: Mapping[str, Json], op: Operation) -> None:
    if missing := _REQUIRED[op] - claims.keys():
        raise CommandRefused(Refusal.E_SCHEMA, f"{', '.join(sorted(missing))} missing")
    if unknown := claims.keys() - _REQUIRED[op] - _OPTIONAL[op] - UNBUILT:
        raise CommandRefused(Refusal.E_SCHEMA, f"{', '.join(sorted(unknown))[:80]} in a {op.value}")


T = TypeVar("T")


def _maybe(claims: Mapping[str, Json], member: str, read: Callable[[Json], T]) -> T | None:
    return read(claims[member]) if member in claims else None


def _name(value: Json, what: str) -> str:
    if not isinstance(value, str) or not IDENTIFIER.fullmatch(value):
        raise CommandRefused(Refusal.E_SCHEMA, f"{what} is not 1 to 40 of A-Z a-z 0-9 . _ -")
    return value


def _integer(value: Json, what: str, least: int = 0) -> int:
    if type(value) is not int or value < least:
        raise CommandRefused(Refusal.E_SCHEMA, f"{what} is not a number from {least} up")
    return value


def _one_of(kind: type[E], value: Json, what: str) -> E:
    for member in kind:
        if member.value == value:
            return member
    raise CommandRefused(Refusal.E_SCHEMA, f"{what} is none of {', '.join(m.value for m in kind)}")


def _text(value: Json) -> str:
    # canonical JSON has let only printable ASCII through
    if not isinstance(value, str) or not 1 <= len(value) <= MAX_TEXT:
        raise CommandRefused(Refusal.E_SCHEMA, f"text is not 1 to {MAX_TEXT} characters")
    return value
