"""Bills: a year of them in virtual time, what they add up to, resets by script, schedule, power cuts and restarts."""

from datetime import datetime, timedelta, timezone
from itertools import pairwise

import pytest

from dcu.sim.axdr import array, octets, structure, u16
from dcu.sim.kinds import KINDS
from dcu.sim.metrology import BILLING, BLOCK_LOAD
from tests.sim.sim_client import Clock, Talk, meter, plain, raw, refs

IST = timezone(timedelta(minutes=330))
JUNE = datetime(2026, 6, 1, 0, 0, 5, tzinfo=IST).timestamp()


def moment(year, month, day=1, hour=0, minute=0):
    return int(datetime(year, month, day, hour, minute, tzinfo=IST).timestamp())


def lived(clock, virtual, until):
    """Tick each quarter of an hour."""
    while clock.at < until:
        clock.at = min(clock.at + 900, until)
        virtual.tick()


def bills(virtual):
    """Closed bills as {(class-less) name/attribute: value}."""
    keys = [place.key for place in KINDS[virtual.config.kind].billing]
    return [dict(zip(keys, row, strict=True)) for row in virtual.rows(BILLING)]


def blocks(virtual):
    """All that was ever captured, from the ledger."""
    keys = [place.key for place in KINDS[virtual.config.kind].block]
    rows = [e for e in virtual.ledger.entries() if e["kind"] == "row" and e["profile"] == BLOCK_LOAD]
    return [(e["captured_at"], dict(zip(keys, e["values"], strict=True))) for e in rows]


@pytest.fixture(scope="module", params=list(KINDS))
def year(request):
    clock = Clock(JUNE)
    virtual = meter(clock, kind=request.param, ciphered=False, solar_w=3_000.0)
    lived(clock, virtual, moment(2027, 7, 15))
    return virtual


def test_twelve_bills_are_kept_each_of_the_first_of_its_month(year):
    expected = [moment(2026, month) for month in range(8, 13)] + [moment(2027, month) for month in range(1, 8)]
    assert [row[0] for row in year.rows(BILLING)] == expected
    closed = [e["captured_at"] for e in year.ledger.entries() if e["kind"] == "row" and e["profile"] == BILLING]
    assert closed == [moment(2026, 7), *expected], "thirteen were closed, the oldest is gone"
    talk = Talk(year, 32).open(pdu=0xFFFF)
    assert plain(talk.get(1, "0.0.0.1.0")) == 13
    assert plain(talk.get(1, "0.0.0.1.1")) == 12
    assert year.clock.moment(plain(talk.get(3, "0.0.0.1.2"))) == moment(2027, 7)


def test_zones_add_up_and_each_bill_is_the_blocks_of_its_month(year):
    found = bills(year)
    quantities = ("1", "9", "2", "10") if year.config.kind == "3ph-ct" else ("1", "9")
    for bill in found:
        for q in quantities:
            parts = sum(bill[f"1.0.{q}.8.{zone}"] for zone in range(1, 9))
            assert 0 <= bill[f"1.0.{q}.8.0"] - parts < 8, "each register drops its own tenths"
    captured = blocks(year)
    for old, new in pairwise(found):
        mine = [row for at, row in captured if old["0.0.0.1.2"] < at <= new["0.0.0.1.2"]]
        for q in ("1", "9", "2", "10"):
            assert (
                abs(sum(row[f"1.0.{q}.29.0"] for row in mine) - 10 * (new[f"1.0.{q}.8.0"] - old[f"1.0.{q}.8.0"])) < 10
            )


