"""What of a backlog is asked next: nothing is left out, nothing is asked twice, and what is about to go goes first."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcu import backfill, gaps

PERIOD = 900
grid_sets = st.sets(st.integers(-60, 60).map(lambda n: n * PERIOD), min_size=1, max_size=60)


def instants(spans):
    return {at for first, last in spans for at in range(first, last + 1, PERIOD)}


@given(grid_sets, st.integers(1, 9), st.integers(0, 130), st.integers(60, 80))
def test_bite_by_bite_each_missing_interval_is_asked_once(missing, rows, entries, now):
    left, asked = gaps.spans(missing, PERIOD), []
    while bite := backfill.next_bite(left, PERIOD, rows, now_s=now * PERIOD, entries=entries):
        part = instants([bite.span])
        assert 1 <= len(part) <= rows and part <= instants(left)
        asked.append((part, bite.urgent))
        left = gaps.without(left, [bite.span], PERIOD)
    assert set().union(*(part for part, _ in asked)) == missing
    urgent = [part for part, is_urgent in asked if is_urgent]
    assert asked[: len(urgent)] == [(part, True) for part in urgent], "what is threatened comes before all else"
    assert [min(part) for part in urgent] == sorted(min(part) for part in urgent), "oldest first"
    rest = [max(part) for part, is_urgent in asked if not is_urgent]
    assert rest == sorted(rest, reverse=True), "newest first"


@given(grid_sets, st.integers(8, 200), st.integers(60, 80), st.integers(0, 899))
def test_urgent_is_what_the_ring_still_has_and_loses_before_an_eighth_of_it_has_gone_round(missing, entries, now, rest):
    now_s, newest = now * PERIOD + rest, now * PERIOD
    bite = backfill.next_bite(gaps.spans(missing, PERIOD), PERIOD, 500, now_s=now_s, entries=entries)
    lifetimes = {at: (at - (newest - (entries - 1) * PERIOD)) // PERIOD for at in missing}
    threatened = {at for at, left in lifetimes.items() if 0 <= left <= max(1, entries // 8)}
    assert bite is not None and bite.urgent == bool(threatened)
    if threatened:
        assert min(instants([bite.span])) == min(threatened)
        assert instants([bite.span]) <= threatened


def test_nothing_missing_is_nothing_to_ask():
    assert backfill.next_bite((), PERIOD, 10, now_s=0, entries=100) is None


@pytest.mark.parametrize(
    ("columns", "octets_per_s", "rows"),
    [(6, 960.0, 53), (13, 960.0, 29), (6, 240.0, 13), (117, 30.0, 4), (2, 1e9, 480)],
)
def test_a_bite_is_no_longer_than_an_errand_may_wait(columns, octets_per_s, rows):
    assert backfill.bite_rows(columns, octets_per_s) == rows
    if 4 < rows < 480:
        assert rows * (16 + 5 * (columns - 1)) / octets_per_s <= backfill.BITE_S


@given(grid_sets, grid_sets)
def test_what_was_asked_in_vain_is_left_out(missing, vain):
    left = backfill.less(gaps.spans(missing, PERIOD), list(gaps.spans(vain, PERIOD)) * 2, PERIOD)
    assert instants(left) == missing - vain
