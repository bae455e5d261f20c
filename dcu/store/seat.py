"""The open file with all that works on it, and how it is opened again after it had to be let go."""

import logging
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from dcu.errors import StoreDamaged, StoreFault, StoreFull
from dcu.ports import Clock
from dcu.store import salvage
from dcu.store.check import Check
from dcu.store.database import Database
from dcu.store.limits import Room
from dcu.store.opening import connect
from dcu.store.transaction import SqliteTransaction
from dcu.store.upkeep import Upkeep

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Seat:
    """One opening of the file.

    Attributes:
        database: the connection.
        epoch: of the file.
        transaction: what works are given.
        upkeep: what is done between works.
    """

    database: Database
    epoch: str
    transaction: SqliteTransaction
    upkeep: Upkeep


class Opener:
    """Opens one file, again and again.

    Args:
        path: of the file.
        dcu: id of the box.
        page_limit: most pages.
        clock: of the box.
    """

    def __init__(self, path: Path, dcu: str, page_limit: int, clock: Clock) -> None:
        self._path = path
        self._dcu = dcu
        self._page_limit = page_limit
        self._clock = clock
        self._suspect = path.with_name(f"{path.name}.suspect")

    def open(self) -> Seat:
        """The file, looked at where it matters most.

        Raises:
            StoreDamaged: it is not what was written, or was found so before: `salvage` it.
            StoreDown: the disk or the file system does not let it be opened now.
            StoreFault: not this box's store, a newer program's, or open elsewhere.
        """
        if self._suspect.exists() or salvage.is_begun(self._path):
            raise StoreDamaged("it was found damaged", place=str(self._path), cure="it is being salvaged")
        try:
            database, epoch = connect(self._path, dcu=self._dcu, page_limit=self._page_limit)
        except StoreFull:  # or a trouble of the disk: one that is full does not even open a file
            if not Room(self._path, self._page_limit).let_go():
                raise
            database, epoch = connect(self._path, dcu=self._dcu, page_limit=self._page_limit)
        try:
            return self._seat(database, epoch)
        except StoreFault:
            with suppress(StoreFault):
                database.close()
            raise

    def reopen(self) -> Seat:
        """The same after an error of the disk.

        What its log holds is written into the file and synced before anything is added: pages that a failed sync has
        lost would be missing in the middle of a log that goes on.

        Raises: as `open`.
        """
        seat = self.open()
        try:
            seat.database.control("PRAGMA wal_checkpoint(TRUNCATE)")
        except StoreFault:
            with suppress(StoreFault):
                seat.database.close()
            raise
        return seat

    def salvage(self, beat: Callable[[], None]) -> None:
        """Put what can be read into a new file, and set the damaged one aside. Raises StoreDown: not now.

        It is marked before: a salvage that is cut short may leave pages mended that nobody would find damaged again.
        """
        self.mark(StoreDamaged("it is being salvaged", place=str(self._path)))
        salvage.salvage(self._path, self._dcu, self._page_limit, self._clock, beat, self._suspect)

    def mark(self, fault: StoreDamaged) -> bool:
        """Remember over the end of the process that the file is damaged; False where even that cannot be written."""
        try:
            marker = os.open(self._suspect, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                os.write(marker, f"{fault}\n".encode())
                os.fsync(marker)
            finally:
                os.close(marker)
        except OSError:
            return False
        return True

    def _seat(self, database: Database, epoch: str) -> Seat:
        transaction = SqliteTransaction(database, self._clock)
        room = Room(self._path, self._page_limit)
        database.control("BEGIN IMMEDIATE")
        Check(database, transaction.dropping, transaction.accounts).at_start()
        database.control("COMMIT")
        return Seat(database, epoch, transaction, Upkeep(database, transaction, room, self._clock))
