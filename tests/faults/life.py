"""One life of the store's process under load: it does what the rooms do and writes down what it has been told is done.

    python -m tests.faults.life DIRECTORY --seed N --commits N [--lives N] [--weak]

Meters are polled (rows, ledger and record in one commit), alarms and journal entries made, invocation counters
reserved, batches taken and the cursor moved, by threads that share commits as the field process's do. An
acknowledgement is written only after `transact` has returned.
"""

import argparse
import itertools
import json
import os
import random
import sqlite3
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from dcu import obis
from dcu.errors import StoreFault
from dcu.record import Stream, checksum
from dcu.store import Counters
from tests.faults.trace import ACKS
from tests.store.running_store import LAYOUT, Running, reading

DAY_S = 1_795_305_600 - 19_800
PERIOD_S = 900
METERS = ("GXT1", "GXT2", "GXT3")
FILE = "dcu.db"


class Weak(sqlite3.Connection):
    """A connection that syncs less than the store asks for: the known-bad mode."""

    def execute(self, sql: str, *more):
        return super().execute("PRAGMA synchronous = NORMAL" if "synchronous" in sql.lower() else sql, *more)


def weaken() -> None:
    """From now on connections of this process are weak ones."""
    sound = sqlite3.connect
    sqlite3.connect = lambda *words, **more: sound(*words, **{"factory": Weak, **more})


class Load:
    """The works, each of which tells what it was told."""

    def __init__(self, it: Running, seed: object, tell: Callable[..., None], *, burst: int = 400) -> None:
        self._store = it.store
        self._counters = Counters(it.store)
        self._dice = random.Random(f"load/{seed}")
        self._tell = tell
        self._burst = burst
        self._slots: dict[str, Iterator[int]] = {}
        tell(epoch=it.store.epoch)

    def begin(self) -> None:
        """The meters are known, and where each stands."""
        for serial in METERS:

            def known(tx, serial=serial):
                state = tx.profile(serial, obis.BLOCK_LOAD)
                if state is None:
                    tx.describe(serial, obis.BLOCK_LOAD, LAYOUT, PERIOD_S, DAY_S)
                    return DAY_S
                return max((last for _, last in state.held), default=DAY_S - PERIOD_S) + PERIOD_S

            self._slots[serial] = itertools.count(self._store.transact(known), PERIOD_S)

    def poll(self) -> None:
        """A visit to each meter: new rows, and an alarm in the same commit now and then."""
        for serial, slots in self._slots.items():
            count = self._burst if self._dice.random() < 0.02 else self._dice.randint(1, 4)
            times = list(itertools.islice(slots, count))
            told = self._dice.random() < 0.2

            def visit(tx, serial=serial, times=times, told=told):
                rows = tx.admit(reading(times, serial)).rows
                return rows, tx.append(Stream.ALARM, _body("poll", serial)) if told else None

            rows, alarm = self._store.transact(visit)
            self._tell(rows=[serial, [row.captured_at.epoch_s for row in rows]])
            if alarm is not None:
                self._tell(record=[Stream.ALARM.value, alarm, checksum(_body("poll", serial))])

    def entry(self) -> None:
        """A link of the journal with a receipt, as the relay's thread makes it."""
        body = _body("receipt", str(self._dice.random()))

        def work(tx):
            return tx.journal(1, "accepted", body), tx.append(Stream.RECEIPT, body)

        (number, digest), receipt = self._store.transact(work)
        self._tell(entry=[number, digest.hex()])
        self._tell(record=[Stream.RECEIPT.value, receipt, checksum(body)])

    def counter(self) -> None:
        """A reservation of invocation counters."""
        got = self._counters.reserve("GXT1", 32, 0, 3)
        self._tell(counter=got[-1])

    def deliver(self) -> None:
        """What uplink does: the next batch, and the cursor behind it."""
        batch = self._store.transact(lambda tx: tx.next_batch({}, 4096))
        if batch is not None:
            last = batch.first + len(batch.bodies) - 1
            self._store.transact(lambda tx: tx.deliver(batch.stream, last))
            self._tell(cursor=[batch.stream.value, last])


def _body(kind: str, words: str) -> bytes:
    return f"{kind} {words} ".encode() * 6


def live(directory: Path, seed: object, commits: int | None, *, burst: int = 400) -> None:
    """A life in this process: `commits` of them, or (None) until it is killed."""
    acks = os.open(directory / ACKS, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    it = Running(directory / FILE)
    load = Load(it, seed, lambda **what: os.write(acks, json.dumps(what).encode() + b"\n"), burst=burst)
    load.begin()

    def repeat(*works: Callable[[], None]) -> None:
        try:
            for _ in itertools.count() if commits is None else range(commits // 8):
                for work in works:
                    work()
        except StoreFault as fault:
            os.write(acks, json.dumps({"fault": str(fault)}).encode() + b"\n")

    threads = [
        threading.Thread(target=repeat, args=works, daemon=True)
        for works in ((load.poll,), (load.entry, load.counter), (load.deliver,))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    it.end()


def main() -> int:
    """As the command line says."""
    parser = argparse.ArgumentParser(prog="life")
    parser.add_argument("directory", type=Path)
    parser.add_argument("--seed", default="0")
    parser.add_argument("--commits", type=int, default=100, help="a life, about")
    parser.add_argument("--lives", type=int, default=1)
    parser.add_argument("--burst", type=int, default=400, help="rows of a backfill")
    parser.add_argument("--weak", action="store_true", help="synchronous=NORMAL: the known-bad mode")
    args = parser.parse_args()
    if args.weak:
        weaken()
    for number in range(args.lives):
        live(args.directory, f"{args.seed}/{number}", args.commits, burst=args.burst)
    return 0


if __name__ == "__main__":
    sys.exit(main())
