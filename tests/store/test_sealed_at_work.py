"""The cache of payloads while it works: its process is killed, and threads write, read and wait for each other."""

import os
import random
import signal
import sqlite3
import threading
import time
from contextlib import closing

from sealed_cache import EPOCH, PAGES, filled, payload, right, seal
from test_crash import child, told

from dcu.record import Stream
from dcu.store import SealedFile


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
