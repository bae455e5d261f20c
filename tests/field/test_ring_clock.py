"""A ring whose meter's clock jumps, whose capture period changes, whose answers are cut: nothing is given up."""

from datetime import timedelta

import pytest

from dcu import gaps
from tests.field.test_ring import DAY_S, SERIAL, held, state, visit

QUARTER = 900


@pytest.fixture
def now_s(clock):
    return int(clock.now().timestamp()) // QUARTER * QUARTER


def times(store):
    return sorted(at for at, *_ in held(store))


def pass_by(meter, scene, clock, now_s, intervals):
    """The meter captures interval after interval, and is visited after each."""
    for at in range(now_s, now_s + intervals * QUARTER, QUARTER):
        clock.advance(at + 5 - int(clock.now().timestamp()))
        meter.capture(at, at)
        visit(meter, scene)


def test_a_clock_that_was_ahead_and_is_set_right_costs_no_interval(meter, scene, store, clock, now_s):
    meter.capture(now_s - DAY_S, now_s)
    visit(meter, scene)
    ahead = now_s + 30 * DAY_S
    meter.capture(ahead, ahead)
    clock.advance(30 * DAY_S)
    visit(meter, scene)
    assert state(store).absent, "by the meter's own clock it was off for a month"
    clock.wall -= timedelta(days=30)
    pass_by(meter, scene, clock, now_s + QUARTER, 8)
    assert set(range(now_s - DAY_S, now_s + 9 * QUARTER, QUARTER)) <= set(times(store))
    assert all(last <= now_s for _, last, _ in state(store).absent)


def test_what_a_clock_set_back_by_minutes_passes_twice_is_asked_again(meter, scene, store, clock, now_s):
    """It was 40 minutes ahead, and after the next visit it has passed some of those quarters for the second time."""
    meter.capture(now_s - 3600, now_s)
    visit(meter, scene)
    clock.wall += timedelta(minutes=40)
    visit(meter, scene)
    meter.capture(now_s + 2700, now_s + 2700)
    clock.advance(600)
    visit(meter, scene)
    assert state(store).absent == ((now_s + 900, now_s + 1800, "meter off"),)
    clock.wall -= timedelta(minutes=40)
    clock.advance(1200)
    meter.capture(now_s + 900, now_s + 1800)
    visit(meter, scene)
    assert set(times(store)) == set(meter.rows_held)


def test_after_such_a_jump_a_row_that_is_late_is_still_waited_for(meter, scene, store, clock, now_s):
    ahead = now_s + 30 * DAY_S
    meter.capture(now_s - DAY_S, now_s)
    meter.capture(ahead, ahead)
    clock.advance(30 * DAY_S)
    visit(meter, scene)
    clock.wall -= timedelta(days=30)
    clock.advance(QUARTER)
    visit(meter, scene)  # the interval has ended, its row is not there yet
    meter.capture(now_s + QUARTER, now_s + QUARTER)
    visit(meter, scene)
    assert now_s + QUARTER in times(store)


def test_a_ring_that_begins_with_rows_of_the_future_is_read(meter, scene, store, clock, now_s):
    """The oldest entry was captured while the clock was ahead."""
    meter.capture(now_s - 3600, now_s)
    first = now_s + 400 * DAY_S
    meter.rows_held[first] = (1, 1)
    meter.oldest_row = lambda _profile, _layout: meter.row(first)
    visit(meter, scene)
    clock.advance(QUARTER)
    visit(meter, scene)  # late again: not `overwritten`
    meter.capture(now_s + QUARTER, now_s + QUARTER)
    visit(meter, scene)
    assert [at for at in times(store) if at < first] == list(range(now_s - 3600, now_s + QUARTER + 1, QUARTER))


def test_a_capture_period_that_becomes_shorter_loses_no_row(meter, scene, store, clock, now_s):
    start = now_s // 1800 * 1800 - DAY_S
    meter.period = 1800
    meter.capture(start, now_s)
    visit(meter, scene)
    meter.period = QUARTER
    pass_by(meter, scene, clock, now_s + QUARTER, 12)
    assert set(meter.rows_held) == set(times(store))
    assert len(times(store)) == len(set(times(store)))


def test_an_answer_that_ends_early_proves_nothing_of_what_it_leaves_out(meter, scene, store, clock, now_s):
    meter.capture(now_s - DAY_S, now_s)
    whole = meter.rows
    meter.rows = lambda *asked: whole(*asked)[:10]  # a meter that gives ten rows an answer
    visit(meter, scene)
    assert times(store) == sorted(meter.rows_held)
    assert state(store).absent == ()
    assert gaps.missing(state(store), now_s) == ()
    assert state(store).held[0][0] == now_s - DAY_S, SERIAL
