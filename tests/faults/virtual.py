"""Rows in virtual time: the real parts of field over a virtual line, with faults of one kind at random moments."""

import gc
import logging
import math
import multiprocessing
import random
from collections import Counter
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from tests.faults.report import Line
from tests.faults.run import Run
from tests.soak.faults import DAY_S, HABITS, HOUR_S, MINUTE_S, YEAR_S, Fault, FaultKind
from tests.soak.run import run_line, scratch
from tests.soak.scenario import DRIFT_PPM
from tests.soak.virtual_clock import VirtualTime
from tests.soak.world import Scenario, World

QUIET_S = 0.4 * DAY_S

SEEN_FROM_S = 10.0
"""A clock that was set by less may have drifted."""

Amount = Callable[[random.Random], float]


def _drawn(
    kind: FaultKind, count: int, days: float, meters: int, seed: int, most_s: float, amount: Amount | None
) -> list[Fault]:
    """So many faults of one kind, with the amounts that the soak gives them where there are no others."""
    dice = random.Random(f"{kind.value}/{seed}")
    habit = next(each for each in HABITS if each.kind is kind)
    found = []
    for _ in range(count):
        for_s = dice.uniform(min(MINUTE_S, most_s), most_s)
        at_s = dice.uniform(HOUR_S, days * DAY_S - QUIET_S - for_s)
        meter = dice.randrange(meters) if habit.of_meter else -1
        found.append(Fault(kind, at_s, for_s, meter, (amount or habit.amount)(dice)))
    return found


def _lived(
    run: Run,
    row: int,
    fault: str,
    injection: str,
    kinds: dict[FaultKind, tuple[int, float]],
    *,
    amount: Amount | None = None,
    drift_ppm: float = DRIFT_PPM,
) -> Line:
    """A line of meters with these faults: (how many in ten days, longest of each)."""
    days, meters = (10.0, 8) if run.full else (1.5, 2)
    faults = []
    for kind, (count, most_s) in kinds.items():
        faults += _drawn(kind, max(1, round(count * days / 10)), days, meters, run.seed, most_s, amount)
    scenario = Scenario(run.seed, days=days, meters=meters, faults=tuple(faults), ring_days=35, drift_ppm=drift_ppm)
    outcome = run_line(scenario)
    verdict = outcome.verdict
    intervals = sum(verdict.intervals.values())
    wrong = {kind: count for kind, count in verdict.kinds.items() if count}
    absent = {name: count for name, count in verdict.intervals.items() if name != "held"}
    happened = ", ".join(f"{name} {count}" for name, count in outcome.happened.items())
    recovery = f"{verdict.intervals['held']} of {intervals} intervals held"
    if absent:
        recovery += f", the rest absent with its cause: {', '.join(f'{n} {c}' for n, c in absent.items())}"
    if wrong:
        recovery += f"; WRONG: {wrong} {verdict.mistakes[0]}"
    unseen, told = _noticed(outcome.settings) if FaultKind.CLOCK_SET in kinds else (0, "")
    recovery += told
    return Line(
        row,
        fault,
        injection,
        f"{happened or 'nothing else'} in {days:g} virtual days, {meters} meters, {outcome.starts} starts",
        verdict.kinds["unexplained"] + verdict.kinds["wrong value"],
        verdict.kinds["twice"] + verdict.kinds["invented"],
        recovery,
        not verdict.mistakes and not unseen,
    )


def _noticed(settings: list[tuple[float, float, float | None]]) -> tuple[int, str]:
    """(how many settings nobody noticed who should have, what is told of them)."""
    large = [(stood_s, wait_s) for by_s, stood_s, wait_s in settings if abs(by_s) > SEEN_FROM_S]
    waits = [wait_s for _, wait_s in large if wait_s is not None]
    unseen = sum(wait_s is None and stood_s > HOUR_S for stood_s, wait_s in large)
    told = f"; {len(waits)} of {len(large)} settings by more than {SEEN_FROM_S:g} s told"
    if waits:
        told += f", after {median(waits) / 60:.0f} min at the median, {max(waits) / 60:.0f} at worst"
    return unseen, told + (f", {unseen} not within an hour" if unseen else "")


def boots_in_1970(run: Run) -> list[Line]:
    """Each start is at 1970, untrusted, for two minutes."""
    kinds = {FaultKind.BOX_OFF: (30, 3 * HOUR_S)}
    return [
        _lived(
            run, 13, "boot in 1970, no clock", "box off and on; its clock starts at 0, is told 2 minutes later", kinds
        )
    ]


def steps(run: Run) -> list[Line]:
    """The box's clock is wrong by a second to ten years, either way, for minutes to hours."""
    kinds = {FaultKind.BOX_CLOCK: (60, 2 * HOUR_S)}
    injection = "by 1 s to 10 years, both ways, and back"
    return [_lived(run, 14, "the box's clock steps", injection, kinds, amount=_a_second_to_ten_years)]


def _a_second_to_ten_years(dice: random.Random) -> float:
    return dice.choice((-1, 1)) * math.exp(dice.uniform(0.0, math.log(10 * YEAR_S)))


