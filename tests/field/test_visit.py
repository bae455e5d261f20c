"""A visit as a whole: what cuts it short, who else answers, what is said of it once."""

import pytest

from dcu import obis
from dcu.errors import LinkLost, Preempted, StoreBusy, WrongMeter
from dcu.field.announce import Announcer
from dcu.field.course import APART_AFTER
from dcu.field.plan import BusPlan
from dcu.field.visit import MeterVisit
from dcu.meter import ProfileKind, ProfileSpec
from dcu.reading import date_time
from dcu.record import Stream
from tests.field.conftest import BLOCK, IST, SERIAL, Buffer, Field, records

PRESENT = ProfileSpec("instantaneous", obis.INSTANTANEOUS, None, ProfileKind.SNAPSHOT)


@pytest.fixture
def box(meter, store, clock, now_s):
    meter.buffers[obis.INSTANTANEOUS] = Buffer(rows=[(now_s, (1, 2))])
    return Field(meter, store, clock, (PRESENT, BLOCK))


def test_a_visit_that_was_preempted_goes_on_where_it_was(box, meter, now_s):
    meter.capture(now_s - 20 * 86_400, now_s)
    box.visit(spare=False)
    visit = MeterVisit(box.configured, box.tasks(), box.report, box.scene)
    box.clock.advance(900)
    meter.capture(now_s + 900, now_s + 900)
    done, polls = [], []
    box.report.done = lambda task, next_s, *, given: done.append(task.profile)

    def cut_second_poll():
        polls.append(1)
        if len(polls) == 2:
            raise Preempted("a relay errand waits")

    meter.before_poll = cut_second_poll
    meter.block.rows.insert(-1, (now_s + 100, (0, 0)))  # off the grid: the period is looked at in a second poll
    with pytest.raises(Preempted):
        visit.run(box)
    assert done == [obis.INSTANTANEOUS]
    meter.polls.clear()
    visit.run(box)
    assert done == [obis.INSTANTANEOUS, obis.BLOCK_LOAD]
    assert obis.INSTANTANEOUS not in {want.profile for _, wanted in meter.polls for want in wanted}
    assert box.times()[-1] == now_s + 900, "what came before the errand is stored"


def test_a_transaction_that_may_have_failed_is_not_believed(box, meter, store, clock, now_s):
    meter.capture(now_s - 3600, now_s)
    box.visit()
    clock.advance(900)
    meter.capture(now_s + 900, now_s + 900)
    transact = store.transact

    def lost(work, **options):
        transact(work, **options)
        raise StoreBusy("nobody knows")

    store.transact = lost
    with pytest.raises(StoreBusy):
        box.visit()
    del store.transact
    box.visit()
    assert box.times() == list(range(now_s - 3600, now_s + 901, 900))


def test_one_part_that_breaks_every_poll_off_does_not_starve_the_others(box, meter, clock, now_s):
    meter.capture(now_s - 3600, now_s)
    honest = meter.poll

    def poll(refs, wanted):
        if any(want.profile == obis.INSTANTANEOUS for want in wanted):
            raise LinkLost("DM", place=SERIAL)
        return honest(refs, wanted)

    meter.poll = poll
    order = box.tasks()
    for _ in range(APART_AFTER + 2):
        with pytest.raises(LinkLost):
            box.visit(tasks=order)
        order = order[::-1]
    assert box.times()[-1] == now_s


def test_a_clock_that_shows_no_time_costs_only_what_goes_by_it(box, meter, now_s, monkeypatch):
    monkeypatch.setattr("tests.field.conftest.date_time", lambda at, zone: b"\xff" * 12)
    honest = meter.rows_of
    meter.rows_of = lambda want: (monkeypatch.undo(), honest(want))[1]
    box.visit()
    assert box.held(obis.INSTANTANEOUS) == [[now_s, 1, 2]]
    assert {task.profile for task in box.report.faults} == {obis.BLOCK_LOAD}
    assert date_time


def test_another_serial_in_the_place_of_a_known_meter_is_told_with_both(meter, store, clock, now_s):
    meter.capture(now_s - 3600, now_s)
    box = Field(meter, store, clock)
    plan = BusPlan([box.configured], store, clock, Announcer(store, clock), IST, box.poll)

    def turn():
        clock.advance(2000)
        errand = plan.due(clock.monotonic_s())
        try:
            errand.run(box)
        except WrongMeter as fault:
            errand.failed(fault)

    def another():
        raise WrongMeter("the meter says that it is 'GXT9'", place=SERIAL, found="GXT9")

    turn()
    meter.before_poll = another
    turn()
    turn()
    [told] = records(store, Stream.ALARM)
    assert (told["kind"], told["facts"]["was"], told["facts"]["now"]) == ("meter-replaced", SERIAL, "GXT9")
    assert plan.set_aside == {SERIAL}


def test_another_serial_where_no_meter_was_read_yet_is_a_mistake_of_the_configuration(meter, store, clock):
    box = Field(meter, store, clock)
    plan = BusPlan([box.configured], store, clock, Announcer(store, clock), IST, box.poll)
    errand = plan.due(clock.monotonic_s())
    errand.failed(WrongMeter("it is 'GXT9'", place=SERIAL, found="GXT9"))
    assert [told["kind"] for told in records(store, Stream.ALARM)] == ["meter-set-aside"]


def test_a_new_meter_at_an_old_place_is_announced_once_and_ends_the_old_ones_intervals(box, meter, store, clock, now_s):
    meter.capture(now_s - 3600, now_s)
    old = ("GXT00000000", obis.BLOCK_LOAD)

    def lived(tx):
        tx.settle("pole/17", old[0], now_s - 9000)
        tx.describe(*old, meter.block.layout, 900, now_s - 9000)

    store.transact(lived)
    box.visit()
    box.restart()
    box.visit()
    [told] = box.records(Stream.ALARM)
    assert (told["kind"], told["facts"]["was"], told["meter"]) == ("meter-replaced", old[0], SERIAL)
    assert store.transact(lambda tx: tx.profile(*old)).absent == ((now_s - 9000, now_s, "meter replaced"),)
    assert box.state().absent == ()
