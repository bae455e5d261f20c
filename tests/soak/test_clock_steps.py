"""The parts of the field process under a wall clock that boots in 1970 and steps by years: the meters do not notice."""

import random

import pytest

from dcu.clock import BUILT
from dcu.config import PollConfig
from dcu.config.meter_models import shipped
from dcu.meter import Meter, ProfileKind
from dcu.reading import ClockState
from dcu.sim import MeterConfig, VirtualMeter
from dcu.timekeeping import Sighting, Timekeeper
from tests.soak.box import Box
from tests.soak.virtual_clock import VirtualClock, VirtualTime
from tests.soak.virtual_line import VirtualLine
from tests.soak.world import KEYS, SECRETS

START_S = 1_798_741_800.0
"""2027-01-01T00:00:00+05:30, after the program was written."""

HOUR_S, DAY_S, YEAR_S = 3600.0, 86_400.0, 31_557_600.0
HOURS = 12
STEPS_S = (1.0, 2.5, 60.0, HOUR_S, DAY_S, YEAR_S, 10 * YEAR_S)


class JudgedClock(VirtualClock):
    """A box's clock whose state is found as the real one's is."""

    def __init__(self, time, **options):
        super().__init__(time, **options)
        self._keeper = Timekeeper(BUILT.timestamp(), self.boot_id)
        self.seen = set()

    def state(self):
        sighting = Sighting(max(0.0, self.now().timestamp()), self.monotonic_s(), self.trusted)
        state = self._keeper.look(sighting).state
        self.seen.add(state)
        return state


class Log(VirtualLine):
    """A line that notes when the master spoke, and how much."""

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.said = []

    def say(self, octets):
        self.said.append((round(self.time.elapsed_s, 3), len(octets)))
        return super().say(octets)


def life(directory, trouble):
    """Half a day of a box with two meters; what was said on the line, what is held, and the states of its clock."""
    directory.mkdir()
    time = VirtualTime(START_S)
    configs = [MeterConfig(f"CS{n:06}", address=17 + n, keys=KEYS, capture_period_s=900) for n in range(2)]
    virtual = [VirtualMeter(config, now=time.now) for config in configs]
    line, clock = Log(time, virtual), JudgedClock(time)
    trouble(time, clock)
    model = shipped()["is15959-1ph"]
    meters = [Meter(c.serial, "north", model, c.address, "JH-RNC", SECRETS) for c in configs]
    poll = PollConfig(snapshot_s=900, balance_s=900, health_s=300, history_days=1)
    box = Box(directory, meters, line, clock, poll)
    try:
        box.run(HOURS * HOUR_S)
        dated_by_meter = {ProfileKind.RING, ProfileKind.EVENTS, ProfileKind.BILLING}
        names = [spec.logical_name for spec in model.profiles if spec.kind in dated_by_meter]
        held = box.store.transact(
            lambda tx: {(m.serial, name): tx.profile(m.serial, name).held for m in meters for name in names}
        )
        return line.said, held, clock.seen
    finally:
        box.stop()
        for meter in virtual:
            meter.close()


def no_trouble(_time, _clock):
    """As it should be."""


def boots_in_1970(time, clock):
    """No battery; the time service is reached after five hours."""
    clock.wrong_by_s, clock.trusted = -START_S, False

    def synchronise():
        clock.wrong_by_s, clock.trusted = 0.0, True

    time.at(START_S + 5 * HOUR_S, synchronise)


def steps(seed):
    """Both ways, a second to ten years, with and without discipline."""

    def trouble(time, clock):
        chance = random.Random(seed)

        def step():
            clock.wrong_by_s = chance.choice((-1, 1, 0)) * chance.choice(STEPS_S)
            clock.trusted = chance.random() < 0.7

        for _ in range(40):
            time.at(START_S + chance.uniform(0, HOURS * HOUR_S), step)

    return trouble


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    return life(tmp_path_factory.mktemp("steps") / "box", no_trouble)


@pytest.mark.parametrize("trouble", [boots_in_1970, *(steps(seed) for seed in range(3))], ids=["1970", "0", "1", "2"])
def test_no_poll_is_missed_moved_or_made_twice(tmp_path, undisturbed, trouble):
    said, held, seen = life(tmp_path / "box", trouble)
    usual, usually_held, usually_seen = undisturbed
    assert usually_seen == {ClockState.TRUSTED}
    assert ClockState.UNTRUSTED in seen
    assert held == usually_held
    assert len(said) == len(usual)
    assert max(abs(a - b) for (a, _), (b, _) in zip(said, usual, strict=True)) < 1.0
