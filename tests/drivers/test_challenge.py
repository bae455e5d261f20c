"""What both sides answer to a challenge: GMAC by the Green Book's example, mechanism 2 by FIPS 197."""

import pytest

from dcu.drivers import challenge
from dcu.errors import AssociationRefused, ReplyForged
from dcu.meter import Mechanism

from .test_ciphering import ciphering


def test_green_book_hls_with_gmac():
    client = ciphering(first=1)
    proof = challenge.answer(Mechanism.HLS_GMAC, b"P6wRJ21F", b"", client)
    assert proof.hex().upper() == "10000000011A52FE7DD3E72748973C1E28"
    answer = bytes.fromhex("1001234567FE1466AFB3DBCD4F9389E2B7")
    challenge.check(Mechanism.HLS_GMAC, b"K56iVagY", answer, b"", client)
    for at in range(len(answer)):
        forged = bytearray(answer)
        forged[at] ^= 1
        with pytest.raises(ReplyForged):
            challenge.check(Mechanism.HLS_GMAC, b"K56iVagY", bytes(forged), b"", client)


def test_gmac_is_made_with_the_global_key_even_where_services_have_their_own():
    client = ciphering(first=1)
    client.dedicate(bytes(16))
    proof = challenge.answer(Mechanism.HLS_GMAC, b"P6wRJ21F", b"", client)
    assert proof.hex().upper() == "10000000011A52FE7DD3E72748973C1E28"


def test_hls_with_secret_is_aes_128():
    # FIPS 197, appendix C.1.
    secret, theirs = bytes(range(16)), bytes.fromhex("00112233445566778899aabbccddeeff")
    proof = bytes.fromhex("69c4e0d86a7b0430d8cdb78070b4c55a")
    assert challenge.answer(Mechanism.HLS_SECRET, theirs, secret, ciphering()) == proof
    challenge.check(Mechanism.HLS_SECRET, theirs, proof, secret, None)
    for wrong in (proof[:-1], b"", proof[:-1] + b"\x00"):
        with pytest.raises(ReplyForged):
            challenge.check(Mechanism.HLS_SECRET, theirs, wrong, secret, ciphering())


def test_secrets_and_mechanisms_that_are_none():
    with pytest.raises(AssociationRefused, match="16 octets"):
        challenge.answer(Mechanism.HLS_SECRET, bytes(16), b"short", ciphering())
    for mechanism, keys in ((Mechanism.LLS, ciphering()), (Mechanism.NONE, None), (Mechanism.HLS_GMAC, None)):
        with pytest.raises(AssociationRefused):
            challenge.answer(mechanism, bytes(16), bytes(16), keys)
