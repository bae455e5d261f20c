"""Suite 0 against the Green Book's example, Wycheproof, an unrelated implementation, and forged replies."""

import itertools
import json
from pathlib import Path

import pytest
from dlms_cosem import security as theirs
from hypothesis import given
from hypothesis import strategies as st

from dcu.drivers import security
from dcu.drivers.security import Ciphering, SuiteZero
from dcu.errors import AssociationRefused, ReplyForged
from dcu.meter import Mechanism

WYCHEPROOF = Path(__file__).parents[3] / "shared" / "vectors" / "wycheproof" / "aes_gcm_test.json"

# Keys, titles and figures of the Green Book's examples (DLMS UA 1000-2, 9.2.7: AES-GCM and HLS with GMAC).
SUITE = SuiteZero(bytes(range(0x10)), bytes(range(0xD0, 0xE0)))
CLIENT = bytes.fromhex("4D4D4D0000000001")
METER = bytes.fromhex("4D4D4D0000BC614E")


def ciphering(title=CLIENT, meter=METER, first=1):
    one = Ciphering(SUITE, title, itertools.count(first).__next__)
    if meter:
        one.meet(meter)
    return one


def from_meter(plaintext, counter, *, tag=None, control=0x30):
    sealed = SUITE.seal(METER, counter, plaintext)
    body = bytes([control]) + counter.to_bytes(4, "big") + sealed
    return bytes([security.GLOBAL_TAG[plaintext[0]] if tag is None else tag, len(body)]) + body


def test_green_book_authenticated_encryption():
    plaintext = bytes.fromhex("01011000112233445566778899AABBCCDDEEFF0000065F1F0400007E1F04B0")
    sealed = SUITE.seal(METER, 0x01234567, plaintext)
    assert sealed.hex().upper() == (
        "801302FF8A7874133D414CED25B42534D28DB0047720606B175BD52211BE6841DB204D39EE6FDB8E356855"
    )
    assert SUITE.open(METER, 0x01234567, sealed) == plaintext


def test_green_book_hls_with_gmac():
    client = ciphering(first=1)
    proof = security.answer_challenge(Mechanism.HLS_GMAC, b"P6wRJ21F", b"", client)
    assert proof.hex().upper() == "10000000011A52FE7DD3E72748973C1E28"
    answer = bytes.fromhex("1001234567FE1466AFB3DBCD4F9389E2B7")
    security.check_answer(Mechanism.HLS_GMAC, b"K56iVagY", answer, b"", client)
    for at in range(len(answer)):
        forged = bytearray(answer)
        forged[at] ^= 1
        with pytest.raises(ReplyForged):
            security.check_answer(Mechanism.HLS_GMAC, b"K56iVagY", bytes(forged), b"", client)


def test_hls_with_secret_is_aes_128():
    # FIPS 197, appendix C.1.
    secret, challenge = bytes(range(16)), bytes.fromhex("00112233445566778899aabbccddeeff")
    proof = bytes.fromhex("69c4e0d86a7b0430d8cdb78070b4c55a")
    assert security.answer_challenge(Mechanism.HLS_SECRET, challenge, secret, ciphering()) == proof
    security.check_answer(Mechanism.HLS_SECRET, challenge, proof, secret, ciphering())
    for wrong in (proof[:-1], b"", proof[:-1] + b"\x00"):
        with pytest.raises(ReplyForged):
            security.check_answer(Mechanism.HLS_SECRET, challenge, wrong, secret, ciphering())


@pytest.mark.skipif(not WYCHEPROOF.exists(), reason="../shared/vectors is not beside this checkout")
def test_wycheproof_aes_gcm():
    # Suite 0's AAD is always control + key, its tag 12 octets: what fits is any key, any 96-bit nonce, any message,
    # whose ciphertext (not its tag, which covers another AAD) must be Wycheproof's.
    groups = json.loads(WYCHEPROOF.read_text())["testGroups"]
    fitting = [g for g in groups if g["keySize"] == 128 and g["ivSize"] == 96]
    seen = 0
    for test in (test for group in fitting for test in group["tests"] if test["result"] == "valid"):
        nonce, message = bytes.fromhex(test["iv"]), bytes.fromhex(test["msg"])
        suite = SuiteZero(bytes.fromhex(test["key"]), bytes(16))
        counter = int.from_bytes(nonce[8:], "big")
        sealed = suite.seal(nonce[:8], counter, message)
        assert sealed[: -security.TAG].hex() == test["ct"]
        assert suite.open(nonce[:8], counter, sealed) == message
        seen += 1
    assert seen > 30


@given(st.binary(max_size=80), st.integers(0, 2**32 - 1))
def test_same_octets_as_an_unrelated_implementation(plaintext, counter):
    control = theirs.SecurityControlField(0, authenticated=True, encrypted=True)
    expected = theirs.encrypt(control, METER, counter, SUITE.unicast_key, plaintext, SUITE.authentication_key)
    assert SUITE.seal(METER, counter, plaintext) == expected
    assert SUITE.open(METER, counter, expected) == plaintext


