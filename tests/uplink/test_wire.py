"""Frames and verbs: what is ours comes through whole, and nothing else does."""

import os
import socket
import stat
import struct
import threading
import time
from contextlib import suppress

import cbor2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dcu.command import Refusal
from dcu.errors import SocketFault
from dcu.record import Stream
from dcu.wire import MAX_FRAME, PeerClosed, Wire, connect, decode_body, encode_frame, listen, peer_uid
from dcu.wire.verbs import (
    MAX_BATCH,
    MAX_PUT,
    MAX_SEALED,
    MAX_WAIT_MS,
    Decided,
    Delivered,
    Denied,
    Done,
    Hello,
    Link,
    Next,
    Noted,
    Nothing,
    Offer,
    Put,
    Quarantine,
    Reason,
    Resent,
    Sealed,
    Welcome,
    to_answer,
    to_message,
    to_request,
)

plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.text(max_size=20)
    | st.binary(max_size=20)
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)


@pytest.fixture
def pair():
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    wire = Wire(ours, frame_s=0.3)
    yield wire, theirs
    wire.close()
    theirs.close()


@given(st.dictionaries(st.text(max_size=8), plain, max_size=6))
def test_a_map_of_plain_values_comes_through(message):
    assert decode_body(encode_frame(message)[4:]) == message


@given(st.binary(max_size=200))
def test_any_octets_are_a_message_of_ours_or_a_socket_fault(octets):
    try:
        message = decode_body(octets)
    except SocketFault:
        return
    assert encode_frame(message)[4:] == octets


@given(st.dictionaries(st.text(max_size=4), plain, max_size=3), st.data())
def test_a_flipped_bit_is_refused_or_another_message(message, data):
    body = bytearray(encode_frame(message)[4:])
    at = data.draw(st.integers(0, len(body) * 8 - 1))
    body[at // 8] ^= 1 << at % 8
    with suppress(SocketFault):
        assert encode_frame(decode_body(bytes(body)))[4:] == bytes(body)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\x01",  # not a map
        b"\x80",
        b"\xa1\x01\x02",  # a key that is not text
        b"\xa1\x61a\x01\x00",  # an octet after the end
        b"\xbf\xff",  # indefinite length
        b"\xa2\x61a\x01\x61a\x02",  # a key twice
        b"\xa1\x61a\x18\x01",  # a number in a form that is not the shortest
        b"\xa1\x61a\xf7",  # undefined
        b"\xa1\x61a\xf9\x7c\x00",  # infinity
        b"\xa1\x61a\xc1\x00",  # a date
        b"\xa1\x61a\xc4\x82\x1a\x7f\xff\xff\xff\x01",  # a decimal fraction with a monstrous exponent
        b"\xa1\x61a\xd8\x1c\x81\xd8\x1d\x00",  # a list that holds itself
        b"\xa1\x61a\xd8\x23\x62((",  # a regular expression
        b"\xa1\x61a\x9b\x7f\xff\xff\xff\xff\xff\xff\xff",  # an array as long as the sea
        b"\xa1\x61a" + b"\x81" * 5000 + b"\x00",  # nested without end
        b"\xa1\x61a\x62\xff\xff",  # not UTF-8
    ],
)
def test_what_is_not_a_plain_map_is_refused(body):
    with pytest.raises(SocketFault):
        decode_body(body)


@pytest.mark.parametrize("cut", [1, 3, 4, 5, 7])
def test_a_frame_in_pieces_is_one_frame(pair, cut):
    wire, theirs = pair
    frame = encode_frame({"verb": "hello"})
    theirs.sendall(frame[:cut])
    thread = threading.Timer(0.02, theirs.sendall, (frame[cut:],))
    thread.start()
    assert wire.receive(1.0) == {"verb": "hello"}
    thread.join()


def test_the_largest_frame_passes_and_the_next_does_not(pair):
    wire, theirs = pair
    most = MAX_FRAME - len(cbor2.dumps({"a": b""})) - 4  # a long byte string has a head of five octets
    other = Wire(theirs)
    sender = threading.Thread(target=other.send, args=({"a": bytes(most)},))
    sender.start()
    assert len(wire.receive(1.0)["a"]) == most
    sender.join()
    with pytest.raises(SocketFault, match="above the limit"):
        wire.send({"a": bytes(most + 1)})


@pytest.mark.parametrize("length", [0, MAX_FRAME + 1, 2**32 - 1])
def test_a_length_out_of_bounds_is_refused_before_anything_is_read(pair, length):
    wire, theirs = pair
    theirs.sendall(struct.pack(">I", length))
    with pytest.raises(SocketFault, match="octets; the limit"):
        wire.receive(1.0)


