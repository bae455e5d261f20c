"""The judge itself: what is right passes, and each thing that may not be is found."""

import pytest

from tests.soak.holdings import Known
from tests.soak.judge import RingJudge, judge_log
from tests.soak.truth import Losses, Stretch, Truth

PERIOD_S = 900
START_S = 1_780_252_200  # midnight in India
FIRST_S = START_S + PERIOD_S


def truth(count=20, *, without=(), **facts):
    """`count` quarters of an hour, some of them not captured."""
    times = [START_S + n * PERIOD_S for n in range(1, count + 1)]
    rows = [(at, (at % 977, at % 991)) for n, at in enumerate(times) if n not in without]
    stretch = Stretch(0.0, count * PERIOD_S + 10.0, START_S, 1.0, PERIOD_S)
    return Truth("SK", "1.0.99.1.0.255", rows, facts.pop("entries", 1000), facts.pop("stretches", [stretch]), **facts)


def known(rows, absent=()):
    held = {at: [values] for at, values in rows}
    return Known(rows=held, period_s=PERIOD_S, since_s=FIRST_S, held=set(held), absent=list(absent))


def kinds(truth_, known_, until_s=1e12):
    return dict(RingJudge(truth_, known_, until_s).judge().kinds)


def at(number):
    return FIRST_S + number * PERIOD_S


def test_all_held_as_it_was_captured_is_right():
    whole = truth()
    verdict = RingJudge(whole, known(whole.rows), 1e12).judge()
    assert (verdict.intervals, verdict.mistakes) == ({"held": 20}, [])


def test_a_hole_in_what_is_held_is_unexplained():
    whole = truth()
    assert kinds(whole, known(whole.rows[:7] + whole.rows[8:])) == {"unexplained": 1}


def test_the_newest_may_still_be_on_its_way():
    whole = truth()
    assert kinds(whole, known(whole.rows[:-2]), until_s=at(17)) == {}


def test_another_value_another_time_and_a_second_time_are_found():
    whole = truth()
    wrong = known(whole.rows)
    wrong.rows[at(3)] = [(1, 2)]
    assert kinds(whole, wrong) == {"wrong value": 1}
    invented = known([*whole.rows, (at(3) + 60, (1, 2))])
    assert kinds(whole, invented) == {"invented": 1}
    twice = known(whole.rows)
    twice.rows[at(3)] *= 2
    assert kinds(whole, twice) == {"twice": 1}


def test_a_ledger_that_claims_more_than_the_records_hold_is_found():
    whole = truth()
    claimed = known(whole.rows)
    del claimed.rows[at(3)]
    assert kinds(whole, claimed) == {"ledger and records differ": 1, "unexplained": 1}


@pytest.mark.parametrize(
    ("reason", "mistakes"),
    [("meter off", {}), ("clock set", {"wrong reason": 2}), ("overwritten", {"wrong reason": 2})],
)
def test_a_power_cut_is_a_reason_only_where_it_was(reason, mistakes):
    dark = truth(without=(5, 6), off=[(5 * PERIOD_S + 100.0, 7 * PERIOD_S + 100.0)])
    assert kinds(dark, known(dark.rows, [(at(5), at(6), reason)])) == mistakes


def test_meter_off_is_no_excuse_for_a_row_that_the_meter_has():
    dark = truth(off=[(5 * PERIOD_S + 100.0, 6 * PERIOD_S + 100.0)])
    assert kinds(dark, known(dark.rows[:9] + dark.rows[10:], [(at(9), at(9), "meter off")])) == {"wrong reason": 1}


@pytest.mark.parametrize(("away", "mistakes"), [([(0.0, 99e3)], {}), ([], {"wrong reason": 1})])
def test_overwritten_is_a_reason_only_where_the_box_could_not_ask_in_time(away, mistakes):
    small = truth(200, entries=100, unreachable=away)
    lost = known(small.rows[1:], [(at(0), at(0), "overwritten")])
    assert kinds(small, lost) == mistakes
    never_lost = known(small.rows[:150] + small.rows[151:], [(at(150), at(150), "overwritten")])
    assert kinds(small, never_lost) == {"wrong reason": 1}


def test_a_clock_that_was_set_forward_skips_what_it_jumped_over():
    before = Stretch(0.0, 5000.0, START_S, 1.0, PERIOD_S)
    behind = Stretch(5000.0, 9000.0, START_S + 5000.0 + 1800.0, 1.0, PERIOD_S)
    whole = truth(12, without=(5, 6), stretches=[before, behind])
    assert kinds(whole, known(whole.rows, [(at(5), at(6), "clock set")])) == {}
    assert kinds(whole, known(whole.rows, [(at(5), at(6), "meter off")])) == {"wrong reason": 2}
    assert kinds(whole, known(whole.rows)) == {"unexplained": 2}


