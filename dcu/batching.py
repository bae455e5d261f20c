"""Which stream goes next, and how much of it: urgent records first, and the backlog always moves. Pure."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from dcu.record import Stream

SHARE: Final = 4
"""One batch of so many belongs to whoever waited longest."""

BATCH_BYTES: Final = 32 * 1024
"""Octets of records in a batch: above 16 KiB a link is busy, below 100 KiB a lost one costs little."""

HEAD_BYTES: Final = 1024
"""What stands before the records of a batch: far less."""

_URGENCY: Final = {stream: n for n, stream in enumerate(Stream)}
_NEVER: Final = -1


@dataclass(frozen=True, slots=True)
class Turns:
    """What has been served so far.

    Attributes:
        count: batches given.
        served: of each stream, the number of the last batch that was its own.
    """

    count: int = 0
    served: Mapping[Stream, int] = field(default_factory=lambda: MappingProxyType({}))

    def after(self, stream: Stream) -> "Turns":
        """The turns once a batch of `stream` is given."""
        return Turns(self.count + 1, MappingProxyType({**self.served, stream: self.count}))


def next_stream(waiting: Collection[Stream], turns: Turns, share: int = SHARE) -> Stream | None:
    """The stream that gives the next batch; None when none waits.

    The most urgent one, but each `share`-th batch goes to the stream that was not served for longest: whatever
    waits is served within `share` x (number of streams) batches.
    """
    if not waiting:
        return None
    if turns.count % share == share - 1:
        return min(waiting, key=lambda stream: (turns.served.get(stream, _NEVER), -_URGENCY[stream]))
    return min(waiting, key=_URGENCY.__getitem__)


def fit(sizes: Iterable[int], max_bytes: int) -> int:
    """How many of the records go into `max_bytes`; the first always goes, alone if it is larger than that.

    Consumes `sizes` up to the first that does not fit, and no further.
    """
    count = total = 0
    for size in sizes:
        total += size
        if count and total > max_bytes:
            break
        count += 1
        if total > max_bytes:
            break
    return count
