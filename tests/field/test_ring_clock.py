"""A ring whose meter's clock is set, whose capture period changes, whose answers are cut: nothing is given up."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from dcu import gaps
from dcu.field.events import CLOCK_SET
from dcu.field.visit import VisitScene
from dcu.meter import ByRange, ClassId, ProfileKind, ProfileSpec
from dcu.obis import LogicalName
from dcu.reading import ClockState, Column
from dcu.record import Stream
from tests.field.conftest import BLOCK, DAY_S, LAYOUT, Buffer, Field, FieldMeter

QUARTER = 900


def pass_by(box, meter, now_s, intervals, clock):
    """The meter captures interval after interval by its own clock, and is visited after each."""
    for at in range(now_s, now_s + intervals * QUARTER, QUARTER):
        clock.advance(max(0, at + 5 - meter.now_s()))
        meter.capture(at, at)
        box.visit()


def test_a_clock_set_forward_explains_what_it_jumped_over(box, meter, clock, now_s):
    meter.capture(now_s - 3600, now_s)
    box.visit()
    clock.advance(400)
    meter.ahead_s = 2 * 3600
    pass_by(box, meter, now_s + 2 * 3600 + QUARTER, 2, clock)
    assert box.state().absent == ((now_s + 900, now_s + 2 * 3600, "clock set"),)
    kinds = [(a["kind"], a["facts"].get("set_by_s")) for a in box.records(Stream.ALARM)]
    assert kinds[0] == ("meter-clock", pytest.approx(7200, abs=2))


def test_a_clock_set_forward_while_the_box_was_off_is_known_by_its_last_drift(box, meter, clock, now_s):
    meter.capture(now_s - 3600, now_s)
    box.visit()
    box.restart()
    clock.advance(DAY_S)
    meter.capture(now_s + 900, now_s + 6 * 3600)
    meter.capture(now_s + 8 * 3600, now_s + DAY_S + 3600)
    meter.ahead_s = 3600
    meter.block.rows = [row for row in meter.block.rows if not now_s + 15 * 3600 < row[0] < now_s + 16 * 3600]
    box.visit()
    assert box.state().absent == (
        (now_s + 6 * 3600 + 900, now_s + 8 * 3600 - 900, "meter off"),
        (now_s + 15 * 3600 + 900, now_s + 16 * 3600 - 900, "clock set"),
    )


def test_without_a_trusted_clock_nothing_is_said_of_the_meters(box, meter, clock, now_s):
    clock.trust = ClockState.UNTRUSTED
    meter.ahead_s = 9999
    box.visit()
    box.restart()
    meter.ahead_s = -9999
    box.visit()
    assert box.alarms() == []


def test_drift_is_told_once_beyond_the_limit_and_again_when_it_is_another(box, meter, clock, now_s):
    for ahead_s in (30, 61, 90, 61, 10, 61, 200):
        meter.ahead_s = ahead_s
        box.restart()
        box.scene.book(box.configured).told_ahead_s = box.told if hasattr(box, "told") else None
        box.visit()
        box.told = box.scene.book(box.configured).told_ahead_s
    told = [a["facts"]["ahead_s"] for a in box.records(Stream.ALARM) if "ahead_s" in a["facts"]]
    assert told == [pytest.approx(each, abs=2) for each in (61, 61, 200)]
    assert box.scene.book(box.configured).ahead_s == pytest.approx(200, abs=2)


def test_a_clock_that_was_ahead_and_is_set_right_costs_no_interval(box, meter, clock, now_s):
    meter.capture(now_s - DAY_S, now_s)
    box.visit()
    meter.ahead_s = 30 * DAY_S
    meter.capture(now_s + 30 * DAY_S, now_s + 30 * DAY_S)
    box.visit()
    assert {reason for *_, reason in box.state().absent} == {"clock set"}
    meter.ahead_s = 0
    pass_by(box, meter, now_s + QUARTER, 8, clock)
    assert set(range(now_s - DAY_S, now_s + 9 * QUARTER, QUARTER)) <= set(box.times())
    assert all(last <= now_s for _, last, _ in box.state().absent)


def test_what_a_clock_set_back_passes_twice_is_kept_twice_where_the_values_differ(box, meter, clock, now_s):
    """It was 40 minutes ahead; after it was set right it captures two quarters again, one with other values."""
    meter.ahead_s = 2400
    meter.capture(now_s - 3600, now_s + 1800)
    box.visit()
    same = dict(meter.block.rows)[now_s + 900]
    meter.ahead_s = 0
    box.visit()
    assert box.state().held == ((now_s - 3600, now_s),), "they are asked again"
    clock.advance(905)
    meter.block.put(now_s + 900, *same)
    box.visit()
    clock.advance(900)
    meter.block.put(now_s + 1800, 1, 2)
    box.visit()
    assert [at for at in box.times() if at > now_s] == [now_s + 900, now_s + 1800, now_s + 1800]
    last = box.records()[-1]
    assert (last["rows"], last["again"]) == ([[now_s + 1800, 1, 2]], [[0, 1]])
    assert box.state().held == ((now_s - 3600, now_s + 1800),)
    box.visit()
    assert len(box.times()) == len(range(now_s - 3600, now_s + 1801, 900)) + 1, "and then not again"


def test_a_meter_that_captures_no_moment_twice_gives_its_old_rows_and_none_is_stored_again(box, meter, clock, now_s):
    meter.ahead_s = 3000
    meter.capture(now_s - 3600, now_s + 2700)
    box.visit()
    meter.ahead_s = 0
    for _ in range(4):
        box.visit()
        clock.advance(900)
    box.visit()
    assert box.times() == sorted(meter.times)
    assert box.state().held == ((now_s - 3600, now_s + 2700),)
    assert all("again" not in record for record in box.records())


def test_a_ring_that_begins_with_rows_of_the_future_is_read(box, meter, clock, now_s):
    """The oldest entry was captured while the clock was ahead."""
    meter.block.put(now_s + 400 * DAY_S, 1, 1)
    meter.capture(now_s - 3600, now_s)
    box.visit()
    clock.advance(QUARTER)
    box.visit()  # late: not `overwritten`
    meter.capture(now_s + QUARTER, now_s + QUARTER)
    clock.advance(10)
    box.visit()
    assert [at for at in box.times() if at < now_s + DAY_S][-1] == now_s + QUARTER
    assert box.state().absent == ()


@pytest.mark.parametrize(("before_s", "after_s"), [(1800, 900), (900, 1800), (900, 3600), (3600, 900)])
def test_a_capture_period_that_changes_loses_no_row_and_is_told(box, meter, clock, now_s, before_s, after_s):
    start = (now_s - DAY_S) // 3600 * 3600
    meter.block.period = before_s
    meter.capture(start, now_s // before_s * before_s)
    box.visit()
    meter.block.period = after_s
    for _ in range(int(DAY_S / after_s) + 8):
        clock.advance(after_s)
        at = meter.now_s() // after_s * after_s
        meter.capture(at, at)
        box.visit()
    assert set(meter.times) == set(box.times()) and len(box.times()) == len(set(box.times()))
    told = [a for a in box.records(Stream.ALARM) if a["kind"] == "meter-changed"]
    assert [(a["facts"]["was_s"], a["facts"]["now_s"]) for a in told] == [(before_s, after_s)]
    assert box.state().period_s == after_s
    assert {reason for *_, reason in box.state().absent} <= {"other period"}


def test_other_columns_of_the_same_number_are_noticed_within_a_day(box, meter, clock, now_s):
    meter.capture(now_s - 3600, now_s)
    box.visit()
    meter.block.layout = (meter.block.layout[0], *meter.block.layout[:0:-1])
    meter.rows_of, honest = lambda want: [], meter.rows_of
    clock.advance(DAY_S + 10)
    box.visit()
    meter.rows_of = honest
    assert box.state().layout == meter.block.layout
    assert "capture objects" in next(a["text"] for a in box.records(Stream.ALARM) if a["kind"] == "meter-changed")


def test_another_firmware_is_noticed_before_a_row_is_stored_and_all_is_described_anew(box, meter, clock, now_s):
    meter.capture(now_s - 3600, now_s)
    box.visit()
    meter.registers = dict.fromkeys(meter.registers, b"V2.0")
    honest, meter.rows_of = meter.rows_of, lambda want: []
    meter.block.layout = (*meter.block.layout, meter.block.layout[1])
    meter.block.rows = [(at, (*values, 7)) for at, values in meter.block.rows]
    meter.rows_of = lambda want: honest(want) if len(want.layout) == 4 else [object()]
    clock.advance(900)
    meter.block.put(now_s + 900, 1, 2, 3)
    box.scene.book(box.configured).association = None  # opened anew
    box.visit()
    assert box.held()[-1] == [now_s + 900, 1, 2, 3]
    assert next(a["text"] for a in box.records(Stream.ALARM)) == "firmware 'V1.0' became 'V2.0'"
    assert len(meter.described) == 2


def test_an_answer_that_ends_early_proves_nothing_of_what_it_leaves_out(box, meter, clock, now_s):
    meter.capture(now_s - DAY_S, now_s)
    whole = meter.rows_of
    meter.rows_of = lambda want: whole(want)[:10] if isinstance(want.selection, ByRange) else whole(want)
    box.visit()
    clock.advance(5)
    box.visit()
    assert box.times() == sorted(meter.times)
    assert box.state().absent == ()
    assert gaps.missing(box.state(), now_s) == ()


def test_daily_rows_of_a_zone_with_summer_time_stand_on_one_grid(store, clock, meter):
    """Local midnights of Berlin in October: the last ones are an hour later, and one day is really missing."""
    berlin = ZoneInfo("Europe/Berlin")
    clock.wall = datetime(2026, 10, 20, 6, 0, tzinfo=UTC)
    meter.zone = berlin
    meter.buffers = {name: Buffer(period=DAY_S, entries=70) for name in meter.buffers}
    box = Field(meter, store, clock, zone=berlin)

    def midnight(day):
        return int(datetime(2026, 10, day, tzinfo=berlin).timestamp())

    for day in range(15, 32):
        clock.wall = datetime(2026, 10, day, 6, 0, tzinfo=UTC)
        clock.uptime_s += DAY_S
        if day != 28:
            meter.block.put(midnight(day), day)
        box.visit()
    assert box.times() == [midnight(day) for day in range(15, 32) if day != 28]
    assert [reason for *_, reason in box.state().absent] == ["meter off"]
    assert gaps.missing(box.state(), midnight(31)) == ()
    assert isinstance(box.scene, VisitScene) and isinstance(meter, FieldMeter)


def test_a_clock_that_was_set_back_and_right_between_two_looks_is_told_by_its_log(box, meter, clock, store, now_s):
    """What it captured a second time has other values."""
    log = LogicalName.of("0.0.99.98.3")
    code = Column(ClassId.DATA, LogicalName.of("0.0.96.11.3"), 2)
    events = ProfileSpec("transactions", log, None, ProfileKind.EVENTS)
    box = Field(meter, store, clock, specs=(BLOCK, events))
    meter.buffers[log] = Buffer(layout=(LAYOUT[0], code))
    meter.capture(now_s - 3600, now_s)
    meter.buffers[log].put(now_s - 7200, 152)
    clock.advance(now_s + 60 - clock.now().timestamp())
    box.visit()
    box.visit()
    meter.block.put(now_s, 7, 7)
    meter.buffers[log].put(now_s - 120, CLOCK_SET)
    meter.buffers[log].put(now_s + 300, CLOCK_SET)
    clock.advance(900)
    meter.capture(now_s + 900, now_s + 900)
    box.visit()
    clock.advance(900)
    meter.capture(now_s + 1800, now_s + 1800)
    box.visit()
    rows = [row for record in box.records() if record["profile"] == str(BLOCK.logical_name) for row in record["rows"]]
    assert [row for row in rows if row[1:] == [7, 7]] == [[now_s, 7, 7]]
    assert len(rows) == len(meter.block.rows)


@pytest.fixture
def logged(meter, store, clock):
    """A box that reads the block load and a log of settings of the clock."""
    log = LogicalName.of("0.0.99.98.3")
    code = Column(ClassId.DATA, LogicalName.of("0.0.96.11.3"), 2)
    events = ProfileSpec("transactions", log, None, ProfileKind.EVENTS)
    meter.buffers[log] = Buffer(layout=(LAYOUT[0], code))
    box = Field(meter, store, clock, specs=(BLOCK, events))
    box.log = meter.buffers[log]
    return box


def goes_round(box, meter, clock, now_s, days):
    """Days of reading a ring that keeps two."""
    meter.block.entries = 2 * 96
    box.log.put(now_s - 7200, 152)
    meter.capture(now_s - 900, now_s)
    clock.advance(now_s + 60 - clock.now().timestamp())
    box.visit()
    for _ in range(days):
        clock.advance(DAY_S)
        meter.capture(meter.times[-1] + 900, meter.times[-1] + DAY_S)
        box.visit()


def quarters(box, meter, clock, count):
    for _ in range(count):
        clock.advance(900)
        meter.capture(meter.times[-1] + 900, meter.times[-1] + 900)
        box.visit()


def test_a_clock_that_had_lost_its_time_has_nothing_asked_again(logged, meter, clock, now_s):
    """The log says of the meter's first second that it was set: no interval is passed twice."""
    goes_round(logged, meter, clock, now_s, 10)
    asked, held = len(meter.asked), logged.state().held
    logged.log.put(946_684_800 + 300, CLOCK_SET)
    quarters(logged, meter, clock, 3)
    assert len(meter.asked) == asked + 3
    assert logged.state().held == ((held[0][0], held[0][1] + 2700),)
    assert "rows-lost" not in logged.alarms() and len(logged.times_of_load()) == len(set(logged.times_of_load()))


def test_of_what_is_asked_again_and_has_gone_only_what_is_not_stored_is_lost(logged, meter, clock, now_s):
    """The ring keeps two days, and the clock may have passed five for the second time: their rows are stored."""
    goes_round(logged, meter, clock, now_s, 10)
    held = logged.state().held
    logged.log.put(meter.times[-1] - 5 * DAY_S, CLOCK_SET)
    quarters(logged, meter, clock, 4)
    assert "rows-lost" not in logged.alarms()
    assert logged.state().held == ((held[0][0], held[0][1] + 3600),) and logged.state().absent == ()
    assert len(logged.times_of_load()) == len(set(logged.times_of_load()))
