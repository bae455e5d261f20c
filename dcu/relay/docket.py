"""The docket: what is decided about a document when it comes, each decision one transaction of the store.

State, sequence, journal link, signed receipt and receipt record are committed together or not at all, and whoever
asked learns of it after the commit. A refusal up to the quorum leaves the command's id free; from then on the id is
used up, whatever the answer was. Source: reference/command-authority.md 0 items 2 and 8, 8 (steps 9 to 23).
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from dcu.command import Command, CommandRefused, Operation, State, StoredCommand
from dcu.ports import Transaction
from dcu.record import Stream, encode_receipt
from dcu.relay.book import POLICY_DOCUMENT, Book
from dcu.relay.case import Case
from dcu.relay.checks import UNCONSUMED, check_all
from dcu.relay.envelope import Opened, payload_of
from dcu.relay.gate import Sampler
from dcu.relay.letters import Verdict
from dcu.relay.policy import vet_policy
from dcu.relay.receipts import Account
from dcu.relay.schema import hints, read_command

log = logging.getLogger(__name__)

AGAIN_S: Final = 60
"""The same document again is answered at most this often."""


@dataclass(frozen=True, slots=True)
class Ruling:
    """What was decided and committed about a document.

    Attributes:
        verdict: for who handed it in.
        command: to be carried out now, or None.
        cause: of a refusal, in words.
        meter: serial that the document names, where that is legible.
    """

    verdict: Verdict
    command: Command | None = None
    cause: str = ""
    meter: str = ""


class Docket:
    """Decides about documents whose signatures verified. Called by the relay thread only."""

    def __init__(self, book: Book) -> None:
        self._book = book
        self._answered = Sampler(AGAIN_S)

    def command(self, opened: Opened) -> Ruling:
        """Judge a command, and commit what was decided."""
        return self._book.store.transact(lambda tx: self._command(tx, opened))

    def policy(self, opened: Opened, envelope: bytes) -> Ruling:
        """Judge a policy; from the commit on it is in force."""
        return self._book.store.transact(lambda tx: self._policy(tx, opened, envelope))

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
            return self._refuse(tx, account, refusal)
        known = tx.command(command.iss, command.cmd_id)
        if known is not None and known.digest == opened.digest:
            return self._repeat(tx, known)
        case = self._book.case(tx, opened.payload, opened.kids, command, known=known)
        try:
            check_all(case)
        except CommandRefused as refusal:
            return self._refuse(tx, account, refusal, b"" if refusal.code in UNCONSUMED else opened.payload)
        return self._accept(tx, account, case, opened.payload)

    def _accept(self, tx: Transaction, account: Account, case: Case, payload: bytes) -> Ruling:
        command = case.command
        if command.seq is not None:
            tx.raise_relay_sequence(command.meter, command.seq, disconnect=command.op is Operation.DISCONNECT)
        pol = case.policy.version if case.policy is not None else None
        account = replace(account, state=State.ACCEPTED.value, pol=pol)
        self._book.save(tx, account, payload, self._book.record(tx, account))
        return Ruling(Verdict("accepted"), command, meter=command.meter)

    def _policy(self, tx: Transaction, opened: Opened, envelope: bytes) -> Ruling:
        book, trust = self._book, self._book.trust
        held = tx.document(POLICY_DOCUMENT)
        account = Account("policy", trust.issuer, "", "policy", "", opened.digest, opened.kids, State.ACCEPTED.value)
        if held is not None and payload_of(held[1]) == opened.payload:
            if self._answered.due(opened.digest, book.clock.monotonic_s()):
                book.record(tx, replace(account, pol=held[0]))
            return Ruling(Verdict("duplicate"))
        above = held[0] if held is not None else 0
        try:
            policy = vet_policy(opened, trust.keys, trust.issuer, book.dcu, book.now_s(), above)
        except CommandRefused as refusal:
            return self._refuse(tx, replace(account, state=State.REFUSED.value), refusal)
        tx.save_document(POLICY_DOCUMENT, policy.version, envelope)
        book.record(tx, replace(account, pol=policy.version))
        log.info("policy %d of %s is in force until %d", policy.version, policy.iss, policy.exp)
        return Ruling(Verdict("accepted"))

    def _refuse(self, tx: Transaction, account: Account, refusal: CommandRefused, payload: bytes = b"") -> Ruling:
        """Count and answer; the same refusal of the same document at most once a minute.

        Args:
            tx: the transaction.
            account: what is to be told.
            refusal: why.
            payload: of a command whose id is used up by the refusal; else empty.
        """
        tx.count(f"refused.{refusal.code.value}")
        account = replace(account, code=refusal.code, reason=refusal.cause)
        if payload:
            self._book.save(tx, account, payload, self._book.record(tx, account))
        elif self._answered.due((account.digest, refusal.code), self._book.clock.monotonic_s()):
            self._book.record(tx, account)
        return Ruling(Verdict("refused", refusal.code), cause=refusal.cause, meter=account.meter)

    def _repeat(self, tx: Transaction, known: StoredCommand) -> Ruling:
        """The very same command again: its receipt as it stands, given out again at most once a minute."""
        now_s = self._book.now_s()
        if abs(now_s - known.repeated_at) >= AGAIN_S:
            tx.append(Stream.RECEIPT, encode_receipt(known.receipt))
            tx.save_command(replace(known, repeated_at=now_s))
        return Ruling(Verdict("duplicate"))
