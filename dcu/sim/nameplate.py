"""Who the meter says it is: nameplate 0.0.94.91.10 and its objects, logical device name, HDLC setup."""

from collections.abc import Callable
from typing import Final

from dcu.sim.axdr import Datum, enum, octets, text, u8, u16
from dcu.sim.kinds import Kind
from dcu.sim.meter_config import MeterConfig
from dcu.sim.objects import Attribute, CosemObject, datum_object, fixed, logical_name
from dcu.sim.profile import Row, snapshot_column, snapshot_object

_SPEED_9600: Final = 5
_INTER_OCTET_MS: Final = 30


def nameplate(kind: Kind, serial: Callable[[], str], firmware: Callable[[], str]) -> list[CosemObject]:
    """The objects of the plate, the profile that holds them, and the logical device name."""

    def device_id() -> Datum:
        return text(f"SIM{serial()}")

    plate = [
        datum_object("0.0.96.1.0", lambda: octets(serial().encode()), public=True),
        datum_object("0.0.96.1.2", device_id, public=True),
        datum_object("0.0.96.1.1", text("DCU VIRTUAL METERS")),
        datum_object("1.0.0.2.0", lambda: text(firmware())),
        datum_object("0.0.94.91.9", u8(kind.meter_type)),
        datum_object("0.0.94.91.11", text(kind.category)),
        datum_object("0.0.94.91.12", text(kind.rating)),
        *([datum_object("1.0.0.4.2", u16(100)), datum_object("1.0.0.4.3", u16(1))] if kind.ratios else []),
        datum_object("0.0.96.1.4", u16(2026)),
    ]
    columns = [snapshot_column(1, entry.name, 2) for entry in plate]

    def row() -> Row:
        return tuple(reader() for entry in plate if (reader := entry.attributes[2].read))

    return [
        *plate,
        datum_object("0.0.42.0.0", lambda: octets(f"SIM{serial():0>13}".encode()[-16:]), public=True),
        snapshot_object(logical_name("0.0.94.91.10"), columns, row),
    ]


def hdlc_setup(config: MeterConfig) -> CosemObject:
    """Class 23: what the data link is like."""
    number = {
        3: u8(config.window),
        4: u8(config.window),
        5: u16(config.max_info),
        6: u16(config.max_info),
        7: u16(_INTER_OCTET_MS),
        8: u16(min(int(config.inactivity_s), 0xFFFF)),
        9: u16(config.address),
    }
    attributes: dict[int, Attribute] = {2: fixed(enum(_SPEED_9600))}
    attributes |= {at: fixed(value) for at, value in number.items()}
    return CosemObject(23, logical_name("0.0.22.0.0"), attributes, version=1)
