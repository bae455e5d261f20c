"""Meters whose clocks go by local time: summer time both ways, zones with odd offsets, and a leap day."""

from collections import Counter
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from dcu import gaps
from dcu.record import Stream
from tests.field.conftest import Field

QUARTER, HOUR_S = 900, 3600

SPRING, AUTUMN, LEAP, YEAR = "spring", "autumn", "leap day", "new year"

TABLE = [
    ("Asia/Kolkata", SPRING, (2027, 3, 28)),
    ("Asia/Kolkata", LEAP, (2028, 2, 29)),
    ("Asia/Kolkata", YEAR, (2028, 1, 1)),
    ("Asia/Kathmandu", LEAP, (2028, 2, 29)),
    ("Asia/Kathmandu", YEAR, (2028, 1, 1)),
    ("Europe/Berlin", SPRING, (2027, 3, 28)),
    ("Europe/Berlin", AUTUMN, (2027, 10, 31)),
    ("Europe/Berlin", LEAP, (2028, 2, 29)),
    ("Europe/London", SPRING, (2027, 3, 28)),
    ("Europe/London", AUTUMN, (2027, 10, 31)),
    ("America/New_York", SPRING, (2028, 3, 12)),
    ("America/New_York", AUTUMN, (2027, 11, 7)),
    ("Australia/Lord_Howe", SPRING, (2027, 10, 3)),  # by half an hour
    ("Australia/Lord_Howe", AUTUMN, (2028, 4, 2)),
]


@pytest.mark.parametrize(("name", "what", "day"), TABLE, ids=[f"{name} {what}" for name, what, _ in TABLE])
def test_no_interval_is_missing_or_twice(store, clock, meter, name, what, day):
    zone = ZoneInfo(name)
    meter.zone = zone
    begin_s = int(datetime(*day, tzinfo=zone).timestamp()) - 6 * HOUR_S
    clock.wall = datetime.fromtimestamp(begin_s, UTC)
    box = Field(meter, store, clock, zone=zone)
    captured = range(begin_s, begin_s + 36 * HOUR_S + 1, QUARTER)
    for n, at in enumerate(captured):
        meter.block.put(at, n, 0)
        clock.advance(at + 5 - clock.wall.timestamp())
        if n % 2:
            box.visit()
    box.visit()
    rows = [row for record in box.records(Stream.PROFILE) for row in record["rows"]]
    assert Counter(row[1] for row in rows) == Counter(range(len(captured))), "each interval came once"
    # A face that shows an hour twice: its rows came both times (`again`), and stand where the face says.
    twice = zone.utcoffset(datetime(*day)) - zone.utcoffset(datetime(*day, 12))
    absent = Counter({reason: (last - first) // QUARTER + 1 for first, last, reason in box.state().absent})
    assert absent == ({"clock set": twice.total_seconds() // QUARTER} if what == AUTUMN else {})
    assert gaps.missing(box.state(), captured[-1]) == ()
