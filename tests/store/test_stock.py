"""What is held and for how long it is enough, pages of it, and the store of a stopped box."""

import sqlite3
from datetime import timedelta

import pytest
from running_store import LAYOUT, FixedClock, running

from dcu.errors import StoreFault
from dcu.record import Stream
from dcu.store import Archive, check
from dcu.store.accounts import KEEP_S


class MovingClock(FixedClock):
    """Both clocks go on by hand."""

    def __init__(self):
        self.s = 0.0

    def now(self):
        return self.at + timedelta(seconds=self.s)

    def monotonic_s(self):
        return self.s


def live(store, clock, seconds):
    """The store lives on for so long."""
    clock.s += seconds
    store.transact(lambda tx: tx.accounts.keep())


def of(stock, stream):
    [found] = [each for each in stock.streams if each.stream is stream]
    return found


def test_an_empty_store_holds_nothing_and_says_no_rate(store):
    stock = store.transact(lambda tx: tx.stock())
    assert {(each.held, each.undelivered, each.octets, each.dropped, each.oldest_s) for each in stock.streams} == {
        (0, 0, 0, 0, None)
    }
    assert stock.holds_s is None and stock.bytes_per_day is None and 0 < stock.used_bytes < stock.limit_bytes


def test_a_day_of_records_tells_for_how_many_days_there_is_room(path):
    clock = MovingClock()
    with running(path, clock=clock, page_limit=10_000) as it:
        for _ in range(96):
            it.store.transact(lambda tx: [tx.append(Stream.PROFILE, b"x" * 972) for _ in range(10)])
            live(it.store, clock, KEEP_S)
        it.store.transact(lambda tx: tx.deliver(Stream.PROFILE, 480))
        stock = it.store.transact(lambda tx: tx.stock())
    mine = of(stock, Stream.PROFILE)
    assert (mine.last, mine.delivered, mine.held, mine.undelivered) == (960, 480, 960, 480)
    assert mine.octets == 960 * 972
    assert mine.per_day == pytest.approx(960, rel=0.02)
    assert stock.bytes_per_day == pytest.approx(960 * 1000, rel=0.15)
    assert stock.limit_bytes == pytest.approx(10_000 * 4096 * 0.95, rel=0.001)
    days = (stock.limit_bytes - stock.used_bytes + 0.5 * stock.bytes_per_day) / stock.bytes_per_day
    assert stock.holds_s / 86_400 == pytest.approx(days, rel=0.05)
    assert mine.newest_s - mine.oldest_s == 95 * KEEP_S


def test_the_rate_follows_the_last_day(path):
    clock = MovingClock()
    with running(path, clock=clock) as it:
        for day in range(3):
            for _ in range(4):
                it.store.transact(lambda tx, n=day: [tx.append(Stream.HEALTH, b"y" * 100) for _ in range(1 + 9 * n)])
                live(it.store, clock, 6 * 3600)
        assert of(it.store.transact(lambda tx: tx.stock()), Stream.HEALTH).per_day == pytest.approx(76, rel=0.01)


def test_a_life_goes_on_where_the_last_one_ended(path):
    clock = MovingClock()
    with running(path, clock=clock) as it:
        live(it.store, clock, 5000)
    with running(path, clock=clock) as it:
        live(it.store, clock, 1000)
        assert it.store.transact(lambda tx: tx.accounts.lived_s()) == 6000


def walk(page, stream=Stream.PROFILE, max_bytes=65_536):
    after, pages = 0, []
    while True:
        pages.append(page(stream, after, max_bytes))
        if not pages[-1].more:
            return pages
        assert pages[-1].upto > after
        after = pages[-1].upto


