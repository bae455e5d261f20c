"""Records on their way up: append, batches beyond the cursor, delivery.

Ids come from AUTOINCREMENT inside the transaction, so that a rolled-back record leaves no hole. A batch costs what it
holds, however long the table is: records are read from the start until it is full, and no further.
"""
# ruff: noqa: S608 - the only names put into statements are those of `schema.table`, made from the Stream enum

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import takewhile
from typing import Final

from dcu import batching
from dcu.batching import Turns
from dcu.errors import OperatorFault, RecordDamaged, StoreFull
from dcu.event import DropReason
from dcu.ports import BatchSlice, Clock, Seal
from dcu.reading import Layout
from dcu.record import Stream, checksum, checksums, encode_layout, layout_digest, named_layout
from dcu.store.accounts import Accounts
from dcu.store.columns import decode_columns
from dcu.store.database import Database
from dcu.store.dropping import Dropping
from dcu.store.schema import table

log = logging.getLogger(__name__)

LOOK_BACK: Final = 50_000
"""Records that are searched for what was told of an interval, after a meter's clock was set back."""

ALWAYS: Final = frozenset({Stream.RECEIPT, Stream.ALARM})
"""What always finds room, as journal, counters and commands do, below the page limit."""

DAMAGED_AT_ONCE: Final = 64
"""Damaged places that one search for a batch steps over; the next search goes on."""


_NAMES: Final = tuple((stream, stream.value, table(stream)) for stream in Stream)
"""Of each stream what it is called in `cursor`, and its table: asked for with every batch."""


class _Damaged(RecordDamaged):
    """A record that is not what was written, or whose layout `digest` is not."""

    def __init__(self, stream: Stream, n: int, cause: str, digest: bytes | None = None) -> None:
        super().__init__(cause, place=f"record {n} of {stream.value}")
        self.id = n
        self.digest = digest


