"""Compact arrays: the same values as sent plainly, by gurux's decoder, and bounded whatever they claim."""

import contextlib

import pytest
from gurux_dlms import GXByteBuffer
from gurux_dlms.internal._GXCommon import _GXCommon
from gurux_dlms.internal._GXDataInfo import _GXDataInfo
from hypothesis import given
from hypothesis import strategies as st

from dcu.drivers import axdr
from dcu.errors import ReplyMalformed

TABLE = {
    "13 12 04 0001 0002": [1, 2],
    "13 0F 03 FF 00 01": [-1, 0, 1],
    "13 16 00": [],
    "13 00 00": [],
    "13 09 05 02 4142 01 43": [b"AB", b"C"],
    "13 0A 03 02 4142": ["AB"],
    "13 04 04 0A AA80 00": ["1010101010", ""],
    "13 03 02 00 01": [False, True],
    "13 17 04 4366199A": ["230.1"],
    "13 02 02 12 11 06 0001 02 0003 04": [[1, 2], [3, 4]],
    "13 02 03 12 00 11 03 0001 02": [[1, None, 2]],
    "13 02 02 11 01 0002 10 05 07 FFFF 0001": [[7, [-1, 1]]],
    "13 01 0002 02 02 11 11 08 01020304 05060708": [[[1, 2], [3, 4]], [[5, 6], [7, 8]]],
    "13 19 0C 07E60810FF0F211BFF800000": [bytes.fromhex("07E60810FF0F211BFF800000")],
    "02 02 13 11 02 01 02 11 07": [[1, 2], 7],
}


def octets_of(text):
    return bytes.fromhex(text.replace(" ", ""))


@pytest.mark.parametrize("text", TABLE)
def test_table(text):
    assert axdr.decode(octets_of(text)) == TABLE[text]


MALFORMED = {
    "4e9 octets of contents": "13 11 84FFFFFFFF 01",
    "contents cut short": "13 12 04 0001",
    "an element cut short": "13 12 03 0001 00",
    "a structure cut short": "13 02 02 12 11 04 0001 02 00",
    "no contents": "13 12",
    "no description": "13",
    "a structure of more types than octets": "13 02 84FFFFFFFF 11",
    "an array without its count": "13 01 00",
    "an array without its type": "13 01 0001",
    "elements without octets": "13 00 01 00",
    "an array of nothing, many times": "13 02 02 11 01 FFFF 00 01 07",
    "arrays of arrays of nothing": "13 02 02 11 01 FFFF 01 FFFF 01 FFFF 00 01 07",
    "arrays of nothing before an element cut short": "13 02 02 01 FFFF 01 FFFF 00 05 02 0000",
    "a compact array in a description": "13 13 11 01 00",
    "an unknown type": "13 63 01 00",
    "too deep": "13" + "01 0001" * 20 + "11 01 00",
    "a string beyond its contents": "13 09 02 05 41",
}


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed(name):
    with pytest.raises(ReplyMalformed):
        axdr.decode(octets_of(MALFORMED[name]))


KINDS = st.recursive(
    st.sampled_from(["11", "12", "0f", "10", "05", "06", "09", "03"]),
    lambda inner: st.lists(inner, min_size=1, max_size=4).map(tuple),
    max_leaves=8,
)
SIZES = {"11": 1, "12": 2, "0f": 1, "10": 2, "05": 4, "06": 4, "03": 1}


def describe(kind):
    if isinstance(kind, tuple):
        return b"\x02" + bytes([len(kind)]) + b"".join(map(describe, kind))
    return bytes.fromhex(kind)


def contents(kind, draw):
    """(octets without tags, octets with tags) of a drawn value."""
    if isinstance(kind, tuple):
        parts = [contents(part, draw) for part in kind]
        return b"".join(bare for bare, _ in parts), b"\x02" + bytes([len(kind)]) + b"".join(full for _, full in parts)
    if kind == "09":
        raw = draw(st.binary(max_size=5))
        bare = bytes([len(raw)]) + raw
    else:
        bare = draw(st.binary(min_size=SIZES[kind], max_size=SIZES[kind]))
    return bare, bytes.fromhex(kind) + bare


@st.composite
def compact_and_plain(draw):
    kind = draw(KINDS)
    rows = [contents(kind, draw) for _ in range(draw(st.integers(0, 6)))]
    bare, full = b"".join(bare for bare, _ in rows), b"".join(full for _, full in rows)
    compact = b"\x13" + describe(kind) + axdr.encode_length(len(bare)) + bare
    return compact, b"\x01" + bytes([len(rows)]) + full


@given(compact_and_plain())
def test_the_same_values_as_sent_plainly(pair):
    compact, plain = pair
    assert axdr.decode(compact) == axdr.decode(plain)


ROWS = st.lists(st.tuples(st.integers(0, 0xFFFF), st.integers(-0x80, 0x7F), st.integers(0, 0xFFFFFFFF)), min_size=1)


@given(ROWS)
def test_the_same_values_as_gurux(rows):
    bare = b"".join(a.to_bytes(2, "big") + b.to_bytes(1, "big", signed=True) + c.to_bytes(4, "big") for a, b, c in rows)
    octets = b"\x13\x02\x03\x12\x0f\x06" + axdr.encode_length(len(bare)) + bare
    theirs = _GXCommon.getData(None, GXByteBuffer(octets), _GXDataInfo())
    assert axdr.decode(octets) == [list(row) for row in theirs] == [list(row) for row in rows]


def count(value):
    return 1 + sum(map(count, value)) if isinstance(value, list) else 1


@given(st.binary(max_size=60), st.integers(1, 40))
def test_values_stay_in_proportion_to_octets(octets, times):
    for head in (b"\x13", b"\x13\x02\x02\x11", b"\x13\x01\x00", b"\x02\x02\x13"):
        for hostile in (head + octets, b"\x01" + bytes([times]) + (head + octets) * times):
            with contextlib.suppress(ReplyMalformed):
                assert count(axdr.decode(hostile)) <= 20 * len(hostile)
