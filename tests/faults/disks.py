"""Rows about the store's file alone: killed at each write, rotten pages, a long reader, what goes to the card."""

import random
import shutil
import signal
import sqlite3
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean
from unittest.mock import patch

from dcu.errors import StoreFault
from dcu.record import Stream, checksum, encode_profile
from dcu.store import writer
from dcu.store.check import Check
from tests.faults import trace
from tests.faults.boxes import loop_mounted
from tests.faults.judge import announced, judge, told
from tests.faults.life import DAY_S, FILE, PERIOD_S, live
from tests.faults.report import Line
from tests.faults.run import Run
from tests.soak.world import Scenario, World
from tests.store.running_store import LAYOUT, FixedClock, Running, reading, running

PAGE = 4096
LEAST_SHARE = 0.9
"""Of the records: pages that rot may cost what stands on them, and no more."""


def nth_write(run: Run) -> list[Line]:
    """SIGKILL in the N-th write of a thread, each N from the first on."""
    numbers = range(1, 181) if run.full else random.Random(run.seed).sample(range(1, 181), 4)
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda n: _killed_at(run, n), numbers))
    bad = [f"write {n}: {words}" for n, (lost, doubled, words, _) in zip(numbers, found, strict=True) if words]
    reached = sum(was for *_, was in found)
    return [
        Line(
            3,
            "SIGKILL in the N-th write of the store's process",
            "strace: pwrite64, N from 1 on",
            f"{len(found)} lives, {reached} ended in their write",
            sum(lost for lost, *_ in found),
            sum(doubled for _, doubled, *_ in found),
            bad[0] if bad else "each opens again and is whole",
            not bad and reached > 0.8 * len(found),
        )
    ]


def _killed_at(run: Run, number: int) -> tuple[int, int, str, bool]:
    directory = run.scratch / f"write-{number}"
    directory.mkdir()
    command = trace.strace(
        "-e", f"inject=pwrite64:signal=KILL:when={number}",
        output=Path("/dev/null"), calls="pwrite64", quick=False,
        command=trace.python("tests.faults.life", directory, "--seed", f"{run.seed}/{number}", "--commits", 60),
    )  # fmt: skip
    done = subprocess.run(command, capture_output=True, timeout=120, check=False)
    acks = directory / trace.ACKS
    verdict = judge(directory, told(acks.read_bytes().splitlines() if acks.exists() else []))
    words = "" if verdict.good else str(verdict)
    shutil.rmtree(directory)
    return len(verdict.lost), len(verdict.doubled), words, done.returncode in {-signal.SIGKILL, 137}


# ---- rotten pages


class _Quick(FixedClock):
    """A clock whose uptime runs: what the store does daily it does at once."""

    def monotonic_s(self) -> float:
        return time.monotonic() * 10_000


@dataclass(slots=True)
class _Rot:
    """What became of one file."""

    how: str
    share: float = 1.0
    starts: int = 0
    doubled: int = 0
    silent: int = 0
    wrong: list[str] = field(default_factory=list)


def rotten(run: Run) -> list[Line]:
    """Random octets and pages of a closed file are changed; then the store is started until it is at rest."""
    directory = run.scratch / "sound"
    directory.mkdir()
    live(directory, run.seed, run.of(60, 300), burst=150)
    with running(directory / FILE) as it:
        for first in range(run.of(200, 1500)):
            at_s = DAY_S + PERIOD_S * 30 * first
            it.store.transact(lambda tx, at_s=at_s: tx.append(Stream.PROFILE, _body(at_s), LAYOUT))
    with closing(sqlite3.connect(directory / FILE)) as raw:
        raw.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    sound = _bodies(directory / FILE)
    with _rounds() as checked, ThreadPoolExecutor(4) as pool:
        found = list(
            pool.map(lambda seed: _rotted(run, directory / FILE, sound, seed, checked), range(run.of(4, 1000)))
        )
    return [
        _of_kind(how, [rot for rot in found if rot.how == how], len(sound)) for how in sorted({r.how for r in found})
    ]


