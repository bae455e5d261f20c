"""The bus worker: the one thread that owns a line, and the errands that it takes.

Urgent errands (relay) go first and wait only for the exchange on the wire: the poll that they interrupt releases its
association and is taken up again behind them. One `except` applies each fault's fate to the bus.
"""

import logging
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import tzinfo
from typing import Final

from dcu.drivers.counters import CounterBook, CounterLow
from dcu.drivers.data_link import LineTiming
from dcu.drivers.dispatch import is_probe, is_spare
from dcu.drivers.lending import Framing, LentLine, LinkFactory
from dcu.drivers.parked import Parked, Parking
from dcu.errors import BusFault, DcuError, Fate, OperatorFault, Preempted, VisitTooLong
from dcu.mailbox import Mailbox, Stop
from dcu.meter import Meter, Purpose
from dcu.ports import Association, ByteLink, Clock, CounterVault, Errand, Line, Plan

__all__ = ["BusWorker", "Framing", "KeepAlive", "Letter", "LinkFactory"]

log = logging.getLogger(__name__)

Letter = tuple[Errand, bool]
"""An errand and whether it is urgent."""

VISIT_LEAST_S: Final = 300.0
"""No visit is too long before this."""

_LONGEST_READ: Final = 1 << 18  # octets: a whole ring of 35 days, of a meter that cannot give a part of it
_PACE: Final = 1.25  # of what the line could carry, for turnarounds

_IDLE_S: Final = 1.0  # longest sleep, so that the watchdog hears of this thread
_BACKOFF_FIRST_S: Final = 0.5
_BACKOFF_CAP_S: Final = 30.0


def longest_visit_s(octet_s: float) -> float:
    """After how long a visit gives the line to others for good: its meter crawls, or has no end.

    Args:
        octet_s: one octet on the line, seconds.
    """
    return max(VISIT_LEAST_S, _PACE * _LONGEST_READ * octet_s)


def too_long(errand: Errand, lasted_s: float) -> VisitTooLong:
    """What ends such a visit."""
    cure = "look what it answers: dcu read"
    return VisitTooLong(f"not at its end after {lasted_s:.0f} s, and others wait", place=errand.meter.serial, cure=cure)


class KeepAlive:
    """The errand that keeps a parked association open; nobody asked for it, so nobody hears when it fails."""

    spare = True
    probe = False

    def __init__(self, parking: Parking, parked: Parked) -> None:
        self.meter = parked.meter
        self._parking = parking
        self._parked = parked

    def run(self, _line: Line) -> None:
        """As `ports.Errand`."""
        self._parking.tend(self._parked)

    def failed(self, fault: Exception) -> None:
        """As `ports.Errand`."""
        log.debug("%s: not kept open: %s", self.meter.serial, fault)