def test_both_ways():
    meter = ciphering(METER, CLIENT, first=500)
    client = ciphering()
    for apdu in (b"\xc0\x01\xc1", b"\xc1\x01\xc1" + bytes(300), b"\xc3\x01\xc1"):
        octets = client.protect(apdu)
        assert octets[0] == security.GLOBAL_TAG[apdu[0]]
        assert meter.unprotect(octets) == apdu


def test_each_request_has_its_own_counter():
    client = ciphering(first=7)
    octets = [client.protect(b"\xc0\x01\xc1") for _ in range(3)]
    assert [int.from_bytes(o[3:7], "big") for o in octets] == [7, 8, 9]


@pytest.mark.parametrize("at", range(2, 28))
def test_any_changed_octet_is_forged(at):
    octets = bytearray(from_meter(b"\xc4\x01\xc1\x00\x06\x00\x00\x00\x2a", 9))
    assert len(octets) == 28
    octets[at] ^= 0x01
    with pytest.raises(ReplyForged):
        ciphering().unprotect(bytes(octets))


def test_a_forged_reply_moves_no_counter():
    client = ciphering()
    forged = bytearray(from_meter(b"\xc4\x01\xc1\x00\x00", 2**32 - 1))
    forged[-1] ^= 1
    with pytest.raises(ReplyForged, match="tag"):
        client.unprotect(bytes(forged))
    assert client.unprotect(from_meter(b"\xc4\x01\xc1\x00\x00", 1)) == b"\xc4\x01\xc1\x00\x00"


def test_server_counter_only_goes_up():
    client = ciphering()
    client.unprotect(from_meter(b"\xc4\x01\xc1\x00\x00", 10))
    for old in (10, 9, 0):
        with pytest.raises(ReplyForged, match="not above"):
            client.unprotect(from_meter(b"\xc4\x01\xc1\x00\x00", old))
    client.unprotect(from_meter(b"\xc4\x01\xc1\x00\x00", 12))


FORGED = {
    "empty": b"",
    "clear": b"\xc4\x01\xc1\x00\x00",
    "general-glo": b"\xdb\x08" + METER + from_meter(b"\xc4\x01\xc1\x00\x00", 1)[1:],
    "encryption only": from_meter(b"\xc4\x01\xc1\x00\x00", 1, control=0x20),
    "authentication only": from_meter(b"\xc4\x01\xc1\x00\x00", 1, control=0x10),
    "no security": from_meter(b"\xc4\x01\xc1\x00\x00", 1, control=0x00),
    "broadcast key": from_meter(b"\xc4\x01\xc1\x00\x00", 1, control=0x70),
    "suite 1": from_meter(b"\xc4\x01\xc1\x00\x00", 1, control=0x31),
    "another service inside": from_meter(b"\xc5\x01\xc1\x00", 1, tag=0xCC),
    "cut short": from_meter(b"\xc4\x01\xc1\x00\x00", 1)[:-1],
    "octets behind": from_meter(b"\xc4\x01\xc1\x00\x00", 1) + b"\x00",
    "shorter than a tag": bytes.fromhex("CC0530000000 01".replace(" ", "")),
    "our own request, reflected": Ciphering(SUITE, CLIENT, itertools.count(1).__next__).protect(b"\xc4\x01\xc1"),
    "length of lengths": b"\xcc\x84\x00\x00",
}


@pytest.mark.parametrize("name", FORGED)
def test_forged(name):
    with pytest.raises(ReplyForged):
        ciphering().unprotect(FORGED[name])


@given(st.binary(max_size=64))
def test_random_octets_are_forged(octets):
    with pytest.raises(ReplyForged):
        ciphering().unprotect(octets)


@pytest.mark.parametrize("title", [b"", bytes(7), bytes(9), CLIENT])
def test_a_title_that_cannot_be_the_meters(title):
    with pytest.raises(ReplyForged):
        ciphering(meter=None).meet(title)


def test_secrets_that_are_none():
    for keys in ((b"", bytes(16)), (bytes(16), b""), (bytes(15), bytes(16)), (bytes(32), bytes(16))):
        with pytest.raises(AssociationRefused, match="16 octets"):
            SuiteZero(*keys)
    with pytest.raises(AssociationRefused, match="16 octets"):
        security.answer_challenge(Mechanism.HLS_SECRET, bytes(16), b"short", ciphering())
    with pytest.raises(AssociationRefused):
        security.answer_challenge(Mechanism.LLS, bytes(16), bytes(16), ciphering())


def test_keys_are_never_shown():
    shown = repr(SUITE) + repr(ciphering()) + str(vars(SUITE) if hasattr(SUITE, "__dict__") else "")
    assert "0001020304" not in shown
    assert repr(SUITE.unicast_key) not in shown


def test_titles_of_two_boxes_differ():
    one, two = security.client_title("JH-RNC-0042"), security.client_title("JH-RNC-0043")
    assert len(one) == len(two) == 8
    assert one != two
