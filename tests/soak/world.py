"""A line of meters, a box, and all that happens to them in the time of a run: the causes that the judge knows."""

import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from dcu.config import PollConfig
from dcu.config.meter_models import shipped
from dcu.meter import Meter, MeterSecrets
from dcu.sim import MeterConfig, MeterKeys, Noise, VirtualMeter, read_ledger
from tests.soak.box import Box
from tests.soak.faults import DAY_S, Fault, FaultKind
from tests.soak.scenario import Life, Scenario
from tests.soak.switch import Switch
from tests.soak.truth import INDIA_S
from tests.soak.virtual_clock import PowerCut, VirtualClock, VirtualTime
from tests.soak.virtual_line import VirtualLine

START_S = 1_780_252_200.0
"""2026-06-01T00:00:00+05:30."""

KEYS = MeterKeys(guek=bytes(range(16)), gak=bytes(range(16, 32)), lls=b"reader-pass", hls=bytes(range(32, 48)))
SECRETS = MeterSecrets(KEYS.guek, KEYS.gak, KEYS.lls, KEYS.hls)
POLL = PollConfig(snapshot_s=6 * 3600, balance_s=6 * 3600, health_s=86_400, history_days=35)
NO_CLOCK_S = 120.0
"""A box without a battery does not know the time until somebody tells it."""


