"""A backlog whose payloads were made in advance, drained by the real uplink over real brokers."""

import pytest

from dcu.batching import BATCH_BYTES
from dcu.headend.pki import Authority
from dcu.mailbox import Stop
from dcu.record import Stream, deflate
from dcu.uplink.again import Again
from dcu.uplink.backoff import Backoff
from dcu.uplink.dials import Dials
from dcu.uplink.encoding import SEALED_TYPE
from dcu.uplink.field_line import FieldLine
from dcu.uplink.supply import AHEAD_S, PACKET_OVERHEAD, Supply
from dcu.uplink.window import Window
from dcu.wire.verbs import MAX_SEALED
from tests.broker import endpoint
from tests.uplink.scripted import ScriptedBroker, connack, puback
from tests.uplink.test_quarantine import POISON, Picky, alarms
from tests.uplink.world import DCU, Field, Uplink, until, uplink_process

RECORDS = 4000
FAST = 10_000_000


@pytest.fixture
def backlog(field):
    field.append(Stream.PROFILE, RECORDS)
    field.seal()
    return field


def counting(field):
    """Payloads that field reads out of its cache from now on."""
    read, payload = [], field.seals.payload
    field.seals.payload = lambda epoch, seal: read.append(seal) or payload(epoch, seal)
    return read


@pytest.mark.broker
def test_every_record_arrives_once_and_most_as_they_were_made(tmp_path, backlog, box, head_end):
    read = counting(backlog)
    with Uplink(tmp_path, box):
        until(lambda: backlog.delivered(Stream.PROFILE) == RECORDS)
    until(lambda: head_end.ids(Stream.PROFILE) == list(range(1, RECORDS + 1)))
    assert head_end.listener.holes() == []
    assert sum(seal.last - seal.first + 1 for seal in read) > RECORDS / 2


@pytest.mark.broker
def test_what_is_urgent_passes_a_backlog_of_payloads(tmp_path, backlog, box, head_end):
    with Uplink(tmp_path, box, in_flight=1):
        until(lambda: head_end.items)
        backlog.append(Stream.RECEIPT, 1)
        until(lambda: backlog.delivered(Stream.RECEIPT) == 1)
        until(lambda: backlog.delivered(Stream.PROFILE) == RECORDS)
    until(lambda: head_end.ids(Stream.PROFILE) == list(range(1, RECORDS + 1)))


@pytest.mark.broker
def test_in_json_none_is_used(tmp_path, backlog, box, head_end):
    read = counting(backlog)
    with Uplink(tmp_path, box, encoding="json"):
        until(lambda: backlog.delivered(Stream.PROFILE) == RECORDS)
    until(lambda: head_end.ids(Stream.PROFILE) == list(range(1, RECORDS + 1)))
    assert read == []


@pytest.mark.broker
def test_a_killed_uplink_goes_on_where_the_cursor_is(tmp_path, backlog, box, head_end):
    for part in (0.2, 0.5):
        process = uplink_process(tmp_path, box, tmp_path / "uplink.log")
        until(lambda part=part: len(head_end.items) > part * RECORDS, 20)
        process.kill()
        process.wait()
    with Uplink(tmp_path, box):
        until(lambda: backlog.delivered(Stream.PROFILE) == RECORDS)
    until(lambda: head_end.ids(Stream.PROFILE) == list(range(1, RECORDS + 1)))


@pytest.mark.broker
def test_field_restarts_and_its_payloads_are_still_there(tmp_path, box, head_end):
    with Field(tmp_path) as field:
        field.append(Stream.PROFILE, RECORDS)
        field.seal()
    with Field(tmp_path) as field:
        read = counting(field)
        with Uplink(tmp_path, box):
            until(lambda: field.delivered(Stream.PROFILE) == RECORDS)
    assert read
    until(lambda: head_end.ids(Stream.PROFILE) == list(range(1, RECORDS + 1)))


@pytest.mark.broker
def test_field_restarts_in_the_middle(tmp_path, box, head_end):
    with Field(tmp_path) as field:
        field.append(Stream.PROFILE, RECORDS)
        field.seal()
        uplink = Uplink(tmp_path, box, in_flight=1)
        until(lambda: len(head_end.items) > RECORDS / 8)
    with uplink, Field(tmp_path) as field:
        until(lambda: field.delivered(Stream.PROFILE) == RECORDS)
    until(lambda: head_end.ids(Stream.PROFILE) == list(range(1, RECORDS + 1)))


