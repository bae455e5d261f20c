"""Reading a ring by its ledger: history, gaps, absences, and when to come again."""

from datetime import timedelta

import pytest

from dcu import backfill, gaps
from dcu.field.ring import CAPTURE_GRACE_S, LATE_S, VISIT_S
from dcu.record import Stream
from tests.field.conftest import DAY_S


def test_the_first_visits_bring_the_whole_history(box, meter, now_s):
    meter.capture(now_s - DAY_S, now_s)
    box.visit()
    assert box.times() == list(range(now_s - DAY_S, now_s + 1, 900))
    assert box.state().held == ((now_s - DAY_S, now_s),)
    rows = backfill.bite_rows(3, 960.0)
    assert all(last - first <= (rows + 1) * 900 for first, last in meter.asked)
    assert meter.asked[0][1] == now_s, "the newest interval first: it is the one that is waited for"


def test_history_reaches_no_further_than_configured(box, meter, now_s):
    meter.block.entries = 10_000
    meter.capture(now_s - 60 * DAY_S, now_s)
    box.visit()
    assert box.state().since_s >= now_s - 35 * DAY_S


def test_values_travel_raw_and_in_the_meters_time(box, meter, now_s):
    meter.capture(now_s, now_s)
    box.visit()
    assert box.held() == [[now_s, *meter.block.rows[-1][1]]]


def test_a_due_visit_to_a_known_meter_is_one_poll(box, meter, clock, now_s):
    meter.capture(now_s - 3600, now_s)
    box.visit()
    meter.polls.clear()
    for n in range(1, 5):
        clock.advance(now_s + n * 900 + 5 - int(clock.now().timestamp()))
        meter.capture(now_s + n * 900, now_s + n * 900)
        box.visit()
    assert meter.asked == [(now_s + n * 900 - 899, now_s + n * 900) for n in range(1, 5)]
    assert len(meter.polls) == 4 and len(meter.described) == 1
    assert box.times()[-1] == now_s + 3600


def test_a_start_of_the_process_reads_nothing_again(box, meter, clock, now_s):
    meter.capture(now_s - 3600, now_s)
    box.visit()
    box.restart()
    meter.polls.clear()
    clock.advance(900)
    meter.capture(now_s + 900, now_s + 900)
    box.visit()
    assert len(meter.polls) == 1 and len(meter.described) == 1, "predicted from what the store knows of its clock"
    assert box.times()[-1] == now_s + 900


def test_an_interval_that_was_read_is_not_asked_again(box, meter, clock, now_s):
    meter.capture(now_s - 3600, now_s)
    box.visit()
    meter.polls.clear()
    clock.advance(60)
    box.visit()
    assert meter.asked == []


def test_a_gap_of_the_box_is_filled_and_nothing_is_stored_twice(box, meter, clock, now_s):
    meter.capture(now_s - 3600, now_s)
    box.visit()
    clock.advance(4 * 3600)
    meter.capture(now_s + 900, now_s + 4 * 3600)
    box.visit()
    assert box.times() == list(range(now_s - 3600, now_s + 4 * 3600 + 1, 900))


def test_intervals_that_the_meter_did_not_capture_are_explained_once(box, meter, now_s):
    meter.capture(now_s - 7200, now_s - 5400)
    meter.capture(now_s - 1800, now_s)
    box.visit()
    assert box.state().absent == ((now_s - 4500, now_s - 2700, "meter off"),)
    meter.polls.clear()
    box.visit()
    assert meter.asked == [], "what will never come is not asked again"


def test_a_hole_below_what_is_held_is_looked_into_once_and_explained(box, meter, clock, now_s):
    """The rows of an outage come as one answer, with the row before it."""
    meter.capture(now_s - 7200, now_s)
    box.visit()
    clock.advance(4 * 3600)
    meter.capture(now_s + 3 * 3600, now_s + 4 * 3600)
    meter.polls.clear()
    box.visit()
    assert box.state().absent == ((now_s + 900, now_s + 3 * 3600 - 900, "meter off"),)
    assert len(meter.asked) == 1


def test_intervals_that_the_ring_has_overwritten_are_explained_and_told(box, meter, clock, now_s):
    meter.capture(now_s - 3600, now_s)
    box.visit()
    clock.advance(10 * DAY_S)
    later = now_s + 10 * DAY_S
    meter.block.entries = 2 * 96 + 1
    meter.capture(now_s + 900, later)
    box.visit()
    [(first, last, reason)] = box.state().absent
    assert (first, last, reason) == (now_s + 900, later - 2 * DAY_S - 900, "overwritten")
    [told] = [alarm for alarm in box.records(Stream.ALARM) if alarm["kind"] == "rows-lost"]
    assert told["facts"]["intervals"] == 8 * 96 - 1 and told["facts"]["first"] == now_s + 900


