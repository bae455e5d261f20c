"""A real store in a file, a clock that the test moves, and a meter that is a list of rows."""

import threading
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from dcu import obis
from dcu.config import PollConfig
from dcu.field.visit import VisitScene
from dcu.mailbox import Stop
from dcu.obis import LogicalName
from dcu.reading import ClockState, Column, Row, date_time, meter_time
from dcu.store import SqliteStore

IST = ZoneInfo("Asia/Kolkata")
LAYOUT = (
    Column(8, obis.CLOCK, 2),
    Column(3, LogicalName.of("1.0.12.27.0"), 2, -1, 35),
    Column(3, LogicalName.of("1.0.1.29.0"), 2, 0, 30),
)
SERIAL = "GXT00000001"


class FakeClock:
    def __init__(self):
        self.wall = datetime(2026, 11, 22, 6, 30, tzinfo=UTC)
        self.uptime_s = 1000.0

    def now(self):
        return self.wall

    def state(self):
        return ClockState.TRUSTED

    def monotonic_s(self):
        return self.uptime_s

    def advance(self, seconds):
        self.wall += timedelta(seconds=seconds)
        self.uptime_s += seconds


class RingMeter:
    """An association with a meter whose block load is `rows`: epoch seconds to values."""

    def __init__(self, clock, period_s=900):
        self.serial = SERIAL
        self.period = period_s
        self.rows_held = {}
        self.asked = []
        self.clock = clock
        self.exchange_s = 0.0

    def capture(self, first_s, last_s):
        for at in range(first_s, last_s + 1, self.period):
            self.rows_held[at] = (2300 + at // self.period % 50, at // self.period % 97)

    def row(self, at):
        return Row(meter_time(date_time(datetime.fromtimestamp(at, UTC), IST), IST), self.rows_held[at])

    def capture_period_s(self, profile):
        return self.period

    def oldest_row(self, profile, layout):
        return self.row(min(self.rows_held)) if self.rows_held else None

    def rows(self, profile, layout, since, until):
        span = (int(since.timestamp()), int(until.timestamp()))
        self.asked.append(span)
        self.clock.advance(self.exchange_s)
        return [self.row(at) for at in sorted(self.rows_held) if span[0] <= at <= span[1]]


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def store(tmp_path, clock):
    stop = Stop()
    opened = SqliteStore.open(tmp_path / "dcu.db", stop=stop, clock=clock, beat=lambda: None, dcu="JH-TEST")
    thread = threading.Thread(target=opened.run)
    thread.start()
    yield opened
    stop.set()
    thread.join(10)
    opened.close()


@pytest.fixture
def scene(store, clock):
    return VisitScene(store, clock, IST, PollConfig(snapshot_s=900, balance_s=900, health_s=300, history_days=35))


@pytest.fixture
def meter(clock):
    return RingMeter(clock)
