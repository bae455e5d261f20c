"""The store of a box that does not run, opened for reading.

Each look opens the file, reads in one transaction and lets it go again: a box that is started meanwhile finds the file
free, and who reads on is told that it is not.
"""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

from sqlite_utils import Database as Utilities

from dcu.clock import SystemClock
from dcu.errors import StoreFault
from dcu.ports import Page, Stock, Transaction
from dcu.record import Stream
from dcu.store import schema
from dcu.store.database import Database, translate
from dcu.store.limits import page_limit_of
from dcu.store.opening import refuse_strangers
from dcu.store.transaction import SqliteTransaction

T = TypeVar("T")

WAIT_S = 2.0


class Archive:
    """What a stopped box has stored. Writes nothing.

    Args:
        path: of the file.

    Raises:
        StoreFault: there is none, it is not a store, another version's, or its box runs; with the cure.
    """

    def __init__(self, path: Path) -> None:
        self._path = Path(path)
        with self._opened():
            pass

    def stock(self) -> Stock:
        """See `ports.Transaction.stock`."""
        with self._opened() as transaction:
            return transaction.stock()

    def page(self, stream: Stream, after: int, max_bytes: int = 65_536) -> Page:
        """See `ports.Transaction.page`."""
        with self._opened() as transaction:
            return transaction.page(stream, after, max_bytes)

    def look(self, work: Callable[[Transaction], T]) -> T:
        """What `work` reads in one transaction; it can write nothing. Raises StoreFault."""
        with self._opened() as transaction:
            return work(transaction)

    @property
    def identity(self) -> tuple[str, str]:
        """(id of the box, epoch)."""
        with self._opened() as transaction:
            return transaction.identity()

    @contextmanager
    def _opened(self) -> Iterator[SqliteTransaction]:
        if not self._path.exists():
            raise StoreFault("there is no store", place=str(self._path), cure="name the box's configuration")
        try:
            uri = f"file:{quote(str(self._path.absolute()))}?mode=ro"
            with closing(sqlite3.connect(uri, uri=True, timeout=WAIT_S, isolation_level=None)) as connection:
                connection.execute("PRAGMA query_only = ON")
                connection.execute("PRAGMA temp_store = MEMORY")
                refuse_strangers(connection, self._path)
                done = {m.name for m in schema.MIGRATIONS.applied(Utilities(connection))}
                if schema.names() - done:
                    raise StoreFault("written by an older program", place=str(self._path), cure="start the box once")
                connection.execute(f"PRAGMA max_page_count = {page_limit_of(self._path)}")
                database = Database(connection, self._path)
                database.control("BEGIN")
                yield SqliteTransaction(database, SystemClock())
                database.control("COMMIT")
        except sqlite3.Error as error:
            fault = translate(error, str(self._path))
            if fault.cure.startswith("one field process"):
                raise StoreFault("its box runs", place=str(self._path), cure="ask it through field.sock") from error
            raise fault from error
