"""How much a peer that is not trusted may have announced: alarms are kept for long and go up before all readings."""

import threading
from typing import Final

from dcu.ports import Clock

BURST: Final = 20
EVERY_S: Final = 60.0


class Throttle:
    """Lets `burst` through at once and then one every `every_s`. Usable from any thread."""

    def __init__(self, clock: Clock, burst: int = BURST, every_s: float = EVERY_S) -> None:
        self._clock = clock
        self._burst = float(burst)
        self._every_s = every_s
        self._lock = threading.Lock()
        self._left = self._burst
        self._filled_s = clock.monotonic_s()

    def admits(self) -> bool:
        """Whether one more may pass now."""
        with self._lock:
            now_s = self._clock.monotonic_s()
            self._left = min(self._burst, self._left + (now_s - self._filled_s) / self._every_s)
            self._filled_s = now_s
            if self._left < 1:
                return False
            self._left -= 1
            return True
