"""Receipts: what the box answers, signed by its own key, with the head of its journal in each.

    {"v":1, "typ":"receipt", "dcu", "jid", "iss", "cmd_id", "digest":"<b64url of SHA-256 of the payload>",
     "kind":"command"|"policy", "op", "meter", "state", "code"?, "reason"?, "at", "clock", "n", "chain":"<b64url>",
     "pol"?, "readback"?:[{"output":"connected","control":1} | {"text":true} | {}, ..], "cause"?}

`n` is the journal's number of the decision and `chain` the digest of the journal's head with it: who keeps receipts
can prove that the journal was not rewritten. Source: reference/command-authority.md 5 (audit), 8 (step 28).
"""

import os
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from dcu.command import ControlState, OutputState, Refusal
from dcu.errors import ConfigFault
from dcu.reading import ClockState
from dcu.relay.canonical import to_base64url
from dcu.relay.envelope import RECEIPT, Signer, seal
from dcu.relay.key import thumbprint

UNPROVEN: Final = "unproven"
"""Cause of a state that matched after a crash: nobody saw who brought it about."""


@dataclass(frozen=True, slots=True)
class ReadBack:
    """One look at a meter after the ACTION or SET; what could not be read is None.

    Attributes:
        output: physical state of the relay.
        control: its logical state.
        text: for a message: whether the display's object holds it.
    """

    output: OutputState | None = None
    control: ControlState | None = None
    text: bool | None = None

    @property
    def claims(self) -> dict[str, Any]:
        """As a receipt tells it."""
        told: dict[str, Any] = {}
        if self.output is not None:
            told["output"] = self.output.value
        if self.control is not None:
            told["control"] = self.control.value
        if self.text is not None:
            told["text"] = self.text
        return told


@dataclass(frozen=True, slots=True)
class Account:
    """What there is to tell of one decision.

    Attributes:
        kind: "command" or "policy".
        iss, cmd_id, op, meter: as claimed; empty where the payload is not legible.
        digest: SHA-256 of the payload.
        kids: keys that signed; told to the journal only.
        state: where it stands now.
        code, reason: why it was refused, or in words why it ended so.
        pol: version of the policy that was in force.
        readback: looks at the meter.
        cause: UNPROVEN, or empty.
    """

    kind: str
    iss: str
    cmd_id: str
    op: str
    meter: str
    digest: bytes
    kids: tuple[str, ...]
    state: str
    code: Refusal | None = None
    reason: str = ""
    pol: int | None = None
    readback: Sequence[ReadBack] = ()
    cause: str = ""

    @property
    def claims(self) -> dict[str, Any]:
        """As receipt and journal tell it."""
        told: dict[str, Any] = {
            "kind": self.kind,
            "iss": self.iss,
            "cmd_id": self.cmd_id,
            "op": self.op,
            "meter": self.meter,
            "digest": to_base64url(self.digest),
            "state": self.state,
        }
        if self.code is not None:
            told["code"] = self.code.value
        if self.reason:
            told["reason"] = _plain(self.reason)
        if self.pol is not None:
            told["pol"] = self.pol
        if self.readback:
            told["readback"] = [look.claims for look in self.readback]
        if self.cause:
            told["cause"] = self.cause
        return told


def seal_receipt(
    account: Account, signer: Signer, *, dcu: str, jid: str, at_s: int, clock: ClockState, n: int, chain: bytes
) -> bytes:
    """The signed receipt. `at_s` is the box's clock in UTC seconds; `n` and `chain` are the journal's head."""
    claims: Mapping[str, Any] = {
        **account.claims,
        "v": 1,
        "typ": "receipt",
        "dcu": dcu,
        "jid": jid,
        "at": at_s,
        "clock": clock.value,
        "n": n,
        "chain": to_base64url(chain),
    }
    return seal(claims, RECEIPT, [signer])


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
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as fault:
            raise ConfigFault(
                f"cannot be read: {fault.strerror}", place=str(path), cure="make it with `dcu headend keys`"
            ) from fault
        with os.fdopen(descriptor, "rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            if mode & 0o077:
                raise ConfigFault(f"others may read this key (mode {mode:04o})", place=str(path), cure="chmod 600 it")
            pem = file.read(65536)
        try:
            key = load_pem_private_key(pem, password=None)
        except (ValueError, TypeError):  # the library's words could quote the key
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


def _plain(text: str) -> str:
    """At most 200 characters of printable ASCII."""
    return "".join(c if " " <= c <= "~" else "?" for c in text[:200])
