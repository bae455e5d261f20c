"""A meter whose invocation counters run out is told of long before."""

import threading
from types import SimpleNamespace

import cbor2
import pytest

from dcu import obis
from dcu.clock import SystemClock
from dcu.config import BusConfig
from dcu.config.meter_models import shipped
from dcu.config.model import BusKind
from dcu.field.announce import Announcer
from dcu.field.buses import BusBuilder
from dcu.mailbox import Stop
from dcu.meter import Meter, MeterSecrets, Purpose
from dcu.record import Stream
from dcu.sim import MeterConfig, MeterKeys, running_line
from dcu.store import Counters

from .conftest import IST, SERIAL

KEYS = MeterKeys(guek=bytes(range(16)), gak=bytes(range(16, 32)), lls=b"reader-pass", hls=bytes(range(32, 48)))
READER = 32


class TwoReads:
    """An errand that opens two associations, one after the other."""

    def __init__(self, meter):
        self.meter, self.fault, self.done = meter, None, threading.Event()

    def run(self, line):
        for _ in range(2):
            with line.associate(self.meter, Purpose.READ) as association:
                assert association.capture_period_s(obis.BLOCK_LOAD) == 900
        self.done.set()

    def failed(self, fault):
        self.fault = fault
        self.done.set()


@pytest.mark.parametrize(("used", "told"), [(1000, 0), ((1 << 31) - 1, 1), ((1 << 31) + (1 << 28), 1)])
def test_alarmed_once_past_the_half(store, clock, scene, used, told):
    counters, stop = Counters(store), Stop()
    counters.reserve(SERIAL, READER, used, 1)
    config = SimpleNamespace(
        dcu=SimpleNamespace(id="JH-TEST", timezone=IST), poll=scene.poll, meters_on=lambda _bus: ()
    )
    real = SystemClock()  # sockets wait by it
    builder = BusBuilder(config, store, counters, real, Announcer(store, clock), stop, lambda _name, _fault: None)
    room = builder.build(BusConfig("mesh", BusKind.WRAPPER, "", 0, 20, 2))
    threads = [threading.Thread(target=unit.run) for unit in room.units]
    with running_line([MeterConfig(SERIAL, keys=KEYS, port=0)]) as line:
        secrets = MeterSecrets(KEYS.guek, KEYS.gak, KEYS.lls, KEYS.hls)
        meter = Meter(SERIAL, "mesh", shipped()["is15959-1ph"], 0, "JH", secrets, "127.0.0.1", line.tcp[SERIAL])
        errand = TwoReads(meter)
        for thread in threads:
            thread.start()
        room.bus.post(errand, urgent=False)
        assert errand.done.wait(60)
        stop.set()
        for thread in threads:
            thread.join(30)
    assert errand.fault is None
    batch = store.transact(lambda tx: tx.next_batch({}, 65_536))
    assert (batch is not None) == bool(told)
    if batch is not None:
        assert batch.stream is Stream.ALARM
        alarms = [cbor2.loads(record) for record in batch.bodies]
        assert [(alarm["kind"], alarm["meter"]) for alarm in alarms] == [("counter-low", SERIAL)]
        assert alarms[0]["facts"] == {"client": READER, "counter": used + 1}
