"""What a meter says of its profiles: capture objects, period, extent and scalers, of several in two lists.

Scalers come of the scaler profile, joined by class and logical name; what it does not name is asked of each register.
"""

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from dcu.drivers import profile
from dcu.drivers.asked import AskedValue
from dcu.drivers.profile import ScalerUnit
from dcu.errors import AttributeDenied, CaptureMismatch, MeterBusy, ReplyMalformed
from dcu.meter import AttributeRef, ClassId, ProfileKind, ProfileSpec
from dcu.obis import LogicalName
from dcu.ports import Described
from dcu.reading import Column, Layout, timed

log = logging.getLogger(__name__)

BUFFER: Final = 2
CAPTURE_OBJECTS: Final = 3
CAPTURE_PERIOD: Final = 4
SORT_METHOD: Final = 5
ENTRIES_IN_USE: Final = 7
ENTRIES: Final = 8
_SCALER_UNIT: Final = 3
_LIFO: Final = 2

Ask = Callable[[Sequence[AskedValue]], None]
"""Reads them all in as few exchanges as the meter allows; each holds its value or its refusal then."""

_Register = tuple[int, LogicalName]
_UNUSABLE: Final = (AttributeDenied, MeterBusy, ReplyMalformed, CaptureMismatch)


def describe(specs: Sequence[ProfileSpec], ask: Ask, place: str) -> list[Described | Exception]:
    """In the order of `specs`; the fault in the place of a profile that cannot be used."""
    asked = [_Asked(spec.logical_name, spec.scalers, place) for spec in specs]
    attributes = [each.attributes(CAPTURE_PERIOD, SORT_METHOD, ENTRIES_IN_USE, ENTRIES) for each in asked]
    ask([*(value for each in asked for value in each.first()), *(value for four in attributes for value in four)])
    layouts = _layouts(asked, ask, place)
    return [
        layout if isinstance(layout, Exception) else _described(spec, layout, four)
        for spec, layout, four in zip(specs, layouts, attributes, strict=True)
    ]


def layout(name: LogicalName, scalers: LogicalName | None, ask: Ask, place: str) -> Layout:
    """Capture objects of one profile with their scalers. Raises CaptureMismatch, and as `ports.Association`."""
    asked = _Asked(name, scalers, place)
    ask(asked.first())
    [found] = _layouts([asked], ask, place)
    if isinstance(found, Exception):
        raise found
    return found


def count(asked: AskedValue) -> int:
    """A number that is not negative. Raises its refusal, or ReplyMalformed."""
    value = asked.value
    if isinstance(value, Exception):
        raise value
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ReplyMalformed(f"{asked}: no number")
    return value


def is_newest_first(asked: AskedValue) -> bool:
    """Of the sort method; a meter that does not give it has the standard's usual one, oldest first."""
    if isinstance(asked.value, MeterBusy):
        raise asked.value
    return asked.value == _LIFO


class _Asked:
    """What is asked of one profile and its scaler profile."""

    def __init__(self, name: LogicalName, scalers: LogicalName | None, place: str) -> None:
        self._name = name
        self._place = place
        self._objects = self._value(name, CAPTURE_OBJECTS)
        self._scalers: tuple[AskedValue, ...] = ()
        if scalers is not None:
            self._scalers = (self._value(scalers, CAPTURE_OBJECTS), self._value(scalers, BUFFER))
        self.columns: list[Column] = []
        self.found: dict[_Register, ScalerUnit] = {}

    def _value(self, name: LogicalName, attribute: int) -> AskedValue:
        return AskedValue(AttributeRef(ClassId.PROFILE_GENERIC, name, attribute), self._place)

    def first(self) -> list[AskedValue]:
        """Capture objects, and the scaler profile."""
        return [self._objects, *self._scalers]

    def attributes(self, *numbers: int) -> list[AskedValue]:
        """Further attributes of the profile itself."""
        return [self._value(self._name, number) for number in numbers]

    def read(self) -> None:
        """Columns and what the scaler profile says. Raises what makes the profile unusable."""
        what = f"{self._place}: {self._name}"
        self.columns = timed(_columns(self._objects))
        if not self._scalers:
            return
        objects, buffer = self._scalers
        try:
            if isinstance(buffer.value, Exception):
                raise buffer.value
            self.found = profile.scalers(_columns(objects), buffer.value, str(buffer))
        except (AttributeDenied, ReplyMalformed) as fault:
            log.info("%s: no use of scaler profile %s: %s", what, buffer.ref.logical_name, fault.cause)

    def missing(self) -> Iterable[_Register]:
        """Registers whose scaler is not known yet."""
        for column in self.columns:
            register = (column.class_id, column.logical_name)
            if profile.is_scaled(column) and register not in self.found:
                yield register


def _columns(asked: AskedValue) -> list[Column]:
    if isinstance(asked.value, Exception):
        raise asked.value
    return profile.columns(asked.value, str(asked))


def _layouts(profiles: list[_Asked], ask: Ask, place: str) -> list[Layout | Exception]:
    """What the first answers and the scalers of each register make of each profile."""
    faults: dict[int, Exception] = {}
    for number, each in enumerate(profiles):
        try:
            each.read()
        except _UNUSABLE as fault:
            faults[number] = fault
    wanted = dict.fromkeys(
        register for number, each in enumerate(profiles) if number not in faults for register in each.missing()
    )
    registers = {
        register: AskedValue(AttributeRef(register[0], register[1], _SCALER_UNIT), place) for register in wanted
    }
    if registers:
        ask(list(registers.values()))
    return [faults.get(number) or _joined(each, registers) for number, each in enumerate(profiles)]


def _joined(each: _Asked, registers: dict[_Register, AskedValue]) -> Layout | Exception:
    found = dict(each.found)
    for register in each.missing():
        value = registers[register].value
        if isinstance(value, MeterBusy):
            return value  # a layout without a scaler that exists would be wrong for good
        if isinstance(value, Exception):
            continue
        try:
            found[register] = profile.scaler_unit(value, str(registers[register]))
        except ReplyMalformed as fault:
            return fault
    return profile.with_scalers(each.columns, found)


def _described(spec: ProfileSpec, layout: Layout, four: list[AskedValue]) -> Described | Exception:
    period, order, in_use, entries = four
    try:
        no_period = isinstance(period.value, AttributeDenied) and spec.kind is not ProfileKind.RING
        period_s = 0 if no_period else count(period)
        newest_first = is_newest_first(order)
        return Described(layout, period_s, _entries(entries), count(in_use), newest_first)
    except (AttributeDenied, MeterBusy, ReplyMalformed) as fault:
        return fault


def _entries(asked: AskedValue) -> int:
    """Rows that the buffer can hold, 0 where the meter does not say."""
    if isinstance(asked.value, AttributeDenied | ReplyMalformed):
        return 0
    return count(asked)
