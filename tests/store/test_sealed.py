"""The cache of payloads that are made in advance: out of it comes what went in, or nothing, whatever befell it."""

import os
import random
import re
import signal
import sqlite3
import stat
import threading
import time
from contextlib import closing

import pytest
from test_crash import child, told
from test_disk import no_growth

from dcu.ports import Seal
from dcu.record import Stream
from dcu.store import SealedFile, sealed

EPOCH = "e1"
PAGES = 4000
SEEDS = range(int(os.environ.get("DCU_SEALED_SEEDS", "6")))
FLIPS = 120
ALL = dict.fromkeys(Stream, 10**9)


def seal(first, last=None, *, stream=Stream.PROFILE, octets=900):
    return Seal(stream, first, first + 9 if last is None else last, octets, first % 1000)


def payload(of, size=700):
    return random.Random(f"{of}").randbytes(size)


def filled(path, seals, size=700):
    """A cache with the payloads of those seals."""
    cache = SealedFile(path, PAGES)
    cache.begin(EPOCH)
    for each in seals:
        assert cache.add(EPOCH, each, payload(each, size))
    return cache


def right(cache, each, size=700):
    return cache.payload(EPOCH, each) == payload(each, size)


@pytest.fixture
def file(path):
    """Of the cache, beside a store of nothing."""
    path.touch()
    return path.with_name("dcu-sealed.db")


@pytest.fixture
def cache(path, file):
    with closing(filled(path, [])) as it:
        yield it


# ---- what is in it


def test_what_is_added_comes_back_and_nothing_else(path, file):
    seals = [seal(1), seal(11), seal(21, 21), seal(1, stream=Stream.ALARM), Seal(Stream.CREDIT, 1, 9, 900, 2**32 - 1)]
    with closing(filled(path, seals)) as cache:
        assert all(right(cache, each) for each in seals)
        others = [seal(2), seal(1, 9), seal(1, 11), seal(1, octets=901), seal(1, stream=Stream.HEALTH), seal(31)]
        assert [cache.payload(EPOCH, other) for other in others] == [None] * len(others)
        assert cache.payload("e2", seals[1]) is None and right(cache, seals[1])
        assert list(cache.run_from(EPOCH, Stream.CREDIT, 1)) == seals[4:]
        assert cache.payload(EPOCH, Seal(Stream.CREDIT, 1, 9, 900, 7)) is None, "of another last record"


def test_a_seal_that_is_not_the_one_written_lets_the_payload_go(cache):
    assert cache.add(EPOCH, seal(1), b"x")
    assert cache.payload(EPOCH, seal(1, 9)) is None and cache.payload(EPOCH, seal(1)) is None and cache.is_empty


def test_what_is_added_again_takes_the_place_of_what_was_there(cache):
    assert cache.add(EPOCH, seal(1), b"first") and cache.add(EPOCH, seal(1), b"second")
    assert cache.payload(EPOCH, seal(1)) == b"second"


def test_nothing_is_in_it_before_it_is_begun_and_after_it_is_closed(path, file):
    cache = SealedFile(path, PAGES)
    assert not cache.add("", seal(1), b"x") and not cache.add(EPOCH, seal(1), b"x") and not file.exists()
    assert cache.is_empty and cache.last(Stream.PROFILE) == 0 and not cache.forget(ALL)
    cache.begin(EPOCH)
    assert cache.add(EPOCH, seal(1), b"x")
    cache.close()
    assert cache.payload(EPOCH, seal(1)) is None and not cache.run_from(EPOCH, Stream.PROFILE, 1)
    assert not cache.add(EPOCH, seal(1), b"x")
    cache.close()


