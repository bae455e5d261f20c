"""Errands of the relay room, run in the thread of the meter's bus.

`Switching` associates with the rights to switch, reads what the meter says of itself, asks the relay thread for leave
with that evidence, sends once, and reads back twice. `Inspection` only reads: it is for commands that a crash left in
DISPATCHED. Neither decides anything: they bring evidence and carry out.
"""

import logging
from collections.abc import Callable
from typing import Final

from dcu import obis
from dcu.command import Command, ControlState, Event, Operation, OutputState, Refusal
from dcu.errors import DcuError, MeterSilent, WrongMeter
from dcu.mailbox import Mailbox
from dcu.meter import AttributeRef, ClassId, Meter, MethodRef, Purpose
from dcu.ports import Association, Line
from dcu.reading import Data
from dcu.relay.case import Evidence
from dcu.relay.letters import Answer, Fell, Key, Letter, Outcome, Ready, Reply, Unseen
from dcu.relay.receipts import ReadBack
from dcu.relay.warrant import OneAct

log = logging.getLogger(__name__)

OUTPUT_STATE: Final = AttributeRef(ClassId.DISCONNECT_CONTROL, obis.DISCONNECT_CONTROL, 2)
CONTROL_STATE: Final = AttributeRef(ClassId.DISCONNECT_CONTROL, obis.DISCONNECT_CONTROL, 3)
CONTROL_MODE: Final = AttributeRef(ClassId.DISCONNECT_CONTROL, obis.DISCONNECT_CONTROL, 4)
PAYMENT_MODE: Final = AttributeRef(ClassId.DATA, obis.PAYMENT_MODE, 2)
DISPLAY: Final = AttributeRef(ClassId.DATA, obis.CONSUMER_MESSAGE, 2)
REMOTE_DISCONNECT: Final = MethodRef(ClassId.DISCONNECT_CONTROL, obis.DISCONNECT_CONTROL, 1)
REMOTE_RECONNECT: Final = MethodRef(ClassId.DISCONNECT_CONTROL, obis.DISCONNECT_CONTROL, 2)

_INT8_ZERO: Final = b"\x0f\x00"  # A-XDR integer 0: the parameter of both methods (Blue Book 4.5.8)
_OCTET_STRING: Final = 0x09


def act_of(command: Command) -> tuple[AttributeRef | MethodRef, bytes]:
    """The one SET or ACTION that carries the command out, with its A-XDR encoded value or parameter."""
    if command.op is Operation.DISCONNECT:
        return REMOTE_DISCONNECT, _INT8_ZERO
    if command.op is Operation.CONNECT:
        return REMOTE_RECONNECT, _INT8_ZERO
    text = (command.text or "").encode("ascii")
    return DISPLAY, bytes([_OCTET_STRING, len(text)]) + text


def event_of(command: Command, readback: tuple[ReadBack, ...]) -> Event:
    """What two looks at the meter say; the second decides (late relays), and without it nobody knows."""
    last = readback[1] if len(readback) > 1 else ReadBack()
    if command.op is Operation.MESSAGE:
        shown = {True: Event.READ_BACK_TARGET, False: Event.READ_BACK_OTHER, None: Event.READ_BACK_NOTHING}
        return shown[last.text]
    if last.output is None:
        return Event.READ_BACK_NOTHING
    if Evidence("", last.output, last.control).reached(command.op):
        return Event.READ_BACK_TARGET
    if command.op is Operation.CONNECT and last.control is ControlState.READY_FOR_RECONNECTION:
        return Event.READ_BACK_ARMED
    return Event.READ_BACK_OTHER


