"""The plan of a bus and its visits: what one object, one meter, or a full store may cost the others."""

import threading
from contextlib import contextmanager

import cbor2
import pytest

from dcu import obis
from dcu.clock import SystemClock
from dcu.config.meter_models import shipped
from dcu.errors import (
    AddressClash,
    AssociationRefused,
    CaptureMismatch,
    LinkLost,
    MeterBusy,
    MeterSilent,
    ReplyForged,
    ReplyReplayed,
    StoreFull,
    WrongMeter,
)
from dcu.field.announce import Announcer
from dcu.field.plan import BusPlan
from dcu.meter import Meter, MeterSecrets
from dcu.record import Stream
from dcu.schedule import Schedule, Task, TaskKind
from tests.field.conftest import IST, LAYOUT, SERIAL, Buffer, FieldMeter, records

OTHER = "GXT00000002"
TROUBLES = (
    MeterSilent("no answer"),
    ReplyForged("bad tag"),
    AddressClash("two answer"),
    WrongMeter("another", found="Y"),
)


def meter_named(serial):
    return Meter(serial, "pole", shipped()["is15959-1ph"], 17, "JH-RNC", MeterSecrets())


class Association(FieldMeter):
    """Every task succeeds but those whose profile has a fault; one that is lost breaks the whole poll off."""

    def __init__(self, serial, clock, faults, done):
        super().__init__(clock)
        self.serial, self.faults, self.done = serial, faults, done
        self.buffers = {spec.logical_name: Buffer() for spec in meter_named(serial).model.profiles}
        self.buffers |= {name: Buffer(period=900) for name in (obis.BLOCK_LOAD, obis.DAILY_LOAD)}

    def poll(self, refs, wanted):
        lost = [self.faults[w.profile] for w in wanted if isinstance(self.faults.get(w.profile), LinkLost)]
        if lost:
            raise lost[0]
        if any(ref.logical_name == obis.CURRENT_BALANCE for ref in refs):
            self.done.append(("rows", None))
        return super().poll(refs, wanted)

    def rows_of(self, want):
        if want.profile in self.faults:
            return self.faults[want.profile]
        self.done.append(("rows", want.profile))
        return super().rows_of(want)

    def describe(self, specs):
        self.done.extend(("layout", spec.logical_name) for spec in specs)
        return super().describe(specs)


class Line:
    def __init__(self, clock):
        self.clock = clock
        self.faults = {}
        self.done = []
        self.meters = {}

    @contextmanager
    def associate(self, meter, _purpose):
        known = self.meters.setdefault(meter.serial, Association(meter.serial, self.clock, self.faults, self.done))
        if not known.block.rows:
            now_s = int(self.clock.now().timestamp())
            for name in (obis.BLOCK_LOAD, obis.DAILY_LOAD):
                known.buffers[name].put(now_s // 900 * 900, 1, 2)
        yield known


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
    line = Line(clock)
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


def test_what_is_worse_than_silence_is_told_of_a_meter_that_was_silent_before(plan, store):
    """Somebody cuts the meter off and plugs a false one in."""
    meter = meter_named(SERIAL)
    for fault in TROUBLES:
        plan.failed(meter, fault)
    assert alarms(store) == ["meter-silent", "meter-paused", "address-clash", "meter-set-aside"]
    plan.answered(meter)
    plan.visited(meter)
    assert alarms(store)[4:] == ["meter-returned"]
    plan.failed(meter, MeterSilent("no answer"))
    assert alarms(store)[5:] == ["meter-silent"]


def test_a_forged_reply_is_told_behind_a_refused_association(plan, store):
    meter = meter_named(SERIAL)
    for fault in (AssociationRefused("wrong secret"), ReplyForged("bad tag"), ReplyReplayed("an old counter")):
        plan.failed(meter, fault)
    assert [record["facts"]["forged"] for record in records(store, Stream.ALARM)] == [False, True]


def test_faults_that_take_turns_are_told_once_each_until_the_meter_is_well(plan, store):
    meter = meter_named(SERIAL)
    for _ in range(50):
        for fault in TROUBLES:
            plan.failed(meter, fault)
    assert len(alarms(store)) == 4


@pytest.mark.parametrize("fault", [LinkLost("DM", place=SERIAL), MeterBusy("temporary failure")])
def test_one_object_that_fails_does_not_keep_the_meters_other_objects_from_being_read(plan, clock, fault):
    line = Line(clock)
    line.faults[obis.INSTANTANEOUS] = fault
    for _ in range(60):
        turn(plan, line, clock)
    read = {profile for what, profile in line.done if what == "rows"}
    assert {obis.BLOCK_LOAD, obis.DAILY_LOAD, None} <= read and obis.INSTANTANEOUS not in read


def test_an_object_that_stays_unusable_is_alarmed_once_and_its_columns_are_read_again(plan, clock, store):
    line = Line(clock)
    line.faults[obis.BLOCK_LOAD] = CaptureMismatch("a row that has not 3 columns")
    for _ in range(150):
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
    line = Line(clock)
    for spec in meter_named(SERIAL).model.profiles:
        line.faults[spec.logical_name] = MeterBusy("the meter answered with an exception")
    while not turn(plan, line, clock):
        pass
    assert plan.condition[SERIAL] == "ok", "the balance was read in the first visit"
    while not turn(plan, line, clock):
        pass
    assert "exception" in plan.condition[SERIAL]


@pytest.mark.parametrize("columns", [2, 20_000])
def test_a_meter_that_says_more_than_a_frame_carries_does_not_block_the_others_records(plan, clock, store, columns):
    line = Line(clock)
    with line.associate(meter_named(SERIAL), None) as meter:
        present = meter.buffers[obis.INSTANTANEOUS]
    present.layout = (LAYOUT[0], *LAYOUT[1:] * (columns // 2))
    present.put(int(clock.now().timestamp()), *[b"\x00" * 150_000] * 2)
    turn(plan, line, clock)
    assert alarms(store) == ["meter-set-aside"]
    stored = records(store, Stream.PROFILE)
    assert stored and str(obis.INSTANTANEOUS) not in {record["profile"] for record in stored}


def test_a_plan_may_be_asked_from_many_threads(store, clock, scene):
    """Each meter is given to one at a time, as the pool asks, and whatever they report meets no other's."""
    meters = [meter_named(f"GXT{n:08}") for n in range(40)]
    plan = BusPlan(meters, store, clock, Announcer(store, clock), IST, scene.poll)
    clock.advance(100)
    lock, at_work, visits, twice = threading.Lock(), set(), [], []

    def work():
        for _ in range(200):
            with lock:
                visit = plan.due(clock.monotonic_s(), lambda meter: meter.serial in at_work)
                if visit is None:
                    continue
                twice.extend([visit.meter.serial] if visit.meter.serial in at_work else [])
                at_work.add(visit.meter.serial)
            for task in list(visit._left):
                plan.done(task, clock.monotonic_s() + 900, given=True)
            plan.visited(visit.meter)
            visits.append(visit.meter.serial)
            with lock:
                at_work.discard(visit.meter.serial)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert twice == []
    assert sorted(visits) == sorted(meter.serial for meter in meters)
    assert set(plan.condition.values()) == {"ok"}
