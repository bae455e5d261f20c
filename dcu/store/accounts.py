"""What each stream was given and has given up, and how long the store has lived.

A store lives while its process runs: those seconds are counted on the monotonic clock and kept, so that no step of the
wall clock makes a record older than it is. A power cut costs the count at most `KEEP_S`.
"""

from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from dcu.ports import Clock
from dcu.record import Stream
from dcu.store.database import Database

KEEP_S: Final = 900
"""How often the count is written."""

MILESTONE_S: Final = 6 * 3600
"""How far apart in life the notes are of what a stream had been given by then."""

DAY_S: Final = 86_400

_STREAMS: Final = {stream.value: stream for stream in Stream}


@dataclass(frozen=True, slots=True)
class Account:
    """Of one stream: all up to `floor` is given up, and so are `holes` ids above it; `octets` were ever given."""

    floor: int
    holes: int
    octets: int


class Accounts:
    """The tables `account`, `milestone` and `upkeep`."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._since_s = clock.monotonic_s()
        self._lived_s: int | None = None  # when it was opened
        self._kept_s = self._since_s
        self.closed = False
        """The file is too full and nothing is left to shed: only what must always fit is still stored."""
        self._given: Counter[Stream] = Counter()  # octets since they were last written

    def note(self, stream: Stream, octets: int) -> None:
        """A record of so many octets was appended."""
        self._given[stream] += octets

    def lived_s(self) -> int:
        """Seconds that the store was open, in all its lives."""
        if self._lived_s is None:
            [(self._lived_s,)] = self._database.rows("SELECT n FROM upkeep WHERE name = 'lived_s'") or [(0,)]
        return int(self._lived_s + self._clock.monotonic_s() - self._since_s)

    def is_due(self) -> bool:
        """Whether it is time to `keep`."""
        return self._clock.monotonic_s() - self._kept_s >= KEEP_S

    def keep(self) -> None:
        """Write how far life and octets have come."""
        self._kept_s, lived_s = self._clock.monotonic_s(), self.lived_s()
        self._database.write("UPDATE upkeep SET n = max(n, ?) WHERE name = 'lived_s'", (lived_s,))
        self._database.write_all(
            "UPDATE account SET octets = octets + ? WHERE stream = ?",
            [(octets, stream.value) for stream, octets in self._given.items()],
        )
        self._given.clear()
        (newest_s,) = self._database.first("SELECT max(lived_s) FROM milestone") or (None,)
        if newest_s is None or lived_s - newest_s >= MILESTONE_S:
            self._database.write(
                "INSERT OR REPLACE INTO milestone SELECT a.stream, ?, coalesce(s.seq, 0), a.octets "
                "FROM account AS a LEFT JOIN sqlite_sequence AS s ON s.name = 'record_' || a.stream",
                (lived_s,),
            )

    def account(self, stream: Stream) -> Account:
        """Of one stream."""
        found = self._database.first("SELECT floor, holes, octets FROM account WHERE stream = ?", (stream.value,))
        floor, holes, octets = found or (0, 0, 0)
        return Account(floor, holes, octets + self._given[stream])

    def floors(self) -> dict[Stream, int]:
        """Of all streams, the id up to which nothing is held any more."""
        found = dict(self._database.rows("SELECT stream, floor FROM account"))
        return {stream: found.get(name, 0) for name, stream in _STREAMS.items()}

    def raise_floor(self, stream: Stream, last: int, holes: int) -> None:
        """Nothing up to `last` is held any more; `holes` of the known ones lay there. Milestones below it go."""
        self._database.write(
            "UPDATE account SET floor = max(floor, ?), holes = max(holes - ?, 0) WHERE stream = ?",
            (last, holes, stream.value),
        )
        self._database.write(
            "DELETE FROM milestone WHERE stream = ? AND lived_s < "
            "(SELECT max(lived_s) FROM milestone WHERE stream = ? AND last <= ?)",
            (stream.value, stream.value, last),
        )

    def add_holes(self, stream: Stream, count: int) -> None:
        """So many ids above the floor are given up."""
        self._database.write("UPDATE account SET holes = holes + ? WHERE stream = ?", (count, stream.value))

    def given_by(self, stream: Stream, lived_s: int) -> int:
        """The last id that the stream had surely been given when the store had lived so long."""
        found = self._database.first(
            "SELECT max(last) FROM milestone WHERE stream = ? AND lived_s <= ?", (stream.value, lived_s)
        )
        return 0 if found is None or found[0] is None else int(found[0])

    def octets_held(self, stream: Stream, last: int) -> int:
        """Octets of what is above the floor, about: between two milestones each record counts the same."""
        account = self.account(stream)
        points = self._points(stream, last, account)
        for (before, octets), (behind, more) in pairwise(points):
            if before <= account.floor < behind:
                share = (account.floor - before) / (behind - before)
                return max(0, account.octets - octets - int(share * (more - octets)))
        return 0

    def rate(self, stream: Stream, last: int) -> tuple[float, float] | None:
        """(records, octets) a day, of the last day that the store lived; None in its first hour."""
        lived_s, account = self.lived_s(), self.account(stream)
        found = self._database.first(
            "SELECT lived_s, last, octets FROM milestone WHERE stream = ? AND lived_s BETWEEN 0 AND ? "
            "ORDER BY lived_s DESC LIMIT 1",
            (stream.value, lived_s - DAY_S),
        ) or self._database.first(
            "SELECT lived_s, last, octets FROM milestone WHERE stream = ? AND lived_s >= 0 ORDER BY lived_s LIMIT 1",
            (stream.value,),
        )
        if found is None or lived_s - found[0] < DAY_S // 24:
            return None
        days = (lived_s - found[0]) / DAY_S
        return (last - found[1]) / days, (account.octets - found[2]) / days

    def _points(self, stream: Stream, last: int, account: Account) -> list[tuple[int, int]]:
        """(id, octets given up to it), ascending."""
        known = self._database.rows(
            "SELECT last, max(octets) FROM milestone WHERE stream = ? GROUP BY last ORDER BY last", (stream.value,)
        )
        return [*((n, octets) for n, octets in known if n < last), (last, account.octets)]
