"""The gap ledger in a real file: every row exactly once, whatever overlaps, restarts or changes."""

import sqlite3
from contextlib import closing

import cbor2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from running_store import LAYOUT, reading, row, running

from dcu import gaps, obis
from dcu.gaps import Absence
from dcu.obis import LogicalName
from dcu.ports import ProfileState
from dcu.reading import ClockState, Column, ProfileReading
from dcu.record import Stream
from dcu.store.transaction import MAX_RECORD_BYTES

BILLING = LogicalName.of("1.0.98.1.0.255")
DAY = 1_795_305_600 - 19_800  # a midnight in India
LOAD, SERIAL = obis.BLOCK_LOAD, "GXT1"


def describe(store, period_s=900, since_s=DAY, layout=LAYOUT, profile=LOAD):
    store.transact(lambda tx: tx.describe(SERIAL, profile, layout, period_s, since_s))


def admit(store, times, **options):
    return [r.captured_at.epoch_s for r in store.transact(lambda tx: tx.admit(reading(times, **options))).rows]


def known(store, profile=LOAD):
    return store.transact(lambda tx: tx.profile(SERIAL, profile))


def note(store, first_s, last_s, reason="meter off"):
    store.transact(lambda tx: tx.note_absent(SERIAL, LOAD, first_s, last_s, reason))


def delivered(store, stream=Stream.PROFILE):
    """Every row of the stream, as the head-end would count them."""
    rows, handed = [], 0
    while True:
        after = {other: 10**9 for other in Stream if other is not stream} | {stream: handed}
        part = store.transact(lambda tx, after=after: tx.next_batch(after, 100_000))
        if part is None:
            return rows
        handed = part.first + len(part.bodies) - 1
        for body in part.bodies:
            record = cbor2.loads(body)
            rows += [(record["meter"], record["profile"], at) for at, *_ in record["rows"]]


def slots(*numbers):
    return [DAY + 900 * n for n in numbers]


def test_what_is_described_is_known(store):
    assert known(store) is None
    describe(store)
    assert known(store) == ProfileState(900, DAY, (), (), LAYOUT)
    describe(store, since_s=DAY + 90_000)
    assert known(store).since_s == DAY, "since is kept from the first time"
    wider = (*LAYOUT, Column(3, LogicalName.of("1.0.2.29.0.255"), 2, -1, 30))
    describe(store, layout=wider)
    assert known(store).layout == wider


def test_rows_come_in_once_and_the_record_holds_only_the_new_ones(store):
    describe(store)
    assert admit(store, slots(0, 1, 2)) == slots(0, 1, 2)
    assert admit(store, slots(0, 1, 2)) == []
    assert admit(store, slots(4, 1, 3, 3)) == slots(4, 3)
    assert delivered(store) == [(SERIAL, str(LOAD), at) for at in slots(0, 1, 2, 4, 3)]
    assert store.transact(lambda tx: tx.cursors())[Stream.PROFILE] == (0, 2), "no record without a new row"
    assert known(store).held == ((DAY, DAY + 3600),)


def test_of_two_rows_with_one_time_both_are_kept_once(store):
    describe(store)
    twice = ProfileReading(SERIAL, LOAD, LAYOUT, (row(DAY, 1), row(DAY, 2)), reading([]).read_at, ClockState.TRUSTED)
    let_in = store.transact(lambda tx: tx.admit(twice))
    assert ([r.values for r in let_in.rows], let_in.again) == ([(1,), (2,)], ((1, 1),))
    assert store.transact(lambda tx: tx.admit(twice)).rows == ()


def test_meters_and_profiles_do_not_mix(store):
    assert admit(store, [DAY]) == admit(store, [DAY], serial="GXT2") == admit(store, [DAY], profile=obis.DAILY_LOAD)
    assert admit(store, [DAY], serial="0GXT1") == [DAY]


def test_billing_rows_have_their_own_stream(store):
    bills = reading([DAY + 17, DAY + 86_417], profile=BILLING)
    assert store.transact(lambda tx: tx.admit_bills(bills)).rows == bills.rows
    assert store.transact(lambda tx: tx.admit_bills(bills)).rows == ()
    assert store.transact(lambda tx: tx.holds(bills, bills=True)) == (True, True)
    assert [at for _, _, at in delivered(store, Stream.BILLING)] == [DAY + 17, DAY + 86_417]
    assert delivered(store) == []


def test_the_ledger_and_the_record_stand_or_fall_together(store):
    describe(store)

    def broken(tx):
        tx.admit(reading(slots(0, 1)))
        raise LookupError

    with pytest.raises(LookupError):
        store.transact(broken)
    assert known(store).held == () and delivered(store) == []
    assert admit(store, slots(0, 1)) == slots(0, 1)


