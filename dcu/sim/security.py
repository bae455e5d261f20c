"""Suite 0 of the meter's side: AES-GCM-128 on APDUs and the two HLS mechanisms (Green Book 9.2.3, 9.2.7).

Sources: Green Book 9.2.7.2.4 (security header, nonce = system title || invocation counter, additional authenticated
data), 9.2.7.4 (HLS mechanism 5); reference/is15959.md 1.2 (mechanism 2 of Indian meters: AES-128 of the challenge).
"""

import hmac
from dataclasses import dataclass, field
from typing import Final

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import ECB

from dcu.sim.axdr import Reader, length
from dcu.sim.errors import Malformed, Unsecured

AUTHENTICATED: Final = 0x10
ENCRYPTED: Final = 0x20
AUTHENTICATED_ENCRYPTED: Final = 0x30
_CONTROLS: Final = {AUTHENTICATED, ENCRYPTED, AUTHENTICATED_ENCRYPTED}
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


def _tag_of(keys: MeterKeys, key: bytes, nonce: bytes, control: int, plain: bytes) -> bytes:
    """The whole tag, 16 octets; what is sent are the first 12 (NIST SP 800-38D 5.2.1.2)."""
    if control & ENCRYPTED:
        return AESGCM(key).encrypt(nonce, plain, bytes([control]) + keys.gak)[-16:]
    return AESGCM(key).encrypt(nonce, b"", bytes([control]) + keys.gak + plain)


def protect(
    keys: MeterKeys,
    system_title: bytes,
    counter: int,
    apdu: bytes,
    control: int = AUTHENTICATED_ENCRYPTED,
    *,
    key: bytes = b"",
) -> bytes:
    """Security header and what it covers: `apdu` in clear or ciphered, with a tag or without, as `control` says.

    `key` is a dedicated key in the place of the global one.
    """
    nonce, key = _nonce(system_title, counter), key or keys.guek
    body = AESGCM(key).encrypt(nonce, apdu, None)[:-16] if control & ENCRYPTED else apdu
    tag = _tag_of(keys, key, nonce, control, apdu)[:TAG_OCTETS] if control & AUTHENTICATED else b""
    return bytes([control]) + counter.to_bytes(4, "big") + body + tag


def unprotect(
    keys: MeterKeys, system_title: bytes, covered: bytes, policy: int = AUTHENTICATED_ENCRYPTED, *, key: bytes = b""
) -> tuple[int, bytes]:
    """Invocation counter and plaintext behind a security header.

    Raises:
        Malformed: too short for what its header promises.
        Unsecured: less than `policy`, what suite 0 does not have, or a bad tag.
    """
    reader = Reader(covered)
    control, counter = reader.octet(), reader.number(4)
    if control not in _CONTROLS or control & policy != policy:
        raise Unsecured(f"security control {control:#04x}, where {policy:#04x} is required")
    if control & AUTHENTICATED and reader.left < TAG_OCTETS:
        raise Malformed("no room for a tag")
    nonce, key = _nonce(system_title, counter), key or keys.guek
    rest = reader.rest()
    cut = len(rest) - TAG_OCTETS if control & AUTHENTICATED else len(rest)
    body, tag = rest[:cut], rest[cut:]
    plain = (
        AESGCM(key).encrypt(nonce, body, None)[:-16] if control & ENCRYPTED else body
    )  # counter mode: its own inverse
    if tag and not same(tag, _tag_of(keys, key, nonce, control, plain)[:TAG_OCTETS]):
        raise Unsecured("bad tag")
    return counter, plain


def cipher(keys: MeterKeys, system_title: bytes, counter: int, tag: int, apdu: bytes) -> bytes:
    """A service-specific global ciphered APDU, authenticated and encrypted."""
    body = protect(keys, system_title, counter, apdu)
    return bytes([tag]) + length(len(body)) + body


def decipher(keys: MeterKeys, system_title: bytes, apdu: bytes) -> tuple[int, bytes]:
    """Invocation counter and plaintext of such an APDU. Raises Malformed, Unsecured."""
    return unprotect(keys, system_title, covered(apdu, 1))


def covered(apdu: bytes, at: int) -> bytes:
    """Security header and body of a ciphered APDU, by their length at `at`. Raises Malformed."""
    reader = Reader(apdu[at:])
    body = reader.counted()
    if reader.left:
        raise Malformed("octets after the ciphered APDU")
    return body


def gmac(keys: MeterKeys, system_title: bytes, counter: int, challenge: bytes) -> bytes:
    """f(challenge) of HLS mechanism 5: 0x10, counter, 12-octet tag over 0x10 || GAK || challenge."""
    tag = _tag_of(keys, keys.guek, _nonce(system_title, counter), AUTHENTICATED, challenge)[:TAG_OCTETS]
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
