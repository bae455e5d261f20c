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
from dcu.field.refusals import Refusals, again_s
from dcu.field.visit import MeterVisit, VisitScene
from dcu.meter import Meter
from dcu.obis import LogicalName
from dcu.ports import Clock, ProfileState, Store
from dcu.schedule import Schedule, Task, TaskKind, nobody

log = logging.getLogger(__name__)

FIRST_SPREAD_S_PER_METER = 0.2

NOT_ASKED = "not read yet"
"""Condition of a meter that was not asked since the process began."""

Busy = Callable[[Meter], bool]

_Told = tuple[AlarmKind, bool]
"""A trouble that was alarmed, and whether as a forged reply."""


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
        self._alarmed: dict[str, set[_Told]] = {}
        self._unusable: dict[Task, str] = {}
        self._refusals = Refusals()

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
            self._alarmed.pop(serial, None)
            self._refusals.forget(serial)

    def looks(self) -> list[Look]:
        """The last look at each meter's clock, of the meters that were asked; a memory out of the store is none."""
        looks = [book.look for book in list(self._scene.books.values())]
        return [look for look in looks if look is not None and not look.slack_s]

    def all_asked(self) -> bool:
        """Whether each meter was asked since the process began, whatever came of it."""
        with self._lock:
            return NOT_ASKED not in self.condition.values()

    def face_s(self, serial: str) -> int | None:
        """What a meter's clock should show now, by the last look; None where that is not known."""
        book = self._scene.books.get(serial)
        return None if book is None else book.face_s(self._clock.monotonic_s())

    def states(self, serial: str) -> dict[LogicalName, ProfileState | None]:
        """What the store has of a meter's profiles, as its visits know it; nothing before its first one."""
        book = self._scene.books.get(serial)
        return {} if book is None else dict(book.states)

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
            returned = self._alarmed.pop(meter.serial, None)
            if meter.serial in self._meters:
                self.condition[meter.serial] = self._well_but(meter)
        if returned:
            self._announcer.alarm(AlarmKind.METER_RETURNED, "answers again", meter=meter.serial)

    def _well_but(self, meter: Meter) -> str:
        """The condition of a meter that answers: what it refuses all the same."""
        refused = [f"refuses {_named(meter, task)}: {cause}" for task, cause in self._refusals.of(meter.serial).items()]
        return "; ".join(refused) or "ok"

    def changed(self, meter: Meter) -> None:
        """Its firmware is another: what it refused is asked again."""
        with self._lock:
            for task in self._refusals.of(meter.serial):
                self._schedule.put_off(task, self._clock.monotonic_s())

    def done(self, task: Task, next_s: float, *, given: bool) -> None:
        """Nothing is left to ask of a task; what the meter did not give, it refuses as before."""
        with self._lock:
            self._schedule.done(task, next_s, self._clock.monotonic_s())
            if given:
                self._unusable.pop(task, None)
            returned = given and self._refusals.given(task)
            meter = self._meters.get(task.serial)
        if returned and meter is not None:
            profile, text = str(task.profile or ""), f"the meter gives {_named(meter, task)} again"
            self._announcer.alarm(AlarmKind.PROFILE_RETURNED, text, meter=task.serial, profile=profile)

    def put_off(self, task: Task, next_s: float) -> None:
        """A task did not succeed this time: what else is due at that meter goes before it."""
        with self._lock:
            self._schedule.put_off(task, next_s)

    def backlog(self, task: Task, *, remains: bool) -> None:
        """Whether the task left rows behind that spare time may bring."""
        with self._lock:
            self._schedule.backlog(task, remains=remains)

    def denied(self, task: Task, fault: AttributeDenied) -> None:
        """The meter refuses the object of a task: alarmed where that lasts, and asked again."""
        with self._lock:
            meter, now_s = self._meters.get(task.serial), self._clock.monotonic_s()
            if meter is None:
                return  # it was retired meanwhile
            self._schedule.put_off(task, now_s + again_s(fault))
            self._schedule.backlog(task, remains=False)
            tell = self._refusals.note(task, fault, now_s)
        name = _named(meter, task)
        log.warning("%s: %s is asked again in %d s: %s", task.serial, name, again_s(fault), fault)
        if tell:
            text = f"the meter refuses {name}: {fault}; it is asked again each day; profiles.{name} = false ends that"
            profile = str(task.profile or "")
            self._announcer.alarm(AlarmKind.PROFILE_REFUSED, text, meter=task.serial, profile=profile)

    def malformed(self, task: Task, fault: DcuError, next_s: float) -> None:
        """An answer that cannot be stored as good: alarmed when it is new, and asked again at its next time."""
        with self._lock:
            self._schedule.put_off(task, next_s)
            self._schedule.backlog(task, remains=False)
            known, self._unusable[task] = self._unusable.get(task), type(fault).__name__
        if known != type(fault).__name__:
            profile = str(task.profile or "")
            self._announcer.alarm(AlarmKind.METER_SET_ASIDE, str(fault), meter=task.serial, profile=profile)

    def failed(self, meter: Meter, fault: Exception) -> None:
        """The visit ended badly: the meter is held by the fate of the error.

        Each kind of trouble is alarmed once until the meter is well: that it is silent hides no forged reply.
        """
        fate = fault.fate if isinstance(fault, DcuError) else Fate.PAUSE_METER
        if fate is Fate.REOPEN_BUS:
            return  # the bus's own trouble: no meter is to blame
        with self._lock:
            if meter.serial not in self._meters:
                return  # it was retired meanwhile
            self._schedule.failed(meter.serial, fate, self._clock.monotonic_s())
            self.condition[meter.serial] = str(fault)
            if isinstance(fault, StoreFault):
                return  # the store's own trouble: the meter waits, and is not to blame
            told, trouble = self._alarmed.setdefault(meter.serial, set()), _trouble(fault, fate)
            known = trouble in told
            told.add(trouble)
            if isinstance(fault, WrongMeter):
                known = meter.serial in self.set_aside  # once the right one has answered, it is told again
                self.set_aside.add(meter.serial)
        if known:
            return
        if isinstance(fault, WrongMeter):
            self._tell_another(meter, fault)
        else:
            kind, forged = trouble
            self._announcer.alarm(kind, str(fault), meter=meter.serial, forged=forged)

    def _tell_another(self, meter: Meter, fault: WrongMeter) -> None:
        """Another serial answers: in the place of a meter that was read there, or where it was never found."""
        was_here = self._scene.book(meter).kept is not None
        kind = AlarmKind.METER_REPLACED if was_here else AlarmKind.METER_SET_ASIDE
        facts = {"was": meter.serial, "now": fault.found, "place": place_of(meter)}
        self._announcer.alarm(kind, str(fault), meter=meter.serial, **facts)


def _named(meter: Meter, task: Task) -> str:
    """The task's profile as the meter's model names it."""
    names = (spec.name for spec in meter.model.profiles if spec.logical_name == task.profile)
    return next(names, task.kind.value)


def _trouble(fault: Exception, fate: Fate) -> _Told:
    if isinstance(fault, AddressClash):
        kind = AlarmKind.ADDRESS_CLASH
    elif fate is Fate.SET_ASIDE:
        kind = AlarmKind.METER_SET_ASIDE
    else:
        kind = AlarmKind.METER_PAUSED if fate is Fate.PAUSE_METER else AlarmKind.METER_SILENT
    return kind, isinstance(fault, ReplyForged)


def _tasks(meters: Iterable[Meter]) -> Iterable[Task]:
    for meter in meters:
        for profile in meter.model.profiles:
            yield Task(meter.serial, TaskKind(profile.kind.value), profile.logical_name)
        if meter.model.balance_and_states:
            yield Task(meter.serial, TaskKind.BALANCE)
