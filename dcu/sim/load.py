"""The load of a house as a function of (seed, time), with its integral in closed form. No state, no clock.

Energy over any interval is a difference of one antiderivative, so block energies and cumulative registers agree
whatever the intervals are. Terms: base, refrigerator, slow waves, morning and evening bumps, a few kettles a day.
Times are seconds since 1970-01-01T00:00:00Z; power W; energy J.
"""

import math
import random
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

DAY_S: Final = 86_400
COMMISSIONED: Final = 1_577_836_800
"""2020-01-01T00:00:00Z: energies count from here."""


@dataclass(frozen=True, slots=True)
class Waves:
    """A sum of sines with periods that share no common multiple: looks like noise, integrates exactly."""

    terms: tuple[tuple[float, float, float], ...]  # amplitude, period s, phase rad

    @classmethod
    def of(cls, rng: random.Random, amplitude: float, periods: tuple[float, ...]) -> "Waves":
        """One sine a period, each of `amplitude` over their number, at a phase from `rng`."""
        share = amplitude / len(periods)
        return cls(tuple((share, period * rng.uniform(0.9, 1.1), rng.uniform(0, math.tau)) for period in periods))

    def at(self, t: float) -> float:
        """Value at `t`."""
        return sum(a * math.sin(math.tau * t / period + phase) for a, period, phase in self.terms)

    def integral(self, t: float) -> float:
        """An antiderivative at `t`."""
        return sum(-a * period / math.tau * math.cos(math.tau * t / period + phase) for a, period, phase in self.terms)

    def mean(self, start: float, end: float) -> float:
        """Mean over an interval; the value where the interval is empty."""
        return (self.integral(end) - self.integral(start)) / (end - start) if end > start else self.at(start)


@dataclass(frozen=True, slots=True)
class _Bump:
    """A raised cosine: `height` W at `centre`, nothing beyond `half` seconds from it."""

    centre: float
    half: float
    height: float

    def at(self, t: float) -> float:
        x = t - self.centre
        return self.height / 2 * (1 + math.cos(math.pi * x / self.half)) if abs(x) < self.half else 0.0

    def integral(self, t: float) -> float:
        x = min(max(t - self.centre, -self.half), self.half)
        return self.height / 2 * (x + self.half + self.half / math.pi * math.sin(math.pi * x / self.half))


@dataclass(frozen=True, slots=True)
class _Kettle:
    """`power` W from `start` for `lasts` seconds."""

    start: float
    lasts: float
    power: float

    def at(self, t: float) -> float:
        return self.power if self.start <= t < self.start + self.lasts else 0.0

    def integral(self, t: float) -> float:
        return self.power * min(max(t - self.start, 0.0), self.lasts)


_Event = _Bump | _Kettle


class HouseLoad:
    """One house.

    Args:
        seed: which house.
        utc_offset_s: local time minus UTC, since people get up by their own clock.
    """

    def __init__(self, seed: int, utc_offset_s: int) -> None:
        rng = random.Random(f"house/{seed}")  # noqa: S311  a load, not a secret
        self._seed = seed
        self._offset = utc_offset_s
        self._base = rng.uniform(90, 160)
        self._waves = Waves.of(rng, self._base * 0.5, (37.0, 411.0, 3_001.0))
        self._fridge_w = rng.uniform(90, 130)
        self._fridge_s = rng.uniform(2_400, 3_600)
        self._fridge_on = 0.36 * self._fridge_s
        self._phase = rng.uniform(0, 3_600)
        self._peaks = (rng.uniform(300, 700), rng.uniform(600, 1_400))
        self._days: list[tuple[tuple[_Event, ...], float]] = []  # events of a day, energy of all days before it
        self._used = 0.0
        self._origin = self._integral(COMMISSIONED)

    def power(self, t: float) -> float:
        """Active power at `t`, W, above 0."""
        on = (t + self._phase) % self._fridge_s < self._fridge_on
        events, _, local = self._day(t)
        return (
            self._base + (self._fridge_w if on else 0.0) + self._waves.at(t) + sum(event.at(local) for event in events)
        )

    def energy(self, t: float) -> float:
        """Energy from commissioning to `t`, J: grows with `t`, 0 before commissioning."""
        return max(0.0, self._integral(t) - self._origin) if t > COMMISSIONED else 0.0

    def _integral(self, t: float) -> float:
        events, before, local = self._day(t)
        running = before + sum(event.integral(local) for event in events)
        return self._base * (t - COMMISSIONED) + self._fridge(t) + self._waves.integral(t) + running

    def _fridge(self, t: float) -> float:
        cycles, rest = divmod(t + self._phase, self._fridge_s)
        return self._fridge_w * (cycles * self._fridge_on + min(rest, self._fridge_on))

    def _day(self, t: float) -> tuple[tuple[_Event, ...], float, float]:
        """Events of the local day of `t`, energy of the events of all days before, and seconds into that day."""
        day, local = divmod(t + self._offset - COMMISSIONED, DAY_S)
        if day < 0:
            return (), 0.0, local
        while len(self._days) <= day:
            for events in _hundred_days(self._seed, self._peaks, len(self._days) // _HUNDRED):
                self._days.append((events, self._used))
                self._used += sum(event.integral(DAY_S) for event in events)
        events, before = self._days[int(day)]
        return events, before, local


_HUNDRED: Final = 100


@lru_cache(maxsize=128)
def _hundred_days(seed: int, peaks: tuple[float, float], hundred: int) -> tuple[tuple[_Event, ...], ...]:
    """What happens in a house on each of a hundred days; kept, since many meters of a test stand in the same house."""
    return tuple(_events(seed, peaks, hundred * _HUNDRED + day) for day in range(_HUNDRED))


def _events(seed: int, peaks: tuple[float, float], day: int) -> tuple[_Event, ...]:
    rng = random.Random(f"house/{seed}/{day}")  # noqa: S311
    morning, evening = peaks
    return (
        _Bump(rng.uniform(6.8, 8.2) * 3_600, 5_400, morning * rng.uniform(0.6, 1.3)),
        _Bump(rng.uniform(18.5, 20.0) * 3_600, 9_000, evening * rng.uniform(0.7, 1.3)),
        *(
            _Kettle(rng.uniform(6, 22) * 3_600, rng.uniform(120, 420), rng.uniform(900, 1_800))
            for _ in range(rng.randint(1, 4))
        ),
    )


class Mains:
    """The supply at the house: voltage and frequency, there whether the relay is closed or not."""

    def __init__(self, seed: int) -> None:
        rng = random.Random(f"mains/{seed}")  # noqa: S311
        self._volts = rng.uniform(226, 236)
        self._sag = Waves.of(rng, 9.0, (61.0, 1_201.0, 21_601.0))
        self._drift = Waves.of(rng, 0.08, (29.0, 301.0))

    def voltage(self, start: float, end: float) -> float:
        """Mean voltage over an interval, V; the voltage itself where start = end."""
        return self._volts + self._sag.mean(start, end)

    def frequency(self, t: float) -> float:
        """Hz."""
        return 50.0 + self._drift.at(t)
