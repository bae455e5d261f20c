"""Values as plain data for people: raw beside scaled, times beside octets, codes beside their meanings."""

from collections.abc import Mapping
from datetime import datetime, tzinfo
from decimal import Decimal
from typing import Any, Final

from dcu import obis
from dcu.errors import ReplyMalformed
from dcu.field.object_names import in_words
from dcu.meter import Amount, AttributeRef, ClassId, MeterModel
from dcu.obis import LogicalName
from dcu.reading import UNTIMED, Column, Data, Layout, Row, Value, meter_time
from dcu.units import scaled, symbol

Shown = dict[str, Any]
"""Plain data: text, integers, lists and maps, fit for JSON."""

MONEY: Final = frozenset({obis.LAST_RECHARGE_AMOUNT, obis.TOTAL_AT_LAST_RECHARGE, obis.CURRENT_BALANCE})

_EVENT_CODES: Final = bytes([0, 0, 96, 11])
"""Event codes stand at 0.0.96.11.x (reference/is15959.md 2.8)."""

_RELAY: Final = (ClassId.DISCONNECT_CONTROL, obis.DISCONNECT_CONTROL)
MEANINGS: Final[Mapping[tuple[int, LogicalName, int], Mapping[Value, str]]] = {
    (*_RELAY, 2): {False: "disconnected", True: "connected"},
    (*_RELAY, 3): {0: "disconnected", 1: "connected", 2: "ready for reconnection"},
    (ClassId.DATA, LogicalName.of("0.0.94.96.19"), 2): {0: "forwarded only", 1: "import and export"},
    (ClassId.DATA, obis.PAYMENT_MODE, 2): {0: "post-paid", 1: "prepaid"},
}
"""What some values mean (reference/is15959.md 2.11)."""


def plain(value: Data) -> Any:
    """Text where octets are text, else hexadecimal."""
    if isinstance(value, bytes):
        return value.decode("ascii") if value.isascii() and value.decode("ascii").isprintable() else value.hex()
    return [plain(member) for member in value] if isinstance(value, list) else value


def shown_rows(layout: Layout, rows: list[Row], model: MeterModel, zone: tzinfo) -> list[Shown]:
    """Rows of a profile; one that has no time of its own says none."""
    shown = []
    for row in rows:
        values = [shown_value(c, v, model, zone) for c, v in zip(layout[1:], row.values, strict=True)]
        at = {} if layout[0] == UNTIMED else {"captured_at": row.captured_at.at.astimezone(zone).isoformat()}
        shown.append({**at, "values": values})
    return shown


def shown_value(column: Column, value: Value, model: MeterModel, zone: tzinfo) -> Shown:
    """One value with its name, raw, scaled and explained."""
    entry = shown_attribute(AttributeRef(column.class_id, column.logical_name, column.attribute), value, model, zone)
    if column.scaler is not None:
        number = _scaled(value, column.scaler)
        entry |= {"value": number} if number is not None else {}
    if column.unit is not None:
        entry["unit"] = symbol(column.unit)
    return entry


def shown_attribute(ref: AttributeRef, value: Data | Exception, model: MeterModel, zone: tzinfo) -> Shown:
    """One attribute, or why it was refused."""
    entry: Shown = {"ln": str(ref.logical_name), "attr": ref.attribute}
    if words := in_words(ref.logical_name):
        entry["name"] = words
    if isinstance(value, Exception):
        return entry | {"denied": str(value)}
    entry["raw"] = plain(value)
    if isinstance(value, bytes) and (at := _moment(value, zone)) is not None:
        entry["time"] = at.isoformat()
    elif isinstance(value, int) and (meaning := _meaning(ref, value, model)) is not None:
        entry["meaning"] = meaning
    elif isinstance(value, int) and ref.logical_name in MONEY:
        entry["unit"] = model.amount.value
        if model.amount is Amount.PAISE:
            entry |= {"value": str(scaled(value, -2)), "unit": Amount.RUPEE.value, "counted_in": model.amount.value}
    return entry


def shown_clock(ref: AttributeRef, value: Data | Exception, model: MeterModel, zone: tzinfo, box: datetime) -> Shown:
    """The meter's clock beside the box's: positive where the meter is ahead."""
    entry = shown_attribute(ref, value, model, zone)
    if isinstance(value, bytes) and (at := _moment(value, zone)) is not None:
        entry |= {"box": box.astimezone(zone).isoformat(timespec="seconds")}
        entry["ahead_s"] = round((at - box).total_seconds())
    return entry


def _scaled(value: Value, scaler: int) -> str | None:
    """Exactly; of a float's text too."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        return None
    try:
        number = scaled(value, scaler) if isinstance(value, int) else Decimal(value).scaleb(scaler)
    except ArithmeticError:
        return None
    return f"{number:f}"


def _moment(octets: bytes, zone: tzinfo) -> datetime | None:
    try:
        return meter_time(octets, zone).at
    except ReplyMalformed:
        return None


def _meaning(ref: AttributeRef, value: int, model: MeterModel) -> str | None:
    if ref.class_id == ClassId.DATA and ref.logical_name.octets[:4] == _EVENT_CODES and ref.attribute == 2:
        return model.event_codes.get(value, "a code that the model does not know")
    return MEANINGS.get((ref.class_id, ref.logical_name, ref.attribute), {}).get(value)
