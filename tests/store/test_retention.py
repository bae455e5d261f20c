"""What goes: by class and age as the store lived it, and when the file is full the oldest of what is worth least."""

import sqlite3
from datetime import timedelta

import cbor2
import pytest
from running_store import FixedClock, running
from test_stock import MovingClock, live, of

from dcu.record import Stream
from dcu.store import dropping, retention, writer
from dcu.store.accounts import DAY_S
from dcu.store.retention import KEPT_DAYS

BODY = b"r" * 960


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(writer, "TURN_S", 0.01)
    monkeypatch.setattr(writer, "PAUSE_S", 0.001)


@pytest.fixture
def by_hand(monkeypatch):
    """The store's own upkeep does not look at a day that is half told yet."""
    monkeypatch.setattr(writer, "TURN_S", 1e8)
    monkeypatch.setattr(writer, "PAUSE_S", 1e8)


def bites(it, count=400):
    """All that upkeep has to do now."""
    for _ in range(count):
        if not it.store.transact(lambda tx: it.store._writer.seat.upkeep.step()):
            return
    raise AssertionError("upkeep has no end")


def ids(store, stream):
    found, after, more = [], 0, True
    while more:
        page = store.transact(lambda tx, after=after: tx.page(stream, after))
        found += [record.id for record in page.records]
        after, more = page.upto, page.more
    return found


def dropped(store):
    """Facts of each announcement."""
    page = store.transact(lambda tx: tx.page(Stream.ALARM, 0, 10**7))
    alarms = [cbor2.loads(record.body) for record in page.records]
    return [alarm["facts"] for alarm in alarms if alarm["kind"] == "dropped"]


def announced(store, stream):
    return {
        n for each in dropped(store) if each["stream"] == stream.value for n in range(each["first"], each["last"] + 1)
    }


def day(it, clock, streams=tuple(Stream)):
    """One record of each stream, then a day of life."""
    for stream in streams:
        it.store.transact(lambda tx, stream=stream: tx.append(stream, BODY))
    for _ in range(4):
        clock.s += DAY_S / 4
        bites(it)


def test_records_are_kept_by_class_for_days_of_life_and_no_longer_than_a_day_more(path, by_hand, monkeypatch):
    monkeypatch.setattr(retention, "KEPT_DAYS", {**KEPT_DAYS, Stream.PROFILE: 5, Stream.RECEIPT: 12})
    clock = MovingClock()
    with running(path, clock=clock) as it:
        for n in range(1, 21):
            for stream in (Stream.PROFILE, Stream.RECEIPT):
                it.store.transact(lambda tx, stream=stream, n=n: tx.deliver(stream, n - 1))
            day(it, clock, (Stream.PROFILE, Stream.RECEIPT))
            assert min(ids(it.store, Stream.PROFILE)) in {max(1, n - 5), max(1, n - 4)}
            assert min(ids(it.store, Stream.RECEIPT)) in {max(1, n - 12), max(1, n - 11)}
        assert announced(it.store, Stream.PROFILE) == set(range(1, min(ids(it.store, Stream.PROFILE))))
        assert {each["reason"] for each in dropped(it.store)} == {"age"}
        stock = of(it.store.transact(lambda tx: tx.stock()), Stream.PROFILE)
        assert (stock.dropped, stock.held) == (stock.floor, 20 - stock.floor)


def test_the_days_are_those_that_were_promised():
    years = {stream for stream, days in KEPT_DAYS.items() if days == 400}
    assert years == {Stream.RECEIPT, Stream.ALARM, Stream.BILLING}
    assert {days for stream, days in KEPT_DAYS.items() if stream not in years} == {35} and set(KEPT_DAYS) == set(Stream)