@pytest.mark.broker
def test_a_new_store_has_nothing_of_the_old_ones_payloads(tmp_path, box, head_end):
    with Field(tmp_path) as field:
        field.append(Stream.PROFILE, RECORDS)
        field.seal()
        old = field.store.epoch
    for name in tmp_path.glob("dcu.db*"):
        name.unlink()
    with Field(tmp_path) as field:
        field.append(Stream.PROFILE, RECORDS)
        with Uplink(tmp_path, box):
            until(lambda: field.delivered(Stream.PROFILE) == RECORDS)
    until(lambda: head_end.ids(Stream.PROFILE) == list(range(1, RECORDS + 1)))
    assert {item.series.epoch for item in head_end.items} == {field.store.epoch} != {old}


@pytest.fixture
def authority(tmp_path):
    return Authority(tmp_path / "pki")


def reach(broker):
    return endpoint(broker, broker.authority.client(DCU))


def test_a_record_that_the_broker_refuses_is_found_inside_a_payload(tmp_path, authority, backlog):
    picky = Picky(lambda mid: puback(mid, 0x99))
    with ScriptedBroker(authority, on_publish=picky) as broker, Uplink(tmp_path, reach(broker), backoff_max_s=0.02):
        until(lambda: backlog.delivered(Stream.PROFILE) == RECORDS, 60)
    assert set(picky.taken) == set(range(1, RECORDS + 1)) - POISON
    assert [alarm["first"] for alarm in alarms(backlog)] == sorted(POISON)


def test_a_broker_of_small_packets_gets_batches_that_fit(tmp_path, authority, backlog):
    read, sizes = counting(backlog), []

    def measured(broker, mid, topic):
        sizes.append(len(broker.payload))
        return puback(mid)

    with ScriptedBroker(authority, greeting=connack(0, None, 2000), on_publish=measured) as broker:
        with Uplink(tmp_path, reach(broker)):
            until(lambda: backlog.delivered(Stream.PROFILE) == RECORDS, 60)
    assert max(sizes) < 2000
    assert read == []


# ---- supply ---------------------------------------------------------------------------------------------------------


class Way:
    """A supply on a real line, over a link of a stated speed that a test plays."""

    def __init__(self, field, rate=FAST, **dials):
        self.window = Window(100, lambda: Backoff(1.0))
        self.window.begin(100)
        self.supply = Supply(Dials(**dials), self.window, Again(self.window))
        self.supply.begin(None)
        self.line = FieldLine(field.path, DCU, Stop())
        self.now_s, self.mid = 0.0, 0
        self.window.flow.rate = rate

    def next(self):
        """What is published next; it is answered at once."""
        load = self.supply.next(self.line, self.now_s, 0)
        if load is not None:
            self.supply.ask_ahead(self.line, self.now_s)
            self.publish(load)
        return load

    def publish(self, load, code=0):
        self.mid += 1
        self.window.sent(self.mid, load.stream, load.first, load.last, self.now_s, 0)
        self.window.acknowledged(self.mid, code, self.now_s)

    def drain(self):
        loads = []
        while (load := self.next()) is not None:
            loads.append(load)
        return loads


@pytest.fixture
def way(backlog):
    way = Way(backlog)
    yield way
    way.line.close()


def covered(loads):
    return [n for load in loads for n in range(load.first, load.last + 1)]


def test_payloads_are_published_as_they_are_and_batches_are_deflated(way):
    loads = way.drain()
    assert covered(loads) == list(range(1, RECORDS + 1))
    assert [load.sealed for load in loads] == [True] * (len(loads) - 1) + [False]
    assert way.supply.payload(loads[0]) == (loads[0].body, SEALED_TYPE)
    payload, kind = way.supply.payload(loads[-1])
    assert kind == SEALED_TYPE
    assert payload in {deflate(loads[-1].body, level) for level in (1, 6)}


@pytest.mark.parametrize(
    ("rate", "most"),
    [(0, 0), (BATCH_BYTES / AHEAD_S - 1, 0), (BATCH_BYTES / AHEAD_S, 1), (2.2 * BATCH_BYTES / AHEAD_S, 2), (FAST, 8)],
)
def test_no_more_are_taken_than_the_link_carries_soon(backlog, rate, most):
    way = Way(backlog, rate)
    taken = way.supply.next(way.line, 0.0, 0)
    assert taken.sealed == (most > 0)
    assert 1 + len(way.supply._taken) == max(1, most)
    way.line.close()


