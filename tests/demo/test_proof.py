"""The comparison that the demo's claim rests on must itself be able to fail."""

import json

import pytest

from dcu.demo.proof import captured, compare

PROFILE = "1.0.99.1.0.255"


def ledger(*rows):
    return [json.dumps({"kind": "row", "profile": PROFILE, "captured_at": at, "values": values}) for at, values in rows]


TRUTH = captured([("A", ledger((10, [1]), (20, [2]), (30, [3])))], until_s=30)


def record(*rows, meter="A"):
    return {"meter": meter, "profile": PROFILE, "read_at": 100, "rows": [[at, *values] for at, values in rows]}


def test_all_there():
    proof = compare(TRUTH, [record((10, [1]), (20, [2])), record((30, [3]))], 30, 4, late_after_s=75)
    assert (proof.holds, proof.expected, proof.delivered, proof.repeated_records, proof.late) == (True, 3, 3, 4, 2)


@pytest.mark.parametrize(
    ("records", "what"),
    [
        ([record((10, [1]), (20, [2]))], "missing"),
        ([record((10, [1]), (20, [9]), (30, [3]))], "different"),
        ([record((10, [1]), (20, [2]), (30, [3])), record((30, [3]))], "twice"),
        ([record((10, [1]), (20, [2]), (25, [0]), (30, [3]))], "invented"),
        ([record((10, [1]), (20, [2]), (30, [3])), record((10, [1]), meter="B")], "invented"),
    ],
)
def test_each_fault_is_found(records, what):
    proof = compare(TRUTH, records, 30)
    assert not proof.holds
    assert len(getattr(proof, what)) == 1


def test_nothing_to_compare_proves_nothing():
    assert not compare({}, [], 30).holds


def test_rows_after_the_moment_of_comparison_do_not_count():
    truth = captured([("A", ledger((10, [1]), (40, [4])))], until_s=30)
    assert set(truth) == {("A", PROFILE, 10)}
    assert compare(truth, [record((10, [1]), (40, [4]))], 30).holds


def test_history_that_a_first_visit_brings_is_no_backfill():
    records = [record((10, [1]), (20, [2]), (30, [3]))]
    assert compare(TRUTH, records, 30, late_after_s=5, late_from_s=25).late == 1
    assert compare(TRUTH, records, 30, late_after_s=5, late_from_s=31).late == 0


def test_what_was_captured_before_a_kill_and_read_after_it_was_refilled():
    truth = {("A", PROFILE, at): [at] for at in (100, 110, 120)}
    records = [{"meter": "A", "profile": PROFILE, "read_at": at + 3, "rows": [[at, at]]} for at in (100, 110, 120)]
    assert compare(truth, records, 130, late_after_s=10, killed_at=(111.5, 125.0)).late == 1
