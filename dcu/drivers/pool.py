"""The bus of meters that each have a connection of their own: a bounded pool of threads for all of them.

A meter that answers late or never holds one thread and nobody else. One thread is kept for urgent errands (relay); when
all are at work a poll gives way between two exchanges, as on a line. An endpoint is never spoken to by two at once.
"""

import logging
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import tzinfo
from typing import Final

from dcu.drivers.bus import KeepAlive, longest_visit_s, too_long
from dcu.drivers.counters import CounterBook, CounterLow
from dcu.drivers.data_link import LineTiming
from dcu.drivers.dispatch import Dispatch, Job, is_probe
from dcu.drivers.lending import Framing, LentLine, LinkFactory
from dcu.errors import DcuError, Fate, OperatorFault, Preempted
from dcu.mailbox import Stop
from dcu.meter import Meter, Purpose
from dcu.ports import Association, Clock, CounterVault, Errand, Plan

log = logging.getLogger(__name__)

PARKED_AT_MOST: Final = 128
"""Connections that stay open between visits; each is a file of the process."""

_SLOWEST_OCTET_S: Final = 0.01  # of a radio mesh: a frame of 128 octets in 1.3 s
_CAPACITY: Final = 1024
_IDLE_S: Final = 1.0  # longest sleep of the one who watches the plan
_REST_S: Final = 10.0  # longest sleep of the others


class TcpPool:
    """Meters behind TCP, and the threads that speak to them. Satisfies `ports.Bus`, and `ports.Line` for its errands.

    Args:
        name: of the bus in the configuration.
        link_factory: opens a connection to one meter.
        framing: WRAPPER or HDLC_TCP.
        counters: invocation counters, committed ahead of use.
        plan: what is due when no errand waits; called from all threads.
        clock: time.
        stop: ends the loops.
        zone: of the meters' clocks.
        system_title: of this box.
        workers: how many threads, 2 at least: the first takes urgent errands only.
        timing: deadlines.
        counter_low: told long before a meter's counters run out.
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
        workers: int,
        timing: LineTiming | None = None,
        counter_low: CounterLow = lambda _serial, _sap, _next: None,
    ) -> None:
        self.name = name
        self.workers = workers
        self._clock = clock
        self._stop = stop
        self._jobs: dict[int, tuple[Job, Callable[[], None]]] = {}  # by thread: what it does, and its heartbeat
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
            parked_at_most=PARKED_AT_MOST,
        )
        self._dispatch = Dispatch(framing.place, plan, self._tending, _CAPACITY)
        lock = threading.Lock()
        self._lock = lock
        self._anything = threading.Condition(lock)  # where threads wait for work of any kind
        self._relay = threading.Condition(lock)  # where the one waits that takes urgent errands only
        self._idle = {True: 0, False: 0}  # threads that wait: the reserved one, the others
        self._watching = False
        self._loops = 0
        stop.enroll(self._anything)
        stop.enroll(self._relay)

    # ---- any thread ----

    def post(self, errand: Errand, *, urgent: bool) -> None:
        """Queue an errand. Raises OperatorFault when too many wait already."""
        with self._lock:
            if not self._dispatch.post(errand, urgent=urgent):
                raise OperatorFault("too many errands wait for this bus", place=self.name, cure="try again later")
            self._wake()
            if urgent:
                self._relay.notify()

    def associate(self, meter: Meter, purpose: Purpose) -> AbstractContextManager[Association]:
        """As `ports.Line.associate`."""
        return self._lent.associate(meter, purpose)

    # ---- the threads ----

    def run(self, number: int, beat: Callable[[], None]) -> None:
        """The loop of one thread, 0 to `workers` - 1, until the process stops; the last one ends what is parked."""
        reserved = number == 0
        with self._lock:
            self._loops += 1
        try:
            while not self._stop:
                beat()
                job = self._next(reserved=reserved)
                if job is not None:
                    self._run(job, beat)
        finally:
            with self._lock:
                self._loops -= 1
                last = self._loops == 0
            if reserved:
                self._interrupt()
            if last:
                self._lent.close()

    def _next(self, *, reserved: bool) -> Job | None:
        """The next job; waits for one, and no longer than the watchdog allows."""
        with self._lock:
            job = self._take(reserved=reserved)
            if job is not None or self._stop:
                return job
            watches = not reserved and not self._watching
            self._watching = self._watching or watches
            wait_s = min(_IDLE_S, self._idle_s()) if watches else _REST_S
            self._idle[reserved] += 1
            try:
                (self._relay if reserved else self._anything).wait(wait_s)
            finally:
                self._idle[reserved] -= 1
                if watches:
                    self._watching = False
            job = self._take(reserved=reserved)
            if watches:
                self._wake()  # somebody else watches the plan now
            return job

    def _take(self, *, reserved: bool) -> Job | None:
        return self._dispatch.take_urgent() if reserved else self._dispatch.take(self._clock.monotonic_s())

    def _idle_s(self) -> float:
        now_s = self._clock.monotonic_s()
        return min(self._dispatch.idle_s(now_s), self._lent.parking.idle_s(now_s))

    def _wake(self) -> None:
        self._anything.notify()

    def _tending(self, now_s: float, busy: Callable[[Meter], bool]) -> Errand | None:
        needy = self._lent.parking.needy(now_s, busy)
        return KeepAlive(self._lent.parking, needy) if needy else None

    def _run(self, job: Job, beat: Callable[[], None]) -> None:
        """One errand; whatever it raises becomes its own failure."""
        errand, gave_way = job.errand, False
        job.began_s = self._clock.monotonic_s()
        self._jobs[threading.get_ident()] = (job, beat)
        if is_probe(errand):
            self._lent.probed.add(errand.meter.serial)
        try:
            errand.run(self)
        except Preempted:
            gave_way = True
        except DcuError as fault:
            errand.failed(fault)
            if fault.fate is Fate.STOP_PROCESS:
                raise
        except Exception as fault:
            log.exception("%s: an errand for meter %s failed by our own fault", self.name, errand.meter.serial)
            errand.failed(fault)
        finally:
            self._lent.probed.discard(errand.meter.serial)
            del self._jobs[threading.get_ident()]
            with self._lock:
                self._dispatch.end(job, resume=gave_way)
                self._wake()  # its place is free
                self._relay.notify()

    def _give_way(self) -> None:
        """Before each exchange: a poll ends here for a relay errand, spare work for anything, all for the end."""
        job, beat = self._jobs[threading.get_ident()]
        beat()
        if job.urgent:
            return
        if self._stop:
            raise Preempted("the process ends", place=self.name)
        with self._lock:
            if self._dispatch.waits_for(job):
                raise Preempted("a relay errand waits for this meter", place=self.name)
            if self._dispatch.wants_thread(idle=sum(self._idle.values())):
                job.asked_to_yield = True
                raise Preempted("a relay errand waits", place=self.name)
            now_s = self._clock.monotonic_s()
            lasted_s = now_s - job.began_s
            endless = lasted_s > longest_visit_s(_SLOWEST_OCTET_S)
            if (job.spare or endless) and not self._idle[False] and self._dispatch.wants_line(now_s):
                raise Preempted("a visit is due", place=self.name) if job.spare else too_long(job.errand, lasted_s)

    def _interrupt(self) -> None:
        """The process ends: who waits for a meter's answer to a poll waits no longer."""
        with self._lock:
            polls = [job.place for job in self._dispatch.running() if not job.urgent]
        for place in polls:
            self._lent.interrupt(place)
