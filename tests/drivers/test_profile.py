"""Profile buffers: null compression, invalid times, rows of other columns."""

import contextlib
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcu import obis
from dcu.drivers import axdr, profile
from dcu.errors import CaptureMismatch, DcuError, ReplyMalformed
from dcu.obis import LogicalName
from dcu.reading import NO_TIME, UNTIMED, Column, Row, date_time, timed

ZONE = ZoneInfo("Asia/Kolkata")
START = datetime(2026, 11, 1, 0, 15, tzinfo=ZONE)
VOLTAGE, ENERGY = LogicalName.of("1.0.12.27.0"), LogicalName.of("1.0.1.29.0")
LAYOUT = (Column(8, obis.CLOCK, 2), Column(3, VOLTAGE, 2, -1, 35), Column(3, ENERGY, 2, 0, 30))


def at(n):
    return date_time(START + n * timedelta(minutes=15), ZONE)


def read(*rows):
    return profile.rows(list(rows), LAYOUT, 900, ZONE, "x")


def test_null_time_and_null_values_are_filled():
    rows = read([at(0), 2301, 5], [None, None, 6], [None, 2302, None], [at(5), None, None])
    assert [(row.captured_at.epoch_s - int(START.timestamp())) // 900 for row in rows] == [0, 1, 2, 5]
    assert [row.values for row in rows] == [(2301, 5), (2301, 6), (2302, 6), (2302, 6)]
    assert rows[1].captured_at.octets == at(1)


@given(st.lists(st.tuples(st.booleans(), st.booleans(), st.integers(0, 5)), min_size=1, max_size=40))
def test_compression_loses_nothing(plan):
    plain, squeezed, before = [], [], None
    for n, (squeeze_time, squeeze_value, value) in enumerate(plan):
        row = [at(n), value, n]
        plain.append(row)
        small = list(row)
        if before is not None and squeeze_time:
            small[0] = None
        if before is not None and squeeze_value and before[1] == value:
            small[1] = None
        squeezed.append(small)
        before = row
    assert read(*squeezed) == read(*plain)


def test_an_invalid_time_costs_its_row_and_one_line(caplog):
    wild = bytes.fromhex("FFFFFFFFFFFFFFFFFF800000")
    hour_24 = bytes.fromhex("07EA0B01FF18000000800000")
    rows = read([at(0), 1, 1], [wild, 2, 2], [hour_24, 3, 3], [b"", 4, 4], [7, 5, 5], [at(5), None, 6])
    assert [row.values for row in rows] == [(1, 1), (5, 6)]
    assert [record.getMessage() for record in caplog.records] == ["x: 4 of 6 rows have no valid time and are left out"]


def test_a_null_time_after_an_invalid_one_has_no_base():
    assert read([None, 1, 1], [b"bad", 2, 2], [None, 3, 3]) == []
    assert profile.rows([[at(0), 1, 1], [None, 2, 2]], LAYOUT, 0, ZONE, "x")[1:] == []


def test_differences_are_added_to_the_value_before():
    down, up = axdr.decode(b"\x1c\xff"), axdr.decode(b"\x20\x00\x05")
    rows = read([at(0), 2301, 5], [None, down, up], [None, None, up], [None, 2400, down])
    assert [row.values for row in rows] == [(2301, 5), (2300, 10), (2300, 15), (2400, 14)]
    assert {type(value) for row in rows for value in row.values} == {int}
    for base in (None, b"", "7", True):
        with pytest.raises(CaptureMismatch, match="difference"):
            read([at(0), base, 5], [at(1), down, 6])


def test_what_says_that_it_is_no_value_is_not_filled():
    nothing = axdr.decode(b"\xff")
    assert [row.values for row in read([at(0), 1, 2], [at(1), nothing, None])] == [(1, 2), (None, 2)]


@pytest.mark.parametrize("buffer", [None, 5, b"", [[]], [None], [[b"", 1]], [[b"", 1, 2, 3]], [[b"", 1, [2]]], [7]])
def test_rows_of_other_columns(buffer):
    with pytest.raises(CaptureMismatch):
        profile.rows(buffer, LAYOUT, 900, ZONE, "x")


def test_scalers_are_joined_by_name_not_by_place():
    objects = [Column(3, ENERGY, 3), Column(3, VOLTAGE, 3)]
    found = profile.scalers(objects, [[[0, 30], [-1, 35]]], "x")
    bare = [Column(8, obis.CLOCK, 2), Column(3, VOLTAGE, 2), Column(3, ENERGY, 2)]
    assert profile.with_scalers(bare, found) == LAYOUT


def test_times_of_maxima_have_no_scaler():
    demand = LogicalName.of("1.0.1.6.0")
    found = {(4, demand): (0, 27)}
    value, moment = profile.with_scalers([Column(4, demand, 2), Column(4, demand, 5)], found)
    assert (value.scaler, value.unit) == (0, 27)
    assert (moment.scaler, moment.unit) == (None, None)


@pytest.mark.parametrize(
    "buffer", [None, [], [[]], [[[0, 30]]], [[[0, 30], [-1, 35]], []], [[[0], [-1, 35]]], [[[0, 300], [-1, 35]]]]
)
def test_a_scaler_profile_that_does_not_fit_itself(buffer):
    with pytest.raises(ReplyMalformed):
        profile.scalers([Column(3, ENERGY, 3), Column(3, VOLTAGE, 3)], buffer, "x")


@pytest.mark.parametrize(
    "objects", [None, [], [[8, b"short", 2, 0]], [[8, bytes(6), 2]], [[8, bytes(6), 2, 1]], [["8", bytes(6), 2, 0]]]
)
def test_capture_objects_of_another_form(objects):
    with pytest.raises(ReplyMalformed):
        profile.columns(objects, "x")


def test_a_layout_begins_with_the_time_of_a_row():
    billing = [Column(3, obis.BILLING_DATE, 2), *LAYOUT[1:]]
    assert timed(list(LAYOUT)) == list(LAYOUT) and timed(billing) == billing
    plate = tuple(timed(list(LAYOUT[1:])))
    assert plate == (UNTIMED, *LAYOUT[1:])
    assert profile.rows([[1, 2]], plate, 0, ZONE, "x") == [Row(NO_TIME, (1, 2))]
    with pytest.raises(CaptureMismatch):
        profile.rows([[at(0), 1, 2]], plate, 0, ZONE, "x")


def test_only_what_was_asked_for():
    rows = read(*[[at(n), n, n] for n in range(5)])
    kept = profile.within(rows, (START + timedelta(minutes=15)).astimezone(UTC), START + timedelta(minutes=45))
    assert [row.values[0] for row in kept] == [1, 2, 3]


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.binary(max_size=14) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=4),
    max_leaves=20,
)


@given(ANYTHING)
def test_any_data_gives_rows_or_a_fault(data):
    for reading in (
        lambda: profile.rows(data, LAYOUT, 900, ZONE, "x"),
        lambda: profile.columns(data, "x"),
        lambda: profile.scalers([Column(3, ENERGY, 3)], data, "x"),
    ):
        with contextlib.suppress(DcuError):
            reading()
