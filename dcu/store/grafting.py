"""A file whose schema cannot be read is given that of a new store, so that its tables can be.

The schema (`sqlite_master`) stands on a few pages, each of which would otherwise cost the whole file. Files that the
same migrations made have their roots at the same pages: with auto_vacuum, SQLite puts a new root behind the last one.
Format: https://www.sqlite.org/fileformat2.html, sections 1.3, 1.6 and 1.8.
"""

import logging
import os
import sqlite3
import struct
from contextlib import closing
from pathlib import Path
from typing import BinaryIO, Final

from sqlite_utils import Database as Utilities

from dcu.store import schema
from dcu.store.branches import INNER, LEAF, MAP_EVERY, PAGE

log = logging.getLogger(__name__)

_HEADER: Final = 100  # octets, in front of the first page's tree
_TABLE: Final = frozenset({INNER, LEAF})
_INDEX: Final = frozenset({0x02, 0x0A})
_LOCK_PAGE: Final = 0x40000000 // PAGE + 1  # never used by SQLite


def graft(path: Path) -> bool:
    """Put a new store's schema in the place of that of the file at `path`, which is closed and has no log.

    False where it stays as it was.

    Its leaves go behind the last page, and the first page is replaced: nothing else of the file is touched.

    Raises:
        OSError: the disk does not let it be done now.
    """
    pattern = _new_store()
    with path.open("r+b") as file:
        first, size = file.read(PAGE), os.fstat(file.fileno()).st_size
        if not _is_ours(file, pattern):
            return False
        _replace(file, pattern, (size + PAGE - 1) // PAGE)
        if not _is_of_this_program(path):
            file.seek(0)
            file.write(first)
            file.truncate(size)
            return False
    log.warning("%s: its schema cannot be read: that of a new store takes its place", path)
    return True


def _new_store() -> bytes:
    """The image of an empty store."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        connection.execute(f"PRAGMA page_size = {PAGE}")
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        schema.MIGRATIONS.apply(Utilities(connection, recursive_triggers=False))
        return connection.serialize()


def _is_ours(file: BinaryIO, pattern: bytes) -> bool:
    """Whether most roots are trees of the kind that they have to be: some pages may be gone, or it is no store."""
    alike = roots = 0
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.deserialize(pattern)
        found = connection.execute("SELECT rootpage FROM sqlite_master WHERE rootpage > 0").fetchall()
    for (page,) in found:
        file.seek((page - 1) * PAGE)
        kind = _TABLE if pattern[(page - 1) * PAGE] in _TABLE else _INDEX
        octet = file.read(1)
        roots += 1
        alike += bool(octet) and octet[0] in kind
    return 4 * alike > 3 * roots


def _replace(file: BinaryIO, pattern: bytes, pages: int) -> None:
    """The leaves behind the last page, durable before the first page points to them."""
    first = bytearray(pattern[:PAGE])
    places = _children(first)
    for place in places:
        (child,) = struct.unpack_from(">I", first, place)
        pages = _next_free(pages)
        file.seek((pages - 1) * PAGE)
        file.write(pattern[(child - 1) * PAGE : child * PAGE])
        struct.pack_into(">I", first, place, pages)
    struct.pack_into(">I", first, 28, pages)  # size, in pages
    struct.pack_into(">II", first, 32, 0, 0)  # free pages: nothing will be written here
    file.flush()
    os.fsync(file.fileno())
    file.seek(0)
    file.write(first)
    file.flush()
    os.fsync(file.fileno())


def _children(first: bytearray) -> list[int]:
    """Where the first page names pages below it; none where the whole schema stands on it."""
    if first[_HEADER] == LEAF:
        return []
    (cells,) = struct.unpack_from(">H", first, _HEADER + 3)
    return [*struct.unpack_from(f">{cells}H", first, _HEADER + 12), _HEADER + 8]


def _next_free(page: int) -> int:
    """The next page that is neither a pointer map nor locked."""
    page += 1
    while page == _LOCK_PAGE or (page - 2) % MAP_EVERY == 0:
        page += 1
    return page


def _is_of_this_program(path: Path) -> bool:
    """Whether all our migrations made it, and no other: only then do tables stand where a new store's do."""
    try:
        with closing(sqlite3.connect(path, timeout=2.0)) as connection:
            found = connection.execute(f"SELECT name FROM {schema.MIGRATIONS.migrations_table}").fetchall()  # noqa: S608
    except sqlite3.Error:
        return False
    return {name for (name,) in found} == schema.names()
