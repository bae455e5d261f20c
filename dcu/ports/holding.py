"""What a store says of what it holds: how much, since when, for how long it is enough; and records page by page."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dcu.record import Stream


@dataclass(frozen=True, slots=True)
class StreamStock:
    """One stream's part of what is held.

    Attributes:
        stream: which.
        last: highest id ever given.
        delivered: all up to this id is confirmed by the broker.
        floor: nothing up to this id is held any more; each of those was announced.
        held: records.
        undelivered: of these, not confirmed.
        octets: of their bodies, about.
        dropped: records that were given up since the store was made: by age, for want of room, or damaged.
        oldest_s, newest_s: when the oldest and the newest that is held were stored, by the box's clock; None: none is.
        per_day: records of the last day that the box was running, or scaled up from what it ran; None: too early.
    """

    stream: Stream
    last: int
    delivered: int
    floor: int
    held: int
    undelivered: int
    octets: int
    dropped: int
    oldest_s: int | None
    newest_s: int | None
    per_day: float | None


@dataclass(frozen=True, slots=True)
class Stock:
    """All that is held.

    Attributes:
        streams: most urgent first.
        used_bytes: of the file that are in use; what was freed in it is used again.
        limit_bytes: readings are shed beyond this.
        bytes_per_day: that the file would grow in a day if nothing was dropped; None: too early to say.
        holds_s: an outage of the uplink that begins now costs no reading for so many seconds, at the rate of the last
            day; None: too early to say.
    """

    streams: tuple[StreamStock, ...]
    used_bytes: int
    limit_bytes: int
    bytes_per_day: float | None
    holds_s: float | None


@dataclass(frozen=True, slots=True)
class StoredRecord:
    """One record as stored.

    Attributes:
        id: in its stream.
        at_s: when it was stored, seconds since 1970 by the box's clock, trusted or not.
        layout: digest of its layout, where it has one.
        body: encoded.
    """

    id: int
    at_s: int
    layout: bytes | None
    body: bytes


@dataclass(frozen=True, slots=True)
class Page:
    """Some records of one stream, ascending, holes and all.

    Attributes:
        stream: which.
        records: that are whole.
        layouts: digest to encoded layout, those that the records use and that are whole.
        damaged: ids whose octets are not what was written.
        upto: ask for what is after this id next.
        more: there is more after it.
    """

    stream: Stream
    records: Sequence[StoredRecord]
    layouts: Mapping[bytes, bytes]
    damaged: tuple[int, ...]
    upto: int
    more: bool


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """One entry of the hash-chained journal of decisions.

    Attributes:
        n: its number, from 1.
        at_s: UTC seconds by the box's clock.
        kind: what it is about.
        body: canonical JSON.
        digest: of the chain up to it, 32 octets.
    """

    n: int
    at_s: int
    kind: str
    body: bytes
    digest: bytes
