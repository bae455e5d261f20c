"""The objects of a single-phase smart meter after IS 15959-2 (reference/is15959.md 1 and 2), in their order there."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from dcu.sim.axdr import Datum, Tag, boolean, i32, octets, structure, text, u8, u16, u32
from dcu.sim.measure import BLOCK_COLUMNS, DAILY_COLUMNS, DEMANDS, REGISTERS, Demand, Demands, Register
from dcu.sim.meter_clock import MeterClock, clock_object
from dcu.sim.objects import Attribute, Client, CosemObject, datum_object, expect, fixed, logical_name, scaler_unit
from dcu.sim.profile import Column, Ring, Row, clock_column, ring_object, snapshot_object
from dcu.sim.relay import RELAY_NAME, Relay, relay_object
from dcu.sim.xdlms import Refused, Result

BLOCK_LOAD: Final = "1.0.99.1.0.255"
DAILY_LOAD: Final = "1.0.99.2.0.255"
COUNTERS: Final = {Client.METER_READER: "0.0.43.1.2", Client.UTILITY_SETTING: "0.0.43.1.3"}
"""Where each client's last accepted invocation counter is published."""

_INSTANT: Final = ("1.0.12.7.0", "1.0.11.7.0", "1.0.91.7.0", "1.0.13.7.0", "1.0.14.7.0", "1.0.9.7.0", "1.0.1.7.0")
_LIMITER_NAME: Final = logical_name("0.0.17.0.0")
_MESSAGE_LIMIT: Final = 256
_NO_TIME: Final = bytes.fromhex("ffffffffffffffffff8000ff")


@dataclass(slots=True)
class Account:
    """What a SET changes: payment, balance, message, load limit. Amounts in paise, times as 12 octets."""

    payment_mode: int
    balance: int
    recharge: int = 0
    recharge_time: bytes = _NO_TIME
    total_at_recharge: int = 0
    balance_time: bytes = _NO_TIME
    message: bytes = b""
    load_limit_w: int = 5_000


@dataclass(frozen=True, slots=True)
class Sources:
    """Where the objects take their values from."""

    serial: Callable[[], str]
    clock: MeterClock
    relay: Relay
    block: Ring
    daily: Ring
    demands: Demands
    account: Account
    instant: Callable[[], dict[str, int]]
    counter: Callable[[int], int]
    programmed: Callable[[], int]


def build(src: Sources) -> list[CosemObject]:
    """All objects but the current association, which is another one for each client."""
    return [
        clock_object(src.clock),
        *_nameplate(src),
        *_registers(src),
        *_profiles(src),
        relay_object(src.relay),
        _limiter(src.account),
        *_payment(src.account),
        *(datum_object(name, _counter(src, client), public=True) for client, name in COUNTERS.items()),
    ]


def _counter(src: Sources, client: Client) -> Callable[[], Datum]:
    return lambda: u32(src.counter(client))


def _whole(value: Any) -> Datum:
    """A snapshot's value is already a datum."""
    return value  # type: ignore[no-any-return]


# ---- identity -------------------------------------------------------------------------------------------------------


def _nameplate(src: Sources) -> list[CosemObject]:
    def device_id() -> Datum:
        return text(f"SIM{src.serial()}")

    plate = [
        datum_object("0.0.96.1.0", lambda: octets(src.serial().encode()), public=True),
        datum_object("0.0.96.1.2", device_id, public=True),
        datum_object("0.0.96.1.1", text("DCU VIRTUAL METERS")),
        datum_object("1.0.0.2.0", text("SIM 1.0")),
        datum_object("0.0.94.91.9", u8(6)),
        datum_object("0.0.94.91.11", text("D1")),
        datum_object("0.0.94.91.12", text("(10-60) A")),
        datum_object("0.0.96.1.4", u16(2026)),
    ]
    columns = [Column(1, entry.name, 2, _whole) for entry in plate]

    def row() -> Row:
        return tuple(reader() for entry in plate if (reader := entry.attributes[2].read))

    return [
        *plate,
        datum_object("0.0.42.0.0", lambda: octets(f"SIM{src.serial():0>13}".encode()[-16:]), public=True),
        snapshot_object(logical_name("0.0.94.91.10"), columns, row),
    ]