def _of_kind(how: str, found: list[_Rot], records: int) -> Line:
    wrong = [words for rot in found for words in rot.wrong]
    shares = [100 * rot.share for rot in found]
    told_of = f"{mean(shares):.2f} % of records kept on average, {min(shares):.1f} % at worst, the rest announced"
    starts = f"at rest after {max(rot.starts for rot in found)} starts at most"
    return Line(
        7,
        f"the file rots: {how}",
        "changed while it is closed; what is checked daily is checked at once",
        f"{len(found)} files of {records} records",
        sum(rot.silent for rot in found),
        sum(rot.doubled for rot in found),
        f"{wrong[0]}" if wrong else f"{told_of}; the damaged file is kept beside; {starts}",
        not wrong,
    )


def _body(at_s: int) -> bytes:
    return encode_profile(reading([at_s + PERIOD_S * n for n in range(30)], "ROT1"))


def _bodies(path: Path) -> dict[tuple[str, bytes], int]:
    """How often each record is there, of those whose checksum is right."""
    found: dict[tuple[str, bytes], int] = {}
    with closing(sqlite3.connect(path)) as raw:
        for stream in Stream:
            for crc, body in raw.execute(f"SELECT crc, body FROM record_{stream.value}"):
                if checksum(body) == crc:
                    found[stream.value, body] = found.get((stream.value, body), 0) + 1
    return found


def _rotted(run: Run, sound: Path, before: dict[tuple[str, bytes], int], seed: int, checked: list[Check]) -> _Rot:
    dice = random.Random(f"rot/{run.seed}/{seed}")
    directory = run.scratch / f"rot-{seed}"
    directory.mkdir()
    path = directory / FILE
    octets = bytearray(sound.read_bytes())
    rot = _Rot(_spoil(octets, dice))
    path.write_bytes(bytes(octets))
    try:
        rot.starts = _rest(path, checked)
        after = _bodies(path)
        rot.share = sum(min(n, after.get(key, 0)) for key, n in before.items()) / sum(before.values())
        doubled = [key for key, n in after.items() if n > before.get(key, 0) and key[0] == Stream.PROFILE.value]
        rot.doubled = len(doubled)
        with closing(sqlite3.connect(path)) as raw:
            _, rot.silent = announced(raw)
        if doubled or rot.silent or rot.share < LEAST_SHARE:
            rot.wrong.append(f"seed {seed}: {rot}")
    except (StoreFault, sqlite3.DatabaseError, AssertionError) as fault:
        rot.wrong.append(f"seed {seed}: {fault}")
    shutil.rmtree(directory)
    return rot


