"""The relay thread: the one place where it is decided whether a meter's relay moves.

    put (socket thread) --Put--> desk --transact--> accepted --errand--> bus
    errand before its meter --Ready--> desk --transact: DISPATCHED--> warrant --> errand acts once, looks twice
    errand --Outcome--> desk --transact: end state, receipt

Everything that could change a decision passes through this thread's mailbox, so nothing overtakes anything. Nothing
is sent without a warrant, and a warrant is made only after DISPATCHED is on disk. Law: at most one action a command.

What is judged as a disconnect waits first (PENDING, `Timetable`), and can be taken back all that while.

At a start (`Life.recover`): whatever waited is abandoned with a receipt, but an accepted connect, which is taken up
again while its time holds; a command in DISPATCHED is only read (`Inspection`), never sent again.
A store that fails ends this loop, and with it the process: what was committed is what the next start finds.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable, Mapping
from datetime import tzinfo
from typing import Final, Literal

from dcu.command import Refusal, Restraint
from dcu.errors import StoreBusy, StoreFull
from dcu.event import Alarm
from dcu.mailbox import Mailbox, Stop
from dcu.meter import Meter
from dcu.ports import Bus, Clock, Store
from dcu.relay.alarms import Alarms
from dcu.relay.book import Book
from dcu.relay.dispatch import Dispatch
from dcu.relay.documents import Documents
from dcu.relay.envelope import Signer
from dcu.relay.executor import Place
from dcu.relay.gate import looks_like_connect
from dcu.relay.intake import COUNT_AT, Intake
from dcu.relay.letters import (
    Answer,
    Brought,
    Fell,
    Letter,
    Lock,
    NewTrust,
    Outcome,
    Put,
    Ready,
    Reply,
    Unseen,
    Verdict,
)
from dcu.relay.locks import Locks
from dcu.relay.roster import Roster
from dcu.relay.trust import Commissioning

log = logging.getLogger(__name__)

DECISION_S: Final = 30.0
"""How long a document may wait for its decision."""

PATIENCE_S: Final = 10.0
"""How long an errand keeps the line while its leave is decided and committed."""

TURN_S: Final = 1.0
COUNT_S: Final = 0.05
"""Refusals by nobody are counted in the store when the mailbox has been quiet for that long."""

UPKEEP_S: Final = 20.0
"""Between two looks at what the passing of time changes: leases, freezes, locks, policies that wait."""


class RelayDesk:
    """All relay authority of one box.

    Args:
        dcu: its id.
        store: its store.
        clock: its clock.
        commissioning: its root of trust.
        meters: commissioned here, by serial.
        buses: by the name that meters give.
        signer: the box's receipt key.
        stop: the process's signal to end.
        alarm: takes an alarm, from the relay thread.
        set_aside: whether a serial is set aside.
        meters_heard: whether the meters' clocks could have spoken against the box's since the process began.
        beat: called each turn, for the watchdog.
        zone: of the box, and of the meters' clocks: nobody is disconnected at night by it.
        settle_s: between the two read-backs.
        inspect_again_s: between two tries to read a meter after a crash.
        roster: carries a `meter` out; None: such a command is refused.
    """

    def __init__(
        self,
        *,
        dcu: str,
        store: Store,
        clock: Clock,
        commissioning: Commissioning,
        meters: Mapping[str, Meter],
        buses: Mapping[str, Bus],
        signer: Signer,
        stop: Stop,
        alarm: Callable[[Alarm], None],
        set_aside: Callable[[str], bool],
        meters_heard: Callable[[], bool],
        beat: Callable[[], None],
        zone: tzinfo,
        settle_s: float = 1.0,
        inspect_again_s: float = 30.0,
        roster: Roster | None = None,
    ) -> None:
        self._book = Book(
            dcu=dcu,
            store=store,
            clock=clock,
            commissioning=commissioning,
            meters=meters,
            signer=signer,
            zone=zone,
            set_aside=set_aside,
            meters_heard=meters_heard,
            roster=roster,
        )
        self._documents = Documents(self._book)
        self._locks = Locks(self._book)
        self._alarms = Alarms(clock, alarm)
        self._intake = Intake(self._book, self._documents, self._alarms)
        self._clock = clock
        self._stop = stop
        self._beat = beat
        self._letters: Mailbox[Letter] = Mailbox(stop, capacity=256)
        self._dispatch = Dispatch(
            self._book,
            self._alarms,
            buses,
            Place(self._letters, clock, zone),
            ask=self._ask,
            pause=stop.wait,
            settle_s=settle_s,
            inspect_again_s=inspect_again_s,
        )
        self._closed = False
        self._recovered = False
        self._unkept: deque[Letter] = deque()  # the store had no room for them
        self._upkeep_s = float("-inf")
        self._reconnected = threading.Event()  # no letter: uplink may say it without end while the store is slow

    # ---- from other threads -----------------------------------------------------------------------------------------

    def put(self, octets: bytes, topic: str, qos: int, retained: bool) -> Verdict:
        """Hand a document in and wait for the decision, which is on disk when this returns.

        Raises:
            StoreBusy: no decision in time; hand it in again.
            StoreFault: the decision could not be committed.
        """
        reply: Reply[Verdict] = Reply()
        connect = looks_like_connect(octets)
        if not self._letters.post(Put(octets, topic, qos, retained, connect, reply), urgent=connect):
            return Verdict("refused", Refusal.E_FLOOD)
        if self._closed:  # set before the last look into the mailbox: one of the two has seen the other
            raise _ended()
        verdict = reply.wait(DECISION_S)
        if verdict is None:
            raise StoreBusy("no decision in time", place="relay")
        return verdict

    def renew_trust(self, commissioning: Commissioning) -> None:
        """Another root is in force from the next decision on, also for commands that were accepted already."""
        self._letters.post(NewTrust(commissioning), urgent=True)

    def connected(self) -> None:
        """The connection to the broker is back: the box gives a new lease out. Said often, it is one word of it."""
        self._reconnected.set()

    def lock(self, meter: str, who: str, why: str, seconds: int) -> Restraint | None:
        """Lock a meter, or all with an empty serial, for so many seconds; with none unlock it. On disk at the return.

        Returns the restraint that began or ended; None: there was none to end.

        Raises:
            StoreBusy: not in time.
            StoreFault: it could not be committed.
        """
        reply: Reply[Restraint | Literal["none"]] = Reply()
        self._letters.post(Lock(meter, who, why, seconds, reply), urgent=True)
        found = reply.wait(0.0 if self._closed else DECISION_S)
        if found is None:
            raise StoreBusy("no decision in time", place="relay")
        return found if isinstance(found, Restraint) else None

    @property
    def meters(self) -> Mapping[str, Meter]:
        """Commissioned here, by serial."""
        return self._book.meters

    @property
    def lease(self) -> str:
        """The lease that is given out now; empty before the first."""
        return self._book.leases.current

    def restraints(self) -> list[Restraint]:
        """Freezes and locks that hold now. Raises StoreFault."""
        return self._locks.held()

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
        letter = self._letters.take(min(timeout_s, COUNT_S) if self._intake.uncounted else timeout_s)
        if letter is None and self._unkept:
            letter = self._unkept.popleft()
        if letter is not None:
            try:
                self._read(letter)
            except StoreFull as fault:
                self._keep_for_later(letter, fault)
            except BaseException as fault:  # this thread ends; whoever waits for it should know at once
                if isinstance(letter, Put | Ready | Lock):
                    letter.reply.fail(fault if isinstance(fault, Exception) else _ended())
                raise
        if self._intake.uncounted and (letter is None or self._intake.uncounted >= COUNT_AT):
            self._intake.count()
        self._sweep()

    def _close(self) -> None:
        """Nobody waits for a thread that has ended. What is not committed was never decided."""
        self._closed = True
        while (letter := self._letters.take(0.0)) is not None:
            if isinstance(letter, Put | Lock):
                letter.reply.fail(_ended())
            elif isinstance(letter, Ready):
                letter.reply.give(Answer())

    def _keep_for_later(self, letter: Letter, fault: StoreFull) -> None:
        """The store has no room for what came: nothing is begun that cannot be journalled, and no end is forgotten."""
        self._alarms.refused(Refusal.E_STORE, str(fault))
        if isinstance(letter, Put):
            letter.reply.give(Verdict("refused", Refusal.E_STORE))
        elif isinstance(letter, Ready):
            letter.reply.give(Answer())
            self._unkept.append(Fell(letter.key, Refusal.E_STORE, "its dispatch could not be journalled"))
        elif isinstance(letter, Lock):
            letter.reply.fail(fault)
        else:
            self._unkept.append(letter)

    def _read(self, letter: Letter) -> None:
        match letter:
            case Put():
                self._put(letter)
            case Ready() | Fell() | Brought() | Outcome() | Unseen():
                self._dispatch.read(letter)
            case NewTrust(commissioning):
                self._documents.commission(commissioning)
            case Lock():
                self._lock(letter)

    def _put(self, put: Put) -> None:
        if not self._recovered:
            raise StoreFull("what the last start left open could not be journalled yet", place="relay")
        ruling = self._intake.decide(put)
        put.reply.give(ruling.verdict)
        if ruling.command is not None:
            self._dispatch.plan(ruling.command, ruling)

    def _lock(self, letter: Lock) -> None:
        if not letter.reply.awaited:  # he was told that it failed: nothing happens behind his back
            return
        if letter.seconds:
            made = self._locks.lock(letter.meter, letter.who, letter.why, letter.seconds)
            self._alarms.locked(made.meter, made.who, made.why, made.seconds)
            letter.reply.give(made)
            return
        ended = self._locks.unlock(letter.meter, letter.who)
        if ended is not None:
            self._alarms.unlocked(letter.meter, letter.who)
        letter.reply.give(ended or "none")

    # ---- recovery and the passing of time ---------------------------------------------------------------------------

    def _recover(self) -> None:
        try:
            self._documents.commission(self._book.commissioning)
            if self._book.roster is not None:
                self._book.roster.recall(self._book.store)
            self._dispatch.recover()
        except StoreFull as fault:
            self._alarms.refused(Refusal.E_STORE, str(fault))
            return
        self._recovered = True

    def _sweep(self) -> None:
        """What the passing of time brings."""
        if self._recovered:
            self._dispatch.pass_time()
            self._keep_up(self._clock.monotonic_s())

    def _keep_up(self, monotonic_s: float) -> None:
        if self._reconnected.is_set():
            self._reconnected.clear()
            self._book.leases.want()
            self._give_lease()
        if monotonic_s < self._upkeep_s:
            return
        self._upkeep_s = monotonic_s + UPKEEP_S
        try:
            self._locks.pass_time()
            self._documents.mature()
        except StoreFull as fault:
            self._alarms.refused(Refusal.E_STORE, str(fault))
        self._give_lease()

    def _give_lease(self) -> None:
        """One that is due; it costs nothing where none is."""
        try:
            self._documents.lease()
        except StoreFull as fault:
            self._alarms.refused(Refusal.E_STORE, str(fault))


def _ended() -> StoreBusy:
    return StoreBusy("the relay thread has ended", place="relay")
