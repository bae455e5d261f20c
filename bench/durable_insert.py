"""Rows a second into the store (ledger, CRC, writer's thread) over bare sqlite3 with the same rows and commits."""

import os
import sqlite3
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from bench.figure import Figure, at_least
from dcu import obis
from dcu.clock import SystemClock
from dcu.mailbox import Stop
from dcu.obis import LogicalName
from dcu.reading import ClockState, Column, ProfileReading, Row, date_time, meter_time
from dcu.record import encode_profile
from dcu.store import SqliteStore

ZONE = ZoneInfo("Asia/Kolkata")
METERS, POLLS, ROWS = 32, 40, 4
BEGIN = datetime(2026, 11, 1, tzinfo=UTC)
LAYOUT = (
    Column(8, obis.CLOCK, 2),
    *(Column(3, LogicalName.of(f"1.0.{group}.29.0.255"), 2, 0, 30) for group in (12, 1, 9, 2, 10)),
)


def readings() -> list[list[ProfileReading]]:
    """Polls of all meters; each poll is one commit a meter."""
    polls = []
    for poll in range(POLLS):
        times = [BEGIN + timedelta(minutes=15 * (ROWS * poll + n)) for n in range(ROWS)]
        rows = tuple(Row(meter_time(date_time(at, ZONE), ZONE), (2300, 120, 130, 0, 0)) for at in times)
        polls.append(
            [
                ProfileReading(f"B{n:05}", obis.BLOCK_LOAD, LAYOUT, rows, BEGIN, ClockState.TRUSTED)
                for n in range(METERS)
            ]
        )
    return polls


def ours(directory: Path, polls: list[list[ProfileReading]]) -> float:
    """Rows a second."""
    stop = Stop()
    store = SqliteStore.open(directory / "ours.db", stop=stop, clock=SystemClock(), beat=lambda: None, dcu="BENCH")
    thread = threading.Thread(target=store.run)
    thread.start()
    first = int(BEGIN.timestamp())
    for reading in polls[0]:
        store.transact(lambda tx, r=reading: tx.describe(r.serial, r.profile, LAYOUT, 900, first))
    began = time.perf_counter()
    for poll in polls:
        for reading in poll:
            store.transact(lambda tx, r=reading: tx.admit(r))
    seconds = time.perf_counter() - began
    stop.set()
    thread.join()
    store.close()
    return METERS * POLLS * ROWS / seconds


def bare(directory: Path, polls: list[list[ProfileReading]]) -> float:
    """Rows a second: the same bodies, encoded too, one commit each, WAL and synchronous=FULL."""
    connection = sqlite3.connect(directory / "bare.db", isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("CREATE TABLE record (id INTEGER PRIMARY KEY AUTOINCREMENT, body BLOB)")
    began = time.perf_counter()
    for poll in polls:
        for reading in poll:
            connection.execute("INSERT INTO record (body) VALUES (?)", (encode_profile(reading),))
    seconds = time.perf_counter() - began
    connection.close()
    return METERS * POLLS * ROWS / seconds


@contextmanager
def one_core() -> Iterator[None]:
    """As reference/store-uplink.md measured: to wake an idle virtual processor takes half as long as a commit does."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(cores)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)


def ratio() -> float:
    """Ours over bare: the medians of nine runs each, turn about, since a shared disk is never twice the same."""
    polls, speeds = readings(), {ours: list[float](), bare: list[float]()}
    with one_core():
        for n in range(9):
            for kind in (ours, bare) if n % 2 else (bare, ours):
                with tempfile.TemporaryDirectory() as directory:
                    speeds[kind].append(kind(Path(directory), polls))
    return sorted(speeds[ours])[4] / sorted(speeds[bare])[4]


def figures() -> list[Figure]:
    """Ours over bare."""
    return [at_least("durable insert", ratio(), 0.6, "ours/bare sqlite3")]
