"""The commissioning root: whose documents a box obeys, in a file that whoever commissions it puts there.

`trust.json` names the head-end, its root keys, and the documents that are true from the first hour:

    {"v":1, "issuer":"hes.ranchi", "threshold":2, "root":[{"kid":"root-a", "x":.., "roles":["root"], ..}, ..],
     "documents":[<envelope of a key document>, <envelope of a policy>]}

All other keys come in key documents (`key_document`) that these roots have signed, in this file or over the air. A
policy in this file needs two signatures as any other; it takes effect at once only on a box that has never had one.
The file is read again when it changes. Nobody but its owner may write it: who may write it owns this box's meters.
"""

import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dcu.command import CommandRefused, Refusal
from dcu.errors import ConfigFault
from dcu.relay.canonical import Json, canonical, parse
from dcu.relay.envelope import MAX_DOCUMENT_OCTETS
from dcu.relay.key_document import TrustStore, index_keys, read_entry, read_threshold
from dcu.relay.members import each, is_of_version_1, name, refused
from dcu.relay.public_key import Role

__all__ = ["Commissioning", "TrustStore"]

_MEMBERS: Final = {"v", "issuer", "threshold", "root", "documents"}
_DEPTH: Final = 6
_LARGEST: Final = 4 * MAX_DOCUMENT_OCTETS


@dataclass(frozen=True, slots=True)
class Commissioning:
    """What `trust.json` says.

    Attributes:
        root: the trust store of the root keys alone.
        documents: envelopes, in the order in which they are to be taken.
    """

    root: TrustStore
    documents: tuple[bytes, ...] = ()

    @classmethod
    def load(cls, path: Path) -> "Commissioning":
        """From a file.

        Raises:
            ConfigFault: the file cannot be read, or says something that cannot be; with place, cause and cure.
        """
        try:
            with path.open("rb") as file:
                mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
                octets = file.read(_LARGEST + 1)
        except OSError as fault:
            raise ConfigFault(
                f"cannot be read: {fault.strerror}", place=str(path), cure="make it with `dcu headend keys`"
            ) from fault
        if mode & 0o022:  # who may write it may give himself every role
            raise ConfigFault(f"others may write it (mode {mode:04o})", place=str(path), cure=f"chmod go-w {path}")
        return cls.parse(octets, str(path))

    @classmethod
    def parse(cls, octets: bytes, place: str) -> "Commissioning":
        """From the octets of such a file. Raises ConfigFault as `load`."""
        try:
            return _commissioning(octets)
        except CommandRefused as fault:
            cure = f"it has exactly {', '.join(sorted(_MEMBERS))}; see `dcu headend keys --help`"
            raise ConfigFault(fault.cause, place=place, cure=cure) from None


def _commissioning(octets: bytes) -> Commissioning:
    if len(octets) > _LARGEST:
        raise CommandRefused(Refusal.E_SIZE, f"more than {_LARGEST} octets")
    document = parse(octets, Refusal.E_JSON, depth=_DEPTH)
    if not isinstance(document, dict) or document.keys() != _MEMBERS or not is_of_version_1(document):
        raise refused("not a trust store of version 1")
    keys = index_keys(each(document["root"], "root", read_entry))
    if not all(key.roles == {Role.ROOT} for key in keys.values()):
        raise refused("root keys have the role root; all others come in key documents")
    threshold = read_threshold(document["threshold"], keys.values())
    root = TrustStore(name(document["issuer"], "issuer"), keys, threshold)
    return Commissioning(root, each(document["documents"], "documents", _envelope))


def _envelope(value: Json, what: str) -> bytes:
    if not isinstance(value, dict):
        raise refused(f"{what} are envelopes")
    try:
        return canonical(value)
    except ValueError as fault:
        raise refused(f"{what}: {fault}") from None
