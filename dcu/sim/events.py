"""Event logs: whose a code is, what rows hold, and the event status word (reference/is15959.md 2.8 to 2.10)."""

from collections.abc import Mapping
from typing import Final

from dcu.sim.kinds import Kind, Place
from dcu.sim.profile import Log, Row
from dcu.sim.registers import CLOCK

VOLTAGE, CURRENT, POWER, TRANSACTION, OTHERS, NON_ROLLOVER, CONTROL = range(7)
EVENT_LOGS: Final = tuple(f"0.0.99.98.{log}.255" for log in range(7))
_WITH_READINGS: Final = {VOLTAGE, CURRENT, OTHERS}
_NON_ROLLOVER_ENTRIES: Final = 10

POWER_FAILED, POWER_CAME_BACK = 101, 102
CLOCK_SET, DEMAND_PERIOD_SET, CAPTURE_PERIOD_SET, SCHEDULE_SET = 151, 152, 153, 154
FIRMWARE_CHANGED, LOAD_LIMIT_SET, FILTER_SET, DEMAND_RESET = 157, 158, 165, 166
POST_PAID, PREPAID, FORWARD_ONLY, IMPORT_AND_EXPORT = 211, 212, 213, 214
LOAD_CUT, LOAD_CONNECTED = 301, 302
COVER_OPEN: Final = 251

_RANGES: Final = (
    (range(1, 51), VOLTAGE),
    (range(51, 101), CURRENT),
    (range(101, 151), POWER),
    (range(151, 201), TRANSACTION),
    (range(201, 251), OTHERS),
    (range(251, 300), NON_ROLLOVER),
    (range(301, 351), CONTROL),
    (range(800, 1000), OTHERS),  # vendors'
)
_NO_TAMPER: Final = range(POST_PAID, IMPORT_AND_EXPORT + 1)

_ALARM_BITS: Final = ((COVER_OPEN, 83), (LOAD_CUT, 84), (POWER_FAILED, 85))
_PAIRED_BITS: Final = ((1, 0), (3, 1), (5, 2), (7, 3), (9, 4), (11, 5), (51, 6), (53, 7), (55, 8), (63, 9), (65, 10))
_MORE_BITS: Final = ((67, 11), (205, 12), (69, 51), (201, 81), (203, 82))
_BITS: Final = dict((*_PAIRED_BITS, *_MORE_BITS, *_ALARM_BITS))
"""Bit of the status word by the code that sets it; the next even code clears it."""
_FIRST_BREATH, _BILL_CLOSED = 86, 87
_BITS_OF_WORD: Final = 128
FACTORY_FILTER: Final = frozenset({3, 4, 6, 11, 12, 51, *range(81, 88)})


def log_of(code: int) -> int:
    """Number of the log that takes a code.

    Raises:
        ValueError: no log takes it.
    """
    for codes, log in _RANGES:
        if code in codes:
            return log
    raise ValueError(f"no event has the code {code}")


def bit_string(bits: frozenset[int] | set[int]) -> str:
    """128 bits, bit 0 first."""
    return "".join("1" if bit in bits else "0" for bit in range(_BITS_OF_WORD))


class Events:
    """The seven logs of a meter, and what is counted of them.

    Args:
        kind: of the meter.
        entries: how many rows each log keeps; the non-rollover log keeps its first few for good.
    """

    def __init__(self, kind: Kind, entries: int) -> None:
        self.kind = kind
        self.logs = [
            Log(min(entries, _NON_ROLLOVER_ENTRIES), rolls=False) if log == NON_ROLLOVER else Log(entries)
            for log in range(7)
        ]
        self.codes = [0] * 7
        """Last code of each log."""
        self.numbers = [0] * 7
        """Events of each log since the meter was made."""
        self.tampers = 0
        self.status: set[int] = set()
        self.filter: frozenset[int] = FACTORY_FILTER

    def places(self, log: int) -> tuple[Place, ...]:
        """Columns of a log."""
        readings = self.kind.event if log in _WITH_READINGS else ()
        number = (Place(1, f"0.0.96.15.{log}"),) if self.kind.numbered else ()
        return (CLOCK, Place(1, f"0.0.96.11.{log}"), *readings, *number)

    def count(self, code: int) -> int:
        """An event has happened; the number of its log."""
        log = log_of(code)
        self.codes[log] = code
        self.numbers[log] += 1
        if code % 2 and log in {*_WITH_READINGS, NON_ROLLOVER} and code not in _NO_TAMPER:
            self.tampers += 1
        if code in _BITS:
            self.status.add(_BITS[code])
        elif code - 1 in _BITS and code - 1 != COVER_OPEN:
            self.status.discard(_BITS[code - 1])
        if code == POWER_CAME_BACK:
            self.status.add(_FIRST_BREATH)
        return log

    def bill_closed(self) -> None:
        """The status word tells of it."""
        self.status.add(_BILL_CLOSED)

    def row(self, log: int, at: int, values: Mapping[str, int]) -> Row:
        """The row of what was just counted."""
        return (at, *(values[place.key] for place in self.places(log)[1:]))

    def values(self) -> dict[str, int]:
        """Counts and last codes, by `Place.key`."""
        found = {"0.0.94.91.0": self.tampers & 0xFFFF}
        for log in range(7):
            found[f"0.0.96.11.{log}"] = self.codes[log]
            found[f"0.0.96.15.{log}"] = self.numbers[log]
        return found
