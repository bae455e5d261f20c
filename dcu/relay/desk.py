"""The relay thread: the one place where it is decided whether a meter's relay moves.

    put (socket thread) --Put--> desk --transact--> accepted --errand--> bus
    errand before its meter --Ready--> desk --transact: DISPATCHED--> warrant --> errand acts once, looks twice
    errand --Outcome--> desk --transact: end state, receipt

Everything that could change a decision passes through this thread's mailbox, so nothing overtakes anything. Nothing
is sent without a warrant, and a warrant is made only after DISPATCHED is on disk. Law: at most one action a command.

At a start (`Life.recover`): an accepted disconnect or message is abandoned with a receipt; an accepted connect is
taken up again while its time holds; a command in DISPATCHED is only read (`Inspection`), never sent again.
A store that fails ends this loop, and with it the process: what was committed is what the next start finds.
"""

import logging
from collections import Counter, deque
from collections.abc import Callable, Mapping
from typing import Final

from dcu.clock import alarm_now
from dcu.command import Command, CommandRefused, Event, Operation, Refusal, State
from dcu.errors import StoreBusy, StoreFull
from dcu.event import Alarm, AlarmKind
from dcu.mailbox import Mailbox, Stop
from dcu.meter import Meter
from dcu.ports import Bus, Clock, Store
from dcu.reading import ClockState
from dcu.relay.book import Book
from dcu.relay.docket import Docket, Ruling
from dcu.relay.envelope import COMMAND, POLICY, Signer, Unforeseen, open_envelope
from dcu.relay.executor import Inspection, Switching, act_of
from dcu.relay.gate import Gate, Sampler
from dcu.relay.letters import Answer, Fell, Key, Letter, NewTrust, Outcome, Put, Ready, Reply, Unseen, Verdict
from dcu.relay.life import Life
from dcu.relay.trust import TrustStore
from dcu.relay.warrant import VALID_S, OneAct

log = logging.getLogger(__name__)

DECISION_S: Final = 30.0
"""How long a document may wait for its decision."""

PATIENCE_S: Final = 10.0
"""How long an errand keeps the line while its leave is decided and committed."""

TURN_S: Final = 1.0
COUNT_S: Final = 0.05
"""Refusals by nobody are counted in the store when the mailbox has been quiet for that long, ..."""
COUNT_AT: Final = 500
"""... or when so many have come together: a flood must not write to flash at its own pace."""

INSPECTIONS: Final = 20
"""Tries to read a meter after a crash, before the command is in doubt for good."""