def test_a_ring_that_begins_with_invalid_times_is_not_empty(box, meter, clock, now_s, monkeypatch):
    """Rows without a valid time never reach the visit: the first entries have none."""
    meter.capture(now_s - 9000, now_s)
    whole = meter.rows_of

    def without_the_first(want):
        rows = whole(want)
        return [row for row in rows if row.captured_at.epoch_s > now_s - 9000 + 5 * 900]

    monkeypatch.setattr(meter, "rows_of", without_the_first)
    box.visit()
    assert box.state().since_s == now_s - 9000 + 6 * 900


@pytest.mark.parametrize("newest_first", [False, True])
def test_the_order_of_the_buffer_is_read_from_the_meter(box, meter, clock, now_s, newest_first):
    meter.block.newest_first = newest_first
    meter.capture(now_s - DAY_S, now_s)
    box.visit()
    clock.advance(3 * DAY_S)
    meter.block.entries = 100
    meter.capture(now_s + DAY_S, now_s + 3 * DAY_S)
    box.visit()
    assert box.times() == sorted({*range(now_s - DAY_S, now_s + 1, 900), *meter.times})
    assert {reason for *_, reason in box.state().absent} == {"overwritten"}
    assert gaps.missing(box.state(), now_s + 3 * DAY_S) == ()


def test_the_newest_interval_may_come_late_and_is_asked_for_soon(box, meter, clock, now_s):
    meter.capture(now_s - 3600, now_s - 900)
    for late_s in LATE_S:
        assert box.visit() == pytest.approx(clock.monotonic_s() + late_s, abs=0.2)
        clock.advance(late_s)
    assert box.state().absent == ()
    assert box.visit() > clock.monotonic_s() + 120, "then with the next one"
    clock.advance(900 - 5 - 30 - 120 + 2)
    meter.capture(now_s, now_s)
    box.visit()
    assert box.state().held[-1][1] == now_s


def test_it_comes_again_when_the_next_row_is_due(box, meter, clock, now_s):
    meter.capture(now_s - 900, now_s)
    clock.wall += timedelta(seconds=100)
    meter.exchange_s = 0.0
    assert box.visit() == pytest.approx(clock.monotonic_s() + 800 + CAPTURE_GRACE_S)


def test_a_long_backlog_waits_for_spare_time_and_gives_the_others_their_turn(box, meter, clock, now_s):
    meter.capture(now_s - 20 * DAY_S, now_s)
    meter.exchange_s = 3.0
    box.visit(spare=False)
    assert len(meter.asked) == 1 and box.report.backlogs
    due = dict(box.report.next_s)
    for _ in range(3):
        began_s, before = clock.monotonic_s(), len(box.times())
        box.spare()
        assert clock.monotonic_s() - began_s <= VISIT_S + 2 * meter.exchange_s
        assert len(box.times()) > before
    assert box.report.next_s == due, "a spare visit is none of the due ones"


def test_what_the_ring_is_about_to_overwrite_does_not_wait_for_spare_time(box, meter, clock, now_s):
    meter.capture(now_s - DAY_S, now_s)
    box.visit()
    meter.block.entries = 8 * 96
    clock.advance(8 * DAY_S - 3600)
    meter.capture(now_s + 900, now_s + 8 * DAY_S - 3600)
    box.store.transact(lambda tx: tx.note_stale("GXT00000001"))  # so that the extent is read
    box.restart()
    box.visit(spare=False)
    assert {first for first, _ in box.state().held} == {now_s - DAY_S, box.state().held[-1][0]}
    assert box.state().held[0][1] > now_s + 20 * 900, "oldest first, in the due visit itself"
    assert box.state().held[-1][1] == now_s + 8 * DAY_S - 3600, "and the newest before it"


def test_an_empty_ring_is_expected_from_its_next_boundary_on(box, meter, now_s):
    box.visit()
    assert (box.state().since_s, meter.asked) == (now_s + 900, [])
    assert box.held() == []


def test_profiles_go_into_the_profile_stream(box, meter, store, now_s):
    meter.capture(now_s, now_s)
    box.visit()
    assert store.transact(lambda tx: tx.cursors())[Stream.PROFILE] == (0, 1)


def test_a_ring_without_a_capture_period_is_told(box, meter, now_s):
    meter.block.period = 0
    box.visit()
    [fault] = box.report.faults.values()
    assert "capture period is 0" in str(fault)
