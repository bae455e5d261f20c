"""Fields of the configuration: what each accepts, and what to say when it is something else."""

import difflib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from dcu.config.mistakes import Mistake, Where, key_lines, line_of, spelled
from dcu.meter import AttributeRef
from dcu.obis import LogicalName
from dcu.uplink import address

NAME = re.compile(r"[A-Za-z0-9._-]{1,40}")
"""Ids that stand in topics and signed documents (command-authority.md 11)."""


class _NotGiven:
    """Marks a field that has no default."""


REQUIRED = _NotGiven()


class Refused(Exception):
    """A value that a field does not accept: cause and cure."""

    def __init__(self, cause: str, cure: str) -> None:
        super().__init__(cause)
        self.cause = cause
        self.cure = cure


@dataclass(frozen=True, slots=True)
class Field:
    """One key of a table: how its value is read, and what stands for it when it is not given."""

    read: Callable[[Any], Any]
    default: Any = REQUIRED


class Sheet:
    """One TOML file while it is being checked: its text's lines, and the mistakes found so far."""

    def __init__(self, path: Path, text: str) -> None:
        self.path = path
        self.lines = key_lines(text)
        self.mistakes: list[Mistake] = []

    def wrong(self, where: Where, cause: str, cure: str) -> None:
        """Note a mistake at a key."""
        self.mistakes.append(Mistake(self.path, line_of(self.lines, where), spelled(where), cause, cure))

    def read(
        self, table: Any, where: Where, fields: Mapping[str, Field], gone: Mapping[str, str] = MappingProxyType({})
    ) -> dict[str, Any] | None:
        """The values of one table, or None when any of it was wrong (each wrong key noted).

        Args:
            table: as it was read.
            where: it stands.
            fields: by key.
            gone: keys that mean nothing any more, and what to do about each.
        """
        before = len(self.mistakes)
        if not isinstance(table, dict):
            self.wrong(where, "is not a table", f"write it as [{spelled(where)}]")
            return None
        for key in table.keys() - fields.keys():
            cause = "means nothing any more" if key in gone else "unknown key"
            self.wrong((*where, key), cause, gone.get(key) or did_you_mean(key, fields))
        values: dict[str, Any] = {}
        for key, field in fields.items():
            if key in table:
                try:
                    values[key] = field.read(table[key])
                except Refused as refused:
                    self.wrong((*where, key), refused.cause, refused.cure)
            elif field.default is REQUIRED:
                self.wrong((*where, key), "is missing", f"add it to [{spelled(where)}]" if where else "add it on top")
            else:
                values[key] = field.default
        return values if len(self.mistakes) == before else None


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A cure for a word that is not known."""
    names = list(known)
    close = difflib.get_close_matches(word, names, n=1, cutoff=0.6)
    return f"did you mean {close[0]!r}?" if close else f"allowed: {', '.join(names)}"


def text(value: Any) -> str:
    """A string that is not empty. A bare number is refused: `00123` must stay `00123`."""
    if not isinstance(value, str):
        raise Refused(f"{value!r} is not a string", "put it in quotes")
    if not value.strip():
        raise Refused("is empty", "give it a value")
    return value


def name(value: Any) -> str:
    """An id: 1 to 40 of A-Z a-z 0-9 . _ and hyphen."""
    if not NAME.fullmatch(text(value)):
        raise Refused(f"{value!r} is no id", "use 1 to 40 of A-Z a-z 0-9 . _ -")
    return str(value)


def flag(value: Any) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        raise Refused(f"{value!r} is not true or false", "write true or false, without quotes")
    return value


def whole(least: int, most: int) -> Callable[[Any], int]:
    """A whole number between two bounds, both allowed."""

    def read(value: Any) -> int:
        if not isinstance(value, int) or isinstance(value, bool):
            raise Refused(f"{value!r} is not a whole number", f"write a number from {least} to {most}, without quotes")
        if not least <= value <= most:
            raise Refused(f"{value} is out of range", f"allowed: {least} to {most}")
        return value

    return read


def one_of(allowed: Iterable[Any]) -> Callable[[Any], Any]:
    """One of a few values."""
    known = list(allowed)

    def read(value: Any) -> Any:
        if value not in known:
            words = [word for word in known if isinstance(word, str)]
            cure = did_you_mean(str(value), words) if words else f"allowed: {', '.join(map(str, known))}"
            raise Refused(f"{value!r} is not allowed", cure)
        return value

    return read


def many(read: Callable[[Any], Any]) -> Callable[[Any], tuple[Any, ...]]:
    """A list, each member read by `read`."""

    def members(value: Any) -> tuple[Any, ...]:
        if not isinstance(value, list):
            raise Refused("is not a list", "write it in brackets: [a, b]")
        return tuple(read(member) for member in value)

    return members


def logical_name(value: Any) -> LogicalName:
    """A logical name, `1.0.99.1.0` or with its sixth group."""
    try:
        return LogicalName.of(text(value))
    except ValueError:
        cure = 'write five or six groups of 0 to 255, as "1.0.99.1.0"'
        raise Refused(f"{value!r} is no logical name", cure) from None


def attribute(value: Any) -> AttributeRef:
    """One attribute, `CLASS:LOGICAL.NAME/ATTRIBUTE`."""
    try:
        return AttributeRef.of(text(value))
    except ValueError:
        raise Refused(f"{value!r} is no attribute", 'write class:name/attribute, as "1:0.0.94.96.20/2"') from None


def directory(base: Path) -> Callable[[Any], Path]:
    """A path to a directory that is there."""

    def read(value: Any) -> Path:
        found = base / text(value)
        if not found.is_dir():
            raise Refused(f"no directory {found}", "make it, or correct the path")
        return found

    return read


def path(base: Path) -> Callable[[Any], Path]:
    """A path; a relative one stands beside the configuration file."""

    def read(value: Any) -> Path:
        return base / text(value)

    return read


def existing(base: Path) -> Callable[[Any], Path]:
    """A path to a file that is there."""

    def read(value: Any) -> Path:
        found = base / text(value)
        if not found.is_file():
            raise Refused(f"no file {found}", "put the file there, or correct the path")
        return found

    return read


def zone(value: Any) -> ZoneInfo:
    """An IANA time zone."""
    try:
        return ZoneInfo(text(value))
    except (ZoneInfoNotFoundError, ValueError):
        raise Refused(f"no time zone {value!r}", 'use an IANA name, as "Asia/Kolkata"') from None


def broker(value: Any) -> tuple[str, int]:
    """Host and port of `mqtts://host:port`."""
    try:
        return address.parse(text(value))
    except ValueError as fault:
        raise Refused(str(fault), f'write it as "{address.FORM}"') from None
