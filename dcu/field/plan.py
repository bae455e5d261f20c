"""The plan of one bus: which meter is visited next, and what its failures cost it."""

import logging
import threading
from collections.abc import Callable, Iterable, Sequence
from datetime import tzinfo

from dcu.config import PollConfig
from dcu.errors import AddressClash, AttributeDenied, DcuError, Fate, ReplyForged, StoreFault, WrongMeter
from dcu.event import AlarmKind
from dcu.field.announce import Announcer
from dcu.field.clock_watch import Look
from dcu.field.places import place_of
from dcu.field.visit import MeterVisit, VisitScene
from dcu.meter import Meter
from dcu.ports import Clock, Store
from dcu.schedule import Schedule, Task, TaskKind, nobody

log = logging.getLogger(__name__)

FIRST_SPREAD_S_PER_METER = 0.2

NOT_ASKED = "not read yet"
"""Condition of a meter that was not asked since the process began."""

REFUSED_AGAIN_S = 900.0
"""When an object is asked again that the meter could not give, for a reason that may pass."""

Busy = Callable[[Meter], bool]


class BusPlan:
    """Implements `ports.Plan` for the meters of one bus, and keeps what is known of each for `dcu status`.

    Any thread may call it: each meter is visited by one at a time, and what they share is behind a lock. No alarm is
    raised under that lock, since raising one waits for the store.
    """

    def __init__(
        self,
        meters: Sequence[Meter],
        store: Store,
        clock: Clock,
        announcer: Announcer,
        zone: tzinfo,
        poll: PollConfig,
        *,
        octets_per_s: float = 960.0,
    ) -> None:
        self._meters = {m.serial: m for m in meters}
        self._announcer = announcer
        self._clock = clock
        self._lock = threading.Lock()
        self._schedule = Schedule(_tasks(meters), clock.monotonic_s(), FIRST_SPREAD_S_PER_METER * len(meters))
        self._scene = VisitScene(store, clock, zone, poll, octets_per_s)
        self.condition: dict[str, str] = dict.fromkeys(self._meters, NOT_ASKED)
        self.set_aside: set[str] = set()
        self._alarmed: set[str] = set()
        self._unusable: dict[Task, str] = {}

    def due(self, monotonic_s: float, busy: Busy | None = None) -> MeterVisit | None:
        """The next visit (`ports.Plan`)."""
        with self._lock:
            visit = self._schedule.visit(monotonic_s, self._by_serial(busy))
            if visit is None:
                return None
            meter = self._meters[visit.serial]
        return MeterVisit(meter, visit.tasks, self, self._scene, spare=visit.spare, probe=visit.probe)

    def is_due(self, monotonic_s: float, busy: Busy | None = None) -> bool:
        """Whether a visit other than a spare one is due (`ports.Plan`)."""
        with self._lock:
            return self._schedule.is_due(monotonic_s, self._by_serial(busy))

    def idle_s(self, monotonic_s: float, busy: Busy | None = None) -> float:
        """Until the next visit (`ports.Plan`)."""
        with self._lock:
            return self._schedule.idle_s(monotonic_s, busy=self._by_serial(busy))

    def _by_serial(self, busy: Busy | None) -> Callable[[str], bool]:
        return nobody if busy is None else lambda serial: busy(self._meters[serial])

    # ---- meters that come and go ----

    def admit(self, meter: Meter) -> None:
        """A meter was commissioned on this bus: it is visited from now on."""
        with self._lock:
            self._meters[meter.serial] = meter
            self.condition[meter.serial] = NOT_ASKED
            self._schedule.add(meter.serial, _tasks([meter]), self._clock.monotonic_s())

    def dismiss(self, serial: str) -> None:
        """A meter is not read any more; a visit that is under way ends by itself."""
        with self._lock:
            self._meters.pop(serial, None)
            self._schedule.remove(serial)
            self._scene.books.pop(serial, None)
            self.condition.pop(serial, None)
            self.set_aside.discard(serial)
            self._alarmed.discard(serial)

    def looks(self) -> list[Look]:
        """The last look at each meter's clock, of the meters that were asked; a memory out of the store is none."""
        looks = [book.look for book in list(self._scene.books.values())]
        return [look for look in looks if look is not None and not look.slack_s]

    def all_asked(self) -> bool:
        """Whether each meter was asked since the process began, whatever came of it."""
        with self._lock:
            return NOT_ASKED not in self.condition.values()

    def ahead_s(self, serial: str) -> int | None:
        """A meter's clock minus the box's, by the last look; None where that is not known."""
        book = self._scene.books.get(serial)
        return None if book is None else book.ahead_s

    # ---- what a visit reports ----

    def answered(self, meter: Meter) -> None:
        """The association is open and the serial is right."""
        self.set_aside.discard(meter.serial)

    def visited(self, meter: Meter) -> None:
        """The visit went through to its end."""
        with self._lock:
            self._schedule.answered(meter.serial)
            returned = meter.serial in self._alarmed
            self._alarmed.discard(meter.serial)
            if meter.serial in self._meters:
                self.condition[meter.serial] = "ok"
        if returned:
            self._announcer.alarm(AlarmKind.METER_RETURNED, "answers again", meter=meter.serial)

    def done(self, task: Task, next_s: float) -> None:
        """A task succeeded."""
        with self._lock:
            self._unusable.pop(task, None)
            self._schedule.done(task, next_s, self._clock.monotonic_s())

    def put_off(self, task: Task, next_s: float) -> None:
        """A task did not succeed this time: what else is due at that meter goes before it."""
        with self._lock:
            self._schedule.put_off(task, next_s)

    def backlog(self, task: Task, *, remains: bool) -> None:
        """Whether the task left rows behind that spare time may bring."""
        with self._lock:
            self._schedule.backlog(task, remains=remains)

    def denied(self, task: Task, fault: AttributeDenied) -> None:
        """The meter refuses the object of a task: it is not asked again, or only later where the reason may pass."""
        what = task.profile or task.kind.value
        with self._lock:
            if fault.fate is Fate.DROP_OBJECT:
                self._schedule.drop(task)
                log.warning("%s: %s is not asked again: %s", task.serial, what, fault)
            else:
                self._schedule.put_off(task, self._clock.monotonic_s() + REFUSED_AGAIN_S)
                log.warning("%s: %s is asked again later: %s", task.serial, what, fault)

    def malformed(self, task: Task, fault: DcuError, next_s: float) -> None:
        """An answer that cannot be stored as good: alarmed when it is new, and asked again at its next time."""
        with self._lock:
            self._schedule.put_off(task, next_s)
            known, self._unusable[task] = self._unusable.get(task), type(fault).__name__
        if known != type(fault).__name__:
            profile = str(task.profile or "")
            self._announcer.alarm(AlarmKind.METER_SET_ASIDE, str(fault), meter=task.serial, profile=profile)

    def failed(self, meter: Meter, fault: Exception) -> None:
        """The visit ended badly: the meter is held by the fate of the error."""
        fate = fault.fate if isinstance(fault, DcuError) else Fate.PAUSE_METER
        if fate is Fate.REOPEN_BUS:
            return  # the bus's own trouble: no meter is to blame
        with self._lock:
            if meter.serial not in self._meters:
                return  # it was retired meanwhile
            self._schedule.failed(meter.serial, fate, self._clock.monotonic_s())
            self.condition[meter.serial] = str(fault)
            known = meter.serial in self._alarmed
            if isinstance(fault, WrongMeter):
                known = meter.serial in self.set_aside  # that it was silent before says nothing of who is there now
                self.set_aside.add(meter.serial)
            if isinstance(fault, StoreFault) or known:
                return  # the store's own trouble: the meter waits, and is not to blame
            self._alarmed.add(meter.serial)
        if isinstance(fault, WrongMeter):
            self._tell_another(meter, fault)
            return
        kind = AlarmKind.ADDRESS_CLASH if isinstance(fault, AddressClash) else _kind(fate)
        self._announcer.alarm(kind, str(fault), meter=meter.serial, forged=isinstance(fault, ReplyForged))

    def _tell_another(self, meter: Meter, fault: WrongMeter) -> None:
        """Another serial answers: in the place of a meter that was read there, or where it was never found."""
        was_here = self._scene.book(meter).kept is not None
        kind = AlarmKind.METER_REPLACED if was_here else AlarmKind.METER_SET_ASIDE
        facts = {"was": meter.serial, "now": fault.found, "place": place_of(meter)}
        self._announcer.alarm(kind, str(fault), meter=meter.serial, **facts)


def _kind(fate: Fate) -> AlarmKind:
    if fate is Fate.SET_ASIDE:
        return AlarmKind.METER_SET_ASIDE
    return AlarmKind.METER_PAUSED if fate is Fate.PAUSE_METER else AlarmKind.METER_SILENT


def _tasks(meters: Iterable[Meter]) -> Iterable[Task]:
    for meter in meters:
        for profile in meter.model.profiles:
            yield Task(meter.serial, TaskKind(profile.kind.value), profile.logical_name)
        if meter.model.balance:
            yield Task(meter.serial, TaskKind.BALANCE)
