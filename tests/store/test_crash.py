"""Killed without warning, at random moments and in the middle of a transaction: real processes, real files."""

import itertools
import os
import random
import signal
import sqlite3
import threading
import time
from collections import defaultdict

import cbor2
import pytest
from running_store import LAYOUT, Running, reading, running

from dcu import obis
from dcu.mailbox import Stop
from dcu.record import Stream
from dcu.store import Counters

SEED = 20_261_122
DAY = 1_795_305_600 - 19_800


def child(live):
    """Fork a process that runs `live(tell)`; its id and the end of the pipe on which it tells."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid:
        os.close(writer)
        return pid, reader
    try:
        os.close(reader)
        live(lambda text: os.write(writer, text.encode() + b"\n"))
        time.sleep(60)
    finally:
        os._exit(1)


def told(reader, until=None, times=1):
    """What the child has told: up to the line `until`, so many times; or all of it once it is dead."""
    text = b""
    while (more := os.read(reader, 65_536)) and (until is None or (text + more).count(until) < times):
        text += more
    if until is None:
        os.close(reader)
    return [line.split() for line in (text + more).decode().splitlines()]


def busy(path, life):
    """Four threads that do what the rooms do, and tell what they have been told is done."""

    def live(tell):
        it = Running(path)
        counters, store = Counters(it.store), it.store
        store.transact(lambda tx: tx.describe("GXT1", obis.BLOCK_LOAD, LAYOUT, 900, DAY))

        def repeat(work):
            n = 0
            while True:
                tell(work(n))
                n += 1

        def record(n):
            body = b"%d.%d" % (life, n)
            return f"record {store.transact(lambda tx: tx.append(Stream.ALARM, body))} {body.decode()}"

        def entry(n):
            number, digest = store.transact(lambda tx: tx.journal(n, "life", b"%d" % life))
            return f"entry {number} {digest.hex()}"

        def reserve(n):
            got = counters.reserve("GXT1", 32, 0, 3)
            return f"counter {got[0]} {got[-1]}"

        def poll(n):
            slots = [DAY + 900 * (n + k) for k in range(3)]
            new = store.transact(lambda tx: tx.admit(reading(slots)))
            return "rows " + " ".join(str(r.captured_at.epoch_s) for r in new.rows)

        for work in (record, entry, reserve, poll):
            threading.Thread(target=repeat, args=(work,), daemon=True).start()

    return live


def everything(path):
    """What the file holds, read by bare sqlite3."""
    raw = sqlite3.connect(path)
    assert raw.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    alarms = raw.execute("SELECT id, body FROM record_alarm ORDER BY id").fetchall()
    profiles = raw.execute("SELECT id, body FROM record_profile ORDER BY id").fetchall()
    entries = dict(raw.execute("SELECT n, digest FROM journal"))
    (spare,) = raw.execute("SELECT next FROM invocation").fetchone() or (0,)
    raw.close()
    return alarms, profiles, entries, spare


@pytest.fixture(scope="module")
def lives(tmp_path_factory):
    """Thirty lives on one file, each killed at a random moment behind something told: what they were told, by life."""
    path, dice, heard = tmp_path_factory.mktemp("crash") / "dcu.db", random.Random(SEED), []
    for life in range(30):
        pid, reader = child(busy(path, life))
        first = told(reader, b"\n", dice.randrange(1, 60)) if dice.random() < 0.9 else []
        time.sleep(dice.random() * 0.01)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        lines = defaultdict(list)
        for kind, *rest in first + told(reader):
            lines[kind].append(rest)
        heard.append(lines)
        if life % 5 == 0:
            with running(path) as it:
                it.store.transact(lambda tx: tx.verify_journal())
    return path, heard


def test_the_lives_had_something_to_lose(lives):
    _, heard = lives
    assert sum(len(lines["record"]) for lines in heard) > 100
    assert sum(bool(lines["record"]) for lines in heard) > 15


def test_nothing_that_was_told_is_lost_and_ids_have_no_hole(lives):
    path, heard = lives
    alarms, _, _, _ = everything(path)
    assert [n for n, _ in alarms] == list(range(1, len(alarms) + 1))
    held = dict(alarms)
    for lines in heard:
        for n, body in lines["record"]:
            assert held[int(n)] == body.encode()


def test_the_chain_holds_and_every_digest_told_is_in_it(lives):
    path, heard = lives
    with running(path) as it:
        count, _ = it.store.transact(lambda tx: tx.verify_journal())
    _, _, entries, _ = everything(path)
    assert count == len(entries)
    for lines in heard:
        for n, digest in lines["entry"]:
            assert entries[int(n)].hex() == digest


def test_no_counter_was_given_twice(lives):
    path, heard = lives
    given = [(int(first), int(last)) for lines in heard for first, last in lines["counter"]]
    assert given == sorted(given)
    assert all(last < first for (_, last), (first, _) in itertools.pairwise(given))
    assert everything(path)[3] > given[-1][1]


def test_every_row_that_was_told_is_in_the_stream_exactly_once(lives):
    path, heard = lives
    _, profiles, _, _ = everything(path)
    assert [n for n, _ in profiles] == list(range(1, len(profiles) + 1))
    times = [at for _, body in profiles for at, *_ in cbor2.loads(body)["rows"]]
    assert len(times) == len(set(times))
    for lines in heard:
        for row in lines["rows"]:
            assert set(map(int, row)) <= set(times)
    with running(path) as it:
        state = it.store.transact(lambda tx: tx.profile("GXT1", obis.BLOCK_LOAD))
    assert state.held == ((min(times), max(times)),)


@pytest.mark.parametrize("share", [False, True], ids=["alone", "behind a finished work"])
def test_killed_inside_a_transaction_it_is_rolled_back_whole(path, share):
    with running(path) as it:
        it.store.transact(lambda tx: tx.append(Stream.PROFILE, b"before"))
        epoch = it.store.epoch

    def live(tell):
        it = Running(path, stop=Stop())
        entered = threading.Event()

        def half(tx):
            tx.append(Stream.PROFILE, b"x" * 3_000_000)  # beyond the cache: pages are in the WAL file already
            tx.journal(1, "half", b"")
            tx.reserve_counters("GXT1", 32, 0, 5)
            tx.admit(reading([DAY]))
            entered.set()
            tell("inside")
            time.sleep(60)

        if share:
            threading.Thread(target=it.store.transact, args=(lambda tx: tx.append(Stream.PROFILE, b"y"),)).start()
        it.store.transact(half)

    pid, reader = child(live)
    told(reader, b"inside")
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    os.close(reader)
    assert path.with_name("dcu.db-wal").stat().st_size > 1_000_000, "it was killed before it wrote anything"
    with running(path) as it:
        part = it.store.transact(lambda tx: tx.next_batch({}, 10**7))
        assert list(part.bodies) in ([b"before"], [b"before", b"y"])
        assert it.store.transact(lambda tx: tx.verify_journal())[0] == 0
        assert Counters(it.store).reserve("GXT1", 32, 0, 1) == range(1)
        assert it.store.transact(lambda tx: tx.profile("GXT1", obis.BLOCK_LOAD)) is None
        assert it.store.transact(lambda tx: tx.append(Stream.PROFILE, b"z")) == len(part.bodies) + 1
        assert it.store.epoch == epoch