@pytest.mark.parametrize(
    ("firsts", "start", "run"),
    [
        ([1, 11, 21], 1, [1, 11, 21]),
        ([1, 11, 21], 11, [11, 21]),
        ([1, 11, 31], 1, [1, 11]),
        ([1, 11, 31], 21, []),
        ([1, 11], 2, []),
        ([1, 11], 5, []),
        ([11], 1, []),
        ([], 1, []),
        ([n * 10 + 1 for n in range(40)], 1, [n * 10 + 1 for n in range(sealed.RUN)]),
        ([2**62], 2**62, [2**62]),
    ],
)
def test_a_run_has_no_hole_and_begins_where_it_is_asked(path, file, firsts, start, run):
    with closing(filled(path, [seal(first) for first in firsts])) as cache:
        assert list(cache.run_from(EPOCH, Stream.PROFILE, start)) == [seal(first) for first in run]
        assert not cache.run_from(EPOCH, Stream.ALARM, start) and not cache.run_from("e2", Stream.PROFILE, start)


def test_seals_that_overlap_are_no_run(path, file):
    with closing(filled(path, [seal(1, 10), seal(5, 14), seal(11, 20)])) as cache:
        assert cache.run_from(EPOCH, Stream.PROFILE, 1) == [seal(1, 10)]
        assert cache.run_from(EPOCH, Stream.PROFILE, 5) == [seal(5, 14)]


def test_the_next_seal_and_the_last_record(path, file):
    with closing(filled(path, [seal(11), seal(31), seal(5, stream=Stream.ALARM)])) as cache:
        asked = [0, 10, 11, 30, 31, 2**63 - 1]
        assert [cache.next_first(EPOCH, Stream.PROFILE, n) for n in asked] == [11, 11, 31, 31, None, None]
        assert cache.next_first("e2", Stream.PROFILE, 0) is None and cache.next_first(EPOCH, Stream.BILLING, 0) is None
        assert [cache.last(stream) for stream in (Stream.PROFILE, Stream.ALARM, Stream.BILLING)] == [40, 14, 0]


# ---- its life


def test_it_is_kept_over_a_restart_for_the_same_epoch_only(path, file):
    filled(path, [seal(1), seal(11)]).close()
    with closing(filled(path, [])) as cache:
        assert (
            right(cache, seal(1)) and right(cache, seal(11)) and not cache.is_empty and cache.last(Stream.PROFILE) == 20
        )
        cache.begin(EPOCH)
        assert right(cache, seal(1))
        cache.begin("e2")
        assert cache.is_empty and cache.last(Stream.PROFILE) == 0 and not cache.run_from("e2", Stream.PROFILE, 1)
        assert not cache.add(EPOCH, seal(1), b"of another epoch") and cache.add("e2", seal(1), b"new")
        cache.begin(EPOCH)
        assert cache.is_empty and cache.payload(EPOCH, seal(1)) is None


def test_it_is_for_its_owner_only(cache, file):
    assert cache.add(EPOCH, seal(1), b"x")
    journal = file.with_name("dcu-sealed.db-journal")
    assert [stat.S_IMODE(each.stat().st_mode) for each in (file, journal) if each.exists()][:1] == [0o600]
    assert not journal.exists() or stat.S_IMODE(journal.stat().st_mode) == 0o600


def test_it_forgets_in_bites_and_the_file_goes_with_the_last(path, file, monkeypatch):
    monkeypatch.setattr(sealed, "BITE", 3)
    with closing(filled(path, [seal(n * 10 + 1) for n in range(8)])) as cache:
        assert not cache.forget({Stream.PROFILE: 9}) and right(cache, seal(1))
        assert cache.forget({Stream.PROFILE: 45, Stream.ALARM: 9}) and cache.forget({Stream.PROFILE: 45})
        assert not cache.forget({Stream.PROFILE: 45})
        assert cache.run_from(EPOCH, Stream.PROFILE, 41) == [seal(41), seal(51), seal(61), seal(71)]
        bites = 0
        while cache.forget(ALL):
            bites += 1
        assert bites <= 2 and cache.is_empty and not file.exists() and list(file.parent.iterdir()) == [path]
        cache.begin(EPOCH)
        assert cache.add(EPOCH, seal(81), b"x") and file.exists()


