"""The meter's clock: real time, shown on a face in the meter's own zone, as 12 octets (Blue Book 4.1.6.1)."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Final

from dcu.sim.axdr import Datum, Tag, boolean, enum, i8, i16, octets, u8
from dcu.sim.face import Face
from dcu.sim.objects import Attribute, CosemObject, expect, fixed, logical_name
from dcu.sim.xdlms import Refused, Result

CLOCK_NAME: Final = logical_name("0.0.1.0.0")
NO_TIME: Final = bytes.fromhex("ffffffffffffffffff8000ff")
"""A date-time of which nothing is specified."""
_UNSPECIFIED: Final = b"\x80\x00"
_UNSPECIFIED_DATE_TIME: Final = bytes.fromhex("ffffffffffffffffff800000")


class MeterClock:
    """Reads `now`, adds what a SET of the clock put between it and the truth, and runs fast or slow.

    Args:
        now: seconds since 1970-01-01T00:00:00Z.
        utc_offset_min: local time minus UTC.
        drift_ppm: what it gains in a million seconds.
        face: how it shows its time.
    """

    def __init__(
        self, now: Callable[[], float], utc_offset_min: int, drift_ppm: float = 0.0, face: Face | None = None
    ) -> None:
        self._now = now
        self.utc_offset_s = utc_offset_min * 60
        self._zone = timezone(timedelta(seconds=self.utc_offset_s))
        self.face = face or Face()
        self._drift = drift_ppm / 1e6
        self.set_at = now()
        """Real time at which it was last set."""
        self.ahead_s = 0.0
        """Meter's clock minus real time at that moment."""
        minutes = {"unspecified": None, "right": -utc_offset_min, "wrong-sign": utc_offset_min}[self.face.deviation]
        self._deviation = _UNSPECIFIED if minutes is None else minutes.to_bytes(2, "big", signed=True)

    def now(self) -> float:
        """Seconds since 1970 by this clock."""
        real = self._now()
        return real + self.ahead_s + self._drift * (real - self.set_at)

    def real(self, at: float) -> float:
        """Real time of a moment of this clock, as it runs now."""
        if not self._drift:
            return at - self.ahead_s
        return (at - self.ahead_s + self._drift * self.set_at) / (1 + self._drift)

    def put(self, ahead_s: float, real: float | None = None) -> None:
        """Set it that far ahead of real time; at `real` when it is remembered from an earlier life."""
        self.set_at = self._now() if real is None else real
        self.ahead_s = ahead_s

    def set(self, moment: float) -> None:
        """Set it to a moment."""
        self.put(moment - self._now())

    def grid(self, at: float, period_s: int) -> int:
        """The last moment not after `at` that the period's grid has in local time."""
        local = int(at // 1) + self.utc_offset_s
        return local - local % period_s - self.utc_offset_s

    def local(self, at: float) -> datetime:
        """The face as a datetime of the meter's zone."""
        return datetime.fromtimestamp(int(at // 1), self._zone)

    def octets(self, at: float) -> bytes:
        """12 octets of a moment: hundredths unspecified, status 0."""
        face = self.local(at)
        weekday = face.isoweekday() if self.face.weekday else 0xFF
        date = face.year.to_bytes(2, "big") + bytes([face.month, face.day, weekday])
        return date + bytes([face.hour, face.minute, face.second, 0xFF]) + self._deviation + b"\x00"

    def datum(self, at: float) -> Datum:
        """A moment as this meter sends it; 0 is no moment."""
        return self.told(self.octets(at) if at else NO_TIME)

    def told(self, face: bytes) -> Datum:
        """12 octets as this meter sends them."""
        return Datum(Tag.DATE_TIME if self.face.tagged else Tag.OCTET_STRING, face)

    def moment(self, face: bytes) -> int | None:
        """Seconds since 1970 of 12 octets; None where the year is unspecified.

        A meter that has the deviation's sign wrong is not misled by one: it goes by the face.

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
        by_face = face[9:11] == _UNSPECIFIED or self.face.deviation == "wrong-sign"
        deviation = int.from_bytes(face[9:11], "big", signed=True)
        return int(at.timestamp()) - (self.utc_offset_s if by_face else -60 * deviation)


def clock_object(clock: MeterClock, set_time: Callable[[int], None]) -> CosemObject:
    """Class 8 at 0.0.1.0.0; time is readable by all, writable by the utility setting client."""

    def write(value: Datum) -> None:
        moment = clock.moment(expect(value, Tag.OCTET_STRING, Tag.DATE_TIME).value)
        if moment is None:
            raise Refused(Result.OTHER_REASON)
        set_time(moment)

    return CosemObject(
        8,
        CLOCK_NAME,
        {
            2: Attribute(lambda: clock.datum(clock.now()), write, public=True),
            3: fixed(i16(-clock.utc_offset_s // 60)),
            4: fixed(u8(0)),
            5: fixed(octets(_UNSPECIFIED_DATE_TIME)),
            6: fixed(octets(_UNSPECIFIED_DATE_TIME)),
            7: fixed(i8(0)),
            8: fixed(boolean(False)),
            9: fixed(enum(1)),  # crystal
        },
    )
