"""Disconnects that were taken back before they came: what is kept of them, and for how long."""

from dataclasses import replace

import pytest

from dcu.relay.schema import read_command
from dcu.relay.withdrawals import held, is_taken_back, keep, note
from tests.relay.world import FAR_METER, METER, NOW, MemoryTransaction, Rows, World

HOUR = 3600
KEPT = [("c-1", METER, NOW + 1), ("c-2", FAR_METER, NOW + HOUR)]


@pytest.fixture
def tx():
    return MemoryTransaction(Rows())


def test_what_is_kept_is_held_until_its_time_is_over(tx):
    assert held(tx, NOW) == []
    keep(tx, KEPT)
    assert held(tx, NOW) == held(tx, None) == KEPT
    assert held(tx, NOW + 1) == KEPT[1:] and held(tx, NOW + HOUR) == []
    keep(tx, [])
    assert held(tx, None) == []


@pytest.mark.parametrize("octets", [b"", b"[[", b"5", b"null", b'"taken-back"', b'{"c-1":1}'])
def test_of_what_is_damaged_nothing_is_held(tx, octets):
    tx.save_document("taken-back", 0, octets)
    assert held(tx, NOW) == []


def test_what_has_another_form_is_passed_over(tx):
    tx.save_document("taken-back", 0, b'[5,["c-1"],["c-1","m",9,9],["c-1","m","9"],[1,"m",9],["c-2","m",9]]')
    assert held(tx, None) == [("c-2", "m", 9)]


@pytest.mark.parametrize("known_s", [NOW, None])
def test_a_cancel_is_kept_for_as_long_as_its_disconnect_can_live_beside_those_that_still_mean_something(tx, known_s):
    keep(tx, [("c-over", METER, NOW), *KEPT])
    cancel = read_command(World().claims("cancel", cancels="c-x"))
    note(tx, "c-x", cancel, known_s)
    over = [] if known_s else [("c-over", METER, NOW)]
    assert held(tx, None) == [*over, *KEPT, ("c-x", METER, NOW + HOUR + 4 * HOUR)]


def test_it_is_taken_back_for_its_meter_alone():
    cut = replace(read_command(World().claims()), cmd_id="c-2", meter=FAR_METER)
    assert is_taken_back(KEPT, cut)
    assert not is_taken_back(KEPT, replace(cut, meter=METER))
    assert not is_taken_back(KEPT, replace(cut, cmd_id="c-3"))
    assert not is_taken_back([], cut)
