"""A profile that the meter refuses though its model names it: told once, asked again, and its lost rows say why."""

import copy

import pytest

from dcu import gaps, obis
from dcu.errors import AttributeDenied, AttributeFailed, CaptureMismatch
from dcu.field import statics
from dcu.field.announce import Announcer
from dcu.field.plan import BusPlan
from dcu.field.refusals import LASTING_AGAIN_S, PASSING_AGAIN_S
from dcu.headend.contract import Contract
from dcu.record import Stream
from dcu.schedule import Task, TaskKind
from tests.field.conftest import DAY_S, IST, SERIAL, Buffer, records
from tests.field.test_logs_and_bills import LOG_LAYOUT, TRANSACTION
from tests.field.test_plan import Line, alarms, meter_named, turn
from tests.field.test_store_down import Down

TASK = Task(SERIAL, TaskKind.RING, obis.BLOCK_LOAD)
DENIED = AttributeDenied("1.0.99.1.0.255/2: read-write denied")


@pytest.fixture
def plan(store, clock, scene):
    return BusPlan([meter_named(SERIAL)], store, clock, Announcer(store, clock), IST, scene.poll)


@pytest.fixture
def line(clock):
    return Line(clock)


def work(plan, line, clock, seconds):
    """As the bus worker does it, for so long."""
    end_s = clock.monotonic_s() + seconds
    while clock.monotonic_s() < end_s:
        turn(plan, line, clock)


def asked(line):
    """How often the block load was asked for."""
    return sum(want.profile == obis.BLOCK_LOAD for _, wanted in line.meters[SERIAL].polls for want in wanted)


def missing(store, clock):
    state = store.transact(lambda tx: tx.profile(SERIAL, obis.BLOCK_LOAD))
    return gaps.missing(state, int(clock.now().timestamp()))


def test_it_is_told_once_said_in_the_condition_and_asked_again_each_day(plan, line, clock, store):
    work(plan, line, clock, 1800)
    line.faults[obis.BLOCK_LOAD] = DENIED
    work(plan, line, clock, 3 * DAY_S)
    assert alarms(store) == ["profile-refused"]
    [alarm] = records(store, Stream.ALARM)
    assert alarm["meter"] == SERIAL and alarm["facts"] == {"profile": "1.0.99.1.0.255"}
    assert "read-write denied" in alarm["text"] and "profiles.block-load = false" in alarm["text"]
    assert plan.condition[SERIAL].startswith("refuses block-load: ") and "denied" in plan.condition[SERIAL]
    before = asked(line)
    work(plan, line, clock, DAY_S)
    assert asked(line) - before == 1
    del line.faults[obis.BLOCK_LOAD]
    line.meters[SERIAL].capture(line.meters[SERIAL].times[-1] + 900, int(clock.now().timestamp()))
    work(plan, line, clock, DAY_S)
    assert alarms(store) == ["profile-refused", "profile-returned"]
    assert plan.condition[SERIAL] == "ok"
    refused_s = records(store, Stream.ALARM)[0]["at"]
    assert not [span for span in missing(store, clock) if span[0] < refused_s + 3 * DAY_S], "what the ring had is there"


def test_what_is_told_is_in_the_contract(plan, store, clock):
    plan.denied(TASK, DENIED)
    plan.done(TASK, clock.monotonic_s(), given=True)
    contract = Contract()
    for alarm in records(store, Stream.ALARM):
        contract.check_value("record-alarm.json", alarm)


def test_a_start_and_other_firmware_have_it_asked_at_once(plan, line, clock, store, scene):
    work(plan, line, clock, 1800)
    line.faults[obis.BLOCK_LOAD] = DENIED
    work(plan, line, clock, 3600)
    again = BusPlan([meter_named(SERIAL)], store, clock, Announcer(store, clock), IST, scene.poll)
    before = asked(line)
    work(again, line, clock, 1800)
    assert asked(line) - before == 1
    line.meters[SERIAL] = copy.copy(line.meters[SERIAL])  # another association
    line.meters[SERIAL].registers[statics.FIRMWARE.logical_name] = b"V2.0"
    del line.faults[obis.BLOCK_LOAD]
    work(again, line, clock, 1800)
    assert again.condition[SERIAL] == "ok"
    assert alarms(store) == ["profile-refused", "profile-refused", "meter-changed", "profile-returned"]


def test_a_reason_that_may_pass_is_told_when_it_has_not_within_a_day(plan, clock, store):
    fault = AttributeFailed("hardware fault")
    plan.denied(TASK, fault)
    assert TASK not in plan.due(clock.monotonic_s())._left
    clock.advance(PASSING_AGAIN_S)
    assert TASK in plan.due(clock.monotonic_s())._left
    plan.visited(meter_named(SERIAL))
    assert "hardware fault" in plan.condition[SERIAL] and alarms(store) == []
    clock.advance(LASTING_AGAIN_S)
    plan.denied(TASK, fault)
    plan.denied(TASK, fault)
    assert alarms(store) == ["profile-refused"]