@pytest.mark.parametrize("max_bytes", [1, 100, 999, 65_536])
def test_pages_have_every_record_once_and_are_bounded(store, max_bytes):
    bodies = [bytes([n]) * (50 * (n % 5)) for n in range(1, 150)]
    store.transact(lambda tx: [tx.append(Stream.PROFILE, body, LAYOUT) for body in bodies])
    store.transact(lambda tx: tx.deliver(Stream.PROFILE, 70))
    pages = walk(lambda *how: store.transact(lambda tx: tx.page(*how)), max_bytes=max_bytes)
    records = [record for page in pages for record in page.records]
    assert [(r.id, r.body) for r in records] == list(enumerate(bodies, 1))
    assert all(sum(len(r.body) for r in page.records) <= max_bytes or len(page.records) == 1 for page in pages)
    assert all(set(page.layouts) == {r.layout for r in page.records} for page in pages)


@pytest.mark.parametrize("after", [-(10**30), 10**30])
def test_a_page_beyond_all_sense_is_empty_or_the_first(store, after):
    store.transact(lambda tx: tx.append(Stream.PROFILE, b"a"))
    assert len(store.transact(lambda tx: tx.page(Stream.PROFILE, after)).records) == (after < 0)


def test_pages_leave_out_what_is_damaged_and_say_so(path, monkeypatch):
    monkeypatch.setattr(check, "NEWEST", 0)
    with running(path) as it:
        it.store.transact(lambda tx: [tx.append(Stream.PROFILE, b"%d" % n, LAYOUT) for n in range(5)])
    raw = sqlite3.connect(path, isolation_level=None)
    raw.execute("UPDATE record_profile SET body = x'00' WHERE id = 3")
    raw.execute("UPDATE layout SET encoded = x'00'")
    raw.close()
    with running(path) as it:
        page = it.store.transact(lambda tx: tx.page(Stream.PROFILE, 0))
    assert ([r.id for r in page.records], page.damaged, page.layouts) == ([1, 2, 4, 5], (3,), {})


def test_the_store_of_a_stopped_box_is_read_and_left_as_it_was(path):
    with running(path) as it:
        it.store.transact(lambda tx: [tx.append(Stream.PROFILE, b"%d" % n, LAYOUT) for n in range(5)])
        it.store.transact(lambda tx: tx.deliver(Stream.PROFILE, 2))
        epoch = it.store.epoch
    before = path.read_bytes()
    archive = Archive(path)
    assert archive.identity == ("JH-RNC-0042", epoch)
    assert (of(archive.stock(), Stream.PROFILE).held, of(archive.stock(), Stream.PROFILE).undelivered) == (5, 3)
    assert [r.body for page in walk(archive.page) for r in page.records] == [b"0", b"1", b"2", b"3", b"4"]
    with running(path) as it:  # reading on does not keep the box from starting
        it.store.transact(lambda tx: tx.count("x"))
        with pytest.raises(StoreFault, match=r"its box runs; ask it through field\.sock"):
            archive.page(Stream.PROFILE, 0)
    assert path.read_bytes()[:16] == before[:16]


def test_what_was_killed_is_read_with_its_log(path, tmp_path):
    """A copy that is taken while the box runs is what kill -9 leaves: the newest commits are in the log only."""
    copy = tmp_path / "copy" / "dcu.db"
    copy.parent.mkdir()
    with running(path) as it:
        it.store.transact(lambda tx: tx.append(Stream.PROFILE, b"only in the log"))
        copy.write_bytes(path.read_bytes())
        copy.with_name("dcu.db-wal").write_bytes(path.with_name("dcu.db-wal").read_bytes())
    assert [r.body for r in Archive(copy).page(Stream.PROFILE, 0).records] == [b"only in the log"]


def test_no_store_an_old_one_and_a_strangers_are_refused(path, tmp_path):
    with pytest.raises(StoreFault, match="there is no store"):
        Archive(tmp_path / "none.db")
    sqlite3.connect(tmp_path / "other.db").execute("CREATE TABLE book (title TEXT)")
    with pytest.raises(StoreFault, match="a database, but not a store"):
        Archive(tmp_path / "other.db")
    with running(path):
        pass
    raw = sqlite3.connect(path, isolation_level=None)
    raw.execute("DELETE FROM _sqlite_migrations WHERE name LIKE '0005%'")
    raw.close()
    with pytest.raises(StoreFault, match="written by an older program; start the box once"):
        Archive(path)