class RelayDesk:
    """All relay authority of one box.

    Args:
        dcu: its id.
        store: its store.
        clock: its clock.
        trust: whose documents are obeyed; its issuer is this box's head-end.
        meters: commissioned here, by serial.
        buses: by the name that meters give.
        signer: the box's receipt key.
        stop: the process's signal to end.
        alarm: takes an alarm, from the relay thread.
        set_aside: whether a serial is set aside.
        beat: called each turn, for the watchdog.
        settle_s: between the two read-backs.
        inspect_again_s: between two tries to read a meter after a crash.
    """

    def __init__(
        self,
        *,
        dcu: str,
        store: Store,
        clock: Clock,
        trust: TrustStore,
        meters: Mapping[str, Meter],
        buses: Mapping[str, Bus],
        signer: Signer,
        stop: Stop,
        alarm: Callable[[Alarm], None],
        set_aside: Callable[[str], bool],
        beat: Callable[[], None],
        settle_s: float = 1.0,
        inspect_again_s: float = 30.0,
    ) -> None:
        self._book = Book(
            dcu=dcu, store=store, clock=clock, trust=trust, meters=meters, signer=signer, set_aside=set_aside
        )
        self._docket = Docket(self._book)
        self._life = Life(self._book)
        self._clock = clock
        self._buses = buses
        self._stop = stop
        self._alarm = alarm
        self._beat = beat
        self._settle_s = settle_s
        self._inspect_again_s = inspect_again_s
        self._letters: Mailbox[Letter] = Mailbox(stop, capacity=256)
        self._gate = Gate(f"dcu/v1/{dcu}/cmd")
        self._alarms = Sampler()
        self._closed = False
        self._recovered = False
        self._unkept: deque[Letter] = deque()  # the store had no room for them
        self._uncounted: Counter[str] = Counter()
        self._waiting: dict[Key, Command] = {}  # accepted, the errand has not asked for leave yet
        self._sent: dict[Key, Command] = {}  # dispatched, the outcome has not come yet
        self._inspected: dict[Key, tuple[Command, int]] = {}
        self._inspect_at: dict[Key, float] = {}

    # ---- from other threads -----------------------------------------------------------------------------------------

    def put(self, octets: bytes, topic: str, qos: int, retained: bool) -> Verdict:
        """Hand a document in and wait for the decision, which is on disk when this returns.

        Raises:
            StoreBusy: no decision in time; hand it in again.
            StoreFault: the decision could not be committed.
        """
        reply: Reply[Verdict] = Reply()
        if not self._letters.post(Put(octets, topic, qos, retained, reply)):
            return Verdict("refused", Refusal.E_FLOOD)
        if self._closed:  # set before the last look into the mailbox: one of the two has seen the other
            raise _ended()
        verdict = reply.wait(DECISION_S)
        if verdict is None:
            raise StoreBusy("no decision in time", place="relay")
        return verdict

    def renew_trust(self, trust: TrustStore) -> None:
        """Another trust store is in force from the next decision on, also for commands that were accepted already."""
        self._letters.post(NewTrust(trust), urgent=True)

    def _ask(self, ready: Ready) -> Answer | None:
        """An errand's question, in the thread of its bus."""
        self._letters.post(ready, urgent=True)
        return ready.reply.wait(0.0 if self._closed else PATIENCE_S)

    # ---- the thread -------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """The loop. A fault of the store ends it."""
        try:
            while not self._stop:
                self.turn(TURN_S)
        finally:
            self._close()

    def turn(self, timeout_s: float) -> None:
        """One letter, or the passing of time. The first turn recovers what a crash left open."""
        self._beat()
        if not self._recovered:
            self._recover()
        letter = self._letters.take(min(timeout_s, COUNT_S) if self._uncounted else timeout_s)
        if letter is None and self._unkept:
            letter = self._unkept.popleft()
        if letter is not None:
            try:
                self._read(letter)
            except StoreFull as fault:
                self._keep_for_later(letter, fault)
            except BaseException as fault:  # this thread ends; whoever waits for it should know at once
                if isinstance(letter, Put | Ready):
                    letter.reply.fail(fault if isinstance(fault, Exception) else _ended())
                raise
        if self._uncounted and (letter is None or self._uncounted.total() >= COUNT_AT):
            self._count()
        self._sweep()

    def _close(self) -> None:
        """Nobody waits for a thread that has ended. What is not committed was never decided."""
        self._closed = True
        while (letter := self._letters.take(0.0)) is not None:
            if isinstance(letter, Put):
                letter.reply.fail(_ended())
            elif isinstance(letter, Ready):
                letter.reply.give(Answer(None))

    def _keep_for_later(self, letter: Letter, fault: StoreFull) -> None:
        """The store has no room for what came: nothing is begun that cannot be journalled, and no end is forgotten."""
        self._warn(Refusal.E_STORE, str(fault), "")
        if isinstance(letter, Put):
            letter.reply.give(Verdict("refused", Refusal.E_STORE))
        elif isinstance(letter, Ready):
            letter.reply.give(Answer(None))
            self._unkept.append(Fell(letter.key, Refusal.E_STORE, "its dispatch could not be journalled"))
        else:
            self._unkept.append(letter)

    def _read(self, letter: Letter) -> None:
        match letter:
            case Put():
                self._put(letter)
            case Ready():
                self._ready(letter)
            case Fell(key, code, reason):
                self._life.refuse(key, code, reason)
                self._waiting.pop(key, None)
            case Outcome():
                self._outcome(letter)
            case Unseen(key, reason):
                self._unseen(key, reason)
            case NewTrust(trust):
                self._book.trust = trust
                log.info("new trust store: %d keys of %s", len(trust.keys), trust.issuer)

    def _put(self, put: Put) -> None:
        if not self._recovered:
            raise StoreFull("what the last start left open could not be journalled yet", place="relay")
        ruling = self._decide(put)
        put.reply.give(ruling.verdict)
        if ruling.command is not None:
            self._send_out(ruling.command)
        elif ruling.verdict.code in {Refusal.E_ID_REUSE, Refusal.E_STORE}:
            self._warn(ruling.verdict.code, ruling.cause, ruling.meter)

    def _decide(self, put: Put) -> Ruling:
        trusted = self._clock.state() is ClockState.TRUSTED
        try:
            self._gate.admit(put.topic, put.qos, put.retained, self._clock.monotonic_s())
            now_s = self._book.now_s() if trusted else None
            opened = open_envelope(put.octets, self._book.trust.keys, now_s, {COMMAND, POLICY})
        except CommandRefused as refusal:
            self._uncounted["unforeseen" if isinstance(refusal, Unforeseen) else refusal.code.value] += 1
            self._warn(refusal.code, refusal.cause, "")
            return Ruling(Verdict("refused", refusal.code))
        if opened.typ == POLICY:
            return self._docket.policy(opened, put.octets)
        return self._docket.command(opened)

    def _send_out(self, command: Command) -> None:
        """Post the errand of an accepted command."""
        key = (command.iss, command.cmd_id)
        meter = self._book.meters.get(command.meter)
        bus = self._buses.get(meter.bus) if meter is not None else None
        if meter is None or bus is None:
            self._letters.post(Fell(key, Refusal.E_METER, "its bus is not here any more"), urgent=True)
            return
        self._waiting[key] = command
        errand = Switching(command, meter, self._ask, self._letters, self._stop.wait, self._settle_s)
        bus.post(errand, urgent=True)

    def _ready(self, ready: Ready) -> None:
        """Leave for one act, after DISPATCHED is on disk; none where the command is at an end."""
        if not ready.reply.awaited:
            return  # the errand has gone; its own letter says so
        self._waiting.pop(ready.key, None)
        command = self._life.dispatch(ready.key, ready.evidence)
        if command is None:
            ready.reply.give(Answer(None))
            return
        self._sent[ready.key] = command
        target, data = act_of(command)
        warrant = OneAct(command.meter, target, data, self._clock.monotonic_s() + VALID_S)
        if not ready.reply.give(Answer(warrant)):
            warrant.void()
            reason = "the errand could not wait any longer"
            self._letters.post(Outcome(ready.key, Event.UNSENT, reason=reason), urgent=True)

    def _outcome(self, outcome: Outcome) -> None:
        state = self._life.settle(outcome.key, outcome.event, outcome.reason, outcome.readback)
        command, _ = self._inspected.pop(outcome.key, (self._sent.pop(outcome.key, None), 0))
        self._inspect_at.pop(outcome.key, None)
        if state is State.IN_DOUBT:
            self._doubt(outcome.key, outcome.reason, command.meter if command else "")

    # ---- recovery and the passing of time ---------------------------------------------------------------------------

    def _recover(self) -> None:
        try:
            resumed, inspected = self._life.recover()
        except StoreFull as fault:
            self._warn(Refusal.E_STORE, str(fault), "")
            return
        self._recovered = True
        for command in resumed:
            self._send_out(command)
        for command in inspected:
            self._inspected[command.iss, command.cmd_id] = (command, 0)
            self._inspect(command)

    def _inspect(self, command: Command) -> None:
        key = (command.iss, command.cmd_id)
        meter = self._book.meters.get(command.meter)
        bus = self._buses.get(meter.bus) if meter is not None else None
        if meter is None or bus is None:
            outcome = Outcome(key, Event.RECOVERED_OTHER, reason="its meter is not here any more")
            self._letters.post(outcome, urgent=True)
            return
        bus.post(Inspection(command, meter, self._letters), urgent=True)

    def _unseen(self, key: Key, reason: str) -> None:
        command, tries = self._inspected.get(key, (None, INSPECTIONS))
        if command is None or tries + 1 >= INSPECTIONS:
            self._outcome(Outcome(key, Event.RECOVERED_OTHER, reason=reason))
            return
        self._inspected[key] = (command, tries + 1)
        self._inspect_at[key] = self._clock.monotonic_s() + self._inspect_again_s

    def _sweep(self) -> None:
        """Commands whose time passed while they waited for their bus; meters to be looked at again."""
        now_s, trusted = self._book.now_s(), self._clock.state() is ClockState.TRUSTED
        for key, command in list(self._waiting.items()):
            if now_s >= command.exp and (trusted or command.op is not Operation.CONNECT):
                del self._waiting[key]
                reason = "its time passed before its meter could be reached"
                self._letters.post(Fell(key, Refusal.E_EXPIRED, reason), urgent=True)
        for key, due_s in list(self._inspect_at.items()):
            if self._clock.monotonic_s() >= due_s:
                del self._inspect_at[key]
                self._inspect(self._inspected[key][0])

    def _count(self) -> None:
        refusals, self._uncounted = self._uncounted, Counter()
        try:
            self._docket.count(refusals)
        except StoreFull:
            self._uncounted = refusals + self._uncounted

    # ---- alarms -----------------------------------------------------------------------------------------------------

    def _warn(self, code: Refusal, cause: str, meter: str) -> None:
        if self._alarms.due(code, self._clock.monotonic_s()):
            text = f"a document was refused ({code.value}): {cause}"
            self._raise(AlarmKind.COMMAND_REFUSED, text, meter, {"code": code.value})

    def _doubt(self, key: Key, reason: str, meter: str) -> None:
        text = f"command {key[1]} was dispatched, and nobody knows what it did: {reason or 'the read-back differs'}"
        self._raise(AlarmKind.COMMAND_IN_DOUBT, text, meter, {"iss": key[0], "cmd_id": key[1]})

    def _raise(self, kind: AlarmKind, text: str, meter: str, facts: Mapping[str, str]) -> None:
        log.warning("%s", text)
        self._alarm(alarm_now(self._clock, kind, text, meter, facts))


def _ended() -> StoreBusy:
    return StoreBusy("the relay thread has ended", place="relay")
