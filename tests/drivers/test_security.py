"""Suite 0 against the Green Book's examples, Wycheproof and an unrelated implementation."""

import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from dlms_cosem import security as theirs
from hypothesis import given
from hypothesis import strategies as st

from dcu.drivers import security
from dcu.drivers.security import AUTHENTICATED, AUTHENTICATED_ENCRYPTED, ENCRYPTED, SuiteZero
from dcu.errors import AssociationRefused, ReplyForged

WYCHEPROOF = Path(__file__).parents[3] / "shared" / "vectors" / "wycheproof" / "aes_gcm_test.json"

# Keys, title and figures of the Green Book's examples (DLMS UA 1000-2, 9.2.7).
SUITE = SuiteZero(bytes(range(0x10)), bytes(range(0xD0, 0xE0)))
METER = bytes.fromhex("4D4D4D0000BC614E")
COUNTER = 0x01234567

INITIATE = bytes.fromhex("01011000112233445566778899AABBCCDDEEFF0000065F1F0400007E1F04B0")
GET_CLOCK = bytes.fromhex("C0010000080000010000FF0200")
EXAMPLES = [
    (
        AUTHENTICATED_ENCRYPTED,
        INITIATE,
        "801302FF8A7874133D414CED25B42534D28DB0047720606B175BD52211BE6841DB204D39EE6FDB8E356855",
    ),
    (AUTHENTICATED, GET_CLOCK, "C0010000080000010000FF020006725D910F9221D263877516"),
    (ENCRYPTED, GET_CLOCK, "411312FF935A47566827C467BC"),
    (AUTHENTICATED_ENCRYPTED, GET_CLOCK, "411312FF935A47566827C467BC7D825C3BE4A77C3FCC056B6B"),
]


@pytest.mark.parametrize(("control", "plaintext", "sealed"), EXAMPLES)
def test_green_book(control, plaintext, sealed):
    assert SUITE.seal(METER, COUNTER, plaintext, control).hex().upper() == sealed
    assert SUITE.open(METER, COUNTER, bytes.fromhex(sealed), control) == plaintext


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
        assert suite.open(nonce[:8], counter, bytes.fromhex(test["ct"]), ENCRYPTED) == message
        seen += 1
    assert seen > 30


@given(st.binary(max_size=80), st.integers(0, 2**32 - 1))
def test_same_octets_as_an_unrelated_implementation(plaintext, counter):
    control = theirs.SecurityControlField(0, authenticated=True, encrypted=True)
    expected = theirs.encrypt(control, METER, counter, SUITE.unicast_key, plaintext, SUITE.authentication_key)
    assert SUITE.seal(METER, counter, plaintext) == expected
    assert SUITE.open(METER, counter, expected) == plaintext


@given(st.binary(max_size=80), st.integers(0, 2**32 - 1))
def test_a_short_tag_is_what_openssl_verifies(plaintext, counter):
    for control, covered, hidden in ((AUTHENTICATED, plaintext, b""), (AUTHENTICATED_ENCRYPTED, b"", plaintext)):
        sealed = SUITE.seal(METER, counter, plaintext, control)
        mode = modes.GCM(METER + counter.to_bytes(4, "big"), sealed[-12:], min_tag_length=12)
        opener = Cipher(algorithms.AES(SUITE.unicast_key), mode).decryptor()
        opener.authenticate_additional_data(bytes([control]) + SUITE.authentication_key + covered)
        assert opener.update(sealed[:-12] if hidden else b"") + opener.finalize() == hidden


@pytest.mark.parametrize("control", [AUTHENTICATED, AUTHENTICATED_ENCRYPTED])
@given(plaintext=st.binary(max_size=40), data=st.data())
def test_no_bit_may_differ(control, plaintext, data):
    sealed = bytearray(SUITE.seal(METER, COUNTER, plaintext, control))
    at = data.draw(st.integers(0, 8 * len(sealed) - 1))
    sealed[at // 8] ^= 1 << at % 8
    for title, counter in ((METER, COUNTER), (bytes(8), COUNTER), (METER, COUNTER + 1)):
        with pytest.raises(ReplyForged, match="tag"):
            SUITE.open(title, counter, bytes(sealed), control)


@pytest.mark.parametrize("control", [AUTHENTICATED, AUTHENTICATED_ENCRYPTED])
def test_a_tag_of_one_kind_is_none_of_the_other(control):
    sealed = SUITE.seal(METER, COUNTER, GET_CLOCK, control)
    with pytest.raises(ReplyForged, match="tag"):
        SUITE.open(METER, COUNTER, sealed, control ^ ENCRYPTED)
    for short in (b"", sealed[-11:]):
        with pytest.raises(ReplyForged):
            SUITE.open(METER, COUNTER, short, control)


def test_a_dedicated_key_takes_the_place_of_the_encryption_key_alone():
    sealed = SUITE.under(bytes(16)).seal(METER, COUNTER, GET_CLOCK)
    assert sealed == SuiteZero(bytes(16), SUITE.authentication_key).seal(METER, COUNTER, GET_CLOCK)
    with pytest.raises(ReplyForged):
        SUITE.open(METER, COUNTER, sealed)


def test_keys_that_are_none():
    for keys in ((b"", bytes(16)), (bytes(16), b""), (bytes(15), bytes(16)), (bytes(32), bytes(16))):
        with pytest.raises(AssociationRefused, match="16 octets"):
            SuiteZero(*keys)


def test_keys_are_never_shown():
    shown = repr(SUITE) + str(SUITE)
    for key in (SUITE.unicast_key, SUITE.authentication_key):
        assert key.hex() not in shown
        assert repr(key) not in shown


def test_titles_of_two_boxes_differ():
    one, two = security.client_title("JH-RNC-0042"), security.client_title("JH-RNC-0043")
    assert len(one) == len(two) == 8
    assert one != two
