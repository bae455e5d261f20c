"""While nothing can be stored metering goes on at its cadence, and what came waits in memory."""

from contextlib import suppress
from datetime import UTC, datetime

import pytest

from dcu import obis
from dcu.config.meter_models import shipped
from dcu.errors import Fate, MeterSilent, ReplyMalformed, StoreBusy, StoreDown
from dcu.event import AlarmKind
from dcu.field.announce import Announcer
from dcu.field.plan import BusPlan
from dcu.field.statics import DESCRIBED_EVERY_S
from dcu.meter import ProfileKind, ProfileSpec
from dcu.obis import LogicalName
from dcu.reading import UNTIMED, Column, ProfileReading, Row, date_time, meter_time
from dcu.record import Stream
from dcu.store.memory import Memory
from tests.field.conftest import BLOCK, DAY_S, IST, SERIAL, Buffer, Field, records
from tests.field.test_logs_and_bills import BILL_LAYOUT, BILLING, LOG_LAYOUT, POWER
from tests.field.test_ring_soaked import on_the_hour

PRESENT = ProfileSpec("instantaneous", obis.INSTANTANEOUS, None, ProfileKind.SNAPSHOT)
DAILY = LogicalName.of("1.0.99.2.0")


class Down:
    """The store refuses all and keeps what it is given; `up` lets it be used again, `remember` does what was kept."""

    def __init__(self, store):
        self.store, self.memory = store, Memory()
        store.transact, store.keep = self._refuse, self.memory.keep

    def _refuse(self, _work, **_options):
        raise StoreDown("SQLITE_READONLY", place="dcu.db")

    @property
    def kept(self):
        return len(self.memory)

    def up(self):
        del self.store.transact, self.store.keep

    def remember(self):
        for kept in self.memory.take(self.kept):
            self.store.transact(kept.work)
            kept.waits = False


def shipped_meter(meter, now_s):
    """The profiles of a single-phase meter of IS 15959, with some history in each."""
    model = shipped()["is15959-1ph"]
    meter.buffers[obis.NAMEPLATE] = Buffer((UNTIMED, Column(1, obis.SERIAL_NUMBER, 2)), rows=[(0, (b"GXT",))])
    meter.buffers[DAILY] = Buffer(period=DAY_S, entries=45)
    midnight_s = (now_s + 19_800) // DAY_S * DAY_S - 19_800
    meter.buffers[DAILY].rows = [(midnight_s - n * DAY_S, (n, n)) for n in range(3, -1, -1)]
    bills = [*((now_s - n * 30 * DAY_S, (100 - n,)) for n in range(4, 0, -1)), (now_s, (999,))]
    meter.buffers[BILLING] = Buffer(BILL_LAYOUT, entries=13, rows=bills)
    for spec in model.profiles:
        if spec.kind is ProfileKind.EVENTS:
            events = [(now_s - 4000 + 10 * n, (101 + n % 2,)) for n in range(4)]
            meter.buffers[spec.logical_name] = Buffer(LOG_LAYOUT, entries=50, rows=events)
    return model.profiles


@pytest.fixture(params=["load and present", "IS 15959"])
def box(request, meter, store, clock, now_s):
    specs = shipped_meter(meter, now_s) if request.param == "IS 15959" else (PRESENT, BLOCK)
    meter.buffers[obis.INSTANTANEOUS] = Buffer(rows=[(now_s, (1, 2))])
    return Field(meter, store, clock, specs)


def quarter(box, at_s):
    """A quarter of an hour passes at the meter."""
    box.clock.advance(900)
    box.meter.capture(at_s, at_s)
    box.meter.buffers[obis.INSTANTANEOUS].rows = [(at_s, (at_s % 97, 2))]


def happen(box, at_s):
    """Events, and the end of a billing period."""
    for name, buffer in box.meter.buffers.items():
        if buffer.layout == LOG_LAYOUT:
            buffer.put(at_s - 100, 101)
        if name == BILLING:
            buffer.rows[-1:] = [(at_s - 50, (998,)), (at_s, (1000,))]


def fall_silent(box):
    """One visit that the meter does not answer."""

    def silent():
        raise MeterSilent("no answer", place=SERIAL)

    box.meter.before_poll = silent
    with pytest.raises(MeterSilent):
        box.visit(spare=False)
    box.meter.before_poll = lambda: None


