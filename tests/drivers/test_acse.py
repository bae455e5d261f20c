"""AARQ, AARE and InitiateRequest where dedicated keys and hostile octets are concerned."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcu.drivers import acse
from dcu.drivers.acse import Conformance
from dcu.errors import DcuError, ReplyMalformed
from dcu.meter import Mechanism

from .golden_files import STANDARD

FIELDS = st.sampled_from([0xA1, 0xA2, 0xA3, 0xA4, 0x88, 0x89, 0xAA, 0xBE, 0x80])
VALUES = st.one_of(
    st.binary(max_size=12),
    st.sampled_from(
        [
            bytes.fromhex(octets)
            for octets in (
                "0607608574050801 03",
                "020100",
                "A103020100",
                "04084D4D4D0000BC614E",
                "8010" + 16 * "41",
                "0400",
            )
        ]
    ),
)


def test_initiate_request_with_the_dedicated_key_of_the_green_book():
    key = bytes.fromhex("00112233445566778899AABBCCDDEEFF")
    octets = "01011000112233445566778899AABBCCDDEEFF0000065F1F0400007E1F04B0"
    assert acse.initiate_request(0x007E1F, 0x04B0, key).hex().upper() == octets


def test_general_protection_is_bit_one_of_the_conformance_block():
    assert acse.initiate_request(Conformance.GENERAL_PROTECTION, 0)[-5:-2] == bytes.fromhex("400000")
    assert not acse.PROPOSED & Conformance.GENERAL_PROTECTION


def test_a_field_that_stands_twice():
    octets = bytearray(STANDARD["aare-accepted"])
    again = octets[2:13]  # its application context
    octets[1] += len(again)
    with pytest.raises(ReplyMalformed, match="twice"):
        acse.parse_aare(bytes(octets + again), Mechanism.NONE, ciphered=False)


def test_releases():
    assert acse.is_release(acse.rlrq()) is False
    assert acse.is_release(bytes.fromhex("6303800100"))
    assert acse.is_release(b"\x63")
    assert acse.is_release(b"") is False


@given(st.lists(st.tuples(FIELDS, VALUES), max_size=8), st.integers(0, 3), st.sampled_from(Mechanism), st.booleans())
def test_whatever_an_aare_holds_is_read_or_refused_in_our_words(fields, cut, mechanism, ciphered):
    body = b"".join(bytes([tag, len(value)]) + value for tag, value in fields)
    octets = bytes([0x61, len(body)]) + body
    for said in (octets, octets[: len(octets) - cut], body):
        with contextlib.suppress(DcuError):
            granted, _ = acse.parse_aare(said, mechanism, ciphered=ciphered)
            assert cut == 0 or said is octets
            assert len(granted.challenge) in {0, *range(1, 65)}


@given(st.binary(max_size=80), st.sampled_from([b"", b"\x61", b"\x08\x00\x06\x5f\x1f\x04\x00", b"\x0e"]))
def test_random_octets(octets, head):
    for read in (lambda o: acse.parse_aare(o, Mechanism.LLS, ciphered=True), acse.parse_initiate):
        with contextlib.suppress(DcuError):
            read(head + octets)
