"""Field's end of the socket against a hostile uplink: it can delay or silence, and can cause nothing."""

import os
import socket
import struct
import threading
import time
from contextlib import suppress
from types import SimpleNamespace

import pytest

from dcu.clock import BUILT
from dcu.errors import SocketFault, StoreBusy, StoreFault
from dcu.field.read_ahead import MOST, MOST_BYTES, ReadAhead, last_of, read
from dcu.record import Stream, decode_batch
from dcu.uplink.field_line import FieldLine
from dcu.wire import connect, encode_frame
from dcu.wire.verbs import (
    MAX_BATCH,
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
    Reason,
    Welcome,
    to_answer,
    to_message,
)
from tests.uplink.world import DCU, Field, until


@pytest.fixture
def line(field):
    with FieldLine(field.path, DCU, field.stop) as it:
        yield it


def raw(field):
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(5)
    sock.connect(str(field.path))
    return sock


def alive(field):
    """Field still answers a well-behaved uplink."""
    with FieldLine(field.path, DCU, field.stop) as line:
        return line.welcome == Welcome(DCU, field.store.epoch, "1.2.3", floor=int(BUILT.timestamp()))


def test_a_batch_begins_beyond_what_was_asked_and_knows_its_ids(field, line):
    field.append(Stream.PROFILE, 10)
    offer = line.ask(Next({Stream.PROFILE: 4}, MAX_BATCH, 0))
    assert isinstance(offer, Offer)
    assert (offer.epoch, offer.stream, offer.first, offer.last) == (field.store.epoch, Stream.PROFILE, 5, 10)
    batch = decode_batch(offer.batch)
    assert (batch.dcu, batch.epoch, batch.first, batch.last) == (DCU, field.store.epoch, 5, 10)
    assert [r["rows"][0][0] for r in batch.records] == [4, 5, 6, 7, 8, 9]


def test_next_waits_for_a_record_and_not_longer(field, line):
    began = time.monotonic()
    assert line.ask(Next({}, 1000, 100)) == Nothing()
    assert 0.09 < time.monotonic() - began < 2
    later = threading.Timer(0.1, field.append, (Stream.ALARM, 1))
    later.start()
    offer = line.ask(Next({}, 1000, 20_000))
    assert isinstance(offer, Offer)
    assert time.monotonic() - began < 5
    later.join()


def test_waiting_does_not_ask_the_store_again_and_again(field, line):
    asked = []
    transact = field.store.transact
    field.store.transact = lambda work, **more: asked.append(1) or transact(work, **more)
    for _ in range(20):
        assert line.ask(Next({}, 1000, 1)) == Nothing()
    assert len(asked) == 1
    field.append(Stream.ALARM, 1)
    assert isinstance(line.ask(Next({}, 1000, 0)), Offer)


def test_a_delivery_moves_the_cursor_and_never_back(field, line):
    field.append(Stream.PROFILE, 10)
    epoch = field.store.epoch
    assert line.ask(Delivered(epoch, Stream.PROFILE, 7)) == Done()
    assert line.ask(Delivered(epoch, Stream.PROFILE, 3)) == Done()
    assert field.delivered(Stream.PROFILE) == 7


def test_a_delivery_of_what_was_never_offered_is_denied_and_told(field, line):
    field.append(Stream.PROFILE, 10)
    answer = line.ask(Delivered(field.store.epoch, Stream.PROFILE, 11))
    assert isinstance(answer, Denied)
    assert answer.reason is Reason.BEYOND
    answer = line.ask(Delivered("another", Stream.PROFILE, 1))
    assert isinstance(answer, Denied)
    assert answer.reason is Reason.EPOCH
    assert field.delivered(Stream.PROFILE) == 0
    assert len(field.refused_cursors) == 2
    assert "11 is beyond the last record 10" in field.refused_cursors[0]
    assert isinstance(line.ask(Next({}, 1000, 0)), Offer)  # the connection stays


def test_a_document_and_a_link_are_handed_on(field, line):
    answer = line.ask(Put(b"{}", "dcu/v1/x/cmd", 1, True))
    assert (answer.status, answer.code.value) == ("refused", "E_JSON")
    assert field.puts == [(b"{}", "dcu/v1/x/cmd", 1, True)]
    link = Link(Noted.HELD, "nobody is subscribed", 16, 1_800_000_000)
    assert line.ask(link) == Done()
    assert field.links == [link]


