"""Power cuts: a recorded life is cut at every boundary, in three ways, and each image is opened by the store itself."""

import os
import random
import subprocess
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults import bare, trace
from tests.faults.disk import Cut, moments, put
from tests.faults.judge import judge, told

MEMORY = Path("/dev/shm")
"""Images are written and thrown away by the thousand; the disk that counts is the recorded one."""


@dataclass(slots=True)
class Replay:
    """What became of all images.

    Attributes:
        events: boundaries that the recording has.
        points: images that were opened.
        losing: of these, how many lacked something acknowledged.
        worst: most acknowledged things that one lacked.
        corrupt: how many did not open, or open damaged.
        first: the first bad one, in words.
        at: how many images by what had just happened.
    """

    events: int = 0
    points: int = 0
    losing: int = 0
    worst: int = 0
    corrupt: int = 0
    first: str = ""
    at: Counter[str] = field(default_factory=Counter)


Judge = Callable[[Path, list[bytes]], tuple[int, bool, str]]


@contextmanager
def memory() -> Iterator[Path]:
    """A directory in memory where there is one."""
    there = MEMORY if os.access(MEMORY, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="dcu-faults-", dir=there) as name:
        yield Path(name).resolve()


def record(directory: Path, command: list[str], *, inject: str = "") -> list[trace.Event]:
    """Run a command under strace; what it did to its files."""
    output = directory.parent / f"{directory.name}.strace"
    options = ("-e", f"inject={inject}") if inject else ()
    subprocess.run(
        trace.strace(*options, output=output, command=command), check=not inject, capture_output=True, timeout=600
    )
    events = trace.read(output)
    output.unlink()
    return events


def replay(
    events: list[trace.Event], directory: Path, verdict: Judge, *, seed: int, every: int = 1, own_names: bool = False
) -> Replay:
    """Cut at each `every`-th boundary, and at the last one, in each way."""
    found, dice, offset = Replay(), random.Random(f"replay/{seed}"), random.Random(seed).randrange(every)
    whole = sum(1 for _ in moments(events, directory))
    for number, disk in enumerate(moments(events, directory, own_names=own_names)):
        found.events += 1
        if (number + offset) % every and number != whole - 1:
            continue
        for cut in Cut:
            image = disk.image(cut, dice)
            with memory() as place:
                put(image, place)
                lost, corrupt, words = verdict(place, disk.acks)
            found.points += 1
            found.at[cut.value] += 1
            found.losing += lost > 0
            found.worst = max(found.worst, lost)
            found.corrupt += corrupt
            if (lost or corrupt) and not found.first:
                found.first = f"boundary {number}, {cut.value}: {words}"
    return found


def store_judge(place: Path, acks: list[bytes]) -> tuple[int, bool, str]:
    """By our own store."""
    found = judge(place, told(acks))
    return len(found.lost), bool(found.damaged or found.doubled), str(found)


def bare_judge(place: Path, acks: list[bytes]) -> tuple[int, bool, str]:
    """By bare sqlite3."""
    if not (place / bare.FILE).exists():
        return len(acks), False, "no file"
    lost, corrupt = bare.judge(place, acks)
    return lost, corrupt, f"{lost} rows lost" if not corrupt else "corrupt"


def of_bare(journal: str, synchronous: str, rows: int, *, seed: int, every: int = 1) -> Replay:
    """Bare sqlite3 in one mode: the replayer is right when the bad ones lose and the good ones do not."""
    with memory() as scratch:
        directory = scratch / "recorded"
        directory.mkdir()
        events = record(directory, trace.python("tests.faults.bare", directory, journal, synchronous, rows))
        return replay(events, directory, bare_judge, seed=seed, every=every)


def of_store(*words: object, seed: int, every: int = 1) -> Replay:
    """Our store's life, with more words for its command."""
    with memory() as scratch:
        directory = scratch / "recorded"
        directory.mkdir()
        events = record(directory, trace.python("tests.faults.life", directory, "--seed", seed, *words))
        return replay(events, directory, store_judge, seed=seed, every=every)


def failed_syncs(call: str, numbers: range, *, seed: int, every: int) -> Iterator[tuple[int, Replay, int]]:
    """(N, what was there at every boundary, works that were told of a fault): each life with its N-th sync failing.

    A sync that failed (EIO) never brings what it was to write: the kernel has given it up, and the next one succeeds.
    """
    for number in numbers:
        with memory() as scratch:
            directory = scratch / "recorded"
            directory.mkdir()
            command = trace.python("tests.faults.life", directory, "--seed", seed, "--commits", 60)
            events = record(directory, command, inject=f"{call}:error=EIO:when={number}")
            acks = directory / trace.ACKS
            faults = len(told(acks.read_bytes().splitlines()).faults) if acks.exists() else 0
            yield number, replay(events, directory, store_judge, seed=seed, every=every, own_names=True), faults
