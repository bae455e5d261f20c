"""The life of an accepted command, each step one transaction of the store; and what a restart finds.

Recovery reads and never sends: whatever waited is ABANDONED, but an accepted connect, which is taken up again (judged
anew before its meter, so only while its time holds); and a command in DISPATCHED is inspected: where the meter stands
as it was asked to, DONE_BY_READBACK with cause `unproven`, else IN_DOUBT.
Source: reference/command-authority.md 0 items 3 and 4, 5, 8 (steps 24 to 28).
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

from dcu.command import (
    WAITING,
    Command,
    CommandRefused,
    Event,
    Operation,
    Refusal,
    State,
    StoredCommand,
    Why,
    after,
)
from dcu.ports import Transaction
from dcu.record import Stream
from dcu.relay.book import Book, account_of, is_connect, reread
from dcu.relay.case import Case, Evidence
from dcu.relay.checks import check_all
from dcu.relay.letters import Brought, Key
from dcu.relay.policy import two_independent
from dcu.relay.receipts import UNPROVEN, ReadBack

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Found:
    """What a start found open: connects to take up again, dispatched commands to inspect."""

    resumed: list[Command]
    inspected: list[Command]


class Life:
    """Moves accepted commands to their ends. Called by the relay thread only."""

    def __init__(self, book: Book) -> None:
        self._book = book

    def dispatch(self, key: Key, evidence: Evidence) -> Command | None:
        """Judge a command again before its meter. Returns it when DISPATCHED is on disk; None: it is at an end."""
        return self._book.store.transact(lambda tx: self._dispatch(tx, key, evidence))

    def settle(self, key: Key, event: Event, reason: str, readback: Sequence[ReadBack] = ()) -> State | None:
        """Move a dispatched command on. Returns where it stands then, or None where it is not dispatched any more.

        A connect of which surely nothing was sent waits again (TAKEN_BACK).
        """

        def work(tx: Transaction) -> State | None:
            stored = tx.command(*key)
            if stored is None or stored.state is not State.DISPATCHED:
                return None
            if event is Event.UNSENT and is_connect(stored):
                state = after(stored.state, Event.TAKEN_BACK)
                self._book.journal(tx, replace(account_of(stored, state), reason=reason))
                tx.save_command(replace(stored, state=state))
                return state
            return move(self._book, tx, stored, event, reason=reason, readback=readback)

        return self._book.store.transact(work)

    def bring(self, brought: Brought) -> State | None:
        """What a `read` brought is stored and its command is done; None where that is at an end already."""

        def work(tx: Transaction) -> State | None:
            stored = tx.command(*brought.key)
            if stored is None or stored.state not in WAITING:
                return None
            try:
                check_all(self._book.case(tx, stored.payload, stored.kids, reread(stored), evidence=brought.evidence))
            except CommandRefused as refusal:
                tx.count(f"refused.{refusal.code.value}")
                return move(self._book, tx, stored, Event.RECHECK_FAILED, refusal.code, reason=refusal.cause)
            ids = [tx.append(Stream.PROFILE, body, layout) for body, layout in brought.records]
            said = dict(brought.said)
            if ids:
                said |= {"stream": Stream.PROFILE.value, "first": ids[0], "last": ids[-1]}
            look = ReadBack(said=said)
            return move(self._book, tx, stored, Event.CARRIED_OUT, reason="", readback=(look,))

        return self._book.store.transact(work)

    def refuse(self, key: Key, code: Refusal, reason: str) -> State | None:
        """End a command that is still before its dispatch. Returns its end, or None where it is beyond that."""

        def work(tx: Transaction) -> State | None:
            stored = tx.command(*key)
            if stored is None or stored.state not in WAITING:
                return None
            tx.count(f"refused.{code.value}")
            return move(self._book, tx, stored, Event.RECHECK_FAILED, code, reason=reason)

        return self._book.store.transact(work)

    def stored(self, key: Key) -> Command | None:
        """A command as it is kept; None where there is none that can be read."""
        stored = self._book.store.transact(lambda tx: tx.command(*key))
        try:
            return reread(stored) if stored is not None else None
        except CommandRefused:
            return None

    def waits(self, key: Key) -> bool:
        """Whether a command is still before its dispatch."""
        stored = self._book.store.transact(lambda tx: tx.command(*key))
        return stored is not None and stored.state in WAITING

    def recover(self) -> Found:
        """After a start: what is to be taken up; all others are at an end."""
        return self._book.store.transact(self._recover)

    def _dispatch(self, tx: Transaction, key: Key, evidence: Evidence) -> Command | None:
        stored = tx.command(*key)
        if stored is None or stored.state not in WAITING:
            return None
        try:
            command = reread(stored)
            case = self._book.case(tx, stored.payload, stored.kids, command, evidence=evidence)
            check_all(case)
        except CommandRefused as refusal:
            tx.count(f"refused.{refusal.code.value}")
            move(self._book, tx, stored, Event.RECHECK_FAILED, refusal.code, reason=refusal.cause)
            return None
        self._note_safety(tx, case)
        if evidence.reached(command.op):
            move(self._book, tx, stored, Event.ALREADY_THERE, reason="there already, nothing was sent")
            return None
        self._note(tx, case)
        state = after(stored.state, Event.DISPATCH)
        self._book.journal(tx, account_of(stored, state))
        tx.save_command(replace(stored, state=state))
        return command

    def _note(self, tx: Transaction, case: Case) -> None:
        """What is remembered of a command that is about to be sent."""
        command, moment = case.command, case.moment
        if case.column is Operation.DISCONNECT:
            tx.authority.note_sent(command.iss, command.cmd_id, moment.now_s, moment.boot_s)

    def _note_safety(self, tx: Transaction, case: Case) -> None:
        """What is open for safety stays so until two people end it, also where nothing had to be sent for it."""
        command = case.command
        if case.column is Operation.DISCONNECT and command.why is Why.SAFETY and command.seq is not None:
            tx.authority.note_safety(command.meter, command.seq)
        elif command.op is Operation.CONNECT and two_independent([case.trust.keys[kid] for kid in case.kids]):
            tx.authority.note_safety(command.meter, 0)

    def _recover(self, tx: Transaction) -> Found:
        found = Found([], [])
        for stored in tx.open_commands():
            try:
                command = reread(stored)
            except CommandRefused as fault:  # a flipped bit, or another schema: no reason never to start again
                event = Event.RECOVERED_OTHER if stored.state is State.DISPATCHED else Event.CRASHED
                move(self._book, tx, stored, event, fault.code, reason=fault.cause)
                continue
            if stored.state is State.DISPATCHED:
                found.inspected.append(command)
            elif command.op is Operation.CONNECT:
                found.resumed.append(command)
            else:
                move(self._book, tx, stored, Event.CRASHED, reason="the box restarted before anything was sent")
        return found


def move(
    book: Book,
    tx: Transaction,
    stored: StoredCommand,
    event: Event,
    code: Refusal | None = None,
    *,
    reason: str,
    readback: Sequence[ReadBack] = (),
) -> State:
    """Move a kept command on, with its journal link and its receipt. Returns where it stands then."""
    state = after(stored.state, event)
    cause = UNPROVEN if event is Event.RECOVERED_TARGET else ""
    account = replace(account_of(stored, state), code=code, reason=reason, readback=readback, cause=cause)
    receipt = book.record(tx, account)
    tx.save_command(replace(stored, state=state, receipt=receipt, repeated_at=0))
    log.info("%s %s: %s, now %s %s", stored.iss, stored.cmd_id, event.value, state.value, reason)
    return state
