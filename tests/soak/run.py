"""One line of a run, from its seed to its verdict."""

import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from dcu.sim import read_ledger
from tests.soak.faults import DAY_S, HOUR_S
from tests.soak.holdings import Known, holdings
from tests.soak.judge import HOLD_S, Judge, Stretch, Truth, Verdict, joined
from tests.soak.world import START_S, Life, Scenario, World

BLOCK_LOAD, DAILY_LOAD = "1.0.99.1.0.255", "1.0.99.2.0.255"
SETTLED_S = 2 * HOUR_S
"""What was captured so shortly before the end may still be on its way."""


@dataclass(slots=True)
class Outcome:
    """What a run was, and how it ended."""

    scenario: Scenario
    verdict: Verdict = field(default_factory=Verdict)
    happened: Counter[str] = field(default_factory=Counter)
    starts: int = 0
    rows: int = 0
    octets: int = 0
    seconds: float = 0.0


def run_line(scenario: Scenario) -> Outcome:
    """Live through it and judge it."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="soak") as name:
        directory = Path(name)
        world = World(directory, scenario)
        world.run()
        outcome = Outcome(scenario, starts=world.starts, octets=world.line.octets)
        outcome.happened.update({kind.value: count for kind, count in world.happened.items()})
        known = holdings(directory / "dcu.db")
        for truth, until_s in truths(world):
            held = known.get((truth.serial, truth.profile), Known())
            outcome.rows += len(truth.rows)
            outcome.verdict.add(Judge(truth, held, until_s).verdict_of_all())
    outcome.seconds = time.monotonic() - began
    return outcome


def truths(world: World) -> Iterator[tuple[Truth, float]]:
    """Each ring of each meter that ever was, and the moment of its clock up to which it has to be settled."""
    end_s = world.scenario.days * DAY_S
    for life in world.lives:
        ledger = read_ledger(world.directory / "meters" / f"{life.serial}.jsonl")
        out_of_reach = [*world.cut_off, *life.mute, *life.off]
        for profile in (BLOCK_LOAD, DAILY_LOAD):
            rows = {
                entry["captured_at"]: tuple(entry["values"])
                for entry in ledger
                if entry["kind"] == "row" and entry["profile"] == profile
            }
            entries = 70 if profile == DAILY_LOAD else 35 * 86_400 // life.period_s
            stretches = list(_stretches(life, end_s, profile == DAILY_LOAD))
            truth = Truth(life.serial, profile, rows, entries, stretches, life.off, joined(out_of_reach, HOLD_S))
            yield truth, min(life.removed_s, end_s) - SETTLED_S + stretches[-1].ahead_s


def _stretches(life: Life, end_s: float, daily: bool) -> Iterator[Stretch]:
    """The life of a meter's clock and capture period, from its made-up history on."""
    from_s, ahead_s, period_s = life.installed_s - 3 * DAY_S, 0.0, 86_400 if daily else life.period_s
    changes = [(at_s, ahead, None) for at_s, ahead in life.clock]
    changes += [] if daily else [(at_s, None, period) for at_s, period in life.periods]
    for at_s, ahead, period in sorted(changes, key=lambda change: change[0]):
        yield Stretch(from_s, at_s, START_S + ahead_s, period_s)
        from_s = at_s
        ahead_s = ahead_s if ahead is None else ahead
        period_s = period_s if period is None else period
    yield Stretch(from_s, min(life.removed_s, end_s), START_S + ahead_s, period_s)


def table(outcome: Outcome) -> str:
    """What became of all intervals, as lines."""
    verdict = outcome.verdict
    lines = [f"{'intervals':<28}{sum(verdict.intervals.values()):>10}"]
    lines += [f"  {name:<26}{count:>10}" for name, count in verdict.intervals.most_common()]
    for kind in ("unexplained", "wrong reason", "wrong value", "invented", "twice", "ledger and records differ"):
        lines.append(f"{kind:<28}{verdict.kinds[kind]:>10}")
    lines.append(f"{'starts of the box':<28}{outcome.starts:>10}")
    lines += [f"  {name:<26}{count:>10}" for name, count in sorted(outcome.happened.items())]
    return "\n".join(lines)
