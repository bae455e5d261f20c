"""A damaged store: what can be read of it goes into a new file, and the damaged one is set aside, never deleted.

The new file is made beside the old one and takes its place by renames that a crash may interrupt anywhere. It has a
new epoch; ids go on above all that were ever given; invocation counters leap up; each stream's first record is told
where the old epoch ended, and which ids are gone.
"""

import logging
import os
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from dcu.clock import alarm_now
from dcu.errors import StoreDown
from dcu.event import AlarmKind
from dcu.ports import Clock
from dcu.record import Stream, encode_alarm
from dcu.store import excavation
from dcu.store.database import Database
from dcu.store.excavation import Found
from dcu.store.invocation import LIMIT
from dcu.store.opening import connect
from dcu.store.schema import table
from dcu.store.transaction import SqliteTransaction

log = logging.getLogger(__name__)

KEPT: Final = 3
"""Damaged files that are kept, the newest."""

LEAP: Final = 1 << 20
"""Counters that are passed over: more than one life of the box uses up between two writes to the disk."""

ID_LEAP: Final = 1_000_000
"""Ids that are passed over where nobody knows the last that was given."""


def is_begun(path: Path) -> bool:
    """Whether a salvage was interrupted after its new file was whole."""
    return _whole(path).exists()


def salvage(
    path: Path, dcu: str, page_limit: int, clock: Clock, beat: Callable[[], None], marker: Path | None = None
) -> None:
    """Put what can be read of the store at `path` into a new one in its place.

    Args:
        path: of the damaged store.
        dcu: id of the box.
        page_limit: most pages of the new file.
        clock: of the box.
        beat: called often.
        marker: taken away as soon as the new file is whole.

    Raises:
        StoreDown: the disk does not let it be done now.
        StoreFault: another process has the file open.
    """
    try:
        if not is_begun(path):
            part = path.with_name(f"{path.name}.salvaging")
            for left in (part, part.with_name(f"{part.name}-wal")):
                left.unlink(missing_ok=True)
            _fill(path, part, dcu, page_limit, clock, beat)
            part.rename(_whole(path))
            _sync(path.parent)
        if marker is not None:
            marker.unlink(missing_ok=True)
        _swap(path)
    except OSError as fault:
        cure = "see to the disk; it is tried again"
        raise StoreDown(f"it cannot be salvaged now: {fault.strerror}", place=str(path), cure=cure) from fault


def _whole(path: Path) -> Path:
    return path.with_name(f"{path.name}.salvaged")


def _swap(path: Path) -> None:
    """Set the damaged file and its log aside and put the new one in its place; may be begun again at any point."""
    whole = _whole(path)
    stamp = datetime.fromtimestamp(whole.stat().st_mtime, UTC).strftime("%Y%m%dT%H%M%SZ")
    aside = path.with_name(f"{path.name}.damaged-{stamp}")
    for tail in ("-wal", ""):
        with suppress(FileNotFoundError):
            path.with_name(path.name + tail).rename(aside.with_name(aside.name + tail))
    whole.rename(path)
    _sync(path.parent)
    log.warning("%s: the damaged store", aside)
    kept = sorted(each for each in path.parent.glob(f"{path.name}.damaged-*") if not each.name.endswith("-wal"))
    for old in kept[1 : -KEPT + 1]:  # the first may be the richest
        log.warning("%s: too many damaged stores: this one is taken away", old)
        old.unlink()
        old.with_name(f"{old.name}-wal").unlink(missing_ok=True)


def _sync(folder: Path) -> None:
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def _fill(path: Path, part: Path, dcu: str, page_limit: int, clock: Clock, beat: Callable[[], None]) -> None:
    log.error("%s is damaged: what can be read goes into a new file", path)
    new, epoch = connect(part, dcu=dcu, page_limit=page_limit)
    try:
        found = excavation.excavate(path, new, beat)
        new.control("BEGIN IMMEDIATE")
        transaction = SqliteTransaction(new, clock)
        _go_on(new, found)
        for stream in Stream:
            _tell(transaction, stream, found, epoch, clock)
        new.control("COMMIT")
    finally:
        new.close()  # the log goes into the file, and the file to the disk
    log.warning("%s: %d rows were saved", path, sum(found.saved.values()))


def _go_on(new: Database, found: Found) -> None:
    """Numbers go on above all that were ever given; counters leap; life goes on."""
    for stream in Stream:
        told = new.rows(
            "SELECT max(last) FROM milestone WHERE stream = ? UNION ALL SELECT floor FROM account WHERE stream = ? "
            "UNION ALL SELECT delivered FROM cursor WHERE stream = ?",
            (stream.value,) * 3,
        )
        name = table(stream)
        found.lasts[name] = max(found.lasts.get(name, 0), *(n or 0 for (n,) in told))
        if name not in found.known:
            found.lasts[name] += ID_LEAP  # announced as gone with the others: they may have been given
        _number_on(new, name, found.lasts[name])
    for name in {"command", "journal", "debit"} & found.lasts.keys():
        _number_on(new, name, found.lasts[name])
    new.write("UPDATE invocation SET next = min(next + ?, ?)", (LEAP, LIMIT))
    new.write("UPDATE upkeep SET n = max(n, (SELECT coalesce(max(lived_s), 0) FROM milestone)) WHERE name = 'lived_s'")


def _number_on(new: Database, name: str, last: int) -> None:
    """The next row of a table is given a number above `last`."""
    if new.first("SELECT 1 FROM sqlite_sequence WHERE name = ?", (name,)) is None:
        new.write("INSERT INTO sqlite_sequence (name, seq) VALUES (?, ?)", (name, last))
    else:
        new.write("UPDATE sqlite_sequence SET seq = max(seq, ?) WHERE name = ?", (last, name))


def _tell(tx: SqliteTransaction, stream: Stream, found: Found, epoch: str, clock: Clock) -> None:
    """What became of one stream, as alarms."""
    floor, last = tx.accounts.account(stream).floor, found.lasts[table(stream)]
    gone = found.missing(table(stream), floor)
    count = sum(behind - before + 1 for before, behind in gone)
    text = f"the store was damaged: {stream.value} goes on in a new epoch, {count} of its records are gone"
    facts = {"was": found.epoch, "epoch": epoch, "stream": stream.value, "first": floor + 1, "last": last}
    tx.append(Stream.ALARM, encode_alarm(alarm_now(clock, AlarmKind.SALVAGED, text, "", facts)))
    if gone:
        tx.dropping.lost(stream, gone, found.epoch or epoch)
