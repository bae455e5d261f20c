"""The load limiter (class 71, Blue Book 4.5.9): its normal threshold, as this meter shows it. Pure."""

import struct
from decimal import Decimal
from typing import Final

from dcu import obis
from dcu.command import Command
from dcu.meter import AttributeRef, ClassId
from dcu.relay.case import Evidence
from dcu.relay.deeds.shape import RELAY, Deed, Scene, Step, Values, always, given
from dcu.relay.receipts import ReadBack

MONITORED: Final = AttributeRef(ClassId.LIMITER, obis.LIMITER, 2)
THRESHOLD: Final = AttributeRef(ClassId.LIMITER, obis.LIMITER, 4)
POWER_SCALER: Final = AttributeRef(ClassId.REGISTER, obis.ACTIVE_POWER, 3)

_LIMIT: Final = (MONITORED, THRESHOLD, POWER_SCALER)
_POWER: Final = [ClassId.REGISTER, obis.ACTIVE_POWER.octets, 2]
_MOST_SCALER: Final = 9
_DOUBLE_LONG_UNSIGNED: Final = 6
_FLOAT32: Final = 23
_MOST_RAW: Final = (1 << 32) - 1


def shown_threshold(values: Values) -> int | str | None:
    """The threshold as the meter shows it: a whole number, or a float's text."""
    shown = values.get(THRESHOLD)
    return shown if isinstance(shown, int | str) and not isinstance(shown, bool) else None


def _limit_unfit(command: Command, values: Values, _scene: Scene) -> str:
    if _watts(values) is None:
        return "its load limit cannot be read"
    if values.get(MONITORED) != _POWER:
        return "its limiter does not watch the active power"
    scaler = given(power_scaler(values))
    raw = _raw(command, scaler)
    if isinstance(values.get(THRESHOLD), int) and raw % 1:
        return f"its load limit goes in steps of {10**scaler} W"
    if raw > _MOST_RAW:
        return f"its load limit cannot hold {command.watts} W"
    return ""


def _limit_steps(command: Command, evidence: Evidence, _scene: Scene) -> tuple[Step, ...]:
    """In the form and the unit of the register that the limiter watches: both as this meter shows them."""
    raw = _raw(command, given(evidence.power_scaler))
    if isinstance(evidence.threshold, str):
        return (Step(THRESHOLD, struct.pack(">Bf", _FLOAT32, float(raw))),)
    return (Step(THRESHOLD, struct.pack(">BI", _DOUBLE_LONG_UNSIGNED, int(raw))),)


def _limit_look(command: Command, values: Values, _scene: Scene) -> ReadBack:
    watts = _watts(values)
    if watts is None:
        return ReadBack()
    return ReadBack(holds=watts == command.watts, said={"watts": watts})


def _raw(command: Command, scaler: int) -> Decimal:
    return Decimal(given(command.watts)).scaleb(-scaler)


def _watts(values: Values) -> int | None:
    shown, scaler = shown_threshold(values), power_scaler(values)
    if shown is None or scaler is None:
        return None
    try:
        return round(Decimal(shown).scaleb(scaler))
    except (ArithmeticError, ValueError):  # a float limiter may show that it has no limit
        return None


def power_scaler(values: Values) -> int | None:
    """Power of ten of the register that the limiter watches, or None."""
    pair = values.get(POWER_SCALER)
    scaler = pair[0] if isinstance(pair, list) and pair else None
    if not isinstance(scaler, int) or isinstance(scaler, bool) or abs(scaler) > _MOST_SCALER:
        return None
    return scaler


LIMIT: Final = Deed(always(*RELAY, *_LIMIT), always(*_LIMIT), _limit_steps, _limit_look, unfit=_limit_unfit)
