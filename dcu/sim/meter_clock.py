"""The meter's clock: real time, shown on a face in the meter's own zone, as 12 octets (Blue Book 4.1.6.1)."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Final

from dcu.sim.axdr import Datum, Tag, boolean, enum, i8, i16, octets, u8
from dcu.sim.objects import Attribute, CosemObject, expect, fixed, logical_name
from dcu.sim.xdlms import Refused, Result

CLOCK_NAME: Final = logical_name("0.0.1.0.0")
_UNSPECIFIED: Final = 0x8000
_UNSPECIFIED_DATE_TIME: Final = bytes.fromhex("ffffffffffffffffff800000")


class MeterClock:
    """Reads `now`, adds what a SET of the clock put between it and the truth.

    Args:
        now: seconds since 1970-01-01T00:00:00Z.
        utc_offset_min: local time minus UTC.
    """

    def __init__(self, now: Callable[[], float], utc_offset_min: int) -> None:
        self._now = now
        self.utc_offset_s = utc_offset_min * 60
        self.ahead_s = 0.0
        """Meter's clock minus real time."""

    def now(self) -> float:
        """Seconds since 1970 by this clock."""
        return self._now() + self.ahead_s

    def real(self, at: float) -> float:
        """Real time of a moment of this clock."""
        return at - self.ahead_s

    def grid(self, at: float, period_s: int) -> int:
        """The last moment not after `at` that the period's grid has in local time."""
        local = int(at // 1) + self.utc_offset_s
        return local - local % period_s - self.utc_offset_s

    def octets(self, at: float) -> bytes:
        """12 octets of a moment: weekday, hundredths and deviation unspecified, status 0."""
        face = datetime.fromtimestamp(int(at // 1), timezone(timedelta(seconds=self.utc_offset_s)))
        date = face.year.to_bytes(2, "big") + bytes([face.month, face.day, 0xFF])
        return date + bytes([face.hour, face.minute, face.second, 0xFF]) + _UNSPECIFIED.to_bytes(2, "big") + b"\x00"

    def moment(self, face: bytes) -> int | None:
        """Seconds since 1970 of 12 octets; None where the year is unspecified.

        Raises:
            Refused: not 12 octets, or no date of a calendar.
        """
        if len(face) != 12:
            raise Refused(Result.TYPE_UNMATCHED)
        year = int.from_bytes(face[:2], "big")
        if year == 0xFFFF:
            return None
        hour, minute, second = (0 if octet == 0xFF else octet for octet in face[5:8])
        try:
            at = datetime(year, face[2], face[3], hour, minute, second, tzinfo=UTC)
        except ValueError as fault:
            raise Refused(Result.OTHER_REASON) from fault
        deviation = int.from_bytes(face[9:11], "big", signed=True)
        offset = self.utc_offset_s if face[9:11] == b"\x80\x00" else -60 * deviation
        return int(at.timestamp()) - offset


def clock_object(clock: MeterClock) -> CosemObject:
    """Class 8 at 0.0.1.0.0; time is readable by all, writable by the utility setting client."""

    def set_time(value: Datum) -> None:
        moment = clock.moment(expect(value, Tag.OCTET_STRING, Tag.DATE_TIME).value)
        if moment is None:
            raise Refused(Result.OTHER_REASON)
        clock.ahead_s += moment - clock.now()

    return CosemObject(
        8,
        CLOCK_NAME,
        {
            2: Attribute(lambda: octets(clock.octets(clock.now())), set_time, public=True),
            3: fixed(i16(-clock.utc_offset_s // 60)),
            4: fixed(u8(0)),
            5: fixed(octets(_UNSPECIFIED_DATE_TIME)),
            6: fixed(octets(_UNSPECIFIED_DATE_TIME)),
            7: fixed(i8(0)),
            8: fixed(boolean(False)),
            9: fixed(enum(1)),  # crystal
        },
    )
