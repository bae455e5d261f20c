"""Key documents: who may sign what, signed by a threshold of root keys. Pure.

    {"v":1, "typ":"keys", "iss":"hes.ranchi", "version":3, "iat":.., "exp":.., "threshold":2,
     "keys":[{"kid":"root-a", "x":"<b64url>", "y":"<b64url>", "roles":["root"], "person":"esha", "admin":"",
              "nbf":1790000000, "exp":1830000000, "revoked":false}, ..]}

A document comes into force when a threshold of the roots that are trusted now has signed it, and a threshold of the
roots that it names itself: so a rotation is signed by old and new roots, and no document locks its own roots out. The
version only goes up. Every point lies on P-256; one key has one kid, one kid one key, one person one spelling; a root
key signs key documents and nothing else; a system says who administers it.
Source: reference/command-authority.md 0 item 12, 2 (TUF), 8 (checks 6 and 7).
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from dcu.command import CommandRefused, Refusal
from dcu.relay.canonical import Json, canonical, from_base64url
from dcu.relay.envelope import KEYS, Opened, claims_of, kids_of, open_envelope, payload_of
from dcu.relay.members import LATEST_S, check_kind, check_names, each, integer, moment, name, refused, truth
from dcu.relay.public_key import PublicKey, Role, public_key

LEAST_ROOTS: Final = 2
"""No threshold is lower: one person alone makes nobody's key."""

_MEMBERS: Final = ("v", "typ", "iss", "version", "iat", "exp", "threshold", "keys")
_ENTRY: Final = ("kid", "x", "y", "roles", "person", "admin", "nbf", "exp", "revoked")
_ROLES: Final = {role.value: role for role in Role if role is not Role.RECEIPT}
_SYSTEMS: Final = frozenset({Role.PLANNER, Role.BILLING, Role.WITNESS})


@dataclass(frozen=True, slots=True)
class TrustStore:
    """Whose documents a box obeys, and which keys may sign them. Times are UTC seconds.

    Attributes:
        issuer: the head-end.
        keys: by kid, roots among them.
        threshold: how many people with root keys sign a key document.
        version: of the key document; 0 for the roots that a box was commissioned with.
        exp: from then on it gives leave for no disconnect.
    """

    issuer: str
    keys: Mapping[str, PublicKey]
    threshold: int = LEAST_ROOTS
    version: int = 0
    exp: int = LATEST_S

    @property
    def roots(self) -> dict[str, PublicKey]:
        """Root keys by kid."""
        return {kid: key for kid, key in self.keys.items() if Role.ROOT in key.roles}


def read_key_document(claims: Mapping[str, Json]) -> TrustStore:
    """What a key document says, signed by nobody yet.

    Raises:
        CommandRefused: E_SCHEMA.
    """
    check_names(claims, _MEMBERS, (), "key document")
    check_kind(claims, "keys")
    moment(claims["iat"], "iat")
    keys = index_keys(each(claims["keys"], "keys", read_entry))
    store = TrustStore(
        name(claims["iss"], "iss"),
        keys,
        read_threshold(claims["threshold"], keys.values()),
        integer(claims["version"], "version", 1),
        moment(claims["exp"], "exp"),
    )
    if not store.roots:
        raise refused("a key document names the roots that sign the next one")
    return store


def open_key_document(trust: TrustStore, envelope: bytes, now_s: int | None) -> tuple[TrustStore, Opened]:
    """A key document that at least one root of `trust` has signed, and whose every signature verifies.

    Args:
        trust: in force now.
        envelope: the document.
        now_s: UTC seconds; None: nobody knows, and no date is judged.

    Raises:
        CommandRefused: of the envelope, or E_SCHEMA; E_KID: signed by nobody whom this box knows.
    """
    if not trust.roots.keys() & set(kids_of(envelope)):  # before hundreds of points are checked
        raise CommandRefused(Refusal.E_KID, "signed by no root that is trusted here")
    candidate = read_key_document(claims_of(payload_of(envelope)))
    opened = open_envelope(envelope, _both(trust.roots, candidate.roots), now_s, {KEYS})
    return candidate, opened


def vet_key_document(trust: TrustStore, candidate: TrustStore, opened: Opened, now_s: int | None, above: int) -> None:
    """Whether it may take the place of `trust`.

    Args:
        trust: in force now.
        candidate: what the document says.
        opened: the document.
        now_s: as `open_key_document`.
        above: the version must be higher than this.

    Raises:
        CommandRefused: E_TARGET, E_VERSION, E_EXPIRED, E_QUORUM.
    """
    if candidate.issuer != trust.issuer:
        raise CommandRefused(Refusal.E_TARGET, f"keys of {candidate.issuer}, here {trust.issuer} is obeyed")
    if candidate.version <= above:
        raise CommandRefused(Refusal.E_VERSION, f"version {candidate.version} is not above {above}")
    if now_s is not None and now_s >= candidate.exp:
        raise CommandRefused(Refusal.E_EXPIRED, "the key document has expired")
    _check_threshold(trust, opened, "that are trusted now")
    _check_threshold(candidate, opened, "that it names itself")


