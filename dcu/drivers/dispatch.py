"""Which errand a pool takes next, and which of those that run gives way: decisions without threads or waiting.

At one place (`Framing.place`: an endpoint, which meters behind a gateway share) one errand runs at a time. Urgent ones
go first; while one waits for a place nothing else begins there.
"""

from collections import deque
from collections.abc import Callable, Container, Hashable
from dataclasses import dataclass

from dcu.meter import Meter
from dcu.ports import Errand, Plan


@dataclass(eq=False, slots=True)
class Job:
    """One errand that runs.

    Attributes:
        errand: what is done.
        urgent: nothing interrupts it.
        place: where.
        began_s: when, monotonic.
        asked_to_yield: it was told to give its thread to an urgent errand elsewhere.
    """

    errand: Errand
    urgent: bool
    place: Hashable
    began_s: float = 0.0
    asked_to_yield: bool = False

    @property
    def spare(self) -> bool:
        """Whether it is work of spare time."""
        return is_spare(self.errand)


def is_spare(errand: Errand) -> bool:
    """Whether an errand ends as soon as anything else wants the line: a `VisitErrand` says so.

    Asked at each turn of a bus, and isinstance() of a Protocol takes ten times as long.
    """
    return bool(getattr(errand, "spare", False))


def is_probe(errand: Errand) -> bool:
    """Whether the meter did not answer the last time, and one try must do: a `VisitErrand` says so."""
    return bool(getattr(errand, "probe", False))


class Dispatch:
    """Queues of one pool, and what runs. Called under the pool's lock.

    Args:
        place: of a meter.
        plan: what is due when no errand waits.
        tending: an errand that keeps parked associations in order, or None when none needs it.
        capacity: how many errands may wait that are not urgent.
    """

    def __init__(
        self,
        place: Callable[[Meter], Hashable],
        plan: Plan,
        tending: Callable[[float, Callable[[Meter], bool]], Errand | None],
        capacity: int,
    ) -> None:
        self._place = place
        self._plan = plan
        self._tending = tending
        self._capacity = capacity
        self._urgent: deque[Errand] = deque()
        self._letters: deque[Errand] = deque()
        self._resumed: deque[Errand] = deque()
        self._running: dict[Hashable, Job] = {}

    def post(self, errand: Errand, *, urgent: bool) -> bool:
        """Queue it; False when too many wait (an urgent one always fits)."""
        if not urgent and len(self._letters) >= self._capacity:
            return False
        (self._urgent if urgent else self._letters).append(errand)
        return True

    def take_urgent(self) -> Job | None:
        """The first urgent errand whose place is free, as a job that runs now."""
        return self._first(self._urgent, self._running, urgent=True)

    def take(self, now_s: float) -> Job | None:
        """The next errand of any kind, as a job that runs now."""
        job = self.take_urgent()
        if job is not None:
            return job
        taken = self._taken()
        for queue in (self._resumed, self._letters):
            job = self._first(queue, taken, urgent=False)
            if job is not None:
                return job
        busy = self._busy()
        due = self._plan.due(now_s, busy)
        errand = due if due is not None and not is_spare(due) else self._tending(now_s, busy) or due
        return self._begin(errand, urgent=False) if errand is not None else None

    def end(self, job: Job, *, resume: bool) -> None:
        """It runs no more; `resume`: it gave way and is to be taken up again, unless it was work of spare time."""
        del self._running[job.place]
        if resume and not job.spare:
            self._resumed.appendleft(job.errand)

    def idle_s(self, now_s: float) -> float:
        """Seconds until the plan may have something due for a place that is free."""
        return max(0.0, self._plan.idle_s(now_s, self._busy()))

    def waits_for(self, job: Job) -> bool:
        """Whether an urgent errand waits for the place of `job`."""
        return any(self._place(errand.meter) == job.place for errand in self._urgent)

    def wants_thread(self, *, idle: int) -> bool:
        """Whether an urgent errand could run, were one more thread free; those that were asked to yield count."""
        could = {self._place(errand.meter) for errand in self._urgent} - self._running.keys()
        return len(could) > idle + sum(job.asked_to_yield for job in self._running.values())

    def wants_line(self, now_s: float) -> bool:
        """Whether anything waits that goes before spare work."""
        return bool(self._urgent or self._resumed or self._letters) or self._plan.is_due(now_s, self._busy())

    def running(self) -> list[Job]:
        """What runs now."""
        return list(self._running.values())

    def _first(self, queue: deque[Errand], taken: Container[Hashable], *, urgent: bool) -> Job | None:
        for errand in queue:
            if self._place(errand.meter) not in taken:
                queue.remove(errand)
                return self._begin(errand, urgent=urgent)
        return None

    def _begin(self, errand: Errand, *, urgent: bool) -> Job:
        job = Job(errand, urgent, self._place(errand.meter))
        self._running[job.place] = job
        return job

    def _taken(self) -> set[Hashable]:
        """Places where nothing but an urgent errand may begin."""
        return {*self._running, *(self._place(errand.meter) for errand in self._urgent)}

    def _busy(self) -> Callable[[Meter], bool]:
        """The same for the plan; a visit that gave way is not given again before it was taken up."""
        taken = self._taken() | {self._place(errand.meter) for errand in self._resumed}
        return lambda meter: self._place(meter) in taken