def meters_clocks(run: Run) -> list[Line]:
    """Meters drift all the time, and are set wrong and right again."""
    kinds = {FaultKind.CLOCK_SET: (60, 0.0)}
    injection = "+-40 ppm always; set by 2 s to 3 h, both ways"
    return [
        _lived(run, 16, "meters' clocks drift and jump", injection, kinds),
        _lived(run, 16, "meters' clocks drift far", "+-2 % always, nobody sets them", {}, drift_ppm=20_000.0),
    ]


def unplugged(run: Run) -> list[Line]:
    """The adapter goes and comes."""
    kinds = {FaultKind.UNPLUGGED: (40, HOUR_S)}
    return [_lived(run, 17, "adapter unplugged and plugged in", "its port goes; opened again by its path", kinds)]


class _Counting(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.lines: Counter[str] = Counter()
        self.octets = 0

    def emit(self, record: logging.LogRecord) -> None:
        text = self.format(record)
        self.lines[record.name] += 1
        self.octets += len(text) + 60  # what journald puts in front


@contextmanager
def _counted():
    handler, root = _Counting(), logging.getLogger()
    disabled, level = root.manager.disable, root.level
    logging.disable(logging.NOTSET)
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    try:
        yield handler
    finally:
        root.removeHandler(handler)
        root.setLevel(level)
        logging.disable(disabled)


def log_storm(run: Run) -> list[Line]:
    """All meters are dead for a day."""
    meters, dead_h = (32, 24) if run.full else (4, 24)
    faults = tuple(Fault(FaultKind.HUNG, 2 * HOUR_S, dead_h * HOUR_S, number) for number in range(meters))
    with scratch() as name, _counted() as counted:
        World(
            Path(name), Scenario(run.seed, days=(2 + dead_h + 2) / 24, meters=meters, period_s=900, faults=faults)
        ).run()
    lines, changes = sum(counted.lines.values()), 2 * meters
    told = f"{lines} lines for {changes} changes of state, {counted.octets} octets of log in {dead_h + 4} h"
    return [
        Line(
            11,
            f"log storm: {meters} dead meters",
            f"silent for {dead_h} virtual hours, then back",
            "1 day",
            None,
            None,
            told,
            lines <= changes + 2,
        )
    ]


# ---- memory and descriptors


class _Watched(VirtualTime):
    """Time that looks at the process once a day."""

    def __init__(self, start_s: float, looks: list[tuple[float, int, int]]) -> None:
        super().__init__(start_s)
        self._looks, self._due_s = looks, 0.0

    def pass_to(self, elapsed_s: float) -> None:
        super().pass_to(elapsed_s)
        if self.elapsed_s >= self._due_s:
            self._due_s += DAY_S / 2
            gc.collect()
            status = Path("/proc/self/status").read_text()
            resident = int(status.split("VmRSS:")[1].split()[0])
            self._looks.append((self.elapsed_s / DAY_S, resident, len(list(Path("/proc/self/fd").iterdir()))))


def _watch(seed: int, days: float, meters: int, answer) -> None:
    from tests.soak import world as module

    looks: list[tuple[float, int, int]] = []
    module.VirtualTime = lambda start_s: _Watched(start_s, looks)
    logging.disable(logging.CRITICAL)
    with scratch() as name:
        World(Path(name), Scenario(seed, days=days, meters=meters, ring_days=3, period_s=900)).run()
    answer.send(looks)


def slopes(run: Run) -> list[Line]:
    """A process of its own lives through days with all the soak's faults, and looks at itself twice a day."""
    days, meters = (45.0, 8) if run.full else (2.0, 2)
    context = multiprocessing.get_context("spawn")
    answer, to = context.Pipe(duplex=False)
    process = context.Process(target=_watch, args=(run.seed, days, meters, to))
    process.start()
    looks = answer.recv()
    process.join()
    late = [look for look in looks if look[0] > days / 2]  # caches have filled by then
    slope = _slope([(day, kib) for day, kib, _ in late])
    descriptors = (late[0][2], late[-1][2])
    told = (
        f"{late[-1][1] / 1024:.1f} MB at the end (virtual meters in it), {slope:+.1f} KiB a day from day "
        f"{late[0][0]:.0f} on; descriptors {descriptors[0]} and then {descriptors[1]}"
    )
    good = descriptors[1] <= descriptors[0] + 2 and (slope < 64 or not run.full)
    return [
        Line(
            40,
            "memory and descriptors leak",
            "all the soak's faults",
            f"{days:g} virtual days, {meters} meters",
            None,
            None,
            told,
            good,
        )
    ]


def _slope(points: list[tuple[float, int]]) -> float:
    """Of the line of least squares."""
    n = len(points)
    x, y = sum(p[0] for p in points) / n, sum(p[1] for p in points) / n
    spread = sum((p[0] - x) ** 2 for p in points)
    return sum((p[0] - x) * (p[1] - y) for p in points) / spread if spread else 0.0
