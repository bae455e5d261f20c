"""The box's clock: the one place that asks the operating system for the time."""

import ctypes
import time
from datetime import UTC, datetime
from typing import Final

from dcu.reading import ClockState

BUILT: Final = datetime(2026, 11, 1, tzinfo=UTC)
"""No true time is before this program was written."""

_TIME_ERROR: Final = 5  # adjtimex(2): the kernel's clock is not synchronized


class SystemClock:
    """The kernel's clock; trusted when the kernel says that something disciplines it."""

    def __init__(self) -> None:
        self._adjtimex = getattr(ctypes.CDLL(None), "adjtimex", None)

    def now(self) -> datetime:
        """Aware UTC."""
        return datetime.now(UTC)

    def state(self) -> ClockState:
        """UNTRUSTED before the build's own date, and while the kernel's clock is not synchronized."""
        if self.now() < BUILT or self._adjtimex is None:
            return ClockState.UNTRUSTED
        timex = ctypes.create_string_buffer(512)  # struct timex with modes = 0: only asks
        answer = int(self._adjtimex(timex))
        return ClockState.UNTRUSTED if answer in {_TIME_ERROR, -1} else ClockState.TRUSTED

    def monotonic_s(self) -> float:
        """CLOCK_MONOTONIC, seconds."""
        return time.monotonic()