def anchor_of(commissioned: TrustStore) -> bytes:
    """Digest of the roots that a box was commissioned with: what was taken on their word falls with them."""
    roots = sorted((kid, key.thumbprint.hex()) for kid, key in commissioned.roots.items())
    text = canonical([commissioned.issuer, commissioned.threshold, [list(root) for root in roots]])
    return hashlib.sha256(text).digest()


def read_entry(value: Json, what: str) -> PublicKey:
    """A key as documents spell it. Raises CommandRefused: E_SCHEMA."""
    if not isinstance(value, dict):
        raise refused(f"{what}: not a key")
    check_names(value, _ENTRY, (), "key")
    kid, roles = name(value["kid"], "kid"), frozenset(each(value["roles"], "roles", _role))
    nbf, exp = moment(value["nbf"], "nbf"), moment(value["exp"], "exp")
    admin = name(value["admin"], "admin") if value["admin"] != "" else ""
    if not roles or nbf >= exp:
        raise refused(f"{kid} has no role, or ends before it begins")
    if Role.ROOT in roles and roles != {Role.ROOT}:
        raise refused(f"{kid}: a root key has no other role")
    if roles & _SYSTEMS and not admin:
        raise refused(f"{kid}: admin says who administers the system {value['person']}")
    try:
        return public_key(
            kid,
            _coordinate(value["x"]),
            _coordinate(value["y"]),
            roles=roles,
            person=name(value["person"], "person"),
            nbf=nbf,
            exp=exp,
            revoked=truth(value["revoked"], "revoked"),
            admin=admin,
        )
    except ValueError:
        raise refused(f"{kid}: x, y is no point of P-256") from None


def index_keys(keys: Iterable[PublicKey]) -> dict[str, PublicKey]:
    """Keys by kid. Raises CommandRefused: E_SCHEMA: a kid, a key or a person twice under different names."""
    by_kid: dict[str, PublicKey] = {}
    spelled: dict[str, str] = {}
    thumbs: set[bytes] = set()
    for key in keys:
        if key.kid in by_kid:
            raise refused(f"one kid names two keys: {key.kid}")
        if key.thumbprint in thumbs:
            raise refused(f"one key has two kids: {key.kid}")
        for person in filter(None, (key.person, key.admin)):
            if spelled.setdefault(person.casefold(), person) != person:
                raise refused(f"{spelled[person.casefold()]} and {person}: one person or two?")
        by_kid[key.kid] = key
        thumbs.add(key.thumbprint)
    return by_kid


def read_threshold(value: Json, keys: Iterable[PublicKey]) -> int:
    """How many roots sign. Raises CommandRefused: E_SCHEMA: fewer than two, or more than there are people."""
    threshold = integer(value, "threshold", LEAST_ROOTS, 4)
    people = {key.person for key in keys if Role.ROOT in key.roles and not key.revoked}
    if people and len(people) < threshold:
        raise refused(f"{len(people)} people hold root keys, and {threshold} sign")
    return threshold


def _check_threshold(store: TrustStore, opened: Opened, which: str) -> None:
    signing = [store.roots[kid] for kid in opened.kids if kid in store.roots]
    people = {key.person for key in signing if not key.revoked}
    if len(people) < store.threshold:
        raise CommandRefused(Refusal.E_QUORUM, f"{len(people)} of {store.threshold} roots {which} have signed")


def _both(old: Mapping[str, PublicKey], new: Mapping[str, PublicKey]) -> dict[str, PublicKey]:
    """Roots of both, each with the word of the store in force now."""
    for kid in old.keys() & new.keys():
        if old[kid].thumbprint != new[kid].thumbprint:
            raise refused(f"{kid} names another key than before")
    return {**new, **old}


def _coordinate(value: Json) -> int:
    if not isinstance(value, str) or len(octets := from_base64url(value, Refusal.E_SCHEMA)) != 32:
        raise ValueError("a coordinate has 32 octets")
    return int.from_bytes(octets, "big")


def _role(value: Json, what: str) -> Role:
    if not isinstance(value, str) or value not in _ROLES:
        raise refused(f"{what} are of {', '.join(sorted(_ROLES))}")
    return _ROLES[value]