@pytest.mark.parametrize(
    "octets",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        struct.pack(">I", 2**31),
        struct.pack(">I", 0),
        struct.pack(">I", 3) + b"\xff\xff\xff",
        encode_frame({"verb": "format", "disk": 1}),
        encode_frame({"verb": "next", "after": {}, "max_bytes": 10**9, "wait_ms": 0}),
        encode_frame({"answer": "done"}),
        encode_frame(to_message(Hello())) * 3 + b"\x00\x00\x00\x01\x01",
    ],
)
def test_garbage_ends_that_connection_and_field_goes_on(field, octets):
    with raw(field) as sock:
        sock.sendall(octets)
        with suppress(ConnectionResetError):  # unread octets make the end a reset
            while sock.recv(65536):
                pass
    until(lambda: field.socket.garbage == 1)
    assert alive(field)
    assert field.fallen == []


def test_half_and_endless_frames_end_at_their_deadline(tmp_path):
    with Field(tmp_path, frame_s=0.2) as field:
        with raw(field) as half, raw(field) as endless:
            half.sendall(struct.pack(">I", 100) + b"\xa1")
            endless.sendall(struct.pack(">I", 200_000))
            assert half.recv(1) == b""
            assert endless.recv(1) == b""
        assert field.socket.garbage == 2
        assert alive(field)


def test_a_peer_that_asks_and_never_reads_is_given_up(tmp_path):
    with Field(tmp_path, frame_s=0.2) as field:
        field.append(Stream.PROFILE, 2000)
        with raw(field) as sock:
            ask = encode_frame(to_message(Next({}, MAX_BATCH, 0)))
            with suppress(OSError):
                for _ in range(200):
                    sock.sendall(ask)
            until(lambda: field.socket.garbage == 1)
        assert alive(field)


def test_at_most_four_connections(field):
    wires = [FieldLine(field.path, DCU, field.stop) for _ in range(4)]
    with raw(field) as fifth:
        assert fifth.recv(1) == b""
    assert field.socket.turned_away == 1
    for wire in wires:
        wire.close()
    until(lambda: _greets(field))


def _greets(field):
    try:
        return alive(field)
    except SocketFault:
        return False


def test_a_stranger_is_turned_away(tmp_path):
    with Field(tmp_path, allowed_uids={os.getuid() + 1}) as field:
        with raw(field) as sock:
            assert sock.recv(1) == b""
        assert field.socket.turned_away == 1
        assert field.socket.garbage == 0


def test_a_closed_connection_is_no_garbage(field):
    connect(field.path).close()
    assert alive(field)
    assert field.socket.garbage == 0


def test_a_busy_store_denies_and_a_failed_one_ends_the_process(tmp_path):
    faults = [StoreBusy("not now"), StoreFault("the disk is gone")]

    def put(*_):
        raise faults.pop(0)

    with Field(tmp_path, put) as field:
        wire = connect(field.path)
        wire.send(to_message(Put(b"", "t", 1, False)))
        answer = to_answer(wire.receive(5))
        assert answer == Denied(Reason.BUSY, "not now")
        wire.send(to_message(Put(b"", "t", 1, False)))
        with pytest.raises(SocketFault):
            wire.receive(5)
        wire.close()
        until(lambda: field.fallen)
        assert isinstance(field.fallen[0], StoreFault)


def test_a_bug_under_a_request_ends_the_process(tmp_path):
    with Field(tmp_path, put=lambda *_: SimpleNamespace().nothing) as field:
        with FieldLine(field.path, DCU, field.stop) as line, pytest.raises(SocketFault):
            line.ask(Put(b"", "t", 1, False))
        until(lambda: field.fallen)
        assert isinstance(field.fallen[0], AttributeError)


def test_another_box_is_not_served(field):
    with pytest.raises(SocketFault, match="field is 'JH-RNC-0042', not 'JH-RNC-0043'"):
        FieldLine(field.path, "JH-RNC-0043", field.stop)


def test_a_batch_fits_in_a_frame_whatever_its_layouts(field, line):
    field.append(Stream.PROFILE, 3000)
    after = 0
    while isinstance(offer := line.ask(Next({Stream.PROFILE: after}, MAX_BATCH, 0)), Offer):
        assert offer.first == after + 1
        after = offer.last
    assert after == 3000