def test_a_zones_energy_is_that_of_the_blocks_which_began_in_it(year):
    old, new = bills(year)[-2:]
    mine = [(at, row) for at, row in blocks(year) if moment(2027, 6) < at <= moment(2027, 7)]
    for q in ("1", "9", "2", "10") if year.config.kind == "3ph-ct" else ("1", "9"):
        for zone in range(1, 9):
            used = sum(row[f"1.0.{q}.29.0"] for at, row in mine if (at - 900 + 19_800) % 86_400 // 10_800 == zone - 1)
            assert abs(used - 10 * (new[f"1.0.{q}.8.{zone}"] - old[f"1.0.{q}.8.{zone}"])) < 10, (q, zone)
            assert used > 0 or q in {"2", "10"}


def test_demands_are_the_highest_blocks_of_the_month_and_of_each_zone(year):
    kind = year.config.kind
    bill = bills(year)[-1]
    mine = [(at, row) for at, row in blocks(year) if moment(2027, 6) < at <= moment(2027, 7)]
    quantities = ("1", "9", "2", "10") if kind == "3ph-ct" else ("1", "9")
    for q in quantities:
        for zone in range(9) if kind != "1ph" else [0]:
            those = [
                (row[f"1.0.{q}.29.0"] * 360 // 900, -at)
                for at, row in mine
                if zone == 0 or (at - 900 + 19_800) % 86_400 // 10_800 == zone - 1
            ]
            value, at = max(those)
            assert (bill[f"1.0.{q}.6.{zone}"], bill[f"1.0.{q}.6.{zone}/5"]) == (value, -at)


def test_duration_and_power_factor_are_of_the_period(year):
    old, bill = bills(year)[-2:]
    assert bill["0.0.94.91.13"] == 30 * 24 * 60
    wh, vah = (bill[f"1.0.{q}.8.0"] - old[f"1.0.{q}.8.0"] for q in (1, 9))
    assert abs(bill["1.0.13.0.0"] - 1000 * wh / vah) < 2


def test_the_present_bill_is_what_the_registers_say(year):
    talk = Talk(year, 32).open(pdu=0xFFFF)
    columns = refs(talk.get(7, "1.0.98.1.0", 3))
    present = talk.get(7, "1.0.98.1.0", 2).value[-1].value
    for column, value in zip(columns[1:], present[1:], strict=True):
        assert talk.get(*column) == value, column


def test_a_late_tick_closes_the_same_bills_as_many_small_ones():
    clock = Clock(JUNE)
    small, late = (meter(clock, kind="3ph-wc") for _ in range(2))
    lived(clock, small, moment(2026, 9, 2))
    late.tick()
    assert late.rows(BILLING) == small.rows(BILLING)
    assert [row[0] for row in late.rows(BILLING)] == [moment(2026, month) for month in (7, 8, 9)]


def test_a_demand_reset_closes_a_bill_at_once_and_starts_the_demands_anew():
    clock = Clock(JUNE + 9 * 86_400)
    virtual = meter(clock, ciphered=False, history_s=5 * 86_400)
    talk = Talk(virtual, 48).open()
    assert plain(talk.get(4, "1.0.1.6.0")) > 0
    assert talk.act(9, "0.0.10.0.1", 1, u16(2)) == 250
    assert talk.act(9, "0.0.10.0.1", 1, u16(1)) == 0
    [row] = virtual.rows(BILLING)
    assert row[0] == int(clock.at)
    assert plain(talk.get(4, "1.0.1.6.0")) == 0
    assert plain(talk.get(4, "1.0.1.6.0", 5))[:4] == b"\xff" * 4
    assert [event[1] for event in virtual.rows("0.0.99.98.3")] == [166]
    assert Talk(virtual, 32).open().act(9, "0.0.10.0.1", 1, u16(1)) == 3, "a reader resets nothing"
    lived(clock, virtual, moment(2026, 7) + 60)
    assert [bill[0] for bill in virtual.rows(BILLING)] == [row[0], moment(2026, 7)]


def entry(hour, minute, day, month=0xFF):
    return array([structure(octets(bytes([hour, minute, 0, 0])), octets(bytes([0xFF, 0xFF, month, day, 0xFF])))])


def test_another_billing_day():
    clock = Clock(JUNE + 86_400)
    virtual = meter(clock, ciphered=False)
    talk = Talk(virtual, 48).open()
    assert talk.get(22, "0.0.15.0.0", 4) == entry(0, 0, 1)
    assert talk.set(22, "0.0.15.0.0", 4, entry(6, 30, 15)) == 0
    assert talk.get(22, "0.0.15.0.0", 4) == entry(6, 30, 15)
    lived(clock, virtual, moment(2026, 8, 20))
    assert [row[0] for row in virtual.rows(BILLING)] == [moment(2026, month, 15, 6, 30) for month in (6, 7, 8)]
    assert [event[1] for event in virtual.rows("0.0.99.98.3")] == [154]
    for refused in (entry(24, 0, 1), entry(0, 0, 31), entry(0, 0, 1, month=5), array([])):
        assert talk.set(22, "0.0.15.0.0", 4, refused) != 0


def test_a_bill_that_fell_due_without_power_is_closed_when_power_is_back():
    clock = Clock(moment(2026, 6, 30, 22))
    virtual = meter(clock, ciphered=False)
    lived(clock, virtual, moment(2026, 6, 30, 23, 7))
    virtual.power_off()
    before = virtual.rows(BLOCK_LOAD)
    lived(clock, virtual, moment(2026, 7, 1, 4))
    assert virtual.rows(BILLING) == []
    virtual.power_on()
    [row] = virtual.rows(BILLING)
    assert row[0] == moment(2026, 7)
    assert virtual.rows(BLOCK_LOAD) == before


def test_a_meter_on_its_old_ledger_goes_on_with_its_bills(tmp_path):
    clock = Clock(JUNE)
    first = meter(clock, tmp_path, kind="3ph-ct", ciphered=False, solar_w=2_000.0)
    lived(clock, first, moment(2026, 7, 9))
    first.happen(7)
    talk = Talk(first, 48).open(pdu=0xFFFF)
    assert talk.set(1, "1.0.0.8.0", 2, u16(1_800)) == 0
    told = plain(talk.get(7, "1.0.98.1.0", 2))
    first.close()
    second = meter(clock, tmp_path, kind="3ph-ct", ciphered=False, solar_w=2_000.0)
    talk = Talk(second, 32).open(pdu=0xFFFF)
    assert plain(talk.get(7, "1.0.98.1.0", 2)) == told
    assert plain(talk.get(1, "1.0.0.8.0")) == 1_800
    assert second.rows("0.0.99.98.0") == first.rows("0.0.99.98.0")
    second.close()


def test_the_demand_integration_period_averages_blocks():
    clock = Clock(JUNE)
    virtual = meter(clock, ciphered=False)
    talk = Talk(virtual, 48).open()
    assert talk.set(1, "1.0.0.8.0", 2, u16(1_000)) == 250
    assert talk.set(1, "1.0.0.8.0", 2, u16(3_600)) == 0
    assert [event[1] for event in virtual.rows("0.0.99.98.3")] == [152]
    lived(clock, virtual, moment(2026, 6, 3))
    rows = virtual.rows(BLOCK_LOAD)
    hours = {}
    for at, _, wh, *_ in rows:
        hours[-(-(at + 19_800) // 3_600)] = hours.get(-(-(at + 19_800) // 3_600), 0) + wh
    best = max(hours.values())
    assert plain(talk.get(4, "1.0.1.6.0")) == best * 360 // 3_600
    [peak] = [hour for hour, wh in hours.items() if wh == best][:1]
    assert virtual.clock.moment(plain(talk.get(4, "1.0.1.6.0", 5))) == peak * 3_600 - 19_800


def test_a_row_read_is_the_row_kept(year):
    talk = Talk(year, 32).open(pdu=0xFFFF)
    rows = [raw(year, row) for row in plain(talk.get(7, "1.0.98.1.0", 2))]
    assert rows[:-1] == year.rows(BILLING)
