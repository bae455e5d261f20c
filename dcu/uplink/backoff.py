"""How long to wait before the next try: full jitter, so that a thousand boxes do not return in one second."""

import random
import time
from collections.abc import Callable
from typing import Final

from dcu.mailbox import Stop

LONGEST_S: Final = 300.0
_SYSTEM: Final = random.SystemRandom()
_FIRST_TO_BROKER_S: Final = 8.0


class Backoff:
    """Waits from 1 s to `first_s`, then up to twice as long each, `longest_s` at most; drawn evenly (full jitter).

    Pure: the caller says what time it is. Source: reference/faults.md, "Reconnect storm".

    Args:
        longest_s: cap; below 1 s for benches.
        draw: evenly from [low, high].
        first_s: longest first wait.
    """

    def __init__(
        self,
        longest_s: float = LONGEST_S,
        draw: Callable[[float, float], float] = _SYSTEM.uniform,
        *,
        first_s: float = 2.0,
    ) -> None:
        self._longest_s, self._first_s = longest_s, first_s
        self._draw = draw
        self._tries = 0
        self._since_s: float | None = None

    def next_s(self) -> float:
        """Seconds to wait before the next try."""
        self._tries += 1
        most_s = self._first_s * 2.0 ** min(self._tries - 1, 30)
        return self._draw(min(1.0, self._longest_s / 2), min(self._longest_s, most_s))

    def rest_s(self) -> float:
        """A long wait at once: trying soon would only do harm (another box uses our identity)."""
        self._tries = 30
        return self._draw(self._longest_s / 2, self._longest_s)

    def connected(self, now_s: float) -> None:
        """It worked at `now_s` (monotonic)."""
        self._since_s = now_s

    def lost(self, now_s: float) -> None:
        """It ended at `now_s`; forgotten are earlier failures only if it had lasted as long as the longest wait."""
        if self._since_s is not None and now_s - self._since_s >= self._longest_s:
            self._tries = 0
        self._since_s = None


def to_broker(longest_s: float = LONGEST_S, draw: Callable[[float, float], float] = _SYSTEM.uniform) -> Backoff:
    """Of a box's connection: its first wait is as long as a broker needs to take in all who lost it when it restarted.

    Were it 2 s at most, 900 of 1,000 boxes would come in the second after a quick one (docs/RELIABILITY.md, row 28).
    """
    return Backoff(longest_s, draw, first_s=_FIRST_TO_BROKER_S)


def rest(stop: Stop, seconds: float, beat: Callable[[], None]) -> None:
    """Wait, beating, until the time has passed or the process stops."""
    until_s = time.monotonic() + seconds
    while not stop.wait(min(1.0, max(0.0, until_s - time.monotonic()))) and time.monotonic() < until_s:
        beat()
