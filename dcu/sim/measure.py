"""What the meter measures: raw integers of the registers, from the house's load and the relay's history.

Scalers differ on purpose from register to register, so that a scaler taken for granted shows. Integer types as on
L&T meters; units are Blue Book enums (reference/is15959.md 2). Times are real time, seconds since 1970.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from dcu.sim.axdr import Tag
from dcu.sim.load import COMMISSIONED, HouseLoad, Mains


@dataclass(frozen=True, slots=True)
class Register:
    """Type, scaler and unit of a class 3 or 4 register."""

    tag: Tag
    scaler: int
    unit: int


_LONG, _ULONG = Tag.DOUBLE_LONG, Tag.DOUBLE_LONG_UNSIGNED
_W, _VA, _WH, _VAH, _A, _V, _HZ, _MIN, _NONE = 27, 28, 30, 31, 33, 35, 44, 6, 255

REGISTERS: Final = {
    "1.0.12.7.0": Register(Tag.LONG_UNSIGNED, -2, _V),
    "1.0.11.7.0": Register(_ULONG, -3, _A),
    "1.0.91.7.0": Register(_ULONG, -3, _A),
    "1.0.13.7.0": Register(Tag.LONG, -3, _NONE),
    "1.0.14.7.0": Register(Tag.LONG_UNSIGNED, -2, _HZ),
    "1.0.9.7.0": Register(_ULONG, 0, _VA),
    "1.0.1.7.0": Register(_LONG, -1, _W),
    "1.0.1.8.0": Register(_ULONG, 0, _WH),
    "1.0.9.8.0": Register(_ULONG, 0, _VAH),
    "1.0.2.8.0": Register(_ULONG, 0, _WH),
    "1.0.10.8.0": Register(_ULONG, 0, _VAH),
    "0.0.94.91.14": Register(_ULONG, 0, _MIN),
    "1.0.12.27.0": Register(Tag.LONG_UNSIGNED, -1, _V),
    "1.0.1.29.0": Register(_ULONG, -1, _WH),
    "1.0.9.29.0": Register(_ULONG, -1, _VAH),
    "1.0.2.29.0": Register(_ULONG, -1, _WH),
    "1.0.10.29.0": Register(_ULONG, -1, _VAH),
}
"""Class 3, by logical name without group F."""

DEMANDS: Final = {"1.0.1.6.0": Register(_ULONG, 0, _W), "1.0.9.6.0": Register(_ULONG, 0, _VA)}
"""Class 4: maximum demand, attribute 2, and its time, attribute 5."""

BLOCK_COLUMNS: Final = ("1.0.12.27.0", "1.0.1.29.0", "1.0.9.29.0", "1.0.2.29.0", "1.0.10.29.0")
DAILY_COLUMNS: Final = ("1.0.1.8.0", "1.0.9.8.0", "1.0.2.8.0", "1.0.10.8.0")

Spans = Callable[[], tuple[tuple[float, float], ...]]


@dataclass(slots=True)
class Demand:
    """Maximum demand of the month so far: value in W or VA, and when its interval ended (0: none yet)."""

    value: int = 0
    at: int = 0

    def offer(self, value: int, at: int) -> None:
        """Take a new mean if it is higher."""
        if value > self.value or not self.at:
            self.value, self.at = value, at


@dataclass(slots=True)
class Demands:
    """Both maximum demands, with the month that they are of."""

    month: tuple[int, int] = (0, 0)
    active: Demand = field(default_factory=Demand)
    apparent: Demand = field(default_factory=Demand)

    def offer(self, month: tuple[int, int], at: int, watts: int, volt_amperes: int) -> None:
        """Means of an interval that ended at `at`, in local `month`."""
        if month != self.month:
            self.month, self.active, self.apparent = month, Demand(), Demand()
        self.active.offer(watts, at)
        self.apparent.offer(volt_amperes, at)


class Measurement:
    """One meter's view of its house.

    Args:
        seed: which house.
        utc_offset_s: its local time.
        open_spans: times at which the relay let nothing through.
    """

    def __init__(self, seed: int, utc_offset_s: int, open_spans: Spans) -> None:
        self._load = HouseLoad(seed, utc_offset_s)
        self._mains = Mains(seed)
        self._open_spans = open_spans
        rng = random.Random(f"meter/{seed}")  # noqa: S311
        self._power_factor = rng.uniform(0.91, 0.985)
        self._leak = rng.uniform(0.97, 0.999)  # neutral current over phase current

    def joules(self, t: float) -> float:
        """Energy that passed the relay from commissioning to `t`."""
        lost = 0.0
        for opened, closed in self._open_spans():
            if opened < t:
                lost += self._load.energy(min(closed, t)) - self._load.energy(opened)
        return self._load.energy(t) - lost

    def _tenths(self, t: float) -> tuple[int, int]:
        """Import energy in 0.1 Wh and 0.1 VAh: what all energy registers derive from."""
        joules = self.joules(t)
        return int(joules // 360), int(joules / self._power_factor // 360)

    def block(self, start: float, end: float) -> tuple[int, ...]:
        """Block load row: mean voltage, import Wh and VAh, export Wh and VAh of the interval."""
        wh0, vah0 = self._tenths(start)
        wh1, vah1 = self._tenths(end)
        return (round(self._mains.voltage(start, end) * 10), wh1 - wh0, vah1 - vah0, 0, 0)

    def daily(self, _start: float, end: float) -> tuple[int, ...]:
        """Daily row: cumulative import Wh and VAh, export Wh and VAh at midnight."""
        wh, vah = self._tenths(end)
        return (wh // 10, vah // 10, 0, 0)

    def instant(self, t: float) -> dict[str, int]:
        """Instantaneous and cumulative registers at `t`, by logical name."""
        volts = self._mains.voltage(t, t)
        flowing = not any(opened <= t < closed for opened, closed in self._open_spans())
        watts = self._load.power(t) if flowing else 0.0
        apparent = watts / self._power_factor
        amperes = apparent / volts
        wh, vah, exported_wh, exported_vah = self.daily(t, t)
        return {
            "1.0.12.7.0": round(volts * 100),
            "1.0.11.7.0": round(amperes * 1000),
            "1.0.91.7.0": round(amperes * 1000 * self._leak),
            "1.0.13.7.0": round(self._power_factor * 1000) if flowing else 1000,
            "1.0.14.7.0": round(self._mains.frequency(t) * 100),
            "1.0.9.7.0": round(apparent),
            "1.0.1.7.0": round(watts * 10),
            "1.0.1.8.0": wh,
            "1.0.9.8.0": vah,
            "1.0.2.8.0": exported_wh,
            "1.0.10.8.0": exported_vah,
            "0.0.94.91.14": max(0, int(t - COMMISSIONED) // 60),
        }
