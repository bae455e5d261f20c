"""Profiles: capture objects to a layout, a buffer to rows. Pure; no I/O.

Source: Blue Book class 7 (4.3.6), reference/is15959.md 2.1. A row whose time is no moment costs itself; a row of other
columns than the capture objects costs the whole answer, since then nobody knows what its values are.
"""

import logging
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Final, TypeGuard

from dcu.drivers.axdr_plain import Delta, DontCare
from dcu.errors import CaptureMismatch, ReplyMalformed
from dcu.meter import ClassId
from dcu.obis import LogicalName
from dcu.reading import NO_TIME, UNTIMED, Column, Data, Layout, MeterTime, Row, Value, date_time, meter_time

log = logging.getLogger(__name__)

REGISTERS: Final = frozenset({int(ClassId.REGISTER), int(ClassId.EXTENDED_REGISTER)})

ScalerUnit = tuple[int, int]
"""(power of ten, DLMS unit code)."""


def columns(data: Data, what: str) -> list[Column]:
    """Columns of `capture_objects`, without scalers.

    Raises:
        ReplyMalformed: not an array of capture object definitions.
    """
    if not isinstance(data, list) or not data:
        raise ReplyMalformed(f"{what}: no capture objects")
    return [_column(item, what) for item in data]


def _column(item: Data, what: str) -> Column:
    match item:
        case [int(class_id), bytes(octets), int(attribute), int(index)] if len(octets) == 6:
            if index != 0:
                raise ReplyMalformed(f"{what}: captures a part of an attribute, which is not built")
            return Column(class_id, LogicalName(octets), attribute)
    raise ReplyMalformed(f"{what}: not a capture object definition")


def is_scaled(column: Column) -> bool:
    """Whether the column is a register's value, which has a scaler and unit."""
    return column.class_id in REGISTERS and column.attribute == 2


def scaler_unit(data: Data, what: str) -> ScalerUnit:
    """Of one `scaler_unit` structure. Raises ReplyMalformed."""
    match data:
        case [int(scaler), int(unit)] if -128 <= scaler <= 127 and 0 <= unit <= 255:
            return scaler, unit
    raise ReplyMalformed(f"{what}: not a scaler_unit")


def scalers(objects: list[Column], buffer: Data, what: str) -> dict[tuple[int, LogicalName], ScalerUnit]:
    """What a scaler profile says, by class and logical name: its order is not the profile's.

    Raises:
        ReplyMalformed: its row has not one scaler_unit for each of its capture objects.
    """
    match buffer:
        case [list(row)] if len(row) == len(objects):
            return {
                (column.class_id, column.logical_name): scaler_unit(item, what)
                for column, item in zip(objects, row, strict=True)
                if column.class_id in REGISTERS
            }
    raise ReplyMalformed(f"{what}: its row is not its capture objects")


def with_scalers(layout: list[Column], found: dict[tuple[int, LogicalName], ScalerUnit]) -> Layout:
    """The layout, each register's value with the scaler and unit found for it."""
    joined = []
    for column in layout:
        scaler, unit = found.get((column.class_id, column.logical_name), (None, None))
        plain = not is_scaled(column)
        joined.append(
            Column(
                column.class_id,
                column.logical_name,
                column.attribute,
                None if plain else scaler,
                None if plain else unit,
            )
        )
    return tuple(joined)


def rows(buffer: Data, layout: Layout, period_s: int, zone: tzinfo, what: str) -> list[Row]:
    """Rows of a buffer, in its order, with null-compressed columns filled.

    A null time is the one before plus the period, a null value the one before.

    Args:
        buffer: array of structures, as decoded.
        layout: of the profile, the rows' time first (`reading.timed`).
        period_s: capture period; 0 where there is none, so that a null time has no meaning.
        zone: of the meter's clock.
        what: the profile, for errors.

    Raises:
        CaptureMismatch: a row that is not one value a column.
    """
    if not isinstance(buffer, list):
        raise CaptureMismatch(f"{what}: its buffer is no array")
    found: list[Row] = []
    at: MeterTime | None = None
    values: tuple[Value, ...] = (None,) * (len(layout) - 1)
    dropped = 0
    untimed = layout[0] == UNTIMED
    for item in buffer:
        cells = [None, *_cells(item, len(layout) - 1, what)] if untimed else _cells(item, len(layout), what)
        values = tuple([_filled(old, cell, what) for old, cell in zip(values, cells[1:], strict=True)])
        at = NO_TIME if untimed else _moment(cells[0], at, period_s, zone)
        if at is None:
            dropped += 1
        else:
            found.append(Row(at, values))
    tell_dropped(dropped, len(buffer), what)
    return found


def tell_dropped(dropped: int, count: int, what: object) -> None:
    """One line for all rows of a buffer that have no valid time."""
    if dropped:
        log.warning("%s: %d of %d rows have no valid time and are left out", what, dropped, count)


def is_compressed(buffer: Data) -> TypeGuard[list[Data]]:
    """Whether a row's time is compressed away, so that the capture period is needed."""
    return isinstance(buffer, list) and any(isinstance(row, list) and row[:1] == [None] for row in buffer)


def _filled(old: Value, cell: Value, what: str) -> Value:
    """The value of a cell, given the one above it. Raises CaptureMismatch for a difference to no number."""
    if cell is None:
        return old
    if isinstance(cell, Delta):
        if not isinstance(old, int) or isinstance(old, bool):
            raise CaptureMismatch(f"{what}: a difference to a value that is no number")
        return old + cell
    return None if isinstance(cell, DontCare) else cell


def _cells(item: Data, count: int, what: str) -> list[Value]:
    if not isinstance(item, list) or len(item) != count:
        raise CaptureMismatch(f"{what}: a row that has not {count} columns")
    cells: list[Value] = []
    for cell in item:
        if isinstance(cell, list):
            raise CaptureMismatch(f"{what}: a column that is itself a structure")
        cells.append(cell)
    return cells


def _moment(cell: Value, before: MeterTime | None, period_s: int, zone: tzinfo) -> MeterTime | None:
    """The row's time, or None when it has none."""
    if cell is None:
        if before is None or period_s <= 0:
            return None
        at = (before.at.astimezone(UTC) + timedelta(seconds=period_s)).astimezone(zone)
        return MeterTime(at, before.status, date_time(at, zone))
    if not isinstance(cell, bytes):
        return None
    try:
        return meter_time(cell, zone)
    except ReplyMalformed:
        return None


def within(found: list[Row], since: datetime, until: datetime) -> list[Row]:
    """Those with since <= captured_at <= until: not every meter honours the range that it was asked for."""
    return [row for row in found if since <= row.captured_at.at <= until]
