"""Octets and time of one visit that brings one new row: association, clock, range, release; 9600 baud, ciphered."""

import tempfile
import threading
import time
from pathlib import Path
from zoneinfo import ZoneInfo

from dcu import obis
from dcu.clock import SystemClock
from dcu.drivers.bus import BusWorker, Framing
from dcu.drivers.data_link import LineTiming
from dcu.drivers.security import client_title
from dcu.drivers.serial_link import SerialLink
from dcu.mailbox import Stop
from dcu.meter import AttributeRef, ClassId, Meter, MeterSecrets, Purpose
from dcu.models import MODELS
from dcu.ports import CounterStanding
from dcu.sim import MeterConfig, MeterKeys, running_line

BAUD = 9600
KEYS = MeterKeys(guek=bytes(range(16)), gak=bytes(range(16, 32)), lls=b"bench-pw", hls=bytes(16))
SERIAL = "BENCH0000001"


class _Vault:
    def __init__(self) -> None:
        self._next = 1

    def standing(self, serial: str, client_sap: int) -> CounterStanding:
        del serial, client_sap
        return CounterStanding(0, 0)

    def reserve(self, serial: str, client_sap: int, at_least: int, count: int) -> range:
        del serial, client_sap
        first = max(self._next, at_least)
        self._next = first + count
        return range(first, self._next)


class _Idle:
    def due(self, monotonic_s: float) -> None:
        del monotonic_s

    def idle_s(self, monotonic_s: float) -> float:
        del monotonic_s
        return 0.01


class _Visit:
    """The errand of `dcu.field`, without the store."""

    def __init__(self, meter: Meter, layout: object = None) -> None:
        self.meter, self.layout, self.done, self.fault = meter, layout, threading.Event(), None

    def run(self, line) -> None:
        with line.associate(self.meter, Purpose.READ) as association:
            if self.layout is None:
                self.layout = association.layout(obis.BLOCK_LOAD, obis.BLOCK_LOAD_SCALERS)
            association.get(AttributeRef(ClassId.CLOCK, obis.CLOCK, 2))
            [newest] = association.last_rows(obis.BLOCK_LOAD, self.layout, 1)
            at = newest.captured_at.at
            assert len(association.rows(obis.BLOCK_LOAD, self.layout, at, at)) == 1
        self.done.set()

    def failed(self, fault) -> None:
        self.fault = fault
        self.done.set()


def visit() -> tuple[int, float, float]:
    """(octets both ways, seconds, seconds that those octets need on the wire) of a visit with statics known."""
    config = MeterConfig(SERIAL, address=17, keys=KEYS, history_s=7200)
    with tempfile.TemporaryDirectory() as directory:
        trace = Path(directory) / "trace"
        with running_line([config], baud=BAUD, link=Path(directory) / "rs485", trace=trace) as line:
            stop = Stop()
            secrets = MeterSecrets(KEYS.guek, KEYS.gak, KEYS.lls, KEYS.hls)
            meter = Meter(SERIAL, "bench", MODELS["is15959-1ph"], 17, "X", secrets, sim=True)
            worker = BusWorker(
                "bench",
                lambda _meter: SerialLink(line.port, BAUD),
                Framing.HDLC,
                _Vault(),
                _Idle(),
                SystemClock(),
                stop,
                ZoneInfo("Asia/Kolkata"),
                system_title=client_title("BENCH"),
                timing=LineTiming.at_baud(BAUD),
            )
            thread = threading.Thread(target=worker.run)
            thread.start()
            first = _Visit(meter)
            for errand in (first, _Visit(meter)):  # the second has all statics and the counter
                errand.layout = first.layout
                trace.write_text("")
                began = time.monotonic()
                worker.post(errand, urgent=False)
                errand.done.wait(60)
                seconds = time.monotonic() - began
                if errand.fault:
                    raise errand.fault
            stop.set()
            thread.join()
        octets = sum(len(bytes.fromhex(part.split()[1])) for part in trace.read_text().splitlines() if " " in part)
    return octets, seconds, octets * 10 / BAUD


if __name__ == "__main__":
    print("poll_line_time octets={} seconds={:.2f} wire={:.2f}".format(*visit()))