def test_rows_before_the_description_are_held_after_it(store):
    assert admit(store, [*slots(0, 1), DAY + 17]) == [*slots(0, 1), DAY + 17]
    assert known(store) is None
    describe(store)
    assert admit(store, [*slots(0, 1, 2), DAY + 17]) == slots(2)
    assert known(store).held == ((DAY, DAY + 1800),)


def test_rows_off_the_grid_are_let_in_once_and_fill_no_interval(store):
    describe(store)
    assert admit(store, [DAY, DAY + 900, DAY + 1001]) == [DAY, DAY + 900, DAY + 1001]
    assert admit(store, [DAY + 1001, DAY + 1002]) == [DAY + 1002]
    assert known(store).held == ((DAY, DAY + 900),)
    assert gaps.missing(known(store), DAY + 1800) == ((DAY + 1800, DAY + 1800),)


def test_since_is_moved_up_to_the_grid_that_the_rows_show(store):
    describe(store, since_s=DAY - 33)
    assert known(store).since_s == DAY - 33
    admit(store, slots(1))
    assert known(store).since_s == DAY
    assert gaps.missing(known(store), DAY + 1800) == ((DAY, DAY), (DAY + 1800, DAY + 1800))


def test_the_day_of_a_daily_profile_begins_at_the_meters_midnight(store):
    describe(store, period_s=86_400, since_s=DAY - 200_000, profile=obis.DAILY_LOAD)
    admit(store, [DAY, DAY + 86_400], profile=obis.DAILY_LOAD)
    state = known(store, obis.DAILY_LOAD)
    assert (state.since_s, state.held) == (DAY - 2 * 86_400, ((DAY, DAY + 86_400),))


def test_absent_intervals_are_not_missing_and_a_late_row_still_comes_in(store):
    describe(store)
    admit(store, slots(0, 5))
    note(store, *slots(0, 4))
    assert known(store).absent == ((*slots(1, 4), "meter off"),), "held ones inside stay held"
    assert gaps.missing(known(store), DAY + 4500) == ()
    assert admit(store, slots(2)) == slots(2)
    assert known(store).absent == ((*slots(1, 1), "meter off"), (*slots(3, 4), "meter off"))
    note(store, *slots(4, 7), reason="overwritten")
    assert known(store).absent == (
        (*slots(1, 1), "meter off"),
        (*slots(3, 3), "meter off"),
        (*slots(4, 4), "overwritten"),
        (*slots(6, 7), "overwritten"),
    )
    note(store, *slots(3, 3), reason="overwritten")
    assert known(store).absent[1:] == ((*slots(3, 4), "overwritten"), (*slots(6, 7), "overwritten"))


@pytest.mark.parametrize("span", [(DAY + 1, DAY + 899), (DAY + 900, DAY)], ids=["between two", "backwards"])
def test_nothing_absent_in_an_empty_range(store, span):
    describe(store)
    note(store, *span)
    assert known(store).absent == ()


def test_absence_is_forgotten_where_nothing_is_known(store):
    note(store, DAY, DAY)
    assert known(store) is None
    describe(store, period_s=0)
    note(store, DAY, DAY)
    assert known(store).absent == ()


@pytest.mark.parametrize("period_s", [300, 1800, 3600, 700])
def test_after_another_period_no_row_comes_twice(path, period_s):
    old = slots(0, 1, 2, 3, 8, 9)
    with running(path) as it:
        describe(it.store)
        admit(it.store, [*old, DAY + 1001])
        note(it.store, *slots(4, 7))
        describe(it.store, period_s=period_s)
    new = [DAY + period_s * n for n in range(40, 60)]
    with running(path) as it:
        assert admit(it.store, [*old, DAY + 1001, *new]) == new
        state = known(it.store)
        assert state.period_s == period_s
        grid = set(gaps.expected(state.since_s, new[-1], period_s))
        held = {at for span in state.held for at in gaps.expected(*span, period_s)}
        assert held == grid.intersection([*old, DAY + 1001, *new])
        assert all(reason in {"meter off", Absence.OTHER_PERIOD.value} for _, _, reason in state.absent)
        named = {at for first, last, _ in state.absent for at in gaps.expected(first, last, period_s)}
        assert not named & held and named <= grid
        left = {at for span in gaps.missing(state, new[-1]) for at in gaps.expected(*span, period_s)}
        assert left == {
            at for at in grid - held if at > DAY + 8100 or DAY + 6300 < at < DAY + 7200 or 2700 < at - DAY < 3600
        }
        describe(it.store)
        assert admit(it.store, [*old, *new]) == []


