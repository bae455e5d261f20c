"""A clock is set under a warrant for exactly that value, and read back; without one nothing is sent."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from dcu.clock_set import CLOCK_TIME, Deviation, clock_value, set_clock
from dcu.errors import WarrantRequired
from dcu.meter import Purpose
from dcu.reading import meter_time

from .bench import NOW, SERIAL, ZONE, Bench, TestWarrant

THEN = datetime.fromtimestamp(NOW, UTC) + timedelta(hours=3)


@pytest.mark.parametrize(("deviation", "octets"), [("unspecified", "8000"), ("standard", "feb6"), ("reversed", "014a")])
def test_the_value_is_local_time_with_the_deviation_that_the_model_takes(deviation, octets):
    at = datetime(2026, 11, 23, 18, 45, 9, tzinfo=UTC)
    value = clock_value(at, ZONE, Deviation(deviation))
    assert value.hex() == "090c07ea0b180200" + "0f0900" + octets + "00"
    assert meter_time(value[2:], ZONE).at == at


def test_west_of_greenwich_the_signs_are_the_other_way_round():
    bogota = timezone(timedelta(hours=-5))
    assert clock_value(THEN, bogota, Deviation.STANDARD)[11:13] == (300).to_bytes(2, "big")


@pytest.mark.parametrize("deviation", [Deviation.UNSPECIFIED, Deviation.STANDARD])
def test_a_clock_is_set_once_and_read_back(deviation):
    bench = Bench()
    value = clock_value(THEN, ZONE, deviation)
    warrant = TestWarrant(SERIAL, CLOCK_TIME, value)
    with bench.associate(Purpose.SWITCH) as association:
        shown = set_clock(association, value, ZONE, warrant)
    assert abs((shown.at - THEN).total_seconds()) <= 1 and warrant.spent == 1
    assert abs(bench.virtual.clock.ahead_s - 3 * 3600) <= 1
    sets = [entry for entry in bench.virtual.ledger.entries() if entry["kind"] == "set"]
    assert [entry["ln"] for entry in sets] == ["0.0.1.0.0.255"]


def test_a_meter_that_reads_the_deviation_the_other_way_is_found_out_by_reading_back():
    bench = Bench()
    value = clock_value(THEN, ZONE, Deviation.REVERSED)
    with bench.associate(Purpose.SWITCH) as association:
        shown = set_clock(association, value, ZONE, TestWarrant(SERIAL, CLOCK_TIME, value))
    assert shown.at - THEN == timedelta(hours=11)


def test_another_value_than_the_warrants_is_not_sent():
    bench = Bench()
    warrant = TestWarrant(SERIAL, CLOCK_TIME, clock_value(THEN, ZONE))
    with bench.associate(Purpose.SWITCH) as association, pytest.raises(WarrantRequired):
        set_clock(association, clock_value(THEN + timedelta(days=1), ZONE), ZONE, warrant)
    assert bench.virtual.clock.ahead_s == 0


def test_the_reader_client_may_not_set_it():
    bench = Bench()
    value = clock_value(THEN, ZONE)
    with bench.associate(Purpose.READ) as association, pytest.raises(Exception, match="denied"):
        set_clock(association, value, ZONE, TestWarrant(SERIAL, CLOCK_TIME, value))
    assert bench.virtual.clock.ahead_s == 0
