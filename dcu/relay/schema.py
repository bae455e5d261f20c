"""The payload of a command, schema v1: which members each operation has, and what each may hold (check 9). Pure.

`OPERATIONS` and `READERS` are the schema. No lists, no wildcards: one meter a command, ever. What an operation needs
only where it is judged as a disconnect (`column`) is optional here, and missed there by the check that reads it.
Source: reference/command-authority.md 0 items 7 and 12, and 11.
"""

import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

from dcu.command import Change, Command, Operation, OutputState, Why
from dcu.meter import AttributeRef
from dcu.record import Stream
from dcu.relay.canonical import Json
from dcu.relay.envelope import IDENTIFIER
from dcu.relay.members import check_kind, check_names, integer, moment, name, one_of, refused, text

MAX_TEXT: Final = 64
MAX_RESENT: Final = 10_000
"""Records that one `resend` may ask for."""

MAX_MONEY: Final = (1 << 31) - 1
"""Registers of money are 32 bits, signed (reference/is15959.md 2.11)."""

MAX_WATTS: Final = 10**7

_LOGICAL_NAME: Final = re.compile(r"\d{1,3}(\.\d{1,3}){5}", re.ASCII)
_HOST: Final = re.compile(r"[A-Za-z0-9._:-]{1,80}", re.ASCII)


def _logical_name(value: Json, what: str) -> str:
    if not isinstance(value, str) or not _LOGICAL_NAME.fullmatch(value) or max(map(int, value.split("."))) > 255:
        raise refused(f"{what} is no logical name: six groups of 0 to 255, as 1.0.99.1.0.255")
    return value


def _date(value: Json, what: str) -> int:
    """UTC seconds that a calendar of meters has."""
    return integer(value, what, 0, 1 << 36)


def _attribute(value: Json, what: str) -> str:
    try:
        if isinstance(value, str) and str(ref := AttributeRef.of(value)) == value and ref.attribute >= 1:
            return value
    except ValueError:
        pass
    raise refused(f"{what} is no attribute, as 3:1.0.12.7.0.255/2")


def _stream(value: Json, what: str) -> str:
    return one_of(Stream, value, what).value


def _host(value: Json, what: str) -> str:
    if not isinstance(value, str) or not _HOST.fullmatch(value):
        raise refused(f"{what} is no host")
    return value


READERS: Final[Mapping[str, Callable[[Json, str], Any]]] = {
    "cmd_id": name,
    "iss": name,
    "dcu": name,
    "jid": name,
    "meter": name,
    "iat": moment,
    "nbf": moment,
    "exp": moment,
    "seq": partial(integer, least=1, most=1 << 53),
    "why": lambda value, what: one_of(Why, value, what),
    "area": name,
    "expect": lambda value, what: one_of(OutputState, value, what),
    "pol": partial(integer, least=0, most=1 << 53),
    "lease": name,
    "permit": name,
    "case": name,
    "notice": moment,
    "low_credit_at": moment,
    "ledger": name,
    "ledger_at": moment,
    "text": lambda value, what: text(value, what, MAX_TEXT),
    "cancels": name,
    "profile": _logical_name,
    "since": _date,
    "until": _date,
    "attribute": _attribute,
    "stream": _stream,
    "first": partial(integer, least=1, most=1 << 53),
    "last": partial(integer, least=1, most=1 << 53),
    "most_s": partial(integer, least=1, most=366 * 86400),
    "recharge": partial(integer, least=0, most=MAX_MONEY),
    "recharged_at": _date,
    "balance": partial(integer, least=-MAX_MONEY, most=MAX_MONEY),
    "watts": partial(integer, least=0, most=MAX_WATTS),
    "payment_mode": partial(integer, least=0, most=1),
    "control_mode": partial(integer, least=0, most=6),
    "change": lambda value, what: one_of(Change, value, what),
    "old": name,
    "bus": name,
    "address": partial(integer, least=0, most=(1 << 14) - 1),
    "model": name,
    "secrets": name,
    "host": _host,
    "port": partial(integer, least=1, most=65535),
}
"""What each member may hold; every one is an attribute of `Command`."""