@pytest.mark.parametrize("days", [0, 20], ids=["all read", "a backlog"])
@pytest.mark.parametrize("trouble", [None, happen, fall_silent], ids=["calm", "events and a bill", "a silent visit"])
def test_metering_goes_on_and_all_of_it_is_stored_later(box, meter, store, clock, now_s, days, trouble):
    since_s = now_s - days * DAY_S - 3600
    meter.capture(since_s, now_s)
    box.visit(spare=False)
    box.visit(spare=False)
    down, ranges, exchanges = Down(store), len(meter.asked), []
    for n in range(1, 5):
        at_s = now_s + 900 * n
        quarter(box, at_s)
        if trouble is happen and n == 2:
            happen(box, at_s)
        elif trouble and n == 2:
            fall_silent(box)
        polls = len(meter.polls)
        box.visit(spare=False)
        exchanges.append(len(meter.polls) - polls)
        if box.report.backlogs:
            box.spare()
        assert not box.report.backlogs, "spare time waits until the store is back"
        assert all(next_s > clock.monotonic_s() for next_s in box.report.next_s.values()), "the next at its time"
    asked = meter.asked[ranges:]
    assert len(asked) == len(set(asked)), "no range is asked twice"
    assert exchanges == [1] * 4
    assert [asked[-1][1] - 900 * n for n in range(3, -1, -1)] == [until for _, until in asked][-4:]
    down.up()
    down.remember()
    snapshots = [at for at, *_ in box.held(obis.INSTANTANEOUS)]
    assert snapshots == [now_s + 900 * n for n in range(5)], "which the meter has no more"
    assert [now_s + 900 * n for n in range(1, 5)] == [at for at in box.times_of_load() if at > now_s]
    quarter(box, now_s + 4500)
    box.visit()
    clock.advance(21_600)
    box.visit()
    assert set(box.times_of_load()) >= set(range(since_s, now_s + 4501, 900)), "each interval"
    assert len(box.times_of_load()) == len(set(box.times_of_load())), "and once"
    for name, buffer in meter.buffers.items():
        if buffer.layout == LOG_LAYOUT:
            assert [tuple(row) for row in box.held(name)] == [(at, *values) for at, values in buffer.rows]
        if name == BILLING:
            assert {tuple(row) for row in box.held(name)} >= {(at, *values) for at, values in buffer.rows[:-1]}


def test_what_waits_is_not_asked_again_while_it_is_on_its_way_into_the_store(box, meter, store, now_s):
    meter.capture(now_s - 3600, now_s)
    box.visit()
    down = Down(store)
    quarter(box, now_s + 900)
    box.visit(spare=False)
    down.up()
    ranges = len(meter.asked)
    box.visit(spare=False)
    assert meter.asked[ranges:] == []
    down.remember()
    box.visit()
    assert meter.asked[ranges:] == [] and box.times_of_load()[-1] == now_s + 900


def test_what_found_no_room_in_the_memory_is_asked_again(box, meter, store, now_s):
    meter.capture(now_s - 3600, now_s)
    box.visit()
    down = Down(store)
    for n in (1, 2):
        quarter(box, now_s + 900 * n)
        box.visit(spare=False)
    down.memory.keep(lambda _tx: None, 2 * down.memory._capacity_bytes)
    down.up()
    down.remember()
    box.visit()
    assert box.times_of_load() == list(range(now_s - 3600, now_s + 1801, 900))


def test_one_part_that_cannot_be_stored_after_all_costs_itself_only(box, meter, store, now_s, monkeypatch):
    meter.capture(now_s - 3600, now_s)
    box.visit()
    down = Down(store)
    quarter(box, now_s + 900)
    box.visit(spare=False)
    down.up()

    def too_large(_tx, _reading):
        raise ReplyMalformed("no frame carries it")

    with monkeypatch.context() as patched:
        patched.setattr("dcu.store.transaction.SqliteTransaction.admit_snapshot", too_large)
        for kept in down.memory.take(down.kept):
            with suppress(ReplyMalformed):
                store.transact(kept.work)
            kept.waits = False
    box.visit()
    assert box.times_of_load()[-1] == now_s + 900


