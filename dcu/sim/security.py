"""Suite 0 of the meter's side: AES-GCM-128 on APDUs and the two HLS mechanisms (Green Book 9.2.3, 9.2.7).

Sources: Green Book 9.2.7.2.4 (security header, nonce = system title || invocation counter, additional authenticated
data), 9.2.7.4 (HLS mechanism 5); reference/is15959.md 1.2 (mechanism 2 of Indian meters: AES-128 of the challenge).
"""

import hmac
from dataclasses import dataclass, field
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import ECB, GCM

from dcu.sim.axdr import Reader, length
from dcu.sim.errors import Malformed, Unsecured

AUTHENTICATED: Final = 0x10
AUTHENTICATED_ENCRYPTED: Final = 0x30
TAG_OCTETS: Final = 12


@dataclass(frozen=True, slots=True)
class MeterKeys:
    """Keys and secrets of one virtual meter; never printed.

    Attributes:
        guek: global unicast encryption key, 16 octets.
        gak: global authentication key, 16 octets.
        lls: password of the meter reader.
        hls: HLS secret of the utility setting client, 16 octets for mechanism 2.
    """

    guek: bytes = field(default=b"", repr=False)
    gak: bytes = field(default=b"", repr=False)
    lls: bytes = field(default=b"", repr=False)
    hls: bytes = field(default=b"", repr=False)


def _nonce(system_title: bytes, counter: int) -> bytes:
    return system_title + counter.to_bytes(4, "big")


def _seal(keys: MeterKeys, system_title: bytes, counter: int, plain: bytes) -> bytes:
    """Ciphertext with its tag cut to 12 octets (GCM tags may be truncated; NIST SP 800-38D 5.2.1.2)."""
    header = bytes([AUTHENTICATED_ENCRYPTED]) + keys.gak
    sealed = AESGCM(keys.guek).encrypt(_nonce(system_title, counter), plain, header)
    return sealed[: len(sealed) - 16 + TAG_OCTETS]


def _open(keys: MeterKeys, system_title: bytes, counter: int, sealed: bytes) -> bytes:
    """The plaintext, only if the 12-octet tag is right."""
    body, tag = sealed[:-TAG_OCTETS], sealed[-TAG_OCTETS:]
    mode = GCM(_nonce(system_title, counter), tag, min_tag_length=TAG_OCTETS)
    engine = Cipher(AES(keys.guek), mode).decryptor()
    engine.authenticate_additional_data(bytes([AUTHENTICATED_ENCRYPTED]) + keys.gak)
    try:
        return engine.update(body) + engine.finalize()
    except InvalidTag as fault:
        raise Unsecured("bad tag") from fault


def cipher(keys: MeterKeys, system_title: bytes, counter: int, tag: int, apdu: bytes) -> bytes:
    """A service-specific global ciphered APDU: tag, length, security control 0x30, counter, ciphertext, GCM tag."""
    body = bytes([AUTHENTICATED_ENCRYPTED]) + counter.to_bytes(4, "big") + _seal(keys, system_title, counter, apdu)
    return bytes([tag]) + length(len(body)) + body


def decipher(keys: MeterKeys, system_title: bytes, apdu: bytes) -> tuple[int, bytes]:
    """Invocation counter and plaintext of a ciphered APDU.

    Raises:
        Malformed: not a ciphered APDU by its lengths.
        Unsecured: security control other than 0x30, or a bad tag.
    """
    reader = Reader(apdu[1:])
    body = Reader(reader.counted())
    if reader.left:
        raise Malformed("octets after the ciphered APDU")
    control, counter = body.octet(), body.number(4)
    if control != AUTHENTICATED_ENCRYPTED:
        raise Unsecured(f"security control {control:#04x}, where 0x30 is required")
    if body.left < TAG_OCTETS:
        raise Malformed("no room for a tag")
    return counter, _open(keys, system_title, counter, body.rest())


def gmac(keys: MeterKeys, system_title: bytes, counter: int, challenge: bytes) -> bytes:
    """f(challenge) of HLS mechanism 5: 0x10, counter, 12-octet tag over 0x10 || GAK || challenge."""
    header = bytes([AUTHENTICATED]) + keys.gak + challenge
    tag = AESGCM(keys.guek).encrypt(_nonce(system_title, counter), b"", header)[:TAG_OCTETS]
    return bytes([AUTHENTICATED]) + counter.to_bytes(4, "big") + tag


def ecb(secret: bytes, challenge: bytes) -> bytes:
    """f(challenge) of HLS mechanism 2 in India: the challenge enciphered block by block under the HLS secret.

    Raises:
        Malformed: a challenge that is not whole blocks of 16 octets.
    """
    if not challenge or len(challenge) % 16:
        raise Malformed(f"challenge of {len(challenge)} octets, not a multiple of 16")
    engine = Cipher(AES(secret), ECB()).encryptor()  # noqa: S305  the mechanism is what the meters speak
    return engine.update(challenge) + engine.finalize()


def same(left: bytes, right: bytes) -> bool:
    """Equality in constant time."""
    return hmac.compare_digest(left, right)
