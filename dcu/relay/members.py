"""Members of signed payloads, read strictly: each is of its kind and within its bounds, or E_SCHEMA. Pure."""

from collections.abc import Callable, Collection, Mapping
from enum import Enum
from typing import Final, TypeVar

from dcu.command import CommandRefused, Refusal
from dcu.relay.canonical import Json
from dcu.relay.envelope import IDENTIFIER

E = TypeVar("E", bound=Enum)
T = TypeVar("T")

LATEST_S: Final = 1 << 40
"""No time in a document is beyond this."""


def check_names(claims: Mapping[str, Json], required: Collection[str], optional: Collection[str], what: str) -> None:
    """Exactly the members that `what` has. Raises CommandRefused: E_SCHEMA."""
    if missing := set(required) - claims.keys():
        raise refused(f"{', '.join(sorted(missing))} missing")
    if unknown := claims.keys() - set(required) - set(optional):
        raise refused(f"{', '.join(sorted(unknown))[:80]} in a {what}")


def check_kind(claims: Mapping[str, Json], typ: str) -> None:
    """`v` is 1 and `typ` is that. Raises CommandRefused: E_SCHEMA."""
    if not is_of_version_1(claims) or claims.get("typ") != typ:
        raise refused(f"not a {typ} of version 1")


def is_of_version_1(claims: Mapping[str, Json]) -> bool:
    """Whether `v` is the number 1: Python takes true for it."""
    return claims.get("v") == 1 and claims["v"] is not True


def refused(cause: str) -> CommandRefused:
    """E_SCHEMA with its cause."""
    return CommandRefused(Refusal.E_SCHEMA, cause)


def name(value: Json, what: str) -> str:
    """A name, as `envelope.IDENTIFIER` has it."""
    if not isinstance(value, str) or not IDENTIFIER.fullmatch(value):
        raise refused(f"{what} is not 1 to 40 of A-Z a-z 0-9 . _ -")
    return value


def integer(value: Json, what: str, least: int, most: int = 1 << 53) -> int:
    """A whole number between two others."""
    if type(value) is not int or not least <= value <= most:
        raise refused(f"{what} is not a number from {least} to {most}")
    return value


def moment(value: Json, what: str) -> int:
    """UTC seconds."""
    return integer(value, what, 0, LATEST_S)


def truth(value: Json, what: str) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        raise refused(f"{what} is not true or false")
    return value


def one_of(kind: type[E], value: Json, what: str) -> E:
    """A member of an enumeration, by its value."""
    for member in kind:
        if member.value == value and not isinstance(value, bool):
            return member
    raise refused(f"{what} is none of {', '.join(str(m.value) for m in kind)}")


def text(value: Json, what: str, most: int) -> str:
    """Printable ASCII (canonical JSON has let nothing else through), not empty."""
    if not isinstance(value, str) or not 1 <= len(value) <= most:
        raise refused(f"{what} is not 1 to {most} characters")
    return value


def named(value: Json, what: str) -> dict[str, Json]:
    """An object whose members' names are names."""
    if not isinstance(value, dict) or not all(IDENTIFIER.fullmatch(member) for member in value):
        raise refused(f"{what} is not an object of names")
    return value


def each(value: Json, what: str, read: Callable[[Json, str], T]) -> tuple[T, ...]:
    """Every element of a list."""
    if not isinstance(value, list):
        raise refused(f"{what} is not a list")
    return tuple(read(element, what) for element in value)
