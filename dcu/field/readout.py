"""What a technician may ask of a meter through `dcu read`: the question, its answer in plain data, and the errand.

Reads only, with the rights of the client that reads the meter; what it brings is shown, not stored.
"""

import threading
from collections.abc import Callable, Sequence
from datetime import datetime, tzinfo
from typing import Final, TypeVar

from dcu import obis
from dcu.errors import AttributeDenied, BusFault, CaptureMismatch, DcuError, MeterBusy, OperatorFault, ReplyMalformed
from dcu.field.shown import Shown, shown_attribute, shown_clock, shown_rows
from dcu.meter import AttributeRef, ClassId, Meter, MeterModel, ProfileKind, ProfileSpec, Purpose
from dcu.obis import LogicalName
from dcu.ports import Association, Bus, Line
from dcu.reading import Data

T = TypeVar("T")

NEWEST_ROWS = 8
ANSWER_WITHIN_S = 60.0

_SHORT: Final = {"instant": "instantaneous", "load": "block-load", "daily": "daily-load"}
"""Short names of profiles."""

_CLOCK: Final = AttributeRef(ClassId.CLOCK, obis.CLOCK, 2)
_IDENTITY: Final = tuple(
    AttributeRef(ClassId.DATA, name, 2)
    for name in (
        obis.SERIAL_NUMBER,
        obis.DEVICE_ID,
        obis.LOGICAL_DEVICE_NAME,
        LogicalName.of("0.0.96.1.1"),  # manufacturer
        LogicalName.of("1.0.0.2.0"),  # firmware
        LogicalName.of("0.0.94.91.9"),  # meter type
        LogicalName.of("0.0.94.91.11"),  # category
    )
)
_STATES: Final = {"relay": ClassId.DISCONNECT_CONTROL, "limiter": ClassId.LIMITER, "modes": ClassId.DATA}
"""Parts of a model's `states`, by the class of their objects."""

NAMES: Final = ("instant", "load", "daily", "events", "clock", "identity", *_STATES, "balance")
"""What every technician may ask for, beside the names of the model's profiles."""

_OWN_TROUBLE: Final = (AttributeDenied, MeterBusy, CaptureMismatch, ReplyMalformed)
"""Costs one profile of several, and not the rest."""


class Question:
    """One question to a meter, checked before the meter is spoken to.

    Args:
        meter: whom to ask.
        what: a profile's name, one of `NAMES`, or an attribute written `CLASS:LOGICAL.NAME/ATTRIBUTE`.
        zone: of the meter's clock.
        now: the box's clock, for comparison.

    Raises:
        OperatorFault: nothing that can be read, or nothing that this meter's model has.
    """

    def __init__(self, meter: Meter, what: str, zone: tzinfo, now: Callable[[], datetime]) -> None:
        self.meter = meter
        self._zone = zone
        self._now = now
        self._specs = _profiles(meter.model, what)
        self._refs: Sequence[AttributeRef] = () if self._specs else _attributes(meter.model, what)

    def ask(self, association: Association) -> list[Shown]:
        """The answer, in plain data. Raises as `ports.Association`."""
        if self._specs:
            return [row for spec in self._specs for row in self._rows(association, spec)]
        values = association.get_list(self._refs)
        return [self._shown(ref, value) for ref, value in zip(self._refs, values, strict=True)]

    def _shown(self, ref: AttributeRef, value: Data | Exception) -> Shown:
        if ref == _CLOCK:
            return shown_clock(ref, value, self.meter.model, self._zone, self._now())
        return shown_attribute(ref, value, self.meter.model, self._zone)

    def _rows(self, association: Association, spec: ProfileSpec) -> list[Shown]:
        """The newest rows of a profile; where several are read, one that is refused costs itself only."""
        try:
            rows = self._newest(association, spec)
        except _OWN_TROUBLE as fault:
            if len(self._specs) == 1:
                raise
            return [{"profile": spec.name, "values": [], "denied": str(fault)}]
        return rows if len(self._specs) == 1 else [{"profile": spec.name, **row} for row in rows]

    def _newest(self, association: Association, spec: ProfileSpec) -> list[Shown]:
        name = spec.logical_name
        layout = association.layout(name, spec.scalers)
        if spec.kind in {ProfileKind.SNAPSHOT, ProfileKind.NAMEPLATE}:
            rows = association.snapshot(name, layout)
        else:
            rows = association.last_rows(name, layout, NEWEST_ROWS)
        return shown_rows(layout, rows, self.meter.model, self._zone)


def _profiles(model: MeterModel, what: str) -> list[ProfileSpec]:
    """Profiles that `what` names; none where it names something else."""
    if what == "events":
        return _present([s for s in model.profiles if s.kind is ProfileKind.EVENTS], model, "event logs")
    name = _SHORT.get(what, what)
    found = [spec for spec in model.profiles if spec.name == name]
    return _present(found, model, f"profile {name!r}") if what in _SHORT else found


def _attributes(model: MeterModel, what: str) -> Sequence[AttributeRef]:
    if what == "clock":
        return (_CLOCK,)
    if what == "identity":
        return _IDENTITY
    if what == "balance":
        return _present(list(model.balance), model, "balance registers")
    if what in _STATES:
        return _present([ref for ref in model.states if ref.class_id == _STATES[what]], model, what)
    try:
        return (AttributeRef.of(what),)
    except ValueError:
        names = ", ".join([*NAMES, *(s.name for s in model.profiles if s.name not in _SHORT.values())])
        raise OperatorFault(
            f"{what!r} is nothing that can be read", cure=f"one of {names}; or an attribute, as 3:1.0.12.7.0.255/2"
        ) from None


def _present(found: list[T], model: MeterModel, what: str) -> list[T]:
    if not found:
        raise OperatorFault(f"model {model.name} has no {what}", cure="name an attribute, or another model")
    return found


class Readout:
    """The errand (`ports.Errand`): runs in the bus's thread while the asker waits."""

    def __init__(self, question: Question) -> None:
        self.meter = question.meter
        self._question = question
        self._done = threading.Event()
        self._answer: list[Shown] | None = None
        self._fault: Exception | None = None

    def run(self, line: Line) -> None:
        """Read."""
        with line.associate(self.meter, Purpose.READ) as association:
            self._answer = self._question.ask(association)
        self._done.set()

    def failed(self, fault: Exception) -> None:
        """Hand the reason to who waits."""
        self._fault = fault
        self._done.set()

    def wait(self, bus: Bus) -> list[Shown]:
        """Post the errand and wait for its answer.

        Raises:
            DcuError: the meter's own, or BusFault when the bus did not come to it.
        """
        bus.post(self, urgent=False)
        if not self._done.wait(ANSWER_WITHIN_S):
            raise BusFault(f"did not come to it in {ANSWER_WITHIN_S:g} s", place=bus.name, cure="see `dcu status`")
        if self._answer is None:
            fault = self._fault
            raise fault if isinstance(fault, DcuError) else OperatorFault(f"failed: {fault!r}", place=self.meter.serial)
        return self._answer
