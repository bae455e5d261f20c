"""The trust store: which head-end this box obeys, and which keys may sign for it.

Read from `trust.json`, put there by whoever commissions the box:

    {"v":1, "issuer":"hes.ranchi", "keys":[{"kid":"req-2026", "x":"<b64url>", "y":"<b64url>",
      "roles":["request"], "person":"asha", "nbf":1790000000, "exp":1830000000, "revoked":false}]}

Rules: every point lies on P-256; one key has one kid; one kid has one key; one person has one spelling; no role that
is not built; nobody but its owner may write the file.
Documents signed by root keys will replace the file's editing by hand; until then the file is the root.
"""

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dcu.command import CommandRefused, Refusal
from dcu.errors import ConfigFault
from dcu.relay.canonical import Json, from_base64url, parse
from dcu.relay.envelope import IDENTIFIER
from dcu.relay.public_key import PublicKey, Role, public_key

_MEMBERS: Final = {"kid", "x", "y", "roles", "person", "nbf", "exp", "revoked"}
_ROLES: Final = {role.value: role for role in Role if role is not Role.RECEIPT}


@dataclass(frozen=True, slots=True)
class TrustStore:
    """Keys by kid, and the one issuer whose documents are obeyed."""

    issuer: str
    keys: Mapping[str, PublicKey]

    @classmethod
    def load(cls, path: Path) -> "TrustStore":
        """From a file.

        Raises:
            ConfigFault: the file cannot be read, or says something that cannot be; with place, cause and cure.
        """
        try:
            with path.open("rb") as file:
                mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
                octets = file.read()
        except OSError as fault:
            raise ConfigFault(
                f"cannot be read: {fault.strerror}", place=str(path), cure="make it with `dcu headend keys`"
            ) from fault
        if mode & 0o022:  # who may write it may give himself every role
            raise ConfigFault(f"others may write it (mode {mode:04o})", place=str(path), cure=f"chmod go-w {path}")
        return cls.parse(octets, str(path))

    @classmethod
    def parse(cls, octets: bytes, place: str) -> "TrustStore":
        """From the octets of such a file. Raises ConfigFault as `load`."""
        try:
            document = parse(octets, Refusal.E_JSON)
        except CommandRefused as fault:
            raise ConfigFault(fault.cause, place=place, cure="JSON with integers only, each name once") from None
        if not isinstance(document, dict) or document.keys() != {"v", "issuer", "keys"} or document["v"] != 1:
            raise ConfigFault("not a trust store", place=place, cure='it has exactly "v":1, "issuer" and "keys"')
        issuer, entries = document["issuer"], document["keys"]
        if not _is_name(issuer) or not isinstance(entries, list):
            raise ConfigFault("issuer is no name, or keys no list", place=place, cure="names: A-Z a-z 0-9 . _ -")
        return cls(str(issuer), _index([_entry(e, f"{place}: keys[{n}]") for n, e in enumerate(entries)], place))


def _entry(entry: Json, place: str) -> PublicKey:
    if not isinstance(entry, dict) or entry.keys() != _MEMBERS:
        raise ConfigFault("not a key", place=place, cure=f"it has exactly {', '.join(sorted(_MEMBERS))}")
    if not _is_name(entry["kid"]) or not _is_name(entry["person"]):
        raise ConfigFault("kid or person is no name", place=place, cure="1 to 40 of A-Z a-z 0-9 . _ -")
    nbf, exp, revoked = entry["nbf"], entry["exp"], entry["revoked"]
    if type(nbf) is not int or type(exp) is not int or nbf >= exp or not isinstance(revoked, bool):
        raise ConfigFault("nbf, exp or revoked", place=place, cure="seconds UTC with nbf < exp; revoked true or false")
    try:
        x, y = _coordinate(entry["x"]), _coordinate(entry["y"])
        return public_key(
            str(entry["kid"]),
            x,
            y,
            roles=_roles(entry["roles"], place),
            person=str(entry["person"]),
            nbf=nbf,
            exp=exp,
            revoked=revoked,
        )
    except (ValueError, CommandRefused):
        raise ConfigFault(
            "x, y is no point of P-256", place=place, cure="copy the entry that `dcu headend keys` printed"
        ) from None


def _coordinate(text: Json) -> int:
    octets = from_base64url(text) if isinstance(text, str) else b""
    if len(octets) != 32:
        raise ValueError("a coordinate has 32 octets")
    return int.from_bytes(octets, "big")


def _roles(names: Json, place: str) -> frozenset[Role]:
    if not isinstance(names, list) or not names or not all(isinstance(n, str) and n in _ROLES for n in names):
        raise ConfigFault("roles", place=place, cure=f"a list of {', '.join(sorted(_ROLES))}")
    return frozenset(_ROLES[str(name)] for name in names)


def _index(keys: list[PublicKey], place: str) -> dict[str, PublicKey]:
    by_kid = {key.kid: key for key in keys}
    if len(by_kid) != len(keys):
        raise ConfigFault("one kid names two keys", place=place, cure="give each key its own kid")
    if len({key.thumbprint for key in keys}) != len(keys):
        raise ConfigFault("one key has two kids", place=place, cure="a key stands for one person once: remove one")
    spelled: dict[str, str] = {}
    for key in keys:
        if spelled.setdefault(key.person.casefold(), key.person) != key.person:
            names = f"{spelled[key.person.casefold()]} and {key.person}"
            raise ConfigFault(f"{names}: one person or two?", place=place, cure="spell each person one way")
    return by_kid


def _is_name(value: Json) -> bool:
    return isinstance(value, str) and IDENTIFIER.fullmatch(value) is not None
