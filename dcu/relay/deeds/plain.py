"""The relay, the display, the modes and the clock of a meter. Pure."""

from datetime import timedelta
from typing import Final

from dcu import obis
from dcu.clock_set import CLOCK_TIME, clock_value
from dcu.command import Command, Operation
from dcu.errors import ReplyMalformed
from dcu.meter import AttributeRef, ClassId, MethodRef
from dcu.reading import meter_time
from dcu.relay.case import Evidence
from dcu.relay.deeds.sense import SENSE, sensed
from dcu.relay.deeds.shape import (
    CONTROL_MODE,
    CONTROL_STATE,
    OUTPUT_STATE,
    PAYMENT_MODE,
    RELAY,
    Deed,
    Scene,
    Step,
    Values,
    always,
    control,
    given,
    number,
    octet_string,
    output,
)
from dcu.relay.receipts import ReadBack

DISPLAY: Final = AttributeRef(ClassId.DATA, obis.CONSUMER_MESSAGE, 2)
REMOTE_DISCONNECT: Final = MethodRef(ClassId.DISCONNECT_CONTROL, obis.DISCONNECT_CONTROL, 1)
REMOTE_RECONNECT: Final = MethodRef(ClassId.DISCONNECT_CONTROL, obis.DISCONNECT_CONTROL, 2)

CLOCK_SLACK_S: Final = 5
"""A clock that was set shows the box's time but for the octets' way to the meter."""

_CLOCK_THERE_S: Final = 1
"""A clock that is this near is left as it is."""

_HALF_S: Final = timedelta(milliseconds=500)
_INT8_ZERO: Final = b"\x0f\x00"  # A-XDR integer 0: the parameter of both methods (Blue Book 4.5.8)
_UNSIGNED: Final = 17
_ENUM: Final = 22


def _relay_steps(command: Command, _evidence: Evidence, _scene: Scene) -> tuple[Step, ...]:
    method = REMOTE_DISCONNECT if command.op is Operation.DISCONNECT else REMOTE_RECONNECT
    return (Step(method, _INT8_ZERO),)


def _relay_look(_command: Command, values: Values, _scene: Scene) -> ReadBack:
    return ReadBack(output(values.get(OUTPUT_STATE)), control(values.get(CONTROL_STATE)), said=sensed(values))


# ---- the display ----------------------------------------------------------------------------------------------------


def _message_steps(command: Command, _evidence: Evidence, _scene: Scene) -> tuple[Step, ...]:
    return (Step(DISPLAY, octet_string(given(command.text).encode("ascii"))),)


def _message_look(command: Command, values: Values, _scene: Scene) -> ReadBack:
    value = values.get(DISPLAY)
    octets = value.encode("latin-1", "replace") if isinstance(value, str) else value
    shown = octets == given(command.text).encode("ascii") if isinstance(octets, bytes) else None
    return ReadBack(text=shown, holds=shown)


# ---- modes ----------------------------------------------------------------------------------------------------------


def _mode(command: Command) -> tuple[AttributeRef, int, int]:
    """(attribute, A-XDR tag, value)."""
    if command.payment_mode is not None:
        return PAYMENT_MODE, _UNSIGNED, command.payment_mode
    return CONTROL_MODE, _ENUM, given(command.control_mode)


def _mode_steps(command: Command, _evidence: Evidence, _scene: Scene) -> tuple[Step, ...]:
    ref, tag, value = _mode(command)
    return (Step(ref, bytes([tag, value])),)


def _mode_look(command: Command, values: Values, _scene: Scene) -> ReadBack:
    ref, _, value = _mode(command)
    found = number(values.get(ref))
    if found is None:
        return ReadBack()
    return ReadBack(holds=found == value, said={"payment_mode" if ref == PAYMENT_MODE else "control_mode": found})


# ---- the clock ------------------------------------------------------------------------------------------------------


def _clock_unfit(command: Command, values: Values, scene: Scene) -> str:
    apart_s = ahead_s(values, scene)
    if apart_s is None:
        return "its clock cannot be read"
    if abs(apart_s) > given(command.most_s):
        return f"its clock is {apart_s} s ahead; more than {command.most_s} s is left alone"
    return ""


def _clock_steps(_command: Command, _evidence: Evidence, scene: Scene) -> tuple[Step, ...]:
    return (Step(CLOCK_TIME, clock_value(scene.now + _HALF_S, scene.zone)),)


def _clock_look(_command: Command, values: Values, scene: Scene) -> ReadBack:
    apart_s = ahead_s(values, scene)
    if apart_s is None:
        return ReadBack()
    return ReadBack(holds=abs(apart_s) <= CLOCK_SLACK_S, said={"ahead_s": apart_s})


def _clock_there(_command: Command, values: Values, scene: Scene) -> bool:
    apart_s = ahead_s(values, scene)
    return apart_s is not None and abs(apart_s) <= _CLOCK_THERE_S


def ahead_s(values: Values, scene: Scene) -> int | None:
    """The meter's clock minus the box's, or None."""
    face = values.get(CLOCK_TIME)
    if not isinstance(face, bytes):
        return None
    try:
        return round((meter_time(face, scene.zone).at - scene.now).total_seconds())
    except ReplyMalformed:
        return None


CONNECT: Final = Deed(always(*RELAY[:3]), always(*RELAY[:2], *SENSE), _relay_steps, _relay_look, settles=False)
DISCONNECT: Final = Deed(always(*RELAY), always(*RELAY[:2], *SENSE), _relay_steps, _relay_look, settles=False)
MESSAGE: Final = Deed(always(), always(DISPLAY), _message_steps, _message_look)
MODE: Final = Deed(always(*RELAY), always(PAYMENT_MODE, CONTROL_MODE), _mode_steps, _mode_look)
CLOCK_SET: Final = Deed(
    always(CLOCK_TIME), always(CLOCK_TIME), _clock_steps, _clock_look, there=_clock_there, unfit=_clock_unfit
)
