"""The docket: what is decided about a command when it comes, each decision one transaction of the store.

State, sequence, debit, journal link, signed receipt and receipt record are committed together or not at all, and
whoever asked learns of it after the commit. A refusal up to the quorum leaves the command's id free; from then on the
id is used up, whatever the answer was. Source: reference/command-authority.md 0 items 2 and 8, 8 (steps 9 to 23).
"""

import logging
from collections.abc import Mapping
from dataclasses import replace

from dcu.command import Command, CommandRefused, Debit, Event, Operation, Refusal, State, StoredCommand, Why
from dcu.ports import Transaction
from dcu.record import Stream, encode_receipt
from dcu.relay.allowance import AGAIN_S
from dcu.relay.book import Book, legible
from dcu.relay.case import Case
from dcu.relay.checks import MEANT, UNCONSUMED, Check, check_all
from dcu.relay.checks.safety import spacing_left_s
from dcu.relay.duties import AT_ONCE
from dcu.relay.envelope import Opened
from dcu.relay.letters import Verdict
from dcu.relay.life import move
from dcu.relay.policy import two_independent
from dcu.relay.policy.floor import FREEZE_S
from dcu.relay.receipts import Account
from dcu.relay.resends import want
from dcu.relay.restraints import FREEZE, restraint
from dcu.relay.roster import Roster
from dcu.relay.ruling import Ruling
from dcu.relay.schema import hints, read_command
from dcu.relay.withdrawals import note

log = logging.getLogger(__name__)


