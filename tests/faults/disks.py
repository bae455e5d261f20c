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
from dcu.store.check import Check
from tests.faults import trace
from tests.faults.boxes import loop_mounted
from tests.faults.judge import judge, told
from tests.faults.life import DAY_S, FILE, PERIOD_S, live
from tests.faults.report import Line
from tests.faults.run import Run
from tests.soak.world import Scenario, World
from tests.store.running_store import LAYOUT, FixedClock, Running, reading, running

PAGE = 4096


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
    found = [_rotted(run, directory / FILE, sound, seed) for seed in range(run.of(4, 200))]
    lines = []
    for how in dict.fromkeys(rot.how for rot in found):
        of_it = [rot for rot in found if rot.how == how]
        wrong = [words for rot in of_it for words in rot.wrong]
        shares = [100 * rot.share for rot in of_it]
        told_of = f"{mean(shares):.2f} % of records kept on average, {min(shares):.1f} % at worst"
        starts = f"at rest after {max(rot.starts for rot in of_it)} starts at most"
        lines.append(
            Line(
                7,
                f"the file rots: {how}",
                "changed while it is closed; what is checked daily is checked at once",
                f"{len(of_it)} files of {len(sound)} records",
                None,
                None,
                f"{wrong[0]}" if wrong else f"{told_of}; the damaged file is kept beside; {starts}",
                not wrong,
            )
        )
    return lines


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


def _rotted(run: Run, sound: Path, before: dict[tuple[str, bytes], int], seed: int) -> _Rot:
    dice = random.Random(f"rot/{run.seed}/{seed}")
    directory = run.scratch / f"rot-{seed}"
    directory.mkdir()
    path = directory / FILE
    octets = bytearray(sound.read_bytes())
    rot = _Rot(_spoil(octets, dice))
    path.write_bytes(bytes(octets))
    try:
        rot.starts = _rest(path)
        after = _bodies(path)
        rot.share = sum(min(n, after.get(key, 0)) for key, n in before.items()) / sum(before.values())
        doubled = [key for key, n in after.items() if n > before.get(key, 0) and key[0] == Stream.PROFILE.value]
        if doubled:
            rot.wrong.append(f"seed {seed}: {len(doubled)} records of readings that were never stored")
    except (StoreFault, sqlite3.DatabaseError, AssertionError) as fault:
        rot.wrong.append(f"seed {seed}: {fault}")
    shutil.rmtree(directory)
    return rot


def _spoil(octets: bytearray, dice: random.Random) -> str:
    kind = dice.choice(("one bit", "a zeroed page", "three random pages", "the head of a page"))
    page = dice.randrange(1, len(octets) // PAGE) * PAGE
    match kind:
        case "one bit":
            octets[dice.randrange(PAGE, len(octets))] ^= 1 << dice.randrange(8)
        case "a zeroed page":
            octets[page : page + PAGE] = bytes(PAGE)
        case "the head of a page":
            octets[page : page + 16] = dice.randbytes(16)
        case _:
            for _ in range(3):
                page = dice.randrange(1, len(octets) // PAGE) * PAGE
                octets[page : page + PAGE] = dice.randbytes(PAGE)
    return kind


def _rest(path: Path, most: int = 6) -> int:
    """Starts until one goes through a whole round of the daily check and does not fall. Raises AssertionError: none."""
    for start in range(1, most + 1):
        with _rounds() as rounds:
            it = Running(path, clock=_Quick())
            until = time.monotonic() + 60
            while not rounds and it.fault is None and time.monotonic() < until:
                time.sleep(0.01)
            fell = it.fault is not None
            it.end()
        if rounds and not fell:
            return start
    raise AssertionError(f"after {most} starts it is not at rest: {it.fault}")


@contextmanager
def _rounds() -> Iterator[list[float]]:
    """When each round of the daily check ended."""
    ended: list[float] = []
    step = Check.step

    def counted(check: Check) -> bool:
        more = step(check)
        if not more:
            ended.append(time.monotonic())
        return more

    with patch.object(Check, "step", counted):
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
