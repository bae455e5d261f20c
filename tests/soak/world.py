"""A line of meters, a box, and all that happens to them in the time of a run: the causes that the judge knows."""

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from dcu.config import PollConfig
from dcu.meter import Meter, MeterSecrets
from dcu.models import MODELS
from dcu.sim import MeterConfig, MeterKeys, Noise, VirtualMeter
from tests.soak.box import Box
from tests.soak.faults import DAY_S, HOUR_S, Fault, FaultKind, draw
from tests.soak.virtual_clock import PowerCut, VirtualClock, VirtualTime
from tests.soak.virtual_line import VirtualLine

START_S = 1_780_252_200.0
"""2026-06-01T00:00:00+05:30."""

KEYS = MeterKeys(guek=bytes(range(16)), gak=bytes(range(16, 32)), lls=b"reader-pass", hls=bytes(range(32, 48)))
SECRETS = MeterSecrets(KEYS.guek, KEYS.gak, KEYS.lls, KEYS.hls)
POLL = PollConfig(snapshot_s=6 * 3600, balance_s=6 * 3600, health_s=86_400, history_days=35)
NO_CLOCK_S = 120.0
"""A box without a battery does not know the time until somebody tells it."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """One line of a run.

    Attributes:
        seed: of everything.
        line: number of the line.
        days: how long.
        meters: how many.
        ring_days: of the meters' block load rings; IS 15959 asks for 35.
        quiet_s: before the end nothing goes wrong any more, so that what can be read is read.
    """

    seed: int
    line: int = 0
    days: float = 365.0
    meters: int = 16
    baud: int = 9600
    quiet_s: float = 2 * DAY_S
    faults: tuple[Fault, ...] | None = None

    def drawn(self) -> list[Fault]:
        """The faults that are given, or those of the seed."""
        if self.faults is not None:
            return sorted(self.faults, key=lambda fault: fault.at_s)
        return draw(f"{self.seed}/{self.line}", self.days, self.meters, self.quiet_s)


@dataclass(slots=True)
class Life:
    """What truly happened to one meter, in elapsed seconds.

    Attributes:
        serial: its own.
        installed_s, removed_s: when it hung on the line.
        off: spans without supply.
        clock: (when, ahead of the truth by so much from then on), ascending.
        periods: (when, capture period from then on), ascending.
        mute: spans in which it could not be spoken to though it was there.
    """

    serial: str
    period_s: int
    installed_s: float = 0.0
    removed_s: float = float("inf")
    off: list[tuple[float, float]] = field(default_factory=list)
    clock: list[tuple[float, float]] = field(default_factory=list)
    periods: list[tuple[float, int]] = field(default_factory=list)
    mute: list[tuple[float, float]] = field(default_factory=list)


class _Switch:
    """Something that several faults may hold at once."""

    def __init__(self, on: Callable[[], None], off: Callable[[], None]) -> None:
        self._on, self._off, self._holders = on, off, 0

    def hold(self) -> None:
        self._holders += 1
        if self._holders == 1:
            self._on()

    def release(self) -> None:
        self._holders -= 1
        if not self._holders:
            self._off()


class World:
    """One line of a run, from its first moment to its last.

    Attributes:
        lives: of all meters that ever hung on the line.
        cut_off: spans in which the box could reach no meter at all.
        happened: how often each kind of fault came.
        starts: how often the box was started.
    """

    def __init__(self, directory: Path, scenario: Scenario) -> None:
        self.scenario = scenario
        self.directory = directory
        self.time = VirtualTime(START_S)
        self._rng = random.Random(f"world/{scenario.seed}/{scenario.line}")
        configs = [self._config(number) for number in range(scenario.meters)]
        self.meters = [VirtualMeter(config, now=self.time.now, ledger=directory / "meters") for config in configs]
        self.lives = [Life(config.serial, config.capture_period_s) for config in configs]
        self._present = list(self.lives)
        self._configured = [self._known(config) for config in configs]
        self.line = VirtualLine(self.time, self.meters, baud=scenario.baud, noise=Noise(), seed=scenario.seed)
        self.cut_off: list[tuple[float, float]] = []
        self.happened: Counter[FaultKind] = Counter()
        self.starts = 0
        self.box: Box | None = None
        self._back_s = 0.0
        self._off_since_s = 0.0
        self._commit_off_s = 0.0
        self._switches: dict[tuple[FaultKind, int], _Switch] = {}
        self._noises: list[float] = []
        self._wrong_by_s = 0.0
        for fault in scenario.drawn():
            self.time.at(START_S + fault.at_s, self._beginning(fault))

    # ---- who is there ----

    def _config(self, number: int, generation: int = 0) -> MeterConfig:
        rng = random.Random(f"meter/{self.scenario.seed}/{self.scenario.line}/{number}/{generation}")
        return MeterConfig(
            f"SK{self.scenario.line:02}{number:03}{generation}",
            address=17 + number,
            keys=KEYS,
            seed=rng.randrange(1 << 30),
            capture_period_s=rng.choice((900, 900, 1800, 3600)),
            payment_mode=1,
            history_s=2 * 86_400,
            max_info=rng.choice((128, 128, 512, 1024, 2030)),
            window=rng.choice((1, 1, 3, 7)),
            turnaround_ms=rng.uniform(10, 120),
        )

    def _known(self, config: MeterConfig) -> Meter:
        return Meter(config.serial, "north", MODELS["is15959-1ph"], config.address, "JH-RNC", SECRETS, sim=True)

    # ---- the run ----

    def run(self) -> None:
        """All of it; the box's store is closed behind it."""
        end_s = self.scenario.days * DAY_S
        while True:
            clock = VirtualClock(self.time, wrong_by_s=self._wrong_by_s - START_S, trusted=False)
            self.time.at(self.time.now() + NO_CLOCK_S, lambda clock=clock: self._synchronise(clock))
            self.box = Box(self.directory, self._configured, self.line, clock, POLL)
            self.starts += 1
            try:
                self.box.run(end_s)
            except PowerCut:
                self._rest()
                continue
            break
        self.box.stop()
        for meter in self.meters:
            meter.tick()

    def _rest(self) -> None:
        """The box is off until it gets its supply back."""
        box, self.box = self.box, None
        if box is not None:
            box.kill()
        off_s = self.time.elapsed_s
        self._back_s = max(self._back_s, off_s + self._commit_off_s)
        self._commit_off_s = 0.0
        while self.time.elapsed_s < self._back_s:
            self.time.pass_to(self._back_s)
        self.cut_off.append((off_s, self.time.elapsed_s))

    def _synchronise(self, clock: VirtualClock) -> None:
        clock.wrong_by_s, clock.trusted = self._wrong_by_s, not self._wrong_by_s

    # ---- faults ----

    def _beginning(self, fault: Fault) -> Callable[[], None]:
        def begin() -> None:
            self.happened[fault.kind] += 1
            if fault.kind in _BEGIN:
                _BEGIN[fault.kind](self, fault)

        return begin

    def _later(self, fault: Fault, ending: Callable[[], None]) -> None:
        self.time.at(START_S + fault.until_s, ending)

    def _hold(self, fault: Fault, on: Callable[[], None], off: Callable[[], None]) -> None:
        switch = self._switches.setdefault((fault.kind, fault.meter), _Switch(on, off))
        self._later(fault, switch.release)
        switch.hold()

    def _span(self, fault: Fault) -> tuple[float, float]:
        return (fault.at_s, fault.until_s)

    def _cable(self, fault: Fault) -> None:
        self.cut_off.append(self._span(fault))

        def turn(cut: bool) -> Callable[[], None]:
            return lambda: setattr(self.line, "cut", cut)

        self._hold(fault, turn(True), turn(False))

    def _adapter(self, fault: Fault) -> None:
        self.cut_off.append(self._span(fault))
        self._hold(fault, self.line.unplug, self.line.replug)

    def _noise(self, fault: Fault) -> None:
        self.cut_off.append(self._span(fault))
        self._noises.append(fault.amount)

        def quieter() -> None:
            self._noises.remove(fault.amount)
            self.line.model.noise.bit_error_rate = max(self._noises, default=0.0)

        self._later(fault, quieter)
        self.line.model.noise.bit_error_rate = max(self._noises)

    def _babble(self, fault: Fault) -> None:
        self.cut_off.append(self._span(fault))
        link = self.meters[fault.meter].faults.link

        def turn(every_s: float) -> Callable[[], None]:
            return lambda: setattr(link, "babble_s", every_s)

        self._hold(fault, turn(fault.amount), turn(0.0))

    def _hang(self, fault: Fault) -> None:
        self._present[fault.meter].mute.append(self._span(fault))

        def turn(silent: bool) -> Callable[[], None]:
            return lambda: setattr(self.meters[fault.meter].faults, "silent", silent)

        self._hold(fault, turn(True), turn(False))

    def _slow(self, fault: Fault) -> None:
        self._present[fault.meter].mute.append(self._span(fault))

        def turn(delay_s: float) -> Callable[[], None]:
            return lambda: setattr(self.meters[fault.meter].faults, "delay_s", delay_s)

        self._hold(fault, turn(fault.amount), turn(0.0))

    def _box_off(self, fault: Fault) -> None:
        self._back_s = max(self._back_s, fault.until_s)
        if self.box is not None:
            self.box.cut()

    def _box_off_in_commit(self, fault: Fault) -> None:
        if self.box is not None:
            self._commit_off_s = fault.for_s
            self.box.store.cut_at = "behind" if fault.amount else "before"

    def _box_clock(self, fault: Fault) -> None:
        def wrong(by_s: float) -> None:
            self._wrong_by_s = by_s
            if self.box is not None:
                self._synchronise(self.box.clock)

        self._later(fault, lambda: wrong(0.0))
        wrong(fault.amount)


_BEGIN: dict[FaultKind, Callable[[World, Fault], None]] = {
    FaultKind.CABLE_CUT: World._cable,
    FaultKind.NOISE: World._noise,
    FaultKind.UNPLUGGED: World._adapter,
    FaultKind.BABBLING: World._babble,
    FaultKind.HUNG: World._hang,
    FaultKind.SLOW: World._slow,
    FaultKind.BOX_OFF: World._box_off,
    FaultKind.BOX_CUT_IN_COMMIT: World._box_off_in_commit,
    FaultKind.BOX_CLOCK: World._box_clock,
}

GRACE_S = HOUR_S
