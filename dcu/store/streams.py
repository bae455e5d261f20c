"""Records on their way up: append, batches beyond the cursor, delivery.

Ids come from AUTOINCREMENT inside the transaction, so that a rolled-back record leaves no hole. A batch costs what it
holds, however long the table is: the ids and sizes beyond the start are read in steps, then the bodies once.
"""
# ruff: noqa: S608 - the only names put into statements are those of `schema.table`, made from the Stream enum

import logging
from collections.abc import Iterator, Mapping
from typing import Final

from dcu import batching
from dcu.batching import Turns
from dcu.errors import OperatorFault, RecordDamaged
from dcu.event import Alarm, AlarmKind
from dcu.ports import BatchSlice, Clock
from dcu.reading import Layout
from dcu.record import Stream, checksum, encode_alarm, encode_layout, layout_digest
from dcu.store.database import Database
from dcu.store.schema import table

log = logging.getLogger(__name__)

LOOK_BACK: Final = 50_000
"""Records that are searched for what was told of an interval, after a meter's clock was set back."""

STEP: Final = 128
"""Records whose sizes are looked at in one query."""


class Streams:
    """The streams of one store. Holds no record; remembers only whose turn it is, and what is damaged."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._turns = Turns()
        self._damaged: dict[Stream, int] = {}  # the first id that cannot be delivered

    def append(self, stream: Stream, body: bytes, layout: Layout | None = None) -> int:
        """See `ports.Transaction.append`."""
        digest = None if layout is None else self._keep(layout)
        return self._database.write(
            f"INSERT INTO {table(stream)} (at_s, crc, layout, body) VALUES (?, ?, ?, ?)",
            (int(self._clock.now().timestamp()), checksum(body), digest, body),
        )

    def next_batch(self, after: Mapping[Stream, int], max_bytes: int) -> BatchSlice | None:
        """See `ports.Transaction.next_batch`. A stream whose next record is damaged waits, alarmed once a start."""
        starts: dict[Stream, int] = {}
        for stream, (delivered, last) in self.cursors().items():
            start = max(delivered, after.get(stream, 0)) + 1
            if start <= last and start != self._damaged.get(stream) and self._exists(stream, start):
                starts[stream] = start
        while (turn := batching.next_stream(starts, self._turns)) is not None:
            self._turns = self._turns.after(turn)
            try:
                return self._slice(turn, starts[turn], max_bytes)
            except RecordDamaged as fault:
                self._set_aside(turn, starts.pop(turn), fault)
        return None

    def deliver(self, stream: Stream, last: int) -> None:
        """See `ports.Transaction.deliver`."""
        delivered, given = self.cursors()[stream]
        if last > given:
            raise OperatorFault(f"{last} is beyond the last record {given}", place=f"stream {stream.value}")
        if last > delivered:
            self._database.write(
                "INSERT INTO cursor (stream, delivered) VALUES (?, ?) "
                "ON CONFLICT (stream) DO UPDATE SET delivered = excluded.delivered",
                (stream.value, last),
            )

    def cursors(self) -> Mapping[Stream, tuple[int, int]]:
        """See `ports.Transaction.cursors`."""
        delivered = dict(self._database.rows("SELECT stream, delivered FROM cursor"))
        given = dict(self._database.rows("SELECT name, seq FROM sqlite_sequence"))
        return {stream: (delivered.get(stream.value, 0), given.get(table(stream), 0)) for stream in Stream}

    def told(self, stream: Stream, words: bytes) -> Iterator[bytes]:
        """Bodies that contain `words`, oldest first, of the newest `LOOK_BACK` records."""
        found = self._database.rows(
            f"SELECT body FROM (SELECT id, body FROM {table(stream)} ORDER BY id DESC LIMIT ?) "
            "WHERE instr(body, ?) > 0 ORDER BY id",
            (LOOK_BACK, words),
        )
        return (body for (body,) in found)

    def _set_aside(self, stream: Stream, start: int, fault: RecordDamaged) -> None:
        log.error("%s", fault)
        self._damaged[stream] = start
        facts = {"stream": stream.value, "id": start}
        self.append(
            Stream.ALARM,
            encode_alarm(
                Alarm(AlarmKind.RECORD_DAMAGED, self._clock.now(), self._clock.state(), str(fault), "", facts)
            ),
        )

    def _exists(self, stream: Stream, start: int) -> bool:
        return self._database.first(f"SELECT 1 FROM {table(stream)} WHERE id >= ? LIMIT 1", (start,)) is not None

    def _slice(self, stream: Stream, start: int, max_bytes: int) -> BatchSlice:
        """Contiguous records from `start`: until the budget, a hole, or a damaged record."""
        layouts: dict[bytes, bytes] = {}
        count = batching.fit(self._sizes(stream, start, layouts), max_bytes)
        found = self._database.rows(
            f"SELECT id, crc, layout, body FROM {table(stream)} WHERE id >= ? ORDER BY id LIMIT ?", (start, count)
        )
        bodies: list[bytes] = []
        used: dict[bytes, bytes] = {}
        for n, crc, digest, body in found:
            if checksum(body) != crc:
                if not bodies:
                    raise RecordDamaged("its checksum is wrong: not delivered", place=f"record {n} of {stream.value}")
                break
            if digest is not None:
                used[digest] = layouts[digest]
            bodies.append(body)
        return BatchSlice(stream, found[0][0], bodies, used)

    def _sizes(self, stream: Stream, start: int, layouts: dict[bytes, bytes]) -> Iterator[int]:
        """Octets that each record adds to a batch, from `start` to the first hole; a layout counts where it is new."""
        awaited: int | None = None
        first = start
        while True:
            step = self._database.rows(
                f"SELECT id, layout, length(body) FROM {table(stream)} WHERE id >= ? ORDER BY id LIMIT ?", (start, STEP)
            )
            for n, digest, size in step:
                if awaited is not None and n != awaited:
                    return
                awaited = n + 1
                if digest is None or digest in layouts:
                    yield size
                else:
                    try:
                        layouts[digest] = self._layout(stream, n, digest)
                    except RecordDamaged:
                        if n == first:
                            raise
                        return  # what stands before it is good
                    yield size + len(digest) + len(layouts[digest])
            if len(step) < STEP:
                return
            start = step[-1][0] + 1

    def _layout(self, stream: Stream, n: int, digest: bytes) -> bytes:
        found = self._database.first("SELECT encoded FROM layout WHERE digest = ?", (digest,))
        if found is None or layout_digest(found[0]) != digest:
            raise RecordDamaged("its layout is damaged: not delivered", place=f"record {n} of {stream.value}")
        encoded: bytes = found[0]
        return encoded

    def _keep(self, layout: Layout) -> bytes:
        encoded = encode_layout(layout)
        digest = layout_digest(encoded)
        self._database.write("INSERT OR IGNORE INTO layout (digest, encoded) VALUES (?, ?)", (digest, encoded))
        return digest