def test_with_a_backlog_the_line_rests_until_the_store_is_back(meter, store, clock, now_s):
    """As the bus has it: whatever the plan gives is done at once."""
    box = Field(meter, store, clock)
    plan = BusPlan([box.configured], store, clock, Announcer(store, clock), IST, box.poll)

    def work_off():
        visits = 0
        while (errand := plan.due(clock.monotonic_s())) is not None:
            errand.run(box)
            visits += 1
            assert visits < 200, "it never rests"
        return visits

    meter.capture(now_s - 20 * DAY_S, now_s)
    plan.due(clock.monotonic_s()).run(box)
    down = Down(store)
    assert work_off() == 1
    for n in (1, 2):
        clock.advance(901)  # a meter needs a moment
        meter.capture(now_s + 900 * n, now_s + 900 * n)
        assert work_off() == 1
    assert len(meter.asked) == len(set(meter.asked))
    down.up()
    down.remember()
    clock.advance(901)
    meter.capture(now_s + 2700, now_s + 2700)
    assert work_off() >= 2, "a due visit tells of the backlog anew"
    assert box.times() == list(range(now_s - 20 * DAY_S, now_s + 2701, 900))


def test_spare_time_opens_no_association_while_the_store_is_down(meter, store, clock, now_s):
    box = Field(meter, store, clock)
    meter.capture(now_s - 20 * DAY_S, now_s)
    box.visit(spare=False)
    Down(store)
    clock.advance(900)
    meter.capture(now_s + 900, now_s + 900)
    box.visit(spare=False)
    box.report.backlogs.update(box.tasks())
    box.associate = None
    box.spare()
    assert not box.report.backlogs


def test_of_a_meter_of_which_nothing_is_known_no_association_is_opened(meter, store, clock):
    box = Field(meter, store, clock)
    Down(store)
    box.associate = None
    with pytest.raises(StoreDown):
        box.visit()


def test_parts_that_are_asked_apart_are_all_asked(box, meter, store, clock, now_s):
    meter.capture(now_s - 3600, now_s)
    box.visit()
    box.scene.book(box.configured).apart_until_s = clock.monotonic_s() + 3600
    down = Down(store)
    quarter(box, now_s + 900)
    box.visit(spare=False)
    down.up()
    down.remember()
    assert box.times_of_load()[-1] == now_s + 900
    assert box.held(obis.INSTANTANEOUS)[-1][0] == now_s + 900


def test_a_meter_is_not_described_anew_while_the_store_is_down(box, meter, store, clock, now_s):
    meter.capture(now_s - 3600, now_s)
    box.visit()
    described = len(meter.described)
    down = Down(store)
    clock.advance(DESCRIBED_EVERY_S - 900)
    for n in (1, 2):
        quarter(box, now_s + DESCRIBED_EVERY_S + 900 * (n - 1))
        box.visit(spare=False)
    assert len(meter.described) == described and not box.report.faults.get(SERIAL)
    down.up()
    down.remember()
    box.visit()
    assert len(meter.described) == described + 1


def test_a_store_that_goes_down_in_the_middle_of_a_look_at_the_statics_costs_no_visit(box, meter, store, clock, now_s):
    meter.capture(now_s - 3600, now_s)
    box.visit()
    clock.advance(DESCRIBED_EVERY_S - 900)
    quarter(box, now_s + DESCRIBED_EVERY_S)
    honest, down = meter.describe, []

    def describe(specs):
        down.append(Down(store))
        return honest(specs)

    meter.describe = describe
    well = box.report.well
    box.visit(spare=False)
    assert box.report.well == well + 1
    meter.describe = honest
    down[0].up()
    down[0].remember()
    described = len(meter.described)
    box.visit()
    assert len(meter.described) == described + 1 and box.times_of_load()[-1] == now_s + DESCRIBED_EVERY_S


def test_a_hole_and_rows_that_were_overwritten_are_noted_once(box, meter, store, clock, now_s):
    """Absences wait as rows do."""
    meter.block.entries = 37
    meter.capture(now_s - 3600, now_s)
    box.visit()
    down = Down(store)
    clock.advance(20 * 3600)
    for at_s in range(now_s + 10 * 3600, now_s + 20 * 3600 + 1, 900):
        if not now_s + 15 * 3600 <= at_s < now_s + 16 * 3600:
            meter.capture(at_s, at_s)
    for n in range(3):
        box.visit(spare=False)
        quarter(box, now_s + 20 * 3600 + 900 * (n + 1))
    assert len(meter.asked) == len(set(meter.asked))
    down.up()
    down.remember()
    for _ in range(4):
        box.visit()
        clock.advance(900)
        box.meter.capture((box.times_of_load()[-1]) + 900, (box.times_of_load()[-1]) + 900)
    assert box.alarms().count("rows-lost") == 1
    assert (now_s + 15 * 3600, now_s + 16 * 3600 - 900, "meter off") in box.state().absent


