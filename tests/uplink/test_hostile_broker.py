"""A broker that refuses, forgets, lies or babbles: the cursor stays honest and the uplink comes back."""

import gc
import time
import weakref

import pytest

from dcu.errors import SessionLost
from dcu.headend.pki import Authority
from dcu.record import Stream
from dcu.uplink.letters import Terms
from dcu.uplink.session import Session
from tests.broker import endpoint
from tests.uplink.scripted import TAKEN_OVER, ScriptedBroker, connack, puback
from tests.uplink.world import DCU, Uplink, until


@pytest.fixture
def authority(tmp_path):
    return Authority(tmp_path / "pki")


def reach(broker):
    return endpoint(broker, broker.authority.client(DCU))


def first_link(field, noted):
    return until(lambda: next((x for x in field.links if x.noted.value == noted), None))


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (0x87, f"CONNACK 0x87: not authorized; allow {DCU} at the broker"),
        (0x84, "does not speak MQTT 5"),
        (0x85, "client id"),
        (0x88, "unavailable"),
        (0x9F, "too fast"),
    ],
)
def test_a_refused_connack_is_told_in_words(authority, code, words):
    with ScriptedBroker(authority, greeting=connack(code)) as broker:
        with pytest.raises(SessionLost) as told:
            Session.open(reach(broker), Terms(DCU), lambda _: None)
        assert words in str(told.value)


def test_a_session_that_is_taken_over_rests_and_names_the_copy(tmp_path, authority, field):
    with ScriptedBroker(authority, on_publish=lambda *_: TAKEN_OVER) as broker:
        with Uplink(tmp_path, reach(broker), backoff_max_s=2.0):
            lost = first_link(field, "lost")
            began = time.monotonic()
            assert "taken over" in lost.text
            assert "is a copy of this box's card in use?" in lost.text
            until(lambda: broker.connections == 2)
            assert time.monotonic() - began > 0.8  # at least half the longest wait, at the first time already


def test_a_session_that_is_lost_is_let_go_at_once(tmp_path, authority, field):
    """Its sockets and its memory do not wait for the collector, which a quiet box hardly ever runs."""
    with ScriptedBroker(authority) as broker, Uplink(tmp_path, reach(broker), backoff_max_s=60.0) as uplink:
        session = weakref.ref(until(lambda: uplink.publisher._session))
        gc.disable()
        try:
            broker.send(TAKEN_OVER)
            first_link(field, "lost")
            until(lambda: session() is None, 5)
        finally:
            gc.enable()


def test_a_refused_subscription_is_told_and_readings_go_on(tmp_path, authority, field):
    field.append(Stream.PROFILE, 3)
    with ScriptedBroker(authority, suback=0x87) as broker, Uplink(tmp_path, reach(broker)):
        assert first_link(field, "subscription-refused").code == 0x87
        until(lambda: field.delivered(Stream.PROFILE) == 3)


@pytest.mark.parametrize("receive_maximum", [1, 3])
def test_no_more_is_in_flight_than_the_broker_takes_presence_included(tmp_path, authority, field, receive_maximum):
    field.append(Stream.PROFILE, 40)
    unanswered, most = [], []

    def late(broker, mid, topic):
        unanswered.append(mid)
        most.append(len(unanswered))
        if len(unanswered) < receive_maximum:
            return b""
        answers = b"".join(map(puback, unanswered))
        unanswered.clear()
        return answers

    with ScriptedBroker(authority, greeting=connack(0, receive_maximum), on_publish=late) as broker:
        with Uplink(tmp_path, reach(broker), max_bytes=300):
            until(lambda: len(broker.published) >= 30)
    assert max(most) == receive_maximum


def test_a_hole_in_the_acknowledgements_ends_the_session_and_all_is_offered_again(tmp_path, authority, field):
    field.append(Stream.PROFILE, 8)
    state = f"dcu/v1/{DCU}/state"
    seen = []

    def skip_the_third(broker, mid, topic):
        if topic != state and broker.connections == 1:
            seen.append(mid)
            if len(seen) == 3:
                return b""
        return puback(mid)

    with ScriptedBroker(authority, on_publish=skip_the_third) as broker:
        with Uplink(tmp_path, reach(broker), max_bytes=1, answer_s=0.5):
            until(lambda: field.delivered(Stream.PROFILE) == 2)
            assert "has not acknowledged for 0.5 s" in first_link(field, "lost").text
            assert field.delivered(Stream.PROFILE) == 2
            until(lambda: field.delivered(Stream.PROFILE) == 8)
    again = [mid for connection, mid, topic in broker.published if connection == 2 and topic != state]
    assert len(again) == 6


@pytest.mark.parametrize(
    "babble",
    [
        b"\x00\x00",
        b"\xff" * 64,
        b"\x30\x02\x00\x05",  # a PUBLISH shorter than its own topic
        b"\x32\x05\x00\x01\xff\x00\x01",  # a topic that is not UTF-8
        b"\x40\x01\x00",  # half a PUBACK
        b"\x40\x02\x7f\xff",  # a PUBACK of what was never sent
        b"\x40\x03\x00\x01\x33",  # a PUBACK with a reason that does not exist
        b"\x20\x03\x00\x00\x00",  # a second CONNACK
        b"\xe0\x01\x33",  # a DISCONNECT with a reason that does not exist
        b"\x90\x03\x00\x09\x00",
        b"\x30\xff\xff\xff\xff\x7f",  # a length that never ends
    ],
)
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")  # paho's thread dies of some
def test_babble_costs_at_most_the_connection(tmp_path, authority, field, babble):
    babbled = []

    def once(broker, mid, topic):
        if not babbled:
            babbled.append(mid)
            return babble
        return puback(mid)

    with ScriptedBroker(authority, on_publish=once) as broker:
        with Uplink(tmp_path, reach(broker), answer_s=1.0):
            until(lambda: babbled)
            field.append(Stream.PROFILE, 5)
            until(lambda: field.delivered(Stream.PROFILE) == 5)
