"""Security suite 0: AES-GCM-128 on every APDU, and the two high-level authentication mechanisms. Pure; no I/O.

Source: Green Book 9.2.7. Only authentication with encryption (security control 0x30) is spoken and accepted: a reply
with anything less, in clear, with a bad tag or with a counter not above the last is forged, whatever it says.
"""

import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from dcu.drivers import axdr
from dcu.errors import AssociationRefused, ReplyForged, ReplyMalformed
from dcu.meter import Mechanism

TAG: Final = 12
TITLE: Final = 8
AUTHENTICATED: Final = 0x10  # security control: authentication only (GMAC)
AUTHENTICATED_ENCRYPTED: Final = 0x30

GLOBAL_TAG: Final = {0x01: 0x21, 0x08: 0x28, 0xC0: 0xC8, 0xC1: 0xC9, 0xC3: 0xCB, 0xC4: 0xCC, 0xC5: 0xCD, 0xC7: 0xCF}
"""Tag of the ciphered APDU (service-specific, global key) by that of the clear one."""

CLEAR_TAG: Final = {ciphered: clear for clear, ciphered in GLOBAL_TAG.items()}


def client_title(dcu_id: str) -> bytes:
    """System title of a box: eight octets of its own, so that no two boxes share a nonce under one meter's key."""
    return b"DCU" + hashlib.sha256(dcu_id.encode()).digest()[:5]


@dataclass(frozen=True, slots=True)
class SuiteZero:
    """The two keys of a meter, and what they can do.

    Raises:
        AssociationRefused: a key that has not 16 octets. Nothing was sent.
    """

    unicast_key: bytes = field(repr=False)
    authentication_key: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.unicast_key) != 16 or len(self.authentication_key) != 16:
            raise AssociationRefused("a key of suite 0 has 16 octets", cure="mend the meter's entry in secrets.toml")

    def seal(self, title: bytes, counter: int, plaintext: bytes) -> bytes:
        """Ciphertext and 12-octet tag under nonce `title` + `counter`."""
        nonce = title + counter.to_bytes(4, "big")
        encryptor = Cipher(algorithms.AES(self.unicast_key), modes.GCM(nonce)).encryptor()
        encryptor.authenticate_additional_data(bytes([AUTHENTICATED_ENCRYPTED]) + self.authentication_key)
        ciphertext = encryptor.update(plaintext) + encryptor.finalize()
        return ciphertext + encryptor.tag[:TAG]

    def open(self, title: bytes, counter: int, sealed: bytes) -> bytes:
        """Plaintext of `sealed`, tag verified. Raises ReplyForged."""
        if len(sealed) < TAG:
            raise ReplyForged("a ciphered APDU shorter than its tag")
        nonce = title + counter.to_bytes(4, "big")
        mode = modes.GCM(nonce, sealed[-TAG:], min_tag_length=TAG)
        decryptor = Cipher(algorithms.AES(self.unicast_key), mode).decryptor()
        decryptor.authenticate_additional_data(bytes([AUTHENTICATED_ENCRYPTED]) + self.authentication_key)
        try:
            return decryptor.update(sealed[:-TAG]) + decryptor.finalize()
        except InvalidTag:
            raise ReplyForged("bad GCM tag", cure="compare the meter's keys with secrets.toml") from None

    def gmac(self, title: bytes, counter: int, challenge: bytes) -> bytes:
        """12-octet tag over `challenge` alone: HLS mechanism 5."""
        nonce = title + counter.to_bytes(4, "big")
        encryptor = Cipher(algorithms.AES(self.unicast_key), modes.GCM(nonce)).encryptor()
        encryptor.authenticate_additional_data(bytes([AUTHENTICATED]) + self.authentication_key + challenge)
        encryptor.finalize()
        return encryptor.tag[:TAG]


