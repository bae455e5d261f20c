"""What a meter of each kind captures (reference/is15959.md 2): single-phase, three-phase, transformer-operated.

Columns are written as the reference writes them: `class:logical name/attribute`, attribute 2 where none is given;
`31,51,71` is each of those, `0-8` all from 0 to 8.
"""

from dataclasses import dataclass, replace
from itertools import product
from typing import Final, Literal, NamedTuple

from dcu.sim.axdr import Tag

KindName = Literal["1ph", "3ph-wc", "3ph-ct"]

ZONES: Final = 8
"""Time zones of the day that energies and demands are counted in, of three hours each."""


class Place(NamedTuple):
    """One attribute of one object, as a capture object names it; the name is without group F."""

    class_id: int
    name: str
    attribute: int = 2

    @property
    def key(self) -> str:
        """Under which a meter's values are kept."""
        return self.name if self.attribute == 2 else f"{self.name}/{self.attribute}"


def columns(text: str) -> tuple[Place, ...]:
    """Places in their order."""
    found = []
    for word in text.split():
        class_id, _, rest = word.partition(":")
        name, _, attributes = rest.partition("/")
        wanted = [int(number) for number in attributes.split(",")] if attributes else [2]
        for groups in product(*(_group(group) for group in name.split("."))):
            found += [Place(int(class_id), ".".join(groups), number) for number in wanted]
    return tuple(found)


def _group(text: str) -> list[str]:
    if "-" in text:
        first, last = text.split("-")
        return [str(number) for number in range(int(first), int(last) + 1)]
    return text.split(",")


@dataclass(frozen=True, slots=True)
class Register:
    """Type, scaler and unit of a class 3 or 4 register."""

    tag: Tag
    scaler: int
    unit: int


_LONG, _ULONG, _USHORT, _SHORT = Tag.DOUBLE_LONG, Tag.DOUBLE_LONG_UNSIGNED, Tag.LONG_UNSIGNED, Tag.LONG
_MIN, _DEG, _A, _V, _HZ, _DBM, _NONE = 6, 8, 33, 35, 44, 70, 255
_W, _VA, _VAR, _WH, _VAH, _VARH = 27, 28, 29, 30, 31, 32
_POWERS: Final = {"1": _W, "2": _W, "9": _VA, "10": _VA}
_ENERGIES: Final = {"1": _WH, "2": _WH, "9": _VAH, "10": _VAH, "5": _VARH, "6": _VARH, "7": _VARH, "8": _VARH}
_AMPERES: Final = ("11", "91", "31", "51", "71")
_VOLTS: Final = ("12", "32", "52", "72")
_FACTORS: Final = ("13", "33", "53", "73")
_SINGLE: Final = {
    "1.0.14.7.0": Register(_USHORT, -2, _HZ),
    "1.0.9.7.0": Register(_ULONG, 0, _VA),
    "1.0.1.7.0": Register(_LONG, -1, _W),
    "1.0.3.7.0": Register(_LONG, -1, _VAR),
    "1.0.94.91.14": Register(_ULONG, -3, _A),
    "0.0.94.91.14": Register(_ULONG, 0, _MIN),
    "0.0.94.91.13": Register(_ULONG, 0, _MIN),
    "0.0.94.91.8": Register(_ULONG, 0, _MIN),
    "0.1.96.12.5": Register(Tag.INTEGER, 0, _DBM),
}
_GROUPS: Final = {
    **{(c, "8"): Register(_ULONG, 0, unit) for c, unit in _ENERGIES.items()},
    **{(c, "29"): Register(_ULONG, -1, unit) for c, unit in _ENERGIES.items()},
    **{(c, "6"): Register(_ULONG, 0, unit) for c, unit in _POWERS.items()},
    **{(c, "7"): Register(_ULONG, -3, _A) for c in _AMPERES},
    **{(c, "27"): Register(_ULONG, -2, _A) for c in _AMPERES},
    **{(c, "7"): Register(_USHORT, -2, _V) for c in _VOLTS},
    **{(c, "27"): Register(_USHORT, -1, _V) for c in _VOLTS},
    **{(c, d): Register(_SHORT, -3, _NONE) for c in _FACTORS for d in ("7", "27", "0")},
    ("81", "7"): Register(_USHORT, -1, _DEG),
}
"""By groups C and D."""
BILLING_DATE: Final = "0.0.0.1.2"
"""Class 3 with a time for a value, and therefore without a scaler."""


