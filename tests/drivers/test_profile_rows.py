"""The quick way from octets to rows against the strict one: the same rows, the same place behind them, or no answer."""

import struct
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcu import obis
from dcu.drivers import axdr, profile, profile_rows
from dcu.drivers.asked import AskedRows
from dcu.errors import CaptureMismatch, ReplyMalformed
from dcu.obis import LogicalName
from dcu.reading import UNTIMED, Column, date_time

ZONE = ZoneInfo("Asia/Kolkata")
START = datetime(2026, 11, 1, 0, 15, tzinfo=ZONE)
NAME = LogicalName.of("1.0.12.27.0")


def layout(columns):
    return (Column(8, obis.CLOCK, 2), *(Column(3, NAME, 2) for _ in range(columns - 1)))


def strictly(octets, at, columns):
    """(rows, rows without a time, position behind) by the strict decoder."""
    buffer, end = axdr.decode_at(octets, at)
    rows = profile.rows(buffer, layout(columns), 0, ZONE, "x")
    return rows, len(buffer) - len(rows), end


def raw(tag, size):
    return st.binary(min_size=size, max_size=size).map(lambda octets: bytes([tag]) + octets)


def text(tag, length):
    return st.binary(min_size=length, max_size=length).map(lambda octets: bytes([tag, length]) + octets)


SIZES = {3: 1, 5: 4, 6: 4, 13: 1, 15: 1, 16: 2, 17: 1, 18: 2, 20: 8, 21: 8, 22: 1, 23: 4, 24: 8, 25: 12, 26: 5, 27: 4}
CELLS = st.one_of(
    st.sampled_from(list(SIZES.items())).map(lambda kind: raw(*kind)),
    st.tuples(st.sampled_from([9, 10]), st.integers(0, 20)).map(lambda kind: text(*kind)),
    st.just(st.just(b"\x00")),
)
MOMENTS = st.one_of(
    st.integers(0, 5000).map(lambda n: date_time(START + n * timedelta(minutes=15), ZONE)),
    st.binary(min_size=12, max_size=12),
    st.sampled_from(
        [
            bytes.fromhex("07EA0B01FF18000000800000"),  # hour 24
            bytes.fromhex("07EA021EFF00000000800000"),  # 30 February
            bytes.fromhex("FFFFFFFFFFFFFFFFFF8000FF"),  # wildcards
            bytes.fromhex("07EA0B01000A0F0063014A80"),  # hundredths 99, a deviation, a status
            bytes.fromhex("07EA0B01FF0A0F00FF8000FF"),  # all that may be is unspecified
        ]
    ),
)


@st.composite
def buffers(draw):
    """A buffer of one shape, its number of columns, and octets in front and behind."""
    kinds = draw(st.lists(CELLS, max_size=6))
    head = draw(st.sampled_from([b"\x09\x0c", b"\x19"]))
    count = draw(st.integers(0, 12))
    rows = [
        b"\x02" + bytes([1 + len(kinds)]) + head + draw(MOMENTS) + b"".join(draw(kind) for kind in kinds)
        for _ in range(count)
    ]
    front, behind = draw(st.binary(max_size=3)), draw(st.binary(max_size=3))
    return front + b"\x01" + bytes([count]) + b"".join(rows) + behind, len(front), 1 + len(kinds), count


@given(buffers())
def test_the_same_rows_as_the_strict_decoder(buffer):
    octets, at, columns, count = buffer
    quick = profile_rows.read(octets, at, layout(columns), ZONE)
    if quick is None:
        assert count < 3 or octets.endswith(b"\x00")
        return
    assert quick == strictly(octets, at, columns)
    for mine, theirs in zip(quick[0], strictly(octets, at, columns)[0], strict=True):
        assert [type(value) for value in mine.values] == [type(value) for value in theirs.values]
        assert mine.captured_at.octets == theirs.captured_at.octets
        assert mine.captured_at.at.tzinfo is theirs.captured_at.at.tzinfo


