"""How often the publisher turns while there is nothing to do: a box that waits needs its processor for metering."""

import time

import pytest

from dcu.headend.pki import Authority
from dcu.record import Stream
from tests.broker import endpoint
from tests.uplink.proxy import FaultProxy
from tests.uplink.scripted import ScriptedBroker, connack, puback
from tests.uplink.world import DCU, Uplink, until

MOST_A_SECOND = 20
COUNTED = 30
WAITS = {"idle_ms": 1000, "busy_ms": 200}
"""As a box has them."""


class Turns:
    """Each turn's moment."""

    def __init__(self):
        self.at_s = []

    def beat(self):
        self.at_s.append(time.monotonic())

    def per_second(self):
        """Of so many turns from now on, or of those of five seconds."""
        first, until_s = len(self.at_s), time.monotonic() + 5
        until(lambda: len(self.at_s) > first + COUNTED or time.monotonic() > until_s)
        return (len(self.at_s) - first) / (time.monotonic() - until_s + 5)


@pytest.fixture
def turns():
    return Turns()


@pytest.fixture
def authority(tmp_path):
    return Authority(tmp_path / "pki")


def deliver(field, count=5):
    """So many records one by one: the link is known to be fast."""
    for _ in range(count):
        last = field.append(Stream.PROFILE, 1)
        until(lambda last=last: field.delivered(Stream.PROFILE) == last)


@pytest.mark.broker
def test_where_nothing_waits(tmp_path, field, box, head_end, turns):
    with Uplink(tmp_path, box, beat=turns.beat, **WAITS):
        deliver(field)
        assert turns.per_second() < MOST_A_SECOND


@pytest.mark.broker
def test_an_answer_that_is_due_at_once_and_does_not_come(tmp_path, field, broker, box, head_end, turns):
    with FaultProxy(broker.port) as proxy, Uplink(tmp_path, proxy.endpoint(box), beat=turns.beat, **WAITS):
        deliver(field)
        proxy.black_hole = True
        last = field.append(Stream.PROFILE, 1)
        found = turns.per_second()
        proxy.black_hole = False
        until(lambda: field.delivered(Stream.PROFILE) == last)
    assert found < MOST_A_SECOND


@pytest.mark.parametrize(("receive_maximum", "code"), [(None, 0x10), (1, 0x10), (1, None)])
def test_a_broker_that_does_not_take_a_stream(tmp_path, authority, field, turns, receive_maximum, code):
    """It holds it, or says nothing at all: where it takes only one, the window is full then."""
    mute = []

    def answer(broker, mid, topic):
        if not mute:
            return puback(mid)
        return b"" if code is None else puback(mid, code)

    with ScriptedBroker(authority, greeting=connack(0, receive_maximum), on_publish=answer) as broker:
        with Uplink(tmp_path, endpoint(broker, authority.client(DCU)), beat=turns.beat, backoff_max_s=60.0, **WAITS):
            deliver(field)
            mute.append(True)
            sent = len(broker.published)
            field.append(Stream.PROFILE, 1)
            until(lambda: len(broker.published) > sent)
            assert turns.per_second() < MOST_A_SECOND
