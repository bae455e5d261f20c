"""Objects of classes 1, 3 and 4 over the meter's values, and the columns that capture them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from dcu.sim.axdr import Datum, Tag, encode, packer, u8
from dcu.sim.buffer import Column
from dcu.sim.faults import BadTime, Faults
from dcu.sim.kinds import BILLING_DATE, DATA, Place, Register, as_float, register_of
from dcu.sim.meter_clock import NO_TIME, MeterClock
from dcu.sim.objects import Attribute, CosemObject, datum_object, fixed, logical_name, scaler_unit

Values = Callable[[], Mapping[str, int]]
"""Raw integers (or seconds since 1970, of times) of this moment, by `Place.key`."""


def _spoiled(face: bytes, how: BadTime) -> bytes:
    changes: dict[BadTime, dict[int, int]] = {
        "hour-24": {5: 24},
        "february-30": {2: 2, 3: 30},
        "wildcards": {5: 0xFF, 6: 0xFF, 7: 0xFF},
        "unspecified": dict(enumerate(NO_TIME)),
    }
    octets = bytearray(face)
    for at, value in changes[how].items():
        octets[at] = value
    return bytes(octets)


@dataclass(frozen=True, slots=True)
class Shown:
    """How a meter shows values.

    Attributes:
        clock: shows times.
        float32: registers are float32, power and energy in thousands; else integers.
    """

    clock: MeterClock
    float32: bool = False

    def register(self, name: str) -> Register:
        """Type, scaler and unit on the wire."""
        register = register_of(name)
        return as_float(register) if self.float32 else register

    def writer(self, place: Place) -> Callable[[Any], bytes]:
        """What encodes a captured value."""
        if place.class_id == 8 or place.attribute == 5 or place.name == BILLING_DATE:
            return lambda at: encode(self.clock.datum(at))
        if place.name in DATA:
            return packer(DATA[place.name])
        register, raw = self.register(place.name), register_of(place.name)
        pack = packer(register.tag)
        if register.tag is not Tag.FLOAT32:
            return pack
        over = 10.0 ** (register.scaler - raw.scaler)
        return lambda value: pack(value / over)

    def column(self, place: Place) -> Column:
        """What captures a place."""
        return Column(place.class_id, logical_name(place.name), place.attribute, self.writer(place))

    def time_column(self, place: Place, faults: Faults) -> Column:
        """The column of the row's time, which a fault may spoil."""

        def write(at: int) -> bytes:
            how = faults.bad_times.get(at)
            if how is None:
                return encode(self.clock.datum(at))
            return encode(self.clock.told(_spoiled(self.clock.octets(at), how)))

        return Column(place.class_id, logical_name(place.name), place.attribute, write)


CLOCK: Final = Place(8, "0.0.1.0.0")


def register_objects(places: frozenset[Place], values: Values, shown: Shown) -> list[CosemObject]:
    """An object for each register and each datum among the places."""
    found: dict[str, CosemObject] = {}
    for place in sorted(places):
        if place.name in found:
            continue
        if place.name == BILLING_DATE:
            found[place.name] = _billing_date(values, shown)
        elif place.class_id in {3, 4}:
            found[place.name] = _register(place, values, shown)
        elif place.name in DATA:
            found[place.name] = counted(place.name, values)
    return list(found.values())


def counted(name: str, values: Values) -> CosemObject:
    """A class 1 object of `kinds.DATA`."""
    return datum_object(name, lambda: Datum(DATA[name], values()[name]))


def _billing_date(values: Values, shown: Shown) -> CosemObject:
    attributes = {2: Attribute(lambda: shown.clock.datum(values()[BILLING_DATE])), 3: fixed(scaler_unit(0, 255))}
    return CosemObject(3, logical_name(BILLING_DATE), attributes)


def _register(place: Place, values: Values, shown: Shown) -> CosemObject:
    name, register = place.name, shown.register(place.name)
    over = 10.0 ** (register.scaler - register_of(name).scaler)

    def value() -> Datum:
        raw = values()[name]
        return Datum(register.tag, raw / over if register.tag is Tag.FLOAT32 else raw)

    attributes = {2: Attribute(value), 3: fixed(scaler_unit(register.scaler, register.unit))}
    if place.class_id == 4:
        attributes[4] = fixed(u8(0))
        attributes[5] = Attribute(lambda: shown.clock.datum(values().get(f"{name}/5", 0)))
    return CosemObject(place.class_id, logical_name(name), attributes)
