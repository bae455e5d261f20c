"""The head-end's keys: pairs made here, private halves in files of their owner, public halves for key documents.

A utility with a hardware module keeps its keys there and only writes the entries: `sign_digest` is all that signing
asks of a key (`dcu.relay.envelope.Signer`; `external` asks a command for it).
"""

import json
import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_public_key,
)

from dcu.command import CommandRefused, Refusal
from dcu.errors import ConfigFault, OperatorFault
from dcu.relay.canonical import from_base64url, parse
from dcu.relay.envelope import IDENTIFIER
from dcu.relay.key import FileSigner
from dcu.relay.key_document import read_entry, read_key_document
from dcu.relay.public_key import PublicKey, Role, coordinate, public_key
from dcu.relay.trust import Commissioning

GIVEN_ROLES: Final = tuple(role for role in Role if role is not Role.RECEIPT)
"""Roles that a key document gives."""


def make_key(path: Path, kid: str = "") -> FileSigner:
    """A new P-256 pair; the private half in `path`, mode 0600, never over an existing file.

    Args:
        path: of the PEM file.
        kid: name of the key; empty: derived from the key, as for a box.

    Raises:
        OperatorFault: the file exists, or cannot be written.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(pem)
            file.flush()
            os.fsync(descriptor)
    except FileExistsError:
        raise OperatorFault(
            "exists already", place=str(path), cure="a key is never overwritten: name another"
        ) from None
    except OSError as fault:
        raise OperatorFault(f"cannot be written: {fault.strerror}", place=str(path)) from fault
    return FileSigner(key, kid)


def trust_entry(
    signer: FileSigner | PublicKey,
    roles: Sequence[Role],
    person: str,
    nbf: int,
    exp: int,
    *,
    revoked: bool = False,
    admin: str = "",
) -> dict[str, Any]:
    """The entry of a public key in a key document, or of a root in `trust.json`.

    Args:
        signer: whose key.
        roles: what it may do.
        person: the person or system that holds it.
        nbf: from when it may sign, UTC seconds.
        exp: until when.
        revoked: it may sign nothing any more.
        admin: who administers the system; for a person empty.

    Raises:
        CommandRefused: E_SCHEMA: no box would take it.
    """
    entry: dict[str, Any] = {
        "kid": signer.kid,
        "x": coordinate(signer.x),
        "y": coordinate(signer.y),
        "roles": [role.value for role in roles],
        "person": person,
        "admin": admin,
        "nbf": nbf,
        "exp": exp,
        "revoked": revoked,
    }
    read_entry(entry, "entry")
    return entry


def public_half(pem: bytes, kid: str) -> PublicKey:
    """The key of a PEM `SubjectPublicKeyInfo`, as a hardware module exports it.

    Raises:
        ConfigFault: not a P-256 public key.
    """
    try:
        key = load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm):
        raise ConfigFault("not a PEM public key", cure="openssl pkey -pubin -in FILE -text shows what it is") from None
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise ConfigFault("not a P-256 public key", cure="ES256 is the only algorithm here")
    numbers = key.public_numbers()
    return public_key(kid, numbers.x, numbers.y)


def load_entry(path: Path) -> dict[str, Any]:
    """An entry from the file that it was written to. Raises ConfigFault: not such a file."""
    try:
        document = parse(path.read_bytes(), Refusal.E_JSON)
        read_entry(document, "entry")
    except OSError as fault:
        raise ConfigFault(f"cannot be read: {fault.strerror}", place=str(path)) from fault
    except CommandRefused as fault:
        raise ConfigFault(fault.cause, place=str(path), cure="`dcu headend keys new` writes such a file") from None
    return document if isinstance(document, dict) else {}


def key_claims(
    *, iss: str, version: int, iat: int, exp: int, threshold: int, entries: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Claims of a key document, checked against the box's schema. Times are UTC seconds.

    Raises:
        CommandRefused: E_SCHEMA.
    """
    claims: dict[str, Any] = {
        "v": 1,
        "typ": "keys",
        "iss": iss,
        "version": version,
        "iat": iat,
        "exp": exp,
        "threshold": threshold,
        "keys": sorted((dict(entry) for entry in entries), key=lambda entry: str(entry["kid"])),
    }
    read_key_document(claims)
    return claims


