"""Statements on the one connection to `dcu.db`, and what sqlite3's errors mean for the box.

A full disk rolls the whole transaction back by itself (reference/store-uplink.md 1.6).
"""

import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from dcu.errors import StoreDamaged, StoreDown, StoreFault, StoreFull

Bindings = Sequence[int | str | bytes | None]


class Database:
    """Statements on the connection, in the thread that claimed it, with errors translated eagerly."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self._connection = connection
        self._place = str(path)
        self._owner = threading.get_ident()

    def claim(self) -> None:
        """From now on the calling thread owns the connection."""
        self._owner = threading.get_ident()

    def rows(self, sql: str, bindings: Bindings = ()) -> list[tuple[Any, ...]]:
        """All rows of a query."""
        self._guard()
        try:
            return self._connection.execute(sql, bindings).fetchall()
        except sqlite3.Error as error:
            raise translate(error, self._place) from error

    def each(self, sql: str, bindings: Bindings = ()) -> Iterator[tuple[Any, ...]]:
        """The rows of a query one by one, for who may not want them all; used up or dropped before the commit."""
        self._guard()
        try:
            yield from self._connection.execute(sql, bindings)
        except sqlite3.Error as error:
            raise translate(error, self._place) from error

    def first(self, sql: str, bindings: Bindings = ()) -> tuple[Any, ...] | None:
        """The first row of a query, or None."""
        found = self.rows(sql, bindings)
        return found[0] if found else None

    def write(self, sql: str, bindings: Bindings = ()) -> int:
        """Run a statement; the rowid that an INSERT gave."""
        self._guard()
        try:
            return self._connection.execute(sql, bindings).lastrowid or 0
        except sqlite3.Error as error:
            raise translate(error, self._place) from error

    def write_all(self, sql: str, many: Iterable[Bindings]) -> None:
        """Run a statement for each of `many`."""
        self._guard()
        if not (all_bindings := list(many)):
            return
        try:
            self._connection.executemany(sql, all_bindings)
        except sqlite3.Error as error:
            raise translate(error, self._place) from error

    def control(self, sql: str) -> None:
        """BEGIN, COMMIT and their like: the transaction's own borders."""
        try:
            self._connection.execute(sql)
        except sqlite3.Error as error:
            raise translate(error, self._place) from error

    def ask(self, pragma: str) -> int:
        """A number that SQLite knows of the file."""
        try:
            return int(self._connection.execute(f"PRAGMA {pragma}").fetchone()[0])
        except sqlite3.Error as error:
            raise translate(error, self._place) from error

    @property
    def in_transaction(self) -> bool:
        """False also when SQLite has rolled the transaction back by itself."""
        return self._connection.in_transaction

    def close(self) -> None:
        """Checkpoint and let the file go."""
        try:
            self._connection.close()
        except sqlite3.Error as error:
            raise translate(error, self._place) from error

    def _guard(self) -> None:
        """A statement outside of its transaction would be committed alone: after a rollback, or by a leaked handle."""
        if threading.get_ident() != self._owner:
            raise RuntimeError("a transaction is used in its work, in the writer's thread, and nowhere else")
        if not self._connection.in_transaction:
            raise StoreFault("the transaction is rolled back already", place=self._place)


_PASSING = frozenset(
    {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_NOLFS}
)
"""Troubles of the disk or the file system: they may pass, and the file is opened again."""

SALVAGE: Final = "start the box again: it salvages what can be read"
"""The cure of a damaged file."""

_DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})


def translate(error: sqlite3.Error, place: str) -> StoreFault:
    """Our error for one of sqlite3's: full, down for now, damaged, or StoreFault with its cause for the rest."""
    code = getattr(error, "sqlite_errorcode", None)
    primary = code & 0xFF if code is not None else None
    if primary == sqlite3.SQLITE_FULL:
        return StoreFull("no room: the page limit or the disk is reached", place=place, cure="free space on the disk")
    if primary in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
        return StoreFault(
            "another process has the store open", place=place, cure="one field process a store: stop the other"
        )
    text = f"{getattr(error, 'sqlite_errorname', type(error).__name__)}: {error}"
    if primary in _DAMAGED:
        return StoreDamaged(text, place=place, cure=SALVAGE)
    if primary in _PASSING:
        return StoreDown(text, place=place, cure="see to the disk and the file system; it is tried again")
    return StoreFault(text, place=place)
