"""Records that the head-end wants once more: under their own ids, between all others, until the broker has them."""

import pytest

from dcu.command import Command, Operation
from dcu.record import Stream
from dcu.relay import resends
from dcu.uplink.again import REST_S, Again
from dcu.uplink.backoff import Backoff
from dcu.uplink.window import Window
from dcu.wire.verbs import Done, Resent
from tests.uplink.world import Uplink, until


def wanted(stream, first, last):
    return Command("c", Operation.RESEND, "i", "d", "j", "", None, 0, None, 1, stream=stream, first=first, last=last)


def want(field, stream, first, last):
    field.store.transact(lambda tx: resends.want(tx, wanted(stream, first, last)))
    field.bell.ring()


def waiting(field):
    return field.store.transact(resends.ranges)


@pytest.mark.broker
def test_a_range_comes_again_under_its_ids_and_no_cursor_moves(tmp_path, field, box, head_end):
    field.append(Stream.PROFILE, 60)
    with Uplink(tmp_path, box, max_bytes=2048):
        until(lambda: field.delivered(Stream.PROFILE) == 60, 30)
        want(field, "profile", 11, 30)
        until(lambda: not waiting(field), 30)
        field.append(Stream.PROFILE, 3)
        until(lambda: field.delivered(Stream.PROFILE) == 63, 30)
    until(lambda: len(head_end.ids(Stream.PROFILE)) == 63, 30)
    until(lambda: head_end.listener.repeated == 20, 30)  # of 11 to 30, each once more
    assert head_end.listener.holes() == []
    assert field.refused_cursors == []


@pytest.mark.broker
def test_a_range_outlives_field_and_the_broker(tmp_path, broker, field, box, head_end):
    field.append(Stream.ALARM, 9)
    with Uplink(tmp_path, box):
        until(lambda: field.delivered(Stream.ALARM) == 9, 30)
        broker.stop()
        until(lambda: any(link.noted.value == "lost" for link in field.links), 30)
        want(field, "alarm", 2, 4)
        assert waiting(field) == [resends.Range(Stream.ALARM, 2, 4)]
        broker.start()
        until(lambda: not waiting(field), 60)
    until(lambda: head_end.listener.repeated >= 3, 30)
    assert head_end.ids(Stream.ALARM) == list(range(1, 10))


class Line:
    def __init__(self):
        self.welcome, self.asked = type("Welcome", (), {"epoch": "e"}), []

    def ask(self, request):
        self.asked.append(request)
        return Done()


def test_one_at_a_time_and_a_refused_one_is_tried_again_later():
    window = Window(8, lambda: Backoff(1.0))
    window.begin(8)
    again, line = Again(window), Line()
    assert again.wanted(0.0)
    again.sent(5, Stream.ALARM, 1, 4, 0.0)
    assert not again.wanted(0.0) and not window.idle
    window.acknowledged(5, 0x10, 1.0)
    again.acknowledged(5, 0x10, 1.0)
    again.tell(line)
    assert line.asked == [] and not again.wanted(1.0 + REST_S / 2) and again.wanted(1.0 + REST_S)
    again.sent(6, Stream.ALARM, 1, 4, 40.0)
    again.acknowledged(6, 0x00, 41.0)
    again.tell(line)
    assert line.asked == [Resent("e", Stream.ALARM, 4)] and again.wanted(41.0)


def test_a_record_that_the_broker_never_takes_is_passed_over_in_the_end():
    window = Window(8, lambda: Backoff(1.0))
    window.begin(8)
    again, line = Again(window), Line()
    for n in range(3):
        again.sent(n, Stream.ALARM, 1, 1, n * 100.0)
        again.acknowledged(n, 0x80, n * 100.0)
        again.tell(line)
    assert line.asked == [Resent("e", Stream.ALARM, 1)]
