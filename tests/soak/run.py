"""One line of a run, from its seed to its verdict."""

import logging
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from dcu.sim import read_ledger
from tests.soak.faults import DAY_S, HOUR_S
from tests.soak.holdings import holdings
from tests.soak.judge import HOLD_S, KINDS, RingJudge, Verdict, judge_log
from tests.soak.scenario import Life, Scenario
from tests.soak.truth import Stretch, Truth, joined
from tests.soak.world import START_S, World

BLOCK_LOAD, DAILY_LOAD, BILLING = "1.0.99.1.0.255", "1.0.99.2.0.255", "1.0.98.1.0.255"
EVENT_LOGS = tuple(f"0.0.99.98.{number}.255" for number in range(7))
NON_ROLLOVER = EVENT_LOGS[5]
RINGS = (BLOCK_LOAD, DAILY_LOAD)
PROFILES = {BLOCK_LOAD: 0, DAILY_LOAD: 70, BILLING: 12, **dict.fromkeys(EVENT_LOGS, 0), NON_ROLLOVER: 10}
"""Rows that the buffers hold (dcu.sim); 0: as the meter is made."""

MONTH_DAYS = 30

SETTLED_S = 2 * HOUR_S
"""What was captured so shortly before the end may still be on its way."""


@dataclass(slots=True)
class Outcome:
    """What a run was, and how it ended.

    Attributes:
        settings: of meters' clocks: (by how many seconds, how long it stood, how long until the box told of it).
    """

    scenario: Scenario
    verdict: Verdict = field(default_factory=Verdict)
    happened: Counter[str] = field(default_factory=Counter)
    starts: int = 0
    alarms: Counter[str] = field(default_factory=Counter)
    settings: list[tuple[float, float, float | None]] = field(default_factory=list)
    rows: int = 0
    octets: int = 0
    seconds: float = 0.0


def scratch() -> "tempfile.TemporaryDirectory[str]":
    """A directory in memory where there is one: a kill is what is tried here, not a disk."""
    memory = Path("/dev/shm")
    return tempfile.TemporaryDirectory(prefix="soak", dir=memory if os.access(memory, os.W_OK) else None)


def speak(level: str) -> None:
    """How loud the boxes are, in each process anew: a spawned one inherits nothing."""
    logging.basicConfig(level=level)


def run_line(scenario: Scenario) -> Outcome:
    """Live through it and judge it."""
    began = time.monotonic()
    with scratch() as name:
        directory = Path(name)
        world = World(directory, scenario)
        _tell_months(world, began)
        world.run()
        outcome = Outcome(scenario, starts=world.starts, octets=world.line.octets)
        outcome.happened.update({kind.value: count for kind, count in world.happened.items()})
        known = holdings(directory / "dcu.db")
        outcome.alarms = known.alarms
        for life in world.lives:
            outcome.settings += _settings(life, known.clocks_told.get(life.serial, []), scenario.days * DAY_S)
        for truth, until_s in truths(world):
            of_it = known.of(truth.serial, truth.profile)
            ring = truth.profile in RINGS
            outcome.rows += len(truth.rows)
            judged = RingJudge(truth, of_it, until_s).judge() if ring else judge_log(truth, of_it, until_s)
            outcome.verdict.add(judged)
    outcome.seconds = time.monotonic() - began
    return outcome


def _settings(life: Life, told: list[int], end_s: float) -> Iterator[tuple[float, float, float | None]]:
    """See `Outcome.settings`; only where the box's own clock was right all the time."""
    for number, (at_s, face_s) in enumerate(life.clock[1:], start=1):
        before_s, shown_s = life.clock[number - 1]
        until_s = life.clock[number + 1][0] if number + 1 < len(life.clock) else end_s
        waits = [each - START_S - at_s for each in told if at_s <= each - START_S < until_s]
        yield face_s - shown_s - (at_s - before_s) * life.rate, until_s - at_s, min(waits, default=None)


