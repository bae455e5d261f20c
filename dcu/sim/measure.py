"""What the meter measures: raw integers of the registers, from the house's load, its roof and the supply's history.

Integer types as on L&T meters; scalers and units are those of `kinds.register_of`. Times are real time, seconds since
1970.
"""

import math
import random
from typing import Final, NamedTuple

from dcu.sim.kinds import Kind
from dcu.sim.load import HouseLoad, Mains
from dcu.sim.solar import Roof
from dcu.sim.supply import Supply

_EXPORT_FACTOR: Final = 0.99
_LINES: Final = (("31", "32", "33"), ("51", "52", "53"), ("71", "72", "73"))
"""Current, voltage, power factor of R, Y, B: group C."""


class Energies(NamedTuple):
    """Cumulative energies in tenths of Wh, VAh, varh, in the order of `QUANTITIES`."""

    wh: int
    vah: int
    wh_out: int
    vah_out: int
    q1: int
    q2: int
    q3: int
    q4: int


QUANTITIES: Final = ("1", "9", "2", "10", "5", "6", "7", "8")
"""Group C of each of `Energies`."""


class Measurement:
    """One meter's view of its house.

    Args:
        kind: of the meter.
        seed: which house.
        utc_offset_s: its local time.
        solar_w: peak of the cells on its roof.
    """

    def __init__(self, kind: Kind, seed: int, utc_offset_s: int, solar_w: float = 0.0) -> None:
        self._kind = kind
        self._load = HouseLoad(seed, utc_offset_s)
        self._roof = Roof(seed, solar_w, utc_offset_s)
        self._mains = [Mains(seed + 1_000 * line) for line in range(kind.phases)]
        self.supply = Supply(self._house, self._roof.energy)
        rng = random.Random(f"meter/{seed}")  # noqa: S311
        self._power_factor = rng.uniform(0.91, 0.985)
        self._leak = rng.uniform(0.97, 0.999)  # neutral current over phase current
        parts = [rng.uniform(0.7, 1.3) for _ in range(kind.phases)]
        self._shares = [part / sum(parts) for part in parts]
        self._factors = [min(0.999, self._power_factor + rng.uniform(-0.02, 0.02)) for _ in range(kind.phases)]
        self._reactive = math.sqrt(1 / self._power_factor**2 - 1)
        self._known: dict[float, Energies] = {}
        self._known_version = 0

    def _house(self, t: float) -> float:
        return self._load.energy(t) * self._kind.phases

    def energies(self, t: float) -> Energies:
        """What passed from commissioning to `t`."""
        if self._known_version != self.supply.version or len(self._known) > 8:
            self._known.clear()
            self._known_version = self.supply.version
        if t not in self._known:
            self._known[t] = self._energies(t)
        return self._known[t]

    def _energies(self, t: float) -> Energies:
        tenths, out = self.supply.imported(t) / 360, self.supply.exported(t) / 360
        return Energies(
            int(tenths),
            int(tenths / self._power_factor),
            int(out),
            int(out / _EXPORT_FACTOR),
            int(tenths * self._reactive),
            int(out * 0.08),
            int(out * 0.02),
            int(tenths * 0.03),
        )

    def interval(self, start: float, end: float) -> dict[str, int]:
        """Registers of a whole interval: its mean voltages and currents, and its energies in tenths."""
        before, after = self.energies(start), self.energies(end)
        used = {f"1.0.{c}.29.0": new - old for c, new, old in zip(QUANTITIES, after, before, strict=True)}
        hours = (end - start) / 3600
        apparent = used["1.0.9.29.0"] / 10 / hours if hours > 0 else 0.0
        return used | (
            self._mean_1(start, end, apparent) if self._kind.phases == 1 else self._mean_3(start, end, apparent)
        )

    def _mean_1(self, start: float, end: float, apparent: float) -> dict[str, int]:
        volts = self._mains[0].voltage(start, end)
        amperes = apparent / volts
        return {
            "1.0.12.27.0": round(volts * 10),
            "1.0.11.27.0": round(amperes * 100),
            "1.0.91.27.0": round(amperes * 100 * self._leak),
        }

    def _mean_3(self, start: float, end: float, apparent: float) -> dict[str, int]:
        found = {"1.0.13.27.0": round(self._power_factor * 1000), "0.0.96.10.1": 0, "0.1.96.12.5": -71}
        for (current, voltage, _), mains, share in zip(_LINES, self._mains, self._shares, strict=True):
            volts = mains.voltage(start, end)
            found[f"1.0.{voltage}.27.0"] = round(volts * 10)
            found[f"1.0.{current}.27.0"] = round(apparent * share / volts * 100)
        return found

    def moment(self, t: float) -> dict[str, int]:
        """Instantaneous and cumulative registers at `t`, by logical name."""
        found = {f"1.0.{c}.8.0": tenths // 10 for c, tenths in zip(QUANTITIES, self.energies(t), strict=True)}
        flows = self.supply.flows(t)
        watts = self._load.power(t) * self._kind.phases if flows else 0.0
        apparent = watts / self._power_factor
        off_s = self.supply.off_s(t)
        found |= {
            "1.0.13.7.0": round(self._power_factor * 1000) if flows else 1000,
            "1.0.14.7.0": round(self._mains[0].frequency(t) * 100),
            "1.0.9.7.0": round(apparent),
            "1.0.1.7.0": round(watts * 10),
            "0.0.94.91.14": int(self.supply.on_s(t)) // 60,
            "0.0.94.91.8": int(off_s) // 60,
            "0.0.96.7.0": self.supply.failures,
        }
        return found | (
            self._lines_1(t, apparent) if self._kind.phases == 1 else self._lines_3(t, watts, apparent, flows)
        )

    def _lines_1(self, t: float, apparent: float) -> dict[str, int]:
        volts = self._mains[0].voltage(t, t)
        milliamperes = apparent / volts * 1000
        return {
            "1.0.12.7.0": round(volts * 100),
            "1.0.11.7.0": round(milliamperes),
            "1.0.91.7.0": round(milliamperes * self._leak),
            "1.0.94.91.14": round(milliamperes),
        }

    def _lines_3(self, t: float, watts: float, apparent: float, flows: bool) -> dict[str, int]:
        angle = round(math.degrees(math.acos(self._power_factor)) * 10)
        found = {
            "1.0.3.7.0": round(watts * self._reactive * 10),
            "1.0.81.7.1": 1200,
            "1.0.81.7.12": 1200,
            "1.0.81.7.2": 2400 + angle,
        }
        lines = zip(_LINES, self._mains, self._shares, self._factors, strict=True)
        for (current, voltage, factor), mains, share, power_factor in lines:
            volts = mains.voltage(t, t)
            found[f"1.0.{voltage}.7.0"] = round(volts * 100)
            found[f"1.0.{current}.7.0"] = round(apparent * share / volts * 1000)
            found[f"1.0.{factor}.7.0"] = round(power_factor * 1000) if flows else 1000
        return found
