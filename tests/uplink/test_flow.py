"""The window follows the link: simulated links, a sender that always has more."""

import heapq

import pytest

from dcu.record import QUICK, THOROUGH
from dcu.uplink.flow import LEAST_BATCH, QUEUE_S, Flow


def drain(flow, rate, rtt_s, seconds, *, start_s=0.0, most=32 * 1024, slots=20):
    """Octets answered, and the longest that a batch was on its way in the second half."""
    now, wire_free, answers, done, worst = start_s, start_s, [], 0, 0.0
    end = start_s + seconds
    while now < end:
        while flow.room and len(answers) < slots:
            octets = min(most, flow.batch_bytes)
            parcel = flow.sent(octets, now)
            wire_free = max(wire_free, now) + octets / rate
            heapq.heappush(answers, (wire_free + rtt_s, id(parcel), parcel))
        now, _, parcel = heapq.heappop(answers)
        flow.answered(parcel, now)
        done += parcel.octets
        if now > start_s + seconds / 2:
            worst = max(worst, now - parcel.sent_s)
    for at, _, parcel in sorted(answers):
        flow.answered(parcel, at)
    return done, worst


@pytest.mark.parametrize(
    ("rate", "rtt_s", "seconds"),
    [
        (2_000, 0.05, 300),
        (2_000, 3.0, 600),
        (20_000, 0.05, 300),
        (20_000, 0.6, 300),
        (1_000_000, 0.05, 60),
        (1_000_000, 0.6, 60),
        (20_000_000, 0.001, 4),
        (20_000_000, 0.05, 8),
    ],
)
def test_a_link_is_used_and_little_waits_on_it(rate, rtt_s, seconds):
    done, worst = drain(Flow(), rate, rtt_s, seconds, slots=1000)
    assert done >= 0.8 * rate * seconds
    largest = min(32 * 1024, max(LEAST_BATCH, rate * 1.1))
    assert worst <= rtt_s + 2 * QUEUE_S + 3 * largest / rate


def test_a_link_that_becomes_slow_is_followed_and_one_that_becomes_fast_too():
    flow = Flow()
    drain(flow, 1_000_000, 0.05, 10)
    _, worst = drain(flow, 2_000, 0.05, 1200, start_s=100.0)
    assert flow.rate < 4_000
    assert worst < 10
    done, _ = drain(flow, 1_000_000, 0.05, 20, start_s=2000.0)
    assert done > 0.7 * 20 * 1_000_000


def test_a_link_with_little_to_carry_is_not_taken_for_a_slow_one():
    flow = Flow()
    drain(flow, 1_000_000, 0.05, 10)
    before = flow.limit
    for n in range(100):
        at = 1000.0 + 300 * n
        flow.answered(flow.sent(200, at), at + 0.06)
    assert flow.limit >= 0.9 * before


def test_a_link_on_which_nothing_was_answered_begins_again_with_less():
    flow = Flow()
    drain(flow, 1_000_000, 0.05, 10)
    before = flow.limit
    flow.begin()
    flow.stalled()
    assert flow.limit < before / 4
    for _ in range(20):
        flow.stalled()
    assert flow.limit == flow.batch_bytes == LEAST_BATCH
    assert flow.room


def test_batches_are_deflated_as_hard_as_the_link_is_slow():
    flow = Flow()
    assert flow.level == THOROUGH, "before anything is known of the link, octets may cost money"
    drain(flow, 20_000, 0.6, 30)
    assert flow.level == THOROUGH
    drain(flow, 20_000_000, 0.001, 30, start_s=100.0)
    assert flow.level == QUICK
