"""The trust core: octets in, a document whose every signature verified out. Pure.

The format is JWS General JSON (RFC 7515 7.2.1) in one strict profile, so that a document has exactly one spelling:

    {"payload":"<b64url>","signatures":[{"protected":"<b64url>","signature":"<b64url>"}, ..]}   canonical JSON

- one to four signatures, ES256 only, every one of which must verify; a repeated or added one is never ignored;
- protected header exactly {alg, kid, typ}; kids strictly ascending; keys distinct by thumbprint, whatever their names;
- signature exactly 64 octets r || s with 0 < r < n and 0 < s <= n/2 (of the two valid twins only the low one).

Whom the keys belong to and what they may do is judged later (`checks`): this file knows signatures, not authority.
Worked example: reference/command-authority.md 11. Checks 2 to 8 of its section 8, in that order.
"""

import hashlib
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from dcu.command import CommandRefused, Refusal
from dcu.relay.canonical import Json, canonical, from_base64url, parse_canonical, to_base64url
from dcu.relay.public_key import ORDER, PublicKey

COMMAND: Final = "dcu-cmd+jws"
POLICY: Final = "dcu-policy+jws"
PERMIT: Final = "dcu-permit+jws"
KEYS: Final = "dcu-keys+jws"
RECEIPT: Final = "dcu-rcpt+jws"

MAX_OCTETS: Final = 8192
"""Of a command, a permit, a receipt."""

MAX_DOCUMENT_OCTETS: Final = 65536
"""Of a policy or key document: a box may have a thousand meters."""

_LARGE: Final = frozenset({POLICY, KEYS})
MAX_SIGNATURES: Final = 4
IDENTIFIER: Final = re.compile(r"[A-Za-z0-9._-]{1,40}", re.ASCII)
"""Every name in a signed document: of keys, boxes, head-ends, meters, commands."""


class Signer(Protocol):
    """Whoever can sign a digest: a key file, or a hardware module that never shows its key."""

    @property
    def kid(self) -> str:
        """Name of the key."""
        ...

    def sign_digest(self, digest: bytes) -> tuple[int, int]:
        """ECDSA P-256 (r, s) over a SHA-256 digest of 32 octets; high or low s."""
        ...


class Unforeseen(CommandRefused):
    """Refused because the verifier itself stumbled: no check named the fault. Never retried; it is our bug."""


@dataclass(frozen=True, slots=True)
class Opened:
    """A document whose every signature verified.

    Attributes:
        typ: what kind of document, e.g. `dcu-cmd+jws`.
        payload: the octets that were signed.
        kids: of the keys that signed, ascending.
    """

    typ: str
    payload: bytes
    kids: tuple[str, ...]

    @property
    def digest(self) -> bytes:
        """SHA-256 of the payload: what a document is, whoever signed it however often."""
        return hashlib.sha256(self.payload).digest()

    @property
    def claims(self) -> dict[str, Json]:
        """Members of the payload.

        Raises:
            CommandRefused: E_SCHEMA: not a canonical JSON object (check 9: signed, therefore answered).
        """
        return claims_of(self.payload)


@dataclass(frozen=True, slots=True)
class _Signature:
    protected: str  # as sent: part of what is signed
    header: dict[str, str]
    octets: bytes


def open_envelope(octets: bytes, keys: Mapping[str, PublicKey], now_s: int | None, typs: Collection[str]) -> Opened:
    """Verify a document.

    Args:
        octets: as received.
        keys: that may sign, by kid.
        now_s: UTC seconds, to judge the dates of the keys; None where no clock can be trusted with that.
        typs: kinds of document that are welcome here.

    Raises:
        CommandRefused: with the code of the first check that failed.
    """
    try:
        return _open(octets, keys, now_s, typs)
    except CommandRefused:
        raise
    except Exception as fault:  # deny by default; the tests show that no input comes here
        raise Unforeseen(Refusal.E_SHAPE, f"unforeseen {type(fault).__name__}") from fault


def seal(claims: Mapping[str, Any], typ: str, signers: Sequence[Signer]) -> bytes:
    """The envelope of `claims`, signed by all of `signers`, whose kids are distinct."""
    payload = canonical(dict(claims))
    return _envelope(payload, [_sign(payload, typ, s) for s in sorted(signers, key=lambda s: s.kid)])