class Ciphering:
    """Protection of one association, both ways.

    Args:
        suite: the meter's keys.
        title: of this client, eight octets.
        next_counter: gives an invocation counter that is committed and was never used; may raise CounterExhausted.
    """

    def __init__(self, suite: SuiteZero, title: bytes, next_counter: Callable[[], int]) -> None:
        if len(title) != TITLE:
            raise ValueError("a system title has 8 octets")
        self.suite = suite
        self.title = title
        self.next_counter = next_counter
        self._meter_title = b""
        self._last_received = -1

    @property
    def meter_title(self) -> bytes:
        """System title of the meter, from its AARE; empty before."""
        return self._meter_title

    def meet(self, meter_title: bytes) -> None:
        """Take the meter's system title, which its first ciphered octets need. Raises ReplyForged."""
        if len(meter_title) != TITLE:
            raise ReplyForged(f"a system title has {TITLE} octets, not {len(meter_title)}")
        if meter_title == self.title:
            raise ReplyForged("the meter answers under this box's own system title")
        self._meter_title = meter_title

    def protect(self, apdu: bytes) -> bytes:
        """`apdu` ciphered, behind its global tag."""
        counter = self.next_counter()
        sealed = self.suite.seal(self.title, counter, apdu)
        body = bytes([AUTHENTICATED_ENCRYPTED]) + counter.to_bytes(4, "big") + sealed
        return bytes([GLOBAL_TAG[apdu[0]]]) + axdr.encode_length(len(body)) + body

    def unprotect(self, apdu: bytes) -> bytes:
        """The clear APDU inside.

        Raises:
            ReplyForged: in clear, another security control, a bad tag, a counter not above the last, or a service
                inside that is not the one outside.
        """
        if not apdu or apdu[0] not in CLEAR_TAG:
            raise ReplyForged(f"a clear reply ({apdu[:1].hex() or 'empty'}) in a ciphered association")
        try:
            length, at = axdr.decode_length(apdu, 1)
        except ReplyMalformed as fault:
            raise ReplyForged("a ciphered APDU that ends early") from fault
        body = apdu[at:]
        if length != len(body) or length < 1 + 4 + TAG:
            raise ReplyForged("a ciphered APDU whose length is not its length")
        if body[0] != AUTHENTICATED_ENCRYPTED:
            raise ReplyForged(f"security control {body[0]:#04x}, not {AUTHENTICATED_ENCRYPTED:#04x}")
        counter = int.from_bytes(body[1:5], "big")
        plaintext = self.suite.open(self._meter_title, counter, body[5:])
        if counter <= self._last_received:
            raise ReplyForged(f"invocation counter {counter} is not above {self._last_received}")
        self._last_received = counter
        if plaintext[:1] != bytes([CLEAR_TAG[apdu[0]]]):
            raise ReplyForged("another service inside the ciphered APDU than outside")
        return plaintext


def answer_challenge(mechanism: Mechanism, challenge: bytes, secret: bytes, ciphering: Ciphering | None) -> bytes:
    """f(StoC): what proves this client to the meter (pass 3).

    Raises:
        AssociationRefused: a secret that the mechanism cannot use, a mechanism that is not high-level, or GMAC in a
            clear association, which has no keys.
    """
    if mechanism is Mechanism.HLS_GMAC and ciphering is not None:
        counter = ciphering.next_counter()
        head = bytes([AUTHENTICATED]) + counter.to_bytes(4, "big")
        return head + ciphering.suite.gmac(ciphering.title, counter, challenge)
    if mechanism is Mechanism.HLS_SECRET:
        return _aes(secret, challenge)
    raise AssociationRefused(f"mechanism {mechanism.name} cannot answer a challenge here")


def check_answer(
    mechanism: Mechanism, challenge: bytes, answer: bytes, secret: bytes, ciphering: Ciphering | None
) -> None:
    """Whether f(CtoS) proves the meter to this client (pass 4). Raises ReplyForged."""
    if mechanism is Mechanism.HLS_GMAC and ciphering is not None:
        if len(answer) != 5 + TAG or answer[0] != AUTHENTICATED:
            raise ReplyForged("the meter's proof of its identity has another form")
        counter = int.from_bytes(answer[1:5], "big")
        expected = answer[:5] + ciphering.suite.gmac(ciphering.meter_title, counter, challenge)
    else:
        expected = _aes(secret, challenge)
    if not hmac.compare_digest(expected, answer):
        raise ReplyForged("the meter does not know the secret", cure="compare its HLS secret with secrets.toml")


def _aes(secret: bytes, challenge: bytes) -> bytes:
    """AES-128 of each block of the challenge, zeros behind its end: what Indian meters call mechanism 2."""
    if len(secret) != 16:
        raise AssociationRefused("an HLS secret has 16 octets", cure="mend the meter's entry in secrets.toml")
    encryptor = Cipher(algorithms.AES(secret), modes.ECB()).encryptor()  # noqa: S305  the standard's own choice
    padded = challenge + bytes(-len(challenge) % 16)
    return encryptor.update(padded) + encryptor.finalize()
