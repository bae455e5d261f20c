"""Everybody who signs, with keys that the seed makes: the same run signs the same octets."""

import hashlib
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from dcu.relay.key_document import TrustStore
from dcu.relay.public_key import ORDER, PublicKey, Role, public_key

ISS = "hes.ranchi"
ALWAYS = (0, 1 << 40)


class Hand:
    """A `Signer` whose key and signatures follow from its name and the seed."""

    def __init__(self, kid: str, seed: int = 0) -> None:
        secret = int.from_bytes(hashlib.sha256(f"{seed} {kid}".encode()).digest(), "big") % (ORDER - 1) + 1
        self._key = ec.derive_private_key(secret, ec.SECP256R1())
        point = self._key.public_key().public_numbers()
        self.kid, self.x, self.y = kid, point.x, point.y

    def sign_digest(self, digest: bytes) -> tuple[int, int]:
        return decode_dss_signature(self._key.sign(digest, ec.ECDSA(Prehashed(SHA256()), deterministic_signing=True)))


@dataclass(frozen=True, slots=True)
class Person:
    """Who holds a key, and what that may do."""

    kid: str
    role: Role
    name: str
    admin: str = ""


PEOPLE = (
    Person("root-a", Role.ROOT, "esha"),
    Person("root-b", Role.ROOT, "farid"),
    Person("root-c", Role.ROOT, "gita"),
    Person("req-1", Role.REQUEST, "asha"),
    Person("apr-1", Role.APPROVE, "binod"),
    Person("pol-a", Role.POLICY, "chitra"),
    Person("pol-b", Role.POLICY, "deepak"),
    Person("per-1", Role.PERMIT, "indu"),
    Person("plan-1", Role.PLANNER, "planner", "jaya"),
    Person("bill-1", Role.BILLING, "billing", "kiran"),
    Person("wit-1", Role.WITNESS, "witness", "lalit"),
)


class People:
    """All of them, and the trust store that knows them."""

    def __init__(self, seed: int = 0) -> None:
        self.hands = {person.kid: Hand(person.kid, seed) for person in PEOPLE}
        self.stranger = Hand("stranger", seed)

    def __getitem__(self, kid: str) -> Hand:
        return self.hands[kid]

    def keys(self, *, without: tuple[str, ...] = (), revoked: tuple[str, ...] = ()) -> dict[str, PublicKey]:
        """Their public keys by kid."""
        return {
            p.kid: public_key(
                p.kid,
                self.hands[p.kid].x,
                self.hands[p.kid].y,
                roles=frozenset({p.role}),
                person=p.name,
                admin=p.admin,
                nbf=ALWAYS[0],
                exp=ALWAYS[1],
                revoked=p.kid in revoked,
            )
            for p in PEOPLE
            if p.kid not in without
        }

    def trust(self, **changes: tuple[str, ...]) -> TrustStore:
        """A trust store that knows them."""
        return TrustStore(ISS, self.keys(**changes), version=1)
