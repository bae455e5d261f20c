"""A token bucket: so many at once, and then so many a second. Pure: it is told the time."""


class TokenBucket:
    """Full at first.

    Args:
        burst: how many may pass at once.
        refill_per_s: how many a second after that.
    """

    def __init__(self, burst: int, refill_per_s: float) -> None:
        self._burst = float(burst)
        self._refill_per_s = refill_per_s
        self._tokens = self._burst
        self._filled_s: float | None = None

    def take(self, monotonic_s: float) -> bool:
        """Whether one more may pass now; it has passed then."""
        since_s = 0.0 if self._filled_s is None else max(0.0, monotonic_s - self._filled_s)
        self._filled_s = monotonic_s
        self._tokens = min(self._burst, self._tokens + since_s * self._refill_per_s)
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True