def test_what_was_absent_of_a_finer_grid_stays_explained(path):
    """Half past is no interval any more, and was one: why it is absent is still known."""

    def why(at):
        with closing(sqlite3.connect(path)) as file:
            found = file.execute("SELECT reason FROM absent WHERE first_s <= :at AND :at <= last_s", {"at": at})
            return sorted({reason for (reason,) in found} - {"other period"})

    with running(path) as it:
        describe(it.store)
        admit(it.store, slots(0, 1, 7, 8, 10))
        note(it.store, *slots(2, 6))
        note(it.store, *slots(9, 9), reason="clock set")
    for period_s in (3600, 900):
        with running(path) as it:
            describe(it.store, period_s=period_s)
            admit(it.store, [DAY + 36_000 + period_s, DAY + 36_000 + 2 * period_s])
            state = known(it.store)
        ends = {each for first, last, _ in state.absent for each in (first, last)}
        assert {(each - state.since_s) % period_s for each in ends} == {0}
        assert [why(at) for at in slots(2, 6, 9)] == [["meter off"], ["meter off"], ["clock set"]]
        assert [why(at) for at in slots(1, 7, 8, 10)] == [[]] * 4
    assert {(*slots(2, 6), "meter off"), (*slots(9, 9), "clock set")} <= {*state.absent}


def test_until_rows_show_another_grid_nothing_that_is_known_is_forgotten(path):
    """The period changes, and what is noted before its first row may be of a grid that is none."""
    with running(path) as it:
        describe(it.store)
        admit(it.store, slots(0, 1, 6, 7))
        note(it.store, *slots(2, 5))
        describe(it.store, period_s=1800)
        note(it.store, *slots(0, 12), reason="overwritten")
        it.store.transact(lambda tx: tx.forget_absent(SERIAL, LOAD, slots(11)[0]))
    with closing(sqlite3.connect(path)) as file:
        found = file.execute("SELECT first_s, last_s, reason FROM absent").fetchall()
    why = {n: {reason for first, last, reason in found if first <= DAY + 900 * n <= last} for n in range(13)}
    assert [n for n in why if "meter off" in why[n]] == [2, 3, 4, 5]
    assert [n for n in why if "overwritten" in why[n]] == [8, 9, 10, 11]


def test_a_poll_moves_the_end_of_one_span(store):
    describe(store)
    for n in range(50):
        admit(store, slots(n))
    assert known(store).held == ((DAY, DAY + 49 * 900),)


def test_a_reading_too_large_for_a_frame_becomes_several_records(store):
    describe(store)
    rows = tuple(row(DAY + 900 * n, b"x" * 100) for n in range(2976))
    month = ProfileReading(SERIAL, LOAD, LAYOUT, rows, reading([]).read_at, ClockState.TRUSTED)
    assert len(store.transact(lambda tx: tx.admit(month)).rows) == 2976
    assert [at for _, _, at in delivered(store)] == [r.captured_at.epoch_s for r in rows]
    part = store.transact(lambda tx: tx.next_batch({}, 10**6))
    assert len(part.bodies) > 1 and max(map(len, part.bodies)) <= MAX_RECORD_BYTES