def _spoil(octets: bytearray, dice: random.Random) -> str:
    kind = dice.choice(("one bit", "a zeroed page", "three random pages", "the head of a page"))
    page = dice.randrange(len(octets) // PAGE) * PAGE
    match kind:
        case "one bit":
            octets[dice.randrange(len(octets))] ^= 1 << dice.randrange(8)
        case "a zeroed page":
            octets[page : page + PAGE] = bytes(PAGE)
        case "the head of a page":
            octets[page : page + 16] = dice.randbytes(16)
        case _:
            for _ in range(3):
                page = dice.randrange(len(octets) // PAGE) * PAGE
                octets[page : page + PAGE] = dice.randbytes(PAGE)
    return kind


def _rest(path: Path, checked: list[Check], most: int = 6) -> int:
    """Starts until one goes through a whole round of the daily check and does not fall. Raises AssertionError: none."""
    for start in range(1, most + 1):
        it = Running(path, clock=_Quick())
        until = time.monotonic() + 60
        while not (done := _is_checked(it, checked)) and it.fault is None and time.monotonic() < until:
            time.sleep(0.01)
        fell = it.fault is not None
        it.end()
        if done and not fell:
            return start
    raise AssertionError(f"after {most} starts it is not at rest: {it.fault}")


def _is_checked(it: Running, checked: list[Check]) -> bool:
    """Whether the store, as it is open now, has had a whole round."""
    seat = it.store._writer.seat
    return seat is not None and any(check is seat.upkeep._check for check in checked)


@contextmanager
def _rounds() -> Iterator[list[Check]]:
    """Whose rounds of the daily check have ended; bites of it follow one another at once."""
    ended: list[Check] = []
    step = Check.step

    def counted(check: Check) -> bool:
        more = step(check)
        if not more:
            ended.append(check)
        return more

    with patch.object(Check, "step", counted), patch.object(writer, "TURN_S", 0.01):
        yield ended


# ---- the log, and the card


def long_reader(run: Run) -> list[Line]:
    """Somebody tries to read all the time while much is written."""
    path, ended, seen = run.scratch / FILE, threading.Event(), {"refused": 0, "in": 0}

    def look() -> None:
        while not ended.wait(0.02):
            try:
                with closing(sqlite3.connect(path, timeout=0.01)) as raw:
                    raw.execute("BEGIN")
                    raw.execute("SELECT count(*) FROM record_profile").fetchone()
                    seen["in"] += 1
            except sqlite3.OperationalError:
                seen["refused"] += 1

    most, bodies = 0, [random.Random(run.seed).randbytes(1000) for _ in range(100)]
    with running(path) as it:
        reader = threading.Thread(target=look)
        reader.start()
        for _ in range(run.of(60, 1500)):
            it.store.transact(lambda tx: [tx.append(Stream.PROFILE, body) for body in bodies])
            most = max(most, path.with_name(FILE + "-wal").stat().st_size)
        ended.set()
        reader.join()
    count = run.of(60, 1500) * len(bodies)
    told_of = (
        f"WAL {most / 2**20:.1f} MiB at most; the reader was refused {seen['refused']} times, got in {seen['in']} times"
    )
    good = most < 16 * 2**20 and not seen["in"]
    return [
        Line(
            9,
            "WAL growth behind a long reader",
            "another process's BEGIN, again and again",
            f"{count} records of 1 kB",
            None,
            None,
            told_of,
            good,
        )
    ]


def card(run: Run) -> list[Line]:
    """The real field parts read for a virtual day, their store on an ext4 of its own: sectors that reach the device."""
    meters, days = (32, 1.0) if run.full else (2, 0.5)
    state, image = run.scratch / "card", run.scratch / "card.img"
    with loop_mounted(state, image, 64):
        device = subprocess.run(["findmnt", "-no", "SOURCE", str(state)], capture_output=True, text=True, check=True)
        stat = Path("/sys/block") / Path(device.stdout.strip()).name / "stat"
        subprocess.run(["sync"], check=True)
        before = int(stat.read_text().split()[6])
        # The meters' ledgers are theirs, not the box's: they stay off the card.
        (run.scratch / "meters").mkdir()
        (state / "meters").symlink_to(run.scratch / "meters")
        World(state, Scenario(run.seed, days=days, meters=meters, period_s=900, faults=(), ring_days=35)).run()
        subprocess.run(["sync"], check=True)
        megabytes = (int(stat.read_text().split()[6]) - before) * 512 / 1e6 / days
    years = 8e9 * 3000 / (megabytes * 1e6 * 3) / 365
    told_of = (
        f"{megabytes:.0f} MB a day on the device (ext4's journal in it); an 8 GB card of 3,000 cycles that writes "
        f"three times as much inside: {years:.0f} years"
    )
    injection = "sectors written of a loop device"
    return [
        Line(
            12,
            "what a day writes to the card",
            injection,
            f"{meters} meters, every 15 min",
            None,
            None,
            told_of,
            years > 10,
        )
    ]
