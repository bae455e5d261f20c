"""Accepted commands on their way: to their bus when their time comes, through their leave, to their end.

    plan -> (waits) -> errand posted -> Ready: judged again, DISPATCHED on disk, warrants -> Outcome: the end

Called by the relay thread only. Source: reference/command-authority.md 0 items 3 and 4, 8 (steps 24 to 28).
"""

import logging
from collections.abc import Callable, Mapping
from typing import Final

from dcu.command import Command, Event, Refusal, State
from dcu.errors import DcuError, StoreFull
from dcu.mailbox import Mailbox
from dcu.meter import Meter
from dcu.ports import Bus
from dcu.relay.alarms import Alarms
from dcu.relay.book import Book
from dcu.relay.executor import Place, Switching, warrants_of
from dcu.relay.inspections import Inspections
from dcu.relay.letters import Answer, Brought, Fell, Key, Letter, Outcome, Ready, Unseen
from dcu.relay.life import Life
from dcu.relay.on_demand import OnDemand
from dcu.relay.policy.floor import LONGEST_LIFE_S
from dcu.relay.ruling import Ruling
from dcu.relay.timetable import Entry, Timetable

log = logging.getLogger(__name__)

_DOUBTED: Final = {
    Event.UNSENT: Event.UNSENT,
    Event.READ_BACK_TARGET: Event.READ_BACK_NOTHING,
    Event.READ_BACK_ARMED: Event.READ_BACK_NOTHING,
    Event.READ_BACK_OTHER: Event.READ_BACK_NOTHING,
    Event.READ_BACK_NOTHING: Event.READ_BACK_NOTHING,
    Event.RECOVERED_TARGET: Event.RECOVERED_OTHER,
    Event.RECOVERED_OTHER: Event.RECOVERED_OTHER,
}
"""What an outcome is taken for that cannot be told."""

_TRIED_AGAIN: Final = frozenset({Refusal.E_UNREACHABLE, Refusal.E_STORE})
"""Why an errand ended before its leave that may pass."""


