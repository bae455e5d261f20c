"""What is in flight to the broker, and how far the cursor may move: pure, told what happened and when.

Only the contiguous prefix over PUBACK 0x00 is delivered: acknowledgements come out of order, and a broker can leave a
hole for ever. Any other code, 0x10 (nobody subscribed) included, means that nobody has the batch: its stream is held,
backs off, and is then tried with one batch at a time; the other streams go on. A code that can be about what is in the
batch makes it be asked for in halves, until one record stands alone: it is the one, when it is refused three times.
Source: DESIGN 4, store-uplink.md 2.2.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, cast

from dcu.record import Stream
from dcu.uplink.backoff import Backoff
from dcu.uplink.flow import Flow, Parcel
from dcu.wire.fields import MAX_ID

SUCCESS: Final = 0x00
FAILURE: Final = 0x80
"""From here on a code says that something is wrong; 0x10 does not."""

OF_A_RECORD: Final = frozenset({0x80, 0x83, 0x95, 0x99})
"""PUBACK codes that can be about what is in a batch: no reason, the broker's own, too large, payload format."""

ENDS_FOR_A_RECORD: Final = frozenset({0x81, 0x82, 0x83, 0x95, 0x99})
"""DISCONNECT codes that can: malformed, protocol error, and as above."""

REFUSALS: Final = 3
"""So often is a record refused alone before it is the one."""


@dataclass(slots=True)
class _Flight:
    """A batch on its way: records first..last of a stream, sent at a moment."""

    stream: Stream | None
    first: int
    last: int
    parcel: Parcel
    confirmed: bool = False
    stale: bool = False  # its answer says nothing any more


@dataclass(slots=True)
class _Hold:
    """A stream that the broker does not take."""

    backoff: Backoff
    until_s: float
    code: int


@dataclass(slots=True)
class _Search:
    """Somewhere up to record `last` stands one that the broker refuses."""

    last: int
    max_bytes: int
    alone: int = 0  # the record that was refused alone
    refusals: int = 0  # so often


