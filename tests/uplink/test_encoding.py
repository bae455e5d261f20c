"""Batches on the wire: both encodings say the same, and a hostile payload is malformed, never more."""

import json
import zlib
from contextlib import suppress

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcu.errors import ReplyMalformed
from dcu.record import QUICK, THOROUGH, Stream, decode_batch, encode_batch
from dcu.uplink import topics
from dcu.uplink.encoding import MAX_INFLATED, decode, encode

value = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text(max_size=20) | st.binary(max_size=20)
columns = st.lists(
    st.fixed_dictionaries({"ln": st.just("1.0.1.8.0.255"), "attr": st.just(2), "unit": value, "scaler": value}),
    max_size=3,
)
record = st.fixed_dictionaries(
    {"meter": st.text(max_size=12), "layout": st.binary(min_size=8, max_size=8), "rows": st.lists(st.lists(value))}
) | st.fixed_dictionaries({"facts": st.dictionaries(st.text(max_size=5), value, max_size=3)})


@given(
    st.sampled_from(list(Stream)),
    st.integers(1, 2**63 - 1),
    st.dictionaries(st.binary(min_size=8, max_size=8), columns, max_size=3),
    st.lists(record, max_size=5),
    st.sampled_from(["cbor", "json"]),
)
def test_what_is_encoded_is_decoded(stream, first, layouts, records, encoding):
    encoded = encode_batch(
        "JH", "e", stream, first, {d: cbor2.dumps(c) for d, c in layouts.items()}, [cbor2.dumps(r) for r in records]
    )
    payload, content_type = encode(encoded, encoding)
    assert decode(payload, content_type) == decode_batch(encoded)
    assert content_type.startswith(f"application/{encoding}")


def batch(records):
    return encode_batch("JH", "e", Stream.ALARM, 1, {}, [cbor2.dumps({"n": n}) for n in range(records)])


def test_small_is_sent_as_it_is_and_large_deflated():
    small, large = batch(1), batch(400)
    assert encode(small, "cbor") == (small, "application/cbor")
    payload, content_type = encode(large, "cbor")
    assert content_type == "application/cbor+zlib"
    assert zlib.decompress(payload) == large
    assert len(payload) < len(large)
    payload, content_type = encode(large, "json")
    assert content_type == "application/json+zlib"
    assert json.loads(zlib.decompress(payload))["records"][7] == {"n": 7}


def test_octets_in_json_are_hex_and_so_is_the_name_of_a_layout():
    encoded = encode_batch(
        "JH", "e", Stream.PROFILE, 1, {b"\x01" * 8: cbor2.dumps([])},
        [cbor2.dumps({"layout": b"\x01" * 8, "rows": [[1, b"\xff"]]})],
    )  # fmt: skip
    payload, content_type = encode(encoded, "json")
    assert content_type == "application/json"
    body = json.loads(payload)
    assert body["layouts"] == {"01" * 8: []}
    assert body["records"] == [{"layout": "01" * 8, "rows": [[1, {"hex": "ff"}]]}]


@pytest.mark.parametrize(
    ("payload", "content_type"),
    [
        (batch(1), "text/plain"),
        (batch(1), ""),
        (batch(1), "application/cbor+zlib"),
        (zlib.compress(batch(1))[:-3], "application/cbor+zlib"),
        (zlib.compress(batch(1)) + b"x", "application/cbor+zlib"),
        (zlib.compress(bytes(MAX_INFLATED + 1)), "application/cbor+zlib"),
        (b"\xff", "application/cbor"),
        (b"", "application/cbor"),
        (b"{", "application/json"),
        (b"[]", "application/json"),
        (b"7", "application/json"),
        (b'{"layouts": {"zz": []}, "records": []}', "application/json"),
        (b'{"layouts": {}, "records": [7]}', "application/json"),
        (
            b'{"v":1,"dcu":"\\ud800","epoch":"e","stream":"alarm","first":1,"layouts":{},"records":[]}',
            "application/json",
        ),
        (b'{"a":' * 5000, "application/json"),
        (b'{"hex": 7}', "application/json"),
    ],
)
def test_what_is_no_batch_is_malformed(payload, content_type):
    with pytest.raises(ReplyMalformed):
        decode(payload, content_type)


@given(st.binary(max_size=100), st.sampled_from(["application/cbor", "application/json", "application/cbor+zlib"]))
def test_any_payload_is_a_batch_or_malformed(payload, content_type):
    with suppress(ReplyMalformed):
        assert decode(payload, content_type).records is not None


def test_topics_are_the_contract():
    assert topics.state("JH-1") == "dcu/v1/JH-1/state"
    assert topics.up("JH-1", Stream.RECEIPT) == "dcu/v1/JH-1/up/receipt"
    assert topics.cmd("JH-1") == "dcu/v1/JH-1/cmd"
    assert topics.origin("dcu/v1/JH-1/up/receipt") == ("JH-1", "up/receipt")
    for other in ("", "dcu/v1/JH-1", "dcu/v2/JH-1/cmd", "x/v1/JH-1/cmd", "dcu/v1//cmd"):
        assert topics.origin(other) is None


def test_a_batch_deflated_in_a_hurry_is_the_same_batch():
    batch = encode_batch("DCU", "e", Stream.HEALTH, 1, {}, [cbor2.dumps({"facts": {"n": n % 7}}) for n in range(400)])
    (quick, kind), (thorough, same) = (encode(batch, "cbor", level) for level in (QUICK, THOROUGH))
    assert kind == same == "application/cbor+zlib"
    assert len(thorough) < len(quick) < len(batch)
    assert decode(quick, kind) == decode(thorough, kind)
