"""How much of the disk the store may use: the page limit below it, and a ballast that is let go when it is full.

A disk that is really full refuses deletes and checkpoints too (reference/store-uplink.md 1.6). So the file ends before
the disk does; and where others have filled the disk, the ballast beside the file gives the room that shedding needs.
"""

import logging
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dcu.store.database import Database

log = logging.getLogger(__name__)

SHED_ABOVE: Final = 0.95
"""Share of the page limit above which readings are shed."""

PAGE_BYTES: Final = 4096

SHARE: Final = 0.4
"""Of what the file system has for the store, the store takes this by itself: a second file has room beside it, should
this one ever have to be salvaged."""

LEAST_MB: Final = 16
MOST_MB: Final = 2048

LOG: Final = 1000
SHORT_LOG: Final = 64
"""Pages of the log before they are written into the file: SQLite's own, and where the disk has no room for a long log.
A log that is cut and grows anew costs flash; for the days of a full disk that is the smaller harm."""

BALLAST_BYTES: Final = 8 * 2**20


def page_limit_of(path: Path, max_mb: int | None = None) -> int:
    """Most pages that the file at `path` may have: of `max_mb`, or by the size of the file system and what is free."""
    if max_mb is None:
        try:
            own = sum(each.stat().st_size for each in (path, sealed_file(path)) if each.exists())
            free = _free_bytes(path) + own
        except OSError:
            free = 0
        max_mb = int(min(max(SHARE * free / 2**20, LEAST_MB), MOST_MB))
    return max_mb * 2**20 // PAGE_BYTES


def sealed_file(path: Path) -> Path:
    """Where payloads that are made in advance stand, beside the store at `path` (`dcu/store/sealed.py`)."""
    return path.with_name(f"{path.stem}-sealed{path.suffix}")


def has_room_beside(path: Path, pages: int, spare: int = 0) -> bool:
    """Whether the disk has room for the store at `path` at its limit, and for a second file that it is salvaged into.

    Then what stands beside them is in nobody's way. `spare` pages are to be left beyond that.
    """
    try:
        return _free_bytes(path) >= (2 * pages + spare) * PAGE_BYTES - path.stat().st_size
    except OSError:
        return False


def _free_bytes(path: Path) -> int:
    disk = os.statvfs(path.parent)
    return disk.f_bavail * disk.f_frsize


@dataclass(frozen=True, slots=True)
class Usage:
    """Pages in use, most pages allowed, octets of a page."""

    used: int
    limit: int
    page_bytes: int

    @property
    def excess(self) -> int:
        """Pages in use beyond what readings may take; 0 or less while there is room."""
        return self.used - int(self.limit * SHED_ABOVE)


def usage(database: Database) -> Usage:
    """As it stands; inside a transaction with its uncommitted changes."""
    pages, free, limit = (database.ask(name) for name in ("page_count", "freelist_count", "max_page_count"))
    return Usage(pages - free, limit, PAGE_BYTES)


class Room:
    """Keeps the file below the disk.

    Args:
        path: of the store's file.
        pages: most that it may have.
    """

    def __init__(self, path: Path, pages: int) -> None:
        self._path = path
        self._pages = pages
        self._ballast = path.with_name(f"{path.name}.ballast")
        self._bytes = min(BALLAST_BYTES, pages * PAGE_BYTES // 8)
        self._lowered = False

    def make_way(self, database: Database) -> bool:
        """The store is full. Where it is the disk that is, let the ballast go, and let the file grow no more.

        True when the log should be cut: it stands in the way.
        """
        if self._free_bytes() >= self._bytes:
            return False
        if not self._lowered:
            log.warning("%s: the disk is full; the file does not grow any more, and readings are shed", self._path)
        self._lowered = True
        self.let_go()
        database.rows("PRAGMA max_page_count = 1")  # SQLite takes the pages that the file has
        database.rows(f"PRAGMA wal_autocheckpoint = {SHORT_LOG}")
        return True

    def let_go(self) -> bool:
        """The ballast, where the disk is full; whether there was one."""
        if self._free_bytes() >= self._bytes:
            return False
        with suppress(OSError):
            self._ballast.unlink()
            return True
        return False

    def mend(self, database: Database) -> None:
        """When the disk has room again: the ballast is made anew, and the file may grow again."""
        free = self._free_bytes()
        if not self._ballast.exists():
            if free < 2 * self._bytes:
                return
            self._make()
        if self._lowered and self._ballast.exists():
            self._lowered = False
            database.rows(f"PRAGMA max_page_count = {self._pages}")
            database.rows(f"PRAGMA wal_autocheckpoint = {LOG}")
            log.warning("%s: the disk has room again", self._path)

    def _make(self) -> None:
        try:
            ballast = os.open(self._ballast, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            try:
                os.posix_fallocate(ballast, 0, self._bytes)
            finally:
                os.close(ballast)
        except OSError as fault:
            log.debug("%s: %s", self._ballast, fault.strerror)
            with suppress(OSError):
                self._ballast.unlink()

    def _free_bytes(self) -> int:
        try:
            return _free_bytes(self._path)
        except OSError:
            return 0
