"""Records and batches: bodies that are encoded once, and a batch that any CBOR decoder reads."""

import contextlib
from datetime import UTC, datetime, timedelta, timezone

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcu.errors import ReplyMalformed
from dcu.event import Alarm, AlarmKind, Health
from dcu.meter import Amount
from dcu.obis import BLOCK_LOAD, CLOCK, LogicalName
from dcu.reading import ClockState, Column, MeterTime, ProfileReading, Row, Uptime, date_time
from dcu.record import (
    Batch,
    Stream,
    checksum,
    decode_batch,
    encode_alarm,
    encode_batch,
    encode_credit,
    encode_health,
    encode_layout,
    encode_profile,
    encode_receipt,
    layout_digest,
)

INDIA = timezone(timedelta(hours=5, minutes=30))
AT = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)
LAYOUT = (Column(8, CLOCK, 2), Column(3, LogicalName.of("1.0.1.29.0.255"), 2, -1, 30))


def row(at_s, *values, status=0):
    at = datetime.fromtimestamp(at_s, INDIA)
    return Row(MeterTime(at, status, date_time(at, INDIA)), values)


def test_streams_stand_in_the_order_of_urgency():
    assert [s.value for s in Stream] == ["receipt", "alarm", "credit", "billing", "profile", "health"]


def test_a_profile_record():
    rows = (row(900, 2301), row(1800, None, status=2), row(2700, b"\x01"))
    body = cbor2.loads(encode_profile(ProfileReading("00123", BLOCK_LOAD, LAYOUT, rows, AT, ClockState.UNTRUSTED)))
    assert body == {
        "meter": "00123",
        "profile": "1.0.99.1.0.255",
        "read_at": 1_795_341_600,
        "clock": "untrusted",
        "layout": layout_digest(encode_layout(LAYOUT)),
        "rows": [[900, 2301], [1800, None], [2700, b"\x01"]],
        "status": [[1, 2]],
    }
    plain = ProfileReading("00123", BLOCK_LOAD, LAYOUT, rows[:1], AT, ClockState.TRUSTED)
    assert "status" not in cbor2.loads(encode_profile(plain))


def test_a_layout_is_named_by_its_own_bytes():
    assert cbor2.loads(encode_layout(LAYOUT)) == [
        {"ln": "0.0.1.0.0.255", "attr": 2, "unit": None, "scaler": None},
        {"ln": "1.0.1.29.0.255", "attr": 2, "unit": 30, "scaler": -1},
    ]
    assert layout_digest(b"abc").hex() == "ba7816bf8f01cfea"  # FIPS 180-4 example, first 8 octets


def test_the_other_records():
    assert cbor2.loads(encode_credit("G", LAYOUT, [0, 2500], 7, ClockState.TRUSTED, "JH-RNC", Amount.PAISE)) == {
        "amount": "paise",
        "meter": "G",
        "area": "JH-RNC",
        "source": "meter",
        "read_at": 7,
        "clock": "trusted",
        "layout": layout_digest(encode_layout(LAYOUT)),
        "values": [0, 2500],
    }
    alarm = Alarm(AlarmKind.METER_SILENT, AT, ClockState.TRUSTED, "text", "GXT1", {"tries": 3})
    assert cbor2.loads(encode_alarm(alarm)) == {
        "kind": "meter-silent",
        "at": 1_795_341_600,
        "clock": "trusted",
        "text": "text",
        "meter": "GXT1",
        "facts": {"tries": 3},
    }
    bare = cbor2.loads(encode_alarm(Alarm(AlarmKind.STARTED, AT, ClockState.TRUSTED, "up")))
    assert set(bare) == {"kind", "at", "clock", "text"}
    assert cbor2.loads(encode_health(Health(AT, ClockState.TRUSTED, {"n": 1})))["facts"] == {"n": 1}
    assert cbor2.loads(encode_receipt(b'{"payload":""}')) == {"jws": '{"payload":""}'}


def test_checksum_is_crc_32():
    assert checksum(b"123456789") == 0xCBF43926  # the check value of every CRC catalogue


values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**64), 2**64) | st.text(max_size=8) | st.binary(max_size=8),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=6,
)
records = st.lists(st.dictionaries(st.text(max_size=6), values, max_size=3), max_size=300)


