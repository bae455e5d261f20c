"""The plan of a bus and its visits: what one object, one meter, or a full store may cost the others."""

from contextlib import contextmanager

import cbor2
import pytest

from dcu import obis
from dcu.clock import SystemClock
from dcu.config.meter_models import shipped
from dcu.errors import CaptureMismatch, LinkLost, MeterBusy, StoreFull
from dcu.field.announce import Announcer
from dcu.field.plan import BusPlan
from dcu.meter import Meter, MeterSecrets
from dcu.reading import Row, date_time, meter_time
from dcu.record import Stream
from dcu.schedule import Schedule, Task, TaskKind
from tests.field.conftest import IST, LAYOUT, SERIAL

OTHER = "GXT00000002"


def meter_named(serial):
    return Meter(serial, "pole", shipped()["is15959-1ph"], 17, "JH-RNC", MeterSecrets())


class Association:
    """Every task succeeds but those whose profile has a fault."""

    def __init__(self, serial, faults, done):
        self.serial, self.faults, self.done = serial, faults, done

    def layout(self, profile, _scalers):
        self.done.append(("layout", profile))
        return LAYOUT

    def _attempt(self, profile):
        if profile in self.faults:
            raise self.faults[profile]
        self.done.append(("rows", profile))
        return []

    def snapshot(self, profile, _layout):
        return self._attempt(profile)

    def oldest_row(self, profile, _layout):
        self._attempt(profile)

    def capture_period_s(self, _profile):
        return 900

    def get(self, _ref):
        return bytes.fromhex("07ea0b16ff0c00000001 4a00".replace(" ", ""))

    def get_list(self, refs):
        self.done.append(("rows", None))
        return [1 for _ in refs]


class Line:
    def __init__(self):
        self.faults = {}
        self.done = []

    @contextmanager
    def associate(self, meter, _purpose):
        yield Association(meter.serial, self.faults, self.done)


@pytest.fixture
def plan(store, clock, scene):
    return BusPlan([meter_named(SERIAL)], store, clock, Announcer(store, clock), IST, scene.poll)


def turn(plan, line, clock):
    """As the bus worker does it."""
    errand = plan.due(clock.monotonic_s())
    if errand is None:
        clock.advance(plan.idle_s(clock.monotonic_s()))
        return False
    try:
        errand.run(line)
    except (LinkLost, MeterBusy, StoreFull) as fault:
        errand.failed(fault)
    return True


def alarms(store):
    after = dict.fromkeys(Stream, 10**9) | {Stream.ALARM: 0}
    found = store.transact(lambda tx: tx.next_batch(after, 10**9))
    return [cbor2.loads(body)["kind"] for body in found.bodies] if found else []


def test_a_meter_that_breaks_off_in_every_visit_is_backed_off_and_alarmed_once(plan, clock, store):
    line = Line()
    line.faults[obis.BLOCK_LOAD] = LinkLost("DM", place=SERIAL)
    began_s, visits = clock.monotonic_s(), 0
    while clock.monotonic_s() - began_s < 3600:
        visits += turn(plan, line, clock)
    assert visits < 20, "it answers, and breaks off: that is no success"
    assert alarms(store) == ["meter-silent"]
    line.faults.clear()
    while clock.monotonic_s() - began_s < 7200:
        turn(plan, line, clock)
    assert alarms(store) == ["meter-silent", "meter-returned"]
    assert plan.condition[SERIAL] == "ok"


@pytest.mark.parametrize("fault", [LinkLost("DM", place=SERIAL), MeterBusy("temporary failure")])
def test_one_object_that_fails_does_not_keep_the_meters_other_objects_from_being_read(plan, clock, fault):
    line = Line()
    line.faults[obis.INSTANTANEOUS] = fault
    for _ in range(20):
        turn(plan, line, clock)
    assert {profile for what, profile in line.done if what == "rows"} == {obis.BLOCK_LOAD, obis.DAILY_LOAD, None}


def test_an_object_that_stays_unusable_is_alarmed_once_and_its_columns_are_read_again(plan, clock, store):
    line = Line()
    line.faults[obis.BLOCK_LOAD] = CaptureMismatch("a row that has not 3 columns")
    for _ in range(60):
        turn(plan, line, clock)
    assert alarms(store) == ["meter-set-aside"]
    assert line.done.count(("layout", obis.BLOCK_LOAD)) > 1, "a meter can be given other columns while we run"


def test_a_meter_that_is_dead_for_weeks_never_ends_the_loop():
    schedule = Schedule([Task(SERIAL, TaskKind.BALANCE)], now_s=0)
    for _ in range(3000):
        schedule.failed(SERIAL, LinkLost.fate, 0)


def test_a_full_store_takes_no_health_record_and_ends_nobody(clock):
    class Full:
        def transact(self, _work, *, wait_s=30.0):
            raise StoreFull("no room")

    Announcer(Full(), SystemClock()).health(meters=1)


def test_a_meter_that_is_busy_for_everything_is_not_called_well(plan, clock):
    line = Line()
    for profile in (obis.INSTANTANEOUS, obis.BLOCK_LOAD, obis.DAILY_LOAD):
        line.faults[profile] = MeterBusy("the meter answered with an exception")
    while not turn(plan, line, clock):
        pass
    turn(plan, line, clock)  # the balance was read in the first visit
    while not turn(plan, line, clock):
        pass
    assert "exception" in plan.condition[SERIAL]


@pytest.mark.parametrize("columns", [2, 20_000])
def test_a_meter_that_says_more_than_a_frame_carries_does_not_block_the_others_records(
    plan, clock, store, columns, monkeypatch
):
    row = Row(meter_time(date_time(clock.now(), IST), IST), (b"\x00" * 150_000, b"\x00" * 150_000))
    monkeypatch.setattr(Association, "snapshot", lambda *_: [row])
    monkeypatch.setattr(Association, "layout", lambda *_: (LAYOUT[0], *LAYOUT[1:] * (columns // 2)))
    turn(plan, Line(), clock)
    assert alarms(store) == ["meter-set-aside"]
    assert store.transact(lambda tx: tx.cursors())[Stream.PROFILE] == (0, 0)
