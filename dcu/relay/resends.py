"""Ranges of records that are to be published once more, under their own ids. They outlive a restart.

A range is kept until uplink says that the broker has it; the cursor of its stream is not moved. What a range names and
the store does not keep any more was announced as dropped, and is passed over.
"""

from dataclasses import dataclass, replace
from typing import Final

from dcu.command import Command, CommandRefused, Refusal
from dcu.ports import BatchSlice, Transaction
from dcu.record import Stream
from dcu.relay.canonical import canonical, parse

DOCUMENT: Final = "resend"
"""Where the store keeps them."""

_STREAMS: Final = frozenset(stream.value for stream in Stream)
"""Another version of the program may have had more."""


@dataclass(frozen=True, slots=True)
class Range:
    """Records `first` to `last` of a stream."""

    stream: Stream
    first: int
    last: int


def ranges(tx: Transaction) -> list[Range]:
    """All that wait, the oldest first; what cannot be read is none."""
    found = tx.document(DOCUMENT)
    if found is None:
        return []
    try:
        kept = parse(found[1], Refusal.E_STORE)
    except CommandRefused:
        return []
    waiting = []
    for each in kept if isinstance(kept, list) else []:
        match each:
            case [str(stream), int(first), int(last)] if stream in _STREAMS:
                waiting.append(Range(Stream(stream), first, last))
    return waiting


def want(tx: Transaction, command: Command) -> None:
    """Keep the range that a `resend` names. What was not delivered yet comes by itself, and is left out."""
    match command:
        case Command(stream=str(stream), first=int(first), last=int(last)):  # the schema lets no other resend through
            delivered, _ = tx.cursors()[Stream(stream)]
            wanted = Range(Stream(stream), first, min(last, delivered))
            if wanted.first <= wanted.last:
                _keep(tx, [*ranges(tx), wanted])


def next_again(tx: Transaction, max_bytes: int) -> BatchSlice | None:
    """The next records that are to be published once more; None: there are none."""
    waiting = ranges(tx)
    while waiting:
        wanted = waiting[0]
        found = tx.again(wanted.stream, wanted.first, wanted.last, max_bytes)
        if found is not None:
            return found
        waiting = waiting[1:]
        _keep(tx, waiting)
    return None


def published(tx: Transaction, stream: Stream, last: int) -> None:
    """The broker has what was offered again of that stream, up to `last`."""
    waiting = ranges(tx)
    for n, wanted in enumerate(waiting):
        if wanted.stream is stream and wanted.first <= last:
            rest = replace(wanted, first=last + 1)
            _keep(tx, [*waiting[:n], *([rest] if rest.first <= rest.last else []), *waiting[n + 1 :]])
            return


def _keep(tx: Transaction, waiting: list[Range]) -> None:
    octets = canonical([[each.stream.value, each.first, each.last] for each in waiting])
    tx.save_document(DOCUMENT, 0, octets)
