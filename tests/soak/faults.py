"""What goes wrong in the field, drawn from a seed: when, for how long, to whom. Values only."""

import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

MINUTE_S, HOUR_S, DAY_S = 60.0, 3600.0, 86_400.0
YEAR_S = 365 * DAY_S


class FaultKind(Enum):
    """Causes. The first ones keep the box from the meters, the last ones are what meters do to themselves."""

    CABLE_CUT = "cable cut"
    NOISE = "noise on the line"
    UNPLUGGED = "adapter unplugged"
    BABBLING = "a meter babbles"
    BOX_OFF = "box off"
    BOX_CUT_IN_COMMIT = "box off in a commit"
    BOX_CLOCK = "box's clock wrong"
    HUNG = "meter hung"
    SLOW = "meter slow"
    METER_OFF = "meter off"
    CLOCK_SET = "meter's clock set"
    PERIOD = "capture period changed"
    UPGRADED = "firmware upgraded"
    EVENT = "event at a meter"
    BILL_CLOSED = "bill closed by hand"
    REPLACED = "meter replaced"


@dataclass(frozen=True, slots=True)
class Fault:
    """One of them.

    Attributes:
        kind: what.
        at_s: when it begins, elapsed seconds.
        for_s: how long it lasts; 0 for what happens at once; of a replaced meter, until the box is told.
        meter: whose it is, by number on the line; -1: of the line or the box.
        amount: bit error rate, seconds of delay, seconds that a clock is set by, a capture period, an event's code ..
    """

    kind: FaultKind
    at_s: float
    for_s: float = 0.0
    meter: int = -1
    amount: float = 0.0

    @property
    def until_s(self) -> float:
        """When it is over."""
        return self.at_s + self.for_s


@dataclass(frozen=True, slots=True)
class _Habit:
    """How often a fault comes, in a year of one line or of one meter, and how long it lasts (log-uniform)."""

    kind: FaultKind
    a_year: float
    least_s: float = 0.0
    most_s: float = 0.0
    of_meter: bool = False
    amount: Callable[[random.Random], float] = lambda _rng: 0.0


def log_uniform(rng: random.Random, least: float, most: float) -> float:
    return math.exp(rng.uniform(math.log(least), math.log(most))) if least > 0 else 0.0


def either_way(least: float, most: float) -> Callable[[random.Random], float]:
    return lambda rng: rng.choice((-1, 1)) * log_uniform(rng, least, most)


HABITS = (
    _Habit(FaultKind.CABLE_CUT, 8, 10 * MINUTE_S, 3 * DAY_S),
    _Habit(FaultKind.NOISE, 20, 5 * MINUTE_S, 6 * HOUR_S, amount=lambda rng: log_uniform(rng, 3e-5, 3e-3)),
    _Habit(FaultKind.UNPLUGGED, 6, MINUTE_S, 6 * HOUR_S),
    _Habit(FaultKind.BABBLING, 4, 5 * MINUTE_S, 4 * HOUR_S, amount=lambda rng: log_uniform(rng, 0.05, 10.0)),
    _Habit(FaultKind.BOX_OFF, 12, MINUTE_S, 4 * DAY_S),
    _Habit(FaultKind.BOX_OFF, 1, 12 * DAY_S, 16 * DAY_S),
    _Habit(FaultKind.BOX_CUT_IN_COMMIT, 20, 20.0, 5 * MINUTE_S, amount=lambda rng: rng.randrange(2)),
    _Habit(FaultKind.BOX_CLOCK, 6, MINUTE_S, DAY_S, amount=either_way(10.0, 400 * DAY_S)),
    _Habit(FaultKind.HUNG, 2, 10 * MINUTE_S, 2 * DAY_S, of_meter=True),
    _Habit(FaultKind.HUNG, 0.2, 12 * DAY_S, 20 * DAY_S, of_meter=True),
    _Habit(FaultKind.SLOW, 2, HOUR_S, DAY_S, of_meter=True, amount=lambda rng: rng.uniform(0.3, 2.5)),
    _Habit(FaultKind.METER_OFF, 12, MINUTE_S, 3 * DAY_S, of_meter=True),
    _Habit(FaultKind.CLOCK_SET, 3, of_meter=True, amount=either_way(2.0, 3 * HOUR_S)),
    _Habit(FaultKind.PERIOD, 0.5, of_meter=True, amount=lambda rng: rng.choice((900.0, 1800.0, 3600.0))),
    _Habit(FaultKind.UPGRADED, 0.5, of_meter=True, amount=lambda rng: rng.randrange(3)),
    _Habit(FaultKind.REPLACED, 0.1, HOUR_S, 2 * DAY_S, of_meter=True),
    _Habit(
        FaultKind.EVENT, 60, of_meter=True, amount=lambda rng: rng.choice((1, 2, 7, 8, 51, 52, 67, 68, 201, 203, 251))
    ),
    _Habit(FaultKind.BILL_CLOSED, 1, of_meter=True),
)
"""Far more than a line sees in the field, so that they meet one another."""


def draw(seed: object, days: float, meters: int, quiet_s: float) -> list[Fault]:
    """Faults of one line, by their beginning; all are over `quiet_s` before the end.

    A run shorter than a year has each kind at least once where there is room, and none longer than a fifth of it.
    """
    rng = random.Random(f"faults/{seed}")
    end_s = days * DAY_S - quiet_s
    faults = []
    for habit in HABITS:
        wanted = habit.a_year * (meters if habit.of_meter else 1) * days / 365
        count = max(1, int(wanted + rng.random()))
        for _ in range(count):
            for_s = min(
                log_uniform(rng, habit.least_s, habit.most_s), max(end_s / 5, habit.least_s if days > 100 else 0)
            )
            at_s = rng.uniform(0.02 * end_s, max(end_s - for_s, 0.02 * end_s))
            meter = rng.randrange(meters) if habit.of_meter or habit.kind is FaultKind.BABBLING else -1
            faults.append(Fault(habit.kind, at_s, for_s, meter, habit.amount(rng)))
    return sorted(faults, key=lambda fault: fault.at_s)