# ---- registers ------------------------------------------------------------------------------------------------------


def _registers(src: Sources) -> list[CosemObject]:
    return [
        *(_register(src, name, register) for name, register in REGISTERS.items()),
        _demand("1.0.1.6.0", src.clock, lambda: src.demands.active),
        _demand("1.0.9.6.0", src.clock, lambda: src.demands.apparent),
        datum_object("0.0.94.91.0", u16(0)),
        datum_object("0.0.0.1.0", u32(0)),
        datum_object("0.0.96.2.0", lambda: u32(src.programmed())),
        datum_object("1.0.0.8.4", lambda: u32(src.block.period_s)),
    ]


def _register(src: Sources, name: str, register: Register) -> CosemObject:
    def value() -> Datum:
        if name in BLOCK_COLUMNS:  # of the last whole interval
            newest = src.block.rows[-1] if src.block.rows else (0,) * (1 + len(BLOCK_COLUMNS))
            return Datum(register.tag, newest[1 + BLOCK_COLUMNS.index(name)])
        return Datum(register.tag, src.instant()[name])

    attributes = {2: Attribute(value), 3: fixed(scaler_unit(register.scaler, register.unit))}
    return CosemObject(3, logical_name(name), attributes)


def _demand(name: str, clock: MeterClock, demand: Callable[[], Demand]) -> CosemObject:
    register = DEMANDS[name]
    return CosemObject(
        4,
        logical_name(name),
        {
            2: Attribute(lambda: Datum(register.tag, demand().value)),
            3: fixed(scaler_unit(register.scaler, register.unit)),
            4: fixed(u8(0)),
            5: Attribute(lambda: octets(_demand_time(clock, demand()))),
        },
    )


def _demand_time(clock: MeterClock, demand: Demand) -> bytes:
    return clock.octets(demand.at) if demand.at else _NO_TIME


# ---- profiles -------------------------------------------------------------------------------------------------------


def _profiles(src: Sources) -> list[CosemObject]:
    block = [clock_column(src.clock), *(_register_column(name) for name in BLOCK_COLUMNS)]
    daily = [clock_column(src.clock), *(_register_column(name) for name in DAILY_COLUMNS)]
    present, row = _instantaneous(src)
    return [
        snapshot_object(logical_name("1.0.94.91.0"), present, row),
        _scalers("1.0.94.91.3", present),
        ring_object(logical_name(BLOCK_LOAD), block, src.block, src.clock),
        _scalers("1.0.94.91.4", block),
        ring_object(logical_name(DAILY_LOAD), daily, src.daily, src.clock),
        _scalers("1.0.94.91.5", daily),
    ]


def _register_column(name: str) -> Column:
    tag = REGISTERS[name].tag
    return Column(3, logical_name(name), 2, lambda value: Datum(tag, value))


