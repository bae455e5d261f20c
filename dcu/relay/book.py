"""The parts of every decision: the case as the store knows it, the journal's link, the signed receipt.

All of it happens inside a transaction, in the writer's thread. Source: reference/command-authority.md 5 and 8.
"""

import hashlib
import secrets
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from datetime import tzinfo
from typing import Final

from dcu.command import Command, CommandRefused, Debit, Operation, Refusal, State, StoredCommand, Why
from dcu.meter import Meter
from dcu.ports import Clock, Store, Transaction
from dcu.record import Stream, encode_receipt
from dcu.relay.allowance import Allowances
from dcu.relay.canonical import canonical
from dcu.relay.case import Case, Evidence, Ledger, Moment
from dcu.relay.duties import CARRIED_OUT
from dcu.relay.envelope import Signer, claims_of
from dcu.relay.key_document import TrustStore
from dcu.relay.leases import Leases
from dcu.relay.letters import Verdict
from dcu.relay.permit import Leave, Permit, held_permit
from dcu.relay.policy import Policy, policy_in_force, policy_kept
from dcu.relay.policy.floor import WEEK_S
from dcu.relay.public_key import PublicKey
from dcu.relay.receipts import Account, seal_receipt
from dcu.relay.resends import ranges
from dcu.relay.restraints import holding
from dcu.relay.roster import Roster
from dcu.relay.ruling import Ruling
from dcu.relay.schema import read_command
from dcu.relay.standing import POLICY_BASE, POLICY_NARROWED
from dcu.relay.trust import Commissioning
from dcu.relay.withdrawals import held, is_taken_back

_NONCE_OCTETS: Final = 12


