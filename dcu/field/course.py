"""The course of one visit: polls until nothing of it is left to ask, each committed before the next."""

import logging
import weakref
from collections.abc import Callable, Sequence
from typing import Final

from dcu.errors import (
    AttributeDenied,
    CaptureMismatch,
    DcuError,
    Fate,
    MeterBusy,
    ReplyMalformed,
    StoreBusy,
    StoreFull,
)
from dcu.field.billing import BillingPart
from dcu.field.book import MeterBook
from dcu.field.clock_news import looked
from dcu.field.clock_watch import Look
from dcu.field.committing import commit
from dcu.field.events import EventsPart
from dcu.field.parts import Answer, Ask, Part, Writing, answers
from dcu.field.places import note_place
from dcu.field.present import BalancePart, NameplatePart, SnapshotPart
from dcu.field.ring import RingPart
from dcu.field.scene import VisitReport, VisitScene
from dcu.field.statics import FIRMWARE, adopt, note_all_described, note_firmware, statics_due
from dcu.meter import AttributeRef, ClassId, Meter, ProfileSpec
from dcu.obis import CLOCK
from dcu.ports import Association, Polled, RowsWanted
from dcu.reading import Data, MeterTime, meter_time
from dcu.schedule import Task, TaskKind

log = logging.getLogger(__name__)

ASK_AGAIN_S: Final = 900.0
"""When an answer could not be used."""

BUSY_AGAIN_S: Final = 60.0
"""When the meter cannot answer now."""

LOOK_EVERY_S: Final = 60.0
"""In a long visit the meter's clock is looked at so often."""

APART_AFTER: Final = 2
APART_S: Final = 3600.0

_CLOCK: Final = AttributeRef(ClassId.CLOCK, CLOCK, 2)
_Asking = Sequence[tuple[Part, Ask]]

_KINDS: Final[dict[TaskKind, Callable[[Task, ProfileSpec, MeterBook, VisitScene], Part]]] = {
    TaskKind.SNAPSHOT: SnapshotPart,
    TaskKind.NAMEPLATE: NameplatePart,
    TaskKind.EVENTS: EventsPart,
    TaskKind.BILLING: BillingPart,
}