def register_of(name: str) -> Register:
    """Type, scaler and unit of a register; they differ on purpose, so that one taken for granted shows.

    Raises:
        KeyError: no register of these meters.
    """
    _, _, quantity, kind, _ = name.split(".")
    return _SINGLE[name] if name in _SINGLE else _GROUPS[quantity, kind]


_POWER_OF_TEN: Final = {_W: 3, _VA: 3, _VAR: 3, _WH: 3, _VAH: 3, _VARH: 3}


def as_float(register: Register) -> Register:
    """The register as meters show it that send float32: power and energy in thousands, all else in units."""
    plain = 0 if register.unit != _NONE else register.scaler
    return replace(register, tag=Tag.FLOAT32, scaler=_POWER_OF_TEN.get(register.unit, plain))


DATA: Final = {
    "0.0.94.91.0": _USHORT,  # cumulative tamper count
    "0.0.0.1.0": _ULONG,  # cumulative billing count
    "0.0.0.1.1": Tag.UNSIGNED,  # available billing periods
    "0.0.96.2.0": _ULONG,  # programming count
    "0.0.96.7.0": _ULONG,  # power failures
    "0.0.96.15.128": _USHORT,  # tamper count of the billing period
    "0.0.96.10.1": Tag.UNSIGNED,  # meter's health
    **{f"0.0.96.11.{log}": _USHORT for log in range(7)},  # last event's code
    **{f"0.0.96.15.{log}": _ULONG for log in range(7)},  # events of a log since it was made
}
"""Class 1 objects that are captured, with the type of their value."""


@dataclass(frozen=True, slots=True)
class Kind:
    """What distinguishes the meters of one kind.

    Attributes:
        meter_type, category, rating: nameplate.
        phases: 1 or 3.
        relay: it has a load switch and a limiter.
        present, block, daily, billing: columns of the profiles.
        event: columns of the voltage, current and other logs after clock and code.
        numbered: events bear a sequence number.
        ratios: it tells its transformers' ratios.
    """

    name: KindName
    meter_type: int
    category: str
    rating: str
    phases: int
    relay: bool
    present: tuple[Place, ...]
    block: tuple[Place, ...]
    daily: tuple[Place, ...]
    billing: tuple[Place, ...]
    event: tuple[Place, ...]
    numbered: bool = False
    ratios: bool = False

    @property
    def places(self) -> frozenset[Place]:
        """All that any profile captures."""
        return frozenset((*self.present, *self.block, *self.daily, *self.billing, *self.event))


_SWITCH: Final = "70:0.0.96.3.10 71:0.0.17.0.0/3"
_COUNTS: Final = "1:0.0.94.91.0 1:0.0.0.1.0 1:0.0.96.2.0"
_THREE: Final = "8:0.0.1.0.0 3:1.0.31,51,71.7.0 3:1.0.32,52,72.7.0 3:1.0.33,53,73.7.0 3:1.0.13,14,9,1,3.7.0 "
_HISTORY: Final = f"1:0.0.96.7.0 3:0.0.94.91.8 {_COUNTS} 3:{BILLING_DATE} "
_THREE_EVENT: Final = "3:1.0.31,51,71.7.0 3:1.0.32,52,72.7.0 3:1.0.33,53,73.7.0 3:1.0.1,2.8.0 1:0.0.94.91.0"
_BILL: Final = f"3:{BILLING_DATE} 3:1.0.13.0.0 "

