"""Reading a ring by its ledger: history, gaps, absences, and when to come again."""

from datetime import timedelta

import cbor2
import pytest

from dcu import obis
from dcu.field.ring import BITE_ROWS, CAPTURE_GRACE_S, VISIT_S, read_ring
from dcu.meter import ProfileKind, ProfileSpec
from dcu.reading import date_time, meter_time
from dcu.record import Stream
from tests.field.conftest import IST, LAYOUT, SERIAL

SPEC = ProfileSpec("block-load", obis.BLOCK_LOAD, obis.BLOCK_LOAD_SCALERS, ProfileKind.RING)
DAY_S = 86400


def visit(meter, scene, ahead_s=5):
    """Come `ahead_s` seconds after the meter's last capture."""
    return read_ring(meter, SPEC, LAYOUT, meter_time(date_time(scene.clock.now(), IST), IST), scene)


def held(store):
    def read(tx):
        slice_ = tx.next_batch({}, 10**9)
        return [] if slice_ is None else [row for body in slice_.bodies for row in cbor2.loads(body)["rows"]]

    return store.transact(read)


def state(store):
    return store.transact(lambda tx: tx.profile(SERIAL, obis.BLOCK_LOAD))


@pytest.fixture
def now_s(clock):
    return int(clock.now().timestamp()) // 900 * 900


def test_the_first_visit_brings_the_whole_history(meter, scene, store, now_s):
    meter.capture(now_s - DAY_S, now_s)
    visit(meter, scene)
    assert sorted(at for at, *_ in held(store)) == list(range(now_s - DAY_S, now_s + 1, 900))
    assert state(store).held == ((now_s - DAY_S, now_s),)
    assert all(last - first <= (BITE_ROWS - 1) * 900 for first, last in meter.asked)
    assert meter.asked[0][1] == now_s, "the newest interval first: it is the one that is waited for"


def test_history_reaches_no_further_than_configured(meter, scene, store, clock, now_s):
    meter.capture(now_s - 60 * DAY_S, now_s)
    meter.exchange_s = 0.0
    visit(meter, scene)
    assert state(store).since_s >= now_s - 35 * DAY_S


def test_values_travel_raw_and_in_the_meters_time(meter, scene, store, now_s):
    meter.capture(now_s, now_s)
    visit(meter, scene)
    assert held(store) == [[now_s, *meter.rows_held[now_s]]]


def test_an_interval_that_was_read_is_not_asked_again(meter, scene, store, clock, now_s):
    meter.capture(now_s - 3600, now_s)
    visit(meter, scene)
    meter.asked.clear()
    clock.advance(60)
    visit(meter, scene)
    assert meter.asked == []
    clock.advance(900)
    meter.capture(now_s + 900, now_s + 900)
    visit(meter, scene)
    assert meter.asked == [(now_s + 900, now_s + 900)]


def test_a_gap_of_the_box_is_filled_and_nothing_is_stored_twice(meter, scene, store, clock, now_s):
    meter.capture(now_s - 3600, now_s)
    visit(meter, scene)
    clock.advance(4 * 3600)
    meter.capture(now_s + 900, now_s + 4 * 3600)
    visit(meter, scene)
    times = [at for at, *_ in held(store)]
    assert sorted(times) == list(range(now_s - 3600, now_s + 4 * 3600 + 1, 900))
    assert len(times) == len(set(times))


def test_intervals_that_the_meter_did_not_capture_are_explained_once(meter, scene, store, clock, now_s):
    meter.capture(now_s - 7200, now_s - 5400)
    meter.capture(now_s - 1800, now_s)
    visit(meter, scene)
    assert state(store).absent == ((now_s - 4500, now_s - 2700, "meter off"),)
    meter.asked.clear()
    visit(meter, scene)
    assert meter.asked == [], "what will never come is not asked again"


def test_intervals_that_the_ring_has_overwritten_are_explained(meter, scene, store, clock, now_s):
    meter.capture(now_s - 3600, now_s)
    visit(meter, scene)
    clock.advance(10 * DAY_S)
    later = now_s + 10 * DAY_S
    meter.rows_held.clear()
    meter.capture(later - 2 * DAY_S, later)
    visit(meter, scene)
    [(first, last, reason)] = state(store).absent
    assert (first, last, reason) == (now_s + 900, later - 2 * DAY_S - 900, "overwritten")


def test_the_newest_interval_may_come_late_and_is_not_given_up(meter, scene, store, clock, now_s):
    meter.capture(now_s - 3600, now_s - 900)
    visit(meter, scene)
    assert state(store).absent == ()
    meter.capture(now_s, now_s)
    visit(meter, scene)
    assert state(store).held[-1][1] == now_s


def test_it_comes_again_when_the_next_row_is_due(meter, scene, clock, now_s):
    meter.capture(now_s - 900, now_s)
    clock.wall += timedelta(seconds=100)
    assert visit(meter, scene) == pytest.approx(clock.monotonic_s() + 800 + CAPTURE_GRACE_S)


def test_a_long_backlog_gives_the_others_their_turn(meter, scene, store, clock, now_s):
    meter.capture(now_s - 20 * DAY_S, now_s)
    meter.exchange_s = 3.0
    next_s = visit(meter, scene)
    assert len(meter.asked) <= VISIT_S / 3.0 + 1
    assert next_s == clock.monotonic_s(), "and it is due again at once"
    before = len(held(store))
    visit(meter, scene)
    assert len(held(store)) > before


def test_an_empty_ring_is_expected_from_its_next_boundary_on(meter, scene, store, clock, now_s):
    visit(meter, scene)
    assert (state(store).since_s, meter.asked) == (now_s + 900, [])
    assert held(store) == []


def test_profiles_go_into_the_profile_stream(meter, scene, store, now_s):
    meter.capture(now_s, now_s)
    visit(meter, scene)
    assert store.transact(lambda tx: tx.cursors())[Stream.PROFILE] == (0, 1)
