"""Interval arithmetic against a model: a Python set of instants."""

import itertools
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcu import gaps
from dcu.gaps import Absence

PERIOD = 900


@dataclass
class Known:
    period_s: int = PERIOD
    since_s: int = 0
    held: tuple = ()
    absent: tuple = field(default_factory=tuple)


def instants(spans, period=PERIOD):
    return {at for first, last, *_ in spans for at in range(first, last + 1, period)}


def well_formed(spans, period=PERIOD):
    for first, last in spans:
        assert first <= last and (last - first) % period == 0
    for (_, last), (first, _) in itertools.pairwise(spans):
        assert first > last + period, "overlapping, unsorted, or neighbours that should be one"


grid_sets = st.sets(st.integers(-40, 40).map(lambda n: n * PERIOD), max_size=40)


@given(grid_sets)
def test_spans_hold_exactly_the_instants(times):
    spans = gaps.spans(times, PERIOD)
    well_formed(spans)
    assert instants(spans) == times


@given(grid_sets, grid_sets)
def test_merge_is_union_and_without_is_difference(left, right):
    a, b = gaps.spans(left, PERIOD), gaps.spans(right, PERIOD)
    well_formed(gaps.merge([*a, *b], PERIOD))
    assert instants(gaps.merge([*a, *b], PERIOD)) == left | right
    well_formed(gaps.without(a, b, PERIOD))
    assert instants(gaps.without(a, b, PERIOD)) == left - right


@given(st.lists(st.lists(st.integers(-3000, 30_000), max_size=12), max_size=6), st.sampled_from([0, 10, 60, 900]))
def test_every_row_is_let_in_exactly_once(chunks, period):
    phase = 7 % period if period else 0
    held, strays, let_in = (), set(), []
    for times in chunks:
        got = gaps.admit(held, times, period, phase=phase, strays=strays)
        assert list(got.new) == [at for at in dict.fromkeys(times) if at not in let_in]
        assert set(got.strays) == {at for at in got.new if not gaps.on_grid(at, phase, period)}
        if period:
            well_formed(got.held, period)
        held, let_in = got.held, [*let_in, *got.new]
        strays |= set(got.strays)
    everything = {at for times in chunks for at in times}
    assert sorted(let_in) == sorted(everything)
    assert instants(held, period or 1) | strays == everything


def test_a_year_of_quarter_hours_is_one_span():
    year = list(gaps.expected(0, 365 * gaps.DAY_S - 1, PERIOD))
    assert len(year) == 35_040
    held = ()
    for n in range(0, len(year), 2000):
        held = gaps.admit(held, year[n : n + 2000], PERIOD).held
    assert held == ((0, year[-1]),)


def test_rows_that_overlap_what_is_held_come_in_once_and_in_order():
    got = gaps.admit(((0, 1800),), [3600, 900, 2700, 3600], PERIOD)
    assert got == gaps.Admission((3600, 2700), ((0, 3600),), ())


@given(grid_sets, grid_sets, st.integers(-30, 30), st.integers(-30_000, 40_000))
def test_missing_is_what_is_expected_and_neither_held_nor_absent(held, absent, since, until):
    since *= PERIOD
    known = Known(
        since_s=since,
        held=gaps.spans(held, PERIOD),
        absent=tuple((*span, "meter off") for span in gaps.spans(absent, PERIOD)),
    )
    found = gaps.missing(known, until)
    well_formed(found)
    assert instants(found) == set(gaps.expected(since, until, PERIOD)) - held - absent


def test_nothing_is_missing_where_no_period_is_known():
    assert gaps.missing(Known(period_s=0), 10_000) == ()
    assert list(gaps.expected(0, 10_000, 0)) == []


@given(grid_sets, st.integers(1, 9), st.booleans())
def test_asking_range_by_range_asks_each_missing_interval_once(times, at_most, newest_first):
    left, asked = gaps.spans(times, PERIOD), []
    while (span := gaps.next_range(left, PERIOD, at_most, newest_first=newest_first)) is not None:
        part = instants([span])
        assert 1 <= len(part) <= at_most
        assert part <= instants(left)
        asked.append(span)
        left = gaps.without(left, [span], PERIOD)
    assert instants(asked) == times
    assert asked == sorted(asked, reverse=newest_first)


@pytest.mark.parametrize(
    ("newest_first", "span"), [(False, (0, 1800)), (True, (9900, 11_700))], ids=["oldest first", "newest first"]
)
def test_next_range_begins_at_the_end_that_is_asked_for(newest_first, span):
    assert gaps.next_range([(0, 4500), (9000, 11_700)], PERIOD, 3, newest_first=newest_first) == span


@pytest.mark.parametrize(("missing", "at_most"), [((), 5), (((0, 900),), 0)])
def test_next_range_of_nothing(missing, at_most):
    assert gaps.next_range(missing, PERIOD, at_most) is None


OFF, GONE = Absence.METER_OFF.value, Absence.OVERWRITTEN.value


