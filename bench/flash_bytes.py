"""What a reading costs the card: sectors written by a private ext4 for the store's polls, and how long a card lives.

Polls of N meters every quarter of an hour, each meter's poll a transaction with its ledger as the field process commits
it, and their delivery in batches. Counted at the block device (the journal of ext4 is in it); what the card does inside
is assumed. Needs root for the loop device; without it, what the process wrote (/proc/self/io), which lacks the journal.
"""

import os
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from bench.durable_insert import LAYOUT, ZONE
from bench.figure import Figure, at_least, stated
from dcu import obis
from dcu.clock import SystemClock
from dcu.mailbox import Stop
from dcu.reading import ClockState, ProfileReading, Row, date_time, meter_time
from dcu.record import Stream
from dcu.store import SqliteStore

BEGIN: Final = datetime(2026, 11, 1, tzinfo=UTC)
POLLS: Final = {1: 400, 32: 60, 250: 12, 1000: 5}
WARM: Final = {1: 400, 32: 40, 250: 4, 1000: 2}
"""Polls before the counting: until the log has its length and is written over (a log that grows costs more)."""

WORKERS: Final = 8
"""Meters that are polled at once where there are many, so that polls share a commit."""

CARD_GB: Final = 8
CYCLES: Final = 3000
"""Of an industrial MLC card."""
INSIDE: Final = 4
"""Assumed: the card writes so many times what it is told to, moving blocks of cells about."""


def _sectors(device: str) -> int:
    """Octets written to a block device since it was attached (Documentation/block/stat.rst)."""
    return int(Path(f"/sys/block/{Path(device).name}/stat").read_text().split()[6]) * 512


def _written() -> int:
    lines = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    return int(lines["write_bytes"])


@contextmanager
def card() -> Iterator[tuple[Path, str]]:
    """A directory on a file system of its own, and its device; a plain directory and "" where that is not allowed."""
    with tempfile.TemporaryDirectory() as directory:
        image, target = Path(directory) / "image", Path(directory) / "card"
        target.mkdir()
        image.touch()
        os.truncate(image, 2**30)
        subprocess.run(["mkfs.ext4", "-q", "-F", image], capture_output=True, check=False)
        done = subprocess.run(["mount", "-o", "loop", image, target], capture_output=True, check=False)
        if done.returncode:
            yield target, ""
            return
        try:
            yield (
                target,
                subprocess.run(
                    ["findmnt", "-no", "SOURCE", target], capture_output=True, text=True, check=True
                ).stdout.strip(),
            )
        finally:
            subprocess.run(["umount", target], check=True)


def poll(store: SqliteStore, meters: int, n: int) -> None:
    """One poll of all meters and the delivery of what came."""
    at = BEGIN + timedelta(minutes=15 * n)
    rows = (Row(meter_time(date_time(at, ZONE), ZONE), (2300 + n % 7, 120 + n % 11, 130, n % 3, 0)),)

    def one(serials: range) -> None:
        for serial in serials:
            reading = ProfileReading(f"B{serial:05}", obis.BLOCK_LOAD, LAYOUT, rows, at, ClockState.TRUSTED)
            store.transact(lambda tx, r=reading: tx.admit(r))

    threads = [threading.Thread(target=one, args=(range(k, meters, WORKERS),)) for k in range(min(WORKERS, meters))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    last = store.transact(lambda tx: tx.cursors())[Stream.PROFILE][1]
    store.transact(lambda tx: tx.deliver(Stream.PROFILE, last))


def octets_a_reading(meters: int) -> tuple[float, bool]:
    """Octets on the device for each reading, in the steady state; whether it was counted at the device."""
    with card() as (directory, device):
        stop = Stop()
        store = SqliteStore.open(directory / "dcu.db", stop=stop, clock=SystemClock(), beat=lambda: None, dcu="BENCH")
        thread = threading.Thread(target=store.run)
        thread.start()
        first = int(BEGIN.timestamp())
        for serial in range(meters):
            store.transact(lambda tx, s=f"B{serial:05}": tx.describe(s, obis.BLOCK_LOAD, LAYOUT, 900, first))
        for n in range(WARM[meters]):
            poll(store, meters, n)
        os.sync()
        count = (lambda: _sectors(device)) if device else _written
        before = count()
        for n in range(WARM[meters], WARM[meters] + POLLS[meters]):
            poll(store, meters, n)
        os.sync()
        octets = (count() - before) / (meters * POLLS[meters])
        stop.set()
        thread.join()
        store.close()
    return octets, bool(device)


def years(meters: int, octets: float) -> float:
    """That a card lasts: blocks of a quarter of an hour, and half as much again for snapshots, balance and health."""
    a_day = 1.5 * meters * 96 * octets * INSIDE
    return CARD_GB * 1e9 * CYCLES / a_day / 365


def figures() -> list[Figure]:
    """Octets a reading and years of a card, by the number of meters."""
    found = []
    for meters in POLLS:
        octets, device = octets_a_reading(meters)
        where = "at the device" if device else "by the process, without the journal of the file system"
        name = f"flash: {meters} meters, 15 minutes, a row a poll: octets written {where}"
        found.append(stated(name, octets, "octets/reading", 0))
        assumed = f"{CARD_GB} GB card of {CYCLES} cycles, {INSIDE}x inside the card, half as much again for other tasks"
        found.append(at_least(f"flash: {meters} meters: life of an {assumed}", years(meters, octets), 10, "years", 1))
    return found
