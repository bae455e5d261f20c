"""Reading what can be read of a damaged file, table by table, around the pages that are not what was written.

Rows of a numbered table are read in order; where a page cannot be read, the next number that can is looked for in
doubling steps. Other tables are read from both ends. A record counts only if its checksum is right. SQLite's own
`.recover` needs what Debian's library is built without (reference/store-uplink.md 1.6).
"""
# ruff: noqa: S608 - names put into statements are those of tables and columns of the schema

import logging
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from dcu.errors import StoreDown, StoreFault, StoreFull
from dcu.record import Stream, checksum
from dcu.store.branches import mend_branches, put_back
from dcu.store.database import Database, translate
from dcu.store.grafting import graft
from dcu.store.schema import table

log = logging.getLogger(__name__)

TOGETHER: Final = 2000
"""Rows that are written in one transaction."""

ONE_BY_ONE: Final = 100_000
"""Numbers of a stream that are looked for one by one where rows are missing."""

_LAST: Final = ("mark", "stray", *(table(stream) for stream in Stream))
"""Read after all others, in this order: if there is no room for all, these are the less."""

_STREAMS: Final = frozenset(table(stream) for stream in Stream)
_OF_PROFILES: Final = ("held", "absent", "stray", "mark")
_OURS: Final = ("identity", "sqlite_sequence", "_sqlite_migrations")
_NEVER: Final = 1 << 62


@dataclass(slots=True)
class Found:
    """What was read.

    Attributes:
        epoch: of the damaged file; empty where it could not be read.
        saved: rows, by table.
        ranges: numbers that were read, of each stream, ascending.
        lasts: highest number ever given, by table, as far as any table tells.
        known: tables of which the file itself says so.
    """

    epoch: str = ""
    saved: dict[str, int] = field(default_factory=dict)
    ranges: dict[str, list[list[int]]] = field(default_factory=dict)
    lasts: dict[str, int] = field(default_factory=dict)
    known: set[str] = field(default_factory=set)

    def missing(self, name: str, floor: int = 0) -> list[tuple[int, int]]:
        """Numbers of a stream above `floor` that were given and could not be read, as (first, last)."""
        missing, awaited = [], floor + 1
        for first, last in self.ranges.get(name, []):
            if first > awaited:
                missing.append((awaited, first - 1))
            awaited = max(awaited, last + 1)
        if (end := self.lasts.get(name, 0)) >= awaited:
            missing.append((awaited, end))
        return missing


def excavate(path: Path, new: Database, beat: Callable[[], None]) -> Found:
    """Copy all that can be read of the file at `path` into `new`, which has the schema and nothing else.

    Raises:
        StoreDown: the new file cannot be written now.
        StoreFault: another process has the damaged file open.
    """
    found = Found()
    mended: dict[int, bytes] = {}
    try:
        if _settle(path):
            mended = mend_branches(path)
        try:
            _dig(path, new, found, beat)
        except sqlite3.DatabaseError:
            if found.saved or not _settle(path) or not graft(path):
                raise
            _dig(path, new, found, beat)
    except sqlite3.Error as error:
        fault = translate(error, str(path))
        if fault.cure.startswith("one field process"):
            raise fault from error
        log.error("%s: nothing can be read of it: %s", path, fault)  # noqa: TRY400  no more than this is to be known
    finally:
        with suppress(OSError):  # what was read counts more
            put_back(path, mended)
    return found


def _settle(path: Path) -> bool:
    """Have the log go into the file; whether there is none left, so that nothing but the file counts.

    Raises: sqlite3.Error: another process has it open.
    """
    with closing(sqlite3.connect(path, timeout=2.0, isolation_level=None)) as connection:
        try:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("COMMIT")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
                raise
        except sqlite3.Error:
            pass  # it is damaged: that is why we are here
    left = path.with_name(f"{path.name}-wal")
    return not left.exists() or left.stat().st_size == 0


def _dig(path: Path, new: Database, found: Found, beat: Callable[[], None]) -> None:
    with closing(sqlite3.connect(path, timeout=2.0, isolation_level=None)) as source:
        try:
            _Dig(source, new, found, beat).all()
        except UnicodeDecodeError as error:  # as when it is opened
            raise sqlite3.DatabaseError("its schema is garbled") from error