def test_what_is_discarded_is_gone_and_can_be_begun_anew(path, file):
    with closing(filled(path, [seal(1)])) as cache:
        cache.discard()
        cache.discard()
        assert not file.exists() and cache.payload(EPOCH, seal(1)) is None and cache.last(Stream.PROFILE) == 0
        assert not cache.add(EPOCH, seal(1), b"x")
        cache.begin(EPOCH)
        assert cache.is_empty and cache.add(EPOCH, seal(1), b"x")


def test_at_its_limit_nothing_is_added_and_what_was_there_still_reads(path, file):
    cache = SealedFile(path, 400)
    cache.begin(EPOCH)
    kept = []
    for n in range(400):
        if not cache.add(EPOCH, seal(n * 10 + 1), payload(seal(n * 10 + 1), 3000)):
            break
        kept.append(seal(n * 10 + 1))
    assert 50 < len(kept) < 400 and file.stat().st_size <= 100 * 4096
    assert all(right(cache, each, 3000) for each in kept)
    assert cache.forget({Stream.PROFILE: 100}) and cache.add(EPOCH, seal(10**6), payload(seal(10**6), 3000))
    cache.close()
    with closing(SealedFile(path, 400)) as again:
        again.begin(EPOCH)
        assert all(right(again, each, 3000) for each in kept[10:])


# ---- what may befall it


def other_program(file):
    with closing(sqlite3.connect(file)) as there:
        there.execute("CREATE TABLE theirs (n)")
        there.commit()


def other_format(file):
    with closing(sqlite3.connect(file)) as there:
        there.execute("PRAGMA user_version = 99")


def write_ahead(file):
    with closing(sqlite3.connect(file)) as there:
        there.execute("PRAGMA journal_mode = WAL")


def no_epoch(file):
    with closing(sqlite3.connect(file)) as there:
        there.execute("DELETE FROM made")
        there.commit()


def dangling(file):
    file.symlink_to(file.with_name("nowhere") / "at all")


@pytest.mark.parametrize(
    "left",
    [
        lambda file: file.write_bytes(b""),
        lambda file: file.write_bytes(b"garbage" * 5000),
        lambda file: file.write_bytes(b"SQLite format 3\0" + bytes(5000)),
        lambda file: file.write_bytes(b"x"),
        lambda file: file.with_name("dcu-sealed.db-journal").write_bytes(b"garbage" * 500),
        other_program,
        os.mkfifo,
        dangling,
    ],
    ids=["empty", "garbage", "zeros", "octet", "journal", "program", "fifo", "link"],
)
def test_whatever_stands_in_its_place_it_is_made_anew(path, file, left):
    left(file)
    with closing(filled(path, [seal(1)])) as cache:
        assert right(cache, seal(1))


@pytest.mark.parametrize("changed", [other_format, other_program, no_epoch, write_ahead])
def test_a_file_that_another_hand_has_changed_is_right_or_made_anew(path, file, changed):
    filled(path, [seal(1)]).close()
    changed(file)
    with closing(filled(path, [])) as cache:
        assert cache.payload(EPOCH, seal(1)) in {None, payload(seal(1))}
        assert cache.add(EPOCH, seal(11), payload(seal(11))) and right(cache, seal(11))


def test_a_directory_in_its_place_hinders_nobody_and_is_told_once(path, file, caplog):
    file.mkdir()
    (file / "theirs").touch()
    with closing(SealedFile(path, PAGES)) as cache:
        for _ in range(5):
            cache.begin(EPOCH)
        assert not cache.add(EPOCH, seal(1), b"x") and cache.is_empty and not cache.forget(ALL)
        cache.discard()
        assert (file / "theirs").exists()
        assert (
            len(caplog.records) == 1
            and caplog.text.count(str(file)) == 1
            and "no payloads are made in advance" in caplog.text
        )
        (file / "theirs").unlink()
        file.rmdir()
        cache.begin(EPOCH)
        assert cache.add(EPOCH, seal(1), b"x")


def test_a_file_that_another_process_holds_is_left_to_it(path, file):
    filled(path, [seal(1)]).close()
    with closing(sqlite3.connect(file, isolation_level=None)) as shell:
        shell.execute("BEGIN EXCLUSIVE")
        with closing(filled(path, [seal(11)])) as cache:
            assert cache.payload(EPOCH, seal(1)) is None and right(cache, seal(11))
        shell.execute("COMMIT")


