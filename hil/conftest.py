"""The loop, a virtual meter at its far end, and the box's own bus worker at the near one."""

import os
import threading
import time
from zoneinfo import ZoneInfo

import pytest

from dcu.clock import SystemClock
from dcu.config.meter_models import shipped
from dcu.drivers.bus import BusWorker, Framing
from dcu.drivers.data_link import LineTiming
from dcu.drivers.security import client_title
from dcu.drivers.serial_link import SerialLink
from dcu.errors import BusFault
from dcu.mailbox import Stop
from dcu.meter import Meter, MeterSecrets
from dcu.ports import CounterStanding
from dcu.sim import MeterConfig, MeterKeys, VirtualMeter
from hil.loop import Adapters, PtyLoop

BAUD = int(os.environ.get("DCU_HIL_BAUD", "9600"))
SERIAL = "HIL00000001"
KEYS = MeterKeys(guek=bytes(range(16)), gak=bytes(range(16, 32)), lls=b"loopback", hls=bytes(range(32, 48)))


@pytest.fixture
def loop(tmp_path):
    """Ports A and B: real adapters where the environment names them, else a pty pair."""
    named = os.environ.get("DCU_HIL_PORT_A"), os.environ.get("DCU_HIL_PORT_B")
    if any(named) and not all(named):
        pytest.fail("name both DCU_HIL_PORT_A and DCU_HIL_PORT_B, or neither")
    made = Adapters(*named) if all(named) else PtyLoop(tmp_path)
    yield made
    made.close()


@pytest.fixture
def far_meter(loop):
    """A virtual meter on port B."""
    config = MeterConfig(SERIAL, address=17, keys=KEYS, capture_period_s=60, history_s=7200, mechanism="secret")
    meter = VirtualMeter(config)
    link = SerialLink(loop.port_b, BAUD)
    stop = threading.Event()

    def serve():
        while not stop.is_set():
            octets = link.receive(time.monotonic() + 0.05)
            for frame in meter.receive(octets, time.monotonic()) if octets else []:
                link.send(frame)

    thread = threading.Thread(target=serve, name="far-meter", daemon=True)
    thread.start()
    yield meter
    stop.set()
    thread.join(5)
    link.close()
    meter.close()


class Counters:
    """A vault for one session: starts where the last reservation ended."""

    def __init__(self):
        self.next = 1

    def standing(self, _serial, _client_sap):
        return CounterStanding(0, 0)

    def reserve(self, serial, client_sap, at_least, count):
        first = max(self.next, at_least)
        self.next = first + count
        return range(first, self.next)


class Idle:
    """Nothing is due: errands only."""

    def due(self, monotonic_s):
        return None

    def idle_s(self, monotonic_s):
        return 0.1


class Ask:
    """An errand that runs a function in an association."""

    def __init__(self, meter, purpose, work):
        self.meter, self.purpose, self.work = meter, purpose, work
        self.done = threading.Event()
        self.answer = self.fault = None

    def run(self, line):
        with line.associate(self.meter, self.purpose) as association:
            self.answer = self.work(association)
        self.done.set()

    def failed(self, fault):
        self.fault = fault
        self.done.set()


class NearBus:
    """The box's bus worker on port A."""

    def __init__(self, port):
        self.stop = Stop()
        self.states = []
        self.meter = Meter(
            serial=SERIAL,
            bus="loop",
            model=shipped()["is15959-1ph"],
            address=17,
            area="HIL",
            secrets=MeterSecrets(KEYS.guek, KEYS.gak, KEYS.lls, KEYS.hls),
        )
        self.worker = BusWorker(
            "loop",
            lambda _meter: SerialLink(port, BAUD),
            Framing.HDLC,
            Counters(),
            Idle(),
            SystemClock(),
            self.stop,
            ZoneInfo("Asia/Kolkata"),
            system_title=client_title("HIL-BOX"),
            timing=LineTiming.at_baud(BAUD),
            on_state=self.states.append,
        )
        self.thread = threading.Thread(target=self.worker.run, name="near-bus", daemon=True)
        self.thread.start()

    def ask(self, purpose, work, within_s=60):
        errand = Ask(self.meter, purpose, work)
        self.worker.post(errand, urgent=False)
        assert errand.done.wait(within_s), "the bus did not come to it"
        if errand.fault:
            raise errand.fault
        return errand.answer

    def ask_until_answered(self, purpose, work, within_s=60):
        """Through the back-off of a bus that comes back."""
        deadline = time.monotonic() + within_s
        while True:
            try:
                return self.ask(purpose, work)
            except BusFault:
                if time.monotonic() > deadline:
                    raise


@pytest.fixture
def near_bus(loop):
    bus = NearBus(loop.port_a)
    yield bus
    bus.stop.set()
    bus.thread.join(10)