def test_a_batch_is_asked_for_ahead_and_heard_before_anything_else(field, line):
    field.append(Stream.PROFILE, 10)
    line.ask_ahead(Next({Stream.PROFILE: 4}, MAX_BATCH, 0))
    assert line.ask(Delivered(field.store.epoch, Stream.PROFILE, 4)) == Done()
    ahead = line.take_ahead()
    assert isinstance(ahead, Offer)
    assert (ahead.first, ahead.last) == (5, 10)
    assert line.take_ahead() is None
    line.ask_ahead(Next({Stream.PROFILE: 10}, MAX_BATCH, 0))
    line.ask_ahead(Next({Stream.PROFILE: 9}, MAX_BATCH, 0))
    assert line.take_ahead().first == 10, "the last question counts"


def drained(field, line, max_bytes=2000, **more):
    """What a drain of readings hears, and how often the store was asked."""
    asked, heard, after = [], [], dict(more)
    transact = field.store.transact
    field.store.transact = lambda work, **with_: asked.append(1) or transact(work, **with_)
    while isinstance(offer := line.ask(Next(after, max_bytes, 0)), Offer):
        assert decode_batch(offer.batch).first == offer.first
        heard += range(offer.first, offer.last + 1)
        after[offer.stream] = offer.last
    field.store.transact = transact
    return heard, len(asked)


def test_batches_of_a_backlog_are_read_several_at_a_time(field, line):
    field.append(Stream.PROFILE, 400)
    batches = sum(1 for _ in every_batch(field, 2000))
    heard, asked = drained(field, line)
    assert heard == list(range(1, 401))
    assert asked == -(-batches // MOST) + 1


def every_batch(field, max_bytes):
    """Batches of readings as the store itself cuts them."""
    last = 0
    while batch := field.store.transact(lambda tx, last=last: tx.next_batch({Stream.PROFILE: last}, max_bytes)):
        last = last_of(batch)
        yield batch


def test_what_is_appended_meanwhile_comes_before_what_was_read_ahead(field, line):
    field.append(Stream.PROFILE, 400)
    first = line.ask(Next({}, 2000, 0))
    field.append(Stream.ALARM, 1)
    urgent = line.ask(Next({Stream.PROFILE: first.last}, 2000, 0))
    assert urgent.stream is Stream.ALARM
    behind = line.ask(Next({Stream.PROFILE: first.last, Stream.ALARM: 1}, 2000, 0))
    assert (behind.stream, behind.first) == (Stream.PROFILE, first.last + 1)


def test_nothing_is_read_ahead_while_another_stream_waits(field, line):
    field.append(Stream.PROFILE, 400)
    field.append(Stream.HEALTH, 400)
    after, turns = {}, []
    for _ in range(16):
        offer = line.ask(Next(after, 2000, 0))
        assert offer.first == after.get(offer.stream, 0) + 1
        after[offer.stream] = offer.last
        turns.append(offer.stream)
    assert turns.count(Stream.HEALTH) >= 4


@pytest.mark.parametrize("question", [Next({}, 2000, 0), Next({}, 1000, 0), Next({Stream.PROFILE: 100}, 2000, 0)])
def test_another_question_than_the_expected_one_is_answered_as_if_nothing_was_read(field, line, question):
    field.append(Stream.PROFILE, 400)
    line.ask(Next({}, 2000, 0))
    alone = field.store.transact(lambda tx: tx.next_batch(question.after, question.max_bytes))
    offer = line.ask(question)
    assert (offer.first, offer.last) == (alone.first, last_of(alone))


def test_reading_ahead_ends_at_a_hole_and_goes_on_behind_it(field, line):
    field.append(Stream.PROFILE, 400)
    gone = field.store.transact(lambda tx: tx._database.write("DELETE FROM record_profile WHERE id BETWEEN 60 AND 69"))
    assert gone is not None
    heard, _ = drained(field, line)
    assert heard == [*range(1, 60), *range(70, 401)]


def test_what_was_read_of_another_store_is_no_answer(field):
    field.append(Stream.PROFILE, 400)
    asked = Next({}, 2000, 0)
    parts = field.store.transact(lambda tx: read(tx, asked, 2000))
    following = Next({Stream.PROFILE: last_of(parts[0])}, 2000, 0)
    for state, answer in (((7, "old"), parts[1]), ((7, "new"), None), ((8, "old"), None)):
        ahead = ReadAhead()
        ahead.keep(asked, parts, 7, "old")
        assert ahead.take(following, *state) is answer


def test_a_conversation_keeps_no_more_than_is_promised(field):
    field.append(Stream.PROFILE, 3000)
    parts = field.store.transact(lambda tx: read(tx, Next({}, MOST_BYTES, 0), MOST_BYTES))
    assert len(parts) == 1
    parts = field.store.transact(lambda tx: read(tx, Next({}, 1, 0), 1))
    assert len(parts) == MOST
