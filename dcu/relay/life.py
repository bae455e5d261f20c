"""The life of an accepted command, each step one transaction of the store; and what a restart finds.

Recovery reads and never sends: an accepted disconnect or message is ABANDONED, an accepted connect is taken up again
(judged anew before its meter, so only while its time holds), and a command in DISPATCHED is inspected: where the meter
stands as it was asked to, DONE_BY_READBACK with cause `unproven`, else IN_DOUBT.
Source: reference/command-authority.md 0 items 3 and 4, 5, 8 (steps 25 to 28).
"""

import logging
from collections.abc import Sequence
from dataclasses import replace

from dcu.command import (
    Command,
    CommandRefused,
    Event,
    Operation,
    Refusal,
    State,
    StoredCommand,
    after,
)
from dcu.ports import Transaction
from dcu.relay.book import Book, account_of, reread
from dcu.relay.case import Evidence
from dcu.relay.checks import check_all
from dcu.relay.letters import Key
from dcu.relay.receipts import UNPROVEN, ReadBack

log = logging.getLogger(__name__)


class Life:
    """Moves accepted commands to their ends. Called by the relay thread only."""

    def __init__(self, book: Book) -> None:
        self._book = book

    def dispatch(self, key: Key, evidence: Evidence) -> Command | None:
        """Judge a command again before its meter. Returns it when DISPATCHED is on disk; None: it is at an end."""
        return self._book.store.transact(lambda tx: self._dispatch(tx, key, evidence))

    def settle(self, key: Key, event: Event, reason: str = "", readback: Sequence[ReadBack] = ()) -> State | None:
        """Move a dispatched command to its end. Returns that, or None where it is not dispatched any more."""

        def work(tx: Transaction) -> State | None:
            stored = tx.command(*key)
            if stored is None or stored.state is not State.DISPATCHED:
                return None
            return self._move(tx, stored, event, reason=reason, readback=readback)

        return self._book.store.transact(work)

    def refuse(self, key: Key, code: Refusal, reason: str) -> State | None:
        """End a command that is still before its dispatch. Returns its end, or None where it is beyond that."""

        def work(tx: Transaction) -> State | None:
            stored = tx.command(*key)
            if stored is None or stored.state is not State.ACCEPTED:
                return None
            tx.count(f"refused.{code.value}")
            return self._move(tx, stored, Event.RECHECK_FAILED, code, reason)

        return self._book.store.transact(work)

    def recover(self) -> tuple[list[Command], list[Command]]:
        """After a start: (connects to take up again, dispatched commands to inspect); all others are at an end."""
        return self._book.store.transact(self._recover)

    def _dispatch(self, tx: Transaction, key: Key, evidence: Evidence) -> Command | None:
        stored = tx.command(*key)
        if stored is None or stored.state is not State.ACCEPTED:
            return None
        try:
            command = reread(stored)
            check_all(self._book.case(tx, stored.payload, stored.kids, command, evidence=evidence))
        except CommandRefused as refusal:
            tx.count(f"refused.{refusal.code.value}")
            self._move(tx, stored, Event.RECHECK_FAILED, refusal.code, refusal.cause)
            return None
        if evidence.reached(command.op):
            self._move(tx, stored, Event.ALREADY_THERE, reason="there already, nothing was sent")
            return None
        state = after(stored.state, Event.DISPATCH)
        self._book.journal(tx, account_of(stored, state))
        tx.save_command(replace(stored, state=state))
        return command

    def _recover(self, tx: Transaction) -> tuple[list[Command], list[Command]]:
        resumed: list[Command] = []
        inspected: list[Command] = []
        for stored in tx.open_commands():
            try:
                command = reread(stored)
            except CommandRefused as fault:  # a flipped bit, or another schema: no reason never to start again
                event = Event.RECOVERED_OTHER if stored.state is State.DISPATCHED else Event.CRASHED
                self._move(tx, stored, event, fault.code, fault.cause)
                continue
            if stored.state is State.DISPATCHED:
                inspected.append(command)
            elif command.op is Operation.CONNECT:
                resumed.append(command)
            else:
                self._move(tx, stored, Event.CRASHED, reason="the box restarted before anything was sent")
        return resumed, inspected

    def _move(
        self,
        tx: Transaction,
        stored: StoredCommand,
        event: Event,
        code: Refusal | None = None,
        reason: str = "",
        readback: Sequence[ReadBack] = (),
    ) -> State:
        state = after(stored.state, event)
        cause = UNPROVEN if event is Event.RECOVERED_TARGET else ""
        account = replace(account_of(stored, state), code=code, reason=reason, readback=readback, cause=cause)
        receipt = self._book.record(tx, account)
        tx.save_command(replace(stored, state=state, receipt=receipt, repeated_at=0))
        log.info("%s %s: %s, now %s %s", stored.iss, stored.cmd_id, event.value, state.value, reason)
        return state
