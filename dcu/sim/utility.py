"""Objects by which a utility arranges a meter: periods, billing schedule, demand reset, event status and filter."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from dcu.sim import events
from dcu.sim.axdr import Datum, Tag, array, enum, i8, octets, structure, u16, u32
from dcu.sim.billing import Billing
from dcu.sim.events import Events
from dcu.sim.meter_clock import MeterClock
from dcu.sim.objects import Attribute, CosemObject, datum_object, expect, fixed, logical_name
from dcu.sim.payment import Happen, settable
from dcu.sim.profile import Ring
from dcu.sim.xdlms import Refused, Result

DEMAND_PERIOD, BLOCK_PERIOD, DAILY_PERIOD = "1.0.0.8.0", "1.0.0.8.4", "1.0.0.8.5"
RESET_SCRIPTS: Final = logical_name("0.0.10.0.1")
_BILLING: Final = logical_name("1.0.98.1.0")
_DAY_S: Final = 86_400
_LONGEST_DEMAND_S: Final = 3_600
_PERIOD_TAGS: Final = (Tag.DOUBLE_LONG_UNSIGNED, Tag.LONG_UNSIGNED)


@dataclass(frozen=True, slots=True)
class Arranged:
    """What these objects arrange.

    Attributes:
        set_period: takes a ring's new capture period, or refuses it.
        reset_demand: closes the bill now.
        happen: told of events.
    """

    clock: MeterClock
    billing: Billing
    events: Events
    block: Ring
    daily: Ring
    set_period: Callable[[Ring, int], None]
    reset_demand: Callable[[], None]
    happen: Happen


def divides_a_day(value: int, most: int = _DAY_S) -> bool:
    """Whether a period is one that a meter can have, in seconds."""
    return 1 <= value <= most and _DAY_S % value == 0


def utility_objects(this: Arranged) -> list[CosemObject]:
    """All of them."""
    return [
        _demand_period(this),
        _capture_period(BLOCK_PERIOD, this.block, this),
        _capture_period(DAILY_PERIOD, this.daily, this),
        _reset_scripts(this),
        _billing_schedule(this),
        datum_object("0.0.94.91.18", lambda: Datum(Tag.BIT_STRING, events.bit_string(this.events.status))),
        _filter(this),
    ]


def _demand_period(this: Arranged) -> CosemObject:
    def write(value: Datum) -> None:
        period_s = expect(value, *_PERIOD_TAGS).value
        if not divides_a_day(period_s, _LONGEST_DEMAND_S):
            raise Refused(Result.OTHER_REASON)
        this.billing.demand_period_s = period_s
        this.happen(events.DEMAND_PERIOD_SET)

    return settable(DEMAND_PERIOD, lambda: u16(this.billing.demand_period_s), write)


def _capture_period(name: str, ring: Ring, this: Arranged) -> CosemObject:
    def read() -> Datum:
        return u32(ring.next_period[0] if ring.next_period else ring.period_s)

    return settable(name, read, lambda value: this.set_period(ring, expect(value, *_PERIOD_TAGS).value))


def _reset_scripts(this: Arranged) -> CosemObject:
    """Class 9; script 1 captures a bill and begins the next one."""

    def execute(parameter: Datum) -> None:
        if expect(parameter, Tag.LONG_UNSIGNED).value != 1:
            raise Refused(Result.OTHER_REASON)
        this.reset_demand()

    action = structure(enum(2), u16(7), octets(_BILLING), i8(2), i8(0))
    scripts = array([structure(u16(1), array([action]))])
    return CosemObject(9, RESET_SCRIPTS, {2: fixed(scripts)}, {1: execute})


def _billing_schedule(this: Arranged) -> CosemObject:
    """Class 22: date FFFF FF dd FF, time hh mm 00 FF or 00."""

    def read() -> Datum:
        when = this.billing.schedule
        time = octets(bytes([when.hour, when.minute, 0, 0]))
        return array([structure(time, octets(bytes([0xFF, 0xFF, 0xFF, when.day, 0xFF])))])

    def write(value: Datum) -> None:
        this.billing.reschedule(this.clock.now(), **_month_day(value))
        this.happen(events.SCHEDULE_SET)

    attributes = {
        2: fixed(structure(octets(RESET_SCRIPTS), u16(1))),
        3: fixed(enum(1)),
        4: Attribute(read, write),
    }
    return CosemObject(22, logical_name("0.0.15.0.0"), attributes)


def _month_day(value: Datum) -> dict[str, int]:
    """Day and time of the month of a schedule's one entry."""
    entries = expect(value, Tag.ARRAY).value
    if len(entries) != 1 or entries[0].tag is not Tag.STRUCTURE or len(entries[0].value) != 2:
        raise Refused(Result.TYPE_UNMATCHED)
    time, date = (expect(part, Tag.OCTET_STRING).value for part in entries[0].value)
    monthly = len(time) == 4 and len(date) == 5 and date[:3] == b"\xff\xff\xff" and 1 <= date[3] <= 28
    if not monthly or time[0] > 23 or time[1] > 59:
        raise Refused(Result.OTHER_REASON)
    return {"day": date[3], "hour": time[0], "minute": time[1]}


def _filter(this: Arranged) -> CosemObject:
    """Event status word filter, 128 bits."""

    def write(value: Datum) -> None:
        bits = expect(value, Tag.BIT_STRING).value
        if len(bits) != 128:
            raise Refused(Result.OTHER_REASON)
        this.events.filter = frozenset(at for at, bit in enumerate(bits) if bit == "1")
        this.happen(events.FILTER_SET)

    return settable("0.0.94.91.26", lambda: Datum(Tag.BIT_STRING, events.bit_string(this.events.filter)), write)
