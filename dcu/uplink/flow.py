"""How much may be on its way at once: what the link carries in a round trip, and a little more. Pure.

An alarm waits behind what is on its way already, so on a slow link little may be; on a fast one with a long way much
must be, or the link idles. Both are measured from acknowledgements: the rate as what was acknowledged between the
sending of a batch and its answer, the round trip as the least time that an answer took. Octets are those of records
before they are deflated: what field is asked for. Source: reference/store-uplink.md 2.1.
"""

from collections import deque
from dataclasses import dataclass
from typing import Final

from dcu.record import QUICK, THOROUGH

QUEUE_S: Final = 0.5
"""What may stand in queues on the way beside what travels, as time: the wait of whatever is urgent."""

BATCH_S: Final = 1.0
"""A batch is no more than the link carries in this time."""

LEAST_BATCH: Final = 4 * 1024
FAST: Final = 1_000_000
"""Octets a second: such a link carries more in the time that thorough deflating takes than that saves."""

_UNKNOWN_BATCH: Final = 8 * 1024
_UNKNOWN_LIMIT: Final = 4 * _UNKNOWN_BATCH
_SAMPLES: Final = 16
_SAMPLE_AGE_S: Final = 10.0
_LEAST_S: Final = 1e-4


@dataclass(frozen=True, slots=True)
class Parcel:
    """A batch on its way: its octets, when it left, what was acknowledged by then, and whether the link was busy."""

    octets: int
    sent_s: float
    answered: int
    busy: bool


class Flow:
    """What is on its way, and the measure of the link. It outlives sessions: the link is mostly the same."""

    def __init__(self) -> None:
        self._out = 0
        self._answered = 0
        self._least_s: float | None = None
        self._samples: deque[tuple[float, float]] = deque(maxlen=_SAMPLES)
        self.rate: float | None = None
        """Octets a second that the link carries, or None before it is known."""

    @property
    def round_trip_s(self) -> float:
        """The least time that an answer took; 0 before the first."""
        return self._least_s or 0.0

    @property
    def level(self) -> int:
        """How hard a batch is to be deflated."""
        return QUICK if (self.rate or 0.0) > FAST else THOROUGH

    @property
    def limit(self) -> int:
        """Octets that may be on their way."""
        rate = self.rate
        if rate is None:
            return _UNKNOWN_LIMIT
        return max(LEAST_BATCH, int(rate * (self.round_trip_s + QUEUE_S)))

    @property
    def room(self) -> bool:
        """Whether one more batch may leave."""
        return self._out < self.limit

    @property
    def batch_bytes(self) -> int:
        """Octets that a batch should have at most."""
        rate = self.rate
        return _UNKNOWN_BATCH if rate is None else max(LEAST_BATCH, int(rate * BATCH_S))

    def begin(self) -> None:
        """A new session: nothing is on its way."""
        self._out = 0

    def sent(self, octets: int, now_s: float) -> Parcel:
        """A batch leaves."""
        self._out += octets
        return Parcel(octets, now_s, self._answered, busy=not self.room)

    def answered(self, parcel: Parcel, now_s: float) -> None:
        """It was answered, whatever the answer was."""
        self._out = max(0, self._out - parcel.octets)
        self._answered += parcel.octets
        took_s = max(_LEAST_S, now_s - parcel.sent_s)
        sample = (self._answered - parcel.answered) / took_s
        # A link that had nothing to do says nothing of what it can carry, unless it was slow all the same.
        slow = self._least_s is not None and took_s > self._least_s + 2 * QUEUE_S
        self._least_s = took_s if self._least_s is None else min(self._least_s, took_s)
        if parcel.busy or slow or sample > (self.rate or 0.0):
            self._samples.append((now_s, sample))
            while self._samples[0][0] < now_s - _SAMPLE_AGE_S:
                self._samples.popleft()
            self.rate = max(rate for _, rate in self._samples)

    def stalled(self) -> None:
        """A session ended because nothing was answered any more: the link is another one, and slower."""
        slower = (self.rate or _UNKNOWN_BATCH / BATCH_S) / 8
        self._samples.clear()
        self._samples.append((0.0, slower))
        self.rate = slower
        self._least_s = None
