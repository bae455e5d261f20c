"""Rows that are known by their values: logs, bills, and intervals that a meter's clock passed twice.

A mark is the time of a row that was let in, its number among the rows of that time, and a digest of its values.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence

import cbor2

from dcu.reading import Layout, ProfileReading, Row, Value
from dcu.store.database import Database

_NAMES_OF_EVENTS = (bytes((0, 0, 96, 11)), bytes((0, 0, 96, 15)))  # codes and sequence numbers

UNKNOWN = b""
"""Digest of a row whose values cannot be found any more: no row is equal to it."""

Let = tuple[tuple[Row, ...], tuple[tuple[int, int], ...]]
"""Rows that are let in, in the order in which they came, and `again` of `ProfileReading`."""


def digest(values: Sequence[Value]) -> bytes:
    """The first 8 bytes of the SHA-256 of the values in CBOR."""
    return hashlib.sha256(cbor2.dumps(list(values))).digest()[:8]


def event_digest(layout: Layout) -> Callable[[Sequence[Value]], bytes]:
    """Digest of an event's row: of its code and number where the log has them, since these name it; else of all of it.

    What a log captures beside the code may be changed with the firmware, and the events that it holds stay the same.
    """
    places = [n - 1 for n, column in enumerate(layout) if n and column.logical_name.octets[:4] in _NAMES_OF_EVENTS]
    return (lambda values: digest([values[n] for n in places])) if places else digest


class Marks:
    """The marks of all profiles, by the number of the profile's row in the ledger."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def of(self, profile: int, times: Iterable[int]) -> dict[int, list[bytes]]:
        """Digests of the rows let in at those of `times` that have marks, first let in first."""
        wanted = set(times)
        found: dict[int, list[bytes]] = defaultdict(list)
        if wanted:
            rows = self._database.rows(
                "SELECT at_s, digest FROM mark WHERE profile = ? AND at_s BETWEEN ? AND ? ORDER BY at_s, n",
                (profile, min(wanted), max(wanted)),
            )
            for at, known in rows:
                if at in wanted:
                    found[at].append(known)
        return dict(found)

    def times(self, profile: int, spans: Sequence[tuple[int, int]]) -> list[int]:
        """Times that have marks in spans of seconds, ascending."""
        query = "SELECT DISTINCT at_s FROM mark WHERE profile = ? AND at_s BETWEEN ? AND ? ORDER BY at_s"
        return [at for span in spans for (at,) in self._database.rows(query, (profile, *span))]

    def newest(self, profile: int) -> int | None:
        """Time of the newest row that has a mark."""
        found = self._database.first("SELECT max(at_s) FROM mark WHERE profile = ?", (profile,))
        return None if found is None else found[0]

    def add(self, profile: int, marks: Mapping[int, Sequence[bytes]]) -> None:
        """Note the digests of each time, those that are there stay."""
        self._database.write_all(
            "INSERT OR IGNORE INTO mark (profile, at_s, n, digest) VALUES (?, ?, ?, ?)",
            ((profile, at, n, known) for at, all_known in marks.items() for n, known in enumerate(all_known)),
        )

    def held(self, profile: int, reading: ProfileReading, key: Callable[[Sequence[Value]], bytes]) -> tuple[bool, ...]:
        """Of each row, whether it was let in: by its time, and what `key` makes of its values."""
        known = self.of(profile, (row.captured_at.epoch_s for row in reading.rows))
        return tuple(key(row.values) in known.get(row.captured_at.epoch_s, []) for row in reading.rows)

    def admit_events(self, profile: int, reading: ProfileReading) -> Let:
        """Each row of a log once; equal rows of one second count as often as one answer has them."""
        known = self.of(profile, (row.captured_at.epoch_s for row in reading.rows))
        key = event_digest(reading.layout)
        left = Counter((at, one) for at, all_known in known.items() for one in all_known)
        rows: list[Row] = []
        again: list[tuple[int, int]] = []
        for row in reading.rows:
            at, this = row.captured_at.epoch_s, key(row.values)
            if left[at, this] > 0:
                left[at, this] -= 1
                continue
            at_time = known.setdefault(at, [])
            if at_time:
                again.append((len(rows), len(at_time)))
            at_time.append(this)
            rows.append(row)
        self.add(profile, {row.captured_at.epoch_s: known[row.captured_at.epoch_s] for row in rows})
        return tuple(rows), tuple(again)

    def admit_bills(self, profile: int, reading: ProfileReading, *, newest: bool) -> Let:
        """Each bill once: a row of a date that is known is another bill where its values are others.

        Args:
            profile: number.
            reading: the newest row first; of two rows of one date the older one is let in first.
            newest: the first one is the newest of the meter's buffer: beside a bill of its date it may be the running
                period, and waits until another stands before it.
        """
        known = self.of(profile, (row.captured_at.epoch_s for row in reading.rows))
        let_in: dict[int, int] = {}
        for index in range(len(reading.rows) - 1, -1, -1):
            row = reading.rows[index]
            at_time, this = known.setdefault(row.captured_at.epoch_s, []), digest(row.values)
            if this in at_time or (at_time and newest and index == 0):
                continue
            let_in[index] = len(at_time)
            at_time.append(this)
        chosen = sorted(let_in)
        rows = tuple(reading.rows[index] for index in chosen)
        self.add(profile, {row.captured_at.epoch_s: known[row.captured_at.epoch_s] for row in rows})
        return rows, tuple((n, let_in[index]) for n, index in enumerate(chosen) if let_in[index])

    def admit_intervals(self, profile: int, reading: ProfileReading, new: frozenset[int], *, newest_first: bool) -> Let:
        """Rows of a ring whose times are `new`, and others of a time that is held, where their values are others.

        Args:
            profile: number.
            reading: in the order of the meter's buffer.
            new: times that are not held.
            newest_first: that order; of two rows of one time the older one was let in before, or is let in first.
        """
        times = [row.captured_at.epoch_s for row in reading.rows]
        known = self.of(profile, times)
        if not known and len(set(times)) == len(times):
            return tuple(row for row, at in zip(reading.rows, times, strict=True) if at in new), ()
        marked = {at: list(all_known) for at, all_known in known.items()}
        presumed = {at for at in times if at not in new and at not in known}
        let_in: dict[int, int] = {}
        order = range(len(times) - 1, -1, -1) if newest_first else range(len(times))
        for index in order:
            at, this = times[index], digest(reading.rows[index].values)
            at_time = marked.setdefault(at, [])
            if this in at_time:
                continue
            if at in presumed and not at_time:
                at_time.append(this)  # held, and its values not kept: the oldest of its time in the buffer
                continue
            let_in[index] = len(at_time)
            at_time.append(this)
        self.add(profile, {at: each for at, each in marked.items() if at in known or len(each) > 1})
        chosen = sorted(let_in)
        again = tuple((n, let_in[index]) for n, index in enumerate(chosen) if let_in[index])
        return tuple(reading.rows[index] for index in chosen), again