def test_no_shell_gets_in_while_it_is_open(path, file):
    with closing(filled(path, [seal(1)])) as cache, closing(sqlite3.connect(file, timeout=0)) as shell:
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            shell.execute("DELETE FROM sealed")
        assert right(cache, seal(1))


def some():
    """Seals whose payloads fill a part of a page, and several."""
    firsts = [n * 10 + 1 for n in range(12)]
    return [seal(first, stream=stream) for stream in (Stream.PROFILE, Stream.ALARM) for first in firsts]


def size_of(each):
    return 6000 if each.first % 3 else 700


def whole(path, file):
    """The octets of a cache of `some`."""
    with closing(filled(path, [])) as cache:
        for each in some():
            assert cache.add(EPOCH, each, payload(each, size_of(each)))
    octets = file.read_bytes()
    file.unlink()
    return octets


def judge(path, what):
    """Use a cache that may be damaged in every way; it answers rightly or not at all, and works again once begun."""
    with closing(SealedFile(path, PAGES)) as cache:
        cache.begin(EPOCH)
        for stream in (Stream.PROFILE, Stream.ALARM):
            assert type(cache.last(stream)) is int
            for first in range(1, 130, 10):
                run = cache.run_from(EPOCH, stream, first)
                assert {type(n) for each in run for n in (each.first, each.last, each.octets)} <= {int}, what
                assert cache.next_first(EPOCH, stream, first) is None or cache.next_first(EPOCH, stream, first) > first
        for each in some():
            assert cache.payload(EPOCH, each) in {None, payload(each, size_of(each))}, what
        bites = 0
        while cache.forget(ALL):
            bites += 1
            assert bites < 20, f"{what}: it forgets without end"
        for _ in range(3):  # trouble may be found only now, as of a free page that another row has
            cache.begin(EPOCH)
            if cache.add(EPOCH, seal(1), b"anew") and cache.payload(EPOCH, seal(1)) == b"anew":
                return
        raise AssertionError(f"{what}: it does not recover")


def test_cut_off_anywhere(path, file):
    octets = whole(path, file)
    for at in {*range(0, len(octets), 1500), *range(0, len(octets), 4096), 1, 15, 99, 100, len(octets) - 1}:
        file.write_bytes(octets[:at])
        judge(path, f"cut off at {at}")


@pytest.mark.parametrize("seed", SEEDS)
def test_an_octet_flipped_anywhere(path, file, seed):
    """A third of them where a row begins, a third in the heads of pages and in the schema: there each counts."""
    octets, rng = whole(path, file), random.Random(seed)
    words = [
        at for found in re.finditer(b"profile|alarm", octets) for at in range(found.start() - 14, found.end() + 16)
    ]
    heads = [page + n for page in range(0, len(octets), 4096) for n in range(40)] + list(range(100, 4096, 3))
    for n in range(FLIPS):
        at = rng.choice((words, heads, range(len(octets)))[n % 3])
        flipped = bytearray(octets)
        flipped[at] ^= (was := rng.randrange(1, 256))
        file.write_bytes(flipped)
        judge(path, f"seed {seed}: octet {at} ^ {was}")


