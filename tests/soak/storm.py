"""A few days in which nearly everything happens to one meter: what meets once in a year of many meets here at once."""

import random
from collections.abc import Callable
from dataclasses import dataclass

from tests.soak.faults import DAY_S, HOUR_S, MINUTE_S, Fault, FaultKind, either_way, log_uniform
from tests.soak.scenario import Scenario

DAYS = 4.0
QUIET_S = DAY_S


@dataclass(frozen=True, slots=True)
class _Weather:
    """How often a fault may come in one storm, how long it lasts, and its amount."""

    kind: FaultKind
    most: int
    least_s: float = 0.0
    most_s: float = 0.0
    of_line: bool = False
    amount: Callable[[random.Random], float] = lambda _rng: 0.0


_WEATHER = (
    _Weather(FaultKind.PERIOD, 8, amount=lambda rng: rng.choice((900.0, 1800.0, 3600.0))),
    _Weather(FaultKind.CLOCK_SET, 8, amount=either_way(2.0, 8 * HOUR_S)),
    _Weather(FaultKind.METER_OFF, 6, MINUTE_S, 10 * HOUR_S),
    _Weather(FaultKind.BOX_OFF, 4, MINUTE_S, 16 * HOUR_S, of_line=True),
    _Weather(FaultKind.BOX_CUT_IN_COMMIT, 4, 20.0, 5 * MINUTE_S, of_line=True, amount=lambda rng: rng.randrange(2)),
    _Weather(FaultKind.UPGRADED, 3, amount=lambda rng: rng.randrange(3)),
    _Weather(
        FaultKind.NOISE, 2, 5 * MINUTE_S, 3 * HOUR_S, of_line=True, amount=lambda rng: log_uniform(rng, 3e-5, 3e-3)
    ),
    _Weather(FaultKind.CABLE_CUT, 2, 10 * MINUTE_S, 10 * HOUR_S, of_line=True),
    _Weather(FaultKind.HUNG, 2, 10 * MINUTE_S, 6 * HOUR_S),
    _Weather(FaultKind.BILL_CLOSED, 3),
    _Weather(FaultKind.EVENT, 3, amount=lambda rng: rng.choice((1, 2, 51, 52))),
    _Weather(FaultKind.REPLACED, 1, HOUR_S, 6 * HOUR_S),
)


def storm(seed: int) -> Scenario:
    """One meter, four days, the last of them quiet; its ring holds a day, two, or more than all of it."""
    rng = random.Random(f"storm/{seed}")
    end_s = DAYS * DAY_S - QUIET_S
    faults = []
    for weather in _WEATHER:
        for _ in range(rng.randrange(weather.most + 1)):
            for_s = log_uniform(rng, weather.least_s, weather.most_s)
            at_s = rng.uniform(HOUR_S, end_s - for_s)
            amount = weather.amount(rng)
            faults.append(Fault(weather.kind, at_s, for_s, -1 if weather.of_line else 0, amount))
    return Scenario(seed, days=DAYS, meters=1, ring_days=rng.choice((1, 2, 35)), quiet_s=QUIET_S, faults=tuple(faults))
