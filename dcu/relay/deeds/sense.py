"""What flows at the meter after its relay was moved: a relay that says it is open while current flows is not believed.

Registers 1.0.12.7.0 (voltage) and 1.0.11.7.0 (phase current), each with its scaler; a meter without them, as of three
phases, is judged by its relay's state alone. Source: reference/command-authority.md 5, 8 (step 27). Pure.
"""

from decimal import Decimal
from typing import Final

from dcu.command import Operation, OutputState
from dcu.meter import AttributeRef, ClassId
from dcu.obis import LogicalName
from dcu.reading import Data
from dcu.relay.deeds.shape import Values
from dcu.relay.receipts import ReadBack

VOLTAGE: Final = LogicalName.of("1.0.12.7.0.255")
CURRENT: Final = LogicalName.of("1.0.11.7.0.255")
MILLIVOLTS: Final = "millivolts"
MILLIAMPERES: Final = "milliamperes"

FLOWS_MA: Final = 250
"""More than a meter of 5 A shows with nothing behind it."""

_VALUE: Final = 2
_SCALER_UNIT: Final = 3
_MOST_SCALER: Final = 9
_MOST: Final = 10**9

SENSE: Final = tuple(
    AttributeRef(ClassId.REGISTER, name, attribute)
    for name in (VOLTAGE, CURRENT)
    for attribute in (_VALUE, _SCALER_UNIT)
)
"""What is read beside the relay's state."""


def sensed(values: Values) -> dict[str, int | str]:
    """Millivolts and milliamperes, as far as the meter tells them."""
    found = {name: _milli(values, ln) for name, ln in ((MILLIVOLTS, VOLTAGE), (MILLIAMPERES, CURRENT))}
    return {name: value for name, value in found.items() if value is not None}


def contradicted(op: Operation, look: ReadBack) -> bool:
    """Whether current flows behind a relay that says that it is open."""
    flowing = look.said.get(MILLIAMPERES)
    says_open = op is Operation.DISCONNECT and look.output is OutputState.DISCONNECTED
    return says_open and isinstance(flowing, int) and abs(flowing) > FLOWS_MA


def _milli(values: Values, name: LogicalName) -> int | None:
    raw, scale = (values.get(AttributeRef(ClassId.REGISTER, name, n)) for n in (_VALUE, _SCALER_UNIT))
    scaler = _scaler(scale)
    if scaler is None or not isinstance(raw, int) or isinstance(raw, bool):
        return None
    found = int(Decimal(raw).scaleb(scaler + 3))
    return found if abs(found) <= _MOST else None


def _scaler(value: Data | Exception) -> int | None:
    match value:
        case [int(scaler), _] if abs(scaler) <= _MOST_SCALER:
            return scaler
    return None
