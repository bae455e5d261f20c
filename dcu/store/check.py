"""Is what is stored still what was written? Looked at in bites: all of it once a day, a little of it at each start.

SQLite's own checks read pages and see no flipped octet inside a body; the records' checksums see both
(reference/store-uplink.md 1.6). A record that is damaged is given up and announced; a page that is damaged ends the
process, and the next start salvages.
"""
# ruff: noqa: S608 - names put into statements are those of `schema.table` and of the tables named here

from typing import Final

from dcu.errors import StoreDamaged
from dcu.event import DropReason
from dcu.record import Stream, checksum
from dcu.store.accounts import Accounts
from dcu.store.database import SALVAGE, Database
from dcu.store.dropping import Dropping
from dcu.store.schema import table

ROWS: Final = 128
"""Records of a bite: eight megabytes at the most, some ten kilobytes as a rule."""

NEWEST: Final = 256
"""Records of each stream that are looked at when the file is opened: what was last written."""

OF_PROFILES: Final = ("held", "absent", "stray", "mark")
"""Looked at profile by profile; all other tables but the streams' whole, one at a time."""


class Check:
    """One round over everything, in steps. Used inside transactions."""

    def __init__(self, database: Database, dropping: Dropping, accounts: Accounts) -> None:
        self._database = database
        self._dropping = dropping
        self._accounts = accounts
        self._tables: list[str] | None = None
        self._profile = 0
        self._streams = list(Stream)
        self._after = 0
        self._floor = 0
        self._seen = 0

    def step(self) -> bool:
        """The next bite of the round; False once after its last.

        Raises:
            StoreDamaged: a page is not what was written.
        """
        if self._tables is None:
            self._tables = self._small()
        if self._tables:
            self._whole(self._tables.pop(0))
            return True
        if self._next_profile():
            return True
        while self._streams:
            if self._records(self._streams[0]):
                return True
            del self._streams[0]
            self._after = 0
        self._tables, self._profile, self._streams = None, 0, list(Stream)
        return False

    def at_start(self) -> None:
        """What matters most and what was written last. Raises StoreDamaged."""
        for name in self._small():
            self._whole(name)
        for stream in Stream:
            [(newest,)] = self._database.rows(f"SELECT coalesce(max(id), 0) FROM {table(stream)}")
            self._compare(stream, newest - NEWEST, NEWEST)

    def _small(self) -> list[str]:
        large = {*OF_PROFILES, *(table(stream) for stream in Stream)}
        found = self._database.rows("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")
        return [name for (name,) in found if name not in large]

    def _whole(self, name: str) -> None:
        found = self._database.rows(f"PRAGMA quick_check({name})")
        if found != [("ok",)]:
            raise StoreDamaged(f"table {name}: {found[0][0]}", place="store", cure=SALVAGE)

    def _next_profile(self) -> bool:
        found = self._database.first("SELECT id FROM profile WHERE id > ? ORDER BY id LIMIT 1", (self._profile,))
        if found is None:
            return False
        (self._profile,) = found
        for name in OF_PROFILES:
            self._database.rows(f"SELECT count(*) FROM {name} WHERE profile = ?", (self._profile,))
        return True

    def _records(self, stream: Stream) -> bool:
        """A bite of a stream; at its end, whether as many were seen as there have to be."""
        account = self._accounts.account(stream)
        if self._after == 0:
            self._after = self._floor = account.floor
            self._seen = 0
        after = self._compare(stream, self._after, ROWS)
        if after is not None:
            self._after = after
            return True
        (last,) = self._database.first("SELECT seq FROM sqlite_sequence WHERE name = ?", (table(stream),)) or (0,)
        if account.floor == self._floor and self._seen < last - account.floor - account.holes:
            what = f"{self._seen} records of {last - account.floor - account.holes} are found"
            raise StoreDamaged(f"table {table(stream)}: {what}", place="store", cure=SALVAGE)
        return False

    def _compare(self, stream: Stream, after: int, rows: int) -> int | None:
        """The last id of the bite; None where there is none."""
        found = self._database.rows(
            f"SELECT id, crc, body FROM {table(stream)} WHERE id > ? ORDER BY id LIMIT ?", (after, rows)
        )
        for n, crc, body in found:
            if n <= after:
                raise StoreDamaged(f"table {table(stream)}: {n} stands behind {after}", place="store", cure=SALVAGE)
            after = n
            if checksum(body) != crc:
                self._dropping.between(stream, n, n, DropReason.DAMAGED, "its checksum is wrong")
            else:
                self._seen += 1
        return found[-1][0] if found else None
