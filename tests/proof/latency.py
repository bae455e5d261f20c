"""How long a relay command waits for a line that is never idle: the real bus worker, in virtual time, at 9600 baud.

Sixteen virtual meters are read without a pause: five weeks of history are fetched while snapshots are due all the
time. Connects become due at any moment. The line's own time is all that passes; what the box computes costs nothing
here, and is measured beside it.
"""

import time as wall
from dataclasses import dataclass, field, replace
from zoneinfo import ZoneInfo

from dcu.config import PollConfig
from dcu.config.meter_models import shipped
from dcu.meter import Meter
from dcu.relay.trust import Commissioning
from dcu.relay.warrant import OneAct
from dcu.sim import MeterConfig, VirtualMeter
from dcu.sim.relay import ControlState
from tests.proof.papers import LIVE, command_claims, signed
from tests.proof.people import People
from tests.proof.run import Line, Run
from tests.proof.still import RECEIPTS, HeldStore, StillDesk, StillStop
from tests.soak.box import Box
from tests.soak.virtual_clock import VirtualClock, VirtualTime
from tests.soak.virtual_line import VirtualLine
from tests.soak.world import KEYS, SECRETS, START_S

DCU, BAUD, METERS = "JH-RNC-0042", 9600, 16
TURNAROUND_S = 0.05
POLL = PollConfig(snapshot_s=60, balance_s=60, health_s=600, history_days=35)


class WatchedLine(VirtualLine):
    """Notes each exchange: [when the master began to speak, when the last octet of the answer was heard]."""

    spoken: list[list[float]]

    def say(self, octets: bytes) -> float:
        self.spoken.append([self.time.elapsed_s, self.time.elapsed_s])
        return super().say(octets)

    def hear(self) -> bytes:
        heard = super().hear()
        if heard:
            self.spoken[-1][1] = self.time.elapsed_s
        return heard

    def exchange_at(self, moment_s: float) -> float:
        """When the exchange that was in progress at that moment was over; that moment itself on a quiet line."""
        before = [end_s for began_s, end_s in self.spoken[-4000:] if began_s <= moment_s]
        return max([*before[-1:], moment_s])


@dataclass
class Command:
    """One connect. Times are elapsed seconds of the line; `octets` of its errand until the ACTION."""

    due_s: float
    exchange_s: float = 0.0  # the end of the exchange that was in progress when it fell due
    first_s: float = 0.0
    action_s: float = 0.0
    octets: int = 0
    requests: int = 0
    decided_s: float = 0.0  # of this machine's own time


@dataclass
class Watch:
    """What is noted of the commands, one after the other."""

    line: WatchedLine
    done: list[Command] = field(default_factory=list)
    now: Command | None = None
    spent_s: float | None = None
    spent_octets: int = 0


class WatchedBus:
    """`ports.Bus`: the real worker's mailbox; notes when an errand begins to speak."""

    def __init__(self, watch: Watch) -> None:
        self._watch, self.worker = watch, None

    def post(self, errand, *, urgent):
        self.worker.post(Watched(errand, self._watch), urgent=urgent)


class Watched:
    """An errand, and what it sends until the ACTION leaves."""

    def __init__(self, errand, watch: Watch) -> None:
        self.meter, self._errand, self._watch = errand.meter, errand, watch

    def run(self, line):
        watch, command = self._watch, self._watch.now
        begun, octets = len(watch.line.spoken), watch.line.octets
        try:
            self._errand.run(line)
        finally:
            spoken = watch.line.spoken[begun:]
            if command is not None and spoken and watch.spent_s is not None:
                times = [began_s for began_s, _ in spoken]
                command.first_s = times[0]
                command.action_s = min(at_s for at_s in times if at_s >= watch.spent_s - 1e-9)
                command.requests = sum(at_s < command.action_s for at_s in times)
                command.octets = watch.spent_octets - octets
                command.exchange_s = watch.line.exchange_at(command.due_s)
                watch.done.append(command)
            watch.now = watch.spent_s = None

    def failed(self, fault):
        self._errand.failed(fault)