times = st.one_of(st.integers(0, 60).map(lambda n: DAY + 900 * n), st.integers(DAY, DAY + 54_000))
chunk = st.lists(times, max_size=15)
step = st.one_of(
    chunk,
    st.sampled_from(["restart", "describe", "fail"]),
    st.tuples(st.integers(0, 60), st.integers(0, 10)).map(lambda ab: (ab[0], ab[0] + ab[1])),
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(step, max_size=14))
def test_every_row_reaches_the_stream_exactly_once(tmp_path_factory, steps):
    path = tmp_path_factory.mktemp("ledger") / "dcu.db"
    let_in, current = [], running(path)
    it = current.__enter__()
    try:
        for what in steps:
            if what == "restart":
                current.__exit__(None, None, None)
                current = running(path)
                it = current.__enter__()
            elif what == "describe":
                describe(it.store)
            elif what == "fail":
                with pytest.raises(ZeroDivisionError):
                    it.store.transact(lambda tx: (tx.admit(reading([DAY, DAY + 7])), 1 // 0))
            elif isinstance(what, tuple):
                note(it.store, *slots(*what))
            else:
                expected = [at for at in dict.fromkeys(what) if at not in let_in]
                assert admit(it.store, what) == expected
                let_in += expected
        assert [at for _, _, at in delivered(it.store)] == let_in
        state = known(it.store)
        if state is not None and state.held:
            held = {at for span in state.held for at in gaps.expected(*span, 900)}
            assert held == {at for at in let_in if (at - DAY) % 900 == (state.since_s - DAY) % 900}
            named = [at for first, last, _ in state.absent for at in gaps.expected(first, last, 900)]
            assert len(named) == len(set(named)) and not held.intersection(named)
    finally:
        current.__exit__(None, None, None)


def test_what_was_missing_when_the_period_changed_stays_to_be_settled(path):
    """It outlives a start of the process; rows that come and reasons that are found settle it, in any order."""
    with running(path) as it:
        describe(it.store)
        admit(it.store, slots(0, 1, 6))
        it.store.transact(lambda tx: tx.describe(SERIAL, LOAD, LAYOUT, 3600, DAY, until_s=slots(9)[0] + 17))
        assert not known(it.store).is_shown
        admit(it.store, slots(4, 8, 12))
    with running(path) as it:
        state = known(it.store)
        assert (state.is_shown, state.held) == (True, (tuple(slots(0, 12)),))
        [grid] = state.earlier
        assert (grid.period_s, grid.until_s, grid.sure_s) == (900, slots(9)[0] + 17, slots(6)[0])
        found = [(each.first_s, each.last_s, each.before_s, each.behind_s) for each in state.unsettled]
        assert found == [
            (*slots(2, 3), *slots(1, 4)),
            (*slots(5, 5), *slots(4, 6)),
            (*slots(7, 7), *slots(6, 8)),
            (*slots(9, 9), *slots(8, 12)),
        ]
        assert admit(it.store, slots(5, 3)) == slots(5, 3)
        note(it.store, *slots(7, 8))
        note(it.store, slots(1)[0] + 1, slots(3)[0] - 1, reason="clock set")
        it.store.transact(lambda tx: tx.note_absent(SERIAL, LOAD, *slots(7, 9), "overwritten", fill=True))
        assert known(it.store).unsettled == ()
        assert known(it.store).absent == (), "none of these is an instant of the grid in force"
    with closing(sqlite3.connect(path)) as file:
        found = file.execute("SELECT first_s, last_s, reason FROM absent WHERE reason != 'other period'").fetchall()
    why = {n: reason for first, last, reason in found for n in range(13) if first <= DAY + 900 * n <= last}
    assert why == {2: "clock set", 7: "meter off", 9: "overwritten"}


def test_without_a_moment_only_what_lies_before_the_newest_row_stays_open(store):
    describe(store)
    admit(store, slots(0, 3))
    describe(store, period_s=3600)
    [grid] = known(store).earlier
    assert (grid.from_s, grid.until_s) == tuple(slots(1, 3))


def test_of_many_changes_the_newest_are_kept(store):
    describe(store)
    for n in range(12):
        admit(store, [DAY + 86_400 * n + 900 * k for k in (4, 8)])
        describe(store, period_s=(1800, 900)[n % 2])
    assert [grid.period_s for grid in known(store).earlier] == [900, 1800] * 4


def test_a_row_that_comes_splits_what_is_absent_to_the_second(path):
    with running(path) as it:
        describe(it.store)
        admit(it.store, slots(0, 5))
        note(it.store, DAY + 1, slots(5)[0] - 1)
        assert admit(it.store, [*slots(2), DAY + 3000]) == [*slots(2), DAY + 3000]
        assert known(it.store).absent == ((*slots(1, 1), "meter off"), (*slots(3, 4), "meter off"))
    with closing(sqlite3.connect(path)) as file:
        found = file.execute("SELECT first_s - ?, last_s - ? FROM absent ORDER BY first_s", (DAY, DAY)).fetchall()
    assert found == [(1, 1799), (1801, 2999), (3001, 4499)]


def absent_rows(path):
    with closing(sqlite3.connect(path)) as file:
        return file.execute(
            "SELECT first_s - ?, last_s - ?, reason FROM absent ORDER BY first_s", (DAY, DAY)
        ).fetchall()


@pytest.mark.parametrize("together", [1, 7, 100])
def test_rows_that_come_into_an_absence_leave_no_remnant_between_them(path, together):
    """None of those holds an instant: one absence of a month would be three thousand rows for ever."""
    with running(path) as it:
        describe(it.store)
        admit(it.store, slots(0, 120))
        note(it.store, DAY + 1, slots(120)[0] - 1)
        for n in range(1, 101, together):
            admit(it.store, slots(*range(n, min(n + together, 101))))
        assert known(it.store).absent == ((*slots(101, 119), "meter off"),)
    assert absent_rows(path) == [(900 * 100 + 1, 900 * 120 - 1, "meter off")]


def test_what_is_between_two_rows_stays_explained_where_there_was_a_finer_grid(path):
    with running(path) as it:
        describe(it.store)
        admit(it.store, slots(0, 10))
        note(it.store, *slots(1, 9))
        describe(it.store, period_s=3600)
        admit(it.store, slots(12, 16))
        admit(it.store, slots(4, 8))
    why = {
        n
        for first, last, reason in absent_rows(path)
        for n in range(10)
        if first <= 900 * n <= last and reason != "other period"
    }
    assert why == {1, 2, 3, 5, 6, 7, 9}
