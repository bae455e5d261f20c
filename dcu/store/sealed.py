"""Payloads that are made already, in a file of their own beside the store: a cache of what waits for the network.

Nothing in it is needed: what is missing, damaged or of another epoch is read from the store and made anew. So nothing
is synced, a file that gives trouble is deleted, and the store's own file knows nothing of it. After a power cut octets
may stand there that nobody wrote; the checksum of each payload, which counts its place too, says so.
"""

import logging
import os
import sqlite3
import threading
import zlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, TypeVar

from dcu.errors import StoreDamaged, StoreFault, StoreFull
from dcu.ports import Seal
from dcu.record import BATCH_VERSION, Stream
from dcu.store.database import Bindings, Database, translate
from dcu.store.limits import has_room_beside, page_limit_of, sealed_file

log = logging.getLogger(__name__)

FORMAT: Final = 100 * BATCH_VERSION + 1
"""`PRAGMA user_version`; a file of another one is made anew."""

SHARE: Final = 0.25
"""Of the store's page limit: most that this file may take."""

SPARE: Final = 1 / 16
"""Of the store's page limit: left to others beyond what the store may want. A file that took the last of the room would
be in the way at once, deleted, and made anew, for as long as the network is away."""

RUN: Final = 16
"""Seals that are told at once."""

BITE: Final = 64
"""Payloads that are deleted in one transaction."""

CACHE_KIB: Final = 256

PATIENCE_S: Final = 0.1
"""Longest wait of who asks for who writes: the store's writer asks, and a disk that stalls under a write or a deletion
here must not hold it up."""

FOREVER: Final = -1.0
"""What `threading.Lock.acquire` calls so."""

T = TypeVar("T")


