"""What a store holds against what its process had been told: lost, doubled, damaged."""

import json
import sqlite3
from collections import Counter
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import cbor2

from dcu import obis
from dcu.errors import StoreFault
from dcu.record import Stream, checksum
from dcu.store import Counters
from tests.faults.life import FILE
from tests.store.running_store import running


@dataclass(slots=True)
class Verdict:
    """Of one store after one fault; each list in words.

    Attributes:
        lost: what was told as done and is not there.
        doubled: what is there twice.
        damaged: what is wrong with the store itself: it does not open, a hole, a broken chain, a wrong checksum.
    """

    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)

    @property
    def good(self) -> bool:
        """Nothing of all that."""
        return not (self.lost or self.doubled or self.damaged)

    def __str__(self) -> str:
        return "; ".join([*(f"lost {x}" for x in self.lost[:3]), *self.doubled[:3], *self.damaged[:3]])


@dataclass(slots=True)
class Told:
    """All acknowledgements, sorted."""

    epoch: str = ""
    rows: dict[str, set[int]] = field(default_factory=dict)
    records: list[tuple[str, int, int]] = field(default_factory=list)
    entries: dict[int, str] = field(default_factory=dict)
    counter: int = -1
    cursors: dict[str, int] = field(default_factory=dict)
    count: int = 0
    faults: list[str] = field(default_factory=list)
    given_twice: int = 0

    def take(self, line: bytes) -> None:
        """One line of a life; half a line (it was killed in it) is none."""
        try:
            [(kind, what)] = json.loads(line).items()
        except ValueError:
            return
        self.count += kind not in {"epoch", "fault"}
        match kind:
            case "epoch":
                self.epoch = self.epoch or what
            case "rows":
                self.rows.setdefault(what[0], set()).update(what[1])
            case "record":
                self.records.append(tuple(what))
            case "entry":
                self.entries[what[0]] = what[1]
            case "counter":
                self.given_twice += what <= self.counter
                self.counter = what
            case "cursor":
                self.cursors[what[0]] = max(what[1], self.cursors.get(what[0], 0))
            case "fault":
                self.faults.append(what)


def told(lines: Iterable[bytes]) -> Told:
    """All of them."""
    found = Told()
    for line in lines:
        found.take(line)
    return found


def judge(directory: Path, given: Told) -> Verdict:
    """Open the store with our own code, as a restart does, then look into the file with bare sqlite3."""
    verdict = Verdict()
    if given.given_twice:
        verdict.doubled.append("an invocation counter was given twice")
    if not (directory / FILE).exists() and not given.epoch:
        return verdict
    try:
        with running(directory / FILE) as it:
            _through_the_store(it.store, given, verdict)
    except StoreFault as fault:
        verdict.damaged.append(f"it does not open: {fault}")
        return verdict
    with closing(sqlite3.connect(directory / FILE)) as raw:
        _in_the_file(raw, given, verdict)
    return verdict


def _through_the_store(store, given: Told, verdict: Verdict) -> None:
    if given.epoch and store.epoch != given.epoch:
        verdict.damaged.append(f"another epoch: {store.epoch}")

    def look(tx):
        head = tx.verify_journal()[0]
        held = {serial: tx.profile(serial, obis.BLOCK_LOAD) for serial in given.rows}
        return head, held, tx.cursors()

    head, held, cursors = store.transact(look)
    if given.entries and head < max(given.entries):
        verdict.lost.append(f"journal entries after {head}")
    for serial, times in given.rows.items():
        spans = held[serial].held if held[serial] else ()
        gone = [at for at in times if not any(first <= at <= last for first, last in spans)]
        if gone:
            verdict.lost.append(f"{len(gone)} intervals of {serial} in the ledger")
    for stream, last in given.cursors.items():
        if cursors[Stream(stream)][0] < last:
            verdict.lost.append(f"cursor of {stream}: {cursors[Stream(stream)][0]}, told {last}")
    if given.counter >= 0 and Counters(store).standing("GXT1", 32).next <= given.counter:
        verdict.lost.append(f"counter {given.counter}: it would be given again")


def _in_the_file(raw: sqlite3.Connection, given: Told, verdict: Verdict) -> None:
    if raw.execute("PRAGMA integrity_check").fetchone() != ("ok",):
        verdict.damaged.append("integrity_check")
    checksums: dict[tuple[str, int], int] = {}
    times: dict[str, Counter[int]] = {}
    for stream in Stream:
        ids = []
        for n, crc, body in raw.execute(f"SELECT id, crc, body FROM record_{stream.value} ORDER BY id"):
            ids.append(n)
            checksums[stream.value, n] = crc
            if checksum(body) != crc:
                verdict.damaged.append(f"record {n} of {stream.value}: checksum")
            elif stream is Stream.PROFILE:
                record = cbor2.loads(body)
                times.setdefault(record["meter"], Counter()).update(at for at, *_ in record["rows"])
        if ids != list(range(1, len(ids) + 1)):
            verdict.damaged.append(f"ids of {stream.value} have a hole")
    for stream, n, crc in given.records:
        if checksums.get((stream, n)) != crc:
            verdict.lost.append(f"record {n} of {stream}")
    for serial, wanted in given.rows.items():
        if gone := wanted - set(times.get(serial, ())):
            verdict.lost.append(f"{len(gone)} rows of {serial}")
    for serial, counts in times.items():
        if twice := [at for at, count in counts.items() if count > 1]:
            verdict.doubled.append(f"{len(twice)} rows of {serial} twice")
    entries = dict(raw.execute("SELECT n, digest FROM journal"))
    for n, digest in given.entries.items():
        if n not in entries or entries[n].hex() != digest:
            verdict.lost.append(f"journal entry {n}")


def announced(raw: sqlite3.Connection) -> tuple[int, int]:
    """(records that were dropped and announced, ids that are gone unannounced), of a closed store's file."""
    dropped: dict[str, list[tuple[int, int]]] = {}
    for (body,) in raw.execute("SELECT body FROM record_alarm"):
        facts = _facts(body)
        if facts.keys() >= {"stream", "first", "last"} and "was" not in facts:
            dropped.setdefault(facts["stream"], []).append((facts["first"], facts["last"]))
    count = gone = 0
    for stream in Stream:
        awaited = 1
        there = [(n, n) for (n,) in raw.execute(f"SELECT id FROM record_{stream.value}")]
        told_of = dropped.get(stream.value, [])
        count += sum(last - first + 1 for first, last in told_of)
        for first, last in sorted(there + told_of):
            gone += max(0, first - awaited)
            awaited = max(awaited, last + 1)
    return count, gone


def _facts(body: bytes) -> dict:
    """Of an alarm; of what `life` made up there are none."""
    return {} if body.startswith(b"poll ") else cbor2.loads(body).get("facts", {})
