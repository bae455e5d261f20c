"""Time that passes only when somebody waits: the one true time, what happens in it, and the box's clock over it."""

import heapq
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import count

from dcu.reading import ClockState

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SOON_S = 1e-6


class VirtualTime:
    """True time, and what is to happen in it. One thread.

    Args:
        start_s: seconds since 1970-01-01T00:00:00Z at its beginning.
    """

    def __init__(self, start_s: float) -> None:
        self.start_s = start_s
        self.elapsed_s = 0.0
        """Since the beginning: small, so that the bits of a float go into microseconds."""
        self._agenda: list[tuple[float, int, Callable[[], None]]] = []
        self._order = count()

    def now(self) -> float:
        """Seconds since 1970: the `now` of virtual meters."""
        return self.start_s + self.elapsed_s

    def at(self, now_s: float, happening: Callable[[], None]) -> None:
        """Have something happen at that moment (seconds since 1970); it must not wait itself."""
        heapq.heappush(self._agenda, (now_s - self.start_s, next(self._order), happening))

    def next_s(self) -> float | None:
        """When the next happening is, in elapsed seconds."""
        return self._agenda[0][0] if self._agenda else None

    def pass_to(self, elapsed_s: float) -> None:
        """Let time pass; what happens on the way does, at its own moment. What it raises ends the wait there."""
        while self._agenda and self._agenda[0][0] <= elapsed_s:
            when_s, _, happening = heapq.heappop(self._agenda)
            self.elapsed_s = max(self.elapsed_s, when_s)
            happening()
        self.elapsed_s = max(self.elapsed_s, elapsed_s)


class PowerCut(BaseException):
    """The box lost its supply at this very moment: nothing of it may go on, not even to clean up."""


class VirtualClock:
    """The clock of one box (`ports.Clock`), counting its uptime from when it was made.

    Attributes:
        wrong_by_s: its wall clock minus the true time.
        trusted: whether it says that something disciplines it.
        stopped: the box has no supply: whoever waits by this clock, or asks the line for anything, gets PowerCut.
    """

    def __init__(self, time: VirtualTime, *, wrong_by_s: float = 0.0, trusted: bool = True) -> None:
        self.time = time
        self.wrong_by_s = wrong_by_s
        self.trusted = trusted
        self.stopped = False
        self._booted_s = time.elapsed_s

    def now(self) -> datetime:
        """Aware UTC."""
        return _EPOCH + timedelta(seconds=self.time.now() + self.wrong_by_s)

    def state(self) -> ClockState:
        """As set."""
        return ClockState.TRUSTED if self.trusted else ClockState.UNTRUSTED

    def floor(self) -> datetime:
        """Nothing is known to have passed."""
        return _EPOCH

    @property
    def boot_id(self) -> str:
        """Named by its moment."""
        return f"boot-{self._booted_s:.0f}"

    def boottime_s(self) -> float:
        """Uptime."""
        return self.monotonic_s()

    def monotonic_s(self) -> float:
        """Uptime."""
        return self.time.elapsed_s - self._booted_s

    def wait_until(self, monotonic_s: float) -> None:
        """Let time pass until the uptime is that. Raises PowerCut."""
        self.check_supply()
        self.time.pass_to(self.elapsed_s(monotonic_s))
        self.check_supply()

    def check_supply(self) -> None:
        """Raises PowerCut when there is none."""
        if self.stopped:
            raise PowerCut

    def elapsed_s(self, monotonic_s: float) -> float:
        """An uptime in the time's own elapsed seconds, and a little: who waited for a moment finds it passed."""
        return self._booted_s + monotonic_s + _SOON_S