def _tell_months(world: World, began: float) -> None:
    """A year takes a while: say where it stands."""

    def tell(day: int) -> None:
        seconds = time.monotonic() - began
        print(f"line {world.scenario.line}: day {day} after {seconds:.0f} s", file=sys.stderr, flush=True)

    for day in range(MONTH_DAYS, int(world.scenario.days), MONTH_DAYS):
        world.time.at(START_S + day * DAY_S, partial(tell, day))


def truths(world: World) -> Iterator[tuple[Truth, float]]:
    """Each profile of each meter that ever was, and the moment of its clock up to which it has to be settled."""
    end_s = world.scenario.days * DAY_S
    for life in world.lives:
        rows: dict[str, list[tuple[int, tuple]]] = {}
        for entry in read_ledger(world.ledger_of(life)):
            if entry["kind"] == "row":
                rows.setdefault(entry["profile"], []).append((entry["captured_at"], tuple(entry["values"])))
        unheard_of = (0.0, life.known_s)
        unreachable = joined([*world.cut_off, *life.mute, *life.off, unheard_of], HOLD_S)
        for profile, entries in PROFILES.items():
            stretches = list(_stretches(life, end_s, profile))
            size = entries or (
                world.scenario.ring_days * 86_400 // life.period_s if profile == BLOCK_LOAD else life.event_entries
            )
            yield (
                Truth(
                    life.serial,
                    profile,
                    rows.get(profile, []),
                    size,
                    stretches,
                    [(first, min(last, end_s)) for first, last in life.off],
                    life.cleared.get(profile, ()),
                    unreachable,
                    life.removed_s,
                    rolls=profile != NON_ROLLOVER,
                    repeats=life.repeats,
                ),
                stretches[-1].clock(min(life.removed_s, end_s - SETTLED_S)),
            )


def _stretches(life: Life, end_s: float, profile: str) -> Iterator[Stretch]:
    """The life of a meter's clock and capture period, from its made-up history on."""
    history_s = 0.0 if life.installed_s else 3 * DAY_S
    (from_s, clock_s), *settings = life.clock
    from_s, clock_s = from_s - history_s, clock_s - history_s * life.rate
    period_s = {BLOCK_LOAD: life.period_s, DAILY_LOAD: 86_400}.get(profile, 0)
    changes = [(at_s, clock, None) for at_s, clock in settings]
    changes += [(at_s, None, period) for at_s, period in life.periods if profile == BLOCK_LOAD]
    for at_s, clock, period in sorted(changes, key=lambda change: change[0]):
        stretch = Stretch(from_s, at_s, clock_s, life.rate, period_s)
        yield stretch
        from_s = at_s
        clock_s = stretch.clock(at_s) if clock is None else clock
        period_s = period_s if period is None else period
    yield Stretch(from_s, min(life.removed_s, end_s), clock_s, life.rate, period_s)


def table(outcome: Outcome) -> str:
    """What became of all intervals, as lines."""
    verdict = outcome.verdict
    lines = [f"{'intervals':<28}{sum(verdict.intervals.values()):>10}"]
    lines += [f"  {name:<26}{count:>10}" for name, count in verdict.intervals.most_common()]
    lines += [f"{'rows of bills and logs':<28}{sum(verdict.rows.values()):>10}"]
    lines += [f"  {name:<26}{count:>10}" for name, count in verdict.rows.most_common()]
    for kind in KINDS:
        lines.append(f"{kind:<28}{verdict.kinds[kind]:>10}")
    lines.append(f"{'starts of the box':<28}{outcome.starts:>10}")
    lines += [f"  {name:<26}{count:>10}" for name, count in sorted(outcome.happened.items())]
    lines += ["alarms", *(f"  {name:<26}{count:>10}" for name, count in sorted(outcome.alarms.items()))]
    return "\n".join(lines)
