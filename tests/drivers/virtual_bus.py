"""A bus worker with virtual meters in virtual time, turn by turn in the test's own thread."""

from dataclasses import replace
from datetime import UTC, datetime

from dcu.config.meter_models import shipped
from dcu.drivers import hdlc
from dcu.drivers.bus import BusWorker, Framing
from dcu.drivers.data_link import LineTiming
from dcu.drivers.security import client_title
from dcu.mailbox import Mailbox, Stop
from dcu.meter import Meter
from dcu.reading import ClockState
from dcu.sim import MeterConfig, VirtualMeter

from .bench import KEYS, NOW, SECRETS, ZONE, Vault
from .line import FakeTime, ScriptedLine, frame_of

ANSWER_S = 0.02


class VirtualClock:
    """The line's time is the box's time."""

    def __init__(self, time):
        self.time = time

    def now(self):
        return datetime.now(UTC)

    def state(self):
        return ClockState.UNTRUSTED

    def monotonic_s(self):
        return self.time()


class VirtualMailbox(Mailbox):
    """Waiting moves the time on."""

    def __init__(self, stop, time):
        super().__init__(stop)
        self.time = time

    def take(self, timeout_s):
        letter = super().take(0.0)
        if letter is None:
            self.time.now_s += timeout_s
        return letter


class NoPlan:
    """Nothing is ever due."""

    def due(self, monotonic_s, busy=None):
        return None

    def is_due(self, monotonic_s, busy=None):
        return False

    def idle_s(self, monotonic_s, busy=None):
        return 60.0


class Work:
    """An errand that runs a function on an association and keeps what came of it."""

    def __init__(self, meter, purpose, work, *, spare=False, probe=False):
        self.meter, self.purpose, self.work = meter, purpose, work
        self.spare, self.probe = spare, probe
        self.result, self.faults, self.runs = None, [], 0

    def run(self, line):
        self.runs += 1
        with line.associate(self.meter, self.purpose) as association:
            self.result = self.work(association)

    def failed(self, fault):
        self.faults.append(fault)


class VirtualBus:
    """Meters on one line and the worker that owns it.

    `deaf` holds serials that hear nothing; `frames` are the control octets that were sent, with the address.
    """

    def __init__(self, serials=("A1",), *, plan=None, settings=None, **model):
        self.time = FakeTime()
        keep = {"keep_open": True, "inactivity_s": 120} | model
        keyed = replace(shipped()["is15959-1ph"], **keep)
        self.meters = {
            serial: Meter(serial, "north", keyed, 17 + n, "JH-RNC", SECRETS) for n, serial in enumerate(serials)
        }
        self.virtual = {
            serial: VirtualMeter(MeterConfig(serial, meter.address, KEYS, **(settings or {})), now=lambda: NOW)
            for serial, meter in self.meters.items()
        }
        self.line = ScriptedLine(self._hear, self.time)
        self.deaf, self.frames, self.opened = set(), [], 0
        self.stop = Stop()
        self.worker = BusWorker(
            "north",
            self._open,
            Framing.HDLC,
            Vault(),
            plan or NoPlan(),
            VirtualClock(self.time),
            self.stop,
            ZONE,
            system_title=client_title("JH-RNC-0042"),
            timing=LineTiming(),
            mailbox=VirtualMailbox(self.stop, self.time),
        )

    def _open(self, _meter):
        self.opened += 1
        return self.line

    def _hear(self, octets):
        frame = frame_of(octets)
        self.frames.append(frame.control | hdlc.POLL_FINAL)
        answers = []
        for serial, virtual in self.virtual.items():
            if serial not in self.deaf:
                answers += [(ANSWER_S, answer) for answer in virtual.receive(octets, self.time())]
        return answers

    def count(self, control):
        """How often a frame of that kind was sent."""
        return self.frames.count(control)

    def do(self, work, *, urgent=False):
        """Post an errand and turn until it has run."""
        before = work.runs + len(work.faults)
        self.worker.post(work, urgent=urgent)
        while work.runs + len(work.faults) == before:
            self.worker.turn()
        return work

    def wait(self, seconds):
        """Let time pass."""
        until = self.time() + seconds
        while self.time() < until:
            self.worker.turn()
