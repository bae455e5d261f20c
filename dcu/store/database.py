"""The one connection to `dcu.db`, and the only place that catches sqlite3's errors.

Facts behind the order of things (reference/store-uplink.md 1.4 and 1.6): auto_vacuum is silently ignored once WAL is
on; two connections that checkpoint can corrupt a WAL file, so the lock is exclusive for as long as the file is open;
`max_page_count` is not stored in the file; a full disk rolls the whole transaction back by itself.
"""

import logging
import os
import secrets
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from sqlite_utils import Database as Utilities

from dcu.errors import StoreFault, StoreFull
from dcu.store import schema

log = logging.getLogger(__name__)

BUSY_S: Final = 2.0
"""How long opening waits for a process that is just ending."""

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
        with self._translated():
            return self._connection.execute(sql, bindings).fetchall()

    def first(self, sql: str, bindings: Bindings = ()) -> tuple[Any, ...] | None:
        """The first row of a query, or None."""
        found = self.rows(sql, bindings)
        return found[0] if found else None

    def write(self, sql: str, bindings: Bindings = ()) -> int:
        """Run a statement; the rowid that an INSERT gave."""
        self._guard()
        with self._translated():
            return self._connection.execute(sql, bindings).lastrowid or 0

    def write_all(self, sql: str, many: Iterable[Bindings]) -> None:
        """Run a statement for each of `many`."""
        self._guard()
        with self._translated():
            self._connection.executemany(sql, many)

    def control(self, sql: str) -> None:
        """BEGIN, COMMIT and their like: the transaction's own borders."""
        with self._translated():
            self._connection.execute(sql)

    @property
    def in_transaction(self) -> bool:
        """False also when SQLite has rolled the transaction back by itself."""
        return self._connection.in_transaction

    def close(self) -> None:
        """Checkpoint and let the file go."""
        with self._translated():
            self._connection.close()

    def _guard(self) -> None:
        """A statement outside of its transaction would be committed alone: after a rollback, or by a leaked handle."""
        if threading.get_ident() != self._owner:
            raise RuntimeError("a transaction is used in its work, in the writer's thread, and nowhere else")
        if not self._connection.in_transaction:
            raise StoreFault("the transaction is rolled back already", place=self._place)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise translate(error, self._place) from error


def translate(error: sqlite3.Error, place: str) -> StoreFault:
    """Our error for one of sqlite3's: StoreFull for SQLITE_FULL, StoreFault with its cause for the rest."""
    code = getattr(error, "sqlite_errorcode", None)
    primary = code & 0xFF if code is not None else None
    if primary == sqlite3.SQLITE_FULL:
        return StoreFull("no room: the page limit or the disk is reached", place=place, cure="free space on the disk")
    if primary in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
        return StoreFault(
            "another process has the store open", place=place, cure="one field process a store: stop the other"
        )
    if primary == sqlite3.SQLITE_NOTADB:
        return StoreFault("not a database", place=place, cure="move the file away; a new store is then made")
    return StoreFault(f"{getattr(error, 'sqlite_errorname', type(error).__name__)}: {error}", place=place)


def connect(path: Path, *, dcu: str, page_limit: int | None = None) -> tuple[Database, str]:
    """Open or make the store's file, bring it to this program's schema, and lock it; with its epoch.

    Args:
        path: of the file; made with mode 0600 where it is not there.
        dcu: id of the box; a file of another box is refused.
        page_limit: most pages (4 KiB each) that the file may have; None: as many as the disk holds.

    Raises:
        StoreFault: not a store, another box's, a newer program's, or open elsewhere.
        StoreFull: no room to open it.
    """
    try:
        _make(path)
        connection = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
    except OSError as error:
        raise StoreFault(f"cannot be opened: {error.strerror}", place=str(path)) from error
    except sqlite3.Error as error:
        raise translate(error, str(path)) from error
    try:
        _prepare(connection, path, page_limit)
        epoch = _identity(connection, path, dcu)
    except sqlite3.Error as error:
        connection.close()
        raise translate(error, str(path)) from error
    except StoreFault:
        connection.close()
        raise
    return Database(connection, path), epoch


def _make(path: Path) -> None:
    """The empty file, 0600 from its first moment, and its name durable; an existing one is made 0600.

    An existing file is not opened here: closing any descriptor of it would drop the locks that this process has on it
    (POSIX fcntl), and nobody would notice. Nothing else in the process may open it either.
    """
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        path.chmod(0o600)
        return
    log.info("%s: new store", path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _prepare(connection: sqlite3.Connection, path: Path, page_limit: int | None) -> None:
    """Pragmas in the order that works, then the schema."""
    run = connection.execute
    run("PRAGMA locking_mode = EXCLUSIVE")
    refuse_strangers(connection, path)
    run("PRAGMA auto_vacuum = INCREMENTAL")
    mode = run("PRAGMA journal_mode = WAL").fetchone()[0]
    if mode != "wal":
        raise StoreFault(f"journal mode is {mode}, not WAL", place=str(path), cure="use a local file system")
    run("PRAGMA synchronous = FULL")
    run("PRAGMA cell_size_check = ON")
    run("PRAGMA trusted_schema = OFF")
    run("PRAGMA temp_store = MEMORY")
    if page_limit is not None:
        run(f"PRAGMA max_page_count = {int(page_limit)}")
    run("BEGIN IMMEDIATE")  # takes the exclusive lock now and not at the first poll
    run("COMMIT")
    schema.MIGRATIONS.apply(Utilities(connection, recursive_triggers=False))


def refuse_strangers(connection: sqlite3.Connection, path: Path) -> None:
    """Nothing is written into a file that is not ours, or that a newer program wrote. Raises StoreFault."""
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if tables - {schema.MIGRATIONS.migrations_table, "sqlite_sequence"}:
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        if application != schema.APPLICATION_ID:
            raise StoreFault("a database, but not a store", place=str(path), cure="name another file as the store")
    if schema.MIGRATIONS.migrations_table not in tables:
        return
    ours = schema.names()
    newer = [m.name for m in schema.MIGRATIONS.applied(Utilities(connection)) if m.name not in ours]
    if newer:
        raise StoreFault(
            f"written by a newer program ({', '.join(newer)})", place=str(path), cure="install that version again"
        )


def _identity(connection: sqlite3.Connection, path: Path, dcu: str) -> str:
    """The epoch: made once with the file, with the box it belongs to."""
    connection.execute("BEGIN IMMEDIATE")
    connection.executemany(
        "INSERT OR IGNORE INTO identity (name, value) VALUES (?, ?)",
        [("epoch", secrets.token_hex(8)), ("dcu", dcu)],
    )
    connection.execute("COMMIT")
    known: dict[str, str] = dict(connection.execute("SELECT name, value FROM identity").fetchall())
    if known["dcu"] != dcu:
        raise StoreFault(
            f"the store of {known['dcu']}, not of {dcu}",
            place=str(path),
            cure="set [dcu] id back, or move the file away",
        )
    return known["epoch"]