def unsigned(claims: Mapping[str, Any]) -> bytes:
    """An envelope that nobody has signed yet: signatures are added one by one, each by its own person."""
    return _envelope(canonical(dict(claims)), [])


def add_signature(octets: bytes, typ: str, signer: Signer) -> bytes:
    """The same document with one more signature, kids kept ascending.

    Raises:
        CommandRefused: E_SHAPE and the like: not an envelope; E_ORDER: that kid has signed already.
    """
    payload_text, members = _members(octets, least=0)
    payload = from_base64url(payload_text)
    kept = {_header(member["protected"])["kid"]: member for member in members}
    if signer.kid in kept:
        raise CommandRefused(Refusal.E_ORDER, f"{signer.kid} has signed already")
    kept[signer.kid] = _sign(payload, typ, signer)
    return _envelope(payload, [kept[kid] for kid in sorted(kept)])


def claims_of(payload: bytes) -> dict[str, Json]:
    """Members of a payload. Raises CommandRefused: E_SCHEMA: not a canonical JSON object."""
    claims = parse_canonical(payload, Refusal.E_SCHEMA, Refusal.E_SCHEMA)
    if not isinstance(claims, dict):
        raise CommandRefused(Refusal.E_SCHEMA, "the payload is not an object")
    return claims


def payload_of(octets: bytes) -> bytes:
    """The payload of an envelope, verified by nobody: to show it to the person who is about to sign it."""
    return from_base64url(_members(octets, least=0)[0])


def typ_of(octets: bytes) -> str:
    """The kind of document that an envelope says it is, verified by nobody. Raises CommandRefused: not an envelope."""
    return _header(_members(octets, least=1)[1][0]["protected"])["typ"]


def kids_of(octets: bytes) -> tuple[str, ...]:
    """The names that an envelope's signatures bear, verified by nobody."""
    return tuple(_header(member["protected"])["kid"] for member in _members(octets, least=0)[1])


def _open(octets: bytes, keys: Mapping[str, PublicKey], now_s: int | None, typs: Collection[str]) -> Opened:
    payload_text, members = _members(octets, least=1)  # 2, 3, 4
    payload = from_base64url(payload_text)  # 5
    signatures = [_Signature(m["protected"], {}, from_base64url(m["signature"])) for m in members]
    signatures = [_Signature(s.protected, _header(s.protected), s.octets) for s in signatures]  # 5, 6
    signing = _keys(signatures, keys, typs)
    if len(octets) > MAX_OCTETS and signatures[0].header["typ"] not in _LARGE:  # 2
        raise CommandRefused(Refusal.E_SIZE, f"{len(octets)} octets, at most {MAX_OCTETS}")
    _check_keys(signatures, signing, now_s)  # 7
    for signature, key in zip(signatures, signing, strict=True):  # 8
        _check_signature(signature, key, payload_text)
    return Opened(signatures[0].header["typ"], payload, tuple(key.kid for key in signing))


def _members(octets: bytes, least: int) -> tuple[str, list[dict[str, str]]]:
    """Payload and signature members of an envelope of the right size, shape and spelling (checks 2 to 4)."""
    if len(octets) > MAX_DOCUMENT_OCTETS:
        raise CommandRefused(Refusal.E_SIZE, f"{len(octets)} octets, at most {MAX_DOCUMENT_OCTETS}")
    envelope = parse_canonical(octets, Refusal.E_JSON, Refusal.E_CANON)
    if not isinstance(envelope, dict) or envelope.keys() != {"payload", "signatures"}:
        raise CommandRefused(Refusal.E_SHAPE, "an envelope has exactly payload and signatures")
    payload, members = envelope["payload"], envelope["signatures"]
    if not isinstance(payload, str) or not isinstance(members, list):
        raise CommandRefused(Refusal.E_SHAPE, "payload is text, signatures is an array")
    if not least <= len(members) <= MAX_SIGNATURES:
        raise CommandRefused(Refusal.E_SHAPE, f"{len(members)} signatures, not {least} to {MAX_SIGNATURES}")
    return payload, [_texts(member, {"protected", "signature"}, Refusal.E_SHAPE) for member in members]


