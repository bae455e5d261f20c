"""How much a peer that is not trusted may have announced: alarms are kept for long and go up before all readings."""

import threading
from typing import Final

from dcu.bucket import TokenBucket
from dcu.ports import Clock

BURST: Final = 20
EVERY_S: Final = 60.0


class Throttle:
    """Lets `burst` through at once and then one every `every_s`. Usable from any thread."""

    def __init__(self, clock: Clock, burst: int = BURST, every_s: float = EVERY_S) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._bucket = TokenBucket(burst, 1 / every_s)

    def admits(self) -> bool:
        """Whether one more may pass now."""
        with self._lock:
            return self._bucket.take(self._clock.monotonic_s())
