"""A copy of the store as the program before had it: the way back, should a migration turn out to be wrong."""

import logging
import os
import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from typing import Final

log = logging.getLogger(__name__)

COPIES: Final = 2
"""The newest are kept."""


def keep(connection: sqlite3.Connection, path: Path, version: str) -> None:
    """Copy the file to `<name>.before-<version>`, mode 0600, whole or not at all; no room for it hinders nobody."""
    target = path.with_name(f"{path.name}.before-{version}")
    part = target.with_name(f"{target.name}.part")
    disk = os.statvfs(path.parent)
    if disk.f_bavail * disk.f_frsize < 2 * path.stat().st_size:
        log.warning("%s: no room for a copy before %s", path, version)
        return
    try:
        part.unlink(missing_ok=True)
        os.close(os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        with closing(sqlite3.connect(part)) as copy:
            connection.backup(copy)
        _sync(part)
        part.rename(target)
        _sync(path.parent)
    except (OSError, sqlite3.Error) as fault:
        log.warning("%s: no copy before %s: %s", path, version, fault)
        with suppress(OSError):
            part.unlink()
        return
    log.info("%s: the store as it was before %s", target, version)
    copies = sorted(path.parent.glob(f"{path.name}.before-*"), key=lambda each: each.stat().st_mtime_ns)
    for old in copies[:-COPIES]:
        old.unlink()


def _sync(path: Path) -> None:
    """To the disk."""
    opened = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