def test_half_a_frame_ends_at_its_deadline(pair):
    wire, theirs = pair
    theirs.sendall(struct.pack(">I", 100) + b"\xa1")
    began = time.monotonic()
    with pytest.raises(SocketFault, match="half a frame: 1 of 100"):
        wire.receive(30.0)
    assert time.monotonic() - began < 2


def test_an_octet_now_and_then_does_not_prolong_the_deadline(pair):
    wire, theirs = pair
    theirs.sendall(struct.pack(">I", 1000))
    done = threading.Event()

    def drip():
        while not done.wait(0.02):
            theirs.send(b"\xa1")

    thread = threading.Thread(target=drip)
    thread.start()
    began = time.monotonic()
    with pytest.raises(SocketFault, match="half a frame"):
        wire.receive(30.0)
    assert time.monotonic() - began < 2
    done.set()
    thread.join()


def test_ends_are_told_apart(pair):
    wire, theirs = pair
    with pytest.raises(SocketFault, match="no answer"):
        wire.receive(0.01)
    theirs.sendall(b"\x00\x00")
    theirs.shutdown(socket.SHUT_WR)
    with pytest.raises(SocketFault, match="middle of a frame"):
        wire.receive(1.0)
    ours, other = socket.socketpair()
    other.close()
    orderly = Wire(ours)
    with pytest.raises(PeerClosed):
        orderly.receive(1.0)
    orderly.close()
    with pytest.raises(SocketFault):
        orderly.wait(0.1)


def test_a_peer_that_does_not_read_is_given_up(pair):
    wire, _ = pair
    with pytest.raises(SocketFault, match="cannot send"):
        for _ in range(20):
            wire.send({"a": bytes(200_000)})


