"""Bills: energies and maximum demands by time zone of the day, closed once a month or by a script."""

from dataclasses import dataclass, replace
from typing import Final

from dcu.sim.kinds import BILLING_DATE, ZONES, Kind
from dcu.sim.measure import QUANTITIES, Energies, Measurement
from dcu.sim.meter_clock import MeterClock
from dcu.sim.profile import Log, Row

CLOSED_BILLS: Final = 12
_DAY_S: Final = 86_400
_ZONE_S: Final = _DAY_S // ZONES
_BILLED: Final = QUANTITIES[:4]
"""Import and export, active and apparent: what has zones and demands."""


@dataclass(slots=True)
class Demand:
    """A maximum demand of the bill so far: value in W or VA, and when its interval ended (0: none yet)."""

    value: int = 0
    at: int = 0

    def offer(self, value: int, at: int) -> None:
        """Take a new mean if it is higher."""
        if value > self.value or not self.at:
            self.value, self.at = value, at


@dataclass(frozen=True, slots=True)
class MonthDay:
    """When bills are closed: that day of each month, at that time by the meter's clock."""

    day: int = 1
    hour: int = 0
    minute: int = 0

    def after(self, clock: MeterClock, at: float) -> int:
        """The next such moment after `at`."""
        face = clock.local(at).replace(day=self.day, hour=self.hour, minute=self.minute, second=0)
        if face.timestamp() <= at:
            first = face.month == 12
            face = face.replace(year=face.year + first, month=1 if first else face.month + 1)
        return int(face.timestamp())


class Billing:
    """The present bill and the closed ones of one meter.

    Args:
        kind: of the meter: which columns a bill has.
        clock, measurement: of the meter.
        demand_period_s: demand integration period.
    """

    def __init__(self, kind: Kind, clock: MeterClock, measurement: Measurement, demand_period_s: int) -> None:
        self.kind = kind
        self.demand_period_s = demand_period_s
        self.log = Log(CLOSED_BILLS)
        self.schedule = MonthDay()
        self.due = 0
        """When the present bill is to be closed."""
        self.count = 0
        self._clock = clock
        self._measurement = measurement
        self._zones: dict[str, list[int]] = {}
        self._counted = Energies(*[0] * len(QUANTITIES))
        """What the zones add up to."""
        self._peaks = _no_demands()
        self._window = [0] * len(_BILLED)
        self._window_s = 0
        self._since = Energies(*[0] * len(QUANTITIES))
        self._on_since_s = 0.0
        self._tampers_since = 0

    def feed(self, start: int, end: int) -> None:
        """An interval of the block load, in seconds of the meter's clock: energies go to the zone of its beginning."""
        before = self._measurement.energies(self._clock.real(start))
        after = self._measurement.energies(self._clock.real(end))
        if not self._zones:
            self._zones = {q: _shared(total) for q, total in zip(_BILLED, before, strict=False)}
            self._counted = before
        zone = self._zone(start)
        for q, total, counted in zip(_BILLED, after, self._counted, strict=False):
            self._zones[q][zone] += total - counted
        self._counted = after
        self._window = [w + new - old for w, new, old in zip(self._window, after, before, strict=False)]
        self._window_s += end - start
        if (end + self._clock.utc_offset_s) % max(self.demand_period_s, end - start) == 0:
            self._demand(zone, end)

    def _demand(self, zone: int, end: int) -> None:
        for q, tenths in zip(_BILLED, self._window, strict=True):
            mean = tenths * 360 // max(self._window_s, self.demand_period_s)
            self._peaks[q][0].offer(mean, end)
            self._peaks[q][1 + zone].offer(mean, end)
        self._window, self._window_s = [0] * len(_BILLED), 0

    def _zone(self, at: float) -> int:
        return int((at + self._clock.utc_offset_s) % _DAY_S // _ZONE_S)

    def values(self, real: float, tampers: int) -> dict[str, int]:
        """Registers of the present bill at a real time, by `Place.key`."""
        energies = self._measurement.energies(real)
        found = {
            "1.0.13.0.0": self._factor(energies),
            "0.0.94.91.13": int(self._measurement.supply.on_s(real) - self._on_since_s) // 60,
            BILLING_DATE: self.log.last or 0,
            "0.0.0.1.0": self.count,
            "0.0.0.1.1": len(self.log.rows),
            "0.0.96.15.128": tampers - self._tampers_since,
        }
        zone = self._zone(real + self._clock.ahead_s)
        for q, total in zip(_BILLED, energies, strict=False):
            zones = list(self._zones.get(q) or _shared(total))
            zones[zone] += total - sum(zones)
            for number, tenths in enumerate(zones, 1):
                found[f"1.0.{q}.8.{number}"] = tenths // 10
            for number, peak in enumerate(self._peaks[q]):
                found[f"1.0.{q}.6.{number}"] = peak.value
                found[f"1.0.{q}.6.{number}/5"] = peak.at
        return found

    def _factor(self, energies: Energies) -> int:
        apparent = energies.vah - self._since.vah
        return round(1000 * (energies.wh - self._since.wh) / apparent) if apparent else 1000

    def row(self, at: int, values: dict[str, int]) -> Row:
        """A bill dated `at`."""
        return (at, *(values[place.key] for place in self.kind.billing[1:]))

    def close(self, row: Row, tampers: int) -> None:
        """Keep a bill, as closed now or in an earlier life, and begin the next one."""
        self.log.append(row)
        real = self._clock.real(row[0])
        self.count += 1
        self._peaks = _no_demands()
        self._window, self._window_s = [0] * len(_BILLED), 0
        self._since = self._measurement.energies(real)
        self._on_since_s = self._measurement.supply.on_s(real)
        self._tampers_since = tampers

    def begin(self, at: float) -> None:
        """Count from `at` by the meter's clock on."""
        self.due = self.schedule.after(self._clock, at)

    def reschedule(self, at: float, **changes: int) -> None:
        """Another day or time of the month; or the clock was set."""
        changed = bool(changes)
        self.schedule = replace(self.schedule, **changes)
        following = self.schedule.after(self._clock, at)
        self.due = following if changed else min(self.due, following)


def _shared(total: int) -> list[int]:
    """What was counted before there were zones: a share for each."""
    return [total // ZONES + (total % ZONES if zone == 0 else 0) for zone in range(ZONES)]


def _no_demands() -> dict[str, list[Demand]]:
    return {q: [Demand() for _ in range(1 + ZONES)] for q in _BILLED}
