"""The cache of payloads, whatever befell its file: out of it comes what went in, or nothing, and it works again."""

import os
import random
import re
import sqlite3
from contextlib import closing

import pytest
from sealed_cache import ALL, EPOCH, PAGES, filled, payload, right, seal
from test_disk import no_growth

from dcu.record import Stream
from dcu.store import SealedFile

SEEDS = range(int(os.environ.get("DCU_SEALED_SEEDS", "6")))
FLIPS = 120


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
