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

LASTING: Final = 16
"""Alarms of the memory itself that wait: what was lost is told, however full it is."""

Work = Callable[[SqliteTransaction], Any]


class Kept:
    """A work of the memory (`ports.Waiting`).

    Attributes:
        work: what is to be done.
        octets: that it takes up, about.
        lasting: gives its place to no other.
        waits: False once it is done, or lost.
    """

    __slots__ = ("lasting", "octets", "waits", "work")

    def __init__(self, work: Work, octets: int, *, lasting: bool = False) -> None:
        self.work = work
        self.octets = octets
        self.lasting = lasting
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
        """Works that found no room, here or in the store, since they were last told of."""

    def keep(self, work: Work, octets: int = 0) -> Kept:
        """One more, in the place of the oldest where there is no room; `octets` is what it holds, about."""
        kept = Kept(work, WORK_BYTES + octets)
        with self._lock:
            self._works.append(kept)
            self._octets += kept.octets
            while self._octets > self._capacity_bytes and self._drop(lasting=False, but=kept):
                pass
        return kept

    def put_first(self, kept: Kept) -> None:
        """A lasting one in front of all; of too many the oldest goes."""
        with self._lock:
            while sum(each.lasting for each in self._works) >= LASTING:
                self._drop(lasting=True, but=kept)
            self._works.appendleft(kept)
            self._octets += kept.octets

    def lose(self, count: int) -> None:
        """So many found no room in the store."""
        with self._lock:
            self.lost += count

    def told(self) -> int:
        """How many were lost, once."""
        with self._lock:
            lost, self.lost = self.lost, 0
        return lost

    def take(self, at_most: int) -> list[Kept]:
        """The oldest, which are taken out."""
        with self._lock:
            return [self._take_oldest() for _ in range(min(at_most, len(self._works)))]

    def put_back(self, works: list[Kept]) -> None:
        """They could not be done after all."""
        with self._lock:
            self._works.extendleft(reversed(works))
            self._octets += sum(kept.octets for kept in works)

    def _drop(self, *, lasting: bool, but: Kept) -> bool:
        """Lose one, the first of its kind in line; False where there is none."""
        for kept in self._works:
            if kept.lasting is lasting and kept is not but:
                self._works.remove(kept)
                self._octets -= kept.octets
                kept.waits = False
                self.lost += 1
                return True
        return False

    def _take_oldest(self) -> Kept:
        kept = self._works.popleft()
        self._octets -= kept.octets
        return kept

    def __len__(self) -> int:
        with self._lock:
            return len(self._works)
