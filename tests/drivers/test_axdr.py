"""A-XDR: values by table, an unrelated implementation's, and whatever octets there are."""

import contextlib
import struct
import time

import pytest
from dlms_cosem import a_xdr as theirs_axdr
from dlms_cosem import dlms_data as theirs
from hypothesis import given
from hypothesis import strategies as st

from dcu.drivers import axdr
from dcu.drivers.axdr_plain import Delta, DontCare
from dcu.errors import ReplyMalformed

TABLE = {
    "00": None,
    "0300": False,
    "0301": True,
    "05FFFFFFFE": -2,
    "06FFFFFFFF": 4294967295,
    "0FFF": -1,
    "10FF38": -200,
    "11FF": 255,
    "1208FD": 2301,
    "14FFFFFFFFFFFFFFFF": -1,
    "15FFFFFFFFFFFFFFFF": 2**64 - 1,
    "161B": 27,
    "0D42": 0x42,
    "0D99": 0x99,
    "FF": DontCare(""),
    "1CFF": Delta(-1),
    "1DFF38": Delta(-200),
    "1EFFFFFFFE": Delta(-2),
    "1FFF": Delta(255),
    "20FFFF": Delta(65535),
    "21FFFFFFFF": Delta(4294967295),
    "02021100FF": [0, ""],
    "0900": b"",
    "090C07E60810FF0F211BFF800000": bytes.fromhex("07E60810FF0F211BFF800000"),
    "0A03414243": "ABC",
    "0A01E9": "é",
    "0C02C3A9": "é",
    "040AAA80": "1010101010",
    "0400": "",
    "1907E60810FF0F211BFF800000": bytes.fromhex("07E60810FF0F211BFF800000"),
    "1A07E60810FF": bytes.fromhex("07E60810FF"),
    "1B0F211BFF": bytes.fromhex("0F211BFF"),
    "0100": [],
    "02020FFF161B": [-1, 27],
    "01020202110112000202021102120003": [[1, 2], [2, 3]],
    "174366199A": "230.1",
    "1700000000": "0",
    "177FC00000": "nan",
    "17FF800000": "-inf",
    "18406CC33333333333": "230.1",
    "09820003010203": b"\x01\x02\x03",
}


@pytest.mark.parametrize("octets", TABLE)
def test_table(octets):
    value = axdr.decode(bytes.fromhex(octets))
    assert value == TABLE[octets]
    assert type(value) is type(TABLE[octets])


MALFORMED = {
    "nothing": "",
    "octet-string cut short": "090501020304",
    "integer cut short": "06000000",
    "structure with one element of two": "02021101",
    "array that claims 4e9": "0184FFFFFFFF1101",
    "array that claims one more": "0103110111 02",
    "length of no octets": "0980",
    "length of five octets": "09850000000001FF",
    "length cut short": "098201",
    "octets behind": "110100",
    "unknown type": "63",
    "a type behind the last": "22",
    "difference cut short": "1D01",
    "compact array without contents": "1311",
    "bit-string cut short": "0409FF",
    "not UTF-8": "0C01FF",
    "date-time cut short": "1907E6",
    "boolean cut short": "03",
    "float cut short": "1742",
}


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed(name):
    with pytest.raises(ReplyMalformed):
        axdr.decode(bytes.fromhex(MALFORMED[name].replace(" ", "")))


def test_nesting_is_bounded():
    assert axdr.decode(b"\x01\x01" * 15 + b"\x00")
    for deep in (17, 500, 100_000):
        with pytest.raises(ReplyMalformed, match="nested"):
            axdr.decode(b"\x01\x01" * deep + b"\x00")


@given(st.binary(max_size=400))
def test_any_octets_give_a_value_or_malformed(octets):
    with contextlib.suppress(ReplyMalformed):
        axdr.decode(octets)


def test_hostile_octets_take_bounded_time():
    began = time.process_time()
    for octets in (b"\x01\x84\x00\x01\x00\x00" * 20_000, b"\x02\x7f" * 50_000, b"\x01\x82\xff\xff" + bytes(65_534)):
        with pytest.raises(ReplyMalformed):
            axdr.decode(octets)
    assert time.process_time() - began < 2


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_float_text_names_the_very_float(value):
    raw = struct.pack(">f", value)
    text = axdr.decode(b"\x17" + raw)
    assert struct.pack(">f", float(text)) == raw


@given(st.integers(0, 2**32 - 1), st.binary(max_size=5))
def test_lengths_round_trip(length, behind):
    octets = axdr.encode_length(length)
    assert axdr.decode_length(octets + behind, 0) == (length, len(octets))


SCALARS = st.one_of(
    st.integers(-(2**31), 2**31 - 1).map(theirs.DoubleLongData),
    st.integers(0, 2**32 - 1).map(theirs.DoubleLongUnsignedData),
    st.integers(-(2**15), 2**15 - 1).map(theirs.LongData),
    st.integers(0, 2**16 - 1).map(theirs.UnsignedLongData),
    st.integers(-(2**63), 2**63 - 1).map(theirs.Long64Data),
    st.integers(0, 2**64 - 1).map(theirs.UnsignedLong64Data),
    st.integers(-128, 127).map(theirs.IntegerData),
    st.integers(0, 255).map(theirs.UnsignedIntegerData),
    st.integers(0, 255).map(theirs.EnumData),
    # dlms-cosem cannot encode booleans: those are in the table.
    st.binary(max_size=200).map(theirs.OctetStringData),
)


@given(st.lists(st.lists(SCALARS, min_size=1, max_size=6), max_size=6))
def test_same_values_as_an_unrelated_implementation(rows):
    octets = bytes([1, len(rows)])
    for row in rows:
        octets += bytes([2, len(row)]) + b"".join(bytes(cell.to_bytes()) for cell in row)
    expected = theirs_axdr.AXdrDecoder(theirs_axdr.EncodingConf([theirs_axdr.Sequence("data")])).decode(octets)["data"]
    assert axdr.decode(octets) == expected
