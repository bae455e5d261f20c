"""The head-end's keys: pairs made here, private halves in files of their owner, public halves for `trust.json`.

A utility with a hardware module keeps its keys there and only writes the entries: `sign_digest` is all that signing
asks of a key (`dcu.relay.envelope.Signer`).
"""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from dcu.command import CommandRefused, Refusal
from dcu.errors import ConfigFault, OperatorFault
from dcu.relay.canonical import from_base64url, parse
from dcu.relay.envelope import IDENTIFIER
from dcu.relay.key import FileSigner
from dcu.relay.public_key import PublicKey, Role, coordinate, public_key
from dcu.relay.trust import TrustStore

PEM: Final = ".pem"
PERSON_ROLES: Final = (Role.REQUEST, Role.APPROVE, Role.POLICY)


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
    signer: FileSigner, roles: Sequence[Role], person: str, nbf: int, exp: int, *, revoked: bool = False
) -> dict[str, Any]:
    """The entry of a public key in `trust.json`."""
    return {
        "kid": signer.kid,
        "x": coordinate(signer.x),
        "y": coordinate(signer.y),
        "roles": [role.value for role in roles],
        "person": person,
        "nbf": nbf,
        "exp": exp,
        "revoked": revoked,
    }


def add_to_trust(path: Path, issuer: str, entry: dict[str, Any]) -> TrustStore:
    """Add an entry to `trust.json`, made where it is missing. The file is replaced in one step.

    Raises:
        ConfigFault: it is not a trust store, is another issuer's, or the result would not be valid.
        OperatorFault: it cannot be written.
    """
    document: dict[str, Any] = {"v": 1, "issuer": issuer, "keys": []}
    if path.exists():
        held = TrustStore.load(path)
        if held.issuer != issuer:
            raise ConfigFault(f"is the trust store of {held.issuer}", place=str(path), cure=f"not of {issuer}")
        document = json.loads(path.read_bytes())
    document["keys"].append(entry)
    octets = json.dumps(document, indent=1).encode("ascii") + b"\n"
    trust = TrustStore.parse(octets, str(path))
    _replace(path, octets)
    return trust


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
