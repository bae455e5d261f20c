"""The objects of a smart meter after IS 15959 (reference/is15959.md 1 and 2), put together for its kind."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from dcu.sim.axdr import Datum, u32
from dcu.sim.billing import Billing
from dcu.sim.events import EVENT_LOGS, Events
from dcu.sim.faults import Faults
from dcu.sim.kinds import BILLING_DATE, DATA, Kind, Place
from dcu.sim.meter_clock import clock_object
from dcu.sim.meter_config import MeterConfig
from dcu.sim.nameplate import hdlc_setup, nameplate
from dcu.sim.objects import Client, CosemObject, datum_object, logical_name, scaler_unit
from dcu.sim.payment import Account, limiter, payment
from dcu.sim.profile import Log, Manner, Ring, Row, Shelf, ring_object, snapshot_column, snapshot_object
from dcu.sim.registers import CLOCK, Shown, Values, counted, register_objects
from dcu.sim.relay import Relay, relay_object
from dcu.sim.utility import Arranged, utility_objects

BLOCK_LOAD: Final = "1.0.99.1.0.255"
DAILY_LOAD: Final = "1.0.99.2.0.255"
BILLING: Final = "1.0.98.1.0.255"
COUNTERS: Final = {Client.METER_READER: "0.0.43.1.2", Client.UTILITY_SETTING: "0.0.43.1.3"}
"""Where each client's last accepted invocation counter is published."""

_BILL_DATE: Final = Place(3, BILLING_DATE)


@dataclass(frozen=True, slots=True)
class Sources:
    """Where the objects take their values from, and whom they tell."""

    config: MeterConfig
    kind: Kind
    shown: Shown
    faults: Faults
    serial: Callable[[], str]
    firmware: Callable[[], str]
    relay: Relay
    account: Account
    arranged: Arranged
    values: Values
    present_bill: Callable[[], Row]
    set_time: Callable[[int], None]
    counter: Callable[[int], int]

    @property
    def block(self) -> Ring:
        """Block load."""
        return self.arranged.block

    @property
    def daily(self) -> Ring:
        """Daily load."""
        return self.arranged.daily

    @property
    def billing(self) -> Billing:
        """Bills."""
        return self.arranged.billing

    @property
    def events(self) -> Events:
        """Event logs."""
        return self.arranged.events


def build(src: Sources) -> list[CosemObject]:
    """All objects but the current association, which is another one for each client."""
    happen = src.arranged.happen
    captured = frozenset(place for log in range(7) for place in src.events.places(log))
    objects = [
        clock_object(src.shown.clock, src.set_time),
        *nameplate(src.kind, src.serial, src.firmware),
        *register_objects(src.kind.places | captured, src.values, src.shown),
        counted("0.0.0.1.1", src.values),
        *(
            [relay_object(src.relay), limiter(src.account, happen, src.shown.register("1.0.1.7.0"))]
            if src.kind.relay
            else []
        ),
        *payment(src.account, happen),
        *utility_objects(src.arranged),
        hdlc_setup(src.config),
        *(datum_object(name, _counter(src, client), public=True) for client, name in COUNTERS.items()),
    ]
    return [*objects, *_present(src, objects), *_rings(src), *_scaler_profiles(src)]


def _counter(src: Sources, client: Client) -> Callable[[], Datum]:
    return lambda: u32(src.counter(client))


# ---- profiles -------------------------------------------------------------------------------------------------------


def _present(src: Sources, objects: Iterable[CosemObject]) -> list[CosemObject]:
    """Instantaneous profile: whatever its columns' objects say at this moment."""
    by_name = {entry.name: entry for entry in objects}
    columns = [snapshot_column(place.class_id, logical_name(place.name), place.attribute) for place in src.kind.present]
    readers = [by_name[column.name].attribute(column.attribute).read for column in columns]

    def row() -> Row:
        return tuple(read() for read in readers if read is not None)

    return [snapshot_object(logical_name("1.0.94.91.0"), columns, row)]


def _rings(src: Sources) -> list[CosemObject]:
    set_period = src.arranged.set_period

    def ring(name: str, first: Place, places: Sequence[Place], log: Log, **more: Any) -> CosemObject:
        columns = [src.shown.time_column(first, src.faults), *(src.shown.column(place) for place in places)]
        manner = Manner(src.config.form, src.config.newest_first)
        return ring_object(logical_name(name), Shelf(columns, log, src.shown.clock, src.faults, manner, **more))

    kind, block, daily = src.kind, src.block, src.daily
    return [
        ring(BLOCK_LOAD, CLOCK, kind.block, block, set_period=lambda period_s: set_period(block, period_s)),
        ring(DAILY_LOAD, CLOCK, kind.daily, daily, set_period=lambda period_s: set_period(daily, period_s)),
        ring(BILLING, _BILL_DATE, kind.billing[1:], src.billing.log, present=src.present_bill),
        *(ring(name, CLOCK, src.events.places(log)[1:], src.events.logs[log]) for log, name in enumerate(EVENT_LOGS)),
    ]


def _scaler_profiles(src: Sources) -> list[CosemObject]:
    if src.config.scaler_profiles == "missing":
        return []
    kind = src.kind
    captured = {
        "1.0.94.91.3": kind.present,
        "1.0.94.91.4": kind.block,
        "1.0.94.91.5": kind.daily,
        "1.0.94.91.6": kind.billing,
        "1.0.94.91.7": kind.event,
    }
    return [_scalers(src, name, places) for name, places in captured.items()]


def _scalers(src: Sources, name: str, captured: Sequence[Place]) -> CosemObject:
    """A scaler profile: attribute 3 of each scaled register, in the columns' order; no clock, no times, no data."""
    scaled = [place for place in captured if place.class_id in {3, 4} and place.attribute == 2]
    scaled = [place for place in scaled if place.name not in {BILLING_DATE, *DATA}]
    if src.config.scaler_profiles == "wrong-order":
        scaled.reverse()
    columns = [snapshot_column(place.class_id, logical_name(place.name), 3) for place in scaled]
    registers = [src.shown.register(place.name) for place in scaled]
    values = tuple(scaler_unit(register.scaler, register.unit) for register in registers)
    return snapshot_object(logical_name(name), columns, lambda: values)
