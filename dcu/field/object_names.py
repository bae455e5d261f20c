"""What a logical name is in words, for people at a meter: those of the IS 15959 profiles (reference/is15959.md 2)."""

from typing import Final

from dcu.obis import LogicalName

_QUANTITIES: Final = {
    1: "active import",
    2: "active export",
    3: "reactive import",
    4: "reactive export",
    5: "reactive Q1",
    6: "reactive Q2",
    7: "reactive Q3",
    8: "reactive Q4",
    9: "apparent import",
    10: "apparent export",
    11: "current",
    12: "voltage",
    13: "power factor",
    14: "frequency",
    31: "R current",
    32: "R voltage",
    33: "R power factor",
    51: "Y current",
    52: "Y voltage",
    53: "Y power factor",
    71: "B current",
    72: "B voltage",
    73: "B power factor",
    91: "neutral current",
}
_POWERS: Final = range(1, 11)
_ENERGY: Final = frozenset({8, 29})
"""Group D of a sum and of a sum over the capture period; C of 1 to 10 is energy there, and power elsewhere."""

_OF: Final = {0: "average of the period", 6: "maximum demand", 27: "average", 29: "of the interval"}

_OTHERS: Final = {
    "0.0.1.0.0": "clock",
    "0.0.0.1.0": "billing count",
    "0.0.0.1.2": "billing date",
    "0.0.17.0.0": "load limit",
    "0.0.42.0.0": "logical device name",
    "0.0.94.91.0": "tamper count",
    "0.0.94.91.8": "power failure duration",
    "0.0.94.91.9": "meter type",
    "0.0.94.91.11": "category",
    "0.0.94.91.12": "current rating",
    "0.0.94.91.13": "power-on duration of the period",
    "0.0.94.91.14": "power-on duration",
    "0.0.94.96.19": "metering mode",
    "0.0.94.96.20": "payment mode",
    "0.0.94.96.21": "last recharge",
    "0.0.94.96.22": "last recharge at",
    "0.0.94.96.23": "total at last recharge",
    "0.0.94.96.24": "balance",
    "0.0.94.96.25": "balance at",
    "0.0.96.1.0": "serial",
    "0.0.96.1.1": "manufacturer",
    "0.0.96.1.2": "device id",
    "0.0.96.1.4": "year",
    "0.0.96.2.0": "programming count",
    "0.0.96.3.10": "relay",
    "0.0.96.7.0": "power failures",
    "1.0.0.2.0": "firmware",
    "1.0.0.4.2": "CT ratio",
    "1.0.0.4.3": "PT ratio",
    "1.0.94.91.14": "current",
    **{f"0.0.96.11.{n}": "event" for n in range(7)},
    **{f"0.0.96.15.{n}": "event number" for n in range(7)},
}
_KNOWN: Final = {LogicalName.of(name): words for name, words in _OTHERS.items()}


def in_words(name: LogicalName) -> str:
    """What it is, as `active import energy, zone 2`; empty where nothing here knows it."""
    if name in _KNOWN:
        return _KNOWN[name]
    medium, channel, quantity, what, zone, last = name.octets
    if (medium, channel, last) != (1, 0, 255) or quantity not in _QUANTITIES or what not in {7, 8, *_OF}:
        return ""
    words = _QUANTITIES[quantity]
    if quantity in _POWERS:
        words += " energy" if what in _ENERGY else " power"
    words += f" {_OF[what]}" if what in _OF else ""
    return f"{words}, zone {zone}" if zone else words