class SealedFile:
    """`ports.Seals` in one SQLite file. Usable from any thread.

    Args:
        store: the file of the store that it stands beside.
        pages: most that the store may have, of 4 KiB.
    """

    def __init__(self, store: Path, pages: int) -> None:
        self._store, self._path = store, sealed_file(store)
        self._store_pages, self._pages = pages, max(8, int(SHARE * pages))
        self._lock = threading.Lock()
        self._database: Database | None = None
        self._epoch = ""
        self._is_empty = True
        self._told = ""

    @classmethod
    def beside(cls, store: Path, max_mb: int | None = None) -> "SealedFile":
        """The one that belongs to the store at `store`, which may take so many megabytes (None: by its disk)."""
        return cls(store, page_limit_of(store, max_mb))

    # ---- ports.Seals

    def run_from(self, epoch: str, stream: Stream, first: int) -> Sequence[Seal]:
        """See `ports.Seals`."""
        if not self._holds(epoch):
            return ()
        sql = "SELECT first, last, octets, mark FROM sealed WHERE stream = ? AND first >= ? ORDER BY first LIMIT ?"
        rows = self._ask((int, int, int, int), sql, (stream.value, first, RUN))
        run: list[Seal] = []
        for begins, last, octets, mark in rows:
            if begins != first or not begins <= last:
                break
            run.append(Seal(stream, begins, last, octets, mark))
            first = last + 1
        return run

    def payload(self, epoch: str, seal: Seal) -> bytes | None:
        """See `ports.Seals`."""
        if not self._holds(epoch):
            return None

        def read(database: Database) -> bytes | None:
            place = (seal.stream.value, seal.first)
            for crc, payload in self._rows(
                database, (int, bytes), "SELECT crc, payload FROM sealed WHERE stream = ? AND first = ?", place
            ):
                if crc == _checksum(epoch, seal, payload):
                    return bytes(payload)
                self._delete(database, *place)
                self._look(database)
            return None

        return self._do(read, None, PATIENCE_S)

    def next_first(self, epoch: str, stream: Stream, n: int) -> int | None:
        """See `ports.Seals`."""
        if not self._holds(epoch):
            return None
        sql = "SELECT first FROM sealed WHERE stream = ? AND first > ? ORDER BY first LIMIT 1"
        found = self._ask((int,), sql, (stream.value, n))
        return found[0][0] if found else None

    # ---- for who makes them

    def begin(self, epoch: str) -> None:
        """From now on payloads are of this epoch; those of another go."""
        with self._lock:
            if self._database is not None and self._epoch == epoch:
                return
            self._let_go()
            self._epoch = epoch
            try:
                self._database = self._open(epoch)
                self._told = ""
            except StoreFault as fault:
                if self._told != fault.cause:  # it is tried again and again
                    log.warning("%s: no payloads are made in advance: %s", self._path, fault.cause)
                self._told = fault.cause
                self._delete_file()

    def add(self, epoch: str, seal: Seal, payload: bytes) -> bool:
        """Keep one; False where there is no room, no file, or another epoch."""
        if epoch != self._epoch or not has_room_beside(self._store, self._store_pages, int(SPARE * self._store_pages)):
            return False
        crc = _checksum(epoch, seal, payload)
        row = (seal.stream.value, seal.first, seal.last, seal.octets, seal.mark, crc, payload)

        def write(database: Database) -> bool:
            database.write("INSERT OR REPLACE INTO sealed VALUES (?, ?, ?, ?, ?, ?, ?)", row)
            self._look(database)
            return True

        return self._do(write, otherwise=False)

    def last(self, stream: Stream) -> int:
        """Id of the last record that is in a payload; 0 where there is none."""
        sql = "SELECT coalesce(max(last), 0) FROM sealed WHERE stream = ?"
        found = self._ask((int,), sql, (stream.value,), FOREVER)
        return found[0][0] if found else 0

    def forget(self, delivered: Mapping[Stream, int]) -> bool:
        """Delete a bite of what is delivered; whether there may be more. When nothing is left the file goes."""

        def delete(database: Database) -> bool:
            for stream, last in delivered.items():
                found = database.rows(
                    "SELECT first FROM sealed WHERE stream = ? AND last <= ? ORDER BY first LIMIT ?",
                    (stream.value, last, BITE),
                )
                for (first,) in found:
                    self._delete(database, stream.value, first)
                if found:
                    self._look(database)
                    return True
            return False

        if self.is_empty:
            return False
        more = self._do(delete, otherwise=False)
        if self._is_empty:
            self.discard()
        return more

    def discard(self) -> None:
        """Let everything go; `begin` makes it anew."""
        with self._lock:
            self._let_go()
            self._delete_file()

    def is_in_the_way(self) -> bool:
        """Whether the disk's room is wanted for the store."""
        return not has_room_beside(self._store, self._store_pages)

    def close(self) -> None:
        """Let the file go as it is."""
        with self._lock:
            self._let_go()

    @property
    def is_empty(self) -> bool:
        """Nothing is in it."""
        return self._is_empty

    # ---- the file

    def _holds(self, epoch: str) -> bool:
        return not self._is_empty and epoch == self._epoch

    def _ask(
        self, kinds: tuple[type, ...], sql: str, bindings: Bindings, wait_s: float = PATIENCE_S
    ) -> list[tuple[Any, ...]]:
        """Rows of a query; none where there is trouble."""
        nothing: list[tuple[Any, ...]] = []
        return self._do(lambda database: self._rows(database, kinds, sql, bindings), nothing, wait_s)

    def _do(self, work: Callable[[Database], T], otherwise: T, wait_s: float = FOREVER) -> T:
        """Work in a transaction; `otherwise` where there is no file or room, trouble, or another at it for too long."""
        if not self._lock.acquire(timeout=wait_s):
            return otherwise
        try:
            if (database := self._database) is None:
                return otherwise
            database.claim()
            database.control("BEGIN")
            done = work(database)
            database.control("COMMIT")
        except (StoreFault, UnicodeDecodeError) as fault:  # the latter where SQLite's words quote what is garbled
            self._suffer(fault)
            return otherwise
        finally:
            self._lock.release()
        return done

    def _suffer(self, fault: StoreFault | UnicodeDecodeError) -> None:
        """Where there is no room all stays as it was; a file that gives other trouble goes."""
        if type(fault) is StoreFull and self._database is not None:
            with suppress(StoreFault):
                if self._database.in_transaction:
                    self._database.control("ROLLBACK")
            return
        cause = fault.cause if isinstance(fault, StoreFault) else "its schema is not what was written"
        log.warning("%s: payloads that were made in advance are given up: %s", self._path, cause)
        self._let_go()
        self._delete_file()

    def _open(self, epoch: str) -> Database:
        """The file of this epoch, as it is or made anew. Raises StoreFault."""
        try:
            return self._opened(epoch)
        except StoreFault:
            self._delete_file()
            return self._opened(epoch)

    def _opened(self, epoch: str) -> Database:
        try:
            os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            connection = sqlite3.connect(self._path, timeout=0, isolation_level=None, check_same_thread=False)
        except OSError as error:
            raise StoreFault(f"cannot be opened: {error.strerror}", place=str(self._path)) from error
        except sqlite3.Error as error:
            raise translate(error, str(self._path)) from error
        try:
            run = connection.execute
            run("PRAGMA locking_mode = EXCLUSIVE")
            run("PRAGMA synchronous = OFF")
            run("PRAGMA journal_mode = TRUNCATE")  # a kill leaves it whole; a power cut need not
            run("PRAGMA cell_size_check = ON")
            run("PRAGMA trusted_schema = OFF")
            run(f"PRAGMA cache_size = -{CACHE_KIB}")
            if run("PRAGMA user_version").fetchone() != (FORMAT,):
                self._create(connection, epoch)
            run(f"PRAGMA max_page_count = {self._pages}")
            if run("SELECT epoch FROM made").fetchone() != (epoch,):
                raise StoreFault("of another epoch", place=str(self._path))
            database = Database(connection, self._path)
            database.control("BEGIN")
            self._look(database)
            database.control("COMMIT")
        except sqlite3.Error as error:
            connection.close()
            raise translate(error, str(self._path)) from error
        except UnicodeDecodeError as error:  # SQLite's words quote what is garbled
            connection.close()
            raise StoreDamaged("its schema is not what was written", place=str(self._path)) from error
        except StoreFault:
            connection.close()
            raise
        return database

    def _create(self, connection: sqlite3.Connection, epoch: str) -> None:
        if connection.execute("SELECT count(*) FROM sqlite_master").fetchone() != (0,):
            raise StoreFault("of another program", place=str(self._path))
        connection.execute("BEGIN")
        connection.execute("CREATE TABLE made (epoch TEXT NOT NULL) STRICT")
        connection.execute("INSERT INTO made VALUES (?)", (epoch,))
        connection.execute(
            "CREATE TABLE sealed (stream TEXT NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL, "
            "octets INTEGER NOT NULL, mark INTEGER NOT NULL, crc INTEGER NOT NULL, payload BLOB NOT NULL, "
            "PRIMARY KEY (stream, first)) STRICT"
        )
        connection.execute(f"PRAGMA user_version = {FORMAT}")
        connection.execute("COMMIT")

    def _look(self, database: Database) -> None:
        [(found,)] = database.rows("SELECT EXISTS (SELECT 1 FROM sealed)")
        self._is_empty = not found

    def _rows(self, database: Database, kinds: tuple[type, ...], sql: str, bindings: Bindings) -> list[tuple[Any, ...]]:
        """Rows of values of these kinds. Raises StoreDamaged: a flipped octet makes of a number whatever it likes."""
        rows = database.rows(sql, bindings)
        if any(tuple(map(type, row)) != kinds for row in rows):
            raise StoreDamaged("a row is not what was written", place=str(self._path))
        return rows

    def _delete(self, database: Database, stream: str, first: int) -> None:
        """Raises StoreDamaged where it cannot be found though it was seen: its index is out of order."""
        database.write("DELETE FROM sealed WHERE stream = ? AND first = ?", (stream, first))
        if database.rows("SELECT changes()") != [(1,)]:
            raise StoreDamaged("its index is not what was written", place=str(self._path))

    def _let_go(self) -> None:
        database, self._database, self._is_empty = self._database, None, True
        if database is not None:
            with suppress(StoreFault):
                database.close()

    def _delete_file(self) -> None:
        for path in (self._path, self._path.with_name(f"{self._path.name}-journal")):
            with suppress(OSError):
                path.unlink()


def _checksum(epoch: str, seal: Seal, payload: bytes) -> int:
    place = f"{epoch} {seal.stream.value} {seal.first} {seal.last} {seal.octets} {seal.mark} "
    return zlib.crc32(payload, zlib.crc32(place.encode()))