_COMMON: Final = frozenset({"v", "typ", "cmd_id", "op", "iss", "dcu", "jid", "iat", "exp"})
_CUT: Final = frozenset(
    {"seq", "why", "area", "pol", "lease", "permit", "case", "notice", "low_credit_at", "ledger", "ledger_at", "nbf"}
)
"""What a disconnect names, whatever it is called."""

OPERATIONS: Final[Mapping[Operation, tuple[frozenset[str], frozenset[str]]]] = {
    #                       required beside the common ones                        optional
    Operation.CONNECT: (frozenset({"meter", "seq"}), frozenset({"why", "expect"})),
    Operation.DISCONNECT: (frozenset({"meter", "seq", "why", "pol"}), _CUT | {"expect"}),
    Operation.CANCEL: (frozenset({"meter", "cancels"}), frozenset({"why"})),
    Operation.FREEZE: (frozenset(), frozenset({"meter", "why"})),
    Operation.UNFREEZE: (frozenset(), frozenset({"meter", "why"})),
    Operation.READ: (frozenset({"meter"}), frozenset({"profile", "since", "until", "attribute"})),
    Operation.RESEND: (frozenset({"stream", "first", "last"}), frozenset()),
    Operation.CLOCK_SET: (frozenset({"meter", "most_s"}), frozenset()),
    Operation.BALANCE: (frozenset({"meter", "recharge", "recharged_at", "balance"}), _CUT),
    Operation.MESSAGE: (frozenset({"meter", "why", "text"}), frozenset({"nbf", "area"})),
    Operation.LIMIT: (frozenset({"meter", "watts"}), _CUT),
    Operation.METER: (
        frozenset({"meter", "change"}),
        frozenset({"old", "bus", "address", "model", "area", "secrets", "host", "port"}),
    ),
    Operation.MODE: (frozenset({"meter", "seq", "why", "pol"}), _CUT | {"payment_mode", "control_mode"}),
}
"""Members of each operation."""


def read_command(claims: Mapping[str, Json]) -> Command:
    """The command that the claims spell.

    Raises:
        CommandRefused: E_SCHEMA.
    """
    op = one_of(Operation, claims.get("op"), "op")
    required, optional = OPERATIONS[op]
    check_names(claims, _COMMON | required, optional, op.value)
    check_kind(claims, "relay")
    members = {member: READERS[member](value, member) for member, value in claims.items() if member in READERS}
    command = Command(**{"meter": "", "seq": None, "nbf": None, **members, "op": op})
    _check_whole(command)
    return command


def hints(claims: Mapping[str, Json]) -> tuple[str, str, str, str]:
    """(iss, cmd_id, op, meter) for the receipt of a command that has not the schema; empty where not legible."""
    iss, cmd_id, op, meter = (
        value if isinstance(value := claims.get(member), str) and IDENTIFIER.fullmatch(value) else ""
        for member in ("iss", "cmd_id", "op", "meter")
    )
    return iss, cmd_id, op, meter


def _check_whole(command: Command) -> None:
    """What no member says alone."""
    if command.why is Why.CREDIT and command.op in {Operation.DISCONNECT, Operation.MESSAGE} and command.area is None:
        raise refused("a credit disconnect or message names its area")
    if command.op is Operation.MODE and (command.payment_mode is None) == (command.control_mode is None):
        raise refused("a mode sets either payment_mode or control_mode")
    if not 0 <= (command.last or 0) - (command.first or 0) < MAX_RESENT:  # a resend names both, all others neither
        raise refused(f"first to last are not 1 to {MAX_RESENT} records")
    if command.op is Operation.READ and (command.profile is None) == (command.attribute is None):
        raise refused("a read names either a profile or an attribute")
    if command.attribute is not None and (command.since is not None or command.until is not None):
        raise refused("an attribute has no bounds of time")
    if command.since is not None and command.until is not None and command.since > command.until:
        raise refused("since is after until")
    if command.op is Operation.METER:
        _check_change(command)


def _check_change(command: Command) -> None:
    placed = {"bus", "address", "model", "area", "secrets"}
    given = {member for member in placed if getattr(command, member) is not None}
    if command.change is Change.RETIRE:
        if given or any((command.old, command.host, command.port)):
            raise refused("a retired meter has no place")
    elif given != placed:
        raise refused(f"{', '.join(sorted(placed - given))} missing")
    if (command.change is Change.REPLACE) != (command.old is not None):
        raise refused("old names the meter that is replaced, and only then")
