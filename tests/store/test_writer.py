"""The writer's loop: who waits shares a commit, who fails fails alone, and what is told is on the disk."""

import sqlite3
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from running_store import FixedClock, Running, reading, running

from dcu.errors import OperatorFault, StoreBusy, StoreDown, StoreFault, StoreFull
from dcu.mailbox import Stop
from dcu.record import Stream
from dcu.store import SqliteStore, writer
from dcu.store.database import Database


class Gate:
    """A work that holds the writer until it is opened, so that others must wait together."""

    def __init__(self, store):
        self.entered, self.go = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=lambda: store.transact(self._hold))

    def _hold(self, tx):
        self.entered.set()
        assert self.go.wait(10)

    def __enter__(self):
        self._thread.start()
        assert self.entered.wait(10)
        return self

    def __exit__(self, *_):
        self.go.set()
        self._thread.join(10)


def together(store, works, wait_s=10.0):
    """Post all works, in order, while the writer is held; what each returned or raised."""
    outcomes = [None] * len(works)

    def post(n):
        try:
            outcomes[n] = store.transact(works[n], wait_s=wait_s)
        except Exception as fault:
            outcomes[n] = fault

    threads = [threading.Thread(target=post, args=(n,)) for n in range(len(works))]
    with Gate(store):
        for waiting, thread in enumerate(threads, 1):
            thread.start()
            deadline = time.monotonic() + 10
            while len(store._writer._mailbox) < waiting and time.monotonic() < deadline:
                time.sleep(0.001)
    for thread in threads:
        thread.join(10)
    return outcomes


def append(body):
    return lambda tx: tx.append(Stream.PROFILE, body)


def kept(store):
    part = store.transact(lambda tx: tx.next_batch({}, 10**7))
    return [] if part is None else list(part.bodies)


def test_eight_threads(store):
    def serve(name):
        for n in range(40):
            given = store.transact(append(b"%d.%d" % (name, n)))
            assert store.transact(lambda tx: tx.cursors())[Stream.PROFILE][1] >= given
            store.transact(lambda tx: tx.count("works"))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(serve, range(8)))
    bodies = kept(store)
    assert len(bodies) == len(set(bodies)) == 320
    for name in range(8):
        own = [body for body in bodies if body.startswith(b"%d." % name)]
        assert own == [b"%d.%d" % (name, n) for n in range(40)]
    assert store.transact(lambda tx: tx.counts()) == {"works": 320}


