"""Logical names, units, and times of the meter's clock."""

import contextlib
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcu.errors import ReplyMalformed
from dcu.obis import LogicalName
from dcu.reading import date_time, from_epoch, meter_time
from dcu.units import SYMBOLS, Unit, scaled, symbol

INDIA = timezone(timedelta(hours=5, minutes=30))


@given(st.binary(min_size=6, max_size=6))
def test_a_logical_name_keeps_all_six_groups(octets):
    name = LogicalName(octets)
    assert LogicalName.of(str(name)) == name
    assert str(name) == ".".join(map(str, octets))


def test_group_f_may_be_left_out():
    assert LogicalName.of("1.0.99.1.0") == LogicalName.of("1.0.99.1.0.255")
    assert LogicalName.of("1.0.1.8.0.128").octets[5] == 128


@pytest.mark.parametrize(
    "text", ["", "1", "1.0.99.1", "1.0.99.1.0.255.0", "1.0.999.1.0.255", "256.0.0.0.0.0", "-1.0.0.0.0.0", "a.b.c.d.e.f",
             "1..99.1.0.255", " 1.0.99.1.0.255", "1.0.99.1.0.255 ", "1.0.99.1.0.²", "1-0:99.1.0*255", "1.0.99.1.0.+5"]
)  # fmt: skip
def test_what_is_no_logical_name_is_refused(text):
    with pytest.raises(ValueError, match="logical name"):
        LogicalName.of(text)


@pytest.mark.parametrize("octets", [b"", b"\x01" * 5, b"\x01" * 7])
def test_a_logical_name_has_six_octets(octets):
    with pytest.raises(ValueError, match="6 octets"):
        LogicalName(octets)


@pytest.mark.parametrize(
    ("raw", "scaler", "text"),
    [(2301, -1, "230.1"), (5, 0, "5"), (5, None, "5"), (-5, 3, "-5E+3"), (1, -6, "0.000001"), (10**9, -2, "10000000")],
)  # fmt: skip
def test_scaling_is_exact(raw, scaler, text):
    assert scaled(raw, scaler) == Decimal(text)


def test_symbols():
    assert [symbol(code) for code in (30, 35, 255, 77, None)] == ["Wh", "V", "", "unit 77", ""]
    assert set(SYMBOLS) == set(Unit)


@given(st.datetimes(datetime(1, 1, 3), datetime(9999, 12, 29)))
def test_a_date_time_comes_back(face):
    at = face.replace(microsecond=0, tzinfo=INDIA)
    found = meter_time(date_time(at, INDIA), INDIA)
    assert (found.at, found.status) == (at, 0)
    assert from_epoch(found.epoch_s) == at


def test_a_date_time_of_a_real_meter():
    """Golden: 22 November 2026, a Sunday, 15:30:00, deviation -330 minutes, daylight saving and doubtful set."""
    found = meter_time(bytes.fromhex("07ea0b1607" + "0f1e00ff" + "feb6" + "82"), INDIA)
    assert found.at == datetime(2026, 11, 22, 10, 0, tzinfo=UTC)
    assert (found.status, found.epoch_s) == (0x82, 1_795_341_600)
    assert found.octets.hex() == "07ea0b16070f1e00fffeb682"


def test_the_sign_of_the_deviation_changes_nothing():
    minus, plus = (bytes.fromhex("07ea0b16070f1e00ff" + sign + "00") for sign in ("feb6", "014a"))
    assert meter_time(minus, INDIA).at == meter_time(plus, INDIA).at


def test_an_unspecified_status_is_no_status():
    assert meter_time(bytes.fromhex("07ea0b16ff0f1e00ff8000ff"), INDIA).status == 0


@pytest.mark.parametrize(
    "octets",
    [
        "", "07ea0b16070f1e00ff80000000", "07ea0b16070f1e00ff8000",
        "ffffffffffffffffff800000",  # all wild
        "07ea0d16070f1e00ff800000",  # month 13
        "07ea021eff0f1e00ff800000",  # 30 February
        "07e9021dff0f1e00ff800000",  # 29 February 2025
        "07ea0b1607181e00ff800000",  # hour 24
        "07ea0b16070fffff00800000",  # minute not specified
        "00000b16070f1e00ff800000",  # year 0
    ],
)  # fmt: skip
def test_what_is_no_moment_is_refused(octets):
    with pytest.raises(ReplyMalformed):
        meter_time(bytes.fromhex(octets), INDIA)


@given(st.binary(min_size=12, max_size=12))
def test_only_our_error_comes_out_of_any_twelve_octets(octets):
    with contextlib.suppress(ReplyMalformed):
        assert meter_time(octets, INDIA).at.tzinfo is INDIA


def test_a_zone_with_summer_time():
    berlin = ZoneInfo("Europe/Berlin")
    summer, winter = (meter_time(date_time(datetime(2026, m, 1, tzinfo=UTC), berlin), berlin).epoch_s for m in (7, 12))
    assert (from_epoch(summer), from_epoch(winter)) == (
        datetime(2026, 7, 1, tzinfo=UTC),
        datetime(2026, 12, 1, tzinfo=UTC),
    )
