"""Associations that stay open between two visits, where the meter's inactivity time-out allows it.

Opening one costs more line time than a poll (reference/gurux-dlms.md 6). What a visit leaves behind in order is parked,
what a fault ended is not. A meter ends a link that is idle for too long (HDLC setup, class 23 attribute 8): an RR
before that keeps it open, as often as is cheaper than opening it anew. Sessions of one meter are never interleaved.
"""

import logging
import math
import threading
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Final, Protocol

from dcu import obis
from dcu.drivers.lent import LentAssociation, Session
from dcu.errors import AttributeDenied, DcuError, LinkLost, MeterBusy, MeterSilent, Preempted, ReplyMalformed
from dcu.meter import AttributeRef, ClassId, Meter, Purpose
from dcu.ports import Association

log = logging.getLogger(__name__)

INACTIVITY: Final = AttributeRef(ClassId.HDLC_SETUP, obis.HDLC_SETUP, 8)

BEATS_AT_MOST: Final = 8
"""RRs in a row without a poll between them; more of them cost as much line time as a new association."""

ENDING_S: Final = 4.0
"""How long the end of a process may take to tell the meters."""

_MARGIN: Final = 0.05  # of the inactivity time-out, before it passes
_MARGIN_LEAST_S: Final = 3.0
_UNUSABLE: Final = (AttributeDenied, MeterBusy, ReplyMalformed)


class Opens(Protocol):
    """Who opens associations: `association.Caller.open`."""

    def __call__(self, meter: Meter, purpose: Purpose) -> Session:
        """An open session. Raises as `ports.Line.associate`."""
        ...


@dataclass(slots=True)
class Parked:
    """One association that waits for the next visit.

    Attributes:
        meter, purpose: whose, and what for.
        lent: open.
        limit_s: the meter ends it after so long without an exchange; infinity: never.
        heard_s: when the last exchange ended, monotonic.
        beats: RRs since the last visit.
        lead_s: how long after an exchange something is to be done for it.
    """

    meter: Meter
    purpose: Purpose
    lent: LentAssociation
    limit_s: float
    heard_s: float
    beats: int = 0
    lead_s: float = field(init=False)

    def __post_init__(self) -> None:
        self.lead_s = self.limit_s - margin_s(self.limit_s)

    @property
    def tend_s(self) -> float:
        """When something is to be done for it."""
        return self.heard_s + self.lead_s

    def is_gone(self, now_s: float) -> bool:
        """Whether the meter has ended it by now."""
        return now_s >= self.heard_s + self.limit_s


def margin_s(limit_s: float) -> float:
    """How long before the meter's time-out an exchange must begin."""
    return max(_MARGIN_LEAST_S, _MARGIN * limit_s) if limit_s < math.inf else 0.0


