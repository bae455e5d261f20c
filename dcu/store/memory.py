"""What could not be stored yet, while nothing can be: bounded, the oldest goes, and what went is counted."""

import threading
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from dcu.store.transaction import SqliteTransaction

CAPACITY: Final = 1000
"""Works that are kept: a poll, an alarm or a health record each. At 32 meters and 15 minutes that is a working day."""

Work = Callable[[SqliteTransaction], Any]


class Memory:
    """A ring of works, from any thread."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._works: deque[Work] = deque()
        self._capacity = capacity
        self._lock = threading.Lock()
        self.lost = 0
        """Works that found no room since `take` was last told of them."""

    def keep(self, work: Work) -> None:
        """One more, in the place of the oldest where the ring is full."""
        with self._lock:
            self._works.append(work)
            while len(self._works) > self._capacity:
                self._works.popleft()
                self.lost += 1

    def take(self, at_most: int) -> list[Work]:
        """The oldest, which are taken out."""
        with self._lock:
            return [self._works.popleft() for _ in range(min(at_most, len(self._works)))]

    def put_back(self, works: list[Work]) -> None:
        """They could not be done after all."""
        with self._lock:
            self._works.extendleft(reversed(works))

    def __len__(self) -> int:
        with self._lock:
            return len(self._works)
