"""What the utility sets on a meter: payment and metering mode, balance, message, load limit."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from dcu.sim import events
from dcu.sim.axdr import Datum, Tag, i32, octets, structure, u8, u16, u32
from dcu.sim.kinds import Register
from dcu.sim.meter_clock import NO_TIME
from dcu.sim.objects import Attribute, CosemObject, expect, fixed, logical_name
from dcu.sim.xdlms import Refused, Result

LIMITER_NAME: Final = logical_name("0.0.17.0.0")
_MESSAGE_LIMIT: Final = 256

Happen = Callable[[int], None]
"""Told of an event's code."""


@dataclass(slots=True)
class Account:
    """What a SET changes. Amounts in paise, times as 12 octets, limits in W and seconds."""

    payment_mode: int
    balance: int
    recharge: int = 0
    recharge_time: bytes = NO_TIME
    total_at_recharge: int = 0
    balance_time: bytes = NO_TIME
    message: bytes = b""
    load_limit_w: int = 5_000
    over_limit_s: int = 60
    under_limit_s: int = 60
    metering_mode: int = 1


def settable(name: str, read: Callable[[], Datum], write: Callable[[Datum], None]) -> CosemObject:
    """A class 1 object that the utility setting client may write."""
    return CosemObject(1, logical_name(name), {2: Attribute(read, write)})


def limiter(account: Account, happen: Happen, watched: Register) -> CosemObject:
    """Class 71: watches the active power; its thresholds are in the unit and scaler of that register (4.5.9)."""
    float32 = watched.tag is Tag.FLOAT32

    def number(place: str) -> Attribute:
        def write(value: Datum) -> None:
            setattr(account, place, expect(value, Tag.DOUBLE_LONG_UNSIGNED).value)

        return Attribute(lambda: u32(getattr(account, place)), write)

    def threshold() -> Datum:
        raw = account.load_limit_w / 10.0**watched.scaler
        return Datum(Tag.FLOAT32, raw) if float32 else u32(round(raw))

    def set_threshold(value: Datum) -> None:
        raw = expect(value, Tag.FLOAT32 if float32 else Tag.DOUBLE_LONG_UNSIGNED).value
        account.load_limit_w = round(raw * 10.0**watched.scaler)
        happen(events.LOAD_LIMIT_SET)

    monitored = structure(u16(3), octets(logical_name("1.0.1.7.0")), Datum(Tag.INTEGER, 2))
    attributes = {
        2: fixed(monitored),
        3: Attribute(threshold),
        4: Attribute(threshold, set_threshold),
        6: number("over_limit_s"),
        7: number("under_limit_s"),
    }
    return CosemObject(71, LIMITER_NAME, attributes)


def payment(account: Account, happen: Happen) -> list[CosemObject]:
    """Modes, balance registers and the message, class 1."""
    modes = (events.FORWARD_ONLY, events.IMPORT_AND_EXPORT), (events.POST_PAID, events.PREPAID)
    return [
        _mode("0.0.94.96.19", account, "metering_mode", modes[0], happen),
        _mode("0.0.94.96.20", account, "payment_mode", modes[1], happen),
        _amount("0.0.94.96.21", account, "recharge"),
        _moment("0.0.94.96.22", account, "recharge_time"),
        _amount("0.0.94.96.23", account, "total_at_recharge"),
        _amount("0.0.94.96.24", account, "balance"),
        _moment("0.0.94.96.25", account, "balance_time"),
        _message(account),
    ]


def _mode(name: str, account: Account, place: str, codes: tuple[int, int], happen: Happen) -> CosemObject:
    def write(value: Datum) -> None:
        if expect(value, Tag.UNSIGNED).value not in {0, 1}:
            raise Refused(Result.OTHER_REASON)
        changed = getattr(account, place) != value.value
        setattr(account, place, value.value)
        if changed:
            happen(codes[value.value])

    return settable(name, lambda: u8(getattr(account, place)), write)


def _amount(name: str, account: Account, place: str) -> CosemObject:
    def write(value: Datum) -> None:
        setattr(account, place, expect(value, Tag.DOUBLE_LONG).value)

    return settable(name, lambda: i32(getattr(account, place)), write)


def _moment(name: str, account: Account, place: str) -> CosemObject:
    def write(value: Datum) -> None:
        if len(expect(value, Tag.OCTET_STRING).value) != 12:
            raise Refused(Result.TYPE_UNMATCHED)
        setattr(account, place, value.value)

    return settable(name, lambda: octets(getattr(account, place)), write)


def _message(account: Account) -> CosemObject:
    def write(value: Datum) -> None:
        if len(expect(value, Tag.OCTET_STRING).value) > _MESSAGE_LIMIT:
            raise Refused(Result.OTHER_REASON)
        account.message = value.value

    return settable("0.0.96.13.0", lambda: octets(account.message), write)
