"""Signing by somebody else's tool: any command that signs, so that a key can stay in its hardware module.

    ExternalSigner("asha-req", "openssl pkeyutl -sign -inkey asha.pem", key, signing_input)
    ExternalSigner("asha-req", "pkcs11-tool --sign -m ECDSA -i {input} -o {output} ..", key, signing_input)
    ExternalSigner("asha-req", "openssl dgst -sha256 -sign asha.pem", key, signing_input, gets=Gets.MESSAGE)

The command gets the SHA-256 digest (32 octets), or the message itself where it digests for itself, on its standard
input or in the file `{input}`; it gives the signature on its standard output or in the file `{output}`: DER or the 64
octets r || s, as they are, in hex, or in base64. What it gave is believed only where it verifies with the public key.
"""

import binascii
import hashlib
import re
import shlex
import subprocess
import tempfile
from base64 import b64decode
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from dcu.errors import OperatorFault
from dcu.relay.public_key import ORDER, PublicKey

WITHIN_S: Final = 300.0
"""Somebody may have to type a PIN, or touch a token."""

_LONGEST: Final = 4096
_HEX: Final = re.compile(rb"[0-9a-fA-F]+")
_CURE: Final = "try the command by hand; --signer-gets says what it is given"


class Gets(Enum):
    """What the command is given."""

    DIGEST = "digest"  # 32 octets, to be signed as they are
    MESSAGE = "message"  # the signing input; the command digests it with SHA-256


class ExternalSigner:
    """A key that only a command can use. Satisfies `dcu.relay.envelope.Signer`.

    Args:
        kid: name of the key.
        command: a line of words, split as a shell would; no shell runs it.
        key: its public half.
        message: what is to be signed.
        gets: what the command is given.
    """

    def __init__(self, kid: str, command: str, key: PublicKey, message: bytes, gets: Gets = Gets.DIGEST) -> None:
        self._kid = kid
        self._command = command
        self._key = key
        self._message = message
        self._gets = gets

    @property
    def kid(self) -> str:
        """Name of the key."""
        return self._kid

    def sign_digest(self, digest: bytes) -> tuple[int, int]:
        """ECDSA (r, s), s in the lower half, over the digest of the message.

        Raises:
            OperatorFault: the command failed, or what it gave is no signature of this key.
        """
        shown = hashlib.sha256(self._message).digest()
        if shown != digest:
            raise OperatorFault("another message than the one that was shown", place="--signer")
        given = self._run(digest if self._gets is Gets.DIGEST else self._message)
        for r, s in readings(given):
            low = min(s, ORDER - s)
            if 0 < r < ORDER and low > 0 and self._key.verifies(self._message, r, low):
                return r, low
        raise OperatorFault(
            f"what the command gave ({len(given)} octets) is no signature of {self._key.kid}",
            place="--signer",
            cure=_CURE,
        )

    def _run(self, given: bytes) -> bytes:
        try:
            words = shlex.split(self._command)
        except ValueError as fault:
            raise OperatorFault(f"no command: {fault}", place="--signer") from None
        if not words:
            raise OperatorFault("no command", place="--signer")
        with tempfile.TemporaryDirectory(prefix="dcu-sign-") as directory:
            source, target = Path(directory) / "input", Path(directory) / "output"
            source.write_bytes(given)
            named = [word.replace("{input}", str(source)).replace("{output}", str(target)) for word in words]
            by_file = any("{input}" in word for word in words)
            answer = self._call(named, b"" if by_file else given)
            if any("{output}" in word for word in words):
                answer = target.read_bytes() if target.exists() else b""
        return answer[:_LONGEST]

    def _call(self, words: list[str], given: bytes) -> bytes:
        """Standard error stays the person's: that is where a tool asks for a PIN or a touch."""
        try:
            done = subprocess.run(words, input=given, stdout=subprocess.PIPE, timeout=WITHIN_S, check=False)
        except subprocess.TimeoutExpired:
            raise OperatorFault(f"no answer within {WITHIN_S:.0f} s", place=f"--signer {words[0]}") from None
        except (OSError, ValueError) as fault:
            raise OperatorFault(f"cannot be run: {fault}", place=f"--signer {words[0]}") from fault
        if done.returncode:
            raise OperatorFault(f"ended with {done.returncode}", place=f"--signer {words[0]}", cure=_CURE)
        return done.stdout


def readings(given: bytes) -> Iterator[tuple[int, int]]:
    """Every (r, s) that a tool may have meant: DER or r || s; raw, in hex, or in base64."""
    for octets in _decodings(given):
        if len(octets) == 64:
            yield int.from_bytes(octets[:32], "big"), int.from_bytes(octets[32:], "big")
        try:
            yield decode_dss_signature(octets)
        except ValueError:
            continue


def _decodings(given: bytes) -> Iterator[bytes]:
    yield given
    text = b"".join(given.split())
    if _HEX.fullmatch(text) and len(text) % 2 == 0:
        yield bytes.fromhex(text.decode("ascii"))
    try:
        yield b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return