@pytest.mark.parametrize("fault", [DENIED, AttributeFailed("hardware fault"), CaptureMismatch("other columns")])
def test_a_backlog_that_the_meter_does_not_give_is_not_asked_in_all_spare_time(plan, line, clock, fault):
    work(plan, line, clock, 1800)
    meter = line.meters[SERIAL]
    clock.advance(10 * DAY_S)
    meter.capture(meter.times[-1] + 900, int(clock.now().timestamp()))
    turn(plan, line, clock)
    assert plan.due(clock.monotonic_s()).spare, "a backlog is left"
    line.faults[obis.BLOCK_LOAD] = fault
    before = asked(line)
    work(plan, line, clock, 900)
    assert asked(line) - before <= 2


def test_a_meter_that_is_retired_leaves_nothing_behind(plan, store):
    plan.denied(TASK, DENIED)
    plan.dismiss(SERIAL)
    plan.denied(TASK, DENIED)
    plan.admit(meter_named(SERIAL))
    plan.visited(meter_named(SERIAL))
    assert plan.condition[SERIAL] == "ok" and alarms(store) == ["profile-refused"]


@pytest.mark.parametrize("profile", [obis.BLOCK_LOAD, TRANSACTION], ids=["a ring", "a log"])
def test_that_nothing_could_be_asked_while_the_store_was_down_is_no_return(plan, line, clock, store, profile):
    """It refuses from the first: what it is, nobody knows, and nobody asks before the store is back."""
    with line.associate(meter_named(SERIAL), None) as meter:
        honest = meter.describe
    refused = []

    def describe(specs):
        refused.extend(spec for spec in specs if spec.logical_name == profile)
        return [DENIED if spec.logical_name == profile else it for spec, it in zip(specs, honest(specs), strict=True)]

    meter.buffers[TRANSACTION] = Buffer(LOG_LAYOUT, entries=50)
    meter.describe = describe
    work(plan, line, clock, 3600)
    told, condition, asked_before = alarms(store), plan.condition[SERIAL], len(refused)
    assert "profile-refused" in told and asked_before
    down = Down(store)
    work(plan, line, clock, LASTING_AGAIN_S + 7200)
    down.up()
    down.remember()
    assert len(refused) == asked_before and alarms(store) == told
    assert plan.condition[SERIAL] == condition
    meter.describe = honest
    work(plan, line, clock, LASTING_AGAIN_S + 7200)
    assert alarms(store)[len(told) :] == ["profile-returned"]


# ---- what was lost meanwhile


def test_only_what_the_ring_has_overwritten_meanwhile_is_lost_and_says_why(box, meter, now_s, clock):
    meter.block.entries = 96
    meter.capture(now_s - 4 * 900, now_s)
    box.visit()
    clock.advance(7200)  # the box was away: of this time it did not ask
    meter.capture(now_s + 900, now_s + 7200)
    first = now_s + 7200
    meter.block.fault = DENIED
    for hour in range(1, 49):
        box.visit()
        assert gaps.missing(box.state(), meter.now_s()) and box.state().absent == (), "nothing is sure yet"
        clock.advance(3600)
        meter.capture(first + hour * 3600 - 2700, first + hour * 3600)
    meter.block.fault = None
    box.visit()
    last = first + 48 * 3600
    oldest = last - 95 * 900
    assert box.state().absent == ((now_s + 900, first - 900, "overwritten"), (first, oldest - 900, "refused"))
    assert gaps.missing(box.state(), last) == ()
    [lost] = [a for a in box.records(Stream.ALARM) if a["kind"] == "rows-lost"]
    assert lost["facts"]["intervals"] == (oldest - now_s) // 900 - 1


def test_a_second_refusal_says_nothing_of_the_time_between(box, meter, now_s, clock):
    meter.capture(now_s - 900, now_s)
    box.visit()
    book = box.scene.book(box.configured)
    book.note_refused(obis.BLOCK_LOAD, now_s + 100)
    book.note_refused(obis.BLOCK_LOAD, now_s + 1000)
    clock.advance(1800)
    meter.capture(now_s + 900, now_s + 1800)
    box.visit()
    book.note_refused(obis.BLOCK_LOAD, now_s + 2000)
    assert book.refused[obis.BLOCK_LOAD] == [(now_s + 100, now_s + 1000), (now_s + 2000, now_s + 2000)]