@given(buffers(), st.data())
def test_damage_gives_what_the_strict_decoder_gives(buffer, data):
    octets, at, columns, _ = buffer
    damaged = bytearray(octets)
    for _ in range(data.draw(st.integers(1, 3))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(
            st.sampled_from([0, 1, 2, 9, 12, 18, 127, 255])
        )
    damaged = bytes(damaged[: data.draw(st.integers(0, len(damaged)))])
    quick = profile_rows.read(damaged, at, layout(columns), ZONE)
    if quick is not None:
        assert quick == strictly(damaged, at, columns)


@given(st.binary(max_size=200), st.integers(1, 4))
def test_any_octets_give_what_the_strict_decoder_gives(octets, columns):
    for head in (
        b"",
        b"\x01\x05\x02" + bytes([columns]) + b"\x09\x0c",
        b"\x01\x84\xff\xff\xff\xff\x02\x01\x19" + bytes(12),
    ):
        quick = profile_rows.read(head + octets, 0, layout(columns), ZONE)
        if quick is not None:
            assert quick == strictly(head + octets, 0, columns)


def plain(count, cell=lambda n: b"\x12" + n.to_bytes(2, "big")):
    rows = [b"\x02\x02\x09\x0c" + date_time(START + n * timedelta(minutes=15), ZONE) + cell(n) for n in range(count)]
    return b"\x01" + axdr.encode_length(count) + b"".join(rows)


def test_the_common_case_is_read_quickly():
    for count in (3, 96, 2880):
        rows, dropped, end = profile_rows.read(plain(count), 0, layout(2), ZONE)
        assert (len(rows), dropped, end) == (count, 0, len(plain(count)))
        assert [row.values for row in rows] == [(n,) for n in range(count)]


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        b"\x01",
        b"\x01\x84\xff\xff",
        plain(2),
        plain(9)[:-1],
        plain(9, lambda n: b"\x00" if n == 5 else b"\x11\x07"),
        plain(9, lambda n: b"\x12\x00\x07" if n < 8 else b"\x10\x00\x07"),
        plain(9, lambda n: b"\x09\x02ab" if n != 4 else b"\x09\x01a"),
        plain(9, lambda n: b"\x02\x01\x11\x07"),
        plain(9, lambda n: b"\x09\x81\x80" + bytes(128)),
        b"\x02" + plain(9)[1:],
    ],
)
def test_anything_else_is_left_to_the_strict_decoder(octets):
    assert profile_rows.read(octets, 0, layout(2), ZONE) is None


def test_rows_of_other_columns_are_left_to_the_strict_decoder():
    for columns in (layout(1), layout(3), (UNTIMED, *layout(2)), ()):
        assert profile_rows.read(plain(9), 0, columns, ZONE) is None
    assert profile_rows.read(b"\x01\x09" + b"\x02\x02\x11\x07\x11\x07" * 9, 0, layout(2), ZONE) is None


def test_both_ways_tell_of_rows_without_a_time(caplog):
    octets = plain(9).replace(date_time(START, ZONE), bytes.fromhex("07EA0B01FF18000000800000"))
    compact = (
        b"\x13\x02\x02\x19\x12\x1c"
        + bytes.fromhex("07EA0B01FF18000000800000")
        + b"\x00\x01"
        + date_time(START, ZONE)
        + b"\x00\x02"
    )
    for buffer, all_rows in ((octets, 9), (compact, 2)):
        asked = AskedRows(obis.BLOCK_LOAD, layout(2), b"", 900, ZONE, "M1")
        assert asked.take(b"\x00" + buffer, 1) == 1 + len(buffer)
        assert len(asked.rows) == all_rows - 1
        [record] = caplog.records
        assert record.getMessage() == f"M1: 1.0.99.1.0.255: 1 of {all_rows} rows have no valid time and are left out"
        caplog.clear()


def test_compressed_and_compact_rows_are_those_sent_plainly():
    squeezed = plain(9, lambda n: b"\x12\x00\x07" if n in {0, 5} else b"\x00" if n != 8 else b"\x1c\xff")
    asked = AskedRows(obis.BLOCK_LOAD, layout(2), b"", 900, ZONE, "M1")
    asked.take(squeezed, 0)
    assert [row.values for row in asked.rows] == [(7,)] * 8 + [(6,)]
    bare = b"".join(date_time(START + n * timedelta(minutes=15), ZONE) + struct.pack(">H", n) for n in range(9))
    asked.take(b"\x13\x02\x02\x19\x12" + axdr.encode_length(len(bare)) + bare, 0)
    assert asked.rows == profile_rows.read(plain(9), 0, layout(2), ZONE)[0]


def test_damage_in_one_row_of_a_list_is_ours_to_name():
    asked = AskedRows(obis.BLOCK_LOAD, layout(2), b"", 900, ZONE, "M1")
    with pytest.raises(ReplyMalformed):
        asked.take(plain(9)[:-1], 0)
    asked.take(plain(9, lambda n: b"\x02\x01\x11\x07"), 0)
    assert isinstance(asked.rows, CaptureMismatch)
