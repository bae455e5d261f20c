"""Receipts as the head-end reads them: verified against the box's public key, compared with what was sent."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dcu.command import CommandRefused, Refusal
from dcu.relay.canonical import Json, from_base64url, to_base64url
from dcu.relay.envelope import RECEIPT, open_envelope, payload_of
from dcu.relay.public_key import PublicKey

_TEXTS = ("dcu", "jid", "iss", "cmd_id", "digest", "kind", "op", "meter", "state", "clock", "chain")


@dataclass(frozen=True, slots=True)
class Receipt:
    """A receipt whose signature verified.

    Attributes:
        dcu, jid: box and journal that answered.
        iss, cmd_id, op, meter: of the document, empty where its payload was not legible.
        digest: SHA-256 of the document's payload.
        kind: "command" or "policy".
        state: where it stands; `code` why it was refused, empty otherwise.
        at: UTC seconds by the box's clock; `clock` whether that was trusted.
        n, chain: number and digest of the journal's head with the decision.
        claims: all of it.
    """

    dcu: str
    jid: str
    iss: str
    cmd_id: str
    op: str
    meter: str
    digest: bytes
    kind: str
    state: str
    code: str
    at: int
    clock: str
    n: int
    chain: bytes
    claims: Mapping[str, Any]

    def answers(self, envelope: bytes) -> bool:
        """Whether it is about exactly that document: same payload, whoever signed it."""
        return hashlib.sha256(payload_of(envelope)).digest() == self.digest


def verify_receipt(octets: bytes, boxes: Mapping[str, PublicKey]) -> Receipt:
    """A receipt of one of `boxes` (receipt keys by kid).

    Raises:
        CommandRefused: with the code of the first check that failed; E_SCHEMA: signed, but no receipt.
    """
    opened = open_envelope(octets, boxes, None, {RECEIPT})
    if len(opened.kids) != 1:
        raise CommandRefused(Refusal.E_QUORUM, "a receipt is signed by one box")
    claims = opened.claims
    texts = {name: _text(claims, name) for name in _TEXTS}
    if claims.get("v") != 1 or claims.get("typ") != "receipt":
        raise CommandRefused(Refusal.E_SCHEMA, "not a receipt of version 1")
    digest, chain = (from_base64url(texts.pop(name), Refusal.E_SCHEMA) for name in ("digest", "chain"))
    return Receipt(
        **texts,
        digest=digest,
        chain=chain,
        code=_text(claims, "code") if "code" in claims else "",
        at=_integer(claims, "at"),
        n=_integer(claims, "n"),
        claims=claims,
    )


def digest_of(envelope: bytes) -> str:
    """SHA-256 of a document's payload, as receipts spell it."""
    return to_base64url(hashlib.sha256(payload_of(envelope)).digest())


def _text(claims: Mapping[str, Json], name: str) -> str:
    value = claims.get(name)
    if not isinstance(value, str):
        raise CommandRefused(Refusal.E_SCHEMA, f"{name} is not text")
    return value


def _integer(claims: Mapping[str, Json], name: str) -> int:
    value = claims.get(name)
    if type(value) is not int:
        raise CommandRefused(Refusal.E_SCHEMA, f"{name} is not a number")
    return value
