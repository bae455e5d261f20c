"""The cache of payloads is spoilt and made anew under field's hands: each record is offered once all the same."""

import os
import random
import sqlite3
import threading
from contextlib import closing, suppress

import pytest

from dcu.clock import SystemClock
from dcu.event import DropReason
from dcu.field.sealing import Sealing
from dcu.record import Stream
from dcu.uplink.field_line import FieldLine
from dcu.wire.verbs import MAX_SEALED, Delivered, Done, Next, Nothing, Offer, Sealed
from tests.uplink.offers import readings
from tests.uplink.world import DCU, Field

SEEDS = range(int(os.environ.get("DCU_SEALING_SEEDS", "3")))
MANY = 6000
ONLY = dict.fromkeys(Stream, 2**62)


class Hostile:
    """A field whose cache is made and spoilt at once, by two threads, while it is asked."""

    def __init__(self, field, rng):
        self.field, self.rng, self.faults = field, rng, []
        self.file = field.path.with_name("dcu-sealed.db")
        self._end = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(work,)) for work in (self.make, self.spoil)]

    def _run(self, work):
        try:
            while not self._end.is_set():
                work()
        except Exception as fault:
            self.faults.append(fault)

    def make(self):
        field = self.field
        Sealing(field.store, field.seals, DCU, SystemClock(), field.stop, lambda: None, away_s=0, pause_s=0).look()

    def spoil(self):
        what = self.rng.randrange(6)
        with suppress(OSError):
            size = self.file.stat().st_size
            if what == 0:
                self.field.seals.discard()
            elif what == 1:
                self.file.unlink()
            elif what == 2:
                os.truncate(self.file, self.rng.randrange(size + 1))
            elif what < 5:
                with self.file.open("r+b") as file:
                    for _ in range(self.rng.randrange(1, 20)):
                        file.seek(self.rng.randrange(max(1, size)))
                        file.write(self.rng.randbytes(1))
            else:
                self.field.seals.begin("another")
        self._end.wait(self.rng.uniform(0.0, 0.08))

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._end.set()
        for thread in self._threads:
            thread.join(20)
            assert not thread.is_alive()


def drained(field, rng, meanwhile=lambda: None):
    """All records as they are offered, of a drain that breaks off now and then."""
    found, last, told = [], 0, 0
    with FieldLine(field.path, DCU, field.stop) as line:
        while True:
            meanwhile()
            answer = line.ask(
                Next(ONLY | {Stream.PROFILE: last}, 32_768, 0, sealed=rng.choice((0, MAX_SEALED, 40_000)))
            )
            if answer == Nothing():
                return found
            assert isinstance(answer, Offer | Sealed)
            fresh = readings(answer)
            found += fresh
            last = fresh[-1][0]
            if rng.random() < 0.2:
                assert line.ask(Delivered(field.store.epoch, Stream.PROFILE, last)) == Done()
                told = last
            elif rng.random() < 0.1:  # the session is lost
                found = [each for each in found if each[0] <= told]
                last = told


@pytest.mark.parametrize("seed", SEEDS)
def test_each_record_is_offered_once_whatever_befalls_the_cache(tmp_path, seed):
    rng = random.Random(seed)
    with Field(tmp_path) as field:
        field.append(Stream.PROFILE, MANY)
        field.seal()
        with FieldLine(field.path, DCU, field.stop) as line:
            assert isinstance(line.ask(Next(ONLY | {Stream.PROFILE: 0}, 32_768, 0, sealed=MAX_SEALED)), Sealed)
        with Hostile(field, rng) as hostile:
            found = drained(field, rng)
        assert found == [(n, n - 1) for n in range(1, MANY + 1)]
        assert not hostile.faults and not field.fallen and field.store.condition == "ok"


@pytest.mark.parametrize("seed", SEEDS)
def test_what_is_dropped_meanwhile_is_offered_no_more_and_all_else_is(tmp_path, seed):
    rng, gone = random.Random(seed), set()

    def drop():
        if rng.random() < 0.1:
            first = rng.randrange(1, MANY)
            field.store.transact(
                lambda tx: tx.dropping.between(Stream.PROFILE, first, first + 2, DropReason.DAMAGED, "")
            )
            gone.update(range(first, first + 3))

    with Field(tmp_path) as field:
        field.append(Stream.PROFILE, MANY)
        field.seal()
        with Hostile(field, rng) as hostile:
            found = drained(field, rng, drop)
        ids = [n for n, _ in found]
        assert ids == sorted(set(ids)) and set(range(1, MANY + 1)) - gone <= set(ids)
        assert all(number == n - 1 for n, number in found)
        assert not hostile.faults and not field.fallen


def test_seals_that_lie_of_what_they_hold_give_nothing(tmp_path):
    """Rows that are moved, cut and joined, each by a hand that leaves the file whole."""
    lies = [
        "UPDATE sealed SET last = last + 1 WHERE first = 1",
        "UPDATE sealed SET last = last - 1 WHERE first = 1",
        "UPDATE sealed SET octets = octets - 1 WHERE first = 1",
        "UPDATE sealed SET mark = mark + 1 WHERE first = 1",
        "UPDATE sealed SET stream = 'alarm'",
        "UPDATE sealed SET first = first + 1, last = last + 1",
        "UPDATE sealed SET payload = (SELECT payload FROM sealed ORDER BY first DESC LIMIT 1)",
    ]
    with Field(tmp_path) as field:
        field.append(Stream.PROFILE, MANY // 10)
        for lie in lies:
            field.seal()
            field.seals.close()
            with closing(sqlite3.connect(tmp_path / "dcu-sealed.db")) as file:
                file.execute(lie)
                file.commit()
            field.seals.begin(field.store.epoch)
            assert not field.seals.is_empty
            last, found = 0, []
            with FieldLine(field.path, DCU, field.stop) as line:
                while (
                    answer := line.ask(Next(ONLY | {Stream.PROFILE: last}, 32_768, 0, sealed=MAX_SEALED))
                ) != Nothing():
                    found += readings(answer)
                    last = found[-1][0]
            assert found == [(n, n - 1) for n in range(1, MANY // 10 + 1)], lie
            field.seals.discard()
        assert not field.fallen
