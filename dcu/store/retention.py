"""What goes, and in which order: by class and age; and when the file is full, the oldest of what is worth least.

What uplink claims to have delivered lets no record go before its time: by age, a record goes when it was kept for as
long as its class is kept, and not before it was delivered. An outage costs nothing until the file is full.
"""
# ruff: noqa: S608 - the only names put into statements are those of `schema.table`, made from the Stream enum

from collections.abc import Iterator, Mapping
from typing import Final

from dcu.event import DropReason
from dcu.record import Stream
from dcu.store.accounts import DAY_S, Accounts
from dcu.store.database import Database
from dcu.store.dropping import Dropping
from dcu.store.limits import PAGE_BYTES, usage
from dcu.store.schema import table
from dcu.store.stock import ROW_BYTES

KEPT_DAYS: Final[Mapping[Stream, int]] = {
    Stream.RECEIPT: 400,
    Stream.ALARM: 400,
    Stream.BILLING: 400,
    Stream.CREDIT: 35,
    Stream.PROFILE: 35,
    Stream.HEALTH: 35,
}
"""Days of the store's life that a record is kept at the least."""

SHARE: Final = 0.02
"""Of the page limit: so much is shed at once, so that it is announced seldom."""

_SHED: Final = ((Stream.PROFILE, Stream.HEALTH), (Stream.CREDIT, Stream.BILLING), (Stream.ALARM,))
"""What is shed, worth least first. Receipts are never."""


class Retention:
    """Decides, inside transactions; rows are deleted by `Dropping.sweep`."""

    def __init__(self, database: Database, accounts: Accounts, dropping: Dropping) -> None:
        self._database = database
        self._accounts = accounts
        self._dropping = dropping

    def age(self) -> None:
        """Once a day of life: what was delivered and kept for long enough goes."""
        day = self._accounts.lived_s() // DAY_S
        found = self._database.first("SELECT n FROM upkeep WHERE name = 'aged_day'")
        if found is not None and found[0] >= day:
            return
        self._database.write("INSERT OR REPLACE INTO upkeep (name, n) VALUES ('aged_day', ?)", (day,))
        delivered = dict(self._database.rows("SELECT stream, delivered FROM cursor"))
        for stream, days in KEPT_DAYS.items():
            last = self._accounts.given_by(stream, self._accounts.lived_s() - days * DAY_S)
            self._dropping.upto(stream, min(last, delivered.get(stream.value, 0)), DropReason.AGE)

    def relieve(self) -> bool:
        """Where the file is too full: delete what is given up already, or give more up. False when all is well."""
        room = usage(self._database)
        if room.excess <= 0:
            self._accounts.closed = False
            return False
        if self._dropping.sweep():
            return True
        self._accounts.closed = not self._shed(room.excess + int(SHARE * room.limit))
        return not self._accounts.closed

    def _shed(self, pages: int) -> bool:
        """Give up about so many pages of records; whether there were any."""
        for stream, last in self._candidates():
            floor = self._accounts.account(stream).floor
            rows = 1 + pages * PAGE_BYTES // self._row_bytes(stream, floor)
            if self._dropping.upto(stream, min(last, floor + rows), DropReason.NO_ROOM):
                return True
        return False

    def _candidates(self) -> Iterator[tuple[Stream, int]]:
        """(stream, the last of it that may go), best first: within a class what was delivered, then the oldest."""
        delivered = dict(self._database.rows("SELECT stream, delivered FROM cursor"))
        given = dict(self._database.rows("SELECT name, seq FROM sqlite_sequence"))
        for streams in _SHED:
            oldest = sorted(streams, key=self._oldest)
            yield from ((stream, delivered.get(stream.value, 0)) for stream in oldest)
            if Stream.ALARM not in streams:  # an alarm that nobody has heard stays
                yield from ((stream, given.get(table(stream), 0)) for stream in oldest)

    def _oldest(self, stream: Stream) -> int:
        found = self._database.first(
            f"SELECT at_s FROM {table(stream)} WHERE id > ? ORDER BY id LIMIT 1",
            (self._accounts.account(stream).floor,),
        )
        return 2**62 if found is None else int(found[0])

    def _row_bytes(self, stream: Stream, floor: int) -> int:
        found = self._database.first(
            f"SELECT avg(length(body)) FROM (SELECT body FROM {table(stream)} WHERE id > ? ORDER BY id LIMIT 64)",
            (floor,),
        )
        return ROW_BYTES + int(found[0] if found and found[0] is not None else PAGE_BYTES)
