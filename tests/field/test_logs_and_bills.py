"""Event logs, bills, nameplate, snapshot and balance: what is new, once, and what went round is told."""

import pytest

from dcu import obis
from dcu.causes import Happening
from dcu.errors import AttributeFailed
from dcu.gaps import Absence
from dcu.meter import Amount, AttributeRef, ProfileKind, ProfileSpec
from dcu.obis import LogicalName
from dcu.reading import UNTIMED, Column
from dcu.record import Stream, encode_layout, layout_digest
from tests.field.conftest import BLOCK, DAY_S, LAYOUT, SERIAL, Buffer, Field

POWER, TRANSACTION, BILLING = (LogicalName.of(name) for name in ("0.0.99.98.2", "0.0.99.98.3", "1.0.98.1.0"))
POWER_LOG = ProfileSpec("events-power", POWER, None, ProfileKind.EVENTS, 900)
BILLS = ProfileSpec("billing", BILLING, None, ProfileKind.BILLING, 21_600)
LOG_LAYOUT = (LAYOUT[0], Column(1, LogicalName.of("0.0.96.11.2"), 2))
BILL_LAYOUT = (Column(3, obis.BILLING_DATE, 2), Column(3, LogicalName.of("1.0.1.8.0"), 2, 0, 30))


@pytest.fixture(params=[False, True], ids=["oldest first", "newest first"])
def log(request, meter):
    meter.buffers[POWER] = Buffer(LOG_LAYOUT, 0, entries=50, newest_first=request.param)
    return meter.buffers[POWER]


@pytest.fixture
def box(meter, store, clock, log):
    return Field(meter, store, clock, (POWER_LOG,))


def events(box):
    return [tuple(row) for row in box.held(POWER)]


def test_the_whole_log_comes_once_and_then_only_what_is_new(box, meter, log, clock, now_s):
    for n in range(7):
        log.put(now_s - 700 + 100 * n, 101 + n % 2)
    box.visit()
    assert len(events(box)) == 7
    for n in range(3):
        clock.advance(900)
        meter.polls.clear()
        box.visit()
        assert len(meter.polls) <= (2 if log.newest_first and n else 1)
        assert len(events(box)) == 7 + n
        log.put(now_s + n, 101)
    assert box.report.next_s


def test_events_of_one_second_are_all_kept(box, log, clock, now_s):
    log.put(now_s, 101)
    log.put(now_s, 102)
    log.put(now_s, 101)
    box.visit()
    log.put(now_s, 103)
    clock.advance(900)
    box.visit()
    assert sorted(events(box)) == [(now_s, 101), (now_s, 101), (now_s, 102), (now_s, 103)]
    assert [record.get("again") for record in box.records()] == [[[1, 1], [2, 2]], [[0, 3]]]


def test_after_a_start_nothing_comes_twice(box, log, meter, now_s):
    for n in range(5):
        log.put(now_s + n, 101)
    box.visit()
    box.restart()
    log.put(now_s + 9, 102)
    box.visit()
    assert len(events(box)) == 6


def test_a_full_log_of_which_the_newest_are_new(box, log, meter, clock, now_s):
    for n in range(60):
        log.put(now_s + n, 101)
    box.visit()
    for n in range(60, 70):
        log.put(now_s + n, 102)
    box.visit()
    assert [at for at, _ in sorted(events(box))] == [now_s + n for n in range(10, 70)]
    assert box.alarms() == []


def test_a_log_that_went_round_is_told(box, log, clock, now_s):
    log.put(now_s, 101)
    box.visit()
    for n in range(1, 100):
        log.put(now_s + n, 102)
    box.visit()
    assert len(events(box)) == 51
    assert box.alarms() == ["rows-lost"]


@pytest.mark.parametrize("refusal", [None, AttributeFailed("other reason")])
def test_a_log_that_was_cleared_is_read_from_its_beginning(box, meter, log, now_s, monkeypatch, refusal):
    for n in range(5):
        log.put(now_s + n, 101)
    box.visit()
    log.rows.clear()
    log.put(now_s + 100, 102)
    honest = meter.rows_of
    if refusal is not None:
        monkeypatch.setattr(meter, "rows_of", lambda want: honest(want) or refusal)
    box.visit()
    assert events(box)[-1] == (now_s + 100, 102)
    assert POWER_LOG.logical_name not in {task.profile for task in box.report.faults}


def test_other_columns_beside_the_code_are_no_new_events(box, log, clock, now_s):
    log.put(now_s, 101)
    box.visit()
    log.layout = (*LOG_LAYOUT, Column(3, LogicalName.of("1.0.12.7.0"), 2, -1, 35))
    log.rows = [(now_s, (101, 2301))]
    box.store.transact(lambda tx: tx.note_stale(SERIAL))
    box.restart()
    box.visit()
    assert events(box) == [(now_s, 101)] and box.alarms() == ["meter-changed"]


