"""Rows that are known by their values, meters and their places, and what a store of an older program becomes."""

import sqlite3

import cbor2
import pytest
from running_store import LAYOUT, FixedClock, reading, row, running
from sqlite_utils import Database as Utilities

from dcu import obis
from dcu.causes import Happening
from dcu.gaps import Absence
from dcu.obis import LogicalName
from dcu.reading import ClockState, ProfileReading
from dcu.record import Stream
from dcu.store.columns import encode_columns
from dcu.store.schema import MIGRATIONS

DAY = 1_795_305_600 - 19_800
LOAD, SERIAL = obis.BLOCK_LOAD, "GXT1"
POWER_LOG = LogicalName.of("0.0.99.98.2")


def rows_of(*pairs, profile=LOAD):
    return ProfileReading(
        SERIAL, profile, LAYOUT, tuple(row(*pair) for pair in pairs), FixedClock.at, ClockState.TRUSTED
    )


def records(store, stream=Stream.PROFILE):
    found = store.transact(lambda tx: tx.next_batch({s: 10**9 for s in Stream if s is not stream}, 10**7))
    return [cbor2.loads(body) for body in found.bodies] if found else []


def slots(*numbers):
    return [DAY + 900 * n for n in numbers]


@pytest.fixture
def ring(store):
    store.transact(lambda tx: tx.describe(SERIAL, LOAD, LAYOUT, 900, DAY))
    return store


def state(store, serial=SERIAL):
    return store.transact(lambda tx: tx.profile(serial, LOAD))


def test_events_of_one_second_are_all_kept_and_none_comes_twice(store):
    first = rows_of((DAY, 101), (DAY, 207), (DAY, 207), (DAY + 5, 102), profile=POWER_LOG)
    let_in = store.transact(lambda tx: tx.admit_events(first))
    assert [r.values for r in let_in.rows] == [(101,), (207,), (207,), (102,)]
    assert let_in.again == ((1, 1), (2, 2))
    assert store.transact(lambda tx: tx.admit_events(first)).rows == ()
    more = rows_of((DAY + 5, 102), (DAY + 5, 101), profile=POWER_LOG)
    assert store.transact(lambda tx: tx.holds(more)) == (True, False)
    assert store.transact(lambda tx: tx.admit_events(more)).again == ((0, 1),)
    assert [record.get("again") for record in records(store)] == [[[1, 1], [2, 2]], [[0, 1]]]


def test_a_bill_is_its_date_and_its_values(store):
    """A clock that is set back over the end of a month closes two bills of one date; neither may be lost."""
    profile = LogicalName.of("1.0.98.1.0")
    first, both = rows_of((DAY, 5), profile=profile), rows_of((DAY + 86_400, 7), (DAY, 6), (DAY, 5), profile=profile)
    assert store.transact(lambda tx: tx.admit_bills(first)).rows == first.rows
    let_in = store.transact(lambda tx: tx.admit_bills(both))
    assert ([row.values for row in let_in.rows], let_in.again) == ([(7,), (6,)], ((1, 1),))
    assert store.transact(lambda tx: tx.admit_bills(both)).rows == ()
    assert store.transact(lambda tx: tx.holds(both, bills=True)) == (True, True, True)
    assert store.transact(lambda tx: tx.holds(rows_of((DAY, 8), profile=profile), bills=True)) == (False,)
    assert [record.get("again") for record in records(store, Stream.BILLING)] == [None, [[1, 1]]]


def test_of_two_bills_of_one_date_in_one_answer_the_older_one_is_the_first(store):
    both = rows_of((DAY, 6), (DAY, 5), profile=LogicalName.of("1.0.98.1.0"))
    let_in = store.transact(lambda tx: tx.admit_bills(both))
    assert ([row.values for row in let_in.rows], let_in.again) == ([(6,), (5,)], ((0, 1),))