class Switching:
    """One command on its way to its meter.

    Args:
        command: what is to be done.
        meter: to which.
        ask: hands a letter to the relay thread and waits for its answer; None when there is none in time.
        letters: the relay thread's mailbox.
        pause: waits for that many seconds at most (the settle time), ends early when the process stops.
        settle_s: between the two read-backs.
    """

    def __init__(
        self,
        command: Command,
        meter: Meter,
        ask: Callable[[Ready], Answer | None],
        letters: Mailbox[Letter],
        pause: Callable[[float], object],
        settle_s: float,
    ) -> None:
        self.meter = meter
        self._command = command
        self._key: Key = (command.iss, command.cmd_id)
        self._ask = ask
        self._letters = letters
        self._pause = pause
        self._settle_s = settle_s
        self._warrant: OneAct | None = None
        self._readback: list[ReadBack] = []
        self._reported = False
        self._reason = ""

    def run(self, line: Line) -> None:
        """Do it. Before there is leave every DcuError goes to `failed`; after it everything ends in an outcome."""
        if self._reported:
            return
        try:
            self._visit(line)
        except DcuError as fault:
            if self._warrant is None:
                raise
            self._reason = str(fault)
        if self._warrant is not None and not self._reported:
            self._conclude(line, self._warrant)

    def failed(self, fault: Exception) -> None:
        """The bus's report: nothing was sent, or (our bug) nobody knows."""
        if self._reported:
            return
        if self._warrant is None:
            code = Refusal.E_METER if isinstance(fault, WrongMeter) else Refusal.E_UNREACHABLE
            self._report(Fell(self._key, code, str(fault)))
        elif self._warrant.void():
            self._report(Outcome(self._key, Event.UNSENT, reason=str(fault)))
        else:
            self._report(Outcome(self._key, Event.READ_BACK_NOTHING, tuple(self._readback), str(fault)))

    def _visit(self, line: Line) -> None:
        with line.associate(self.meter, Purpose.SWITCH) as association:
            answer = self._ask(Ready(self._key, _evidence(association, self._command.op), Reply()))
            if answer is None:
                raise MeterSilent("the relay thread gave no leave in time", place=self.meter.serial)
            if answer.warrant is None:
                self._reported = True  # by the relay thread itself
                return
            self._warrant = answer.warrant
            self._send(association, answer.warrant)
            self._look_twice(association)

    def _send(self, association: Association, warrant: OneAct) -> None:
        """Once. A reply that is lost or refuses is no end: the read-back decides."""
        try:
            if isinstance(warrant.target, MethodRef):
                association.act(warrant.target, warrant.data, warrant)
            else:
                association.set(warrant.target, warrant.data, warrant)
        except DcuError as fault:
            self._reason = str(fault)
            log.warning("%s: the answer to %s is missing: %s", self.meter.serial, self._command.op.value, fault)

    def _look_twice(self, association: Association) -> None:
        if self._warrant is None or not self._warrant.spent:
            return  # nothing was sent, so there is nothing to see
        while len(self._readback) < 2:
            if self._readback:
                self._pause(self._settle_s)
            self._readback.append(_look(association, self._command))

    def _conclude(self, line: Line, warrant: OneAct) -> None:
        if warrant.void():
            self._report(Outcome(self._key, Event.UNSENT, reason=self._reason or "the moment passed"))
            return
        if len(self._readback) < 2:
            try:
                with line.associate(self.meter, Purpose.SWITCH) as association:
                    self._look_twice(association)
            except DcuError as fault:
                self._reason = str(fault)
        readback = tuple(self._readback)
        self._report(Outcome(self._key, event_of(self._command, readback), readback, self._reason))

    def _report(self, letter: Letter) -> None:
        self._reported = True
        self._letters.post(letter, urgent=True)


class Inspection:
    """After a crash: read where the relay stands, send nothing.

    Args:
        command: that was under way.
        meter: to which.
        letters: the relay thread's mailbox.
    """

    def __init__(self, command: Command, meter: Meter, letters: Mailbox[Letter]) -> None:
        self.meter = meter
        self._command = command
        self._key: Key = (command.iss, command.cmd_id)
        self._letters = letters

    def run(self, line: Line) -> None:
        """One look."""
        with line.associate(self.meter, Purpose.SWITCH) as association:
            look = _look(association, self._command)
        reached = event_of(self._command, (look, look)) is Event.READ_BACK_TARGET
        event = Event.RECOVERED_TARGET if reached else Event.RECOVERED_OTHER
        self._letters.post(Outcome(self._key, event, (look,)), urgent=True)

    def failed(self, fault: Exception) -> None:
        """The meter could not be read."""
        self._letters.post(Unseen(self._key, str(fault)), urgent=True)


def _evidence(association: Association, op: Operation) -> Evidence:
    if op is Operation.MESSAGE:
        return Evidence(association.serial)
    wanted = [OUTPUT_STATE, CONTROL_STATE, CONTROL_MODE]
    if op is Operation.DISCONNECT:
        wanted.append(PAYMENT_MODE)
    values = association.get_list(wanted)
    return Evidence(
        association.serial,
        _output(values[0]),
        _control(values[1]),
        _number(values[2]),
        _number(values[3]) if len(values) > 3 else None,
    )


def _look(association: Association, command: Command) -> ReadBack:
    """One read-back; a line that fails raises, an attribute that is refused is None."""
    if command.op is Operation.MESSAGE:
        _, data = act_of(command)
        (value,) = association.get_list([DISPLAY])
        octets = value.encode("latin-1", "replace") if isinstance(value, str) else value
        return ReadBack(text=octets == data[2:] if isinstance(octets, bytes) else None)
    output, control = association.get_list([OUTPUT_STATE, CONTROL_STATE])
    return ReadBack(_output(output), _control(control))


def _output(value: Data | Exception) -> OutputState | None:
    if isinstance(value, int) and value in {0, 1}:
        return OutputState.CONNECTED if value else OutputState.DISCONNECTED
    return None


def _control(value: Data | Exception) -> ControlState | None:
    number = _number(value)
    return ControlState(number) if number in {0, 1, 2} else None


def _number(value: Data | Exception) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
