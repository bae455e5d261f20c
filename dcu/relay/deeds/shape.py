"""What a deed is made of: what is read, what is sent, how a look is judged; and the values of meters. Pure."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Final, TypeVar

from dcu import obis
from dcu.command import Command, ControlState, OutputState
from dcu.meter import AttributeRef, ClassId, MeterModel, MethodRef
from dcu.reading import Data
from dcu.relay.case import Evidence
from dcu.relay.receipts import ReadBack

OUTPUT_STATE: Final = AttributeRef(ClassId.DISCONNECT_CONTROL, obis.DISCONNECT_CONTROL, 2)
CONTROL_STATE: Final = AttributeRef(ClassId.DISCONNECT_CONTROL, obis.DISCONNECT_CONTROL, 3)
CONTROL_MODE: Final = AttributeRef(ClassId.DISCONNECT_CONTROL, obis.DISCONNECT_CONTROL, 4)
PAYMENT_MODE: Final = AttributeRef(ClassId.DATA, obis.PAYMENT_MODE, 2)

RELAY: Final = (OUTPUT_STATE, CONTROL_STATE, CONTROL_MODE, PAYMENT_MODE)
"""What every disconnect is judged by, whatever it is called."""

_OCTET_STRING: Final = 0x09

T = TypeVar("T")

Values = Mapping[AttributeRef, Data | Exception]
"""What the meter answered; its refusal in the place of what it refused."""


@dataclass(frozen=True, slots=True)
class Step:
    """One SET or ACTION: to what, and its A-XDR encoded value or parameter."""

    target: AttributeRef | MethodRef
    data: bytes


@dataclass(frozen=True, slots=True)
class Scene:
    """Where and when a deed is done: the meter's model, the zone of its clock, the box's time (aware)."""

    model: MeterModel
    zone: tzinfo
    now: datetime


Refs = Callable[[Command, Scene], tuple[AttributeRef, ...]]


@dataclass(frozen=True, slots=True)
class Deed:
    """One operation at a meter.

    Attributes:
        before, after: what is read before the leave, and as a read-back.
        steps: what is sent.
        look: what a read-back says.
        settles: it writes values, so that a look says whether they are held; else it moves the relay.
        there: whether nothing needs to be sent; None: where a look says that all is held.
        unfit: in words why this meter cannot do it; empty: it can.
    """

    before: Refs
    after: Refs
    steps: Callable[[Command, Evidence, Scene], tuple[Step, ...]]
    look: Callable[[Command, Values, Scene], ReadBack]
    settles: bool = True
    there: Callable[[Command, Values, Scene], bool] | None = None
    unfit: Callable[[Command, Values, Scene], str] = lambda _command, _values, _scene: ""

    def is_there(self, command: Command, values: Values, scene: Scene) -> bool:
        """Whether the meter holds already what is asked. Of the relay `Evidence.reached` judges."""
        if self.there is not None:
            return self.there(command, values, scene)
        return self.look(command, values, scene).holds is True


def always(*refs: AttributeRef) -> Refs:
    """The same of every command."""
    return lambda _command, _scene: refs


def given(value: T | None) -> T:
    """What cannot be missing: the schema demands it, or the meter was found unfit without it. It has no default.

    Raises:
        ValueError: it is missing: a fault of our own.
    """
    if value is None:
        raise ValueError("what a deed cannot do without is missing")
    return value


def octet_string(octets: bytes) -> bytes:
    """A-XDR, up to 127 octets."""
    return bytes([_OCTET_STRING, len(octets)]) + octets


def all_hold(found: Iterable[bool | None]) -> bool | None:
    """True: all hold; False: one does not; None: one could not be read."""
    looks = list(found)
    return None if None in looks else all(looks)


def output(value: Data | Exception) -> OutputState | None:
    """Physical state of the relay, or None."""
    if isinstance(value, int) and value in {0, 1}:
        return OutputState.CONNECTED if value else OutputState.DISCONNECTED
    return None


def control(value: Data | Exception) -> ControlState | None:
    """Logical state of the relay, or None."""
    found = number(value)
    return ControlState(found) if found in {0, 1, 2} else None


def number(value: Data | Exception) -> int | None:
    """A whole number, or None."""
    return value if isinstance(value, int) and not isinstance(value, bool) else None
