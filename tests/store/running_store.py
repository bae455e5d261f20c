"""A real store in a real file, with its writer's thread."""

import threading
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta, timezone

from dcu import obis
from dcu.mailbox import Stop
from dcu.meter import ClassId
from dcu.reading import ClockState, Column, MeterTime, ProfileReading, Row, date_time
from dcu.store import SqliteStore

INDIA = timezone(timedelta(hours=5, minutes=30))
LAYOUT = (
    Column(ClassId.CLOCK, obis.CLOCK, 2),
    Column(ClassId.REGISTER, obis.LogicalName.of("1.0.1.29.0.255"), 2, 0, 30),
)


class FixedClock:
    at = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)

    def now(self):
        return self.at

    def state(self):
        return ClockState.TRUSTED

    def monotonic_s(self):
        return 0.0


class Running:
    """A store whose loop runs; what the loop raised, and how often it beat."""

    def __init__(self, path, **options):
        self.beats, self.fault = 0, None
        self.stop = Stop()
        self.store = SqliteStore.open(
            path, **{"stop": self.stop, "clock": FixedClock(), "beat": self._beat, "dcu": "JH-RNC-0042", **options}
        )
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _beat(self):
        self.beats += 1

    def _run(self):
        try:
            self.store.run()
        except Exception as fault:
            self.fault = fault

    def end(self):
        self.stop.set()
        self._thread.join(10)
        assert not self._thread.is_alive()
        self.store.close()


@contextmanager
def running(path, **options):
    it = Running(path, **options)
    try:
        yield it
    finally:
        it.end()


def row(at_s, *values, status=0):
    at = datetime.fromtimestamp(at_s, INDIA)
    return Row(MeterTime(at, status, date_time(at, INDIA)), values or (at_s % 1000,))


def reading(times, serial="GXT1", profile=obis.BLOCK_LOAD):
    return ProfileReading(serial, profile, LAYOUT, tuple(row(at) for at in times), FixedClock.at, ClockState.TRUSTED)
