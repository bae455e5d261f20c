"""What each operation does at its meter: what is read before, what is sent, and what is looked at afterwards. Pure.

`DEEDS` is the table; the executor only carries it out. A deed is a series of SETs or ACTIONs, each sent once under a
warrant of its own; what the meter shows afterwards is compared with what was asked, by value and not by octets, so that
a restart can compare the same. Source: reference/is15959.md 2.11, Blue Book 4.5.8 (class 70) and 4.5.9 (class 71).
"""

from collections.abc import Mapping, Sequence
from typing import Final

from dcu.command import Command, ControlState, Event, Operation
from dcu.meter import AttributeRef
from dcu.relay.case import Evidence, switched
from dcu.relay.deeds import limit, money, plain
from dcu.relay.deeds.sense import contradicted
from dcu.relay.deeds.shape import (
    CONTROL_MODE,
    CONTROL_STATE,
    OUTPUT_STATE,
    PAYMENT_MODE,
    Deed,
    Scene,
    Step,
    Values,
    control,
    number,
    output,
)
from dcu.relay.receipts import ReadBack

__all__ = [
    "DEEDS",
    "Scene",
    "Step",
    "doubt_of",
    "event_of",
    "evidence_of",
    "look_of",
    "refs_after",
    "refs_before",
    "steps_of",
]

DEEDS: Final[Mapping[Operation, Deed]] = {
    Operation.CONNECT: plain.CONNECT,
    Operation.DISCONNECT: plain.DISCONNECT,
    Operation.CLOCK_SET: plain.CLOCK_SET,
    Operation.BALANCE: money.BALANCE,
    Operation.MESSAGE: plain.MESSAGE,
    Operation.LIMIT: limit.LIMIT,
    Operation.MODE: plain.MODE,
}
"""What is done at a meter under a warrant, by operation. What is not here sends nothing that changes one."""


def refs_before(command: Command, scene: Scene) -> tuple[AttributeRef, ...]:
    """What is read of the meter before it is asked for leave."""
    return DEEDS[command.op].before(command, scene)


def refs_after(command: Command, scene: Scene) -> tuple[AttributeRef, ...]:
    """What is looked at afterwards."""
    return DEEDS[command.op].after(command, scene)


def evidence_of(command: Command, serial: str, values: Values, scene: Scene) -> Evidence:
    """What the meter said of itself before."""
    deed = DEEDS[command.op]
    return Evidence(
        serial,
        output(values.get(OUTPUT_STATE)),
        control(values.get(CONTROL_STATE)),
        number(values.get(CONTROL_MODE)),
        number(values.get(PAYMENT_MODE)),
        number(values.get(money.balance_register(scene.model))),
        there=deed.is_there(command, values, scene),
        unfit=deed.unfit(command, values, scene),
        threshold=limit.shown_threshold(values),
        power_scaler=limit.power_scaler(values),
    )


def steps_of(command: Command, evidence: Evidence, scene: Scene) -> tuple[Step, ...]:
    """What is sent, in its order."""
    return DEEDS[command.op].steps(command, evidence, scene)


def look_of(command: Command, values: Values, scene: Scene) -> ReadBack:
    """One look at the meter; what was refused is None."""
    return DEEDS[command.op].look(command, values, scene)


def doubt_of(command: Command, readback: Sequence[ReadBack]) -> str:
    """Why the relay's own word is not believed, in words; empty: it is."""
    doubted = any(contradicted(command.op, look) for look in readback[1:])
    return "current flows behind a relay that says it is open" if doubted else ""


def event_of(command: Command, readback: Sequence[ReadBack]) -> Event:
    """What two looks at the meter say; the second decides (late relays), and without it nobody knows."""
    last = readback[1] if len(readback) > 1 else ReadBack()
    if DEEDS[command.op].settles:
        said = {True: Event.READ_BACK_TARGET, False: Event.READ_BACK_OTHER, None: Event.READ_BACK_NOTHING}
        return said[last.holds]
    if last.output is None or contradicted(command.op, last):
        return Event.READ_BACK_NOTHING
    if switched(command.op, last.output, last.control):
        return Event.READ_BACK_TARGET
    if command.op is Operation.CONNECT and last.control is ControlState.READY_FOR_RECONNECTION:
        return Event.READ_BACK_ARMED
    return Event.READ_BACK_OTHER
