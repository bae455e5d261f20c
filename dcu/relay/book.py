"""The parts of every decision: the case as the store knows it, the journal's link, the signed receipt.

All of it happens inside a transaction, in the writer's thread. Source: reference/command-authority.md 5 and 8.
"""

import hashlib
from collections.abc import Callable, Mapping
from typing import Final

from dcu.clock import BUILT
from dcu.command import Command, CommandRefused, Operation, Refusal, State, StoredCommand
from dcu.meter import Meter
from dcu.ports import Clock, Store, Transaction
from dcu.record import Stream, encode_receipt
from dcu.relay.canonical import canonical
from dcu.relay.case import Case, Evidence
from dcu.relay.envelope import Signer, claims_of
from dcu.relay.policy import Policy, policy_in_force
from dcu.relay.receipts import Account, seal_receipt
from dcu.relay.schema import read_command
from dcu.relay.trust import TrustStore

POLICY_DOCUMENT: Final = "policy"


class Book:
    """What all decisions have in common.

    Args:
        dcu: this box.
        store: its store; the journal's id is the store's epoch.
        clock: its clock.
        trust: current; replaced when another one comes into force.
        meters: commissioned here, by serial.
        signer: the box's receipt key.
        set_aside: whether a serial is set aside.
    """

    def __init__(
        self,
        *,
        dcu: str,
        store: Store,
        clock: Clock,
        trust: TrustStore,
        meters: Mapping[str, Meter],
        signer: Signer,
        set_aside: Callable[[str], bool],
    ) -> None:
        self.dcu = dcu
        self.store = store
        self.clock = clock
        self.trust = trust
        self.meters = meters
        self._signer = signer
        self._set_aside = set_aside

    def now_s(self) -> int:
        """UTC seconds by the box's clock."""
        return int(self.clock.now().timestamp())

    def case(
        self,
        tx: Transaction,
        payload: bytes,
        kids: tuple[str, ...],
        command: Command,
        *,
        known: StoredCommand | None = None,
        evidence: Evidence | None = None,
    ) -> Case:
        """A command and everything that is known of it at this moment."""
        policy, fault = self._policy(tx) if command.op is not Operation.CONNECT else (None, "")
        return Case(
            command=command,
            claims=claims_of(payload),
            digest=hashlib.sha256(payload).digest(),
            known=known.digest if known is not None else None,
            kids=kids,
            trust=self.trust,
            policy=policy,
            policy_fault=fault,
            dcu=self.dcu,
            jid=self.store.epoch,
            now_s=self.now_s(),
            clock=self.clock.state(),
            floor_s=int(BUILT.timestamp()),
            sequence=tx.relay_sequence(command.meter),
            meter=self.meters.get(command.meter),
            set_aside=self._set_aside(command.meter),
            evidence=evidence,
        )

    def save(self, tx: Transaction, account: Account, payload: bytes, receipt: bytes) -> None:
        """Keep a command that has used its id up."""
        tx.save_command(
            StoredCommand(
                account.iss,
                account.cmd_id,
                account.digest,
                payload,
                account.kids,
                State(account.state),
                receipt,
                repeated_at=0,
            )
        )

    def journal(self, tx: Transaction, account: Account) -> tuple[int, bytes]:
        """Append an account to the hash-chained journal: (number, digest of the new head)."""
        body = canonical({**account.claims, "kids": list(account.kids), "clock": self.clock.state().value})
        return tx.journal(self.now_s(), account.kind, body)

    def record(self, tx: Transaction, account: Account) -> bytes:
        """Journal an account, sign its receipt, and put that on the stream. Returns the receipt."""
        n, chain = self.journal(tx, account)
        receipt = seal_receipt(
            account,
            self._signer,
            dcu=self.dcu,
            jid=self.store.epoch,
            at_s=self.now_s(),
            clock=self.clock.state(),
            n=n,
            chain=chain,
        )
        tx.append(Stream.RECEIPT, encode_receipt(receipt))
        return receipt

    def _policy(self, tx: Transaction) -> tuple[Policy | None, str]:
        document = tx.document(POLICY_DOCUMENT)
        try:
            return policy_in_force(document, self.trust.keys, self.trust.issuer, self.dcu, self.now_s()), ""
        except CommandRefused as refusal:
            return None, refusal.cause


def reread(stored: StoredCommand) -> Command:
    """The command that the journal keeps.

    Raises:
        CommandRefused: E_STORE: what is kept is not what was signed.
    """
    if hashlib.sha256(stored.payload).digest() != stored.digest:
        raise CommandRefused(Refusal.E_STORE, f"{stored.cmd_id}: what is kept is not what was signed")
    return read_command(claims_of(stored.payload))


def account_of(stored: StoredCommand, state: State) -> Account:
    """The account of a kept command in `state`, to be completed with `dataclasses.replace`.

    One that can no longer be read is told without operation and meter: it must come to its end all the same.
    """
    try:
        command = reread(stored)
        op, meter = command.op.value, command.meter
    except CommandRefused:
        op = meter = ""
    return Account("command", stored.iss, stored.cmd_id, op, meter, stored.digest, stored.kids, state.value)