@pytest.mark.parametrize("delivered", [0, 4, 20], ids=["nothing delivered", "some delivered", "all delivered"])
def test_the_cursor_that_uplink_claims_drops_nothing_early_and_an_outage_drops_nothing(path, by_hand, delivered):
    clock = MovingClock()
    with running(path, clock=clock) as it:
        for _ in range(20):
            day(it, clock, (Stream.PROFILE,))
        if delivered:
            it.store.transact(lambda tx: tx.deliver(Stream.PROFILE, delivered))
        for _ in range(14):
            day(it, clock, ())
        assert ids(it.store, Stream.PROFILE) == list(range(1, 21))
        for _ in range(10):
            day(it, clock, ())
        assert ids(it.store, Stream.PROFILE)[0] in {0: {1}, 4: {5}, 20: {9, 10, 11}}[delivered]


@pytest.mark.parametrize("years", [-56, -1, 1, 74])
def test_a_wall_clock_that_lies_drops_nothing(path, years):
    clock = MovingClock()
    with running(path, clock=clock) as it:
        for _ in range(3):
            day(it, clock, (Stream.PROFILE, Stream.HEALTH))
        clock.at = FixedClock.at + timedelta(days=365 * years)
        for _ in range(3):
            day(it, clock, (Stream.PROFILE, Stream.HEALTH))
        clock.at = FixedClock.at
        day(it, clock, (Stream.PROFILE, Stream.HEALTH))
        assert ids(it.store, Stream.PROFILE) == ids(it.store, Stream.HEALTH) == list(range(1, 8))
        assert dropped(it.store) == []


def test_what_is_given_up_is_announced_in_the_transaction_that_does_it(path, monkeypatch):
    """Whatever a crash leaves of the rows, what is announced is not offered, and what is not announced is."""
    clock = MovingClock()
    monkeypatch.setattr(dropping, "BITE", 5)
    with running(path, clock=clock) as it:
        it.store.transact(lambda tx: [tx.append(Stream.PROFILE, BODY) for _ in range(40)])
        it.store.transact(lambda tx: tx.deliver(Stream.PROFILE, 40))
        for _ in range(40):
            live(it.store, clock, DAY_S)
        it.store.transact(lambda tx: it.store._writer.seat.upkeep._retention.age())
        assert dropped(it.store)[0] | {"epoch": ""} == {
            "epoch": "",
            "stream": "profile",
            "first": 1,
            "last": 40,
            "reason": "age",
        }
        assert it.store.transact(lambda tx: tx.next_batch({Stream.ALARM: 10**6}, 10**6)) is None
    raw = sqlite3.connect(path)
    left = raw.execute("SELECT count(*) FROM record_profile").fetchone()[0]
    raw.close()
    assert left > 0, "they were all deleted at once"
    with running(path, clock=clock) as it:
        assert it.store.transact(lambda tx: tx.next_batch({Stream.ALARM: 10**6}, 10**6)) is None
        bites(it)
        assert len(dropped(it.store)) == 1
        assert it.store.transact(lambda tx: tx.append(Stream.PROFILE, BODY)) == 41
    raw = sqlite3.connect(path)
    assert raw.execute("SELECT id FROM record_profile").fetchall() == [(41,)]
    raw.close()


# ---- a full file