@pytest.mark.parametrize(
    ("returned", "oldest", "newest", "reasons"),
    [
        pytest.param([0, 900, 1800, 2700, 3600, 4500], 0, 9000, [], id="whole"),
        pytest.param([0, 900, 3600, 4500], 0, 9000, [(1800, 2700, OFF)], id="off in between"),
        pytest.param([2700, 3600, 4500], 2700, 9000, [(0, 1800, GONE)], id="overwritten"),
        pytest.param([2700, 4500], 2700, 4500, [(0, 1800, GONE), (3600, 3600, OFF)], id="both"),
        pytest.param([2700, 3600, 4500], None, None, [], id="nothing proven below the first, ring unknown"),
        pytest.param([2700, 3600, 4500], 0, None, [(0, 1800, OFF)], id="ring reaches below: off"),
        pytest.param([0, 900], 0, 900, [], id="the rest is yet to be captured"),
        pytest.param([0, 900], 0, 9000, [(1800, 4500, OFF)], id="captured since: off"),
        pytest.param([], 5400, 9000, [(0, 4500, GONE)], id="all overwritten"),
        pytest.param([], None, None, [], id="an empty ring proves nothing"),
        pytest.param([], 9000, None, [(0, 4500, GONE)], id="ring begins above"),
        pytest.param([17, 900, 2700, 3600, 4500], 17, 9000, [(0, 0, GONE), (1800, 1800, OFF)], id="stray row"),
    ],
)
def test_reasons_of_absence(returned, oldest, newest, reasons):
    found = gaps.absences((0, 4500), returned, phase=0, period=PERIOD, oldest=oldest, newest=newest)
    assert list(found) == reasons


@given(grid_sets, st.integers(-50, 50), st.integers(-50, 50), st.data())
def test_absences_never_name_what_came_or_was_not_asked(ring, a, b, data):
    asked = (min(a, b) * PERIOD, max(a, b) * PERIOD)
    returned = {at for at in ring if asked[0] <= at <= asked[1]}
    lost = gaps.absences(asked, returned, phase=0, period=PERIOD, oldest=min(ring, default=None))
    named = instants(lost)
    assert not named & returned
    assert named <= set(range(asked[0], asked[1] + 1, PERIOD))
    for first, _, reason in lost:
        assert (reason == GONE) == (first < min(ring))


def test_asked_ends_need_not_stand_on_the_grid():
    found = gaps.absences((-5, 1000), (), phase=0, period=PERIOD, oldest=1800)
    assert found == ((0, 900, GONE),)
    assert gaps.absences((1, 899), (), phase=0, period=PERIOD, oldest=1800) == ()
    assert gaps.absences((0, 900), (), phase=0, period=0, oldest=1800) == ()


@pytest.mark.parametrize(
    ("times", "period", "midnight", "phase"),
    [
        pytest.param([0, 900], 900, 0, 0, id="with the face"),
        pytest.param([66_600, 153_000], 86_400, 66_600, 66_600, id="daily, at Indian midnight"),
        pytest.param([1800, 5400], 3600, 1800, 1800, id="hourly, on the Indian hour"),
        pytest.param([937], 900, 0, 0, id="one stray row proves nothing"),
        pytest.param([937, 1837, 2737], 900, 0, 37, id="a meter that counts from its own start"),
        pytest.param([900, 1800, 937, 1837], 900, 0, 0, id="a draw goes to the face"),
        pytest.param([], 900, 66_600, 0, id="no rows"),
    ],
)
def test_phase_of_the_grid(times, period, midnight, phase):
    assert gaps.phase_of(times, period, midnight) == phase


@given(st.integers(-5000, 5000), st.integers(-5000, 5000), st.integers(0, 899))
def test_snap_keeps_exactly_the_instants_on_the_grid(a, b, phase):
    span = (min(a, b), max(a, b))
    inside = [at for at in range(span[0], span[1] + 1) if gaps.on_grid(at, phase, PERIOD)]
    assert gaps.snap(span, phase, PERIOD) == ((inside[0], inside[-1]) if inside else None)


second_spans = st.lists(st.tuples(st.integers(0, 300), st.integers(0, 20)), max_size=8).map(
    lambda parts: gaps.merge([(first, first + length) for first, length in parts], 1)
)


@given(second_spans, second_spans)
def test_common_seconds_are_those_of_both(parts, others):
    def seconds(spans):
        return {at for first, last in spans for at in range(first, last + 1)}

    found = gaps.common(parts, others)
    assert seconds(found) == seconds(parts) & seconds(others)
    assert sum(last - first + 1 for first, last in found) == len(seconds(found)), "each once"


@pytest.mark.parametrize(
    ("times", "bounds", "whole"),
    [
        ([0, 3600], (900, 2700), (1, 3599)),
        ([3600, 17, 0, 5400], (900, 2700), (18, 3599)),
        ([0], (900, 2700), (1, 2700)),
        ([], (500, 4000), (500, 4000)),
        ([], (1000, 2000), (900, 2700)),
    ],
)
def test_a_hole_is_open_up_to_the_rows_beside_it(times, bounds, whole):
    assert gaps.opened((900, 2700), times, bounds) == whole


def test_what_is_missing_reaches_to_the_instants_beside_it():
    assert gaps.margins([(900, 1800), (4500, 4500)], PERIOD) == [(1, 2699), (3601, 5399)]
