"""What the soak found: gaps that no single answer proves, rings that were emptied, rows between two grids."""

import pytest

from dcu import gaps
from dcu.causes import Happening
from dcu.gaps import Absence
from tests.field.conftest import DAY_S, SERIAL


@pytest.mark.parametrize("newest_first", [False, True])
def test_an_outage_longer_than_one_answer_is_explained(box, meter, clock, now_s, newest_first):
    """Of each of its ranges only the row beside it comes."""
    meter.block.newest_first = newest_first
    meter.capture(now_s - 3600, now_s)
    box.visit()
    clock.advance(5 * DAY_S)
    meter.capture(now_s + 5 * DAY_S, now_s + 5 * DAY_S)
    box.visit()
    assert box.state().absent == ((now_s + 900, now_s + 5 * DAY_S - 900, "meter off"),)


@pytest.mark.parametrize("newest_first", [False, True])
def test_a_ring_that_was_emptied_has_overwritten_what_was_not_read(box, meter, clock, now_s, newest_first):
    """A firmware with other columns clears it; the first row behind that shows it."""
    meter.block.newest_first = newest_first
    meter.capture(now_s - 3600, now_s)
    box.visit()
    clock.advance(3600)
    meter.block.rows.clear()
    box.visit()
    clock.advance(900)
    meter.capture(now_s + 4500, now_s + 4500)
    box.visit()
    assert box.state().absent == ((now_s + 900, now_s + 3600, "overwritten"),)


@pytest.mark.parametrize("more_s", [0, 1800])
def test_rows_between_two_grids_are_asked_for(box, meter, clock, now_s, more_s):
    """Half of the backlog was asked by the old grid, and half by the new one."""
    now_s -= (now_s + 19_800) % 3600  # on the hour in India
    meter.block.period = 1800
    meter.capture(now_s - DAY_S + more_s, now_s - 3600)
    clock.advance(now_s - 3600 + 60 - clock.now().timestamp())
    box.visit()
    clock.advance(3 * DAY_S)
    meter.capture(now_s - 1800, now_s + 3 * DAY_S - 7200)
    meter.block.period = 3600
    meter.capture(now_s + 3 * DAY_S - 3600, now_s + 3 * DAY_S - 3600)
    box.visit()
    assert box.times() == sorted(meter.times)
    assert gaps.missing(box.state(), now_s + 3 * DAY_S - 3600) == ()


def test_before_a_new_meters_first_row_its_power_log_says_more_than_its_ring(box, meter, clock, store, now_s):
    """Its ring is empty below that row, which looks as if it had gone round."""
    clock.advance(now_s + 10 - clock.now().timestamp())
    box.visit()
    clock.advance(7200)
    meter.capture(now_s + 5400, now_s + 7200)
    box.visit()
    assert box.state().absent == ((now_s + 900, now_s + 4500, "overwritten"),)
    off = Happening(Absence.METER_OFF, now_s + 1000, now_s + 4000)
    store.transact(lambda tx: tx.note_happening(SERIAL, off))
    expected = (
        (now_s + 900, now_s + 900, "overwritten"),
        (now_s + 1800, now_s + 3600, "meter off"),
        (now_s + 4500, now_s + 4500, "overwritten"),
    )
    assert box.state().absent == expected
