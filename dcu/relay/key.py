"""A private key in a file of its owner: what signs where no hardware module does. Never printed, never logged."""

import os
import stat
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from dcu.errors import ConfigFault
from dcu.relay.canonical import to_base64url
from dcu.relay.public_key import thumbprint


def load_signer(path: Path) -> "FileSigner":
    """The box's receipt key. Raises ConfigFault as `FileSigner.load`."""
    return FileSigner.load(path)


class FileSigner:
    """A private key in a PEM file: the box's receipt key, or a head-end person's where no HSM is at hand.

    Args:
        kid: its name; of a box's key by default derived from the key itself.
    """

    def __init__(self, key: ec.EllipticCurvePrivateKey, kid: str = "") -> None:
        self._key = key
        point = key.public_key().public_numbers()
        self.x, self.y = point.x, point.y
        self._kid = kid or box_kid(point.x, point.y)

    @classmethod
    def load(cls, path: Path, kid: str = "") -> "FileSigner":
        """From a PEM file that only its owner can read.

        Raises:
            ConfigFault: it is missing, readable by others, or no P-256 private key; with the cure.
        """
        try:
            with path.open("rb") as file:
                mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
                if mode & 0o077:
                    cause = f"others may read this key (mode {mode:04o})"
                    raise ConfigFault(cause, place=str(path), cure="chmod 600 it")
                pem = file.read(65536)
        except OSError as fault:
            raise ConfigFault(
                f"cannot be read: {fault.strerror}", place=str(path), cure="make it with `dcu headend keys`"
            ) from fault
        try:
            key = load_pem_private_key(pem, password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm):  # the library's words could quote the key
            raise ConfigFault("not an unencrypted PEM private key", place=str(path), cure="make it anew") from None
        if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
            raise ConfigFault("not a P-256 key", place=str(path), cure="make it with `dcu headend keys`")
        return cls(key, kid)

    @property
    def kid(self) -> str:
        """Name of the key."""
        return self._kid

    def sign_digest(self, digest: bytes) -> tuple[int, int]:
        """ECDSA (r, s) over a SHA-256 digest."""
        return decode_dss_signature(self._key.sign(digest, ec.ECDSA(Prehashed(SHA256()))))


def box_kid(x: int, y: int) -> str:
    """Name of a box's receipt key: `box-` and 22 characters of its thumbprint."""
    return "box-" + to_base64url(thumbprint(x, y))[:22]