def test_the_power_log_explains_holes_that_a_clock_set_would_explain_too(meter, store, clock, log, now_s):
    box = Field(meter, store, clock, (BLOCK, POWER_LOG))
    meter.capture(now_s - 3600, now_s)
    box.visit()
    clock.advance(3 * 3600)
    meter.ahead_s = 1800
    meter.capture(now_s + 3600, now_s + 2 * 3600)
    meter.capture(now_s + 2 * 3600 + 2700, now_s + 3 * 3600 + 1800)
    box.visit()
    holes = [(now_s + 900, now_s + 2700), (now_s + 2 * 3600 + 900, now_s + 2 * 3600 + 1800)]
    assert [each[:2] for each in box.state().absent] == holes
    log.put(now_s + 100, 101)
    log.put(now_s + 3590, 102)
    clock.advance(900)
    box.visit()
    assert [reason for *_, reason in box.state().absent] == ["meter off", "clock set"]
    kept = store.transact(lambda tx: tx.meter(SERIAL))
    assert Happening(Absence.METER_OFF, now_s + 100, now_s + 3590) in kept.happenings


def test_an_event_that_says_that_the_meter_was_changed_has_it_described_anew(box, meter, log, clock, now_s):
    log.put(now_s, 101)
    box.visit()
    log.put(now_s + 9, 153)
    box.visit()
    clock.advance(900)
    box.visit()
    assert len(meter.described) == 2


# ---- bills ----


@pytest.fixture
def bills(meter):
    meter.buffers[BILLING] = Buffer(BILL_LAYOUT, 0, entries=13)
    return meter.buffers[BILLING]


@pytest.fixture
def billed(meter, store, clock, bills):
    return Field(meter, store, clock, (BILLS,))


def stored(box):
    return [tuple(row) for row in box.held(BILLING)]


@pytest.mark.parametrize("newest_first", [False, True])
@pytest.mark.parametrize("running", ["dated now", "dated at the last reset"])
def test_each_closed_bill_comes_once_and_the_running_period_never(billed, bills, clock, now_s, running, newest_first):
    bills.newest_first = newest_first
    month = 30 * DAY_S
    closed = [(now_s - n * month, (1000 - n,)) for n in range(5, 0, -1)]

    def present(value):
        return (int(clock.now().timestamp()) if running == "dated now" else closed[-1][0], (value,))

    for value in range(5):
        bills.rows = [*closed, present(2000 + value)]
        billed.visit()
        clock.advance(660)
    assert stored(billed) == [(at, *values) for at, values in reversed(closed)], "the newest bill first"
    closed.append((now_s, (1000,)))
    for value in range(3):
        bills.rows = [*closed, present(3000 + value)]
        billed.visit()
        clock.advance(21_600)
    assert stored(billed)[-1] == (now_s, 1000) and len(stored(billed)) == 6
    assert all(record["profile"] == str(BILLING) for record in billed.records(Stream.BILLING))


def test_a_meter_whose_newest_row_is_a_closed_bill(billed, bills, clock, now_s):
    bills.rows = [(now_s - 40 * DAY_S, (1,)), (now_s - 10 * DAY_S, (2,))]
    next_s = billed.visit()
    assert stored(billed) == [(now_s - 40 * DAY_S, 1)]
    assert next_s - clock.monotonic_s() < 700, "it may be the running period: looked at again soon"
    clock.advance(660)
    next_s = billed.visit()
    assert stored(billed)[-1] == (now_s - 10 * DAY_S, 2)
    assert next_s - clock.monotonic_s() == pytest.approx(21_600)


def test_a_full_buffer_of_bills_goes_on(billed, bills, clock, now_s):
    for n in range(12):
        bills.put(now_s - (20 - n) * 30 * DAY_S, n)
    bills.put(now_s, 99)
    billed.visit()
    bills.rows.pop()
    bills.put(now_s - 30 * DAY_S, 50)
    bills.put(now_s + 660, 100)
    clock.advance(660)
    billed.visit()
    assert stored(billed)[-1] == (now_s - 30 * DAY_S, 50) and len(stored(billed)) == 13


def test_after_the_end_of_a_month_the_bill_is_asked_for(billed, bills, clock):
    clock.wall = clock.wall.replace(day=30, hour=16)
    bills.put(0, 1)
    billed.configured.model.profiles[0]
    next_s = billed.visit()
    clock.advance(660)
    next_s = billed.visit()
    assert next_s - clock.monotonic_s() < 3 * 3600 + 301, "18:30 UTC is midnight in India"


# ---- the present ----


