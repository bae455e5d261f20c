"""What a meter said: its times, its values, and the columns they stand in. Values only; no I/O.

A value stays what the meter sent: raw integers with a scaler beside them, never floats. The meter's clock
(`captured_at`) and the box's (`read_at`) are different types of fact and are never mixed.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo
from enum import Enum
from typing import Final

from dcu import obis
from dcu.errors import ReplyMalformed
from dcu.obis import LogicalName

Value = None | bool | int | str | bytes
"""One A-XDR value as the meter sent it; octet-strings are bytes, visible strings are text."""

Data = Value | list["Data"]
"""A-XDR data of any shape: arrays and structures are lists."""

UNSPECIFIED_DEVIATION: Final = 0x8000


class ClockState(Enum):
    """Whether the box's own clock could be trusted when it put a time on something."""

    TRUSTED = "trusted"
    HOLDOVER = "holdover"  # it was, and has been running on by itself for less than a day
    UNTRUSTED = "untrusted"

    @property
    def known(self) -> bool:
        """Whether the time is known."""
        return self is not ClockState.UNTRUSTED


@dataclass(frozen=True, slots=True)
class Uptime:
    """A moment that is known although the time is not: `seconds` since the start `boot` of the machine."""

    boot: str
    seconds: int


@dataclass(frozen=True, slots=True)
class MeterTime:
    """A moment by the meter's clock.

    Attributes:
        at: that moment, aware, in the meter's zone.
        status: clock status octet (Blue Book 4.1.6.1): bit 0 invalid, bit 1 doubtful, bit 7 daylight saving.
        octets: the 12 octets as sent.
        epoch_s: the same moment in seconds since 1970-01-01T00:00:00Z: as records and the gap ledger carry it.
    """

    at: datetime
    status: int
    octets: bytes
    epoch_s: int = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        """Once: a row is asked for it a dozen times on its way to the disk."""
        object.__setattr__(self, "epoch_s", int(self.at.timestamp()))


def meter_time(octets: bytes, zone: tzinfo) -> MeterTime:
    """The moment that a date-time octet-string names (Blue Book 4.1.6.1).

    The clock's face is read in `zone`; the deviation is not used, since Indian meters get its sign wrong
    (reference/is15959.md 2.11). Day of week and hundredths carry nothing here.

    Raises:
        ReplyMalformed: not 12 octets, or a face that no calendar has (wildcards, hour 24, 30 February).
    """
    if len(octets) != 12:
        raise ReplyMalformed(f"a date-time has 12 octets, not {len(octets)}")
    year = int.from_bytes(octets[0:2], "big")
    try:
        at = datetime(year, octets[2], octets[3], octets[5], octets[6], octets[7], tzinfo=zone)
    except ValueError as fault:
        raise ReplyMalformed(f"date-time {octets.hex()} is no moment: {fault}") from fault
    return MeterTime(at, octets[11] if octets[11] != 0xFF else 0, bytes(octets))


def date_time(at: datetime, zone: tzinfo) -> bytes:
    """12 octets that name `at` on a clock's face in `zone`: weekday and deviation unspecified, status 0."""
    face = at.astimezone(zone)
    return (
        face.year.to_bytes(2, "big")
        + bytes([face.month, face.day, 0xFF, face.hour, face.minute, face.second, 0])
        + UNSPECIFIED_DEVIATION.to_bytes(2, "big")
        + b"\x00"
    )


def from_epoch(epoch_s: int) -> datetime:
    """Aware UTC datetime of `epoch_s`, the inverse of `MeterTime.epoch_s`; exact for every year datetime knows."""
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=epoch_s)


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a profile: a capture object with its scaler and unit.

    Attributes:
        class_id: COSEM class of the captured object.
        logical_name: of the captured object.
        attribute: captured attribute.
        scaler: power of ten of the raw integer, or None where the value is not scaled.
        unit: DLMS unit code, or None.
    """

    class_id: int
    logical_name: LogicalName
    attribute: int
    scaler: int | None = None
    unit: int | None = None


Layout = tuple[Column, ...]
"""Columns of a profile in capture order, the row's time first: the clock, the billing date, or `UNTIMED`."""

UNTIMED: Final = Column(0, obis.CLOCK, 0)
"""First column of a profile that captures no time (a nameplate); the meter does not send it. Attribute 0 of the clock
says to the head-end that `captured_at` is the moment of reading, by the box's clock."""

NO_TIME: Final = MeterTime(datetime(1970, 1, 1, tzinfo=UTC), 0, b"")
"""`captured_at` of a row of an untimed profile, until whoever knows the moment of reading puts that in its place."""

_TIMES: Final = frozenset({(obis.CLOCK, 2), (obis.BILLING_DATE, 2)})


def timed(columns: list[Column]) -> list[Column]:
    """Capture objects with a time as their first column: their own, or `UNTIMED` before them where that is none."""
    first = columns[0]
    return columns if (first.logical_name, first.attribute) in _TIMES else [UNTIMED, *columns]


@dataclass(frozen=True, slots=True)
class Row:
    """One captured row: its time by the meter's clock, and the values of the columns after that time's."""

    captured_at: MeterTime
    values: tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class ProfileReading:
    """What one poll of one profile of one meter brought.

    Attributes:
        serial: the meter's, as verified in the same association.
        profile: logical name of the profile.
        layout: columns, the clock first; a row has one value fewer.
        rows: in the order of the meter's buffer.
        read_at: the box's clock, aware.
        clock: whether that clock was trusted.
        again: (row index, n) of rows that are not the first of their `captured_at`: n others were let in before, with
            other values (events of one second; intervals that a clock which was set back passed twice).
        uptime: when it was read, where the time was not known.
    """

    serial: str
    profile: LogicalName
    layout: Layout
    rows: tuple[Row, ...]
    read_at: datetime
    clock: ClockState
    again: tuple[tuple[int, int], ...] = ()
    uptime: Uptime | None = None
