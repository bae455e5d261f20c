"""What earlier grids leave open is worked out span by span, and is what each instant by itself says."""

import sqlite3
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from dcu import gaps
from dcu.gaps import EarlierGrid, Unsettled
from dcu.store.absences import Absences
from dcu.store.earlier import EarlierGrids
from dcu.store.instants import Instants

PROFILE, SINCE_S = 1, 7 * 86_400
PERIODS = st.sampled_from([60, 300, 600, 900, 1800, 3600])


class Tables:
    """Rows of the tables that are read, without the store around them."""

    def __init__(self, strays, absent):
        self._file = sqlite3.connect(":memory:")
        self._file.execute("CREATE TABLE stray (profile, at_s)")
        self._file.execute("CREATE TABLE absent (profile, first_s, last_s, reason)")
        self._file.executemany("INSERT INTO stray VALUES (1, ?)", [(at,) for at in strays])
        self._file.executemany("INSERT INTO absent VALUES (1, ?, ?, 'meter off')", absent)

    def rows(self, query, values):
        return self._file.execute(query, values).fetchall()


@st.composite
def ledgers(draw):
    """(held, its period, strays, absent, an earlier grid)."""
    period, phase = draw(PERIODS), draw(st.sampled_from([0, 0, 300, 37]))
    seconds = st.integers(0, 40_000)
    some = st.lists(st.tuples(seconds, seconds).map(sorted), max_size=4)
    snapped = [gaps.snap((SINCE_S + a, SINCE_S + b), SINCE_S + phase, period) for a, b in draw(some)]
    held = gaps.merge([span for span in snapped if span is not None], period)
    absent = gaps.merge([(SINCE_S + a, SINCE_S + b) for a, b in draw(some)], 1)
    earlier_s, shift_s = draw(PERIODS), draw(st.sampled_from([0, 0, 600, 37]))
    first_s = SINCE_S + 3600 + shift_s
    grid = EarlierGrid(earlier_s, first_s, draw(st.integers(first_s - 1000, first_s + 30_000)))
    rows = {at for span in held for at in gaps.expected(*span, period)}
    near = st.integers(-4, 45_000 // earlier_s).map(lambda n: first_s + n * earlier_s)
    strays = set(draw(st.lists(near | seconds.map(lambda at: SINCE_S + at), max_size=6))) - rows
    return held, period, sorted(strays), absent, grid


def instant_by_instant(held, period, strays, absent, grid):
    """What is open of the grid, and between what rows."""
    rows = sorted({*strays, *(at for span in held for at in gaps.expected(*span, period))})
    found = []
    for at in gaps.expected(grid.from_s, grid.until_s, grid.period_s):
        if at in rows or any(first <= at <= last for first, last in absent):
            continue
        if found and (found[-1].behind_s is None or at < found[-1].behind_s):
            found[-1] = replace(found[-1], last_s=at)
        else:
            before_s = max((each for each in rows if each < at), default=None)
            behind_s = min((each for each in rows if each > at), default=None)
            found.append(Unsettled(grid, at, at, before_s, behind_s))
    return found


@given(ledgers())
def test_what_is_open_is_what_each_instant_by_itself_says(ledger):
    held, period, strays, absent, grid = ledger
    tables = Tables(strays, absent)
    grids = EarlierGrids(tables, Instants(tables), Absences(tables))
    assert grids.unsettled(PROFILE, held, period, grid) == instant_by_instant(*ledger)
