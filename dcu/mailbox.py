"""Mailboxes: how threads speak. Every wait has a deadline and ends early when the process stops."""

import threading
import time
from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")


class Stop:
    """The one signal to end, shared by all loops of a process. `wake` of every mailbox is called with it."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._lock = threading.Lock()
        self._sleepers: list[threading.Condition] = []

    def enroll(self, condition: threading.Condition) -> None:
        """Wake `condition` when the process stops."""
        with self._lock:
            self._sleepers.append(condition)

    def set(self) -> None:
        """End all loops."""
        self._event.set()
        with self._lock:
            sleepers = list(self._sleepers)
        for condition in sleepers:
            with condition:
                condition.notify_all()

    def __bool__(self) -> bool:
        return self._event.is_set()

    def wait(self, timeout_s: float) -> bool:
        """Sleep for at most `timeout_s`; True when the process stops."""
        return self._event.wait(timeout_s)


class Mailbox(Generic[T]):
    """Letters for one loop, urgent ones first; bounded, so that nothing grows without end."""

    def __init__(self, stop: Stop, capacity: int = 1024) -> None:
        self._urgent: deque[T] = deque()
        self._letters: deque[T] = deque()
        self._capacity = capacity
        self._stop = stop
        self._condition = threading.Condition()
        stop.enroll(self._condition)

    def post(self, letter: T, *, urgent: bool = False) -> bool:
        """Leave a letter; False when the box is full (an urgent one always fits)."""
        with self._condition:
            if not urgent and len(self._letters) >= self._capacity:
                return False
            (self._urgent if urgent else self._letters).append(letter)
            self._condition.notify()
            return True

    def take(self, timeout_s: float) -> T | None:
        """The next letter, or None when the time passed or the process stops with an empty box."""
        deadline = time.monotonic() + timeout_s
        with self._condition:
            while not self._urgent and not self._letters:
                left = deadline - time.monotonic()
                if left <= 0 or self._stop:
                    return None
                self._condition.wait(left)
            return self._urgent.popleft() if self._urgent else self._letters.popleft()

    def take_urgent(self) -> T | None:
        """An urgent letter if one waits, without waiting."""
        with self._condition:
            return self._urgent.popleft() if self._urgent else None

    def drain(self, timeout_s: float, at_most: int) -> list[T]:
        """The next letter and whatever else waits already, up to `at_most`; empty when the time passed."""
        first = self.take(timeout_s)
        if first is None:
            return []
        letters = [first]
        with self._condition:
            while len(letters) < at_most and (self._urgent or self._letters):
                letters.append(self._urgent.popleft() if self._urgent else self._letters.popleft())
        return letters

    def __len__(self) -> int:
        with self._condition:
            return len(self._urgent) + len(self._letters)


class Bell:
    """Rung when there is something new, heard by many: a count, so that no ring is lost between looking and waiting."""

    def __init__(self, stop: Stop) -> None:
        self._rung = 0
        self._stop = stop
        self._condition = threading.Condition()
        stop.enroll(self._condition)

    @property
    def rung(self) -> int:
        """How often it was rung; taken before looking, and given to `wait` when nothing was found."""
        with self._condition:
            return self._rung

    def ring(self) -> None:
        """Wake all who wait."""
        with self._condition:
            self._rung += 1
            self._condition.notify_all()

    def wait(self, heard: int, timeout_s: float) -> bool:
        """Until it has been rung more than `heard` times; False when the time passed or the process stops."""
        deadline = time.monotonic() + timeout_s
        with self._condition:
            while self._rung <= heard:
                left = deadline - time.monotonic()
                if left <= 0 or self._stop:
                    return False
                self._condition.wait(left)
            return True