SINGLE_PHASE: Final = Kind(
    name="1ph",
    meter_type=6,
    category="D1",
    rating="(10-60) A",
    phases=1,
    relay=True,
    present=columns(
        "8:0.0.1.0.0 3:1.0.12,11,91,13,14,9,1.7.0 3:1.0.1,9.8.0 4:1.0.1,9.6.0/2,5 3:0.0.94.91.14 "
        f"{_COUNTS} 3:1.0.2,10.8.0 {_SWITCH}"
    ),
    block=columns("3:1.0.12.27.0 3:1.0.1,9,2,10.29.0"),
    daily=columns("3:1.0.1,9,2,10.8.0"),
    billing=columns(f"{_BILL} 3:1.0.1,9.8.0-8 4:1.0.1,9.6.0/2,5 3:0.0.94.91.13 3:1.0.2,10.8.0"),
    event=columns("3:1.0.94.91.14 3:1.0.12,13.7.0 3:1.0.1,2.8.0 1:0.0.94.91.0"),
)
WHOLE_CURRENT: Final = Kind(
    name="3ph-wc",
    meter_type=7,
    category="D2",
    rating="(10-60) A",
    phases=3,
    relay=True,
    present=columns(f"{_THREE} {_HISTORY} 3:1.0.1,2,9,10.8.0 4:1.0.1,9.6.0/2,5 {_SWITCH} 3:1.0.5-8.8.0"),
    block=columns("3:1.0.31,51,71.27.0 3:1.0.32,52,72.27.0 3:1.0.1,9,2,10.29.0"),
    daily=columns("3:1.0.1,9,2,10.8.0"),
    billing=columns(f"{_BILL} 3:1.0.1,9.8.0-8 4:1.0.1,9.6.0-8/2,5 3:0.0.94.91.13 3:1.0.2,10.8.0 3:1.0.5-8.8.0"),
    event=columns(_THREE_EVENT),
)
TRANSFORMER: Final = Kind(
    name="3ph-ct",
    meter_type=8,
    category="D3",
    rating="-/5 A",
    phases=3,
    relay=False,
    present=columns(
        f"{_THREE} {_HISTORY} 3:1.0.1,2.8.0 3:1.0.5-8.8.0 3:1.0.9,10.8.0 4:1.0.1,9,2,10.6.0/2,5 3:1.0.81.7.1,12,2"
    ),
    block=columns("3:1.0.31,51,71.27.0 3:1.0.32,52,72.27.0 3:1.0.1,2,5,6,7,8,9,10.29.0 1:0.0.96.10.1 4:0.1.96.12.5"),
    daily=columns("3:1.0.1,2,9,10.8.0 3:1.0.5-8.8.0 4:1.0.1,9.6.0/2,5"),
    billing=columns(
        f"{_BILL} 3:1.0.1,2.8.0-8 3:1.0.5-8.8.0 3:1.0.9,10.8.0-8 4:1.0.1,9,2,10.6.0-8/2,5 "
        "3:0.0.94.91.13 1:0.0.96.15.128"
    ),
    event=columns(_THREE_EVENT),
    numbered=True,
    ratios=True,
)
KINDS: Final = {kind.name: kind for kind in (SINGLE_PHASE, WHOLE_CURRENT, TRANSFORMER)}

AMENDMENT: Final[dict[KindName, tuple[Place, ...]]] = {
    "1ph": columns("3:1.0.11.27.0 3:1.0.91.27.0"),  # mean phase and neutral current
    "3ph-wc": columns("3:1.0.5-8.29.0"),  # reactive energy by quadrant
    "3ph-ct": columns("3:1.0.13.27.0"),  # mean power factor
}
"""Columns that a later firmware captures in the block load besides."""

Order = Literal["standard", "vendor", "amended"]


def arranged(kind: Kind, order: Order) -> Kind:
    """The kind with its profiles' columns in a vendor's order, or with those of a later amendment."""
    if order == "amended":
        return replace(kind, block=kind.block + AMENDMENT[kind.name])
    if order == "vendor":
        return replace(
            kind,
            present=kind.present[:1] + kind.present[:0:-1],
            block=kind.block[::-1],
            daily=kind.daily[::-1],
            billing=kind.billing[:1] + kind.billing[:0:-1],
            event=kind.event[::-1],
        )
    return kind
