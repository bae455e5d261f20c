"""The legitimate day: what has to work while everything above is refused.

A working day of a city: 6,000 prepaid cuts, skewed over 600 boxes of very different size, shared out by a planner
within the caps. Some consumers pay while their disconnect still waits. At 22:00 everybody who was cut pays within ten
minutes; by then half the boxes have lost the time. Some meters do not answer at once, some answers are lost.
"""

import functools
import random
from collections import Counter
from dataclasses import dataclass, field

from dcu.command import State
from dcu.reading import ClockState
from dcu.relay.policy.floor import most_a_day, usual_caps
from tests.proof.city import OPENS, SHUTS, cut, remembering
from tests.proof.papers import (
    DATE,
    HOUR_S,
    LIVE,
    NOON,
    command_claims,
    permits,
    policy_claims,
    signed,
    signed_policy,
)
from tests.proof.people import People
from tests.proof.run import Line, Run
from tests.proof.still import HandClock, StillBox

NIGHT = NOON + 10 * HOUR_S
"""22:00."""

RUSH_S = 600
TAKING_S = 4.0
"""Of a line at 9600 baud for one errand: association, state, leave, action, two looks."""


@dataclass
class Served:
    """What a box came to, or several."""

    cuts: int = 0
    cut: int = 0
    paid_in_time: int = 0
    connects: int = 0
    connected: int = 0
    wrong: int = 0
    slowest_s: float = 0.0
    codes: Counter = field(default_factory=Counter)

    def add(self, other: "Served") -> None:
        """What another one came to."""
        for name in ("cuts", "cut", "paid_in_time", "connects", "connected", "wrong"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.slowest_s = max(self.slowest_s, other.slowest_s)
        self.codes.update(other.codes)


def shares(chance: random.Random, boxes: int, cuts: int) -> list[tuple[int, int]]:
    """(meters, cuts) of each box: sizes differ by a factor of twenty, and what they owe by more."""
    sizes = [int(min(1000, max(120, chance.lognormvariate(5.8, 0.6)))) for _ in range(boxes)]
    most = [usual_caps_day(size) for size in sizes]
    weights = [size * chance.lognormvariate(0, 0.5) for size in sizes]
    owed = [0] * boxes
    while sum(owed) < min(cuts, sum(most)):
        (i,) = chance.choices(range(boxes), weights)
        if owed[i] < most[i]:
            owed[i] += 1
        else:
            weights[i] = 0.0
    return list(zip(sizes, owed, strict=True))


def usual_caps_day(meters: int) -> int:
    """What the planner may give to a box for a day: within the policy's hours and the caps of both windows."""
    from dcu.command import Profile

    caps = usual_caps(Profile.PREPAID, meters)
    return min(caps["day"], most_a_day(meters), 6 * caps["hour"])


def one_box(people: People, chance: random.Random, dcu: str, meters: int, owed: int, *, lost: bool) -> Served:
    """A day of one box."""
    served = Served()
    clock = HandClock(OPENS)
    box = StillBox(dcu, people.trust(), [f"{dcu[-4:]}-{m:04}" for m in range(meters)], clock=clock, taking_s=TAKING_S)
    remembering(box)
    box.commission(signed_policy(people, policy_claims(dcu, list(box.wall))))
    for document in permits(people, dcu, box.store.epoch, "prepaid", DATE, owed):
        assert box.hand_in(document) == "accepted"
    chosen = chance.sample(sorted(box.wall), owed)
    day(people, chance, box, chosen, served)
    box.pass_s(max(0.0, NIGHT - clock.true_s), HOUR_S)
    dark = [serial for serial in chosen if not box.wall[serial].connected]
    if lost:
        clock.trusted, clock.ahead_s = ClockState.UNTRUSTED, chance.choice([-3e8, -9e4, 7e3, 3e8])
    night(people, chance, box, dark, served)
    should = dict.fromkeys(box.wall, True)
    served.wrong += sum(box.wall[serial].connected != should[serial] for serial in set(should) - set(dark))
    served.wrong += sum(len(wall.acts) > 2 for wall in box.wall.values())
    served.wrong += sum(bool(wall.acts) for serial, wall in box.wall.items() if serial not in chosen)
    served.wrong += box.states[State.IN_DOUBT]
    return served


def day(people: People, chance: random.Random, box: StillBox, chosen: list[str], served: Served) -> None:
    """The planner's disconnects, within the caps of the hour; some consumers pay before theirs is sent."""
    hourly = usual_caps_hour(len(box.wall))
    served.cuts += len(chosen)
    pause_s = max(100.0, HOUR_S / hourly + 30)
    assert len(chosen) * pause_s < SHUTS - OPENS, "the planner has given the box more than a day holds"
    for serial in chosen:
        wall = box.wall[serial]
        wall.lost_answers = int(chance.random() < 0.005)
        code = box.hand_in(cut(people, box, serial, "prepaid"))
        served.codes[code] += code != "accepted"
        pays = chance.random() < 0.01
        if pays:
            box.pass_s(20)
            light(people, box, serial)
        box.pass_s(pause_s)
        served.paid_in_time += pays and wall.connected and not wall.acts
        served.wrong += pays and not wall.connected
        served.cut += not pays and not wall.connected


def usual_caps_hour(meters: int) -> int:
    """Disconnects an hour of a box with so many meters."""
    from dcu.command import Profile

    return usual_caps(Profile.PREPAID, meters)["hour"]


def light(people: People, box: StillBox, serial: str) -> str:
    """A payment's connect, dated by true time."""
    claims = command_claims(
        "connect", box.dcu, box.store.epoch, serial, f"p-{serial}", int(box.clock.true_s), seq=2, why="credit"
    )
    return box.hand_in(signed(people, claims, ["bill-1"]))


def night(people: People, chance: random.Random, box: StillBox, dark: list[str], served: Served) -> None:
    """Everybody pays within ten minutes."""
    served.connects += len(dark)
    times = sorted((NIGHT + chance.uniform(0, RUSH_S), serial) for serial in dark)
    for at_s, serial in times:
        wall = box.wall[serial]
        wall.silent_for = int(chance.random() < 0.01)
        wall.lost_answers = int(chance.random() < 0.005)
        box.pass_s(max(0.0, at_s - box.clock.true_s), 30)
        code = light(people, box, serial)
        served.codes[code] += code != "accepted"
    box.pass_s(300, 10)
    asked = {serial: at_s for at_s, serial in times}
    for serial in dark:
        wall = box.wall[serial]
        served.connected += wall.connected
        if wall.connected:
            served.slowest_s = max(served.slowest_s, wall.acts[-1][0] - asked[serial])


@functools.cache
def the_city(run: Run) -> list[tuple[int, int]]:
    """Its boxes; some pay before they are cut, and 6,000 are to be connected again."""
    return shares(run.chance("city"), run.of(4, 600), run.of(40, 6_100))


def the_box(run: Run, i: int) -> Served:
    """One of them; every other one loses the time."""
    meters, owed = the_city(run)[i]
    return one_box(People(run.seed), run.chance(f"box {i}"), f"JH-RNC-{i:04}", meters, owed, lost=i % 2 == 1)


def legitimate(run: Run) -> list[Line]:
    """The whole city."""
    n, total = run.of(4, 600), Served()
    city = the_city(run)
    for found in run.over(the_box, n):
        total.add(found)
    served = total.cut + total.paid_in_time + total.connected
    share = served / (total.cuts + total.connects)
    sizes = [meters for meters, _ in city]
    return [
        Line(
            "a legitimate day is served",
            f"{total.cuts:,} prepaid cuts of {n} boxes with {min(sizes)} to {max(sizes)} meters, 0 to "
            f"{max(owed for _, owed in city)} a box, and {total.connects:,} reconnects within ten minutes at 22:00, "
            "half the clocks untrusted",
            f"{100 * share:.3f} % served ({total.cut:,} cut, {total.paid_in_time} spared since they paid in time, "
            f"{total.connected:,} connected, the slowest after {total.slowest_s:.0f} s), {total.wrong} wrong"
            + "".join(f", {code} {k}" for code, k in total.codes.items() if k),
            share >= 0.999 and total.wrong == 0,
            (
                "the boxes lose the time after the working hours: with an untrusted clock nobody may be disconnected.",
                (
                    "the planner gives a box what its caps hold; 1 % of meters do not answer a connect at first, of "
                    f"0.5 % the answer is lost; an errand takes {TAKING_S:.0f} s of the line. {LIVE} has usual caps."
                ),
            ),
        )
    ]