@pytest.mark.parametrize("emptied", [False, True], ids=["in the ring", "overwritten"])
def test_what_an_earlier_capture_period_left_open_waits_in_its_meter(meter, store, clock, now_s, emptied):
    """It is asked at most once more, in the visit that finds the store down, and told lost once."""
    box = Field(meter, store, clock)
    now_s = on_the_hour(box, meter, clock, now_s)
    if emptied:
        meter.block.rows.clear()
    clock.advance(5 * 3600)
    meter.block.period = 3600
    hours = [now_s + 3600 * n for n in (range(4, 6) if emptied else range(6))]
    meter.capture(hours[0], hours[-1])
    found = ProfileReading(SERIAL, obis.BLOCK_LOAD, meter.block.layout, tuple(rows(hours)), clock.now(), clock.state())
    until_s = now_s + 4 * 3600
    store.transact(
        lambda tx: tx.describe(
            SERIAL, obis.BLOCK_LOAD, meter.block.layout, 3600, now_s, until_s=until_s, entries=meter.block.entries
        )
    )
    store.transact(lambda tx: tx.admit(found))
    box.restart()
    box.scene.book(box.configured).load(store, clock)
    assert box.state().unsettled and box.state().is_shown
    down, ranges = Down(store), len(meter.asked)
    for n in range(1, 5):
        clock.advance(3600)
        meter.capture(hours[-1] + 3600 * n, hours[-1] + 3600 * n)
        box.visit(spare=False)
    assert len(meter.asked) - ranges <= 4 + 1, "the newest rows"
    assert len(meter.asked) == len(set(meter.asked))
    down.up()
    down.remember()
    clock.advance(3600)
    box.visit()
    assert box.state().unsettled == () and box.alarms().count("rows-lost") == int(emptied)


def rows(times):
    """As the meter captures them."""
    faces = ((at, meter_time(date_time(datetime.fromtimestamp(at, UTC), IST), IST)) for at in times)
    return [Row(face, (2300 + at // 60 % 50, at // 60 % 97)) for at, face in faces]


@pytest.mark.parametrize("fault", [StoreDown("SQLITE_IOERR"), StoreBusy("no answer in time")])
def test_an_event_whose_commit_failed_is_read_again(meter, store, clock, now_s, fault):
    """The newest held row is known without the store: but only once it is held."""
    specs = shipped_meter(meter, now_s)
    box = Field(meter, store, clock, [spec for spec in specs if spec.logical_name == POWER])
    box.visit()
    box.visit()
    meter.buffers[POWER].put(now_s, 101)
    transact, failed = store.transact, []

    def fail_once(work, **options):
        if work.__name__ == "commit" and not failed:
            failed.append(work)
            raise fault
        return transact(work, **options)

    store.transact, store.keep = fail_once, Memory(0).keep
    try:
        if fault.fate is Fate.RETRY_LATER:
            with pytest.raises(StoreBusy):
                box.visit()
        else:
            box.visit()
    finally:
        del store.transact, store.keep
    store_lost(box)
    box.visit()
    assert failed and [at for at, _ in box.held(POWER)][-1] == now_s


def store_lost(box):
    """What waited is lost."""
    for wait in box.scene.book(box.configured).waiting:
        wait.work.waits = False


def test_alarms_and_health_wait_too(store, clock):
    announcer, down = Announcer(store, clock), Down(store)
    announcer.alarm(AlarmKind.BUS_DOWN, "the port is gone", bus="north")
    announcer.health(meters=1)
    down.up()
    down.remember()
    assert [alarm["kind"] for alarm in records(store, Stream.ALARM)] == ["bus-down"]
    assert len(records(store, Stream.HEALTH)) == 1


def test_an_alarm_for_which_the_store_had_no_time_waits_too(store, clock):
    def busy(_work, **_options):
        raise StoreBusy("no answer in time")

    store.transact = busy
    Announcer(store, clock).alarm(AlarmKind.BUS_DOWN, "the port is gone", bus="north")
    del store.transact
    store.transact(lambda tx: tx.cursors())
    while len(store._writer.memory):
        store.transact(lambda tx: tx.cursors())
    assert [alarm["kind"] for alarm in records(store, Stream.ALARM)] == ["bus-down"]