class _Dig:
    """One damaged file."""

    def __init__(self, source: sqlite3.Connection, new: Database, found: Found, beat: Callable[[], None]) -> None:
        self._source = source
        self._new = new
        self._found = found
        self._beat = beat
        self._full = False

    def all(self) -> None:
        """Every table that both files have."""
        for pragma in ("locking_mode = EXCLUSIVE", "cell_size_check = ON", "wal_autocheckpoint = 0"):
            self._source.execute(f"PRAGMA {pragma}")
        there = {name for (name,) in self._source.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        with suppress(sqlite3.Error):
            [(self._found.epoch,)] = self._source.execute("SELECT value FROM identity WHERE name = 'epoch'")
        with suppress(sqlite3.Error):
            for name, last in self._source.execute("SELECT name, seq FROM sqlite_sequence").fetchall():
                self._found.lasts[name] = last
                self._found.known.add(name)
        names = self._names()
        for name in sorted(names & there, key=lambda each: _LAST.index(each) if each in _LAST else -1):
            self._copy(name)
            if name in _STREAMS:
                self._take_stock(name)
                self._fill_gaps(name)
            self._beat()

    def _take_stock(self, name: str) -> None:
        """Which numbers of a stream are saved."""
        ranges: list[list[int]] = []
        after, step = 0, [(0,)]
        while step:
            self._new.control("BEGIN")
            step = self._new.rows(f"SELECT id FROM {name} WHERE id > ? ORDER BY id LIMIT 10000", (after,))
            self._new.control("COMMIT")
            for (n,) in step:
                if ranges and ranges[-1][1] == n - 1:
                    ranges[-1][1] = n
                else:
                    ranges.append([n, n])
                after = n
        self._found.ranges[name] = ranges
        self._found.lasts[name] = max(self._found.lasts.get(name, 0), after)

    def _fill_gaps(self, name: str) -> None:
        """Where an inner page leads astray, a row may still be found by its number."""
        columns = self._columns(name)
        left, rows = ONE_BY_ONE, []
        sql = f"SELECT {', '.join(columns)} FROM {name} WHERE id = ?"
        for first, last in self._found.missing(name):
            for n in range(first, min(last, first + left) + 1):
                with suppress(sqlite3.Error):
                    found = self._source.execute(sql, (n,)).fetchall()
                    rows += [row for row in found if row[0] == n and _is_whole(dict(zip(columns, row, strict=True)))]
            left -= min(left, last - first + 1)
            self._beat()
        if rows:
            places = ", ".join("?" * len(columns))
            self._write(name, f"INSERT OR IGNORE INTO {name} ({', '.join(columns)}) VALUES ({places})", rows)
            self._take_stock(name)

    def _names(self) -> set[str]:
        self._new.control("BEGIN")
        found = self._new.rows("SELECT name FROM sqlite_master WHERE type = 'table'")
        self._new.control("COMMIT")
        return {name for (name,) in found if name not in _OURS and not name.startswith("sqlite_")}

    def _copy(self, name: str) -> None:
        """One table, as far as it can be read and there is room."""
        columns = self._columns(name)
        if not columns:
            return
        places = ", ".join("?" * len(columns))
        insert = f"INSERT OR REPLACE INTO {name} ({', '.join(columns)}) VALUES ({places})"
        together: list[Sequence[Any]] = []
        for row in self._rows(name, columns):
            together.append(row)
            if len(together) >= TOGETHER:
                self._write(name, insert, together)
                together = []
        self._write(name, insert, together)

    def _columns(self, name: str) -> list[str]:
        """Of both files: the old one may be an older program's."""
        self._new.control("BEGIN")
        ours = [row[1] for row in self._new.rows(f"PRAGMA table_info({name})")]
        self._new.control("COMMIT")
        try:
            theirs = {row[1] for row in self._source.execute(f"PRAGMA table_info({name})")}
        except sqlite3.Error:
            return []
        return [column for column in ours if column in theirs]

    def _rows(self, name: str, columns: list[str]) -> Iterator[Sequence[Any]]:
        listed = ", ".join(columns)
        if name in _STREAMS or columns[0] in {"id", "n"}:
            for row in self._numbered(name, listed, columns[0]):
                if name not in _STREAMS:
                    self._found.lasts[name] = max(self._found.lasts.get(name, 0), row[0])
                    yield row
                elif _is_whole(dict(zip(columns, row, strict=True))):
                    yield row
        elif name in _OF_PROFILES:
            for (profile,) in list(self._numbered("profile", "id", "id")):
                yield from self._both_ends(
                    name, f"SELECT {listed} FROM {name} WHERE profile = {int(profile)} ORDER BY 2"
                )
        else:
            yield from self._both_ends(name, f"SELECT {listed} FROM {name} ORDER BY 1")

    def _numbered(self, name: str, listed: str, key: str) -> Iterator[Sequence[Any]]:
        """Rows in the order of their numbers, stepping over what cannot be read."""
        after: int | None = -1
        while after is not None:
            for row in self._run(name, listed, key, after):
                after = row[0]
                yield row
            after = self._next(name, key, after)
            if after is not None:  # the reading ahead of a longer query would lose the row before the damage
                yield from self._run(name, listed, key, after - 1, " LIMIT 1")

    def _run(self, name: str, listed: str, key: str, after: int, end: str = "") -> Iterator[Sequence[Any]]:
        """Rows with numbers above `after`, ascending, to the first that cannot be read."""
        sql = f"SELECT {listed} FROM {name} WHERE {key} > ? ORDER BY {key}{end}"
        with suppress(sqlite3.Error):
            for count, row in enumerate(self._source.execute(sql, (after,))):
                if not isinstance(row[0], int) or row[0] <= after:
                    return
                after = row[0]
                if count % 1000 == 999:
                    self._beat()
                yield row

    def _next(self, name: str, key: str, after: int) -> int | None:
        """The next number behind `after` that can be read; None where there is none."""
        bad, step = after, 1
        while (found := self._probe(name, key, after + step)) is None:
            bad, step = after + step, 2 * step
            if step > _NEVER:
                return None
        good = after + step
        while good - bad > 1:
            middle = (bad + good) // 2
            if (probed := self._probe(name, key, middle)) is None:
                bad = middle
            else:
                good, found = middle, probed
        if found > after:
            log.warning("%s: unreadable between %d and %d", name, after, found)
        return found if found > after else None

    def _probe(self, name: str, key: str, n: int) -> int | None:
        """The first number from `n` on; -1 where there is none; None where that cannot be read."""
        try:
            found = self._source.execute(
                f"SELECT {key}, * FROM {name} WHERE {key} >= ? ORDER BY {key} LIMIT 1", (n,)
            ).fetchone()
        except sqlite3.Error:
            return None
        return -1 if found is None else int(found[0])

    def _both_ends(self, name: str, sql: str) -> Iterator[Sequence[Any]]:
        """From the first row to what cannot be read, and from the last."""
        for order in ("", " DESC"):
            count = 0
            try:
                for row in self._source.execute(sql + order):
                    count += 1
                    yield row
            except sqlite3.Error as fault:
                log.warning("%s: %s", name, fault)
            else:
                return
            with suppress(sqlite3.Error):  # reading ahead has lost the row before the damage
                yield from self._source.execute(f"{sql}{order} LIMIT 1 OFFSET {count}")

    def _write(self, name: str, insert: str, rows: list[Sequence[Any]]) -> None:
        if not rows or self._full:
            return
        try:
            self._put(insert, rows)
            taken = rows
        except StoreDown:
            raise
        except StoreFull:
            log.error("%s: there is no room for all that can be read", name)  # noqa: TRY400  the same
            self._full = True
            return
        except StoreFault:
            taken = [row for row in rows if self._put_one(insert, row)]  # one of them is no row of ours
        self._found.saved[name] = self._found.saved.get(name, 0) + len(taken)

    def _put(self, insert: str, rows: list[Sequence[Any]]) -> None:
        self._new.control("BEGIN IMMEDIATE")
        try:
            self._new.write_all(insert, rows)
            self._new.control("COMMIT")
        except StoreFault:
            with suppress(StoreFault):
                self._new.control("ROLLBACK")
            raise

    def _put_one(self, insert: str, row: Sequence[Any]) -> bool:
        try:
            self._put(insert, [row])
        except (StoreDown, StoreFull):
            raise
        except StoreFault:
            return False
        return True


def _is_whole(row: dict[str, Any]) -> bool:
    body = row["body"]
    return isinstance(body, bytes) and checksum(body) == row["crc"]
