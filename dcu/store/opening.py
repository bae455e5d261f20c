"""Opening `dcu.db`: the file made or found, its pragmas, its lock, its schema, its identity.

Facts behind the order of things (reference/store-uplink.md 1.4 and 1.6): auto_vacuum is silently ignored once WAL is
on; two connections that checkpoint can corrupt a WAL file, so the lock is exclusive for as long as the file is open;
`max_page_count` is not stored in the file.
"""

import logging
import os
import secrets
import sqlite3
import stat
from pathlib import Path
from typing import Final

from sqlite_utils import Database as Utilities

from dcu.errors import StoreDamaged, StoreDown, StoreFault
from dcu.store import before, schema
from dcu.store.database import SALVAGE, Database, translate

log = logging.getLogger(__name__)

_SCHEMA_FORMAT: Final = 4
"""The highest that SQLite knows."""

BUSY_S: Final = 2.0
"""How long opening waits for a process that is just ending."""

LOG_BYTES: Final = 32 * 2**20
"""A log that one huge transaction has made longer is cut back to this; it is 4 MB as a rule and stays that long, since
a log that grows anew costs flash (reference/store-uplink.md 1.2)."""


def connect(path: Path, *, dcu: str, page_limit: int | None = None) -> tuple[Database, str]:
    """Open or make the store's file, bring it to this program's schema, and lock it; with its epoch.

    Args:
        path: of the file; made with mode 0600 where it is not there.
        dcu: id of the box; a file of another box is refused.
        page_limit: most pages (4 KiB each) that the file may have; None: as many as the disk holds.

    Raises:
        StoreFault: not a store, another box's, a newer program's, or open elsewhere.
        StoreDamaged: it is not what was written.
        StoreDown: the disk or the file system does not let it be opened now.
        StoreFull: no room to open it.
    """
    try:
        _make(path)
        connection = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
    except OSError as error:
        cure = "see to the disk and the file system; it is tried again"
        raise StoreDown(f"cannot be opened: {error.strerror}", place=str(path), cure=cure) from error
    except sqlite3.Error as error:
        raise translate(error, str(path)) from error
    try:
        _prepare(connection, path, page_limit)
        epoch = _identity(connection, path, dcu)
    except sqlite3.Error as error:
        connection.close()
        raise _of_header(error, path) or translate(error, str(path)) from error
    except UnicodeDecodeError as error:  # raised in place of SQLite's error, whose words quote what is garbled
        connection.close()
        raise StoreDamaged("its schema is not what was written", place=str(path), cure=SALVAGE) from error
    except StoreFault:
        connection.close()
        raise
    return Database(connection, path), epoch


def _of_header(error: sqlite3.Error, path: Path) -> StoreDamaged | None:
    """Whether a format that SQLite never writes is why it cannot be opened: it does not call that damage.

    Source: https://www.sqlite.org/fileformat2.html, section 1.3.
    """
    if error.sqlite_errorcode & 0xFF not in {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_ERROR}:
        return None  # nor is the file opened here while another connection of this process may have it: see `_make`
    with path.open("rb") as file:
        header = file.read(100)
    is_database = header[:16] == b"SQLite format 3\0"
    if not is_database or (set(header[18:20]) <= {1, 2} and int.from_bytes(header[44:48], "big") <= _SCHEMA_FORMAT):
        return None
    return StoreDamaged("its header is not what was written", place=str(path), cure=SALVAGE)


def _make(path: Path) -> None:
    """The empty file, 0600 from its first moment, and its name durable; an existing one is made 0600.

    An existing file is not opened here: closing any descriptor of it would drop the locks that this process has on it
    (POSIX fcntl), and nobody would notice. Nothing else in the process may open it either.
    """
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        if stat.S_IMODE(path.stat().st_mode) != 0o600:
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
    run(f"PRAGMA journal_size_limit = {LOG_BYTES}")
    if page_limit is not None:
        run(f"PRAGMA max_page_count = {int(page_limit)}")
    run("BEGIN IMMEDIATE")  # takes the exclusive lock now and not at the first poll
    run("COMMIT")
    _migrate(connection, path)


def _migrate(connection: sqlite3.Connection, path: Path) -> None:
    """Bring the file to this program's schema; of one that an older program wrote a copy is kept."""
    done = {m.name for m in schema.MIGRATIONS.applied(Utilities(connection))} if _has_schema(connection) else set()
    pending = schema.names() - done
    if done and pending:
        before.keep(connection, path, min(pending))
    if pending:
        schema.MIGRATIONS.apply(Utilities(connection, recursive_triggers=False))


def _has_schema(connection: sqlite3.Connection) -> bool:
    sql = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?"
    return connection.execute(sql, (schema.MIGRATIONS.migrations_table,)).fetchone() is not None


def refuse_strangers(connection: sqlite3.Connection, path: Path) -> None:
    """Nothing is written into a file that is not ours, or that a newer program wrote.

    Raises: StoreFault; StoreDamaged where it is ours, and its header is not what was written.
    """
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if tables - {schema.MIGRATIONS.migrations_table, "sqlite_sequence"}:
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        if application != schema.APPLICATION_ID and tables >= {"identity", schema.MIGRATIONS.migrations_table}:
            raise StoreDamaged("its application id is not what was written", place=str(path), cure=SALVAGE)
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
