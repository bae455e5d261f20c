"""Whose turn it is, and how much goes into a batch."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcu.batching import SHARE, Turns, fit, next_stream
from dcu.record import Stream

ALL = list(Stream)


def test_nobody_waits():
    assert next_stream([], Turns()) is None


@given(st.sets(st.sampled_from(ALL), min_size=1), st.integers(0, 50).filter(lambda n: n % SHARE != SHARE - 1))
def test_the_most_urgent_goes_first(waiting, count):
    assert next_stream(waiting, Turns(count)) == next(stream for stream in Stream if stream in waiting)


def test_every_fourth_batch_goes_to_the_one_that_waited_longest():
    turns, given_to = Turns(), []
    for _ in range(12):
        stream = next_stream([Stream.RECEIPT, Stream.PROFILE, Stream.HEALTH], turns)
        turns = turns.after(stream)
        given_to.append(stream.value)
    assert given_to == (["receipt"] * 3 + ["health"] + ["receipt"] * 3 + ["profile"] + ["receipt"] * 3 + ["health"])


@given(st.integers(0, 64**60 - 1), st.sampled_from(ALL), st.integers(1, 6))
def test_whatever_waits_is_served_within_a_bound(others, patient, share):
    """`others`: six bits a batch say who else waits."""
    turns, waited = Turns(), 0
    for n in range(120):
        rest = {stream for bit, stream in enumerate(ALL) if others >> (6 * (n % 60) + bit) & 1}
        stream = next_stream(rest | {patient}, turns, share)
        assert stream in rest | {patient}
        turns = turns.after(stream)
        waited = 0 if stream is patient else waited + 1
        assert waited < share * len(ALL)


@pytest.mark.parametrize(
    ("sizes", "max_bytes", "count"),
    [
        ([], 10, 0),
        ([10], 10, 1),
        ([11, 1], 10, 1),
        ([5, 5, 1], 10, 2),
        ([5, 6], 10, 1),
        ([0, 0, 0], 0, 3),
        ([1, 1], 0, 1),
        ([1, 1], -5, 1),
    ],
)
def test_fit(sizes, max_bytes, count):
    assert fit(sizes, max_bytes) == count


@given(st.lists(st.integers(0, 100)), st.integers(0, 400))
def test_a_batch_is_as_full_as_it_can_be(sizes, max_bytes):
    count = fit(sizes, max_bytes)
    assert count >= min(1, len(sizes))
    assert count <= 1 or sum(sizes[:count]) <= max_bytes
    assert count == len(sizes) or sum(sizes[: count + 1]) > max_bytes


def test_fit_looks_no_further_than_it_must():
    sizes = iter([4, 4, 4, 4, 4])
    assert fit(sizes, 10) == 2
    assert list(sizes) == [4, 4]
    sizes = iter([40, 4])
    assert fit(sizes, 10) == 1
    assert list(sizes) == [4]
