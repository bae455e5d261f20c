"""What the soak found: gaps that no single answer proves, rings that were emptied, rows between two grids."""

import pytest

from dcu import gaps
from dcu.causes import Happening
from dcu.gaps import Absence
from tests.field.conftest import BLOCK, DAY_S, SERIAL


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


def on_the_hour(box, meter, clock, now_s):
    """A box that has read all up to the last hour, in India."""
    now_s -= (now_s + 19_800) % 3600
    clock.advance(now_s + 60 - clock.now().timestamp())
    meter.capture(now_s - 3600, now_s)
    box.visit()
    return now_s


def every_hour(box, meter, clock, hours):
    """The meter captures by the hour from now on, and is visited."""
    meter.block.period = 3600
    for _ in range(hours):
        clock.advance(3600)
        at = meter.now_s() - (meter.now_s() + 19_800) % 3600
        meter.capture(at, at)
        box.visit()


def why(store, at):
    """What the ledger says of a second, whatever the capture period is."""
    query = "SELECT reason FROM absent WHERE first_s <= ? AND ? <= last_s"
    return [reason for (reason,) in store.transact(lambda tx: tx._ledger._database.rows(query, (at, at)))]


def test_what_was_not_captured_before_the_period_grew_is_explained_too(box, meter, clock, store, now_s):
    """Half an hour without power, between two hours that are held: nothing is missing of the new grid."""
    now_s = on_the_hour(box, meter, clock, now_s)
    clock.advance(4 * 3600)
    meter.capture(now_s + 900, now_s + 2 * 3600)
    meter.capture(now_s + 3 * 3600 - 900, now_s + 4 * 3600)
    every_hour(box, meter, clock, 3)
    assert [why(store, now_s + 2 * 3600 + n * 900) for n in (1, 2)] == [["meter off"]] * 2, "surely of the old grid"
    assert {reason for n in (1, 2, 3) for reason in why(store, now_s + 4 * 3600 + n * 900)} == {"other period"}
    assert box.state().unsettled == ()
    assert box.times() == sorted(meter.times)


def test_what_was_overwritten_before_the_period_grew_is_told(box, meter, clock, store, now_s):
    """The ring was emptied while the box was away: of its quarters nobody would ask any more."""
    now_s = on_the_hour(box, meter, clock, now_s)
    meter.block.rows.clear()
    clock.advance(120)
    every_hour(box, meter, clock, 3)
    assert [why(store, now_s + n * 900) for n in (1, 2, 3)] == [["overwritten"]] * 3
    assert "rows-lost" in box.alarms()
    assert box.state().unsettled == ()


def test_after_a_restart_it_is_still_known_what_an_earlier_period_left_open(box, meter, clock, store, now_s):
    """The meter was replaced before the earlier grid was settled: that is why it never comes."""
    now_s = on_the_hour(box, meter, clock, now_s)
    clock.advance(4 * 3600)
    layout, until_s = meter.block.layout, now_s + 4 * 3600
    store.transact(lambda tx: tx.describe(SERIAL, BLOCK.logical_name, layout, 3600, now_s, until_s=until_s))
    box.restart()
    [open_] = box.state().unsettled
    assert (open_.first_s, open_.last_s, open_.before_s) == (now_s + 900, until_s, now_s)
    store.transact(lambda tx: tx.settle("pole/17", SERIAL, now_s))
    store.transact(lambda tx: tx.settle("pole/17", "GXT00000002", until_s))
    assert [why(store, now_s + n * 900) for n in range(1, 15)] == [["meter replaced"]] * 14


def test_a_clock_set_back_while_the_box_was_off_is_passed_again_from_the_newest_row(box, meter, clock, now_s):
    """How long ago that was is not known after a restart; a row that was read may have come again with other values."""
    meter.capture(now_s - 3600, now_s)
    box.visit()
    box.restart()
    meter.ahead_s = -3600
    for at in range(now_s - 1800, now_s + 6301, 900):
        meter.block.put(at, 9, 9)
    clock.advance(3 * 3600)
    box.visit()
    again = [row for record in box.records() for row in record["rows"] if row[1:] == [9, 9]]
    assert [at for at, *_ in again if at <= now_s] == [now_s - 1800, now_s - 900, now_s]
