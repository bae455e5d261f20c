"""The high-level authentication mechanisms: what each side answers to the other's challenge. Pure.

Source: Green Book 9.2.7.4 (GMAC), reference/is15959.md 1.2 (mechanism 2 of Indian meters: AES-128 of the challenge).
"""

import hmac
from typing import Final

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from dcu.drivers.ciphering import Ciphering
from dcu.drivers.security import AUTHENTICATED, KEY, TAG
from dcu.errors import AssociationRefused, ReplyForged
from dcu.meter import Mechanism

HIGH_LEVEL: Final = frozenset({Mechanism.HLS_SECRET, Mechanism.HLS_GMAC})


def answer(mechanism: Mechanism, challenge: bytes, secret: bytes, ciphering: Ciphering | None) -> bytes:
    """f(StoC): what proves this client to the meter (pass 3).

    Raises:
        AssociationRefused: a secret that the mechanism cannot use, a mechanism that is not high-level, or GMAC without
            keys.
    """
    if mechanism is Mechanism.HLS_GMAC and ciphering is not None:
        counter = ciphering.next_counter()
        head = bytes([AUTHENTICATED]) + counter.to_bytes(4, "big")
        return head + ciphering.suite.gmac(ciphering.title, counter, challenge)
    if mechanism is Mechanism.HLS_SECRET:
        return _aes(secret, challenge)
    raise AssociationRefused(f"mechanism {mechanism.name} cannot answer a challenge here")


def check(mechanism: Mechanism, challenge: bytes, answer: bytes, secret: bytes, ciphering: Ciphering | None) -> None:
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


def is_reflected(mechanism: Mechanism, theirs: bytes, ours: bytes) -> bool:
    """Whether an answer to `theirs` would hold the answer to `ours`: mechanism 2 answers each block by itself."""
    if mechanism is not Mechanism.HLS_SECRET:
        return theirs == ours
    return not _blocks(ours).isdisjoint(_blocks(theirs))


def _blocks(challenge: bytes) -> set[bytes]:
    padded = _padded(challenge)
    return {padded[at : at + 16] for at in range(0, len(padded), 16)}


def _padded(challenge: bytes) -> bytes:
    return challenge + bytes(-len(challenge) % 16)


def _aes(secret: bytes, challenge: bytes) -> bytes:
    """AES-128 of each block of the challenge, zeros behind its end: what Indian meters call mechanism 2."""
    if len(secret) != KEY:
        raise AssociationRefused("an HLS secret has 16 octets", cure="mend the meter's entry in secrets.toml")
    encryptor = Cipher(algorithms.AES(secret), modes.ECB()).encryptor()  # noqa: S305  the standard's own choice
    return encryptor.update(_padded(challenge)) + encryptor.finalize()
