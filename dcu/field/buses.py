"""Builds the buses of the configuration: a worker for each serial line, a pool for the meters behind TCP."""

from collections.abc import Callable
from dataclasses import dataclass

from dcu.config import BusConfig, Config
from dcu.config.model import BusKind
from dcu.drivers.bus import BusWorker, Framing, LinkFactory
from dcu.drivers.data_link import LineTiming
from dcu.drivers.pool import TcpPool
from dcu.drivers.security import client_title
from dcu.drivers.serial_link import SerialLink
from dcu.drivers.tcp_link import TcpLink
from dcu.errors import BusFault
from dcu.event import AlarmKind
from dcu.field.announce import Announcer
from dcu.field.plan import BusPlan
from dcu.mailbox import Stop
from dcu.meter import Meter
from dcu.ports import Bus, ByteLink, Clock, CounterVault, Store
from dcu.supervisor import Pulse, Unit

PULSE_S = 120.0
"""A bus beats between exchanges; a visit to a meter that answers slowly is still life."""

CONNECT_WITHIN_S = (5.0, 9.0)
"""At least and at most, else as long as a meter may take to answer; the end of the process waits little longer."""


TCP_OCTETS_PER_S = 5_000.0
"""What a meter behind TCP is taken to carry: a radio mesh is no faster, and its round trips are dear."""


@dataclass(frozen=True, slots=True)
class BusRoom:
    """One bus, what it does by itself, and its threads."""

    bus: Bus
    plan: BusPlan
    units: tuple[Unit, ...]


@dataclass(frozen=True, slots=True)
class BusBuilder:
    """What the buses of a process share.

    Attributes:
        config: of the process.
        store, clock, announcer, stop: of the process.
        counters: where invocation counters are committed ahead of use.
        on_state: told of a bus's name and its fault, or None when it is well.
    """

    config: Config
    store: Store
    counters: CounterVault
    clock: Clock
    announcer: Announcer
    stop: Stop
    on_state: Callable[[str, BusFault | None], None]

    def build(self, bus: BusConfig) -> BusRoom:
        """A bus that does not run yet."""
        meters, zone = self.config.meters_on(bus.name), self.config.dcu.timezone
        rate = TCP_OCTETS_PER_S if bus.kind.is_tcp else bus.baud / 10
        plan = BusPlan(meters, self.store, self.clock, self.announcer, zone, self.config.poll, octets_per_s=rate)
        return self._pool(bus, plan) if bus.kind.is_tcp else self._worker(bus, plan)

    def _worker(self, bus: BusConfig, plan: BusPlan) -> BusRoom:
        timing = _timing(bus)
        pulse = self._pulse(timing)
        worker = BusWorker(
            bus.name,
            _link_factory(bus),
            Framing(bus.kind.value),
            self.counters,
            plan,
            self.clock,
            self.stop,
            self.config.dcu.timezone,
            system_title=client_title(self.config.dcu.id),
            timing=timing,
            beat=pulse.beat,
            on_state=lambda fault: self.on_state(bus.name, fault),
            counter_low=self._counter_low,
        )
        return BusRoom(worker, plan, (Unit(f"bus-{bus.name}", worker.run, pulse),))

    def _pool(self, bus: BusConfig, plan: BusPlan) -> BusRoom:
        timing = _timing(bus)
        pool = TcpPool(
            bus.name,
            _link_factory(bus),
            Framing(bus.kind.value),
            self.counters,
            plan,
            self.clock,
            self.stop,
            self.config.dcu.timezone,
            system_title=client_title(self.config.dcu.id),
            workers=bus.workers,
            timing=timing,
            counter_low=self._counter_low,
        )
        units = tuple(self._pool_unit(pool, number, timing) for number in range(bus.workers))
        return BusRoom(pool, plan, units)

    def _pool_unit(self, pool: TcpPool, number: int, timing: LineTiming) -> Unit:
        pulse = self._pulse(timing)
        return Unit(f"bus-{pool.name}-{number}", lambda: pool.run(number, pulse.beat), pulse)

    def _pulse(self, timing: LineTiming) -> Pulse:
        """Of a bus thread: one exchange with a meter that answers no try of it is life too."""
        return Pulse(self.clock, PULSE_S + timing.tries * (timing.first_octet_s + timing.reply_s))

    def _counter_low(self, serial: str, client_sap: int, next_counter: int) -> None:
        text = f"invocation counters of client {client_sap} are at {next_counter}: change the meter's keys before 2^32"
        self.announcer.alarm(AlarmKind.COUNTER_LOW, text, meter=serial, client=client_sap, counter=next_counter)


def _timing(bus: BusConfig) -> LineTiming:
    if bus.kind is BusKind.RS485:
        return LineTiming.at_baud(bus.baud, first_octet_s=bus.reply_s)
    return LineTiming.over_tcp(first_octet_s=bus.reply_s)


def _link_factory(bus: BusConfig) -> LinkFactory:
    """Opens the serial port of a shared line, or a connection to one TCP meter."""
    least_s, most_s = CONNECT_WITHIN_S
    connect_s = min(max(least_s, bus.reply_s), most_s)

    def connect(meter: Meter | None) -> ByteLink:
        if meter is None:
            return SerialLink(bus.port, bus.baud)
        return TcpLink(meter.host, meter.port, connect_s)

    return connect