@given(st.sampled_from(Stream), st.integers(1, 2**60), records, st.integers(0, 30))
def test_a_batch_is_its_bodies_side_by_side(stream, first, bodies, layouts):
    known = {bytes([n]) * 8: encode_layout(LAYOUT[: n % 3]) for n in range(layouts)}
    encoded = encode_batch("JH-RNC-0042", "0011223344556677", stream, first, known, [cbor2.dumps(b) for b in bodies])
    found = decode_batch(encoded)
    assert found == Batch(
        "JH-RNC-0042", "0011223344556677", stream, first, {k: cbor2.loads(v) for k, v in known.items()}, bodies
    )
    assert found.last == first + len(bodies) - 1


@pytest.mark.parametrize("count", [0, 1, 23, 24, 255, 256, 65_535, 65_536])
def test_heads_of_every_width(count):
    found = cbor2.loads(encode_batch("d", "e", Stream.HEALTH, 1, {}, [b"\xf6"] * count))
    assert set(found) == {"v", "dcu", "epoch", "stream", "first", "layouts", "records"}
    assert len(found["records"]) == count


def test_the_shortest_batch_by_the_octet():
    """Diagnostic notation of RFC 8949: {"v":1,"dcu":"d","epoch":"e","stream":"health","first":7,"layouts":{},
    "records":[null]}."""
    assert encode_batch("d", "e", Stream.HEALTH, 7, {}, [b"\xf6"]).hex() == (
        "a7" + "617601" + "636463756164" + "6565706f63686165" + "6673747265616d" + "666865616c7468"
        "65666972737407" + "676c61796f757473a0" + "677265636f72647381f6"
    )


GOOD = {"v": 1, "dcu": "d", "epoch": "e", "stream": "health", "first": 1, "layouts": {}, "records": []}


@pytest.mark.parametrize(
    "bad",
    [
        b"",
        b"\xff",
        cbor2.dumps(7),
        cbor2.dumps([]),
        cbor2.dumps("v"),
        cbor2.dumps(GOOD | {"v": 2}),
        cbor2.dumps(GOOD | {"stream": "gossip"}),
        cbor2.dumps(GOOD | {"first": "one"}),
        cbor2.dumps(GOOD | {"layouts": 3}),
        cbor2.dumps(GOOD | {"records": None}),
        *(cbor2.dumps({k: v for k, v in GOOD.items() if k != gone}) for gone in GOOD),
    ],
    ids=lambda b: b.hex()[:24],
)
def test_what_is_no_batch_is_refused(bad):
    with pytest.raises(ReplyMalformed):
        decode_batch(bad)


@given(st.binary(max_size=80))
def test_only_our_error_comes_out_of_any_bytes(junk):
    with contextlib.suppress(ReplyMalformed):
        decode_batch(junk)


@given(st.integers(0, 400), st.integers(0, 7))
def test_only_our_error_comes_out_of_a_flipped_bit(place, bit):
    body = bytearray(
        encode_batch("d", "e", Stream.PROFILE, 1, {b"x" * 8: encode_layout(LAYOUT)}, [cbor2.dumps({"a": 1})])
    )
    body[place % len(body)] ^= 1 << bit
    with contextlib.suppress(ReplyMalformed):
        decode_batch(bytes(body))


def test_what_was_stored_without_the_time_can_be_dated_later():
    since = Uptime("4b1c", 77)
    bodies = [
        encode_alarm(Alarm(AlarmKind.STARTED, AT, ClockState.UNTRUSTED, "up", uptime=since)),
        encode_health(Health(AT, ClockState.UNTRUSTED, {}, since)),
        encode_credit("G", LAYOUT, [0, 1], 7, ClockState.UNTRUSTED, "JH-RNC", Amount.PAISE, since),
        encode_profile(ProfileReading("G", BLOCK_LOAD, LAYOUT, (), AT, ClockState.UNTRUSTED, uptime=since)),
    ]
    for body in map(cbor2.loads, bodies):
        assert (body["clock"], body["boot"], body["uptime_s"]) == ("untrusted", "4b1c", 77)