class Trial:
    """One box, its line, and connects that fall due on it."""

    def __init__(self, run: Run, number: int) -> None:
        self._people, self._chance = People(run.seed), run.chance(f"latency {number}")
        self.time = VirtualTime(START_S)
        configs = [
            MeterConfig(
                f"LT{n:04}",
                address=17 + n,
                keys=KEYS,
                seed=n,
                ring_days=35,
                history_s=35 * 86_400,
                capture_period_s=900,
                max_info=self._chance.choice((128, 512, 2030)),
                turnaround_ms=TURNAROUND_S * 1000,
            )
            for n in range(METERS)
        ]
        self.meters = [VirtualMeter(config, now=self.time.now) for config in configs]
        self.line = WatchedLine(self.time, self.meters, baud=BAUD, seed=1000 * run.seed + number)
        self.line.spoken = []
        self.watch = Watch(self.line)
        self.clock = VirtualClock(self.time)
        model = shipped()["is15959-1ph"]
        known = [Meter(c.serial, "north", model, c.address, LIVE, SECRETS) for c in configs]
        self.box = Box(run.scratch, known, self.line, self.clock, POLL)
        bus = WatchedBus(self.watch)
        bus.worker = self.box.worker
        self.desk = StillDesk(
            dcu=DCU,
            store=HeldStore("j-latency"),
            clock=self.clock,
            commissioning=Commissioning(self._people.trust()),
            meters={meter.serial: meter for meter in known},
            buses={"north": bus},
            signer=RECEIPTS,
            zone=ZoneInfo("Asia/Kolkata"),
            stop=StillStop(),
            alarm=lambda _: None,
            set_aside=lambda _: False,
            meters_heard=lambda: True,
            beat=lambda: None,
            settle_s=0.0,
        )
        self.desk.turns()
        self._number = 0

    def run(self, n: int) -> list[Command]:
        """So many connects, one at a time, at any moment."""
        self.box.run(60.0)
        self._arrange()
        while len(self.watch.done) < n:
            self.box.run(self.time.elapsed_s + 60.0)
            assert self.time.elapsed_s < 1000 + n * 120, "commands do not come to their ends"
        self.box.stop()
        return self.watch.done

    def _arrange(self) -> None:
        self.time.at(self.time.now() + self._chance.uniform(20.0, 60.0), self._fall_due)

    def _fall_due(self) -> None:
        self._arrange()
        if self.watch.now is not None:
            return
        meter = self._chance.choice(self.meters)
        meter.relay.output_state, meter.relay.control_state = False, ControlState.DISCONNECTED
        self._number += 1
        claims = command_claims(
            "connect",
            DCU,
            "j-latency",
            meter.config.serial,
            f"c-{self._number}",
            int(self.time.now()),
            seq=self._number,
        )
        self.watch.now = Command(self.time.elapsed_s)
        began_s = wall.perf_counter()
        verdict = self.desk.hand_in(signed(self._people, claims, ["bill-1"]))
        self.watch.now.decided_s = wall.perf_counter() - began_s
        assert verdict.status == "accepted", verdict


def note_spending(watch: Watch):
    """When a warrant is spent, and what the line had carried by then. Returns what takes it back."""
    plain = OneAct.spend

    def spend(self, serial, target, data, monotonic_s):
        watch.spent_s, watch.spent_octets = watch.line.time.elapsed_s, watch.line.octets
        plain(self, serial, target, data, monotonic_s)

    OneAct.spend = spend
    return lambda: setattr(OneAct, "spend", plain)


def percentile(values: list[float], share: float) -> float:
    """That of which so large a share is not above."""
    return sorted(values)[max(0, int(len(values) * share + 0.999999) - 1)]


def one_line(run: Run, number: int) -> tuple[list[Command], float]:
    """Connects while a line has its history before it: (each of them, the share of time that the line was in use)."""
    directory = run.scratch / f"line-{number}"
    directory.mkdir()
    trial = Trial(replace(run, scratch=directory), number)
    restore = note_spending(trial.watch)
    try:
        commands = trial.run(run.of(4, 100))
    finally:
        restore()
    used_s = trial.line.octets * 10 / BAUD + len(trial.line.spoken) * TURNAROUND_S
    return commands, used_s / trial.time.elapsed_s


def latency(run: Run) -> list[Line]:
    """The whole of it."""
    found = [one_line(run, number) for number in range(run.of(1, 10))]
    commands = [command for commands, _ in found for command in commands]
    share = min(used for _, used in found)
    behind_ms = [(c.first_s - max(c.due_s, c.exchange_s)) * 1000 for c in commands]
    least_s = [c.octets * 10 / BAUD + c.requests * TURNAROUND_S for c in commands]
    ratios = [(c.action_s - c.first_s) / least for c, least in zip(commands, least_s, strict=True)]
    waits_s = [c.first_s - c.due_s for c in commands]
    behind, ratio = percentile(behind_ms, 0.99), percentile(ratios, 0.99)
    tried = (
        f"{len(commands):,} connects due at any moment on {len(found)} x {METERS} meters at {BAUD} baud, "
        f"every line in use for at least {100 * share:.0f} % of the time"
    )
    return [
        Line(
            "a relay command waits for the exchange in progress and at most 300 ms more (p99)",
            tried,
            f"p99 {behind:.1f} ms behind the exchange in progress, worst {max(behind_ms):.1f} ms; with that exchange "
            f"p99 {percentile(waits_s, 0.99):.2f} s, worst {max(waits_s):.2f} s",
            behind <= 300 and share > 0.8,
            (
                (
                    "virtual time: what the box computes is not in it. To verify, decide and journal one here "
                    f"takes {1000 * percentile([c.decided_s for c in commands], 0.99):.1f} ms (p99)."
                ),
            ),
        ),
        Line(
            "from its first octet to the ACTION it takes at most 1.15 times the least line time (p99)",
            tried,
            f"p99 {ratio:.3f}, worst {max(ratios):.3f}; in seconds p99 "
            f"{percentile([c.action_s - c.first_s for c in commands], 0.99):.2f}",
            ratio <= 1.15,
            (
                (
                    "least line time: the octets of leaving the meter before, of the association and the reading "
                    f"of the relay before the ACTION, at ten bits each, and {1000 * TURNAROUND_S:.0f} ms of "
                    "the meter before each answer."
                ),
            ),
        ),
    ]
