"""Documents in force: where they are kept, and how long a policy that permits more has waited. Pure.

Source: reference/command-authority.md 0 item 6.
"""

import hashlib
from dataclasses import dataclass
from typing import Final

from dcu.command import CommandRefused, Refusal
from dcu.ports import Transaction
from dcu.relay.canonical import canonical, parse
from dcu.relay.case import Moment
from dcu.relay.envelope import claims_of, payload_of
from dcu.relay.key_document import TrustStore, anchor_of, open_key_document, read_key_document, vet_key_document
from dcu.relay.policy.floor import SLOW_S

POLICY_BASE: Final = "policy"
POLICY_NARROWED: Final = "policy-narrowed"
POLICY_WAITING: Final = "policy-waiting"
POLICY_SEEN: Final = "policy-seen"
KEY_DOCUMENT: Final = "keys"
KEY_ANCHOR: Final = "keys-anchor"

POLICIES: Final = (POLICY_BASE, POLICY_NARROWED, POLICY_WAITING)


@dataclass(frozen=True, slots=True)
class Seen:
    """When a waiting policy was first seen: UTC seconds, whether that was known, boot of the box and its uptime."""

    at_s: int
    known: bool
    boot: str
    boot_s: int

    @classmethod
    def at(cls, moment: Moment) -> "Seen":
        """Now."""
        return cls(moment.now_s, moment.clock.known, moment.boot, moment.boot_s)

    @classmethod
    def of(cls, octets: bytes) -> "Seen | None":
        """As `octets` was written; None where they are damaged."""
        try:
            note = parse(octets, Refusal.E_STORE)
        except CommandRefused:
            return None
        match note:
            case [int(at_s), bool(known), str(boot), int(boot_s)]:
                return cls(at_s, known, boot, boot_s)
        return None

    @property
    def octets(self) -> bytes:
        """To be kept."""
        return canonical([self.at_s, self.known, self.boot, self.boot_s])

    def waited(self, moment: Moment) -> bool | None:
        """Whether it has waited long enough; None: nobody can know, and it waits anew from now on.

        By the uptime where it is the same boot, which no step of the clock can shorten; else by a clock that was known
        both times.
        """
        if self.boot == moment.boot:
            return moment.boot_s - self.boot_s >= SLOW_S
        if self.known and moment.clock.known:
            return moment.now_s - self.at_s >= SLOW_S
        return None


def keep_keys(tx: Transaction, root: TrustStore, envelope: bytes, version: int) -> None:
    """A key document was taken on the word of those commissioning roots."""
    tx.save_document(KEY_DOCUMENT, version, envelope)
    tx.save_document(KEY_ANCHOR, 0, anchor_of(root) + hashlib.sha256(envelope).digest())


def trust_in_force(tx: Transaction, root: TrustStore, now_s: int | None) -> TrustStore:
    """The trust store: of the key document that is kept, where that still stands on the commissioning roots."""
    held, anchor = tx.document(KEY_DOCUMENT), tx.document(KEY_ANCHOR)
    if held is None:
        return root
    envelope = held[1]
    try:
        if anchor is not None and anchor[1] == anchor_of(root) + hashlib.sha256(envelope).digest():
            return read_key_document(claims_of(payload_of(envelope)))
        candidate, opened = open_key_document(root, envelope, None)
        vet_key_document(root, candidate, opened, now_s, above=0)
    except CommandRefused:
        return root
    return candidate


def least_version(tx: Transaction, issuer: str) -> int:
    """The version that a key document of that issuer must be above: the highest that was ever kept."""
    held = tx.document(KEY_DOCUMENT)
    if held is None:
        return 0
    try:
        same = claims_of(payload_of(held[1])).get("iss") == issuer
    except CommandRefused:
        same = True
    return held[0] if same else 0
