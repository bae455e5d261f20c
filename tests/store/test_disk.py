"""Disks that are full, read-only or fail, and come back: nothing is lost that was told done, and no hand is needed."""

import os
import resource
import sqlite3
import subprocess
import threading
import time
from contextlib import contextmanager

import cbor2
import pytest
from running_store import Running, running
from test_retention import BODY, ids, pour
from test_writer import Gate, append, together

from dcu.errors import Fate, StoreBusy, StoreDown, StoreFault, StoreFull
from dcu.ports import Seal
from dcu.record import Stream
from dcu.store import SealedFile, memory, pace, writer
from dcu.store.database import Database
from dcu.store.limits import has_room_beside, page_limit_of, sealed_file

WAIT_S = 30


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(writer, "TURN_S", 0.01)
    monkeypatch.setattr(writer, "PAUSE_S", 0.001)
    monkeypatch.setattr(writer, "AGAIN_FIRST_S", 0.0)
    monkeypatch.setattr(writer, "AGAIN_MOST_S", 0.0)


def until(condition, what):
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain: {what}"
        time.sleep(0.005)


def alarms(store, kind):
    records = store.transact(lambda tx: tx.page(Stream.ALARM, 0, 10**7)).records
    found = [cbor2.loads(record.body) for record in records]
    return [alarm for alarm in found if alarm["kind"] == kind]