def test_a_clock_that_was_set_back_shows_a_moment_twice_and_both_rows_are_wanted():
    before = Stretch(0.0, 5000.0, START_S, 1.0, PERIOD_S)
    behind = Stretch(5000.0, 9000.0, START_S + 5000.0 - 1800.0, 1.0, PERIOD_S)
    rows = [(at(n), (n,)) for n in range(5)] + [(at(n), (100 + n,)) for n in range(3, 8)]
    twice = Truth("SK", "1.0.99.1.0.255", rows, 1000, [before, behind])
    both = known(rows)
    for instant in (at(3), at(4)):
        both.rows[instant] = [values for when, values in rows if when == instant]
    assert kinds(twice, both) == {}
    del both.rows[at(3)][1]
    assert kinds(twice, both) == {"unexplained": 1}
    times = Losses(twice, 0.0)
    assert [round(times.captured_s(n)) for n in (4, 5)] == [4500, 5400]


def passed_twice(*, repeats, off=(), cleared=(), unreachable=()):
    """Five quarters, then the clock is set back by half an hour; the period was an hour before, a quarter behind it."""
    before = Stretch(0.0, 5000.0, START_S, 1.0, 1800)
    behind = Stretch(5000.0, 12_000.0, START_S + 5000.0 - 3600.0, 1.0, PERIOD_S)
    rows = [(START_S + 1800, (1,)), (START_S + 3600, (2,))]
    again = [START_S + n * PERIOD_S for n in range(2, 10)]
    rows += [(at, (10 + n,)) for n, at in enumerate(again) if (repeats and not off) or at > START_S + 3600]
    return Truth(
        "SK",
        "1.0.99.1.0.255",
        rows,
        1000,
        [before, behind],
        off,
        cleared,
        unreachable,
        repeats=repeats,
    )


@pytest.mark.parametrize(
    ("repeats", "reason", "mistakes"),
    [
        (False, "clock set", {}),
        (False, "other period", {}),
        (False, "meter off", {"wrong reason": 1}),
        (True, "clock set", {"wrong reason": 1}),
    ],
)
def test_what_a_meter_does_not_capture_again_is_absent_since_its_clock_was_set(repeats, reason, mistakes):
    """At a quarter to the hour it was no interval at first, and then the meter had a later row."""
    twice = passed_twice(repeats=repeats)
    quarter = START_S + 3 * PERIOD_S
    held = known([row for row in twice.rows if row[0] != quarter], [(quarter, quarter, reason)])
    for at_ in held.rows:
        held.rows[at_] = [values for when, values in twice.rows if when == at_]
    assert kinds(twice, held) == mistakes


@pytest.mark.parametrize(
    ("unreachable", "mistakes"), [([(0.0, 99e3)], {}), ([], {"wrong reason": 1})], ids=["lost", "it was there to read"]
)
def test_of_an_instant_whose_first_row_is_lost_the_second_passage_counts(unreachable, mistakes):
    """The ring was emptied before anybody read the first row; the second time the meter had no power."""
    off, hour = [(6300.0, 8700.0)], START_S + 3600
    twice = passed_twice(repeats=False, off=off, cleared=[40_000.0], unreachable=unreachable)
    rows = [row for row in twice.rows if row[0] > hour]
    held = Known(rows={at_: [values] for at_, values in rows}, period_s=PERIOD_S, since_s=hour)
    held.held, held.absent = set(held.rows), [(hour, hour, "meter off")]
    assert kinds(twice, held) == mistakes


@pytest.mark.parametrize(
    ("off", "mistakes"), [((), {}), ([(4 * PERIOD_S + 100.0, 6 * PERIOD_S + 100.0)], {"wrong reason": 2})]
)
def test_what_was_never_captured_beside_lost_rows_cannot_be_told_from_them_but_by_the_power_log(off, mistakes):
    lost = truth(12, without=(5, 4), off=off, cleared=[12 * PERIOD_S + 1.0], unreachable=[(0.0, 99e3)])
    lost.cleared = [4 * PERIOD_S + 50.0]
    held = known(lost.rows[4:], [(at(0), at(5), "overwritten")])
    assert kinds(lost, held) == mistakes


def test_rows_of_a_log_are_there_or_went_round_unseen():
    log = [(at(n), (101 + n % 2,)) for n in range(30)]
    stretch = Stretch(0.0, 30_000.0, START_S, 1.0, 0)
    seen = Truth("SK", "0.0.99.98.2.255", log, 20, [stretch])
    unseen = Truth("SK", "0.0.99.98.2.255", log, 20, [stretch], unreachable=[(0.0, 99e3)])
    most = Known(rows={when: [values] for when, values in log[5:]}, told_lost=1)
    assert judge_log(unseen, most, 1e12).kinds == {}
    assert judge_log(unseen, most, 1e12).rows == {"held": 25, "lost and told": 5}
    assert judge_log(seen, Known(rows={when: [values] for when, values in log[9:]}), 1e12).kinds == {}, "in the grace"
    late = Known(rows={when: [values] for when, values in log[:12] + log[13:]})
    assert judge_log(unseen, late, 1e12).kinds == {"unexplained": 1}