@dataclass(frozen=True, slots=True)
class Held:
    """A stream was held: nobody has record `first`.

    Attributes:
        stream, first, code: which, from where on, by which code.
        wait_s: before it is tried again; 0 while the record that is refused is looked for.
        again: it was held for the same code before.
        refused: record `first` alone was refused `REFUSALS` times: it is the one.
    """

    stream: Stream
    first: int
    code: int
    wait_s: float
    again: bool
    refused: bool = False


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
        self._searches: dict[Stream, _Search] = {}
        self._careful = False
        self._head_since_s = 0.0
        self.flow = Flow()

    def begin(self, receive_maximum: int) -> None:
        """A new session: nothing is in flight, at most `receive_maximum` may be. Holds and searches stay."""
        self._limit = max(1, min(self._size, receive_maximum))
        self._unanswered.clear()
        self.flow.begin()
        self._flights.clear()
        self._position = dict(self._confirmed)  # what was confirmed and not yet told stays so

    def forget(self) -> None:
        """Field is another process: it offers again from its own cursor, perhaps of another store.

        Answers to what is in flight say nothing any more.
        """
        for flight in self._unanswered.values():
            flight.stale = True
        self._flights.clear()
        self._position.clear()
        self._confirmed.clear()
        self._searches.clear()

    @property
    def room(self) -> bool:
        """Whether another batch may be sent."""
        alone = self._careful and bool(self._searches)
        return len(self._unanswered) < (1 if alone else self._limit) and self.flow.room

    @property
    def idle(self) -> bool:
        """Nothing is in flight."""
        return not self._unanswered

    def after(self, now_s: float) -> dict[Stream, int]:
        """Beyond which id of each stream the next batch must lie; the highest id keeps a held stream out."""
        after = dict(self._position)
        for stream in self._holds.keys() | self._searches.keys():
            if self._flights.get(stream) or stream in self._searches or now_s < self._holds[stream].until_s:
                after[stream] = MAX_ID
        return after

    def search(self, now_s: float) -> tuple[dict[Stream, int], int] | None:
        """(after, octets) to ask for next in the search for a refused record: of its stream only. None: nothing."""
        for stream, search in self._searches.items():
            if self._due(stream, now_s):
                return {s: self._position.get(s, 0) if s is stream else MAX_ID for s in Stream}, search.max_bytes
        return None

    def found_nothing(self, after: dict[Stream, int]) -> None:
        """Field has nothing beyond those ids (any more): what held or searched streams asked for there is gone."""
        for stream in Stream:
            if after.get(stream) != MAX_ID and not self._flights.get(stream):
                self._searches.pop(stream, None)
                self._holds.pop(stream, None)

    def awaits(self, stream: Stream, first: int, now_s: float) -> bool:
        """Whether a batch that was asked for earlier is still the one behind what was sent of its stream."""
        return self.after(now_s).get(stream) == first - 1 and self.search(now_s) is None

    def sent(self, mid: int, stream: Stream, first: int, last: int, now_s: float, octets: int = 0) -> None:
        """A batch was published under that message id; `octets` of records."""
        flight = _Flight(stream, first, last, self.flow.sent(octets, now_s))
        self._unanswered[mid] = flight
        self._flights.setdefault(stream, deque()).append(flight)
        self._position[stream] = last

    def sent_aside(self, mid: int, now_s: float) -> None:
        """Something that is no batch (presence) was published: it takes a place until it is answered, and no more."""
        self._unanswered[mid] = _Flight(None, 0, 0, self.flow.sent(0, now_s), stale=True)

    def acknowledged(self, mid: int, code: int, now_s: float) -> Held | None:
        """The broker's answer; the hold that it leads to, if it does. Unknown and stale ones change nothing."""
        if mid in self._unanswered and next(iter(self._unanswered)) == mid:
            self._head_since_s = now_s
        flight = self._unanswered.pop(mid, None)
        if flight is None:
            return None
        if flight.parcel.octets:
            self.flow.answered(flight.parcel, now_s)
        if flight.stale or flight.stream is None:
            return None
        if code != SUCCESS:
            return self._refused(flight, code, now_s, of_a_record=code in OF_A_RECORD)
        flight.confirmed = True
        self._holds.pop(flight.stream, None)
        search = self._searches.get(flight.stream)
        if search is not None and flight.last >= search.last:
            del self._searches[flight.stream]
        flights = self._flights[flight.stream]
        while flights and flights[0].confirmed:
            self._confirmed[flight.stream] = flights.popleft().last
        return None

    def refuse(self, stream: Stream, first: int, code: int, now_s: float) -> Held:
        """Record `first` of that stream cannot be sent at all: as if the broker had refused it."""
        flight = _Flight(stream, first, first, self.flow.sent(0, now_s))
        self._flights.setdefault(stream, deque()).append(flight)
        return self._refused(flight, code, now_s, of_a_record=True)

    def ended(self, code: int, now_s: float) -> Held | None:
        """The broker ended the session with that code (DISCONNECT): for what one of the batches in flight holds?

        With one in flight it is that one. Else from now on, until the record is found, one is sent at a time.
        """
        suspects = [f for f in self._unanswered.values() if f.stream is not None and not f.stale]
        if code not in ENDS_FOR_A_RECORD or not suspects:
            return None
        if len(suspects) == 1:
            return self._refused(suspects[0], code, now_s, of_a_record=True)
        self._careful = True
        for flight in suspects:
            if flight.stream is not None:
                octets = max(1, flight.parcel.octets)
                search = self._searches.setdefault(flight.stream, _Search(flight.last, octets))
                search.last = max(search.last, flight.last)
        return None

    def postpone(self, stream: Stream, now_s: float) -> float:
        """Field does not set the refused record aside: its stream waits, the seconds that are returned."""
        hold = self._holds[stream]
        wait_s = hold.backoff.rest_s()
        hold.until_s = now_s + wait_s
        return wait_s

    def passed(self, stream: Stream, n: int) -> None:
        """Field set record `n` aside: the stream goes on behind it."""
        self._position[stream] = n
        self._holds.pop(stream, None)
        search = self._searches.get(stream)
        if search is not None and n >= search.last:
            del self._searches[stream]

    def take_confirmed(self) -> dict[Stream, int]:
        """Up to which id of each stream the broker confirmed everything; what was taken is not given again."""
        confirmed, self._confirmed = self._confirmed, {}
        return confirmed

    def silence_s(self, now_s: float) -> float:
        """How long the oldest unanswered batch has been waited for, since it is the oldest; 0 when there is none."""
        if not self._unanswered:
            return 0.0
        return now_s - max(self._head_since_s, next(iter(self._unanswered.values())).parcel.sent_s)

    def held(self) -> dict[Stream, int]:
        """Held streams and the code that held each."""
        return {stream: hold.code for stream, hold in self._holds.items()}

    def retry_s(self, now_s: float) -> float | None:
        """Seconds until a held stream may be tried again; None when none is held, or each one's try is in flight."""
        waits = [0.0 for stream in self._searches if self._due(stream, now_s)]
        waits += [hold.until_s - now_s for stream, hold in self._holds.items() if not self._flights.get(stream)]
        return max(0.0, min(waits)) if waits else None

    def _due(self, stream: Stream, now_s: float) -> bool:
        hold = self._holds.get(stream)
        return not self._flights.get(stream) and (hold is None or now_s >= hold.until_s)

    def _refused(self, flight: _Flight, code: int, now_s: float, *, of_a_record: bool) -> Held:
        stream = cast("Stream", flight.stream)
        if not of_a_record:
            return self._hold(stream, code, now_s)
        search = self._searches.setdefault(stream, _Search(flight.last, 1))
        search.last = max(search.last, flight.last)
        if flight.first != flight.last:
            search.max_bytes = max(1, flight.parcel.octets // 2)
            return self._hold(stream, code, now_s, at_once=True)
        search.refusals = search.refusals + 1 if search.alone == flight.first else 1
        search.alone, search.max_bytes = flight.first, 1
        alone = self._flights[stream][0] is flight
        return self._hold(stream, code, now_s, refused=alone and search.refusals >= REFUSALS)

    def _hold(self, stream: Stream, code: int, now_s: float, *, at_once: bool = False, refused: bool = False) -> Held:
        flights = self._flights.pop(stream)
        for flight in flights:
            flight.stale = True
        first = flights[0].first
        self._position[stream] = first - 1
        known = self._holds.get(stream)
        backoff = known.backoff if known else self._new_backoff()
        wait_s = 0.0 if at_once else backoff.next_s()
        self._holds[stream] = _Hold(backoff, now_s + wait_s, code)
        return Held(stream, first, code, wait_s, again=known is not None and known.code == code, refused=refused)
