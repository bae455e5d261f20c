"""kill -9 again and again: of the store's process under load, and of the uplink's between field and a real broker."""

import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from dcu.record import Stream
from tests.broker import endpoint, running_broker
from tests.faults import life
from tests.faults.judge import judge, told
from tests.faults.nursery import NURSERY
from tests.faults.trace import ACKS
from tests.records import record
from tests.uplink.world import DCU, Field, HeadEnd, Uplink, until

A_STORE = 50
"""Kills of one store, then a new one: what is judged is not to grow without end."""


@dataclass(slots=True)
class Kills:
    """What became of it.

    Attributes:
        kills: how many.
        told: acknowledgements that had been given before them.
        lost, doubled, damaged: in words.
        recovery_ms: from the start of the next life until it served, ascending.
        repeated: records that came to the head-end more than once, before de-duplication.
    """

    kills: int = 0
    told: int = 0
    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)
    recovery_ms: list[float] = field(default_factory=list)
    repeated: int = 0

    def recovery(self) -> str:
        """Median and worst."""
        return f"median {median(self.recovery_ms):.0f} ms, worst {max(self.recovery_ms):.0f} ms"


def of_store(scratch: Path, kills: int, *, seed: int) -> Kills:
    """The process that holds the store, with the load of all rooms on it, from its first octet on."""
    found, dice = Kills(), random.Random(f"kills/{seed}")
    for first in range(0, kills, A_STORE):
        directory = scratch / f"store-{first}"
        directory.mkdir()
        for number in range(first, min(kills, first + A_STORE)):
            _one_life(directory, f"{seed}/{number}", dice, found)
        given = told((directory / ACKS).read_bytes().splitlines())
        verdict = judge(directory, given)
        found.told += given.count
        found.lost += verdict.lost
        found.doubled += verdict.doubled
        found.damaged += verdict.damaged
    return found


def _one_life(directory: Path, seed: str, dice: random.Random, found: Kills) -> None:
    """Nine of ten are killed while they work, the rest while they open the store."""
    acks = directory / ACKS
    size = acks.stat().st_size if acks.exists() else 0
    child = NURSERY.Process(target=life.live, args=(directory, seed, None), kwargs={"burst": 200}, daemon=True)
    began = time.monotonic()
    child.start()
    if dice.random() < 0.9:
        until(lambda: acks.exists() and acks.stat().st_size > size, 60)
        found.recovery_ms.append((time.monotonic() - began) * 1000)
    time.sleep(dice.random() * 0.06)
    child.kill()
    child.join()
    found.kills += 1


def _uplink(directory: Path, to) -> None:
    Uplink(directory, to)
    threading.Event().wait()


class Flow:
    """Records that come all the time, never so far ahead that the end would not be reached."""

    def __init__(self, box: Field, seed: int, most_open: int = 400) -> None:
        self._box, self._dice, self._most = box, random.Random(f"flow/{seed}"), most_open
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._ended.wait(0.01):
            cursors = self._box.store.transact(lambda tx: tx.cursors())
            if sum(last - delivered for delivered, last in cursors.values()) < self._most:
                stream = self._dice.choice((Stream.PROFILE, Stream.PROFILE, Stream.ALARM, Stream.RECEIPT))
                fresh = [record(stream, n) for n in range(self._dice.randint(1, 20))]
                self._box.store.transact(lambda tx, to=stream, fresh=fresh: [tx.append(to, *each) for each in fresh])

    def end(self) -> None:
        """No more."""
        self._ended.set()
        self._thread.join()


@contextmanager
def delivery(scratch: Path) -> Iterator[tuple[Field, object, HeadEnd]]:
    """Field, the broker as the box reaches it, and a head-end that listens."""
    with running_broker(scratch) as broker, Field(scratch) as box:
        with HeadEnd(endpoint(broker, broker.authority.client("hes"))) as head_end:
            yield box, endpoint(broker, broker.authority.client(DCU)), head_end


def of_uplink(scratch: Path, kills: int, *, seed: int) -> Kills:
    """The uplink's process, over mutual TLS to a real mosquitto, at any moment from its start to its flow."""
    found, dice = Kills(), random.Random(f"kills/{seed}")
    with delivery(scratch) as (box, to, head_end):
        flow = Flow(box, seed)
        for _ in range(kills):
            child = NURSERY.Process(target=_uplink, args=(scratch, to), daemon=True)
            before, began = _delivered(box), time.monotonic()
            child.start()
            if dice.random() < 0.7:
                until(lambda before=before: _delivered(box) > before, 60)
                found.recovery_ms.append((time.monotonic() - began) * 1000)
            time.sleep(dice.random() * 0.1)
            child.kill()
            child.join()
            found.kills += 1
        flow.end()
        with Uplink(scratch, to):
            until(lambda: _open(box) == 0, 120)
        with suppress(AssertionError):
            until(lambda: _short(box, head_end) == [], 60)
        found.lost += _short(box, head_end)
        found.told = _delivered(box)
        found.repeated = head_end.listener.repeated
        if len({(i.series, i.id) for i in head_end.items}) != len(head_end.items):
            found.doubled.append("a record was taken twice")
        if box.refused_cursors:
            found.damaged.append(f"cursor refused: {box.refused_cursors[0]}")
    return found


def _delivered(box: Field) -> int:
    return sum(delivered for delivered, _ in box.store.transact(lambda tx: tx.cursors()).values())


def _open(box: Field) -> int:
    return sum(last - delivered for delivered, last in box.store.transact(lambda tx: tx.cursors()).values())


def _short(box: Field, head_end: HeadEnd) -> list[str]:
    """Streams of which the head-end does not hold each id from 1 to the cursor."""
    return [
        f"{stream.value} up to {delivered}"
        for stream, (delivered, _) in box.store.transact(lambda tx: tx.cursors()).items()
        if head_end.ids(stream) != list(range(1, delivered + 1))
    ]