def test_a_nameplate_is_read_at_first_contact_and_with_another_firmware(meter, store, clock):
    plate = ProfileSpec("nameplate", obis.NAMEPLATE, None, ProfileKind.NAMEPLATE)
    layout = (UNTIMED, Column(1, obis.SERIAL_NUMBER, 2))
    meter.buffers[obis.NAMEPLATE] = Buffer(layout)
    meter.rows_of, honest = lambda want: [plate_row(row) for row in honest(want)], meter.rows_of
    meter.buffers[obis.NAMEPLATE].put(0, b"GXT")
    box = Field(meter, store, clock, (plate,))

    def plate_row(row):
        from dataclasses import replace

        from dcu.reading import NO_TIME

        return replace(row, captured_at=NO_TIME)

    for _ in range(3):
        box.visit()
        box.restart()
    read_at = [record["read_at"] for record in box.records()]
    assert box.held(obis.NAMEPLATE) == [[read_at[0], b"GXT"]]
    meter.registers = dict.fromkeys(meter.registers, b"V2.0")
    clock.advance(10)
    box.visit()
    assert len(box.held(obis.NAMEPLATE)) == 2


def test_a_snapshot_that_did_not_change_is_not_stored_again(meter, store, clock, now_s):
    present = ProfileSpec("instantaneous", obis.INSTANTANEOUS, None, ProfileKind.SNAPSHOT)
    meter.buffers[obis.INSTANTANEOUS] = Buffer(rows=[(now_s, (1, 2))])
    box = Field(meter, store, clock, (present,))
    box.visit()
    box.restart()
    box.visit()
    meter.buffers[obis.INSTANTANEOUS].rows = [(now_s + 900, (1, 2))]
    box.visit()
    assert [at for at, *_ in box.held(obis.INSTANTANEOUS)] == [now_s, now_s + 900]


def test_money_travels_with_its_unit(meter, store, clock):
    meter.registers[obis.CURRENT_BALANCE] = 2500
    balance = (AttributeRef(1, obis.PAYMENT_MODE, 2), AttributeRef(1, obis.CURRENT_BALANCE, 2))
    box = Field(meter, store, clock, (), balance=balance, amount=Amount.RUPEE)
    box.visit()
    [record] = box.records(Stream.CREDIT)
    assert (record["values"], record["amount"], record["meter"]) == ([2500], "rupee", SERIAL)


RELAY = tuple(AttributeRef(70, LogicalName.of("0.0.96.3.10"), n) for n in (2, 3, 4))
LIMIT = AttributeRef(71, LogicalName.of("0.0.17.0.0"), 4)
MODE = AttributeRef(1, obis.PAYMENT_MODE, 2)


def test_relay_limit_and_modes_travel_with_the_balance_each_asked_once(meter, store, clock):
    meter.registers |= {obis.CURRENT_BALANCE: 2500, obis.PAYMENT_MODE: 1, LIMIT.logical_name: 40_000}
    meter.attributes = dict(zip(RELAY, (True, 1, 4), strict=True))
    balance = (MODE, AttributeRef(1, obis.CURRENT_BALANCE, 2))
    box = Field(meter, store, clock, (), balance=balance, states=(*RELAY, LIMIT, MODE))
    box.visit()
    [record] = box.records(Stream.CREDIT)
    assert record["values"] == [1, 2500, True, 1, 4, 40_000]
    assert all(len(refs) == len(set(refs)) for refs, _ in meter.polls)
    columns = tuple(Column(ref.class_id, ref.logical_name, ref.attribute) for ref in (*balance, *RELAY, LIMIT))
    assert record["layout"] == layout_digest(encode_layout(columns))


def test_a_meter_without_balance_tells_its_relay_all_the_same(meter, store, clock):
    meter.attributes = {RELAY[0]: False, RELAY[1]: 0}
    box = Field(meter, store, clock, (), states=RELAY)
    box.visit()
    assert [record["values"] for record in box.records(Stream.CREDIT)] == [[False, 0]]


# ---- all together ----


def test_all_that_is_due_is_one_poll_and_one_transaction(meter, store, clock, log, bills, now_s):
    present = ProfileSpec("instantaneous", obis.INSTANTANEOUS, None, ProfileKind.SNAPSHOT)
    meter.buffers[obis.INSTANTANEOUS] = Buffer(rows=[(now_s, (1, 2))])
    meter.registers[obis.CURRENT_BALANCE] = 2500
    balance = (AttributeRef(1, obis.CURRENT_BALANCE, 2),)
    box = Field(meter, store, clock, (BLOCK, present, POWER_LOG, BILLS), balance=balance)
    meter.capture(now_s - 3600, now_s)
    log.put(now_s, 101)
    bills.put(now_s, 1)
    box.visit()
    clock.advance(905)
    for buffer, values in ((meter.block, (1, 2)), (meter.buffers[obis.INSTANTANEOUS], (3, 4)), (bills, (5,))):
        buffer.put(now_s + 900, *values)
    works, transact = [], store.transact
    store.transact = lambda work, **options: works.append(work) or transact(work, **options)
    try:
        meter.polls.clear()
        box.visit(spare=False)
    finally:
        del store.transact
    assert len(meter.polls) == 1
    refs, wanted = meter.polls[0]
    assert len(wanted) == 4 and len(refs) == 2
    writes = [work for work in works if work.__name__ == "commit"]
    assert len(writes) == 1
    assert box.times()[-1] == now_s + 900 and len(box.records(Stream.CREDIT)) == 2