class Docket:
    """Decides about commands whose signatures verified. Called by the relay thread only."""

    def __init__(self, book: Book) -> None:
        self._book = book
        self._change: tuple[Roster, Command] | None = None  # of the meters, to take effect after the commit

    def command(self, opened: Opened) -> Ruling:
        """Judge a command, and commit what was decided."""
        self._change = None
        ruling = self._book.store.transact(lambda tx: self._command(tx, opened))
        self._take_effect()
        return ruling

    def _take_effect(self) -> None:
        if self._change is not None:
            roster, command = self._change
            roster.take_effect(command)

    def count(self, refusals: Mapping[str, int]) -> None:
        """Count what was refused before anybody was known to have signed it."""

        def work(tx: Transaction) -> None:
            for name, times in refusals.items():
                for _ in range(times):
                    tx.count(f"refused.{name}")

        self._book.store.transact(work)

    def _command(self, tx: Transaction, opened: Opened) -> Ruling:
        account = Account("command", "", "", "", "", opened.digest, opened.kids, State.REFUSED.value)
        try:
            claims = opened.claims
            iss, cmd_id, op, meter = hints(claims)
            account = replace(account, iss=iss, cmd_id=cmd_id, op=op, meter=meter)
            command = read_command(claims)
        except CommandRefused as refusal:
            return self._book.refuse(tx, account, refusal)
        known = tx.command(command.iss, command.cmd_id)
        if known is not None and known.digest == opened.digest:
            return self._repeat(tx, known, command)
        case = self._book.case(tx, opened.payload, opened.kids, command, known=known)
        wrong = _refusal_of(case)
        if wrong is not None and wrong.code in UNCONSUMED:
            return self._book.refuse(tx, account, wrong)
        allowed = self._book.allowances.command(opened.kids, command.op, self._book.clock.monotonic_s())
        if wrong is not None or not allowed:
            self._take_back_all_the_same(tx, case)
        if not allowed:
            tx.count(f"refused.{Refusal.E_FLOOD.value}")
            return Ruling(Verdict("refused", Refusal.E_FLOOD), cause="more commands of a key than anyone needs")
        if wrong is not None:
            return self._book.refuse(tx, account, wrong, opened.payload)
        return self._accept(tx, account, case, opened.payload)

    def _take_back_all_the_same(self, tx: Transaction, case: Case) -> None:
        """It is refused for what has nothing to do with taking back: what waits to disconnect is void, and stays so."""
        command = case.command
        if case.column is Operation.DISCONNECT or not _is_meant(case):
            return
        seq = command.seq if command.op is Operation.CONNECT else None
        if seq is not None:
            tx.raise_relay_sequence(command.meter, seq, disconnect=False)
        self._overtake(tx, case)

    def _accept(self, tx: Transaction, account: Account, case: Case, payload: bytes) -> Ruling:
        command, policy = case.command, case.policy
        cuts = case.column is Operation.DISCONNECT
        seq = command.seq if cuts or command.op is Operation.CONNECT else None
        if seq is not None:
            tx.raise_relay_sequence(command.meter, seq, disconnect=cuts)
        if cuts:
            tx.authority.debit(self._debit(case))
        else:
            self._overtake(tx, case)
        state = State.DONE if command.op in AT_ONCE else State.PENDING if cuts else State.ACCEPTED
        account = replace(account, state=state.value, pol=policy.version if policy is not None else None)
        if command.op in AT_ONCE:
            self._do(tx, case)
        self._book.save(tx, account, payload, self._book.record(tx, account))
        verdict = Verdict("accepted")
        if command.op in AT_ONCE:
            return Ruling(verdict, meter=command.meter)
        law = policy if cuts else None  # nothing else waits
        caps = law.caps[case.profile] if law is not None else None
        wait_s, spacing_s = (caps.wait_s, caps.spacing_s) if caps is not None else (0, 0)
        wait_s = max(wait_s, spacing_left_s(case.ledger.debits, case.moment, spacing_s))
        return Ruling(verdict, command, wait_s, spacing_s, cuts, meter=command.meter)

    def _debit(self, case: Case) -> Debit:
        command, moment = case.command, case.moment
        debit = Debit(
            *(command.iss, command.cmd_id, case.profile, command.permit or ""),
            *(moment.now_s, moment.boot, moment.boot_s),
        )
        leave = case.ledger.leave
        return replace(debit, total=leave.permit.of) if leave.permit is not None else debit

    def _do(self, tx: Transaction, case: Case) -> None:
        """What is done by the decision itself."""
        command, book = case.command, self._book
        if command.op is Operation.FREEZE:
            who = ", ".join(sorted({case.trust.keys[kid].person for kid in case.kids}))
            why = command.why.value if command.why is not None else command.cmd_id
            tx.authority.restrain(restraint(FREEZE, command.meter, who, why, FREEZE_S, case.moment))
        elif command.op is Operation.UNFREEZE:
            tx.authority.lift(FREEZE, command.meter)
        elif command.op is Operation.RESEND:
            want(tx, command)
        elif command.op is Operation.METER and book.roster is not None:
            book.roster.keep(tx, command)
            self._change = book.roster, command
            if command.old is not None:  # it replaces that one
                hand_on(tx, command.old, command.meter)
        elif command.cancels is not None:  # a cancel
            stored = tx.command(command.iss, command.cancels)
            if stored is not None:
                move(book, tx, stored, Event.CANCEL, reason=f"taken back by {command.cmd_id}")
            else:
                note(tx, command.cancels, command, case.moment.known_s)

    def _overtake(self, tx: Transaction, case: Case) -> None:
        """A connect, a payment or a freeze makes void what still waits to disconnect.

        So it does where it is refused itself for what has nothing to do with that: a lock, a meter that is set aside.
        """
        command = case.command
        if command.op not in {Operation.CONNECT, Operation.BALANCE, Operation.FREEZE}:
            return
        for stored in tx.open_commands():
            if stored.state is State.PENDING and _overtakes(case, stored):
                move(self._book, tx, stored, Event.VOID, reason=f"overtaken by {command.op.value} {command.cmd_id}")

    def _repeat(self, tx: Transaction, known: StoredCommand, command: Command) -> Ruling:
        """The very same command again: its receipt as it stands, given out again at most once a minute.

        Not when its time is over: whoever recorded a command could fill the store with it for ever.
        """
        moment = self._book.moment()
        now_s, over = moment.now_s, moment.clock.known and moment.now_s >= command.exp
        waited = abs(now_s - known.repeated_at) >= AGAIN_S
        if waited and not over and self._book.allowances.repeat(self._book.clock.monotonic_s()):
            tx.append(Stream.RECEIPT, encode_receipt(known.receipt))
            tx.save_command(replace(known, repeated_at=now_s))
        return Ruling(Verdict("duplicate"))


def _refusal_of(case: Case, table: tuple[Check, ...] | None = None) -> CommandRefused | None:
    try:
        check_all(case, table)
    except CommandRefused as refusal:
        return refusal
    return None


def _is_meant(case: Case) -> bool:
    """Whether those who may have ordered it, for this box, now."""
    return _refusal_of(case, MEANT) is None


def _overtakes(case: Case, stored: StoredCommand) -> bool:
    """Whether it makes void what waits. What was ordered for safety is given up by two people, or by a freeze."""
    command = case.command
    other = legible(stored)  # what cannot be read will end by itself
    if other is None or command.meter not in {"", other.meter}:
        return False
    if command.op is Operation.BALANCE:
        return other.why is Why.CREDIT
    two = two_independent([case.trust.keys[kid] for kid in case.kids])
    return command.op is Operation.FREEZE or other.why is not Why.SAFETY or two


def hand_on(tx: Transaction, old: str, new: str) -> None:
    """A meter is exchanged: freezes, locks and an order of safety hold for the one that comes as they did."""
    for each in tx.authority.restraints():
        if each.meter == old:
            tx.authority.restrain(replace(each, meter=new))
    safety = tx.relay_sequence(old).safety
    if safety:
        tx.raise_relay_sequence(new, 0, disconnect=False)  # there has to be one to be marked
        tx.authority.note_safety(new, safety)