class Book:
    """What all decisions have in common.

    Args:
        dcu: this box.
        store: its store; the journal's id is the store's epoch.
        clock: its clock.
        commissioning: its root of trust.
        meters: commissioned here, by serial.
        signer: the box's receipt key.
        zone: of the box, and of its meters' clocks.
        set_aside: whether a serial is set aside.
        meters_heard: whether the meters' clocks could have spoken against the box's since the process began.
        roster: carries a `meter` out; None: such a command is refused.

    Attributes:
        allowances: how much may be written for documents.
        trust: current; replaced when another one comes into force.
        leases: that this process gave out.
    """

    def __init__(
        self,
        *,
        dcu: str,
        store: Store,
        clock: Clock,
        commissioning: Commissioning,
        meters: Mapping[str, Meter],
        signer: Signer,
        zone: tzinfo,
        set_aside: Callable[[str], bool],
        meters_heard: Callable[[], bool],
        roster: Roster | None = None,
    ) -> None:
        self.dcu = dcu
        self.store = store
        self.clock = clock
        self.commissioning = commissioning
        self.trust: TrustStore = commissioning.root
        self.meters = meters
        self.allowances = Allowances()
        self.leases = Leases(lambda: f"L-{secrets.token_hex(_NONCE_OCTETS)}")
        self._signer = signer
        self._zone = zone
        self._set_aside = set_aside
        self._meters_heard = meters_heard
        self.roster = roster

    def now_s(self) -> int:
        """UTC seconds by the box's clock."""
        return int(self.clock.now().timestamp())

    def moment(self) -> Moment:
        """Now."""
        return Moment(
            self.now_s(),
            self.clock.state(),
            int(self.clock.floor().timestamp()),
            self.clock.boot_id,
            int(self.clock.boottime_s()),
            heard=self._meters_heard(),
        )

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
        moment = self.moment()
        policy, fault = self.policy(tx)
        return Case(
            command=command,
            claims=claims_of(payload),
            digest=hashlib.sha256(payload).digest(),
            kids=kids,
            trust=self.trust,
            policy=policy,
            policy_fault=fault,
            dcu=self.dcu,
            jid=self.store.epoch,
            moment=moment,
            ledger=self._ledger(tx, command, moment, known),
            leases=self.leases.good(self.clock.boottime_s()),
            meter=self.meters.get(command.meter),
            set_aside=self._set_aside(command.meter),
            meters=len(policy.meters.keys() & self.meters.keys()) if policy is not None else 0,
            zone=self._zone,
            carried_out=CARRIED_OUT if self.roster is not None else CARRIED_OUT - {Operation.METER},
            evidence=evidence,
            change_fault=self._change_fault(command),
            kept=self._kept_for(tx, command, policy, due=evidence is not None),
        )

    def _change_fault(self, command: Command) -> str:
        return self.roster.fault(command) if self.roster is not None and command.op is Operation.METER else ""

    def policy(self, tx: Transaction) -> tuple[Policy | None, str]:
        """The policy that holds now, or None and why."""
        base, narrowed = (found[1] if found else None for found in map(tx.document, (POLICY_BASE, POLICY_NARROWED)))
        try:
            trust = self.trust
            return policy_in_force(base, narrowed, trust.keys, trust.issuer, self.dcu, self.now_s()), ""
        except CommandRefused as refusal:
            return None, refusal.cause

    def kept(self, tx: Transaction) -> Policy | None:
        """The policy that two people signed last, whatever its dates and keys say by now."""
        found = tx.document(POLICY_BASE)
        return policy_kept(found[1] if found else None)

    def _kept_for(self, tx: Transaction, command: Command, policy: Policy | None, *, due: bool) -> Policy | None:
        """The policy that goes on to spare consumers, where that bears on a command.

        A limit's floor is the higher one of what two people signed and what one narrowed since.
        """
        if command.op is Operation.CONNECT:
            return self.kept(tx) if due else None
        if command.op is not Operation.LIMIT or policy is not None:
            return None
        kept, found = self.kept(tx), tx.document(POLICY_NARROWED)
        narrowed = policy_kept(found[1] if found else None)
        if kept is None or narrowed is None:
            return kept
        return replace(kept, limit_floor_w=max(kept.limit_floor_w, narrowed.limit_floor_w))

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
        """Journal an account, sign its receipt, and put that on the stream. Returns the receipt.

        What is told of a command names the policy that was in force, whatever became of the command.
        """
        if account.kind == "command" and account.pol is None:
            policy, _ = self.policy(tx)
            account = replace(account, pol=policy.version if policy is not None else None)
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

    def refuse(self, tx: Transaction, account: Account, refusal: CommandRefused, payload: bytes = b"") -> Ruling:
        """Count it and answer: what leaves the id free at most once a minute, and within the allowance of its keys.

        Args:
            tx: the transaction.
            account: what is to be told.
            refusal: why.
            payload: of a command whose id is used up by the refusal; else empty.
        """
        tx.count(f"refused.{refusal.code.value}")
        account = replace(account, state=State.REFUSED.value, code=refusal.code, reason=refusal.cause)
        if payload:
            self.save(tx, account, payload, self.record(tx, account))
        elif self.allowances.refusal(account.digest, refusal.code, account.kids, self.clock.monotonic_s()):
            self.record(tx, account)
        return Ruling(Verdict("refused", refusal.code), cause=refusal.cause, meter=account.meter)

    def _ledger(self, tx: Transaction, command: Command, moment: Moment, known: StoredCommand | None) -> Ledger:
        authority = tx.authority
        bears = command.op is Operation.CANCEL or command.lease is not None  # what cuts names one
        withdrawn = held(tx, moment.known_s) if bears else []
        debits = authority.debits(moment.now_s - WEEK_S, moment.boot)
        others = [debit for debit in debits if (debit.iss, debit.cmd_id) != (command.iss, command.cmd_id)]
        return Ledger(
            known=known.digest if known is not None else None,
            sequence=tx.relay_sequence(command.meter),
            debits=others,
            debited=len(others) < len(debits),
            restraints=holding(authority.restraints(), command.meter, moment),
            leave=self._leave(tx, command, moment, debits),
            cancels=self._cancelled(tx, command),
            withdrawn=is_taken_back(withdrawn, command),
            withdrawals=len(withdrawn),
            safety_waits=command.op is Operation.CONNECT and self._safety_waits(tx, command.meter),
            last_id=tx.cursors()[Stream(command.stream)][1] if command.stream is not None else None,
            ranges=len(ranges(tx)) if command.op is Operation.RESEND else 0,
        )

    def _leave(self, tx: Transaction, command: Command, moment: Moment, debits: Collection[Debit]) -> Leave:
        """What the permit that a command names says now, verified again on current trust."""
        if command.permit is None:
            return Leave(fault="the command names none")
        own = sum((debit.iss, debit.cmd_id) == (command.iss, command.cmd_id) for debit in debits)
        try:
            permit, signer = self._permit(tx, command.iss, command.permit, moment)
            used = tx.authority.permit_uses(command.iss, permit.id) - own
            if not permit.of:
                return Leave(permit, "", (signer,), used)
            whole, person = self._permit(tx, command.iss, permit.of, moment)  # what it is a share of
        except CommandRefused as refusal:
            return Leave(fault=str(refusal))
        if whole.profile is not None or whole.date != permit.date or whole.max_n < permit.max_n:
            return Leave(fault=f"{permit.of} is no total of the city that it could be a share of")
        total_used = tx.authority.permit_uses(command.iss, whole.id) - own
        return Leave(permit, "", (signer, person), used, whole.max_n, total_used)

    def _permit(self, tx: Transaction, iss: str, name: str, moment: Moment) -> tuple[Permit, PublicKey]:
        envelope = tx.authority.permit(iss, name)
        if envelope is None:
            raise CommandRefused(Refusal.E_PERMIT, f"{name} is not known here")
        trust = self.trust
        return held_permit(envelope, trust.keys, trust.issuer, self.dcu, self.store.epoch, moment.now_s)

    def _safety_waits(self, tx: Transaction, meter: str) -> bool:
        """Whether a disconnect for safety waits at that meter."""
        waiting = [legible(stored) for stored in tx.open_commands() if stored.state is State.PENDING]
        return any(other is not None and (other.meter, other.why) == (meter, Why.SAFETY) for other in waiting)

    def _cancelled(self, tx: Transaction, command: Command) -> tuple[str, State] | None:
        stored = tx.command(command.iss, command.cancels) if command.cancels is not None else None
        return (account_of(stored, stored.state).meter, stored.state) if stored is not None else None


def reread(stored: StoredCommand) -> Command:
    """The command that the journal keeps.

    Raises:
        CommandRefused: E_STORE: what is kept is not what was signed.
    """
    if hashlib.sha256(stored.payload).digest() != stored.digest:
        raise CommandRefused(Refusal.E_STORE, f"{stored.cmd_id}: what is kept is not what was signed")
    return read_command(claims_of(stored.payload))


def legible(stored: StoredCommand) -> Command | None:
    """The same; None where it cannot be read: such a command is not carried out, and comes to its end all the same."""
    try:
        return reread(stored)
    except CommandRefused:
        return None


def account_of(stored: StoredCommand, state: State) -> Account:
    """The account of a kept command in `state`, to be completed with `dataclasses.replace`.

    One that can no longer be read is told without operation and meter.
    """
    command = legible(stored)
    op, meter = (command.op.value, command.meter) if command is not None else ("", "")
    return Account("command", stored.iss, stored.cmd_id, op, meter, stored.digest, stored.kids, state.value)


def is_connect(stored: StoredCommand) -> bool:
    """Whether a kept command gives light; what cannot be read does not."""
    command = legible(stored)
    return command is not None and command.op is Operation.CONNECT
