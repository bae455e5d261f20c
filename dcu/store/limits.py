"""How much of the file may be used, and by whom."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dcu.store.database import Database

SHED_ABOVE: Final = 0.95
"""Share of the page limit above which readings are shed."""

PAGE_BYTES: Final = 4096

SHARE: Final = 0.4
"""Of what the file system has for the store, the store takes this by itself: a second file has room beside it, should
this one ever have to be salvaged."""

LEAST_MB: Final = 16
MOST_MB: Final = 2048


def page_limit_of(path: Path, max_mb: int | None = None) -> int:
    """Most pages that the file at `path` may have: of `max_mb`, or by the size of the file system and what is free."""
    if max_mb is None:
        disk = os.statvfs(path.parent)
        own = path.stat().st_size if path.exists() else 0
        free = disk.f_bavail * disk.f_frsize + own
        max_mb = int(min(max(SHARE * free / 2**20, LEAST_MB), MOST_MB))
    return max_mb * 2**20 // PAGE_BYTES


@dataclass(frozen=True, slots=True)
class Usage:
    """Pages in use, most pages allowed, octets of a page."""

    used: int
    limit: int
    page_bytes: int


def usage(database: Database) -> Usage:
    """Inside a transaction: as it stands there, uncommitted changes too."""
    pages, free, limit, page_bytes = (
        database.rows(f"PRAGMA {name}")[0][0]
        for name in ("page_count", "freelist_count", "max_page_count", "page_size")
    )
    return Usage(pages - free, limit, page_bytes)
