"""Why an interval is absent: the power log before all, then one clock set for each hole that it can have left."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcu import gaps
from dcu.causes import Happening, explained, gone, while_refused
from dcu.field.clock_watch import Look, set_by_s, too_far
from dcu.gaps import Absence

PERIOD = 900
OFF, SET, OTHER = Absence.METER_OFF, Absence.CLOCK_SET, Absence.OTHER_PERIOD
GONE = Absence.OVERWRITTEN


def slots(*numbers):
    return tuple(n * PERIOD for n in numbers)


def named(found, numbers):
    """Reason of each of these instants, by number; they are ascending and disjoint to the second."""
    assert all(before[1] < behind[0] for before, behind in pairwise(found))
    return {n: reason for n in numbers for first, last, reason in found if first <= n * PERIOD <= last}


@pytest.mark.parametrize(
    ("happenings", "reasons"),
    [
        pytest.param([], {1: OFF, 2: OFF, 5: OFF}, id="a meter with power and a steady clock captures"),
        pytest.param([Happening(SET, 0, 6 * 900, 1800)], {1: SET, 2: SET, 5: OFF}, id="the longest that fits"),
        pytest.param([Happening(SET, 0, 6 * 900, 900)], {1: OFF, 2: OFF, 5: SET}, id="too short for two"),
        pytest.param([Happening(SET, 3 * 900, 6 * 900, 9999)], {1: OFF, 2: OFF, 5: SET}, id="only where it may be"),
        pytest.param(
            [Happening(SET, 0, 6 * 900, 1800), Happening(SET, 0, 6 * 900, 900)], {1: SET, 2: SET, 5: SET}, id="two"
        ),
        pytest.param(
            [Happening(SET, 0, 6 * 900, 1800), Happening(OFF, 800, 1850)], {1: OFF, 2: OFF, 5: SET}, id="the power log"
        ),
        pytest.param([Happening(OFF, 800, 1000)], {1: OFF, 2: OFF, 5: OFF}, id="off for a moment"),
        pytest.param([Happening(SET, 2000, 2000)], {1: SET, 2: SET, 5: OFF}, id="by the transaction log, beside it"),
        pytest.param([Happening(SET, 9000, 9000)], {1: OFF, 2: OFF, 5: OFF}, id="elsewhere"),
    ],
)
def test_reasons(happenings, reasons):
    found = explained([slots(1, 2), slots(5, 5)], happenings, 0, PERIOD)
    assert named(found, range(9)) == {at: reason.value for at, reason in reasons.items()}


@pytest.mark.parametrize(
    ("happenings", "reasons"),
    [
        pytest.param([], {1: OTHER, 2: OFF, 3: OTHER, 4: OFF, 6: OTHER}, id="nothing is known"),
        pytest.param(
            [Happening(OFF, 1500, 3650)], {1: OTHER, 2: OFF, 3: OFF, 4: OFF, 6: OTHER}, id="whatever its period was"
        ),
        pytest.param([Happening(SET, 0, 9000, 3600)], {1: SET, 2: SET, 3: SET, 4: SET, 6: OTHER}, id="one jump"),
        pytest.param([Happening(SET, 4000, 9000, 900)], {1: OTHER, 2: OFF, 3: OTHER, 4: OFF, 6: OTHER}, id="no hole"),
    ],
)
def test_what_may_never_have_been_an_interval_has_another_reason_where_one_is_known(happenings, reasons):
    """A period was found changed, and nobody knows since when."""
    never = [slots(1, 1), slots(3, 3), slots(6, 6)]
    found = explained([slots(1, 4), slots(6, 6)], happenings, 0, PERIOD, never)
    assert named(found, range(9)) == {at: reason.value for at, reason in reasons.items()}


@pytest.mark.parametrize(
    ("happenings", "reasons"),
    [
        pytest.param([], {1: SET, 2: SET, 5: OFF}, id="nothing speaks against it"),
        pytest.param([Happening(OFF, 800, 1850)], {1: OFF, 2: OFF, 5: OFF}, id="the power log does"),
        pytest.param([Happening(SET, 0, 6 * 900, 900)], {1: OFF, 2: OFF, 5: SET}, id="the jump left another hole"),
        pytest.param([Happening(SET, 9000, 9900, 800)], {1: SET, 2: SET, 5: OFF}, id="a jump elsewhere"),
    ],
)
def test_what_was_taken_for_a_jump_stays_so_until_something_speaks_against_it(happenings, reasons):
    """What the log told of it lies behind a face to which the clock was set back."""
    found = explained([slots(1, 2), slots(5, 5)], happenings, 0, PERIOD, (), [slots(1, 2)])
    assert named(found, range(9)) == {at: reason.value for at, reason in reasons.items()}


happening = st.builds(
    lambda kind, first, length, skipped: Happening(kind, first, first + length, skipped),
    st.sampled_from([OFF, SET]),
    st.integers(-5000, 40_000),
    st.integers(0, 20_000),
    st.integers(0, 20_000),
)


instants = st.sets(st.integers(0, 40).map(lambda n: n * PERIOD))


@given(instants, instants, st.lists(happening, max_size=6))
def test_each_instant_gets_exactly_one_reason(times, others, happenings):
    never = times & others
    found = explained(gaps.spans(times, PERIOD), happenings, 0, PERIOD, gaps.spans(never, PERIOD))
    reasons = named(found, range(41))
    assert {n * PERIOD for n in reasons} == times
    assert {reasons[at // PERIOD] for at in times - never} <= {OFF.value, SET.value}
    assert {at for at in times if reasons[at // PERIOD] == OTHER.value} <= never


@pytest.mark.parametrize(
    ("face_s", "low_s", "high_s", "by_s"),
    [
        pytest.param(1900, 1000, 1000.1, 0, id="as it should be"),
        pytest.param(1904, 1000, 1000.1, 0, id="within what may be"),
        pytest.param(1896, 1000, 1000.1, 0, id="and on the other side"),
        pytest.param(2800, 1000, 1000.1, 899, id="forward"),
        pytest.param(1000, 1000, 1000.1, -900, id="back"),
        pytest.param(1915, 1000, 1020.0, 0, id="an answer that took long proves little"),
        pytest.param(1_000_050, 999_100, 999_100.1, 0, id="drift of days"),
    ],
)
def test_a_clock_that_was_set_is_told_from_one_that_drifts(face_s, low_s, high_s, by_s):
    assert set_by_s(Look(1000, 100, 100.1), Look(face_s, low_s, high_s)) == pytest.approx(by_s, abs=2)


def test_a_memory_is_less_sure_than_a_look():
    assert set_by_s(Look(1000, 100, 100, 60.0), Look(1950, 1000, 1000.1)) == 0
    assert set_by_s(Look(1000, 100, 100), Look(1950, 1000, 1000.1)) == pytest.approx(50, abs=2)


def test_a_drift_is_worth_a_word_once():
    assert [too_far(ahead, told, 60) for ahead, told in ((61, None), (61, 61), (121, 61), (122, 61), (60, None))] == [
        True,
        False,
        False,
        True,
        False,
    ]


def test_what_the_meter_did_not_capture_was_never_overwritten():
    lost = gone([slots(1, 6)], [Happening(OFF, 1700, 3000), Happening(SET, 3700, 3700)])
    over = Absence.OVERWRITTEN.value
    assert lost == ((900, 1699, over), (1700, 3060, OFF.value), (3061, 5400, over))


@pytest.mark.parametrize(
    ("happenings", "reasons"),
    [
        pytest.param([], {1: GONE, 2: GONE, 3: GONE, 4: GONE}, id="nothing is known"),
        pytest.param([Happening(OFF, 1700, 2800)], {1: GONE, 2: OFF, 3: OFF, 4: GONE}, id="power"),
        pytest.param([Happening(SET, 1500, 3000, 1400)], {1: GONE, 2: SET, 3: SET, 4: GONE}, id="right between looks"),
        pytest.param([Happening(SET, 500, 4000, 1400)], {1: GONE, 2: GONE, 3: GONE, 4: GONE}, id="nobody knows when"),
        pytest.param(
            [Happening(SET, 500, 4000, 1400), Happening(SET, 2900, 2900)],
            {1: GONE, 2: SET, 3: SET, 4: GONE},
            id="the log knows",
        ),
        pytest.param(
            [Happening(SET, 500, 4000, 1400), Happening(SET, 9000, 9000)],
            {1: GONE, 2: GONE, 3: GONE, 4: GONE},
            id="the log knows of another",
        ),
    ],
)
def test_what_was_never_captured_was_not_overwritten(happenings, reasons):
    found = gone([slots(1, 4)], happenings)
    assert named(found, range(9)) == {at: reason.value for at, reason in reasons.items()}


@pytest.mark.parametrize(
    ("reason", "refused", "named"),
    [
        (GONE, [(2 * 900 - 1, 3 * 900 + 1), (8 * 900, 99 * 900)], "gone 0-1 refused 2-3 gone 4-7 refused 8-9"),
        (GONE, [(-5, 99 * 900)], "refused 0-9"),
        (GONE, [(901, 1799), (10 * 900, 99 * 900)], "gone 0-9"),
        (GONE, [], "gone 0-9"),
        (OFF, [(0, 99 * 900)], "off 0-9"),
    ],
)
def test_what_was_overwritten_while_the_profile_was_refused_is_told_from_the_rest(reason, refused, named):
    words = {GONE.value: "gone", OFF.value: "off", Absence.REFUSED.value: "refused"}
    found = while_refused([(0, 9 * PERIOD, reason.value)], refused, 0, PERIOD)
    assert " ".join(f"{words[why]} {first // 900}-{last // 900}" for first, last, why in found) == named
    assert all(at % PERIOD == 0 for span in found for at in span[:2])