class Restart(BaseException):
    """Somebody ends the box in order and starts it again."""


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
        self.lives = [self._life(meter) for meter in self.meters]
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
        self._switches: dict[tuple[FaultKind, int], Switch] = {}
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
            capture_period_s=self.scenario.period_s or rng.choice((900, 900, 1800, 3600)),
            ring_days=self.scenario.ring_days,
            payment_mode=1,
            history_s=2 * 86_400,
            max_info=rng.choice((128, 128, 512, 1024, 2030)),
            window=rng.choice((1, 1, 3, 7)),
            turnaround_ms=rng.uniform(10, 120),
            clock_drift_ppm=rng.uniform(-self.scenario.drift_ppm, self.scenario.drift_ppm),
            repeats=rng.random() < 0.3,
            newest_first=rng.random() < 0.2,
            **{rng.choice(("null_compressed", "compact", "weekday", "clock_tag25")): True},
            event_entries=rng.choice((20, 50, 100)),
            inactivity_s=rng.choice((120, 600, 1800)),
        )

    def _life(self, meter: VirtualMeter) -> Life:
        config, now_s = meter.config, self.time.elapsed_s
        rate = 1 + config.clock_drift_ppm / 1e6
        life = Life(config.serial, config.capture_period_s, rate, config.event_entries, config.repeats, now_s, now_s)
        life.clock.append((now_s, meter.clock.now()))
        return life

    def _known(self, config: MeterConfig) -> Meter:
        model = shipped()["is15959-1ph"]
        return Meter(config.serial, "north", model, config.address, "JH-RNC", SECRETS)

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
            except Restart:
                self.box.stop()
                continue
            break
        self.box.stop()
        for meter in self.meters:
            meter.tick()
        self.close()

    def close(self) -> None:
        """The meters' ledgers."""
        for meter in self.meters:
            meter.close()

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
            if fault.kind in _NEEDS_SUPPLY and self._is_off(fault.meter):
                return
            self.happened[fault.kind] += 1
            _BEGIN[fault.kind](self, fault)

        return begin

    def _later(self, fault: Fault, ending: Callable[[], None]) -> None:
        self.time.at(START_S + fault.until_s, ending)

    def _hold(self, fault: Fault, on: Callable[[], None], off: Callable[[], None]) -> None:
        switch = self._switches.setdefault((fault.kind, fault.meter), Switch(on, off))
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

    # ---- what happens to a meter ----

    def _is_off(self, number: int) -> bool:
        off = self._present[number].off
        return bool(off) and off[-1][1] > self.time.elapsed_s

    def _meter_off(self, fault: Fault) -> None:
        meter = self.meters[fault.meter]

        def off() -> None:
            self._present[fault.meter].off.append((self.time.elapsed_s, float("inf")))
            meter.power_off()

        def on() -> None:
            spans = self._present[fault.meter].off
            spans[-1] = (spans[-1][0], self.time.elapsed_s)
            meter.power_on()

        self._hold(fault, off, on)

    def _clock_set(self, fault: Fault) -> None:
        """Somebody sets it wrong, or right again."""
        meter, life = self.meters[fault.meter], self._present[fault.meter]
        if life.periods and life.periods[-1][0] > self.time.elapsed_s:
            return  # a change of period is under way
        ahead_s = meter.clock.now() - self.time.now()
        meter.set_clock(0.0 if abs(ahead_s) > 60.0 else fault.amount)
        life.clock.append((self.time.elapsed_s, meter.clock.now()))

    def _period(self, fault: Fault) -> None:
        meter, life = self.meters[fault.meter], self._present[fault.meter]
        old_s, new_s = (life.periods[-1][1] if life.periods else life.period_s), int(fault.amount)
        if old_s == new_s or (life.periods and life.periods[-1][0] > self.time.elapsed_s):
            return
        meter.set_period(new_s)
        now_s = meter.clock.now()
        boundary_s = now_s + old_s - (now_s + INDIA_S) % old_s
        life.periods.append((self.time.elapsed_s + (boundary_s - now_s) / life.rate, new_s))

    def _upgrade(self, fault: Fault) -> None:
        meter, life = self.meters[fault.meter], self._present[fault.meter]
        order = ("standard", "vendor", "amended")[int(fault.amount)]
        meter.upgrade(f"SIM {self.happened[fault.kind] + 1}.0", order)
        [*_, entry] = [each for each in read_ledger(self.ledger_of(life)) if each["kind"] == "upgrade"]
        for profile in entry["cleared"]:
            life.cleared.setdefault(profile, []).append(self.time.elapsed_s)

    def _replace(self, fault: Fault) -> None:
        """Another meter takes its place; the box is told when somebody has corrected its configuration."""
        number, meter = fault.meter, self.meters[fault.meter]
        generation = sum(life.serial.startswith(meter.config.serial[:-1]) for life in self.lives)
        before, life = self._present[number], self._another(meter, generation)
        before.removed_s = self.time.elapsed_s
        life.known_s = fault.until_s
        life.mute += [span for span in before.mute if span[1] > self.time.elapsed_s]  # it is the place that is mute
        self.lives.append(life)
        self._present[number] = life
        config = meter.config

        def told() -> None:
            self._configured[number] = self._known(config)
            if self.box is not None:
                raise Restart

        self._later(fault, told)

    def _another(self, meter: VirtualMeter, generation: int) -> Life:
        meter.replace(f"{meter.config.serial[:-1]}{generation}")
        return self._life(meter)

    def _event(self, fault: Fault) -> None:
        self.meters[fault.meter].happen(int(fault.amount))

    def _close_bill(self, fault: Fault) -> None:
        self.meters[fault.meter].reset_demand()

    def ledger_of(self, life: Life) -> Path:
        """Where a meter wrote what it captured."""
        return self.directory / "meters" / f"{life.serial}.jsonl"


_NEEDS_SUPPLY = {
    FaultKind.CLOCK_SET,
    FaultKind.PERIOD,
    FaultKind.UPGRADED,
    FaultKind.REPLACED,
    FaultKind.EVENT,
    FaultKind.BILL_CLOSED,
}

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
    FaultKind.METER_OFF: World._meter_off,
    FaultKind.CLOCK_SET: World._clock_set,
    FaultKind.PERIOD: World._period,
    FaultKind.UPGRADED: World._upgrade,
    FaultKind.REPLACED: World._replace,
    FaultKind.EVENT: World._event,
    FaultKind.BILL_CLOSED: World._close_bill,
}
