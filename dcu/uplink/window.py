"""What is in flight to the broker, and how far the cursor may move: pure, told what happened and when.

Only the contiguous prefix over PUBACK 0x00 is delivered: acknowledgements come out of order, and a broker can leave a
hole for ever. Any other code, 0x10 (nobody subscribed) included, means that nobody has the batch: its stream is held,
backs off, and is then tried with one batch at a time; the other streams go on. Source: DESIGN 4, store-uplink.md 2.2.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from dcu.record import Stream
from dcu.uplink.backoff import Backoff
from dcu.wire.fields import MAX_ID

SUCCESS: Final = 0x00


@dataclass(slots=True)
class _Flight:
    """A batch on its way: records first..last of a stream, sent at a moment."""

    stream: Stream | None
    first: int
    last: int
    sent_s: float
    confirmed: bool = False
    stale: bool = False  # its answer says nothing any more


@dataclass(slots=True)
class _Hold:
    """A stream that the broker does not take."""

    backoff: Backoff
    until_s: float
    code: int


@dataclass(frozen=True, slots=True)
class Held:
    """A stream was held: nobody has record `first`. `again` when it was held for the same code before."""

    stream: Stream
    first: int
    code: int
    wait_s: float
    again: bool


class Window:
    """In-flight batches of one session, and the holds of all. One thread's own.

    Args:
        size: most batches in flight, whatever the broker allows.
        new_backoff: makes the waits of a held stream.
    """

    def __init__(self, size: int, new_backoff: Callable[[], Backoff]) -> None:
        self._size = size
        self._limit = size
        self._new_backoff = new_backoff
        self._unanswered: dict[int, _Flight] = {}
        self._flights: dict[Stream, deque[_Flight]] = {}
        self._position: dict[Stream, int] = {}
        self._confirmed: dict[Stream, int] = {}
        self._holds: dict[Stream, _Hold] = {}
        self._head_since_s = 0.0

    def begin(self, receive_maximum: int) -> None:
        """A new session: nothing is in flight, at most `receive_maximum` may be. Holds stay."""
        self._limit = max(1, min(self._size, receive_maximum))
        self._unanswered.clear()
        self.forget()

    def forget(self) -> None:
        """Field is to offer again from its own cursor; answers to what is in flight say nothing any more."""
        for flight in self._unanswered.values():
            flight.stale = True
        self._flights.clear()
        self._position.clear()
        self._confirmed.clear()

    @property
    def room(self) -> bool:
        """Whether another batch may be sent."""
        return len(self._unanswered) < self._limit

    @property
    def idle(self) -> bool:
        """Nothing is in flight."""
        return not self._unanswered

    def after(self, now_s: float) -> dict[Stream, int]:
        """Beyond which id of each stream the next batch must lie; the highest id keeps a held stream out."""
        after = dict(self._position)
        for stream, hold in self._holds.items():
            if now_s < hold.until_s or self._flights.get(stream):
                after[stream] = MAX_ID
        return after

    def sent(self, mid: int, stream: Stream, first: int, last: int, now_s: float) -> None:
        """A batch was published under that message id."""
        flight = _Flight(stream, first, last, now_s)
        self._unanswered[mid] = flight
        self._flights.setdefault(stream, deque()).append(flight)
        self._position[stream] = last

    def sent_aside(self, mid: int, now_s: float) -> None:
        """Something that is no batch (presence) was published: it takes a place until it is answered, and no more."""
        self._unanswered[mid] = _Flight(None, 0, 0, now_s, stale=True)

    def acknowledged(self, mid: int, code: int, now_s: float) -> Held | None:
        """The broker's answer; the hold that it leads to, if it does. Unknown and stale ones change nothing."""
        if mid in self._unanswered and next(iter(self._unanswered)) == mid:
            self._head_since_s = now_s
        flight = self._unanswered.pop(mid, None)
        if flight is None or flight.stale or flight.stream is None:
            return None
        if code != SUCCESS:
            return self._hold(flight.stream, code, now_s)
        flight.confirmed = True
        self._holds.pop(flight.stream, None)
        flights = self._flights[flight.stream]
        while flights and flights[0].confirmed:
            self._confirmed[flight.stream] = flights.popleft().last
        return None

    def refuse(self, stream: Stream, first: int, code: int, now_s: float) -> Held:
        """Record `first` of that stream cannot be sent at all: the stream is held before it."""
        self._flights.setdefault(stream, deque()).append(_Flight(stream, first, first, now_s))
        return self._hold(stream, code, now_s)

    def take_confirmed(self) -> dict[Stream, int]:
        """Up to which id of each stream the broker confirmed everything; what was taken is not given again."""
        confirmed, self._confirmed = self._confirmed, {}
        return confirmed

    def silence_s(self, now_s: float) -> float:
        """How long the oldest unanswered batch has been waited for, since it is the oldest; 0 when there is none."""
        if not self._unanswered:
            return 0.0
        return now_s - max(self._head_since_s, next(iter(self._unanswered.values())).sent_s)

    def held(self) -> dict[Stream, int]:
        """Held streams and the code that held each."""
        return {stream: hold.code for stream, hold in self._holds.items()}

    def retry_s(self, now_s: float) -> float | None:
        """Seconds until a held stream may be tried again; None when none is held, or each one's try is in flight."""
        waits = [hold.until_s - now_s for stream, hold in self._holds.items() if not self._flights.get(stream)]
        return max(0.0, min(waits)) if waits else None

    def _hold(self, stream: Stream, code: int, now_s: float) -> Held:
        flights = self._flights.pop(stream)
        for flight in flights:
            flight.stale = True
        first = flights[0].first
        self._position[stream] = first - 1
        known = self._holds.get(stream)
        backoff = known.backoff if known else self._new_backoff()
        wait_s = backoff.next_s()
        self._holds[stream] = _Hold(backoff, now_s + wait_s, code)
        return Held(stream, first, code, wait_s, again=known is not None and known.code == code)