def pour(store, stream, count, body=BODY):
    for _ in range(count // 10):
        store.transact(lambda tx: [tx.append(stream, body) for _ in range(10)])


def test_a_full_file_sheds_the_oldest_readings_and_takes_new_ones(path):
    with running(path, page_limit=400) as it:
        pour(it.store, Stream.RECEIPT, 20)
        pour(it.store, Stream.BILLING, 20)
        pour(it.store, Stream.HEALTH, 100)
        it.store.transact(lambda tx: tx.deliver(Stream.HEALTH, 50))
        pour(it.store, Stream.PROFILE, 3000)
        bites(it)
        held = ids(it.store, Stream.PROFILE)
        assert held == list(range(held[0], 3001)) and held[0] > 1, "the oldest went, and no other"
        assert announced(it.store, Stream.PROFILE) == set(range(1, held[0]))
        assert {each["reason"] for each in dropped(it.store)} == {"no-room"}
        assert ids(it.store, Stream.HEALTH) == [] or ids(it.store, Stream.HEALTH)[0] > 50
        assert len(ids(it.store, Stream.RECEIPT)) == len(ids(it.store, Stream.BILLING)) == 20
        stock = it.store.transact(lambda tx: tx.stock())
        assert stock.used_bytes <= stock.limit_bytes <= 400 * 4096
        assert of(stock, Stream.PROFILE).held == len(held)
    assert path.stat().st_size <= 400 * 4096


def test_what_was_delivered_is_shed_before_what_was_not(path):
    with running(path, page_limit=400) as it:
        pour(it.store, Stream.PROFILE, 100)
        pour(it.store, Stream.HEALTH, 300)
        it.store.transact(lambda tx: tx.deliver(Stream.HEALTH, 300))
        pour(it.store, Stream.PROFILE, 1050)
        bites(it)
        assert ids(it.store, Stream.PROFILE) == list(range(1, 1151)), "not delivered, and all there"
        assert len(ids(it.store, Stream.HEALTH)) < 300


def test_readings_are_refused_when_nothing_is_left_to_shed_and_the_rest_still_fits(path):
    with running(path, page_limit=300) as it:
        while not it.store.transact(lambda tx: tx.accounts.closed):
            it.store.transact(lambda tx: [tx.journal(0, "x", BODY) for _ in range(5)])
            bites(it)
        with pytest.raises(Exception, match="nothing is left that could be shed"):
            it.store.transact(lambda tx: tx.append(Stream.PROFILE, BODY))
        for _ in range(10):
            it.store.transact(lambda tx: tx.journal(0, "x", b"entry"))
            it.store.transact(lambda tx: tx.append(Stream.RECEIPT, b"receipt"))
            it.store.transact(lambda tx: tx.append(Stream.ALARM, b"alarm"))
            it.store.transact(lambda tx: tx.reserve_counters("GXT1", 32, 0, 64))
            it.store.transact(lambda tx: tx.count("refusals"))
        it.store.transact(lambda tx: tx.deliver(Stream.RECEIPT, 10))


# ---- the ledger


def test_marks_and_spans_are_bounded_and_what_the_meter_may_still_show_is_known(path, monkeypatch):
    from dcu.store import trimming

    monkeypatch.setattr(trimming, "SPANS", 100)
    monkeypatch.setattr(trimming, "ROWS", 100)
    from running_store import LAYOUT, reading, row

    from dcu import obis
    from dcu.obis import LogicalName

    log = LogicalName.of("0.0.99.98.0.255")
    day_s = 1_795_305_600
    with running(path) as it:
        it.store.transact(lambda tx: tx.describe("GXT1", obis.BLOCK_LOAD, LAYOUT, 900, day_s))
        it.store.transact(lambda tx: tx.describe("GXT1", log, LAYOUT, 0, day_s, entries=10))
        for n in range(0, 300, 2):
            it.store.transact(lambda tx, n=n: tx.admit(reading([day_s + 900 * n])))
            it.store.transact(lambda tx, n=n: tx.admit_events(reading([day_s + n], profile=log)))
        it.store._writer.seat.upkeep._trim_s = 0.0
        bites(it)
        state = it.store.transact(lambda tx: tx.profile("GXT1", obis.BLOCK_LOAD))
        assert len(state.held) == 76 and state.since_s == state.held[0][0]
        newest = [day_s + n for n in range(200, 300, 2)]
        assert it.store.transact(lambda tx: tx.admit_events(reading(newest, profile=log))).rows == ()
        assert it.store.transact(lambda tx: tx.admit(reading([day_s + 900 * 298]))).rows == ()
        assert len(row(day_s).values) == 1
    raw = sqlite3.connect(path)
    assert raw.execute("SELECT count(*) FROM mark").fetchone()[0] <= 100
    raw.close()