def test_a_running_period_under_the_date_of_the_last_bill_is_no_bill_before_another_stands_before_it(store):
    profile = LogicalName.of("1.0.98.1.0")
    store.transact(lambda tx: tx.admit_bills(rows_of((DAY, 5), profile=profile), newest=True))
    for value in (6, 7, 8):
        grown = rows_of((DAY, value), profile=profile)
        assert store.transact(lambda tx, grown=grown: tx.admit_bills(grown, newest=True)).rows == ()
    closed = rows_of((DAY, 8), (DAY, 5), profile=profile)
    assert [r.values for r in store.transact(lambda tx: tx.admit_bills(closed)).rows] == [(8,)]


def test_a_snapshot_is_not_stored_twice_in_a_row(store):
    now, later = rows_of((DAY, 1), profile=obis.INSTANTANEOUS), rows_of((DAY + 9, 1), profile=obis.INSTANTANEOUS)
    lengths = [len(store.transact(lambda tx, r=r: tx.admit_snapshot(r)).rows) for r in (now, now, later, later, now)]
    assert lengths == [1, 0, 1, 0, 1]
    assert state(store) is None


def test_what_a_clock_passes_twice_is_asked_again_and_only_other_values_are_stored(ring):
    ring.transact(lambda tx: tx.admit(rows_of(*((at, at % 97) for at in slots(0, 1, 2, 3)))))
    assert ring.transact(lambda tx: tx.reopen(SERIAL, LOAD, slots(1)[0])) == 2
    assert state(ring).held == (tuple(slots(0, 1)),)
    same, other = slots(2)[0], slots(3)[0]
    passed = ring.transact(lambda tx: tx.admit(rows_of((same, same % 97), (other, other % 97), (other, 7))))
    assert ([(r.captured_at.epoch_s, r.values) for r in passed.rows], passed.again) == ([(other, (7,))], ((0, 1),))
    assert state(ring).held == (tuple(slots(0, 3)),)
    assert records(ring)[-1]["again"] == [[0, 1]]


def test_an_interval_that_was_reopened_and_is_gone_from_the_ring_is_held_as_before(ring):
    ring.transact(lambda tx: tx.admit(rows_of(*((at, 1) for at in slots(0, 1, 2)))))
    ring.transact(lambda tx: tx.reopen(SERIAL, LOAD, slots(1)[0]))
    ring.transact(lambda tx: tx.note_absent(SERIAL, LOAD, *slots(2, 4), "overwritten"))
    assert state(ring).held == (tuple(slots(0, 2)),)
    assert state(ring).absent == ((*slots(3, 4), "overwritten"),)


def test_values_that_are_not_stored_any_more_count_as_others(ring):
    ring.transact(lambda tx: tx._ledger.admit(rows_of((slots(1)[0], 5))))  # held, and no record has it
    ring.transact(lambda tx: tx.reopen(SERIAL, LOAD, DAY))
    assert ring.transact(lambda tx: tx.admit(rows_of((slots(1)[0], 5)))).again == ((0, 1),)


def test_what_happened_explains_absences_anew(ring):
    ring.transact(lambda tx: tx.admit(rows_of(*((at, 1) for at in slots(0, 5, 9)))))
    for span in (slots(1, 4), slots(6, 8)):
        ring.transact(lambda tx, span=span: tx.note_absent(SERIAL, LOAD, *span, "meter off"))
    jump = Happening(Absence.CLOCK_SET, DAY, slots(6)[0], 3700)
    ring.transact(lambda tx: tx.note_happening(SERIAL, jump))
    assert state(ring).absent == ((*slots(1, 4), "clock set"), (*slots(6, 8), "meter off"))
    ring.transact(lambda tx: tx.note_happening(SERIAL, Happening(Absence.METER_OFF, slots(1)[0], slots(4)[0])))
    assert [reason for *_, reason in state(ring).absent] == ["meter off", "meter off"]
    assert ring.transact(lambda tx: tx.meter(SERIAL)).happenings[0] == jump


