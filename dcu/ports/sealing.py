"""Seam around payloads that are made before they are asked for. No code."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from dcu.record import Stream


@dataclass(frozen=True, slots=True)
class Seal:
    """A whole payload that is made already.

    Attributes:
        stream: of its records.
        first: id of the first of them.
        last: id of the last; all between are in it.
        octets: of the batch before it was deflated.
        mark: checksum of the last record's body. A store in whose place an older copy was put gives its ids again, in
            the same epoch: then the last record is another one.
    """

    stream: Stream
    first: int
    last: int
    octets: int
    mark: int


class Seals(Protocol):
    """A cache, usable from any thread: what it does not have, or has no more, is made of the records themselves."""

    def run_from(self, epoch: str, stream: Stream, first: int) -> Sequence[Seal]:
        """Seals that follow each other without a hole, a few at most; none where none begins with that record."""
        ...

    def payload(self, epoch: str, seal: Seal) -> bytes | None:
        """Its octets, or None where they are not what was written, or gone."""
        ...

    def next_first(self, epoch: str, stream: Stream, n: int) -> int | None:
        """With which record the first seal behind record `n` begins."""
        ...