class Streams:
    """The streams of one store. Holds no record; remembers only whose turn it is."""

    def __init__(self, database: Database, clock: Clock, accounts: Accounts, dropping: Dropping) -> None:
        self._database = database
        self._clock = clock
        self._accounts = accounts
        self._dropping = dropping
        self._turns = Turns()

    def append(self, stream: Stream, body: bytes, layout: Layout | None = None) -> int:
        """See `ports.Transaction.append`."""
        if self._accounts.closed and stream not in ALWAYS:
            raise StoreFull("no room for readings: nothing is left that could be shed", place="store")
        digest = None if layout is None else self._keep(layout)
        self._accounts.note(stream, len(body))
        return self._database.write(
            f"INSERT INTO {table(stream)} (at_s, crc, layout, body) VALUES (?, ?, ?, ?)",
            (int(self._clock.now().timestamp()), checksum(body), digest, body),
        )

    def next_batch(self, after: Mapping[Stream, int], max_bytes: int) -> BatchSlice | None:
        """See `ports.Transaction.next_batch`. What is damaged is given up, announced, and the rest goes on."""
        starts = self._starts(after)
        damaged = 0
        while (turn := batching.next_stream(starts, self._turns)) is not None and damaged < DAMAGED_AT_ONCE:
            try:
                found = self._slice(turn, starts[turn], max_bytes)
            except _Damaged as fault:
                damaged += 1
                self._give_up(turn, fault)
                if not self._exists(turn, starts[turn]):
                    del starts[turn]
            else:
                self._turns = self._turns.after(turn)
                return found
        return None

    def next_sealed(
        self, after: Mapping[Stream, int], choose: Callable[[Stream, int], Sequence[Seal]]
    ) -> Sequence[Seal]:
        """See `ports.Transaction.next_sealed`."""
        starts = self._starts(after)
        turn = batching.next_stream(starts, self._turns)
        if turn is None:
            return ()
        sound = tuple(takewhile(self._holds_all, choose(turn, starts[turn])))
        if sound:
            self._turns = self._turns.after(turn)
        return sound

    def again(self, stream: Stream, first: int, last: int, max_bytes: int) -> BatchSlice | None:
        """See `ports.Transaction.again`. What is damaged is passed over."""
        while first <= last and self._exists(stream, first):
            try:
                found = self._slice(stream, first, max_bytes)
            except _Damaged as fault:
                first = fault.id + 1
                continue
            within = found.bodies[: max(0, last - found.first + 1)]
            return replace(found, bodies=within) if within else None
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
        return {stream: (delivered.get(value, 0), given.get(name, 0)) for stream, value, name in _NAMES}

    def told(self, stream: Stream, words: bytes) -> Iterator[bytes]:
        """Bodies that contain `words`, oldest first, of the newest `LOOK_BACK` records."""
        found = self._database.rows(
            f"SELECT body FROM (SELECT id, body FROM {table(stream)} ORDER BY id DESC LIMIT ?) "
            "WHERE instr(body, ?) > 0 ORDER BY id",
            (LOOK_BACK, words),
        )
        return (body for (body,) in found)

    def _give_up(self, stream: Stream, fault: "_Damaged") -> None:
        """A damaged record; of a damaged layout all that use it from there on, unless it is known from elsewhere."""
        log.error("%s", fault)
        last = fault.id
        if fault.digest is not None:
            if self._mend(fault.digest):
                return
            rows = self._database.rows(
                f"SELECT id, layout FROM {table(stream)} WHERE id >= ? ORDER BY id LIMIT ?", (fault.id, LOOK_BACK)
            )
            same = takewhile(lambda row: row[1] == fault.digest, rows)
            last = [n for n, _ in same][-1]
        self._dropping.between(stream, fault.id, last, DropReason.DAMAGED, fault.cause)

    def _mend(self, digest: bytes) -> bool:
        """Write a layout anew where the gap ledger has its columns."""
        for (columns,) in self._database.rows("SELECT DISTINCT columns FROM profile WHERE columns IS NOT NULL"):
            try:
                encoded = encode_layout(decode_columns(columns))
            except Exception:  # noqa: BLE001, S112  whatever is wrong with these, they are not what is looked for
                continue
            if layout_digest(encoded) == digest:
                self._database.write("INSERT OR REPLACE INTO layout (digest, encoded) VALUES (?, ?)", (digest, encoded))
                return True
        return False

    def _starts(self, after: Mapping[Stream, int]) -> dict[Stream, int]:
        """Of each stream that has records beyond its cursor and `after`: with which id they begin."""
        starts: dict[Stream, int] = {}
        floors = self._accounts.floors()
        for stream, (delivered, last) in self.cursors().items():
            start = max(delivered, after.get(stream, 0), floors[stream]) + 1
            if start <= last and self._exists(stream, start):
                starts[stream] = start
        return starts

    def _holds_all(self, seal: Seal) -> bool:
        """Whether its records are those of this store and none was given up; counted only where any was."""
        name, account = table(seal.stream), self._accounts.account(seal.stream)
        last = self._database.first(f"SELECT crc FROM {name} WHERE id = ?", (seal.last,))
        if last != (seal.mark,):
            return False
        if not account.holes:
            return seal.first > account.floor
        found = self._database.first(f"SELECT count(*) FROM {name} WHERE id BETWEEN ? AND ?", (seal.first, seal.last))
        return found == (seal.last - seal.first + 1,)

    def _exists(self, stream: Stream, start: int) -> bool:
        return self._database.first(f"SELECT 1 FROM {table(stream)} WHERE id >= ? LIMIT 1", (start,)) is not None

    def _slice(self, stream: Stream, start: int, max_bytes: int) -> BatchSlice:
        """Contiguous records from `start`: until the budget, a hole, or a damaged record."""
        ids, crcs, digests, bodies = zip(*self._read(stream, start, max_bytes), strict=True)
        count = _sound(ids, crcs, bodies)
        if not count:
            raise _Damaged(stream, ids[0], "its checksum is wrong")
        layouts: dict[bytes, bytes] = {}
        sizes = list(map(len, bodies))
        for digest in dict.fromkeys(digests[:count]):
            if digest is None:
                continue
            place = digests.index(digest)
            try:
                layouts[digest] = self._layout(stream, ids[place], digest)
            except _Damaged:
                if not place:
                    raise
                count = place  # what stands before it is good
                break
            sizes[place] += len(digest) + len(layouts[digest])
        count = batching.fit(sizes[:count], max_bytes)
        used = {digest: layouts[digest] for digest in dict.fromkeys(digests[:count]) if digest is not None}
        return BatchSlice(stream, ids[0], list(bodies[:count]), used)

    def _read(self, stream: Stream, start: int, max_bytes: int) -> list[tuple[int, int, bytes | None, bytes]]:
        """(id, CRC, digest, body) of records from `start` on, until the bodies are more than the budget.

        A backlog is a million of them: nothing is done for each alone that can be done for all.
        """
        records = []
        total = 0
        sql = f"SELECT id, crc, layout, body FROM {table(stream)} WHERE id >= ? ORDER BY id"
        for record in self._database.each(sql, (start,)):
            records.append(record)
            total += len(record[3])
            if total > max_bytes:
                break
        return records

    def _layout(self, stream: Stream, n: int, digest: bytes) -> bytes:
        found = self._database.first("SELECT encoded FROM layout WHERE digest = ?", (digest,))
        if found is None or layout_digest(found[0]) != digest:
            raise _Damaged(stream, n, "its layout is damaged", digest)
        encoded: bytes = found[0]
        return encoded

    def _keep(self, layout: Layout) -> bytes:
        encoded, digest = named_layout(layout)
        self._database.write("INSERT OR IGNORE INTO layout (digest, encoded) VALUES (?, ?)", (digest, encoded))
        return digest


def _sound(ids: Sequence[int], crcs: Sequence[int], bodies: Sequence[bytes]) -> int:
    """How many of the records stand before the first hole and before the first whose checksum is wrong."""
    found = checksums(bodies)
    count = len(ids)
    if ids[-1] - ids[0] != count - 1:
        count = next(n for n, each in enumerate(ids) if each != ids[0] + n)
    if found != list(crcs):
        count = min(count, next(n for n, crc in enumerate(crcs) if crc != found[n]))
    return count