class Dispatch:
    """Sends errands out, and takes what they bring.

    Args:
        book: what decisions have in common.
        alarms: of the relay thread.
        buses: by the name that meters give.
        place: what errands share; its letters are the relay thread's.
        ask: hands an errand's question to the relay thread, and waits.
        pause: waits for the settle time.
        settle_s: between the two read-backs.
        inspect_again_s: between two tries to read a meter after a crash.
    """

    def __init__(
        self,
        book: Book,
        alarms: Alarms,
        buses: Mapping[str, Bus],
        place: Place,
        *,
        ask: Callable[[Ready], Answer | None],
        pause: Callable[[float], object],
        settle_s: float,
        inspect_again_s: float,
    ) -> None:
        self._book = book
        self._clock = book.clock
        self._alarms = alarms
        self._buses = buses
        self._place = place
        self._letters: Mailbox[Letter] = place.letters
        self._ask = ask
        self._pause = pause
        self._settle_s = settle_s
        self._life = Life(book)
        self._timetable = Timetable()
        self._inspections = Inspections(book.meters, buses, place, inspect_again_s)

    def recover(self) -> None:
        """Take up what a crash left open. Raises StoreFull: later."""
        found = self._life.recover()
        for command in found.resumed:
            self.plan(command)
        for command in found.inspected:
            self._inspections.begin(command)

    def read(self, letter: Ready | Fell | Brought | Outcome | Unseen) -> None:
        """What an errand says."""
        match letter:
            case Ready():
                self._ready(letter)
            case Fell():
                self._fell(letter)
            case Brought():
                self._brought(letter)
            case Outcome():
                self._outcome(letter)
            case Unseen(key, reason):
                self._inspections.unseen(key, reason, self._clock.monotonic_s())

    def plan(self, command: Command, ruling: Ruling | None = None) -> None:
        """An accepted command goes to its meter when its time comes."""
        meter = self._book.meters.get(command.meter)
        now_s = self._clock.monotonic_s()
        wait_s, spacing_s, cuts = (
            (ruling.wait_s, ruling.spacing_s, ruling.cuts) if ruling is not None else (0, 0, False)
        )
        until_s = now_s + (self._life_s(command) if cuts else LONGEST_LIFE_S)
        entry = Entry(command, meter.bus if meter else "", now_s + wait_s, until_s, cuts, spacing_s)
        self._timetable.add((command.iss, command.cmd_id), entry)

    def _life_s(self, command: Command) -> int:
        """How long an accepted disconnect may live from now on, by the uptime: a clock stepped back adds nothing."""
        known_s = self._book.moment().known_s
        return LONGEST_LIFE_S if known_s is None else min(command.exp - known_s, LONGEST_LIFE_S)

    def pass_time(self) -> None:
        """What the passing of time brings: errands that are due, commands that are over, meters to be looked at."""
        moment, monotonic_s = self._book.moment(), self._clock.monotonic_s()
        for key, entry in self._timetable.unsent():
            over = moment.now_s >= entry.command.exp and (moment.clock.known or entry.cuts)
            if over or monotonic_s >= entry.until_s:
                self._timetable.forget(key)
                reason = "its time passed before its meter could be reached"
                self._letters.post(Fell(key, Refusal.E_EXPIRED, reason), urgent=True)
        self._send_out(meters_heard=moment.heard)
        self._inspections.pass_time(monotonic_s)

    def _send_out(self, *, meters_heard: bool) -> None:
        """Post errands whose time has come; those of disconnects once the meters' clocks have had their say."""
        for key, entry in self._timetable.due(self._clock.monotonic_s(), cuts=meters_heard):
            if not self._waits(key):  # taken back, or overtaken
                self._timetable.forget(key)
                continue
            meter, bus = self._book.meters.get(entry.command.meter), self._buses.get(entry.bus)
            if meter is None or bus is None:
                self._letters.post(Fell(key, Refusal.E_METER, "its bus is not here any more"), urgent=True)
                continue
            try:
                self._post(bus, entry.command, meter, reads=entry.reads)
            except DcuError as fault:  # its queue is full
                self._letters.post(Fell(key, Refusal.E_UNREACHABLE, str(fault)), urgent=True)

    def _post(self, bus: Bus, command: Command, meter: Meter, *, reads: bool) -> None:
        if reads:
            bus.post(OnDemand(command, meter, self._place), urgent=False)
        else:
            errand = Switching(command, meter, self._place, self._ask, self._pause, self._settle_s)
            bus.post(errand, urgent=True)

    def _waits(self, key: Key) -> bool:
        try:
            return self._life.waits(key)
        except StoreFull:  # it is judged again before its meter anyway
            return True

    def _ready(self, ready: Ready) -> None:
        """Leave for one act, after DISPATCHED is on disk; none where the command is at an end, or has to wait again."""
        if not ready.reply.awaited:
            return  # the errand has gone; its own letter says so
        if self._timetable.early(ready.key, self._clock.monotonic_s()):
            ready.reply.give(Answer())
            return
        try:
            command = self._life.dispatch(ready.key, ready.evidence)
        except DcuError:
            raise
        except Exception as fault:  # deny by default: it is at its end, and the next start does not find it again
            log.exception("a command was not foreseen")
            self._life.refuse(ready.key, Refusal.E_STATE, f"unforeseen {type(fault).__name__}")
            command = None
        if command is None:
            self._timetable.forget(ready.key)
            ready.reply.give(Answer())
            return
        self._timetable.send(ready.key, self._clock.monotonic_s())
        warrants = warrants_of(command, self._book.meters[command.meter], ready.evidence, self._place)
        if not ready.reply.give(Answer(warrants)):
            for warrant in warrants:
                warrant.void()
            reason = "the errand could not wait any longer"
            self._letters.post(Outcome(ready.key, Event.UNSENT, reason=reason), urgent=True)

    def _fell(self, fell: Fell) -> None:
        """An errand ended before its leave: a connect tries again, all others are at an end."""
        if fell.code in _TRIED_AGAIN and self._timetable.again(fell.key, self._clock.monotonic_s()):
            return
        self._life.refuse(fell.key, fell.code, fell.reason)
        self._timetable.forget(fell.key)

    def _brought(self, brought: Brought) -> None:
        try:
            self._life.bring(brought)
        except DcuError:
            raise
        except Exception as fault:  # deny by default, as in `_ready`
            log.exception("what a read brought was not foreseen")
            self._life.refuse(brought.key, Refusal.E_STATE, f"unforeseen {type(fault).__name__}")
        self._timetable.forget(brought.key)

    def _settle(self, outcome: Outcome) -> State | None:
        """Where the command stands then. What nobody has foreseen ends it in doubt, and no other command with it."""
        try:
            return self._life.settle(outcome.key, outcome.event, outcome.reason, outcome.readback)
        except DcuError:
            raise
        except Exception as fault:
            log.exception("an outcome was not foreseen")
            return self._life.settle(outcome.key, _DOUBTED[outcome.event], f"unforeseen {type(fault).__name__}")

    def _outcome(self, outcome: Outcome) -> None:
        state = self._settle(outcome)
        if state is State.ACCEPTED:  # a connect of which surely nothing was sent
            if not self._timetable.knows(outcome.key) and (command := self._life.stored(outcome.key)) is not None:
                self.plan(command)  # its outcome could not be stored for so long that it was taken for gone
            elif not self._timetable.again(outcome.key, self._clock.monotonic_s()):
                self._letters.post(Fell(outcome.key, Refusal.E_EXPIRED, outcome.reason), urgent=True)
            return
        known = self._timetable.forget(outcome.key)
        command = self._inspections.ended(outcome.key) or known
        if state is State.IN_DOUBT:
            self._alarms.doubt(outcome.key, outcome.reason, command.meter if command else "")
