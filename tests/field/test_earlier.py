"""Grids that were in force before a capture period was found changed: what is asked of them, and what is doubtful."""

import pytest

from dcu.field.earlier import never, next_unsettled, proven, window
from dcu.gaps import EarlierGrid, Unsettled
from dcu.ports import ProfileState

QUARTER, HOUR = 900, 3600
DAY = 86_400
GRID = EarlierGrid(QUARTER, DAY + QUARTER, DAY + 6 * HOUR, sure_s=DAY + 2 * HOUR - QUARTER)


def state(*unsettled, period_s=HOUR, earlier=(GRID,), is_shown=True):
    return ProfileState(
        period_s, DAY, ((DAY, DAY),), (), None, is_shown=is_shown, earlier=earlier, unsettled=tuple(unsettled)
    )


def test_what_has_a_row_behind_it_is_asked_with_both_its_rows():
    tail = Unsettled(GRID, DAY + 9 * QUARTER, DAY + 11 * QUARTER, DAY + 2 * HOUR, None)
    inner = Unsettled(GRID, DAY + QUARTER, DAY + 3 * QUARTER, DAY, DAY + HOUR)
    now_s = DAY + 4 * HOUR
    assert next_unsettled(state(tail, inner), now_s, []) is inner
    assert window(inner) == (DAY, DAY + HOUR)
    assert next_unsettled(state(tail, inner), now_s, [inner.first_s]) is None, "in vain, and nothing behind the tail"
    assert next_unsettled(state(inner), DAY + 60, []) is None, "of a time that the clock has not reached"
    assert next_unsettled(state(inner, is_shown=False), now_s, []) is None, "nobody can tell the grids apart yet"


@pytest.mark.parametrize(
    ("times", "spans"),
    [
        ([DAY, DAY + HOUR], [(DAY + 1, DAY + HOUR - 1)]),
        ([DAY + HOUR, DAY, DAY + 2 * QUARTER], [(DAY + 1, DAY + 1799), (DAY + 1801, DAY + HOUR - 1)]),
        ([DAY + QUARTER * n for n in range(5)], []),
        ([DAY, DAY + QUARTER, DAY + 2 * QUARTER], None),
        ([DAY + HOUR], None),
        ([], None),
    ],
)
def test_between_the_rows_of_one_answer_nothing_was_captured(times, spans):
    assert proven(Unsettled(GRID, DAY + QUARTER, DAY + 3 * QUARTER, DAY, DAY + HOUR), times) == spans


def test_an_instant_is_doubtful_where_a_grid_that_may_have_been_in_force_lacks_it():
    sure = (DAY + HOUR + 1, DAY + 2 * HOUR - QUARTER - 1)
    assert never(sure, DAY, QUARTER, state()) == (), "a later row shows that quarters were still captured"
    hole = (DAY + 2 * HOUR + 1, DAY + 3 * HOUR - 1)
    assert never(hole, DAY, QUARTER, state()) == (hole,), "it may have been hourly by then"
    assert never(hole, DAY, HOUR, state()) == (), "no instant of the hour's grid"
    assert never((DAY + 2 * HOUR + 1, DAY + 4 * HOUR - 1), DAY, QUARTER, state()) == (
        (DAY + 2 * HOUR + 1, DAY + 3 * HOUR - 1),
        (DAY + 3 * HOUR + QUARTER, DAY + 4 * HOUR - 1),
    ), "on the hour it was an interval either way"


def test_when_the_period_shrank_the_new_instants_of_that_time_are_doubtful():
    grown = EarlierGrid(HOUR, DAY + HOUR, DAY + 2 * HOUR)
    found = never((DAY + HOUR + 1, DAY + 3 * HOUR), DAY, QUARTER, state(period_s=QUARTER, earlier=(grown,)))
    assert found == ((DAY + HOUR + 1, DAY + 2 * HOUR - 1),)
