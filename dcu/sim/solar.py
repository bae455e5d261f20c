"""A roof's solar cells as a function of (seed, time), with their energy in closed form. No state, no clock."""

import math
from typing import Final

from dcu.sim.load import COMMISSIONED, DAY_S

_NOON_S: Final = 43_200.0
_HALF_S: Final = 5.6 * 3_600


class Roof:
    """Cells that feed what they make past the house into the mains: a raised cosine around noon, by the weather.

    Args:
        seed: whose roof.
        peak_w: on a clear noon; 0 for a roof without cells.
        utc_offset_s: local time minus UTC.
    """

    def __init__(self, seed: int, peak_w: float, utc_offset_s: int) -> None:
        self._seed = seed
        self._peak_w = peak_w
        self._offset = utc_offset_s
        self._before: list[float] = [0.0]  # sum of the weather of all days before a day

    def power(self, t: float) -> float:
        """Active power at `t`, W."""
        if not self._peak_w or t < COMMISSIONED:
            return 0.0
        day, local = divmod(t + self._offset - COMMISSIONED, DAY_S)
        x = local - _NOON_S
        shape = (1 + math.cos(math.pi * x / _HALF_S)) / 2 if abs(x) < _HALF_S else 0.0
        return self._peak_w * self._weather(int(day)) * shape

    def energy(self, t: float) -> float:
        """Energy from commissioning to `t`, J."""
        if not self._peak_w or t <= COMMISSIONED:
            return 0.0
        day, local = divmod(t + self._offset - COMMISSIONED, DAY_S)
        while len(self._before) <= day:
            self._before.append(self._before[-1] + self._weather(len(self._before) - 1))
        x = min(max(local - _NOON_S, -_HALF_S), _HALF_S)
        today = (x + _HALF_S + _HALF_S / math.pi * math.sin(math.pi * x / _HALF_S)) / 2
        return self._peak_w * (self._before[int(day)] * _HALF_S + self._weather(int(day)) * today)

    def _weather(self, day: int) -> float:
        """0.2 in the rain to 1 on a clear day."""
        return 0.2 + 0.8 * ((day * 2_654_435_761 + self._seed * 40_503) % 997) / 996
