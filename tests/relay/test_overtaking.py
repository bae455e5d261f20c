"""What takes back a disconnect that waits or has not come yet, also where it is refused itself."""

import pytest

from dcu.command import Refusal, State
from tests.relay.room import CUT, PAID, SAFETY
from tests.relay.world import APPROVE, BILLING, FAR_METER, ISS, METER, NOW, POLICY_A, REQUEST, WITNESS

R = Refusal

OVERTAKES = {
    # what waits, what comes, whether it makes that void
    "light, of a cut for credit": ({}, {"op": "connect"}, True),
    "light of another meter": ({}, {"op": "connect", "meter": FAR_METER}, False),
    "light by two, of one for safety": (SAFETY, {"op": "connect", "signers": [REQUEST, APPROVE]}, True),
    "a payment, of one for credit": ({}, PAID, True),
    "a payment, of one for arrears": ({"why": "arrears"}, PAID, False),
    "a payment, of one for safety": (SAFETY, PAID, False),
    "a payment at another meter": ({}, PAID | {"meter": FAR_METER}, False),
    "a freeze, of one for safety": (SAFETY, {"op": "freeze", "signers": [WITNESS]}, True),
    "a freeze of another meter": ({}, {"op": "freeze", "meter": FAR_METER}, False),
    "a freeze of the box": ({}, {"op": "freeze", "meter": ...}, True),
    "a message": ({}, {"op": "message"}, False),
    "a limit": ({}, {"op": "limit", "watts": 1000}, False),
    "another cut": ({}, {}, False),
}


@pytest.mark.parametrize("name", OVERTAKES)
def test_what_waits_to_disconnect_is_overtaken(room, name):
    waiting, changes, void = OVERTAKES[name]
    cut = room.accept(**waiting)
    room.accept(**changes)
    assert room.kept(cut).state is (State.VOIDED if void else State.PENDING)


@pytest.mark.parametrize("state", [State.ACCEPTED, State.DISPATCHED, State.DONE])
def test_what_is_under_way_or_no_disconnect_is_not_overtaken(room, state):
    key = room.accept("message")
    room.keep(key, state=state)
    room.accept("connect")
    assert room.kept(key).state is state


def test_what_cannot_be_read_is_not_overtaken_and_hinders_nobody(room):
    cut, other = room.accept(), room.accept()
    room.keep(cut, payload=b"{}")
    room.accept("connect")
    assert (room.kept(cut).state, room.kept(other).state) == (State.PENDING, State.VOIDED)


def test_one_key_does_not_take_back_what_waits_for_safety(room):
    cut = room.accept(**SAFETY)
    assert room.decide("connect", signers=[BILLING]).verdict.code is R.E_QUORUM
    room.lock()
    assert room.decide("connect", signers=[BILLING]).verdict.code is R.E_QUORUM
    assert room.kept(cut).state is State.PENDING


REFUSED = {
    # what comes to a meter that is set aside or locked, why it is refused, the cut after it, numbers after it
    "light": ({"op": "connect", "seq": 9}, R.E_LOCKED, State.VOIDED, (9, 1)),
    "a payment": (PAID | {"seq": 9}, R.E_METER, State.VOIDED, (1, 1)),
    "a payment that is judged as a cut": (PAID | CUT | SAFETY | {"seq": 9}, R.E_METER, State.PENDING, (1, 1)),
    "a limit": ({"op": "limit", "watts": 1000, "seq": 9}, R.E_METER, State.PENDING, (1, 1)),
    "a cut": ({"seq": 9}, R.E_METER, State.PENDING, (1, 1)),
    "light that nobody may order": ({"op": "connect", "signers": [POLICY_A]}, R.E_QUORUM, State.PENDING, (1, 1)),
    "light of yesterday": ({"op": "connect", "iat": NOW - 9, "exp": NOW}, R.E_EXPIRED, State.PENDING, (1, 1)),
    "light that is older than the cut": ({"op": "connect", "seq": 1}, R.E_SEQ, State.PENDING, (1, 1)),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_for_another_reason_takes_back_all_the_same(room, name):
    changes, code, state, numbers = REFUSED[name]
    cut = room.accept()
    room.aside.add(METER)
    room.lock()
    ruling = room.decide(**changes)
    assert (ruling.verdict.status, ruling.verdict.code) == ("refused", code)
    assert room.kept(cut).state is state
    assert (room.sequence().any, room.sequence().disconnect) == numbers


def test_a_connect_that_is_refused_stands_in_the_way_of_no_other_connect(room):
    room.lock()
    assert room.decide("connect", seq=9).verdict.code is R.E_LOCKED
    room.locks.lock(METER, "sunil", "", 0)
    assert room.decide("connect", seq=8).verdict.status == "accepted"


def test_a_cancel_that_came_first_holds_for_its_meter_and_for_what_cuts(room):
    room.accept("cancel", cancels="c-x")
    room.accept("cancel", cancels="c-y", meter=FAR_METER)
    limit = {"op": "limit", "watts": 100, **CUT, **SAFETY}
    for changes in ({}, limit):
        ruling = room.decide(cmd_id="c-x", **{"seq": 9} | changes)
        assert ruling.verdict.code is R.E_STATE, changes
        room.store.rows.commands.pop((ISS, "c-x"))
    assert room.decide("connect", cmd_id="c-x").verdict.status == "accepted"
    assert room.decide(cmd_id="c-y").verdict.status == "accepted"
