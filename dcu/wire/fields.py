"""Reads the fields of one message from a peer that is not trusted: types and bounds of each, by name."""

from collections.abc import Mapping
from enum import Enum
from typing import Any, Final, TypeVar

from dcu.errors import SocketFault
from dcu.record import Stream

MAX_ID: Final = 2**63 - 1
"""The highest id that SQLite gives."""

_STREAMS: Final = {stream.value: stream for stream in Stream}

E = TypeVar("E", bound=Enum)


class Fields:
    """Reads the fields of one message; every reader names the field that is wrong."""

    def __init__(self, message: Mapping[str, Any]) -> None:
        self._message = message

    def number(self, key: str, low: int, high: int) -> int:
        """An integer, both ends inclusive."""
        value = self._message.get(key)
        if type(value) is not int or not low <= value <= high:
            raise SocketFault(f"`{key}` is not an integer from {low} to {high}")
        return value

    def optional(self, key: str, low: int, high: int) -> int | None:
        """As `number`, or None."""
        return None if self._message.get(key) is None else self.number(key, low, high)

    def text(self, key: str, shortest: int, longest: int) -> str:
        """A text, its length in characters."""
        value = self._message.get(key)
        if type(value) is not str or not shortest <= len(value) <= longest:
            raise SocketFault(f"`{key}` is not a text of {shortest} to {longest} characters")
        return value

    def octets(self, key: str, longest: int) -> bytes:
        """At most `longest` octets."""
        value = self._message.get(key)
        if type(value) is not bytes or len(value) > longest:
            raise SocketFault(f"`{key}` is not at most {longest} octets")
        return value

    def member(self, key: str, words: tuple[str, ...]) -> str:
        """One of `words`."""
        value = self._message.get(key)
        if type(value) is not str or value not in words:
            raise SocketFault(f"`{key}` is none of {', '.join(words)}")
        return value

    def truth(self, key: str) -> bool:
        """A boolean."""
        value = self._message.get(key)
        if type(value) is not bool:
            raise SocketFault(f"`{key}` is not true or false")
        return value

    def one_of(self, key: str, kinds: type[E]) -> E:
        """A member of an enumeration, by its value."""
        try:
            return kinds(self._message.get(key))
        except (ValueError, TypeError):
            raise SocketFault(f"`{key}` is none of {', '.join(str(k.value) for k in kinds)}") from None

    def perhaps(self, key: str, kinds: type[E]) -> E | None:
        """As `one_of`, or None."""
        return None if self._message.get(key) is None else self.one_of(key, kinds)

    def payloads(self, key: str, first: int, longest: int) -> tuple[tuple[int, int, bytes], ...]:
        """Payloads of records that follow each other from `first` on: (last, octets before deflating, payload) each.

        All together they have at most `longest` octets.
        """
        value = self._message.get(key)
        if type(value) is not list or not value:
            raise SocketFault(f"`{key}` is not a list of payloads")
        found: list[tuple[int, int, bytes]] = []
        for member in value:
            if type(member) is not list or [type(part) for part in member] != [int, int, bytes]:
                raise SocketFault(f"`{key}` holds something that is no payload")
            last, octets, payload = member
            if not first <= last <= MAX_ID or not 0 < octets <= longest or not payload:
                raise SocketFault(f"`{key}` holds a payload of no records, or of too many")
            found.append((last, octets, payload))
            first = last + 1
        if sum(len(payload) for _, _, payload in found) > longest:
            raise SocketFault(f"`{key}` has more than {longest} octets")
        return tuple(found)

    def ids(self, key: str) -> dict[Stream, int]:
        """Ids by stream."""
        value = self._message.get(key)
        if type(value) is not dict or len(value) > len(Stream):
            raise SocketFault(f"`{key}` is not a map of streams")
        inner = Fields(value)
        if not value.keys() <= _STREAMS.keys():
            raise SocketFault(f"`{key}` names an unknown stream")
        return {_STREAMS[name]: inner.number(name, 0, MAX_ID) for name in value}
