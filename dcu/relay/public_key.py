"""Public keys that may sign, as values: P-256 points with a name, roles, a person and dates. Pure.

Source: reference/command-authority.md 0 item 1 (ES256 only), 3 (pitfalls), 8 (checks 7 and 8).
"""

import hashlib
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from dcu.relay.canonical import canonical, to_base64url

ORDER: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
"""Order n of the group of P-256 (SEC 2, 2.4.2)."""

_PREHASHED: Final = ec.ECDSA(Prehashed(SHA256()))


class Role(Enum):
    """What a key may do; a key may have several."""

    ROOT = "root"  # signs the key document, with others; nothing else
    REQUEST = "request"  # asks for an operation
    APPROVE = "approve"  # agrees to another's request
    POLICY = "policy"  # signs policies
    PERMIT = "permit"  # permits a number of disconnects for a day: of a box, or of the whole city
    PLANNER = "planner"  # shares the city's permitted number out to boxes (profile prepaid)
    BILLING = "billing"  # the billing system: prepaid disconnects, payments
    WITNESS = "witness"  # reads the wallets' ledger by itself, and signs along with billing
    RECEIPT = "receipt"  # a box's own key: signs receipts, commands nothing


@dataclass(frozen=True, slots=True)
class PublicKey:
    """One P-256 public key and who it belongs to. Constructed by `public_key`, which validates the point.

    Attributes:
        kid: its name in protected headers.
        x, y: coordinates.
        roles: what it may do.
        person: the person or system that holds it; two keys of one person are one voice.
        admin: who administers that system; for a person empty.
        nbf, exp: from when and until when it may sign, UTC seconds.
        revoked: it may sign nothing any more.
        thumbprint: RFC 7638 SHA-256 of the key itself, whatever its name.
    """

    kid: str
    x: int
    y: int
    roles: frozenset[Role]
    person: str
    nbf: int
    exp: int
    revoked: bool
    thumbprint: bytes
    admin: str
    _point: ec.EllipticCurvePublicKey = field(repr=False, compare=False)

    @property
    def voices(self) -> frozenset[str]:
        """Everybody who can make it sign, spelled one way."""
        return frozenset(name.casefold() for name in (self.person, self.admin) if name)

    def independent_of(self, other: "PublicKey") -> bool:
        """Whether nobody alone can make both sign."""
        return not self.voices & other.voices

    def verifies(self, signing_input: bytes, r: int, s: int) -> bool:
        """Whether (r, s) is this key's ECDSA signature over SHA-256 of `signing_input`."""
        digest = hashlib.sha256(signing_input).digest()
        try:
            self._point.verify(encode_dss_signature(r, s), digest, _PREHASHED)
        except InvalidSignature:
            return False
        return True


def public_key(
    kid: str,
    x: int,
    y: int,
    *,
    roles: frozenset[Role] = frozenset(),
    person: str = "",
    nbf: int = 0,
    exp: int = 2**53,
    revoked: bool = False,
    admin: str = "",
) -> PublicKey:
    """A key whose point lies on P-256.

    Raises:
        ValueError: it does not.
    """
    point = ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key()
    return PublicKey(kid, x, y, roles, person, nbf, exp, revoked, thumbprint(x, y), admin, point)


def thumbprint(x: int, y: int) -> bytes:
    """RFC 7638 thumbprint (SHA-256) of the P-256 point."""
    return hashlib.sha256(canonical({"crv": "P-256", "kty": "EC", "x": coordinate(x), "y": coordinate(y)})).digest()


def coordinate(value: int) -> str:
    """A coordinate as JWK spells it: 32 octets in base64url (RFC 7518 6.2.1.2)."""
    return to_base64url(value.to_bytes(32, "big"))