def test_a_link_whose_speed_is_not_known_gets_small_batches(backlog):
    way = Way(backlog, None)
    assert not way.supply.next(way.line, 0.0, 0).sealed
    way.line.close()


@pytest.mark.parametrize(
    ("dials", "max_packet", "sealed"),
    [
        ({}, None, True),
        ({"encoding": "json"}, None, False),
        ({"max_bytes": BATCH_BYTES - 1}, None, False),
        ({}, BATCH_BYTES + 1024 + PACKET_OVERHEAD, True),
        ({}, BATCH_BYTES + 1024 + PACKET_OVERHEAD - 1, False),
    ],
)
def test_payloads_are_taken_where_broker_and_encoding_allow_it(backlog, dials, max_packet, sealed):
    way = Way(backlog, **dials)
    way.supply.begin(max_packet)
    assert way.supply.next(way.line, 0.0, 0).sealed == sealed
    way.line.close()


def test_what_was_taken_is_dropped_when_the_window_stands_elsewhere(way):
    first = way.supply.next(way.line, 0.0, 0)
    assert way.supply._taken
    way.window.begin(100)  # a new session: nothing of it is on its way
    assert way.supply.next(way.line, 0.0, 0).first == first.first


def test_a_new_session_drops_what_was_taken(way):
    way.next()
    way.supply.begin(None)
    assert not way.supply._taken


def test_the_next_answer_is_asked_for_while_one_is_published(way):
    asked = []
    ask_ahead = way.line.ask_ahead
    way.line.ask_ahead = lambda request: asked.append(request) or ask_ahead(request)
    loads = [way.next() for _ in range(9)]
    assert [request.after[Stream.PROFILE] for request in asked] == [loads[7].last, asked[1].after[Stream.PROFILE]]
    assert {request.sealed for request in asked} == {MAX_SEALED}


@pytest.mark.parametrize("rate", [100_000, 270_000, 600_000, 1_000_000, 1_100_000, 2_000_000])
def test_what_is_urgent_waits_behind_a_quarter_of_a_second_of_what_was_taken_and_asked_for(backlog, rate):
    """Beside what is on its way; where one batch takes longer than half of that, behind nothing."""
    way, most = Way(backlog, rate), 0
    backlog.append(Stream.ALARM, 1)
    way.next()
    for taken in range(2, 19):  # at any moment of two answers
        way.window.passed(Stream.PROFILE, 0)  # the same backlog each time
        for _ in range(taken):
            way.next()
        behind = 0
        backlog.append(Stream.ALARM, 1)
        while (load := way.next()).stream is Stream.PROFILE:
            behind += load.octets
        most = max(most, behind)
    way.line.close()
    assert most <= (rate / 4 if rate * AHEAD_S >= BATCH_BYTES else 0)


def test_a_packet_too_large_for_the_broker_is_asked_for_in_halves(way):
    load = way.supply.next(way.line, 0.0, 0)
    assert not way.supply.too_large(load)
    half = way.supply.next(way.line, 0.0, 0)
    assert (half.sealed, half.first) == (False, load.first)
    assert half.octets < 0.6 * load.octets
    while half.first != half.last:
        assert not way.supply.too_large(half)
        half = way.supply.next(way.line, 0.0, 0)
    assert way.supply.too_large(half)
    assert way.supply.next(way.line, 0.0, 0).sealed, "that record alone was too large"


# ---- telling --------------------------------------------------------------------------------------------------------


def test_what_was_confirmed_is_told_before_the_uplink_rests(tmp_path, authority, field):
    """Another session may be days away, and what is not told is sent again."""
    field.append(Stream.PROFILE, 3)
    farewell = b"\xe0\x01\x8b"  # server shutting down

    def answer(broker, mid, topic):
        return puback(mid) + (farewell if topic.endswith("profile") else b"")

    with ScriptedBroker(authority, on_publish=answer) as broker:
        to = reach(broker)
        with Uplink(tmp_path, to, backoff_max_s=60.0):
            until(lambda: any(link.noted.value == "lost" for link in field.links))
            broker.close()
            until(lambda: field.delivered(Stream.PROFILE) == 3, 5)
