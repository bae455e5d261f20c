"""What is decided about documents that are no commands: keys, policies, permits; and the leases that are given out.

Each decision is one transaction: the document, journal link, signed receipt. Called by the relay thread only.
Source: reference/command-authority.md 0 items 6, 9 and 12.
"""

import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Final

from dcu.command import CommandRefused, Refusal, State
from dcu.ports import Transaction
from dcu.relay.book import Book
from dcu.relay.envelope import KEYS, POLICY, Opened, claims_of, open_envelope, payload_of, typ_of
from dcu.relay.key_document import TrustStore, open_key_document, vet_key_document
from dcu.relay.letters import Verdict
from dcu.relay.permit import vet_permit
from dcu.relay.policy import Policy, briefly, compare, early_since, two_independent, vet_policy
from dcu.relay.receipts import MOST_TEXT, Account
from dcu.relay.ruling import Ruling
from dcu.relay.standing import (
    POLICIES,
    POLICY_BASE,
    POLICY_NARROWED,
    POLICY_SEEN,
    POLICY_WAITING,
    Seen,
    keep_keys,
    least_version,
    trust_in_force,
)
from dcu.relay.trust import Commissioning

log = logging.getLogger(__name__)

WAITING: Final = "waiting"
_WAITS: Final = "takes effect in 24 hours: "
IN_FORCE: Final = "in-force"
GIVEN_OUT: Final = "given-out"

PERMITS_AHEAD: Final = 31
PERMITS_BEHIND: Final = 2
"""Days from today of a permit that is kept."""

Work = Callable[[Transaction], Ruling]