@pytest.mark.parametrize("seed", SEEDS)
def test_pages_zeroed_garbled_and_left_of_another_time(path, file, seed):
    """As after a power cut: nothing is synced."""
    octets, rng = whole(path, file), random.Random(seed)
    for n in range(FLIPS // 6):
        torn = bytearray(octets)
        for _ in range(rng.randrange(1, 4)):
            page = rng.randrange(len(octets) // 4096) * 4096
            other = rng.randrange(len(octets) // 4096) * 4096
            torn[page : page + 4096] = (bytes(4096), rng.randbytes(4096), octets[other : other + 4096])[n % 3]
        file.write_bytes(torn)
        judge(path, f"seed {seed}: {n}")


@pytest.mark.parametrize(
    "garbling",
    [
        "UPDATE sealed SET last = 'x' WHERE first = 11",
        "UPDATE sealed SET last = NULL WHERE first = 11",
        "UPDATE sealed SET octets = 1.5 WHERE first = 11",
        "UPDATE sealed SET octets = NULL WHERE first = 11",
        "UPDATE sealed SET first = 'x' WHERE first = 11",
        "UPDATE sealed SET last = 9e99 WHERE first = 11",
        "UPDATE sealed SET crc = 'x' WHERE first = 11",
        "UPDATE sealed SET payload = NULL WHERE first = 11",
        "UPDATE sealed SET payload = 'text' WHERE first = 11",
        "UPDATE sealed SET payload = 7 WHERE first = 11",
        "UPDATE sealed SET last = 2 WHERE first = 11",
        "UPDATE sealed SET last = 4611686018427387904 WHERE first = 11",
        "UPDATE sealed SET octets = -1 WHERE first = 11",
        "UPDATE sealed SET payload = x'' WHERE first = 11",
        "UPDATE sealed SET crc = crc + 1 WHERE first = 11",
        "UPDATE sealed SET payload = (SELECT payload FROM sealed WHERE first = 1) WHERE first = 11",
        "UPDATE made SET epoch = x'ff'",
        "UPDATE made SET epoch = CAST(x'ff' AS TEXT)",
    ],
)
def test_values_of_another_kind_than_were_written(path, file, garbling):
    """A flipped octet in the head of a row makes of a number whatever it likes."""
    whole_ = whole(path, file)
    file.write_bytes(whole_)
    with closing(sqlite3.connect(file)) as there:  # the same tables, but not STRICT any more
        there.execute("PRAGMA writable_schema = ON")
        there.execute("UPDATE sqlite_master SET sql = replace(replace(sql, ' STRICT', ''), ' NOT NULL', '')")
        there.commit()
    with closing(sqlite3.connect(file)) as there:
        assert there.execute(garbling).rowcount
        there.commit()
    judge(path, garbling)


def test_an_index_out_of_order(path, file, caplog):
    """Rows that are seen and cannot be found: to delete them would be tried for ever."""
    file.write_bytes(whole(path, file))
    with closing(sqlite3.connect(file)) as there:
        there.execute("PRAGMA writable_schema = ON")
        there.execute("UPDATE sqlite_master SET sql = replace(sql, '(stream, first)', '(stream, first DESC)')")
        there.commit()
    judge(path, "its index is descending")
    assert "its index is not what was written" in caplog.text


def test_a_payload_knows_its_epoch(path, file):
    filled(path, [seal(1)]).close()
    with closing(sqlite3.connect(file)) as there:
        there.execute("UPDATE made SET epoch = 'e2'")
        there.commit()
    with closing(SealedFile(path, PAGES)) as cache:
        cache.begin("e2")
        assert cache.run_from("e2", Stream.PROFILE, 1) and cache.payload("e2", seal(1)) is None


def test_a_file_damaged_under_its_hands_is_given_up_and_begun_anew(path, file):
    with closing(filled(path, [])) as cache:
        for each in some():
            assert cache.add(EPOCH, each, payload(each, size_of(each)))
        size = file.stat().st_size
        with file.open("r+b") as torn:  # closing it drops the locks, which here nobody else wants
            torn.write(random.Random(1).randbytes(size))
        found = [cache.payload(EPOCH, each) for each in some()]
        assert all(got in {None, payload(each, size_of(each))} for got, each in zip(found, some(), strict=True))
        for _ in range(2):
            cache.begin(EPOCH)
            if cache.add(EPOCH, seal(991), b"anew"):
                break
        assert cache.payload(EPOCH, seal(991)) == b"anew"


def test_a_disk_that_fails_under_a_write_ends_the_file_and_nothing_else(path, file):
    with closing(filled(path, [seal(1)])) as cache:
        with no_growth():
            assert not cache.add(EPOCH, seal(11), payload(seal(11), 9000))
            assert cache.is_empty and cache.payload(EPOCH, seal(1)) is None
            cache.begin(EPOCH)
        cache.begin(EPOCH)
        assert cache.add(EPOCH, seal(21), b"x")


def test_a_file_deleted_under_its_hands(path, file):
    with closing(filled(path, [seal(1)])) as cache:
        file.unlink()
        assert cache.payload(EPOCH, seal(1)) in {None, payload(seal(1))}
        cache.add(EPOCH, seal(11), payload(seal(11)))
        assert cache.payload(EPOCH, seal(11)) in {None, payload(seal(11))}
        cache.discard()
        cache.begin(EPOCH)
        assert cache.add(EPOCH, seal(21), b"x")


# ---- killed, and used by many


def test_killed_while_it_adds_and_forgets_what_is_there_is_right(path, file):
    """Payloads of many pages: most of the time one is being written."""
    rng, size = random.Random(20_261_130), 60_000

    def live(tell):
        cache = SealedFile(path, PAGES)
        cache.begin(EPOCH)
        n = cache.last(Stream.PROFILE) // 10
        while True:
            each = seal(n * 10 + 1)
            if cache.add(EPOCH, each, payload(each, size)):
                tell(f"added {n}")
            if n % 16 == 15:
                cache.forget({Stream.PROFILE: n * 10 - 100})
            n += 1

    newest = -1
    for _ in range(20):
        pid, reader = child(live)
        lines = told(reader, b"added", 3)
        time.sleep(rng.uniform(0, 0.05))  # the moment is what the test varies
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        lines += told(reader)
        newest = max([newest, *(int(line[1]) for line in lines if len(line) == 2)])
        with closing(SealedFile(path, PAGES)) as cache:
            cache.begin(EPOCH)
            assert cache.last(Stream.PROFILE) // 10 in {newest + 1, newest + 2}, "what was told added is there"
            newest = cache.last(Stream.PROFILE) // 10 - 1
            assert all(right(cache, seal(n * 10 + 1), size) for n in range(max(0, newest - 5), newest + 1))
        with closing(sqlite3.connect(file)) as there:
            assert there.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def test_threads_that_write_and_read_at_once(path, file):
    cache, stop, wrong = filled(path, []), threading.Event(), []

    def read(stream):
        try:
            while not stop.is_set():
                for each in cache.run_from(EPOCH, stream, (cache.next_first(EPOCH, stream, 0) or 1)):
                    if cache.payload(EPOCH, each) not in {None, payload(each)}:
                        wrong.append(each)
                cache.payload("e2", seal(1, stream=stream))
        except Exception as fault:
            wrong.append(fault)

    threads = [threading.Thread(target=read, args=(s,)) for s in (Stream.PROFILE, Stream.ALARM) for _ in range(2)]
    for thread in threads:
        thread.start()
    for n in range(300):
        for stream in (Stream.PROFILE, Stream.ALARM):
            each = seal(n * 10 + 1, stream=stream)
            assert cache.add(EPOCH, each, payload(each)), "nobody's reading is in the way"
        if n % 40 == 39:
            cache.forget({Stream.PROFILE: n * 10 - 200, Stream.ALARM: n * 10 - 200})
        if n % 100 == 99:
            cache.begin("e2")
            cache.begin(EPOCH)
    stop.set()
    for thread in threads:
        thread.join(10)
    cache.close()
    assert not wrong


def test_who_asks_does_not_wait_long_for_who_writes(path, file):
    """The store's writer is among those who ask; a disk that stalls under a write would hold up metering."""
    with closing(filled(path, [seal(1)])) as cache:
        answers = []

        def ask():
            answers.append(list(cache.run_from(EPOCH, Stream.PROFILE, 1)))
            answers.append(cache.next_first(EPOCH, Stream.PROFILE, 0))
            answers.append(cache.payload(EPOCH, seal(1)))

        with cache._lock:
            thread = threading.Thread(target=ask, daemon=True)
            thread.start()
            thread.join(5)
            assert not thread.is_alive() and answers == [[], None, None]
        assert right(cache, seal(1)), "what could not be read now is not lost"