class Parking:
    """All parked associations of one bus; any thread, but one at a time for each place.

    Args:
        opens: opens a new association.
        probes: the same for a meter that has just let all tries of a request go by: it is called once.
        monotonic: seconds that never go back.
        place: of a meter; at one place one session is open at a time (a TCP endpoint; on a shared line each meter).
        beats: whether RR can keep a link open.
        at_most: how many may be parked.
    """

    def __init__(
        self,
        opens: Opens,
        monotonic: Callable[[], float],
        *,
        probes: Opens | None = None,
        place: Callable[[Meter], Hashable],
        beats: bool,
        at_most: int = 64,
    ) -> None:
        self._opens = opens
        self._probes = probes or opens
        self._monotonic = monotonic
        self._place = place
        self._beats = BEATS_AT_MOST if beats else 0
        self._at_most = at_most
        self._lock = threading.Lock()
        self._parked: dict[Hashable, Parked] = {}
        self._due_s: float | None = None  # when the first of them needs something; None: not known
        self._own_limits: dict[str, float] = {}  # the meter's own word, read once
        self._left_s: dict[str, float] = {}
        self._gaps_s: dict[str, float] = {}  # between the last two visits

    def __len__(self) -> int:
        with self._lock:
            return len(self._parked)

    @contextmanager
    def associate(self, meter: Meter, purpose: Purpose) -> Iterator[Association]:
        """As `ports.Line.associate`: the parked one where there is one, else a new one; parked on a clean exit.

        An exit by Preempted is clean: whoever interrupted has the line at once, and the visit is taken up again.
        """
        lent = self._take(meter, purpose)
        if lent is None:
            lent = LentAssociation(self._opens(meter, purpose), self._monotonic)
        else:
            lent.resume(partial(self._open_again, meter, purpose))
        session = lent.session
        first: BaseException | None = None
        try:
            yield lent if self._keeps(meter, purpose) else session.association
        except BaseException as fault:
            first = fault
            raise
        finally:
            in_order = (first is None or isinstance(first, Preempted)) and lent.is_open
            if in_order and self._keeps(meter, purpose):
                another = lent.session is not session
                self._park(meter, purpose, LentAssociation(lent.session, self._monotonic) if another else lent)
            else:
                lent.session.end(first)

    def _open_again(self, meter: Meter, purpose: Purpose, fault: DcuError) -> Session:
        """In the place of one that is gone. Others of the line wait for one time-out of a silent meter, not for two."""
        return (self._probes if isinstance(fault, MeterSilent) else self._opens)(meter, purpose)

    def _keeps(self, meter: Meter, purpose: Purpose) -> bool:
        """A session that may switch is never left open."""
        return meter.model.keep_open and purpose is Purpose.READ

    def _take(self, meter: Meter, purpose: Purpose) -> LentAssociation | None:
        """The parked one, if it is of this meter and purpose and should still be open; whatever else is ended."""
        with self._lock:
            parked = self._parked.pop(self._place(meter), None)
            self._due_s = None
        now_s = self._monotonic()
        if purpose is Purpose.READ and meter.serial in self._left_s:
            self._gaps_s[meter.serial] = now_s - self._left_s[meter.serial]
        if parked is None:
            return None
        if (parked.meter.serial, parked.purpose) == (meter.serial, purpose) and not parked.is_gone(now_s):
            return parked.lent
        self._end(parked, now_s)
        return None

    def _end(self, parked: Parked, now_s: float) -> None:
        lapsed = LinkLost("the inactivity time-out has passed", place=parked.meter.serial)
        parked.lent.session.end(lapsed if parked.is_gone(now_s) else None)

    def _park(self, meter: Meter, purpose: Purpose, lent: LentAssociation) -> None:
        """Keep it where it is likely to be used again before the meter ends it, else end it."""
        try:
            limit_s = self._limit_s(meter, lent)
        except DcuError as fault:
            log.warning("%s: inactivity time-out not read: %s", meter.serial, fault)
            lent.session.end(fault)
            return
        self._left_s[meter.serial] = self._monotonic()
        reach_s = (limit_s - margin_s(limit_s)) * (1 + self._beats)
        if self._gaps_s.get(meter.serial, 0.0) <= reach_s:
            with self._lock:
                place = self._place(meter)
                if place in self._parked or len(self._parked) < self._at_most:
                    self._parked[place] = Parked(meter, purpose, lent, limit_s, lent.heard_s)
                    self._due_s = None
                    return
        lent.session.end(None)

    def _limit_s(self, meter: Meter, lent: LentAssociation) -> float:
        """The shorter of what the model says and what the meter says itself; 0 is never in both.

        Raises:
            DcuError: the meter broke off over that question.
        """
        model_s = meter.model.inactivity_s or math.inf
        if not self._beats:
            return model_s  # the wrapper has no such object
        if meter.serial not in self._own_limits:
            try:
                own = lent.get(INACTIVITY)
            except _UNUSABLE:
                own = 0
            except Preempted:
                return model_s
            except (MeterSilent, LinkLost):
                self._own_limits[meter.serial] = math.inf  # it has no answer to this, and is not asked twice
                raise
            self._own_limits[meter.serial] = float(own) if isinstance(own, int) and own > 0 else math.inf
        return min(model_s, self._own_limits[meter.serial])

    # ---- between visits ----

    def idle_s(self, now_s: float) -> float:
        """Seconds until one of them needs something; infinity when none does."""
        with self._lock:
            return max(0.0, self._first_due_s() - now_s)

    def needy(self, now_s: float, busy: Callable[[Meter], bool] = lambda _meter: False) -> Parked | None:
        """The one that needs something most, taken out: for `tend`."""
        with self._lock:
            if self._first_due_s() > now_s:
                return None
            due = [
                (parked.tend_s, place)
                for place, parked in self._parked.items()
                if parked.tend_s <= now_s and not busy(parked.meter)
            ]
            if not due:
                return None
            self._due_s = None
            return self._parked.pop(min(due, key=lambda item: item[0])[1])

    def _first_due_s(self) -> float:
        """Asked at each turn of the bus: worked out only when another set is parked."""
        if self._due_s is None:
            self._due_s = min((parked.tend_s for parked in self._parked.values()), default=math.inf)
        return self._due_s

    def tend(self, parked: Parked) -> None:
        """Keep it open by RR and park it again; end it where it was in vain too often, or the meter has ended it.

        Raises:
            BusFault: the port is gone.
            Preempted: anything else wants the line before the meter has answered.
        """
        now_s = self._monotonic()
        try:
            if parked.is_gone(now_s) or parked.beats >= self._beats or not parked.lent.session.keep_alive():
                self._end(parked, now_s)
                return
            parked.heard_s, parked.beats = self._monotonic(), parked.beats + 1
        except Preempted:
            self._park_again(parked)
            raise
        self._park_again(parked)

    def _park_again(self, parked: Parked) -> None:
        with self._lock:
            self._parked[self._place(parked.meter)] = parked
            self._due_s = None

    def forget(self) -> None:
        """The line is gone, and with it all of them."""
        with self._lock:
            self._parked.clear()
            self._due_s = None

    def end(self, give_way: Callable[[], None] = lambda: None) -> None:
        """End all of them, briefly: the process ends. Who is not told in time ends the link by its own time-out.

        Args:
            give_way: called before each; what it raises leaves the rest parked.
        """
        until_s = self._monotonic() + ENDING_S
        while self._monotonic() < until_s:
            give_way()
            with self._lock:
                if not self._parked:
                    return
                _, parked = self._parked.popitem()
                self._due_s = None
            parked.lent.session.end(LinkLost("all are ended", place=parked.meter.serial))
        self.forget()
