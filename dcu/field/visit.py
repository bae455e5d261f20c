"""One visit to one meter: all that is due there, in one association.

Readings reach the store before the visit goes on, each poll in one transaction with the gap ledger's advance; so a
visit that is cut short, by a relay errand or by kill -9, loses nothing that it had brought home.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import tzinfo
from typing import Protocol

from dcu.config import PollConfig
from dcu.errors import AttributeDenied, CaptureMismatch, DcuError, Fate, MeterBusy, ReplyMalformed
from dcu.field.ring import read_ring
from dcu.meter import AttributeRef, ClassId, Meter, ProfileSpec, Purpose
from dcu.obis import CLOCK, LogicalName
from dcu.ports import Association, Clock, Line, Store
from dcu.reading import Column, Layout, MeterTime, ProfileReading, Value, meter_time
from dcu.record import Stream, check_size, encode_credit, encode_profile
from dcu.schedule import Task, TaskKind

ASK_AGAIN_S = 900.0
"""When an answer could not be used."""

BUSY_AGAIN_S = 60.0
"""When the meter cannot answer now."""


class VisitReport(Protocol):
    """Who hears how a visit went: the plan of the bus."""

    def answered(self, meter: Meter) -> None:
        """The association is open and the serial is right."""
        ...

    def visited(self, meter: Meter) -> None:
        """The visit went through to its end."""
        ...

    def done(self, task: Task, next_s: float) -> None:
        """A task succeeded and is due again at `next_s`, monotonic."""
        ...

    def put_off(self, task: Task, next_s: float) -> None:
        """A task did not succeed, and nothing is said against its object: again at `next_s`."""
        ...

    def denied(self, task: Task, fault: AttributeDenied) -> None:
        """The meter refuses the object."""
        ...

    def malformed(self, task: Task, fault: DcuError, next_s: float) -> None:
        """An answer that cannot be stored as good."""
        ...

    def backlog(self, task: Task, *, remains: bool) -> None:
        """Whether the task left rows behind that spare time may bring: a spare visit then comes for them."""
        ...

    def failed(self, meter: Meter, fault: Exception) -> None:
        """The visit ended badly."""
        ...


@dataclass(frozen=True, slots=True)
class VisitScene:
    """What visits of one bus share.

    Attributes:
        store, clock: of the process.
        zone: of the meters' clocks.
        poll: cadences.
        layouts: capture objects and scalers that were read since the start of the process, by task.
        looks: at each ring's meter's clock when it was last read: (that clock, monotonic seconds).
    """

    store: Store
    clock: Clock
    zone: tzinfo
    poll: PollConfig
    layouts: dict[Task, Layout] = field(default_factory=dict)
    looks: dict[tuple[str, LogicalName], tuple[int, float]] = field(default_factory=dict)

    def layout(self, association: Association, task: Task, spec: ProfileSpec) -> Layout:
        """Capture objects of a profile: read from the meter once a start."""
        if task not in self.layouts:
            self.layouts[task] = association.layout(spec.logical_name, spec.scalers)
        return self.layouts[task]


class MeterVisit:
    """The errand of one visit (`ports.VisitErrand`).

    Attributes:
        meter: that is visited.
        spare: nothing is due: only some of the backlog is brought.
        probe: the meter did not answer the last time.
    """

    def __init__(
        self,
        meter: Meter,
        tasks: Sequence[Task],
        report: VisitReport,
        scene: VisitScene,
        *,
        spare: bool = False,
        probe: bool = False,
    ) -> None:
        self.meter = meter
        self.spare = spare
        self.probe = probe
        self._tasks = tasks
        self._report = report
        self._scene = scene

    def run(self, line: Line) -> None:
        """Open the association, do the tasks, release it."""
        with line.associate(self.meter, Purpose.READ) as association:
            self._report.answered(self.meter)
            busy = [fault for task in self._tasks if (fault := self._attempt(task, association))]
            if len(busy) == len(self._tasks):
                raise busy[-1]  # it answers, and gives nothing: no visit
        self._report.visited(self.meter)

    def failed(self, fault: Exception) -> None:
        """Tell the plan."""
        self._report.failed(self.meter, fault)

    def _attempt(self, task: Task, association: Association) -> MeterBusy | None:
        """One task. What the meter cannot give now costs itself and is returned; what ends the visit is last next time.

        Raises:
            DcuError: the visit cannot go on.
        """
        now_s = self._scene.clock.monotonic_s
        try:
            next_s = self._do(task, association)
        except AttributeDenied as fault:
            self._report.denied(task, fault)
        except MeterBusy as fault:
            self._report.put_off(task, now_s() + BUSY_AGAIN_S)
            return fault
        except (ReplyMalformed, CaptureMismatch) as fault:
            self._scene.layouts.pop(task, None)  # it may have been given other columns
            self._report.malformed(task, fault, now_s() + ASK_AGAIN_S)
        except DcuError as fault:
            if fault.fate is Fate.RETRY_LATER:
                self._report.put_off(task, now_s())
            raise
        else:
            self._report.done(task, next_s)
        return None

    def _do(self, task: Task, association: Association) -> float:
        if task.kind is TaskKind.BALANCE:
            return self._balance(association)
        [spec] = [p for p in self.meter.model.profiles if p.logical_name == task.profile]
        layout = self._scene.layout(association, task, spec)
        if task.kind is TaskKind.SNAPSHOT:
            return self._snapshot(association, spec, layout)
        return read_ring(association, spec, layout, self._meter_now(association), self._scene)

    def _meter_now(self, association: Association) -> MeterTime:
        octets = association.get(AttributeRef(ClassId.CLOCK, CLOCK, 2))
        if not isinstance(octets, bytes):
            raise ReplyMalformed(f"the clock is no octet-string but {type(octets).__name__}", place=self.meter.serial)
        return meter_time(octets, self._scene.zone)

    def _snapshot(self, association: Association, spec: ProfileSpec, layout: Layout) -> float:
        rows = association.snapshot(spec.logical_name, layout)
        clock = self._scene.clock
        reading = ProfileReading(association.serial, spec.logical_name, layout, tuple(rows), clock.now(), clock.state())
        if rows:
            body = check_size(encode_profile(reading), layout)
            self._scene.store.transact(lambda tx: tx.append(Stream.PROFILE, body, layout))
        return clock.monotonic_s() + self._scene.poll.snapshot_s

    def _balance(self, association: Association) -> float:
        refs = self.meter.model.balance
        values: list[Value] = []
        columns: list[Column] = []
        for ref, value in zip(refs, association.get_list(refs), strict=True):
            if isinstance(value, Exception | list):
                continue  # a meter without that register
            columns.append(Column(ref.class_id, ref.logical_name, ref.attribute))
            values.append(value)
        clock = self._scene.clock
        if columns:
            layout = tuple(columns)
            read_at = int(clock.now().timestamp())
            body = encode_credit(
                association.serial, layout, values, read_at, clock.state(), self.meter.area, self.meter.model.amount
            )
            check_size(body, layout)
            self._scene.store.transact(lambda tx: tx.append(Stream.CREDIT, body, layout))
        return clock.monotonic_s() + self._scene.poll.balance_s