def test_works_that_wait_together_share_one_commit_and_one_fails_alone(store, monkeypatch):
    commits = []
    control = Database.control

    def counting(self, sql):
        if sql == "COMMIT":
            commits.append(sql)
        control(self, sql)

    def broken(tx):
        tx.append(Stream.PROFILE, b"never")
        tx.journal(1, "never", b"")
        raise OperatorFault("on purpose")

    monkeypatch.setattr(Database, "control", counting)
    outcomes = together(store, [append(b"a"), broken, append(b"b"), lambda tx: 1 // 0, append(b"c")])
    assert [type(o) for o in outcomes] == [int, OperatorFault, int, ZeroDivisionError, int]
    assert [o for o in outcomes if isinstance(o, int)] == [1, 2, 3]
    assert len(commits) == 2, "one for the gate, one for the five"
    assert kept(store) == [b"a", b"b", b"c"]
    assert store.transact(lambda tx: tx.verify_journal())[0] == 0


def test_a_work_that_waited_too_long_is_never_run(store):
    outcomes = together(store, [append(b"late")])
    assert outcomes == [1]  # the gate opens as soon as it waits: it was in time
    with Gate(store), pytest.raises(StoreDown, match="was not begun and never will be"):
        store.transact(append(b"too late"), wait_s=0.02)
    assert kept(store) == [b"late"]


def test_a_work_that_takes_too_long_may_yet_be_committed(store):
    go = threading.Event()

    def slow(tx):
        tx.count("slow")
        assert go.wait(10)

    with pytest.raises(StoreBusy, match="may or may not be committed"):
        store.transact(slow, wait_s=0.05)
    go.set()
    assert store.transact(lambda tx: tx.counts()) == {"slow": 1}


def test_too_many_who_wait_are_refused_at_once(path, monkeypatch):
    monkeypatch.setattr(writer, "CAPACITY", 2)
    with running(path) as it, ThreadPoolExecutor(2) as pool:
        with Gate(it.store):
            waiting = [pool.submit(it.store.transact, append(b"x")) for _ in range(2)]
            deadline = time.monotonic() + 10
            while len(it.store._writer._mailbox) < 2 and time.monotonic() < deadline:
                time.sleep(0.001)
            with pytest.raises(StoreDown, match="works wait already"):
                it.store.transact(append(b"y"))
        assert sorted(one.result(10) for one in waiting) == [1, 2]


def test_a_transaction_outside_of_its_work_is_refused(store):
    leaked = []
    store.transact(leaked.append)
    with pytest.raises(RuntimeError, match="nowhere else"):
        leaked[0].count("x")
    assert store.transact(lambda tx: tx.counts()) == {}


def test_what_waits_at_the_end_is_still_committed_and_later_work_refused(path):
    with running(path) as it:
        with Gate(it.store) as gate, ThreadPoolExecutor(4) as pool:
            last = [pool.submit(it.store.transact, append(b"last")) for _ in range(4)]
            deadline = time.monotonic() + 10
            while len(it.store._writer._mailbox) < 4 and time.monotonic() < deadline:
                time.sleep(0.001)
            it.stop.set()
            gate.go.set()
        assert sorted(one.result() for one in last) == [1, 2, 3, 4]
        it._thread.join(10)
        with pytest.raises(StoreFault, match="the store is closed"):
            it.store.transact(append(b"later"))
    with running(path) as it:
        assert kept(it.store) == [b"last"] * 4


def test_it_beats_while_nothing_is_to_be_done(path, monkeypatch):
    monkeypatch.setattr(writer, "TURN_S", 0.01)
    with running(path) as it:
        deadline = time.monotonic() + 10
        while it.beats < 5 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert it.beats >= 5


def test_the_bell_rings_after_each_commit_that_kept_records_and_after_no_other(path):
    rung = threading.Semaphore(0)
    with running(path, on_append=rung.release) as it:
        it.store.transact(lambda tx: tx.count("no record"))
        it.store.transact(append(b"x"))
        assert rung.acquire(timeout=10)
        it.store.transact(lambda tx: tx.count("no record"))
        it.store.transact(lambda tx: tx.admit(reading([900, 1800])))
        assert rung.acquire(timeout=10)
    assert not rung.acquire(blocking=False)


# ---- no room


BIG = b"x" * 3900


ENTRY = b"e" * 3900


def fill(store):
    """With what is never shed."""
    given = 0
    with pytest.raises(StoreFull, match="the page limit or the disk is reached"):
        while given < 10_000:
            given, _ = store.transact(lambda tx: tx.journal(0, "x", ENTRY))
    return given


def test_a_full_store_keeps_what_it_has_and_goes_on(path):
    with running(path, page_limit=120) as it:
        given = it.store.transact(append(b"kept"))
        entries = fill(it.store)
        with pytest.raises(StoreFull, match="no room for readings"):
            it.store.transact(append(BIG))
        it.store.transact(lambda tx: tx.deliver(Stream.PROFILE, given))
        assert it.fault is None
    assert path.stat().st_size <= 120 * 4096
    raw = sqlite3.connect(path, isolation_level=None)
    assert raw.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert raw.execute("SELECT count(*), max(n) FROM journal WHERE body = ?", (ENTRY,)).fetchone() == (entries,) * 2
    raw.execute("DELETE FROM journal WHERE n < 20")
    raw.close()
    with running(path, page_limit=120) as it:
        assert it.store.transact(append(BIG)) == given + 1, "room again, and no id was lost to the refused ones"


def test_a_work_without_room_does_not_take_those_behind_it_along(path):
    with running(path, page_limit=120) as it:
        given = fill(it.store)
        glutton = lambda tx: tx.append(Stream.ALARM, b"x" * 10**6)  # noqa: E731
        outcomes = together(it.store, [lambda tx: tx.count("before"), glutton, lambda tx: tx.count("behind")])
        assert [type(outcome) for outcome in outcomes] == [StoreFull, StoreFull, type(None)]
        assert it.store.transact(lambda tx: tx.counts()) == {"behind": 1}
        assert it.store.transact(lambda tx: tx.journal_head())[0] == given


def test_a_work_that_swallows_the_fault_is_not_committed_in_pieces(path):
    with running(path, page_limit=120) as it:
        fill(it.store)

        def stubborn(tx):
            tx.count("before")
            try:
                tx.append(Stream.ALARM, b"x" * 10**6)
            except StoreFull:
                tx.count("after")

        with pytest.raises(StoreFault, match="rolled back"):
            it.store.transact(stubborn)
        assert it.store.transact(lambda tx: tx.counts()) == {}


def test_a_reading_without_room_is_not_marked_as_held(path):
    with running(path, page_limit=120) as it:
        fill(it.store)
        slots = [900 * n for n in range(2000)]
        with pytest.raises(StoreFull):
            it.store.transact(lambda tx: tx.admit(reading(slots)))
        it.store.transact(lambda tx: tx.describe("GXT1", reading([]).profile, reading([]).layout, 900, 0))
        assert it.store.transact(lambda tx: tx.profile("GXT1", reading([]).profile)).held == ()


@pytest.mark.parametrize("fault", [StoreFull, StoreFault])
def test_a_commit_that_is_refused_is_rolled_back(path, monkeypatch, fault):
    control = Database.control

    def refuse(self, sql):
        if sql == "COMMIT":
            raise fault("on purpose")
        control(self, sql)

    it = Running(path)
    with monkeypatch.context() as patched:
        patched.setattr(Database, "control", refuse)
        with pytest.raises(fault, match="on purpose"):
            it.store.transact(append(b"never"))
    if fault is StoreFull:
        assert it.store.transact(append(b"the loop goes on")) == 1
    it.end()
    assert type(it.fault) is (type(None) if fault is StoreFull else StoreFault)
    with running(path) as again:
        assert kept(again.store) == ([b"the loop goes on"] if fault is StoreFull else [])


def test_the_loop_that_never_ran_answers_nobody(path):
    store = SqliteStore.open(path, stop=Stop(), clock=FixedClock(), beat=lambda: None, dcu="A")
    with pytest.raises(StoreDown, match="not begun"):
        store.transact(append(b"x"), wait_s=0.01)
    store.close()
