"""Errands of the relay room, run in the thread of the meter's bus.

`Switching` associates with the rights to switch, reads what the meter says of itself, asks the relay thread for leave
with that evidence, sends each step of the deed once, and reads back twice. `Inspection` only reads: it is for commands
that a crash left in DISPATCHED. Neither decides anything: they bring evidence and carry out.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import tzinfo
from typing import Final

from dcu.command import Command, Event, Refusal
from dcu.errors import DcuError, MeterSilent, WrongMeter
from dcu.mailbox import Mailbox
from dcu.meter import AttributeRef, Meter, MethodRef, Purpose
from dcu.ports import Association, Clock, Line
from dcu.relay.case import Evidence
from dcu.relay.deeds import Scene, doubt_of, event_of, evidence_of, look_of, refs_after, refs_before, steps_of
from dcu.relay.deeds.plain import DISPLAY, REMOTE_DISCONNECT, REMOTE_RECONNECT
from dcu.relay.deeds.shape import CONTROL_MODE, CONTROL_STATE, OUTPUT_STATE, PAYMENT_MODE, Values
from dcu.relay.letters import Answer, Fell, Key, Letter, Outcome, Ready, Reply, Unseen
from dcu.relay.receipts import ReadBack
from dcu.relay.warrant import VALID_S, OneAct

__all__ = [
    "CONTROL_MODE",
    "CONTROL_STATE",
    "DISPLAY",
    "OUTPUT_STATE",
    "PAYMENT_MODE",
    "REMOTE_DISCONNECT",
    "REMOTE_RECONNECT",
    "Inspection",
    "Place",
    "Switching",
    "warrants_of",
]

log = logging.getLogger(__name__)

LOOKS: Final = 2


@dataclass(frozen=True, slots=True)
class Place:
    """What all errands have in common.

    Attributes:
        letters: the relay thread's mailbox.
        clock: the box's.
        zone: of the meters' clocks.
    """

    letters: Mailbox[Letter]
    clock: Clock
    zone: tzinfo

    def scene(self, meter: Meter) -> Scene:
        """Before that meter, now."""
        return Scene(meter.model, self.zone, self.clock.now())


def warrants_of(command: Command, meter: Meter, evidence: Evidence, place: Place) -> tuple[OneAct, ...]:
    """Leave for each step of the deed, in its order: the first for `VALID_S`, each next one for as long behind it."""
    now_s = place.clock.monotonic_s()
    steps = steps_of(command, evidence, place.scene(meter))
    return tuple(
        OneAct(command.meter, step.target, step.data, now_s + number * VALID_S)
        for number, step in enumerate(steps, start=1)
    )


class Switching:
    """One command on its way to its meter.

    Args:
        command: what is to be done.
        meter: to which.
        place: of all errands.
        ask: hands a letter to the relay thread and waits for its answer; None when there is none in time.
        pause: waits for that many seconds at most (the settle time), ends early when the process stops.
        settle_s: between the two read-backs.
    """

    def __init__(
        self,
        command: Command,
        meter: Meter,
        place: Place,
        ask: Callable[[Ready], Answer | None],
        pause: Callable[[float], object],
        settle_s: float,
    ) -> None:
        self.meter = meter
        self._command = command
        self._place = place
        self._key: Key = (command.iss, command.cmd_id)
        self._ask = ask
        self._pause = pause
        self._settle_s = settle_s
        self._warrants: tuple[OneAct, ...] = ()
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
            if not self._warrants:
                raise
            self._reason = str(fault)
        if self._warrants:
            self._conclude(line)

    def failed(self, fault: Exception) -> None:
        """The bus's report: nothing was sent, or (our bug) nobody knows."""
        if self._reported:
            return
        if not self._warrants:
            code = Refusal.E_METER if isinstance(fault, WrongMeter) else Refusal.E_UNREACHABLE
            self._report(Fell(self._key, code, str(fault)))
        elif _void(self._warrants):
            self._report(Outcome(self._key, Event.UNSENT, reason=str(fault)))
        else:
            self._report(Outcome(self._key, Event.READ_BACK_NOTHING, tuple(self._readback), str(fault)))

    def _visit(self, line: Line) -> None:
        with line.associate(self.meter, Purpose.SWITCH) as association:
            answer = self._ask(Ready(self._key, self._evidence(association), Reply()))
            if answer is None:
                raise MeterSilent("the relay thread gave no leave in time", place=self.meter.serial)
            if not answer.warrants:
                self._reported = True  # by the relay thread itself
                return
            self._warrants = answer.warrants
            self._send(association)
            self._look_twice(association)

    def _evidence(self, association: Association) -> Evidence:
        refs = refs_before(self._command, self._place.scene(self.meter))
        values = _values(association, refs)
        return evidence_of(self._command, association.serial, values, self._place.scene(self.meter))

    def _send(self, association: Association) -> None:
        """Each once. A reply that is lost or refuses is no end: the read-back decides; the steps behind it stay."""
        for warrant in self._warrants:
            try:
                if isinstance(warrant.target, MethodRef):
                    association.act(warrant.target, warrant.data, warrant)
                else:
                    association.set(warrant.target, warrant.data, warrant)
            except DcuError as fault:
                self._reason = str(fault)
                log.warning("%s: the answer to %s is missing: %s", self.meter.serial, self._command.op.value, fault)
                return

    def _look_twice(self, association: Association) -> None:
        if not any(warrant.spent for warrant in self._warrants):
            return  # nothing was sent, so there is nothing to see
        while len(self._readback) < LOOKS:
            if self._readback:
                self._pause(self._settle_s)
            self._readback.append(_look(association, self._command, self.meter, self._place))

    def _conclude(self, line: Line) -> None:
        if _void(self._warrants):
            self._report(Outcome(self._key, Event.UNSENT, reason=self._reason))
            return
        if len(self._readback) < LOOKS:
            try:
                with line.associate(self.meter, Purpose.SWITCH) as association:
                    self._look_twice(association)
            except DcuError as fault:
                self._reason = str(fault)
        readback = tuple(self._readback)
        reason = doubt_of(self._command, readback) or self._reason
        self._report(Outcome(self._key, event_of(self._command, readback), readback, reason))

    def _report(self, letter: Letter) -> None:
        self._reported = True
        self._place.letters.post(letter, urgent=True)


