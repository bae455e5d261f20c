"""The bus worker's mailbox in virtual time: a wait is what moves the time on."""

from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

from tests.soak.virtual_clock import VirtualClock

T = TypeVar("T")


class VirtualMailbox(Generic[T]):
    """Stands in for `dcu.mailbox.Mailbox` where one thread does everything.

    Args:
        clock: of the box.
        idle_s: seconds until the owner has work of its own, by its uptime. A wait that nobody ends lasts so long and
            not only as long as was asked: the worker's turns of a second are for a watchdog that is not there.
    """

    def __init__(self, clock: VirtualClock, idle_s: Callable[[float], float] = lambda _now_s: 0.0) -> None:
        self._clock = clock
        self._idle_s = idle_s
        self._urgent: deque[T] = deque()
        self._letters: deque[T] = deque()

    def post(self, letter: T, *, urgent: bool = False) -> bool:
        """Leave a letter; called from what happens while the owner waits."""
        (self._urgent if urgent else self._letters).append(letter)
        return True

    def take(self, timeout_s: float) -> T | None:
        """The next letter, or None when the time has passed."""
        uptime_s = self._clock.monotonic_s()
        self._wait(uptime_s + max(timeout_s, self._idle_s(uptime_s)))
        return self.take_urgent() or (self._letters.popleft() if self._letters else None)

    def take_urgent(self) -> T | None:
        """An urgent letter if one waits, without waiting."""
        return self._urgent.popleft() if self._urgent else None

    def drain(self, timeout_s: float, at_most: int) -> list[T]:
        """Whatever waits or comes, up to `at_most`; empty when the time has passed."""
        self._wait(self._clock.monotonic_s() + timeout_s)
        waiting = [*self._urgent, *self._letters][:at_most]
        for letter in waiting:
            (self._urgent if letter in self._urgent else self._letters).remove(letter)
        return waiting

    def __len__(self) -> int:
        return len(self._urgent) + len(self._letters)

    def _wait(self, until_s: float) -> None:
        """Until then, or until the first happening that leaves a letter."""
        time, end_s = self._clock.time, self._clock.elapsed_s(until_s)
        while not len(self) and time.elapsed_s < end_s:
            next_s = time.next_s()
            time.pass_to(end_s if next_s is None else min(end_s, next_s))
            self._clock.check_supply()
