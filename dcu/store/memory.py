"""What could not be stored yet, while nothing can be: bounded in octets, the oldest goes, and what went is counted."""

import threading
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from dcu.store.transaction import SqliteTransaction

CAPACITY_BYTES: Final = 32 * 2**20
"""Of what the works hold. The process has 83 MB with a thousand meters, and the unit lets it have 192 (MemoryMax).

A due visit with a snapshot and an interval is about 7 kB: at 32 meters and 15 minutes, a day and a half."""

WORK_BYTES: Final = 2000
"""That each work takes up beside what it says that it holds, as measured."""

Work = Callable[[SqliteTransaction], Any]


class Kept:
    """A work of the memory (`ports.Waiting`).

    Attributes:
        work: what is to be done.
        octets: that it takes up, about.
        waits: False once it is done, or lost.
    """

    __slots__ = ("octets", "waits", "work")

    def __init__(self, work: Work, octets: int) -> None:
        self.work = work
        self.octets = octets
        self.waits = True


class Memory:
    """A ring of works, from any thread.

    Args:
        capacity_bytes: of all of them; the newest is kept however large it is.
    """

    def __init__(self, capacity_bytes: int = CAPACITY_BYTES) -> None:
        self._works: deque[Kept] = deque()
        self._capacity_bytes = capacity_bytes
        self._octets = 0
        self._lock = threading.Lock()
        self.lost = 0
        """Works that found no room since they were last told of."""

    def keep(self, work: Work, octets: int = 0) -> Kept:
        """One more, in the place of the oldest where there is no room; `octets` is what it holds, about."""
        kept = Kept(work, WORK_BYTES + octets)
        with self._lock:
            self._works.append(kept)
            self._octets += kept.octets
            while self._octets > self._capacity_bytes and len(self._works) > 1:
                self._take_oldest().waits = False
                self.lost += 1
        return kept

    def take(self, at_most: int) -> list[Kept]:
        """The oldest, which are taken out."""
        with self._lock:
            return [self._take_oldest() for _ in range(min(at_most, len(self._works)))]

    def put_back(self, works: list[Kept]) -> None:
        """They could not be done after all."""
        with self._lock:
            self._works.extendleft(reversed(works))
            self._octets += sum(kept.octets for kept in works)

    def _take_oldest(self) -> Kept:
        kept = self._works.popleft()
        self._octets -= kept.octets
        return kept

    def __len__(self) -> int:
        with self._lock:
            return len(self._works)