class BusWorker:
    """One line, its thread and its errands. Satisfies `ports.Bus`; what it lends to errands satisfies `ports.Line`.

    `run` is the body of its thread.

    Args:
        name: of the bus in the configuration.
        link_factory: opens the line.
        framing: its kind.
        counters: invocation counters, committed ahead of use.
        plan: what is due when no errand waits.
        clock: time.
        stop: ends the loop.
        zone: of the meters' clocks.
        system_title: of this box, `security.client_title(dcu_id)`: its own, so that no nonce is shared.
        timing: deadlines; of a serial line `LineTiming.at_baud`.
        beat: called on each turn of the loop and before each exchange, for the watchdog.
        on_state: called with the fault when the bus goes down and with None when it is up again.
        mailbox: of errands, and the only place where this loop waits: one that moves `clock` on lets it run in
            virtual time.
        counter_low: told long before a meter's invocation counters run out.
    """

    def __init__(
        self,
        name: str,
        link_factory: LinkFactory,
        framing: Framing,
        counters: CounterVault,
        plan: Plan,
        clock: Clock,
        stop: Stop,
        zone: tzinfo,
        *,
        system_title: bytes,
        timing: LineTiming | None = None,
        beat: Callable[[], None] = lambda: None,
        on_state: Callable[[BusFault | None], None] = lambda _fault: None,
        mailbox: Mailbox[Letter] | None = None,
        counter_low: CounterLow = lambda _serial, _sap, _next: None,
    ) -> None:
        self.name = name
        self._plan = plan
        self._clock = clock
        self._stop = stop
        self._beat = beat
        self._on_state = on_state
        self._mailbox = mailbox if mailbox is not None else Mailbox[Letter](stop)
        self._urgent: deque[Errand] = deque()
        self._resumed: deque[Errand] = deque()
        self._down: BusFault | None = None
        self._backoff_s = _BACKOFF_FIRST_S
        self._resting = False  # a fault of the line was found in use: not opened again at once
        self._worked = False  # since it was opened
        self._doubted = False  # it opened and failed at once: having opened proves nothing until something works
        self._posted_last = False  # what ran last was posted: what is due goes before the next one
        self._running: Errand | None = None
        self._running_urgent = False
        self._began_s = 0.0
        self._visit_most_s = longest_visit_s((timing or LineTiming()).octet_s)
        self._lent = LentLine(
            name,
            link_factory,
            framing,
            CounterBook(counters, counter_low),
            clock,
            zone,
            system_title=system_title,
            timing=timing or LineTiming(),
            give_way=self._give_way,
        )

    # ---- any thread ----

    def post(self, errand: Errand, *, urgent: bool) -> None:
        """Queue an errand. Raises OperatorFault when too many wait already."""
        if not self._mailbox.post((errand, urgent), urgent=urgent):
            raise OperatorFault("too many errands wait for this bus", place=self.name, cure="try again later")

    # ---- Line, lent to errands ----

    def associate(self, meter: Meter, purpose: Purpose) -> AbstractContextManager[Association]:
        """As `ports.Line.associate`."""
        return self._lent.associate(meter, purpose)

    def survey(self) -> AbstractContextManager[ByteLink]:
        """As `LentLine.survey`: for an errand that looks for meters, and calls `give_way` before each exchange."""
        return self._lent.survey()

    def give_way(self) -> None:
        """Raises Preempted where a relay errand waits."""
        self._give_way()

    # ---- the loop ----

    def run(self) -> None:
        """Until the process stops: keep the line open, take errands, else what the plan has due."""
        try:
            while not self._stop:
                self.turn()
        finally:
            self.close()

    def turn(self) -> None:
        """Once round the loop: one errand or one visit of the plan, else a wait of at most a second."""
        self._beat()
        if not self._ready():
            self._refuse_waiting()
            return
        errand, urgent = self._next()
        if errand is not None:
            self._run(errand, urgent=urgent)

    def _next(self) -> tuple[Errand | None, bool]:
        """The next errand and whether it is urgent; waits no longer than the plan allows."""
        urgent = self._take_urgent()
        if urgent is not None:
            return urgent, True
        if self._resumed:
            return self._resumed.popleft(), False
        now = self._clock.monotonic_s()
        own = self._own_turn(now)
        self._posted_last = False
        if own is not None:
            return own, False
        letter = self._mailbox.take(min(_IDLE_S, self.idle_s(now)))
        self._posted_last = letter is not None
        return letter or (None, False)

    def _own_turn(self, now: float) -> Errand | None:
        """Own work where its turn is: several who post one errand behind the other must not keep a visit away."""
        if len(self._mailbox) == 0:
            return self._own_work(now)
        own = self._own_work(now) if self._posted_last else None
        return None if own is None or (is_spare(own) and not isinstance(own, KeepAlive)) else own

    def _own_work(self, now: float) -> Errand | None:
        """What the plan has due; what keeps an association open; what spare time is for."""
        due = self._plan.due(now)
        if due is not None and not is_spare(due):
            return due
        needy = self._lent.parking.needy(now)
        return KeepAlive(self._lent.parking, needy) if needy else due

    def idle_s(self, monotonic_s: float) -> float:
        """Seconds until this worker may have work of its own: of its plan, or for an association that is kept open."""
        return max(0.0, min(self._plan.idle_s(monotonic_s), self._lent.parking.idle_s(monotonic_s)))

    def _take_urgent(self) -> Errand | None:
        if self._urgent:
            return self._urgent.popleft()
        letter = self._mailbox.take_urgent()
        return letter[0] if letter else None

    def _run(self, errand: Errand, *, urgent: bool) -> None:
        """One errand; whatever it raises becomes its own failure, and a fault of the bus closes the bus."""
        self._running, self._running_urgent = errand, urgent
        self._began_s = self._clock.monotonic_s()
        if is_probe(errand):
            self._lent.probed.add(errand.meter.serial)
        try:
            errand.run(self)
            self._works()
        except Preempted:
            if not is_spare(errand):
                self._resumed.appendleft(errand)
        except DcuError as fault:
            if fault.fate is Fate.STOP_PROCESS:
                errand.failed(fault)
                raise
            if fault.fate is Fate.REOPEN_BUS:
                self._resting, self._doubted = True, not self._worked
                self._lose(fault)
            else:
                self._works()
            errand.failed(fault)
        except Exception as fault:
            log.exception("%s: an errand for meter %s failed by our own fault", self.name, errand.meter.serial)
            errand.failed(fault)
        finally:
            self._running, self._running_urgent = None, False
            self._lent.probed.discard(errand.meter.serial)

    def _give_way(self) -> None:
        """Before each exchange: a poll ends here for a relay errand, spare work for anything, all for the end."""
        self._beat()
        if self._running_urgent:
            return
        waiting = self._take_urgent()
        if waiting is not None:
            self._urgent.append(waiting)
            raise Preempted("a relay errand waits", place=self.name)
        if self._stop:
            raise Preempted("the process ends", place=self.name)
        if self._running is None:
            return
        now = self._clock.monotonic_s()
        if is_spare(self._running):
            if len(self._mailbox) or self._plan.is_due(now):
                raise Preempted("a visit is due", place=self.name)
        elif now - self._began_s > self._visit_most_s and self._others_wait(self._running, now):
            raise too_long(self._running, now - self._began_s)

    def _others_wait(self, errand: Errand, now: float) -> bool:
        serial = errand.meter.serial
        return len(self._mailbox) > 0 or self._plan.is_due(now, lambda meter: meter.serial == serial)

    # ---- the line ----

    def _ready(self) -> bool:
        """Whether the line is open; opens it after a fault when the back-off has passed."""
        if self._resting:
            self._resting = False
            return False
        if self._lent.is_open:
            return True
        try:
            self._lent.open()
        except BusFault as fault:
            self._lose(fault)
            return False
        self._worked = False
        if not self._doubted:
            self._announce(None)
        return True

    def _works(self) -> None:
        """An errand came to its end, well or not, without a fault of the line."""
        self._backoff_s, self._worked, self._doubted = _BACKOFF_FIRST_S, True, False
        self._announce(None)

    def _lose(self, fault: DcuError) -> None:
        self._lent.lose()
        self._announce(fault if isinstance(fault, BusFault) else BusFault(str(fault), place=self.name))

    def _announce(self, fault: BusFault | None) -> None:
        if (fault is None) == (self._down is None):
            return
        self._down = fault
        if fault is None:
            log.info("bus %s is up", self.name)
        else:
            log.warning("bus %s is down: %s", self.name, fault)
        self._on_state(fault)

    def _refuse_waiting(self) -> None:
        """While the line is down nobody waits for it; then sleep a little longer than the last time."""
        fault = self._down or BusFault("the line is down", place=self.name)
        waiting = [*self._urgent, *self._resumed]
        self._urgent.clear()
        self._resumed.clear()
        until = self._clock.monotonic_s() + self._backoff_s
        self._backoff_s = min(2 * self._backoff_s, _BACKOFF_CAP_S)
        while True:
            for errand in waiting:
                errand.failed(fault)
            left = until - self._clock.monotonic_s()
            if left <= 0 or self._stop:
                return
            waiting = [letter[0] for letter in self._mailbox.drain(min(left, _IDLE_S), 64)]
            self._beat()

    def close(self) -> None:
        """End what is open and give the line back; `turn` opens it again. Called in the bus's thread."""
        self._lent.close()