class Inspection:
    """After a crash: read where the meter stands, send nothing.

    Args:
        command: that was under way.
        meter: to which.
        place: of all errands.
    """

    def __init__(self, command: Command, meter: Meter, place: Place) -> None:
        self.meter = meter
        self._command = command
        self._place = place
        self._key: Key = (command.iss, command.cmd_id)

    def run(self, line: Line) -> None:
        """One look."""
        with line.associate(self.meter, Purpose.SWITCH) as association:
            look = _look(association, self._command, self.meter, self._place)
        looks = (look, look)
        reached = event_of(self._command, looks) is Event.READ_BACK_TARGET
        event = Event.RECOVERED_TARGET if reached else Event.RECOVERED_OTHER
        self._place.letters.post(Outcome(self._key, event, (look,), doubt_of(self._command, looks)), urgent=True)

    def failed(self, fault: Exception) -> None:
        """The meter could not be read."""
        self._place.letters.post(Unseen(self._key, str(fault)), urgent=True)


def _void(warrants: Sequence[OneAct]) -> bool:
    """Let them all open nothing from now on. True when none was ever used: then surely nothing was sent."""
    unused = [warrant.void() for warrant in warrants]  # every one of them
    return all(unused)


def _values(association: Association, refs: Sequence[AttributeRef]) -> Values:
    return dict(zip(refs, association.get_list(refs), strict=True)) if refs else {}


def _look(association: Association, command: Command, meter: Meter, place: Place) -> ReadBack:
    """One read-back; a line that fails raises, an attribute that is refused is None."""
    values = _values(association, refs_after(command, place.scene(meter)))
    return look_of(command, values, place.scene(meter))