def revised(
    claims: Mapping[str, Any],
    *,
    iat: int,
    exp: int,
    add: Sequence[Mapping[str, Any]] = (),
    revoke: Collection[str] = (),
    threshold: int | None = None,
) -> dict[str, Any]:
    """The key document that follows `claims`: keys added or replaced by kid's removal, keys revoked, one version up.

    A revoked key stays in it, so that nobody gives its name to another.

    Raises:
        CommandRefused: E_SCHEMA.
        OperatorFault: a kid to revoke that it does not name.
    """
    held = {str(entry["kid"]): dict(entry) for entry in claims["keys"]}
    if strange := sorted(set(revoke) - held.keys()):
        raise OperatorFault(f"{', '.join(strange)} is not in it", place="--revoke", cure="dcu headend keys show")
    for kid in revoke:
        held[kid]["revoked"] = True
    return key_claims(
        iss=str(claims["iss"]),
        version=int(claims["version"]) + 1,
        iat=iat,
        exp=exp,
        threshold=int(claims["threshold"]) if threshold is None else threshold,
        entries=[*held.values(), *add],
    )


def commissioning(issuer: str, threshold: int, roots: Sequence[Mapping[str, Any]], documents: Sequence[bytes]) -> bytes:
    """`trust.json`: the roots that a box is commissioned with, and what is true from its first hour.

    Args:
        issuer: the head-end.
        threshold: how many people with root keys sign a key document.
        roots: entries of root keys.
        documents: envelopes of a key document and of a policy, in that order; signed.

    Raises:
        ConfigFault: no box would take it.
    """
    parts = [json.loads(envelope) for envelope in documents]
    members = {"v": 1, "issuer": issuer, "threshold": threshold, "root": list(roots), "documents": parts}
    octets = json.dumps(members, indent=1).encode("ascii") + b"\n"
    Commissioning.parse(octets, "trust.json")
    return octets


def write_public(path: Path, octets: bytes) -> None:
    """Write a file that everybody may read, in one step. Raises OperatorFault."""
    _replace(path, octets)


def box_document(signer: FileSigner) -> dict[str, str]:
    """The public half of a box's receipt key, as the head-end keeps it to verify receipts."""
    return {"kid": signer.kid, "x": coordinate(signer.x), "y": coordinate(signer.y)}


def load_box_key(path: Path) -> PublicKey:
    """The public receipt key of a box, from the file that `box_document` was written to.

    Raises:
        ConfigFault: not such a file.
    """
    try:
        document = parse(path.read_bytes(), Refusal.E_JSON)
        if not isinstance(document, dict) or document.keys() != {"kid", "x", "y"}:
            raise ConfigFault("not a box's public key", place=str(path), cure="it has exactly kid, x and y")
        kid, x, y = (str(document[name]) for name in ("kid", "x", "y"))
        if not IDENTIFIER.fullmatch(kid):
            raise ConfigFault("kid is no name", place=str(path))
        numbers = [int.from_bytes(from_base64url(text), "big") for text in (x, y)]
        return public_key(kid, *numbers, roles=frozenset({Role.RECEIPT}))
    except OSError as fault:
        raise ConfigFault(f"cannot be read: {fault.strerror}", place=str(path)) from fault
    except (CommandRefused, ValueError):
        raise ConfigFault("not a P-256 public key", place=str(path), cure="copy it from the box again") from None


def _replace(path: Path, octets: bytes) -> None:
    new = path.with_name(path.name + ".new")
    try:
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        with os.fdopen(descriptor, "wb") as file:
            file.write(octets)
            file.flush()
            os.fsync(descriptor)
        new.replace(path)
    except OSError as fault:
        raise OperatorFault(f"cannot be written: {fault.strerror}", place=str(path)) from fault
