"""What a technician may ask of a meter through `dcu read`: an errand on the meter's bus, and its answer in plain data.

Reads only, with the meter reader's rights; what it brings is shown, not stored.
"""

import threading
from collections.abc import Callable
from typing import Any

from dcu import obis
from dcu.errors import BusFault, DcuError, OperatorFault
from dcu.meter import AttributeRef, ClassId, Meter, Purpose
from dcu.obis import LogicalName
from dcu.ports import Association, Bus, Line
from dcu.reading import Column, Data, Layout, Row, Value
from dcu.units import scaled, symbol

NEWEST_ROWS = 8
ANSWER_WITHIN_S = 60.0

Shown = dict[str, Any]
"""Plain data: text, integers, lists and maps, fit for JSON."""


def shown_value(column: Column, value: Value) -> Shown:
    """One value with its name, raw and scaled."""
    entry: Shown = {"ln": str(column.logical_name), "attr": column.attribute, "raw": _plain(value)}
    if isinstance(value, int) and not isinstance(value, bool) and column.scaler is not None:
        entry["value"] = str(scaled(value, column.scaler))
    if column.unit is not None:
        entry["unit"] = symbol(column.unit)
    return entry


def _plain(value: Data) -> Any:
    if isinstance(value, bytes):
        return value.decode("ascii") if value.isascii() and value.decode("ascii").isprintable() else value.hex()
    return [_plain(member) for member in value] if isinstance(value, list) else value


def _rows(layout: Layout, rows: list[Row]) -> list[Shown]:
    return [
        {
            "captured_at": row.captured_at.at.isoformat(),
            "values": [shown_value(c, v) for c, v in zip(layout[1:], row.values, strict=True)],
        }
        for row in rows
    ]


def _profile(name: LogicalName) -> Callable[[Association, Meter], list[Shown]]:
    def read(association: Association, meter: Meter) -> list[Shown]:
        [spec] = [p for p in meter.model.profiles if p.logical_name == name]
        layout = association.layout(spec.logical_name, spec.scalers)
        return _rows(layout, association.last_rows(name, layout, NEWEST_ROWS))

    return read


def _instant(association: Association, meter: Meter) -> list[Shown]:
    [spec] = [p for p in meter.model.profiles if p.logical_name == obis.INSTANTANEOUS]
    layout = association.layout(spec.logical_name, spec.scalers)
    return _rows(layout, association.snapshot(spec.logical_name, layout))


def _attributes(*refs: AttributeRef) -> Callable[[Association, Meter], list[Shown]]:
    def read(association: Association, _meter: Meter) -> list[Shown]:
        answers: list[Shown] = []
        for ref, value in zip(refs, association.get_list(refs), strict=True):
            entry: Shown = {"ln": str(ref.logical_name), "attr": ref.attribute}
            answers.append(entry | ({"denied": str(value)} if isinstance(value, Exception) else {"raw": _plain(value)}))
        return answers

    return read


def _data(*names: LogicalName) -> tuple[AttributeRef, ...]:
    return tuple(AttributeRef(ClassId.DATA, name, 2) for name in names)


def _balance(association: Association, meter: Meter) -> list[Shown]:
    return _attributes(*meter.model.balance)(association, meter)


READOUTS: dict[str, Callable[[Association, Meter], list[Shown]]] = {
    "instant": _instant,
    "clock": _attributes(AttributeRef(ClassId.CLOCK, obis.CLOCK, 2)),
    "identity": _attributes(*_data(obis.SERIAL_NUMBER, obis.DEVICE_ID, obis.LOGICAL_DEVICE_NAME)),
    "load": _profile(obis.BLOCK_LOAD),
    "daily": _profile(obis.DAILY_LOAD),
    "balance": _balance,
    "relay": _attributes(*(AttributeRef(ClassId.DISCONNECT_CONTROL, obis.DISCONNECT_CONTROL, n) for n in (2, 3, 4))),
}
"""What `dcu read METER WHAT` knows by name."""


def readout(what: str) -> Callable[[Association, Meter], list[Shown]]:
    """The readout of that name, or of one attribute written `CLASS:LOGICAL.NAME/ATTRIBUTE`.

    Raises:
        OperatorFault: neither.
    """
    if what in READOUTS:
        return READOUTS[what]
    class_id, _, rest = what.partition(":")
    name, _, attribute = rest.partition("/")
    try:
        return _attributes(AttributeRef(int(class_id), LogicalName.of(name), int(attribute)))
    except ValueError:
        names = ", ".join(READOUTS)
        raise OperatorFault(
            f"{what!r} is nothing that can be read", cure=f"one of {names}; or an attribute, as 3:1.0.12.7.0.255/2"
        ) from None


class Readout:
    """The errand: runs in the bus's thread while the asker waits."""

    def __init__(self, meter: Meter, what: str) -> None:
        self.meter = meter
        self._read = readout(what)
        self._done = threading.Event()
        self._answer: list[Shown] | None = None
        self._fault: Exception | None = None

    def run(self, line: Line) -> None:
        """Read (`ports.Errand`)."""
        with line.associate(self.meter, Purpose.READ) as association:
            self._answer = self._read(association, self.meter)
        self._done.set()

    def failed(self, fault: Exception) -> None:
        """Hand the reason to who waits (`ports.Errand`)."""
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