def test_the_socket_file_is_for_its_group_and_replaces_a_stale_one(tmp_path):
    path = tmp_path / "uplink.sock"
    listen(path).close()  # a stale file stays behind
    listener = listen(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o660
    wire = connect(path)
    sock, _ = listener.accept()
    assert peer_uid(sock) == os.getuid()
    for it in (wire, sock, listener):
        it.close()
    assert [p.name for p in tmp_path.iterdir()] == ["uplink.sock"]


def test_nobody_listens(tmp_path):
    with pytest.raises(SocketFault, match="nobody answers"):
        connect(tmp_path / "none.sock")
    with pytest.raises(SocketFault, match="cannot listen"):
        listen(tmp_path / "no" / "such.sock")
    with pytest.raises(SocketFault, match="cannot listen"):
        listen(tmp_path / ("x" * 200))


# ---- verbs ----------------------------------------------------------------------------------------------------------

REQUESTS = [
    Hello(),
    Next({Stream.PROFILE: 7, Stream.RECEIPT: 0}, 1, MAX_WAIT_MS),
    Next({}, MAX_BATCH, 0, again=True),
    Next({}, 1, 0, sealed=MAX_SEALED),
    Resent("e", Stream.BILLING, 4),
    Delivered("e", Stream.ALARM, 2**63 - 1),
    Put(b"\x00" * MAX_PUT, "t", 1, True),
    Link(Noted.LOST, "x" * 500, 135, 0),
    Link(Noted.CONNECTED, ""),
    Quarantine("e", Stream.BILLING, 7, 0x99),
]
ANSWERS = [
    Welcome("JH", "e", "0.1", floor=1_793_491_200),
    Offer("e", Stream.HEALTH, 3, 3, b"\xa0", again=True),
    Sealed("e", Stream.PROFILE, 3, ((7, 900, b"\x78"), (8, 1, bytes(MAX_BATCH - 1)))),
    Nothing(),
    Done(),
    Decided("refused", Refusal.E_SIG),
    Decided("accepted"),
    Denied(Reason.BEYOND, "no"),
]


NEXT = {"verb": "next", "after": {}, "max_bytes": 1, "wait_ms": 0, "again": False, "sealed": 0}
SEALED = {"answer": "sealed", "epoch": "e", "stream": "profile", "first": 3, "payloads": [[4, 9, b"x"]]}


@pytest.mark.parametrize("value", REQUESTS, ids=lambda v: type(v).__name__)
def test_requests_come_through(value):
    assert to_request(decode_body(encode_frame(to_message(value))[4:])) == value


@pytest.mark.parametrize("value", ANSWERS, ids=lambda v: type(v).__name__)
def test_answers_come_through(value):
    assert to_answer(decode_body(encode_frame(to_message(value))[4:])) == value


@pytest.mark.parametrize("value", [*REQUESTS, *ANSWERS], ids=lambda v: type(v).__name__)
@settings(max_examples=30)
@given(junk=plain, data=st.data())
def test_a_field_of_another_kind_is_refused_or_is_within_bounds(value, junk, data):
    message = dict(to_message(value))
    message[data.draw(st.sampled_from(sorted(message)))] = junk
    read = to_request if "verb" in to_message(value) else to_answer
    try:
        made = read(message)
    except SocketFault:
        return
    assert to_message(made) == message


@pytest.mark.parametrize(
    ("message", "names"),
    [
        ({}, "verb"),
        ({"verb": "delete"}, "unknown verb"),
        ({"verb": 7}, "verb"),
        ({"verb": "hello"}, "other fields"),
        ({"verb": "hello", "protocol": 1}, "protocol"),
        ({"verb": "hello", "protocol": True}, "protocol"),
        ({"verb": "hello", "protocol": 2, "more": 1}, "other fields"),
        (NEXT | {"after": {"profile": -1}}, "profile"),
        (NEXT | {"after": {"profile": 2**63}}, "profile"),
        (NEXT | {"after": {"nothing": 1}}, "unknown stream"),
        (NEXT | {"after": []}, "after"),
        (NEXT | {"max_bytes": 0}, "max_bytes"),
        (NEXT | {"max_bytes": MAX_BATCH + 1}, "max_bytes"),
        (NEXT | {"max_bytes": 1.0}, "max_bytes"),
        (NEXT | {"wait_ms": MAX_WAIT_MS + 1}, "wait_ms"),
        (NEXT | {"again": 0}, "again"),
        (NEXT | {"sealed": -1}, "sealed"),
        (NEXT | {"sealed": MAX_SEALED + 1}, "sealed"),
        (NEXT | {"sealed": True}, "sealed"),
        ({"verb": "delivered", "epoch": "", "stream": "alarm", "last": 1}, "epoch"),
        ({"verb": "delivered", "epoch": "e" * 65, "stream": "alarm", "last": 1}, "epoch"),
        ({"verb": "delivered", "epoch": "e", "stream": ["alarm"], "last": 1}, "stream"),
        ({"verb": "delivered", "epoch": "e", "stream": "alarm", "last": 0}, "last"),
        ({"verb": "put", "octets": "text", "topic": "t", "qos": 1, "retained": False}, "octets"),
        ({"verb": "put", "octets": bytes(MAX_PUT + 1), "topic": "t", "qos": 1, "retained": False}, "octets"),
        ({"verb": "put", "octets": b"", "topic": "t" * 257, "qos": 1, "retained": False}, "topic"),
        ({"verb": "put", "octets": b"", "topic": "t", "qos": 3, "retained": False}, "qos"),
        ({"verb": "put", "octets": b"", "topic": "t", "qos": 1, "retained": 0}, "retained"),
        ({"verb": "link", "noted": "fine", "text": "", "code": None, "certificate_until": None}, "noted"),
        ({"verb": "link", "noted": "lost", "text": "x" * 501, "code": None, "certificate_until": None}, "text"),
        ({"verb": "link", "noted": "lost", "text": "", "code": 256, "certificate_until": None}, "code"),
    ],
)
def test_hostile_requests_are_refused_by_the_name_of_the_field(message, names):
    with pytest.raises(SocketFault, match=names):
        to_request(message)


@pytest.mark.parametrize(
    "payloads",
    [
        [],
        {},
        [[4, 9]],
        [[4, 9, "x"]],
        [[4, True, b"x"]],
        [[2, 9, b"x"]],
        [[4, 9, b"x"], [4, 9, b"x"]],
        [[2**63, 9, b"x"]],
        [[4, 0, b"x"]],
        [[4, MAX_BATCH + 1, b"x"]],
        [[4, 9, b""]],
        [[4, 9, bytes(MAX_BATCH)], [5, 9, b"x"]],
    ],
)
def test_payloads_that_do_not_follow_each_other_or_are_too_much_are_refused(payloads):
    assert isinstance(to_answer(SEALED), Sealed)
    with pytest.raises(SocketFault, match="payloads"):
        to_answer(SEALED | {"payloads": payloads})


@pytest.mark.parametrize(
    ("message", "names"),
    [
        (
            {"answer": "offer", "epoch": "e", "stream": "alarm", "first": 5, "last": 4, "batch": b"", "again": False},
            "last",
        ),
        (
            {"answer": "offer", "epoch": "e", "stream": "alarm", "first": 0, "last": 4, "batch": b"", "again": False},
            "first",
        ),
        ({"answer": "decided", "status": "maybe", "code": None}, "status"),
        ({"answer": "decided", "status": "refused", "code": "E_NONE"}, "code"),
        (to_message(Welcome("x" * 65, "e", "1", floor=0)), "dcu"),
    ],
)
def test_hostile_answers_too(message, names):
    with pytest.raises(SocketFault, match=names):
        to_answer(message)
