"""A virtual meter on a scripted line, and what a bus would give to an association: no thread, no wall time."""

from contextlib import contextmanager
from dataclasses import replace
from zoneinfo import ZoneInfo

from dcu.command import Warrant
from dcu.config.meter_models import shipped
from dcu.drivers import hdlc
from dcu.drivers.association import Caller
from dcu.drivers.counters import CounterBook
from dcu.drivers.data_link import LineTiming
from dcu.drivers.hdlc_link import HdlcLink
from dcu.drivers.security import client_title
from dcu.errors import CounterExhausted, WarrantRequired
from dcu.meter import Meter, MeterSecrets, Purpose
from dcu.ports import CounterStanding
from dcu.sim import MeterConfig, MeterKeys, VirtualMeter

from .line import ScriptedLine

ZONE = ZoneInfo("Asia/Kolkata")
KEYS = MeterKeys(guek=bytes(range(16)), gak=bytes(range(16, 32)), lls=b"reader-pass", hls=bytes(range(32, 48)))
SECRETS = MeterSecrets(KEYS.guek, KEYS.gak, KEYS.lls, KEYS.hls)
SERIAL = "GXT20931188"
NOW = 1_795_000_000.0  # 2026-11-18, by the virtual meter


class Vault:
    """A CounterVault in memory that remembers every reservation."""

    def __init__(self):
        self.top = {}
        self.reserved = []
        self.skip, self.by_time = 0, False

    def standing(self, serial, client_sap):
        top = self.top.get((serial, client_sap), 0)
        return CounterStanding(top, top + self.skip, self.by_time)

    def reserve(self, serial, client_sap, at_least, count):
        first = max(at_least, self.top.get((serial, client_sap), 0))
        if first + count > 1 << 32:
            raise CounterExhausted("none is left")
        self.top[serial, client_sap] = first + count
        self.reserved.append((serial, client_sap, first, count))
        return range(first, first + count)


class TestWarrant(Warrant):
    """What `dcu.relay.warrant` would make: for one target and value, once."""

    __module__ = "dcu.relay.warrant"
    __test__ = False

    def __init__(self, serial, target, data):
        self.leave = (serial, target, data)
        self.spent = 0
        self.line = None

    def spend(self, serial, target, data, monotonic_s):
        if self.spent or (serial, target, data) != self.leave:
            raise WarrantRequired("not this one")
        self.spent += 1
        self.sent_before = len(self.line.sent) if self.line else 0


class Bench:
    """One meter, one line, one caller.

    `change(octets)` may alter what the meter hears (None: it hears nothing), `garble(octets)` what it answers.
    """

    def __init__(self, *, mechanism="secret", config=None, address=17, **settings):
        self.meter_config = config or MeterConfig(
            SERIAL, address, KEYS, mechanism=mechanism, history_s=6 * 3600, **settings
        )
        self.virtual = VirtualMeter(self.meter_config, now=lambda: NOW)
        self.garble = self.change = lambda octets: octets
        self.line = ScriptedLine(self._hear)
        self.vault = Vault()
        self.give_way = lambda: None
        self.book = CounterBook(self.vault)
        name = "is15959-1ph" if mechanism == "secret" else "is15959-1ph-gmac"
        self.meter = Meter(SERIAL, "north", shipped()[name], address, "JH-RNC", SECRETS)
        self.timing = LineTiming()

    def _hear(self, octets):
        heard = self.change(octets)
        if heard is None:
            return None
        answers = self.virtual.receive(heard, self.line.time.now_s)
        return [(0.02, garbled) for answer in answers if (garbled := self.garble(answer)) is not None]

    def _between(self):
        self.give_way()  # looked up anew, so that a test can change it in the midst

    def with_secrets(self, **secrets):
        self.meter = replace(self.meter, secrets=replace(self.meter.secrets, **secrets))
        return self

    def data_link(self, meter, client_sap):
        client, server = hdlc.client_address(client_sap), hdlc.server_address(meter.model.server_sap, meter.address)
        offer = self.timing.hdlc_offer(meter.model.max_info_bytes, meter.model.window)
        place, give_way = meter.serial, self._between
        return HdlcLink(self.line, client, server, offer, self.timing, self.line.time, place, give_way=give_way)

    @property
    def caller(self):
        title = client_title("JH-RNC-0042")
        return Caller(self.data_link, self.book, title, ZONE, self.line.time, self._between)

    @contextmanager
    def associate(self, purpose=Purpose.READ):
        with self.caller.associate(self.meter, purpose) as association:
            yield association