def _instantaneous(src: Sources) -> tuple[list[Column], Callable[[], Row]]:
    """Columns 1 to 22 of reference/is15959.md 2.3, and the row of this moment."""

    def column(class_id: int, name: str, attribute: int = 2) -> Column:
        return Column(class_id, logical_name(name), attribute, _whole)

    demands = [column(4, name, attribute) for name in DEMANDS for attribute in (2, 5)]
    columns = [
        column(8, "0.0.1.0.0"),
        *(column(3, name) for name in (*_INSTANT, "1.0.1.8.0", "1.0.9.8.0")),
        *demands,
        column(3, "0.0.94.91.14"),
        *(column(1, name) for name in ("0.0.94.91.0", "0.0.0.1.0", "0.0.96.2.0")),
        *(column(3, name) for name in ("1.0.2.8.0", "1.0.10.8.0")),
        Column(70, RELAY_NAME, 2, _whole),
        Column(71, _LIMITER_NAME, 3, _whole),
    ]

    def row() -> Row:
        values = {name: Datum(REGISTERS[name].tag, value) for name, value in src.instant().items()}
        demand = [
            part
            for peak in (src.demands.active, src.demands.apparent)
            for part in (u32(peak.value), octets(_demand_time(src.clock, peak)))
        ]
        return (
            octets(src.clock.octets(src.clock.now())),
            *(values[name] for name in (*_INSTANT, "1.0.1.8.0", "1.0.9.8.0")),
            *demand,
            values["0.0.94.91.14"],
            u16(0),
            u32(0),
            u32(src.programmed()),
            values["1.0.2.8.0"],
            values["1.0.10.8.0"],
            boolean(src.relay.output_state),
            u32(src.account.load_limit_w),
        )

    return columns, row


def _scalers(name: str, captured: list[Column]) -> CosemObject:
    """A scaler profile: attribute 3 of each scaled register, in the columns' order; no clock, no times, no data."""
    known = {logical_name(key): register for key, register in (REGISTERS | DEMANDS).items()}
    scaled = [column for column in captured if column.class_id in {3, 4} and column.attribute == 2]
    columns = [Column(column.class_id, column.name, 3, _whole) for column in scaled]
    values = tuple(scaler_unit(known[column.name].scaler, known[column.name].unit) for column in scaled)
    return snapshot_object(logical_name(name), columns, lambda: values)


# ---- what the utility sets ------------------------------------------------------------------------------------------


def _limiter(account: Account) -> CosemObject:
    def limit(value: Datum) -> None:
        account.load_limit_w = expect(value, Tag.DOUBLE_LONG_UNSIGNED).value

    monitored = structure(u16(3), octets(logical_name("1.0.1.7.0")), Datum(Tag.INTEGER, 2))
    threshold = Attribute(lambda: u32(account.load_limit_w))
    attributes = {
        2: fixed(monitored),
        3: threshold,
        4: Attribute(threshold.read, limit),
        6: fixed(u32(60)),
        7: fixed(u32(60)),
    }
    return CosemObject(71, _LIMITER_NAME, attributes)


def _payment(account: Account) -> list[CosemObject]:
    def amount(name: str, place: str) -> CosemObject:
        def write(value: Datum) -> None:
            setattr(account, place, expect(value, Tag.DOUBLE_LONG).value)

        return _settable(name, lambda: i32(getattr(account, place)), write)

    def moment(name: str, place: str) -> CosemObject:
        def write(value: Datum) -> None:
            if len(expect(value, Tag.OCTET_STRING).value) != 12:
                raise Refused(Result.TYPE_UNMATCHED)
            setattr(account, place, value.value)

        return _settable(name, lambda: octets(getattr(account, place)), write)

    def set_mode(value: Datum) -> None:
        if expect(value, Tag.UNSIGNED).value not in {0, 1}:
            raise Refused(Result.OTHER_REASON)
        account.payment_mode = value.value

    def set_message(value: Datum) -> None:
        if len(expect(value, Tag.OCTET_STRING).value) > _MESSAGE_LIMIT:
            raise Refused(Result.OTHER_REASON)
        account.message = value.value

    return [
        _settable("0.0.94.96.20", lambda: u8(account.payment_mode), set_mode),
        amount("0.0.94.96.21", "recharge"),
        moment("0.0.94.96.22", "recharge_time"),
        amount("0.0.94.96.23", "total_at_recharge"),
        amount("0.0.94.96.24", "balance"),
        moment("0.0.94.96.25", "balance_time"),
        _settable("0.0.96.13.0", lambda: octets(account.message), set_message),
    ]


def _settable(name: str, read: Callable[[], Datum], write: Callable[[Datum], None]) -> CosemObject:
    return CosemObject(1, logical_name(name), {2: Attribute(read, write)})