def test_a_hole_that_is_found_in_parts_gets_one_reason(ring):
    """The log tells when the clock was set, and the hole ends there; how long it is shows part by part."""
    ring.transact(lambda tx: tx.admit(rows_of(*((at, 1) for at in slots(0, 9)))))
    at_s = slots(8)[0] + 300
    ring.transact(lambda tx: tx.note_happening(SERIAL, Happening(Absence.CLOCK_SET, at_s, at_s)))
    for span, reason in ((slots(1, 3), "meter off"), (slots(4, 8), "clock set")):
        ring.transact(
            lambda tx, span=span, reason=reason: tx.note_absent(SERIAL, LOAD, span[0] - 899, span[1] + 899, reason)
        )
    assert state(ring).absent == ((*slots(1, 8), "clock set"),)


def test_another_firmware_makes_all_that_is_cached_stale(ring):
    def firmware(version):
        ring.transact(lambda tx: tx.note_firmware(SERIAL, version, 7))
        return state(ring).stale

    assert firmware(b"1.0"), "read under a firmware that nobody knows"
    ring.transact(lambda tx: tx.describe(SERIAL, LOAD, LAYOUT, 900, DAY, entries=3360, newest_first=True))
    assert (state(ring).entries, state(ring).newest_first, state(ring).stale) == (3360, True, False)
    assert [firmware(v) for v in (b"1.0", b"1.1", b"1.1")] == [False, True, True]
    assert state(ring).layout == LAYOUT, "what it was is known, to say what changed"


def test_a_meter_that_is_replaced_ends_the_intervals_of_the_old_one(ring):
    assert ring.transact(lambda tx: tx.settle("north/17", SERIAL, DAY)) is None
    ring.transact(lambda tx: tx.admit(rows_of(*((at, 1) for at in slots(0, 1)))))
    ring.transact(lambda tx: tx.note_ahead(SERIAL, 60))
    assert ring.transact(lambda tx: tx.settle("north/17", "GXT2", slots(5)[0] - 60)) == SERIAL
    assert state(ring).absent == ((*slots(2, 5), "meter replaced"),)
    assert ring.transact(lambda tx: tx.settle("north/17", "GXT2", slots(9)[0])) is None, "told once"
    assert ring.transact(lambda tx: tx.settle("south/3", SERIAL, slots(9)[0])) is None
    assert state(ring).absent == (), "it stands elsewhere: what is missing can be asked there"


def test_a_meter_that_only_moved_is_asked_on(ring):
    ring.transact(lambda tx: tx.settle("north/17", SERIAL, DAY))
    ring.transact(lambda tx: tx.settle("south/3", SERIAL, DAY))
    assert ring.transact(lambda tx: tx.settle("north/17", "GXT2", slots(5)[0])) == SERIAL
    assert state(ring).absent == ()


def test_a_store_of_the_first_program_is_brought_forward(path):
    """As its last release left it: a ring with spans, strays and absences, read by what knows nothing of firmware."""
    raw = sqlite3.connect(path, isolation_level=None)
    MIGRATIONS.apply(Utilities(raw), stop_before="0004_meters_and_marks")
    raw.execute(
        "INSERT INTO profile (id, meter, ln, period_s, since_s, phase_s, columns) VALUES (1, ?, ?, 900, ?, 0, ?)",
        (SERIAL, LOAD.octets, DAY, encode_columns(LAYOUT)),
    )
    raw.execute("INSERT INTO held VALUES (1, ?, ?)", slots(0, 3))
    raw.execute("INSERT INTO absent VALUES (1, ?, ?, 'meter off')", slots(4, 5))
    raw.execute("INSERT INTO stray VALUES (1, ?)", (DAY + 17,))
    raw.close()
    with running(path) as it:
        assert (
            it.store.transact(lambda tx: tx.admit(reading([*slots(0, 1, 6), DAY + 17]))).rows == reading(slots(6)).rows
        )
        known = state(it.store)
        assert (known.held, known.absent) == (((*slots(0, 3),), (*slots(6, 6),)), ((*slots(4, 5), "meter off"),))
        assert (known.layout, known.entries, known.stale) == (LAYOUT, 0, False)
        it.store.transact(lambda tx: tx.note_firmware(SERIAL, b"1.0", 0))
        assert state(it.store).stale
