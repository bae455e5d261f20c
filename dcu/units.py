"""Physical units of DLMS/COSEM (Blue Book 4.3.2, scal_unit_type) and exact scaling.

A measured value stays the meter's raw integer; scaler and unit travel beside it. `scaled` is for showing, in exact
decimals, never floats.
"""

from decimal import Decimal
from enum import IntEnum


class Unit(IntEnum):
    """Enumerated unit of a register; codes after the Blue Book. Those in use here (reference/is15959.md 2)."""

    YEAR = 1
    MONTH = 2
    WEEK = 3
    DAY = 4
    HOUR = 5
    MINUTE = 6
    SECOND = 7
    DEGREE = 8
    CELSIUS = 9
    CURRENCY = 10
    WATT = 27
    VOLT_AMPERE = 28
    VAR = 29
    WATT_HOUR = 30
    VOLT_AMPERE_HOUR = 31
    VAR_HOUR = 32
    AMPERE = 33
    VOLT = 35
    HERTZ = 44
    COUNT = 255


SYMBOLS = {
    Unit.YEAR: "a",
    Unit.MONTH: "mo",
    Unit.WEEK: "wk",
    Unit.DAY: "d",
    Unit.HOUR: "h",
    Unit.MINUTE: "min",
    Unit.SECOND: "s",
    Unit.DEGREE: "°",
    Unit.CELSIUS: "°C",
    Unit.CURRENCY: "¤",
    Unit.WATT: "W",
    Unit.VOLT_AMPERE: "VA",
    Unit.VAR: "var",
    Unit.WATT_HOUR: "Wh",
    Unit.VOLT_AMPERE_HOUR: "VAh",
    Unit.VAR_HOUR: "varh",
    Unit.AMPERE: "A",
    Unit.VOLT: "V",
    Unit.HERTZ: "Hz",
    Unit.COUNT: "",
}


def symbol(code: int | None) -> str:
    """The printed sign of a unit code; `unit 77` for a code that this table does not know, empty for None."""
    if code is None:
        return ""
    try:
        return SYMBOLS[Unit(code)]
    except ValueError:
        return f"unit {code}"


def scaled(raw: int, scaler: int | None) -> Decimal:
    """Exact `raw` x 10^`scaler`: of 2301 and -1, Decimal("230.1")."""
    return Decimal(raw).scaleb(scaler or 0)
