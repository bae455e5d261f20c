"""Security suite 0: AES-GCM-128 as authentication, encryption or both. Pure; no I/O.

Source: Green Book 9.2.7.2.4 (security header, additional authenticated data). What an association makes of it, tags,
counters and the policy on replies, is in `ciphering.py`; the high-level authentication in `challenge.py`.
"""

import hashlib
import hmac
from dataclasses import dataclass, field
from typing import Final

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from dcu.errors import AssociationRefused, ReplyForged

TAG: Final = 12
TITLE: Final = 8
KEY: Final = 16

AUTHENTICATED: Final = 0x10  # security control: bits of `dcu.meter.Protection`
ENCRYPTED: Final = 0x20
AUTHENTICATED_ENCRYPTED: Final = 0x30

_FULL_TAG: Final = 16  # what AESGCM makes; suite 0 sends the first 12 (NIST SP 800-38D 5.2.1.2)


def client_title(dcu_id: str) -> bytes:
    """System title of a box: eight octets of its own, so that no two boxes share a nonce under one meter's key."""
    return b"DCU" + hashlib.sha256(dcu_id.encode()).digest()[:5]


def nonce_title(title: bytes, serial: str, client_sap: int) -> bytes:
    """System title under which the box of `title` speaks to one meter as one client.

    A meter's clients share its key and count apart, and meters come from the factory with the same keys: under one
    title for all of them a counter would be a nonce more than once.
    """
    own = hashlib.sha256(b"%s/%d/%s" % (title, client_sap, serial.encode())).digest()
    return title[:3] + own[:5]


@dataclass(frozen=True, slots=True)
class SuiteZero:
    """An encryption key and the authentication key of a meter, and what they can do.

    Raises:
        AssociationRefused: a key that has not 16 octets. Nothing was sent.
    """

    unicast_key: bytes = field(repr=False)
    authentication_key: bytes = field(repr=False)
    _engine: AESGCM = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if len(self.unicast_key) != KEY or len(self.authentication_key) != KEY:
            raise AssociationRefused("a key of suite 0 has 16 octets", cure="mend the meter's entry in secrets.toml")
        object.__setattr__(self, "_engine", AESGCM(self.unicast_key))

    def under(self, dedicated_key: bytes) -> "SuiteZero":
        """The same authentication key with another encryption key."""
        return SuiteZero(dedicated_key, self.authentication_key)

    def seal(self, title: bytes, counter: int, plaintext: bytes, control: int = AUTHENTICATED_ENCRYPTED) -> bytes:
        """What stands behind the security header: `plaintext`, encrypted or not, with its 12-octet tag or without.

        Args:
            title: of who sends.
            counter: with `title` the nonce; never used before under this key.
            plaintext: the clear APDU.
            control: AUTHENTICATED, ENCRYPTED or AUTHENTICATED_ENCRYPTED.
        """
        nonce = title + counter.to_bytes(4, "big")
        if control == AUTHENTICATED_ENCRYPTED:
            sealed = self._engine.encrypt(nonce, plaintext, b"\x30" + self.authentication_key)
            return sealed[: TAG - _FULL_TAG]
        if control == AUTHENTICATED:
            return plaintext + self._tag(nonce, plaintext)
        return self._engine.encrypt(nonce, plaintext, None)[:-_FULL_TAG]

    def open(self, title: bytes, counter: int, sealed: bytes, control: int = AUTHENTICATED_ENCRYPTED) -> bytes:
        """Plaintext of `sealed`, its tag verified where it has one: encryption alone proves nothing.

        Deciphered and sealed again, and the tags compared: counter mode is its own inverse, and `cryptography` needs
        three times as long for OpenSSL's own check of a short tag, most of it to make objects.

        Raises:
            ReplyForged: shorter than its tag, or another tag.
        """
        nonce = title + counter.to_bytes(4, "big")
        if control == ENCRYPTED:
            return self._engine.encrypt(nonce, sealed, None)[:-_FULL_TAG]
        if len(sealed) < TAG:
            raise ReplyForged("a ciphered APDU shorter than its tag")
        body, tag = sealed[:-TAG], sealed[-TAG:]
        if control == AUTHENTICATED:
            plaintext, right = body, self._tag(nonce, body)
        else:
            plaintext = self._engine.encrypt(nonce, body, None)[:-_FULL_TAG]
            again = self._engine.encrypt(nonce, plaintext, b"\x30" + self.authentication_key)
            right = again[-_FULL_TAG : TAG - _FULL_TAG]
        if not hmac.compare_digest(right, tag):
            raise ReplyForged("bad GCM tag", cure="compare the meter's keys with secrets.toml")
        return plaintext

    def gmac(self, title: bytes, counter: int, challenge: bytes) -> bytes:
        """12-octet tag over `challenge` alone: HLS mechanism 5."""
        return self._tag(title + counter.to_bytes(4, "big"), challenge)

    def _tag(self, nonce: bytes, covered: bytes) -> bytes:
        return self._engine.encrypt(nonce, b"", b"\x10" + self.authentication_key + covered)[:TAG]