def _texts(member: Json, names: set[str], code: Refusal) -> dict[str, str]:
    """An object with exactly `names`, all of them text."""
    if not isinstance(member, dict) or member.keys() != names:
        raise CommandRefused(code, f"not exactly {', '.join(sorted(names))}")
    texts = {name: text for name, text in member.items() if isinstance(text, str)}
    if len(texts) != len(names):
        raise CommandRefused(code, f"{', '.join(sorted(names - texts.keys()))} is not text")
    return texts


def _header(protected: str) -> dict[str, str]:
    """A protected header (check 6): exactly alg, kid and typ, in canonical spelling."""
    octets = from_base64url(protected)
    header = _texts(parse_canonical(octets, Refusal.E_HDR, Refusal.E_HDR), {"alg", "kid", "typ"}, Refusal.E_HDR)
    if not IDENTIFIER.fullmatch(header["kid"]):
        raise CommandRefused(Refusal.E_HDR, "a kid is 1 to 40 of A-Z a-z 0-9 . _ -")
    return header


def _keys(signatures: Sequence[_Signature], keys: Mapping[str, PublicKey], typs: Collection[str]) -> list[PublicKey]:
    """The keys that the headers name (check 6)."""
    if len({s.header["typ"] for s in signatures}) != 1 or signatures[0].header["typ"] not in typs:
        raise CommandRefused(Refusal.E_HDR, "typ is not one that is taken here, or differs between signatures")
    kids = [s.header["kid"] for s in signatures]
    if not all(kid in keys for kid in kids):
        raise CommandRefused(Refusal.E_KID, f"unknown key {', '.join(k for k in kids if k not in keys)}")
    if kids != sorted(set(kids)):
        raise CommandRefused(Refusal.E_ORDER, "kids are not ascending and distinct")
    return [keys[kid] for kid in kids]


def _check_keys(signatures: Sequence[_Signature], signing: Sequence[PublicKey], now_s: int | None) -> None:
    """Check 7: active, of this algorithm, and distinct whatever their names."""
    for signature, key in zip(signatures, signing, strict=True):
        if key.revoked:
            raise CommandRefused(Refusal.E_KEY, f"{key.kid} is revoked")
        if now_s is not None and not key.nbf <= now_s < key.exp:
            raise CommandRefused(Refusal.E_KEY, f"{key.kid} is not valid at this time")
        if signature.header["alg"] != "ES256":
            raise CommandRefused(Refusal.E_ALG, f"{key.kid} signs with ES256 only")
    if len({key.thumbprint for key in signing}) != len(signing):
        raise CommandRefused(Refusal.E_KEY, "one key under two names")


def _check_signature(signature: _Signature, key: PublicKey, payload_text: str) -> None:
    """Check 8."""
    if len(signature.octets) != 64:
        raise CommandRefused(Refusal.E_SIG, f"a signature has 64 octets, not {len(signature.octets)}")
    r, s = int.from_bytes(signature.octets[:32], "big"), int.from_bytes(signature.octets[32:], "big")
    if not (0 < r < ORDER and 0 < s <= ORDER // 2):
        raise CommandRefused(Refusal.E_SIG, f"signature of {key.kid} is out of range or not low-S")
    if not key.verifies(f"{signature.protected}.{payload_text}".encode("ascii"), r, s):
        raise CommandRefused(Refusal.E_SIG, f"signature of {key.kid} does not verify")


def _sign(payload: bytes, typ: str, signer: Signer) -> dict[str, str]:
    """One signature member, low-S."""
    protected = to_base64url(canonical({"alg": "ES256", "kid": signer.kid, "typ": typ}))
    signing_input = f"{protected}.{to_base64url(payload)}".encode("ascii")
    r, s = signer.sign_digest(hashlib.sha256(signing_input).digest())
    octets = r.to_bytes(32, "big") + min(s, ORDER - s).to_bytes(32, "big")
    return {"protected": protected, "signature": to_base64url(octets)}


def _envelope(payload: bytes, members: Sequence[dict[str, str]]) -> bytes:
    return canonical({"payload": to_base64url(payload), "signatures": list(members)})
