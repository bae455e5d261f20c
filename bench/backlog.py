"""A backlog of readings in a store's file for `drain` and `payload`: what block load of Indian meters looks like.

Eight registers an interval (average voltage and current of three phases, Wh and VAh, as meters of IS 15959 category B
have them), load that goes with the hour, and no two meters alike. The records go in by `append`: what the ledger does
about them is not what is measured here.
"""

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from dcu import obis
from dcu.obis import LogicalName
from dcu.reading import ClockState, Column, ProfileReading, Row, date_time, meter_time
from dcu.record import Stream, encode_profile
from tests.store.running_store import running

DCU = "JH-RNC-0042"
ZONE = ZoneInfo("Asia/Kolkata")
BEGIN = datetime(2026, 8, 1, tzinfo=UTC)
PERIOD = timedelta(minutes=15)
METERS = 250
LAYOUT = (
    Column(8, obis.CLOCK, 2),
    *(Column(3, LogicalName.of(f"1.0.{group}.27.0.255"), 2, -2, 33) for group in (31, 51, 71)),
    *(Column(3, LogicalName.of(f"1.0.{group}.27.0.255"), 2, -1, 35) for group in (32, 52, 72)),
    *(Column(3, LogicalName.of(f"1.0.{group}.29.0.255"), 2, 0, 30) for group in (1, 9)),
)


def readings(rows: int, records: int) -> Iterator[ProfileReading]:
    """Polls of `rows` intervals each, meter by meter, day by day."""
    dice = random.Random(rows)
    times = [meter_time(date_time(BEGIN + PERIOD * n, ZONE), ZONE) for n in range(rows * (records // METERS + 1))]
    for number in range(records):
        poll, meter = divmod(number, METERS)
        at = times[poll * rows : (poll + 1) * rows]
        yield ProfileReading(
            f"GXT2093{meter:04}",
            obis.BLOCK_LOAD,
            LAYOUT,
            tuple(Row(each, _values(dice, n)) for n, each in enumerate(at, start=poll * rows)),
            at[-1].at + timedelta(seconds=dice.randint(5, 600)),
            ClockState.TRUSTED,
        )


def _values(dice: random.Random, interval: int) -> tuple[int, ...]:
    amperes = [int(dice.lognormvariate(5.0 + (interval % 96 > 70), 0.7)) for _ in range(3)]
    volts = [dice.randint(2180, 2450) for _ in range(3)]
    apparent = sum(i * v for i, v in zip(amperes, volts, strict=True)) // 4000
    return (*amperes, *volts, apparent * dice.randint(88, 100) // 100, apparent)


def fill(path: Path, rows: int, count: int) -> None:
    """A store with `count` readings, `rows` in a record, none delivered."""
    with running(path, dcu=DCU) as it:
        bodies: list[bytes] = []
        for reading in readings(rows, count // rows):
            bodies.append(encode_profile(reading))
            if len(bodies) == 5000:
                _append(it.store, bodies)
                bodies = []
        _append(it.store, bodies)


def _append(store, bodies: list[bytes]) -> None:
    store.transact(lambda tx: [tx.append(Stream.PROFILE, body, LAYOUT) for body in bodies], wait_s=120.0)