class Documents:
    """Decides about documents whose signatures verified."""

    def __init__(self, book: Book) -> None:
        self._book = book

    # ---- at the start, and when the commissioning root changed ------------------------------------------------------

    def commission(self, commissioning: Commissioning) -> None:
        """The trust store of these roots is in force from now on, with what the store has taken on their word."""
        book = self._book
        book.commissioning = commissioning
        known_s = book.moment().known_s
        book.trust = book.store.transact(lambda tx: trust_in_force(tx, commissioning.root, known_s))
        for document in commissioning.documents:
            try:
                typ, version = typ_of(document), claims_of(payload_of(document)).get("version")
                held = book.trust.version if typ == KEYS else book.store.transact(_newest_policy)
                if not isinstance(version, int) or version <= held:
                    continue  # what came over the air since is newer
                if typ == KEYS:
                    self.keys(document)
                elif typ == POLICY:
                    opened = open_envelope(document, book.trust.keys, known_s, {POLICY})
                    self.policy(opened, document, commissioning=True)
            except CommandRefused as refusal:
                log.warning("trust.json: a document is not taken: %s", refusal)

    # ---- keys -------------------------------------------------------------------------------------------------------

    def keys(self, envelope: bytes) -> Ruling:
        """Judge a key document; from the commit on it is in force.

        Raises:
            CommandRefused: signed by nobody whom this box knows: to be counted, not answered.
        """
        book = self._book
        candidate, opened = open_key_document(book.trust, envelope, book.moment().known_s)
        ruling, trust = book.store.transact(lambda tx: self._keys(tx, candidate, opened, envelope))
        book.trust = trust
        return ruling

    def _keys(
        self, tx: Transaction, candidate: TrustStore, opened: Opened, envelope: bytes
    ) -> tuple[Ruling, TrustStore]:
        book, trust = self._book, self._book.trust
        account = Account("keys", trust.issuer, "", "keys", "", opened.digest, opened.kids, State.ACCEPTED.value)
        account = replace(account, more={"version": candidate.version})
        if trust == candidate:
            return self._again(tx, account), trust
        above = max(trust.version, least_version(tx, trust.issuer))
        try:
            vet_key_document(trust, candidate, opened, book.moment().known_s, above)
        except CommandRefused as refusal:
            return book.refuse(tx, account, refusal), trust
        keep_keys(tx, book.commissioning.root, envelope, candidate.version)
        book.record(tx, account)
        log.info("key document %d of %s is in force", candidate.version, candidate.issuer)
        return Ruling(Verdict("accepted")), candidate

    # ---- policies ---------------------------------------------------------------------------------------------------

    def policy(self, opened: Opened, envelope: bytes, *, commissioning: bool) -> Ruling:
        """Judge a policy. One that only restricts is in force from the commit on; one that permits more has to wait.

        Args:
            opened: the document.
            envelope: its octets.
            commissioning: it stands in trust.json: the first one that a box ever has does not wait.
        """
        return self._book.store.transact(lambda tx: self._policy(tx, opened, envelope, commissioning))

    def _policy(self, tx: Transaction, opened: Opened, envelope: bytes, commissioning: bool) -> Ruling:
        book, trust = self._book, self._book.trust
        held = {typ: found for typ in POLICIES if (found := tx.document(typ)) is not None}
        account = Account("policy", trust.issuer, "", "policy", "", opened.digest, opened.kids, State.ACCEPTED.value)
        if any(_same(opened, found[1]) for found in held.values()):
            return self._again(tx, replace(account, pol=book_version(held)))
        above = max((version for version, _ in held.values()), default=0)
        first = commissioning and not held
        try:
            policy, words = self._vet(tx, opened, above, first)
        except CommandRefused as refusal:
            return book.refuse(tx, account, refusal)
        account = replace(account, pol=policy.version)
        if words and not first:
            tx.save_document(POLICY_WAITING, policy.version, envelope)
            tx.save_document(POLICY_SEEN, 0, Seen.at(book.moment()).octets)
            book.record(tx, replace(account, state=WAITING, reason=_WAITS + words))
            return Ruling(Verdict("accepted"))
        if two_independent([trust.keys[kid] for kid in opened.kids]):
            tx.save_document(POLICY_BASE, policy.version, envelope)
            tx.authority.forget_document(POLICY_NARROWED)
        else:
            tx.save_document(POLICY_NARROWED, policy.version, envelope)
        self._forget_waiting(tx)
        book.record(tx, account)
        log.info("policy %d of %s is in force until %d", policy.version, policy.iss, policy.exp)
        return Ruling(Verdict("accepted"))

    def _vet(self, tx: Transaction, opened: Opened, above: int, first: bool) -> tuple[Policy, str]:
        """The policy of a document, and in words what it permits more; empty: nothing, and one signature is enough."""
        book, trust, known_s = self._book, self._book.trust, self._book.moment().known_s
        policy = vet_policy(opened, trust.keys, trust.issuer, book.dcu, known_s, above=above)
        if fault := early_since(book.kept(tx), policy):
            raise CommandRefused(Refusal.E_POLICY, fault)
        current, _ = book.policy(tx)
        words = briefly(compare(current, policy).widens, MOST_TEXT - len(_WAITS))
        if words or first:
            vet_policy(opened, trust.keys, trust.issuer, book.dcu, known_s, above=above, two=True)
        return policy, words

    def mature(self) -> None:
        """Put a policy into force that has waited long enough, if it still holds."""
        self._book.store.transact(self._mature)

    def _mature(self, tx: Transaction) -> None:
        book, trust, moment = self._book, self._book.trust, self._book.moment()
        waiting, note = tx.document(POLICY_WAITING), tx.document(POLICY_SEEN)
        seen = Seen.of(note[1]) if note is not None else None
        waited = seen.waited(moment) if seen is not None else None
        if waiting is None or waited is False:
            return
        if waited is None:  # nobody can know how long it has waited
            tx.save_document(POLICY_SEEN, 0, Seen.at(moment).octets)
            return
        version, envelope = waiting
        self._forget_waiting(tx)
        account = Account("policy", trust.issuer, "", "policy", "", b"", (), IN_FORCE, pol=version)
        try:
            opened = open_envelope(envelope, trust.keys, moment.known_s, {POLICY})
            account = replace(account, digest=opened.digest, kids=opened.kids)
            vet_policy(opened, trust.keys, trust.issuer, book.dcu, moment.known_s, above=version - 1, two=True)
        except CommandRefused as refusal:
            book.refuse(tx, account, refusal)
            return
        tx.save_document(POLICY_BASE, version, envelope)
        tx.authority.forget_document(POLICY_NARROWED)
        book.record(tx, account)
        log.info("policy %d has waited and is in force", version)

    def _forget_waiting(self, tx: Transaction) -> None:
        tx.authority.forget_document(POLICY_WAITING)
        tx.authority.forget_document(POLICY_SEEN)

    # ---- permits ----------------------------------------------------------------------------------------------------

    def permit(self, opened: Opened, envelope: bytes) -> Ruling:
        """Judge a permit and keep it."""
        return self._book.store.transact(lambda tx: self._permit(tx, opened, envelope))

    def _permit(self, tx: Transaction, opened: Opened, envelope: bytes) -> Ruling:
        book, trust = self._book, self._book.trust
        account = Account("permit", trust.issuer, "", "permit", "", opened.digest, opened.kids, State.ACCEPTED.value)
        try:
            permit = vet_permit(opened, trust.keys, trust.issuer, book.dcu, book.store.epoch)
            account = replace(account, cmd_id=permit.id)
            held = tx.authority.permit(permit.iss, permit.id)
            if held is not None and _same(opened, held):
                return self._again(tx, account)
            if held is not None:
                raise CommandRefused(Refusal.E_ID_REUSE, f"{permit.id} was another permit")
            if not book.allowances.permit(opened.kids, book.clock.monotonic_s()):
                raise CommandRefused(Refusal.E_FLOOD, "more permits of a key than anyone needs")
            self._check_day(permit.date)
        except CommandRefused as refusal:
            return book.refuse(tx, account, refusal)
        tx.authority.save_permit(permit.iss, permit.id, envelope)
        book.record(tx, replace(account, more={"max_n": permit.max_n, "date": permit.date}))
        return Ruling(Verdict("accepted"))

    def _check_day(self, day: str) -> None:
        """Permits of far days are not hoarded: somebody who can sign them could fill the store."""
        now_s = self._book.moment().known_s
        if now_s is None:
            return
        ahead = (date.fromisoformat(day) - datetime.fromtimestamp(now_s, UTC).date()).days
        if ahead > PERMITS_AHEAD:
            raise CommandRefused(Refusal.E_EARLY, f"a permit for {ahead} days from now")
        if ahead < -PERMITS_BEHIND:
            raise CommandRefused(Refusal.E_EXPIRED, f"a permit for {-ahead} days ago")

    # ---- leases -----------------------------------------------------------------------------------------------------

    def lease(self) -> None:
        """Give a new lease out when one is due."""
        book = self._book
        now_s = book.clock.boottime_s()
        if not book.leases.due(now_s):
            return
        lease = book.leases.make()

        def work(tx: Transaction) -> None:
            policy, _ = book.policy(tx)
            pol = policy.version if policy is not None else None
            account = Account("lease", book.trust.issuer, "", "lease", "", b"", (), GIVEN_OUT, pol=pol)
            book.record(tx, replace(account, more={"lease": lease, "keys": book.trust.version}))

        book.store.transact(work)  # where there is no room the old one stays, and a new one is due
        book.leases.renew(now_s, lease)

    # ---- answers ----------------------------------------------------------------------------------------------------

    def _again(self, tx: Transaction, account: Account) -> Ruling:
        if self._book.allowances.document_again(account.digest, self._book.clock.monotonic_s()):
            self._book.record(tx, account)
        return Ruling(Verdict("duplicate"))


def book_version(held: dict[str, tuple[int, bytes]]) -> int:
    """The version of the policy in force among those that are held; 0: none."""
    return max((held[typ][0] for typ in (POLICY_BASE, POLICY_NARROWED) if typ in held), default=0)


def _newest_policy(tx: Transaction) -> int:
    return max((found[0] for typ in POLICIES if (found := tx.document(typ)) is not None), default=0)


def _same(opened: Opened, envelope: bytes) -> bool:
    try:
        return payload_of(envelope) == opened.payload
    except CommandRefused:  # damaged
        return False