class Course:
    """One visit in an open association.

    Args:
        meter: that is visited.
        association: with it.
        scene: of the bus.
        report: who hears of it.
        left: tasks that are to be done; those that are done, or failed by themselves, are taken out.
        spare: the visit is for a backlog.
    """

    def __init__(
        self,
        meter: Meter,
        association: Association,
        scene: VisitScene,
        report: VisitReport,
        left: list[Task],
        *,
        spare: bool,
    ) -> None:
        self._meter = meter
        self._association = association
        self._scene = scene
        self._report = report
        self._left = left
        self._spare = spare
        self._book = scene.book(meter)
        self._parts: list[Part] = []
        self._now: MeterTime | None = None
        self._headed = False
        self._busy: list[MeterBusy] = []
        self._gave: set[Part] = set()  # parts that took an answer

    def run(self) -> None:
        """All of it.

        Raises:
            DcuError: the visit cannot go on, or the meter is busy for everything.
        """
        self._parts = [self._part(task) for task in self._left]
        wanted = len(self._parts)
        while asking := self._step():
            self._poll(asking[0])
        if wanted and len(self._busy) == wanted:
            raise self._busy[-1]  # it answers, and gives nothing: no visit
        if not self._spare and wanted:
            self._look_at_statics()

    def _part(self, task: Task) -> Part:
        if task.kind is TaskKind.BALANCE:
            return BalancePart(task, self._book, self._scene)
        [spec] = [each for each in self._meter.model.profiles if each.logical_name == task.profile]
        if task.kind is TaskKind.RING:
            return RingPart(task, spec, self._book, self._scene, spare=self._spare)
        return _KINDS[task.kind](task, spec, self._book, self._scene)

    # ---- polls ----

    def _step(self) -> tuple[_Asking] | None:
        """What the next poll asks, in a tuple, perhaps of nothing but the meter's clock; None at the end."""
        if self._headed:
            self._describe()
        elif self._apart:
            return ([],)
        asking: list[tuple[Part, Ask]] = []
        for part in list(self._parts):
            ask = None if self._is_enough else part.ask(self._face_s())
            if ask is not None:
                asking.append((part, ask))
                if self._apart:
                    break
            elif self._headed:
                self._done(part)
        return (asking,) if asking or not self._headed else None

    @property
    def _is_enough(self) -> bool:
        """Of a backlog, while what was brought of it waits to be stored: the rest stays in the meter."""
        return self._spare and not self._book.loaded

    def _face_s(self) -> int | None:
        return self._book.face_s(self._scene.clock.monotonic_s())

    @property
    def _apart(self) -> bool:
        return self._scene.clock.monotonic_s() < self._book.apart_until_s

    def _head(self) -> tuple[AttributeRef, ...]:
        """What is asked beside the tasks: the clock, and in a new association the firmware."""
        look, monotonic_s = self._book.look, self._scene.clock.monotonic_s()
        recent = self._headed and look is not None and monotonic_s - look.high_s < LOOK_EVERY_S
        fresh = not self._book.is_read_in(self._association) or self._book.kept is None
        return (*(() if recent else (_CLOCK,)), *((FIRMWARE,) if fresh else ()))

    def _poll(self, asking: _Asking) -> None:
        """One poll, and what came of it in one transaction."""
        head = self._head()
        refs = [*head, *(ref for _, ask in asking for ref in ask.refs)]
        wanted = [ask.rows for _, ask in asking if ask.rows is not None]
        low_s = self._scene.clock.monotonic_s()
        polled = self._ask(refs, wanted, asking)
        if not self._headed:
            self._report.answered(self._meter)
        self._headed = True
        writing = Writing(self._meter.serial, self._scene.clock)
        same = self._take_head(dict(zip(head, polled.values, strict=False)), low_s, writing)
        written = self._take(asking, answers([ask for _, ask in asking], polled, len(head))) if same else []
        self._commit(writing, written)

    def _ask(self, refs: list[AttributeRef], wanted: list[RowsWanted], asking: _Asking) -> Polled:
        """The poll itself. One that breaks off is the fault of one of its parts, and nobody knows of which."""
        try:
            polled = self._association.poll(refs, wanted)
        except DcuError as fault:
            if fault.fate is Fate.RETRY_LATER:
                self._broke_off(asking)
            raise
        if len(asking) > 1:
            self._book.failed_polls = 0
        return polled

    def _broke_off(self, asking: _Asking) -> None:
        now_s = self._scene.clock.monotonic_s()
        if len(asking) == 1:
            self._report.put_off(asking[0][0].task, now_s)  # the others go before it the next time
            return
        self._book.failed_polls += 1
        if self._book.failed_polls >= APART_AFTER:
            self._book.failed_polls, self._book.apart_until_s = 0, now_s + APART_S

    # ---- what came ----

    def _take_head(self, values: dict[AttributeRef, Data | Exception], low_s: float, writing: Writing) -> bool:
        """Clock and firmware; False where the firmware is another, so that nobody knows what the rows are."""
        book, clock = self._book, self._scene.clock
        note_place(book, clock, writing)
        if _CLOCK in values:
            self._look(values[_CLOCK], low_s, writing)
        if FIRMWARE not in values:
            return True
        other = note_firmware(values[FIRMWARE], book, clock, writing)
        book.association = weakref.ref(self._association)
        if other:
            self._report.changed(self._meter)
        if other or book.kept is None:
            writing.add(book.reload)
        return not other

    def _look(self, octets: Data | Exception, low_s: float, writing: Writing) -> None:
        """Notice what the clock shows; one that shows no time costs the tasks that go by it."""
        clock = self._scene.clock
        try:
            if isinstance(octets, Exception):
                raise octets
            if not isinstance(octets, bytes):
                raise ReplyMalformed("the clock is no octet-string", place=self._meter.serial)
            self._now = meter_time(octets, self._scene.zone)
        except (AttributeDenied, MeterBusy, ReplyMalformed) as fault:
            self._now = self._book.look = None
            for ring in self._rings():
                self._fail(ring, fault)
            return
        look = Look(self._now.epoch_s, low_s, clock.monotonic_s())
        if looked(self._book, look, clock, self._scene.poll.clock_limit_s, writing):
            for ring in self._rings():
                ring.surprised()

    def _rings(self) -> list[RingPart]:
        return [part for part in self._parts if isinstance(part, RingPart)]

    def _take(self, asking: _Asking, came: Sequence[Answer]) -> list[tuple[Part, Writing]]:
        written = []
        for (part, _), answer in zip(asking, came, strict=True):
            if part not in self._parts:
                continue  # it fell with the clock
            writing = Writing(self._meter.serial, self._scene.clock)
            try:
                part.take(answer, self._now, writing)
            except DcuError as fault:
                self._fail(part, fault)
            else:
                self._gave.add(part)
                written.append((part, writing))
        return written

    def _commit(self, head: Writing, written: Sequence[tuple[Part, Writing]]) -> None:
        """What came of a poll. A part whose record would be too large costs itself only."""
        works = [head, *(writing for _, writing in written)]
        wrong, *faults = commit(works, self._book, self._scene.store)
        if wrong is not None:
            raise wrong
        for (part, _), fault in zip(written, faults, strict=True):
            if fault is not None:
                self._fail(part, fault)
        for alarm in (alarm for each in works for alarm in each.alarms):
            log.warning("%s %s: %s", alarm.kind.value, alarm.meter, alarm.text)

    # ---- what a profile is ----

    def _describe(self) -> None:
        """Ask the meter what profiles are that nobody knows yet, and begin those rings that it has described.

        Not while the store is down: what is kept in its memory is not known here, and would be asked again and again.
        """
        if not self._book.loaded:
            return
        specs = [spec for spec in self._specs() if self._book.needs_describing(spec)]
        if specs:
            self._adopt(specs)
        if self._now is not None:
            for part in self._rings():
                self._begin(part, self._now)

    def _begin(self, part: RingPart, now: MeterTime) -> None:
        writing = Writing(self._meter.serial, self._scene.clock)
        try:
            part.begin(now, writing)
        except (ReplyMalformed, CaptureMismatch) as fault:
            self._fail(part, fault)
        else:
            self._commit(writing, ())

    def _specs(self) -> list[ProfileSpec]:
        names = {part.task.profile for part in self._parts}
        return [spec for spec in self._meter.model.profiles if spec.logical_name in names]

    def _adopt(self, specs: Sequence[ProfileSpec]) -> None:
        writing = Writing(self._meter.serial, self._scene.clock)
        described = self._association.describe(specs)
        faults = adopt(specs, described, self._book, self._face_s(), writing)
        self._commit(writing, ())
        for part in list(self._parts):
            if part.task.profile in faults:
                self._fail(part, faults[part.task.profile])

    def _look_at_statics(self) -> None:
        """Once a day, after all else: is the meter still what it was?"""
        book, clock, serial = self._book, self._scene.clock, self._meter.serial
        known = [spec for spec in self._meter.model.profiles if book.states.get(spec.logical_name) is not None]
        if not book.loaded or book.kept is None or not known or not statics_due(book, book.kept, clock):
            return
        self._adopt(known)
        writing = Writing(serial, clock)
        note_all_described(book, clock, writing)
        self._commit(writing, ())

    # ---- ends ----

    def _done(self, part: Part) -> None:
        """Nothing is left to ask of it."""
        self._drop(part)
        if part.remains is not None:
            self._report.backlog(part.task, remains=part.remains and self._book.loaded)
        if self._spare:
            return
        if part.again_s is not None:
            self._report.put_off(part.task, part.again_s)
        else:
            self._report.done(part.task, part.next_s(), given=part in self._gave)

    def _fail(self, part: Part, fault: DcuError) -> None:
        """It failed by itself, or the store could not tell it what is held. Raises `fault` when it is about more."""
        now_s = self._scene.clock.monotonic_s()
        if isinstance(fault, AttributeDenied):
            self._drop(part)
            self._book.note_refused(part.task.profile, self._face_s())
            self._report.denied(part.task, fault)
        elif isinstance(fault, MeterBusy):
            self._drop(part)
            self._busy.append(fault)
            self._report.put_off(part.task, now_s + BUSY_AGAIN_S)
        elif isinstance(fault, StoreFull | StoreBusy):
            self._drop(part)
            self._book.forget()
            self._report.put_off(part.task, now_s + ASK_AGAIN_S)
        elif isinstance(fault, ReplyMalformed | CaptureMismatch):
            self._drop(part)
            if part.task.profile is not None:
                self._book.suspect.add(part.task.profile)  # it may have been given other columns
                self._book.described.pop(part.task.profile, None)
            self._report.malformed(part.task, fault, now_s + ASK_AGAIN_S)
        else:
            raise fault

    def _drop(self, part: Part) -> None:
        if part in self._parts:
            self._parts.remove(part)
            self._left.remove(part.task)
