"""Setting a meter's clock: the value, the SET under its warrant, and what the clock shows afterwards.

Nothing here decides that a clock is set; whoever holds the warrant did. The value is made before the warrant, since a
warrant covers exactly one value: it names the moment at which the SET is sent, and is good for about as long.
"""

from datetime import datetime, timedelta, tzinfo
from enum import Enum
from typing import Final

from dcu import obis
from dcu.command import Warrant
from dcu.errors import ReplyMalformed
from dcu.meter import AttributeRef, ClassId
from dcu.ports import Association
from dcu.reading import MeterTime, date_time, meter_time

CLOCK_TIME: Final = AttributeRef(ClassId.CLOCK, obis.CLOCK, 2)

_OCTET_STRING: Final = 0x09
_DEVIATION: Final = slice(9, 11)


class Deviation(Enum):
    """What a clock takes as the deviation of local time from UTC (Blue Book 4.1.6.1: minutes, UTC minus local).

    Indian meters disagree about its sign (reference/is15959.md 2.11); the face is local time in any case.
    """

    UNSPECIFIED = "unspecified"  # 0x8000
    STANDARD = "standard"  # -330 in India
    REVERSED = "reversed"  # +330 in India


def clock_value(at: datetime, zone: tzinfo, deviation: Deviation = Deviation.UNSPECIFIED) -> bytes:
    """The A-XDR octet-string of 12 octets that sets a clock in `zone` to `at`; weekday given, hundredths 0."""
    face = at.astimezone(zone)
    octets = bytearray(date_time(face, zone))
    octets[4] = face.isoweekday()
    if deviation is not Deviation.UNSPECIFIED:
        ahead_min = (face.utcoffset() or timedelta()) // timedelta(minutes=1)
        signed = -ahead_min if deviation is Deviation.STANDARD else ahead_min
        octets[_DEVIATION] = signed.to_bytes(2, "big", signed=True)
    return bytes([_OCTET_STRING, len(octets), *octets])


def set_clock(association: Association, value: bytes, zone: tzinfo, warrant: Warrant) -> MeterTime:
    """SET the clock to `value` once, and read what it shows then.

    Raises:
        WarrantRequired: the warrant is for another meter, target or value, or spent, or too old.
        ReplyMalformed: it took the value, and shows no time: read it again.
        DcuError: as `ports.Association`; whether it was set is then unknown, and the clock is to be read.
    """
    association.set(CLOCK_TIME, value, warrant)
    shown = association.get(CLOCK_TIME)
    if not isinstance(shown, bytes):
        raise ReplyMalformed(f"the clock is no octet-string but {type(shown).__name__}", place=association.serial)
    return meter_time(shown, zone)