@contextmanager
def no_growth():
    """No file of this process may grow (RLIMIT_FSIZE): each write beyond fails, as on a broken card."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_a_write_that_fails_is_told_to_all_and_the_store_comes_back_by_itself(path):
    with running(path) as it:
        it.store.transact(append(b"before"))
        with no_growth():
            outcomes = together(it.store, [append(b"x" * 9000), append(b"y" * 9000)])
            assert [type(outcome) for outcome in outcomes] == [StoreDown, StoreDown]
            assert outcomes[0].fate is Fate.SHED_LOAD
            until(lambda: it.store.condition != "ok", "it is down")
            with pytest.raises(StoreDown, match="dcu.db"):
                it.store.transact(append(b"while down"))
            it.store.keep(append(b"kept 1"))
            it.store.keep(append(b"kept 2"))
        until(lambda: it.store.condition == "ok" and not len(it.store._writer.memory), "it is up")
        assert it.store.transact(append(b"after")) == 4
        found = it.store.transact(lambda tx: tx.page(Stream.PROFILE, 0)).records
        assert [record.body for record in found] == [b"before", b"kept 1", b"kept 2", b"after"]
        [trouble] = alarms(it.store, "store-trouble")
        assert trouble["facts"]["kept"] == 2 and "SQLITE_IOERR" in trouble["facts"]["cause"]
        assert it.fault is None


def test_the_memory_is_bounded_the_oldest_goes_and_that_is_told(path):
    with running(path) as it:
        it.store._writer.memory = memory.Memory(5 * memory.WORK_BYTES)
        with no_growth():
            with pytest.raises(StoreFault):
                it.store.transact(append(b"x" * 9000))
            until(lambda: it.store.condition != "ok", "it is down")
            kept = [it.store.keep(append(b"%d" % n)) for n in range(12)]
            assert [each.waits for each in kept] == [False] * 7 + [True] * 5
        until(lambda: it.store.condition == "ok" and not len(it.store._writer.memory), "it is up")
        found = it.store.transact(lambda tx: tx.page(Stream.PROFILE, 0, 10**7)).records
        assert [int(record.body) for record in found] == [7, 8, 9, 10, 11]
        [trouble] = alarms(it.store, "store-trouble")
        assert (trouble["facts"]["kept"], trouble["facts"]["lost"]) == (5, 7)
        assert not any(each.waits for each in kept)


def test_the_memory_counts_what_its_works_hold():
    ring = memory.Memory(100_000)
    small = [ring.keep(append(b"small")) for _ in range(20)]
    large = ring.keep(append(b"large"), 88_000)
    assert [each.waits for each in small] == [False] * 15 + [True] * 5 and ring.lost == 15
    taken = ring.take(10)
    assert len(taken) == 6 and len(ring) == 0
    ring.put_back(taken)
    assert ring.keep(append(b"beyond all"), 10**9).waits and not large.waits and len(ring) == 1


def test_what_was_lost_is_told_however_full_the_memory_is():
    """The alarm was the oldest of all: the next work that was kept pushed it out."""
    ring = memory.Memory(5 * memory.WORK_BYTES)
    for n in range(6):
        ring.keep(append(b"%d" % n))
    alarm = memory.Kept(append(b"trouble"), memory.WORK_BYTES, lasting=True)
    assert ring.told() == 1 and ring.told() == 0
    ring.put_first(alarm)
    late = [ring.keep(append(b"late")) for _ in range(9)]
    assert alarm.waits and late[-1].waits and ring.told() == 10
    taken = ring.take(2)
    assert taken[0] is alarm
    ring.put_back(taken)
    assert ring.keep(append(b"beyond all"), 10**9).waits and alarm.waits and len(ring) == 2


def test_the_alarms_of_a_memory_have_a_number():
    ring = memory.Memory()
    alarms = [memory.Kept(append(b"trouble"), 0, lasting=True) for _ in range(memory.LASTING + 2)]
    for alarm in alarms:
        ring.put_first(alarm)
    assert len(ring) == memory.LASTING and alarms[-1].waits and ring.told() == 2


def test_what_finds_no_room_in_the_store_after_it_waited_is_told(path):
    with running(path, page_limit=120) as it:
        it.store.keep(append(b"small"))
        wide = [it.store.keep(lambda tx: tx.append(Stream.ALARM, b"x" * 10**6)) for _ in range(2)]
        until(lambda: not any(each.waits for each in wide) and alarms(it.store, "store-trouble"), "it is told")
        facts = [each["facts"] for each in alarms(it.store, "store-trouble")]
        assert facts[0]["lost"] >= 1 and "no room" in facts[0]["cause"] and it.fault is None


def test_a_kept_work_that_is_at_fault_itself_hinders_no_other(path):
    with running(path) as it:
        it.store.keep(lambda tx: 1 // 0)
        it.store.keep(append(b"good"))
        until(lambda: it.store.transact(lambda tx: tx.cursors())[Stream.PROFILE] == (0, 1), "it is kept")
        assert not len(it.store._writer.memory) and it.fault is None


def test_after_a_failed_sync_the_log_is_written_out_before_anything_is_added(path, monkeypatch):
    """The pages of a failed sync may never reach the disk: a log that simply went on would have a hole."""
    said = []
    control = Database.control

    def failing(self, sql):
        said.append(sql)
        if sql == "COMMIT" and said.count("COMMIT") == 1:
            control(self, "COMMIT")
            raise StoreDown("SQLITE_IOERR_FSYNC: disk I/O error", place="dcu.db")
        control(self, sql)

    with running(path) as it:
        monkeypatch.setattr(Database, "control", failing)
        said.clear()
        with pytest.raises(StoreDown):
            it.store.transact(append(b"perhaps"))
        until(lambda: "PRAGMA wal_checkpoint(TRUNCATE)" in said and it.store.condition == "ok", "it is up")
        it.store.transact(append(b"after"))
        after = said[said.index("COMMIT") + 1 :]
        assert "PRAGMA wal_checkpoint(TRUNCATE)" in after
        first = 1 + after.index("COMMIT")  # of the look at the file when it was opened
        assert after.index("PRAGMA wal_checkpoint(TRUNCATE)") == first, "nothing was added before"


def test_a_disk_that_does_not_answer_is_waited_for_by_one_and_the_others_are_told_at_once(path, monkeypatch):
    monkeypatch.setattr(pace, "STALLED_S", 0.01)
    with running(path) as it:
        with Gate(it.store):
            with pytest.raises(StoreDown, match="not begun"):
                it.store.transact(append(b"waits in vain"), wait_s=0.05)
            with pytest.raises(StoreDown, match="has not answered"):
                it.store.transact(append(b"refused"), wait_s=WAIT_S)
            assert "has not answered" in it.store.condition
            it.store.keep(append(b"kept"))
        until(lambda: it.store.condition == "ok" and not len(it.store._writer.memory), "it answers")
        it.store.transact(append(b"after"))
        found = it.store.transact(lambda tx: tx.page(Stream.PROFILE, 0)).records
        assert [record.body for record in found] == [b"kept", b"after"]
        [trouble] = alarms(it.store, "store-trouble")
        assert trouble["facts"]["kept"] == 1 and "did not answer" in trouble["facts"]["cause"]


def test_the_very_caller_whose_work_stalls_says_so(path, monkeypatch):
    monkeypatch.setattr(pace, "STALLED_S", 0.01)
    entered, go = threading.Event(), threading.Event()

    def hang(_tx):
        entered.set()
        assert go.wait(WAIT_S)

    with running(path) as it:
        with pytest.raises(StoreBusy, match="may or may not"):
            it.store.transact(hang, wait_s=1.0)
        assert entered.is_set() and it.store.condition != "ok"
        go.set()
        until(lambda: it.store.condition == "ok", "it answers")


def test_a_caller_with_little_patience_says_nothing_of_the_disk(path):
    with running(path) as it:
        with Gate(it.store):
            with pytest.raises(StoreDown):
                it.store.transact(append(b"impatient"), wait_s=0.01)
            assert it.store.condition == "ok"
        assert it.store.transact(append(b"after")) == 1
        assert alarms(it.store, "store-trouble") == []


# ---- disks of our own


def mounted(target, *options):
    if os.geteuid():
        pytest.skip("mounting a small disk needs root")
    done = subprocess.run(["mount", *options, target], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"this machine mounts nothing: {done.stderr.strip()}")


@pytest.fixture
def disk(tmp_path):
    """A disk of 6 MB."""
    target = tmp_path / "disk"
    target.mkdir()
    mounted(target, "-t", "tmpfs", "-o", "size=6m", "none")
    yield target
    subprocess.run(["umount", "-l", target], check=False)


def stuff(disk):
    """Others fill the disk to its last octet."""
    with pytest.raises(OSError), (disk / "others.log").open("ab", buffering=0) as others:
        while True:
            others.write(b"x" * 65_536)
    with (disk / "others.log").open("ab", buffering=0) as others:
        for size in (4096, 512, 1):
            with pytest.raises(OSError):
                while True:
                    others.write(b"x" * size)


@pytest.fixture
def full(disk):
    """A store whose disk others have filled: 300 records, of which 100 were delivered."""
    with running(disk / "dcu.db", page_limit=5000) as it:
        until((disk / "dcu.db.ballast").exists, "the ballast")
        pour(it.store, Stream.PROFILE, 300)
        it.store.transact(lambda tx: tx.deliver(Stream.PROFILE, 100))
        stuff(disk)
        yield it


def test_on_a_disk_that_others_have_filled_the_cursor_moves_and_readings_are_shed(disk, full):
    store = full.store
    assert os.statvfs(disk).f_bavail == 0
    last, refused = 0, 0
    for n in range(600):
        try:
            if n % 50 == 0:
                store.transact(lambda tx: tx.journal(0, "x", b"entry"))
                store.transact(lambda tx: tx.append(Stream.RECEIPT, b"receipt"))
            last = store.transact(lambda tx: tx.append(Stream.PROFILE, BODY))
        except StoreFull:  # the one that finds the disk full
            refused += 1
    store.transact(lambda tx: tx.deliver(Stream.PROFILE, last))
    held = ids(store, Stream.PROFILE)
    assert held == list(range(held[0], last + 1)) and held[0] > 1 and len(held) > 100
    assert refused <= 2 and full.fault is None
    assert not (disk / "dcu.db.ballast").exists()
    dropped = alarms(store, "dropped")
    assert dropped[0]["facts"]["first"] == 1 and dropped[-1]["facts"]["last"] == held[0] - 1
    (disk / "others.log").unlink()
    full.store._writer.seat.upkeep._look_s = 0.0
    until((disk / "dcu.db.ballast").exists, "the ballast is made anew")
    assert len(ids(store, Stream.RECEIPT)) >= 11


def test_a_store_is_opened_on_a_disk_that_is_full(disk):
    with running(disk / "dcu.db", page_limit=5000) as it:
        until((disk / "dcu.db.ballast").exists, "the ballast")
        pour(it.store, Stream.PROFILE, 300)
    stuff(disk)
    with running(disk / "dcu.db", page_limit=5000) as it:
        until(lambda: it.store.condition == "ok", "it is open")
        assert len(ids(it.store, Stream.PROFILE)) == 300
        it.store.transact(lambda tx: tx.deliver(Stream.PROFILE, 10))


def test_a_box_that_starts_on_a_read_only_disk_waits_for_it(disk):
    path = disk / "dcu.db"
    with running(path) as it:
        it.store.transact(append(b"before"))
        epoch = it.store.epoch
    mounted(disk, "-o", "remount,ro")
    it = Running(path)
    with pytest.raises(StoreDown, match="tried again"):
        it.store.transact(append(b"refused"))
    with pytest.raises(StoreDown):
        _ = it.store.epoch
    it.store.keep(append(b"kept"))
    beats = it.beats
    until(lambda: it.beats > beats + 3, "the watchdog is fed")
    mounted(disk, "-o", "remount,rw")
    until(lambda: it.store.condition == "ok" and not len(it.store._writer.memory), "it is open")
    assert it.store.transact(append(b"after")) == 3 and it.store.epoch == epoch
    it.end()
    assert it.fault is None


def test_a_file_system_that_turns_read_only_under_way_is_waited_for(tmp_path):
    """As ext4 does on an error of its own (mount option `abort`), on a loop device."""
    image, target = tmp_path / "image", tmp_path / "disk"
    target.mkdir()
    image.write_bytes(b"")
    os.truncate(image, 32 * 2**20)
    if subprocess.run(["mkfs.ext4", "-q", "-F", image], capture_output=True, check=False).returncode:
        pytest.skip("no mkfs.ext4")
    mounted(target, "-o", "loop,errors=remount-ro", image)
    try:
        it = Running(target / "dcu.db")
        last = it.store.transact(append(b"before"))
        mounted(target, "-o", "remount,abort")
        with pytest.raises(StoreFault):
            for _ in range(50):
                last = it.store.transact(append(b"told" * 100))
        until(lambda: it.store.condition != "ok", "it is down")
        it.store.keep(append(b"kept"))
        with pytest.raises(StoreDown):
            it.store.transact(append(b"refused"))
        assert it.fault is None and it._thread.is_alive()
        it.stop.set()
        it._thread.join(WAIT_S)
        it.store.close()
        subprocess.run(["umount", target], check=True)
        subprocess.run(["fsck.ext4", "-fy", image], capture_output=True, check=False)
        mounted(target, "-o", "loop", image)
        with running(target / "dcu.db") as again:
            found = again.store.transact(lambda tx: tx.page(Stream.PROFILE, 0, 10**7)).records
            assert len(found) >= last, "what was told is there"
    finally:
        subprocess.run(["umount", "-l", target], capture_output=True, check=False)


def test_a_shell_that_holds_the_file_delays_a_start_and_cannot_get_in_later(path, monkeypatch):
    monkeypatch.setattr("dcu.store.opening.BUSY_S", 0.05)
    with running(path) as it:
        it.store.transact(append(b"x"))
        shell = sqlite3.connect(path, timeout=0)
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            shell.execute("BEGIN EXCLUSIVE")
        shell.close()
        it.store.transact(append(b"y"))
    shell = sqlite3.connect(path, isolation_level=None)
    shell.execute("BEGIN EXCLUSIVE")
    with pytest.raises(StoreFault, match="another process has the store open"):
        Running(path)
    shell.close()
    with running(path) as it:
        assert ids(it.store, Stream.PROFILE) == [1, 2]


def test_the_log_stays_bounded_whatever_a_transaction_was(path, monkeypatch):
    monkeypatch.setattr("dcu.store.opening.LOG_BYTES", 2**20)
    with running(path) as it:
        it.store.transact(append(b"x" * 20 * 2**20))
        log = path.with_name("dcu.db-wal")
        assert log.stat().st_size > 10 * 2**20
        for _ in range(20):
            it.store.transact(append(b"y" * 8192))
        assert log.stat().st_size <= 6 * 2**20


def test_the_limit_follows_the_disk(disk, path):
    assert page_limit_of(disk / "dcu.db") == 16 * 256
    assert page_limit_of(disk / "dcu.db", 100) == 25_600
    assert 16 * 256 <= page_limit_of(path) <= 2048 * 256


def test_the_limit_is_the_same_whatever_of_the_disk_the_store_and_its_cache_have(tmp_path):
    target = tmp_path / "large"
    target.mkdir()
    mounted(target, "-t", "tmpfs", "-o", "size=100m", "none")
    try:
        path, before = target / "dcu.db", page_limit_of(target / "dcu.db")
        assert 38 * 256 <= before <= 40 * 256
        path.write_bytes(bytes(10 * 2**20))
        assert sealed_file(path) == target / "dcu-sealed.db" and page_limit_of(path) == before
        sealed_file(path).write_bytes(bytes(20 * 2**20))
        assert page_limit_of(path) == before, "what the cache has is the store's when it is wanted"
        (target / "others.log").write_bytes(bytes(20 * 2**20))
        assert page_limit_of(path) <= before - 7 * 256
    finally:
        subprocess.run(["umount", "-l", target], check=False)


@pytest.mark.parametrize(
    ("pages", "store_mb", "others_mb", "spare", "room"),
    [
        (512, 0, 0, 0, True),
        (768, 0, 0, 0, True),
        (769, 0, 0, 0, False),
        (512, 0, 2, 0, True),
        (512, 0, 3, 0, False),
        (512, 1, 1, 0, True),
        (512, 1, 2, 0, True),
        (512, 2, 3, 0, False),
        (512, 0, 0, 512, True),
        (512, 0, 0, 513, False),
        (10**6, 0, 0, 0, False),
    ],
)
def test_room_beside_is_for_the_store_at_its_limit_and_a_second_one(disk, pages, store_mb, others_mb, spare, room):
    """Of 6 MB; 256 pages are a megabyte."""
    path = disk / "dcu.db"
    path.write_bytes(bytes(store_mb * 2**20))
    (disk / "others.log").write_bytes(bytes(others_mb * 2**20))
    assert has_room_beside(path, pages, spare) is room


def test_there_is_no_room_beside_a_store_that_is_not_there(disk):
    assert not has_room_beside(disk / "dcu.db", 1) and not has_room_beside(disk / "nowhere" / "dcu.db", 1)


def test_a_cache_of_payloads_on_a_disk_that_others_fill(disk):
    path, seals = disk / "dcu.db", [Seal(Stream.PROFILE, n * 10 + 1, n * 10 + 10, 900, n) for n in range(100)]
    path.touch()
    cache = SealedFile(path, 600)
    cache.begin("e")
    assert not cache.is_in_the_way() and all(cache.add("e", each, b"x" * 3000) for each in seals[:50])
    (disk / "others.log").write_bytes(bytes(disk_free(disk) - 2 * 600 * 4096 - 10_000))
    assert not cache.is_in_the_way() and not cache.add("e", seals[50], b"x" * 3000), "some room is left to others"
    stuff(disk)
    assert cache.is_in_the_way() and not cache.add("e", seals[50], b"x" * 3000)
    assert [cache.payload("e", each) for each in seals[:50]] == [b"x" * 3000] * 50
    cache.forget({Stream.PROFILE: 100})  # may find no room to
    assert cache.payload("e", seals[49]) == b"x" * 3000
    cache.discard()
    assert disk_free(disk) > 50 * 3000
    stuff(disk)
    cache.begin("e")
    assert not cache.add("e", seals[50], b"x" * 3000)
    cache.close()


def disk_free(disk):
    return os.statvfs(disk).f_bavail * 4096


def test_threads_that_ask_while_it_goes_down_all_hear_of_it(path):
    with running(path) as it:
        outcomes = []

        def ask():
            for _ in range(40):
                try:
                    it.store.transact(append(b"z" * 9000))
                    outcomes.append("told")
                except StoreFault as fault:
                    outcomes.append(type(fault))

        threads = [threading.Thread(target=ask) for _ in range(6)]
        for thread in threads:
            thread.start()
        with no_growth():
            until(lambda: StoreDown in outcomes, "it is down")
        for thread in threads:
            thread.join(WAIT_S)
        assert len(outcomes) == 240 and set(outcomes) <= {"told", StoreDown}
        until(lambda: it.store.condition == "ok", "it is up")
        assert len(ids(it.store, Stream.PROFILE)) >= outcomes.count("told")
