"""Real box, virtual meters, virtual time: a line with dead meters, a noisy line, a short soak with all faults, storms.

The line is paced at 9600 baud and the meters capture every 15 minutes. The year is `make soak`; what the last one
found is in `docs/SOAK.md`.
"""

import logging
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import cbor2

from bench.figure import Figure, at_least, at_most, stated
from tests.soak.faults import DAY_S, Fault, FaultKind
from tests.soak.holdings import holdings
from tests.soak.judge import RingJudge, Verdict, judge_log
from tests.soak.run import BLOCK_LOAD, RINGS, run_line, scratch, truths
from tests.soak.storm import storm
from tests.soak.world import START_S, Scenario, World

METERS, DEAD, DAYS = 32, 8, 2.0
STORMS = 20
NOISE_DAYS, BIT_ERROR_RATE = 2.0, 1e-4
WRONG = ("wrong value", "invented", "twice")


@dataclass(frozen=True, slots=True)
class Kept:
    """What became of the intervals of living meters.

    Attributes:
        share: of their intervals that were held in the end.
        delays_s: from the end of an interval to its row in the store, ascending.
        wrong: values that were not the meter's.
        missing: intervals that were not held in the end.
        line_use: part of the time in which somebody spoke.
    """

    share: float
    delays_s: list[float]
    wrong: int
    missing: int
    line_use: float

    def delay_min(self, quantile: float) -> float:
        """A quantile of the delays, minutes."""
        return self.delays_s[int(quantile * (len(self.delays_s) - 1))] / 60


def dead_meters() -> Kept:
    """32 meters on one line, 8 of which answer nothing."""
    dead = range(0, METERS, METERS // DEAD)
    faults = tuple(Fault(FaultKind.HUNG, 0.0, 2 * DAYS * DAY_S, number) for number in dead)
    return _live(Scenario(1, days=DAYS, meters=METERS, period_s=900, faults=faults), set(dead))


def noise() -> Kept:
    """Eight meters on a line on which one bit in ten thousand flips, from the first moment to the last."""
    faults = (Fault(FaultKind.NOISE, 0.0, 2 * NOISE_DAYS * DAY_S, amount=BIT_ERROR_RATE),)
    return _live(Scenario(1, days=NOISE_DAYS, meters=8, period_s=900, faults=faults), set())


def soak() -> Verdict:
    """Eight meters, 20 days, faults of all kinds."""
    return run_line(Scenario(1, days=20.0, meters=8, ring_days=5)).verdict


def storms() -> int:
    """Unexplained or wrong intervals of storms: four days each, one meter, nearly everything."""
    return sum(len(run_line(storm(seed)).verdict.mistakes) for seed in range(STORMS))


def _live(scenario: Scenario, dead: set[int]) -> Kept:
    with scratch() as name:
        world = World(Path(name), scenario)
        world.run()
        known = holdings(world.directory / "dcu.db")
        living = {life.serial for number, life in enumerate(world.lives) if number not in dead}
        expected = held = wrong = 0
        for truth, until_s in truths(world):
            of_it = known.of(truth.serial, truth.profile)
            if truth.serial not in living:
                continue
            if truth.profile not in RINGS:
                kinds = judge_log(truth, of_it, until_s).kinds
                wrong += sum(kinds[kind] for kind in WRONG)
                continue
            captured = [at for at, _ in truth.rows if START_S <= at <= until_s]
            expected += len(captured)
            held += sum(at in of_it.rows for at in captured)
            kinds = RingJudge(truth, of_it, until_s).judge().kinds
            wrong += sum(kinds[kind] for kind in WRONG)
        use = world.line.octets * 10 / scenario.baud / world.time.elapsed_s
        return Kept(held / expected, _delays_s(world.directory / "dcu.db"), wrong, expected - held, use)


def _delays_s(path: Path) -> list[float]:
    """Of block load rows that were captured after the box began; the meters' clocks are right to 5 s in these days."""
    found = []
    with closing(sqlite3.connect(path)) as database:
        for (body,) in database.execute("SELECT body FROM record_profile"):
            record = cbor2.loads(body)
            if record["profile"] == BLOCK_LOAD:
                found += [record["read_at"] - at for at, *_ in record["rows"] if at > START_S + 900]
    return sorted(found)


def figures() -> list[Figure]:
    """Dead meters, noise, twenty days of everything, and storms."""
    logging.disable(logging.CRITICAL)
    try:
        lame, loud, days, wrong = dead_meters(), noise(), soak(), storms()
    finally:
        logging.disable(logging.NOTSET)
    dead, noisy = f"{METERS} meters on a line, {DEAD} dead", f"{BIT_ERROR_RATE:g} errors a bit"
    return [
        at_least(f"{dead}: intervals of the living that are held", lame.share, 0.99, "held/captured", digits=5),
        stated(f"{dead}: end of interval to row in the store, 99 %", lame.delay_min(0.99), "min"),
        at_most(f"{noisy}: wrong values", loud.wrong, 0, "values"),
        at_most(f"{noisy}: intervals missing in the end", loud.missing, 0, "intervals"),
        at_most("8 meters, 20 days, all faults: unexplained or wrong", len(days.mistakes), 0, "intervals"),
        at_most(f"{STORMS} storms of four days: unexplained or wrong", wrong, 0, "intervals"),
    ]
