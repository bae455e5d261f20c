"""A disconnect waits before it goes; one that is taken back, overtaken or met by a restart meanwhile never does."""

import pytest

from dcu.command import Refusal, State
from tests.relay.running import caps, last, running
from tests.relay.world import APPROVE, BILLING, FAR_METER, METER, NOW, REQUEST, WITNESS

R = Refusal
world = running()
slow = running(**caps(wait_s=900))


def test_a_cut_waits_and_then_goes(slow):
    assert slow.put(slow.command()).status == "accepted"
    assert slow.states() == {"c-1": State.PENDING} and slow.wall[METER].acts == []
    slow.clock.pass_s(899)
    slow.work()
    assert slow.wall[METER].acts == []
    slow.clock.pass_s(1)
    slow.work()
    assert slow.wall[METER].acts == [1] and last(slow).state == "done"


def test_a_clock_that_is_put_forward_does_not_shorten_the_wait(slow):
    slow.put(slow.command())
    slow.clock.epoch_s += 1000
    slow.work()
    assert slow.wall[METER].acts == []


def test_one_signature_takes_a_waiting_cut_back(slow):
    slow.put(slow.command())
    assert slow.put(slow.command("cancel", cancels="c-1", signers=[WITNESS])).status == "accepted"
    assert slow.states() == {"c-1": State.CANCELLED, "c-2": State.DONE}
    assert [r.state for r in slow.receipts() if r.cmd_id == "c-1"] == ["pending", "cancelled"]
    slow.clock.pass_s(900)
    slow.work()
    assert slow.wall[METER].acts == []


def test_what_another_meter_waits_for_cannot_be_taken_back(slow):
    slow.put(slow.command())
    assert slow.put(slow.command("cancel", cancels="c-1", meter=FAR_METER)).code is R.E_STATE
    assert slow.states()["c-1"] is State.PENDING


def test_what_was_sent_cannot_be_taken_back(world):
    world.put(world.command())
    assert world.put(world.command("cancel", cancels="c-1")).code is R.E_STATE


OVERTAKING = {
    "a connect": ({"op": "connect"}, [APPROVE]),
    "a payment": ({"op": "balance", "recharge": 500, "recharged_at": NOW, "balance": 900}, [BILLING]),
    "a freeze of the meter": ({"op": "freeze"}, [REQUEST]),
    "a freeze of the box": ({"op": "freeze", "meter": ...}, [WITNESS]),
}


@pytest.mark.parametrize("what", OVERTAKING)
def test_a_waiting_cut_is_overtaken(slow, what):
    claims, signers = OVERTAKING[what]
    slow.put(slow.command())
    members = {name: value for name, value in claims.items() if name != "op"}
    assert slow.put(slow.command(claims["op"], signers=signers, **members)).status == "accepted"
    assert slow.states()["c-1"] is State.VOIDED
    slow.clock.pass_s(900)
    slow.work()
    assert 1 not in slow.wall[METER].acts


def test_a_payment_does_not_overtake_a_cut_for_arrears(slow):
    slow.put(slow.command(why="arrears"))
    slow.put(slow.command("balance", signers=[BILLING], recharge=500, recharged_at=NOW, balance=900))
    assert slow.states()["c-1"] is State.PENDING


def test_another_meters_connect_overtakes_nothing(slow):
    slow.put(slow.command())
    slow.put(slow.command("connect", FAR_METER))
    assert slow.states()["c-1"] is State.PENDING


def test_what_waits_falls_with_a_restart(slow):
    slow.put(slow.command())
    slow.end()
    slow.start()
    assert slow.states() == {"c-1": State.ABANDONED}
    assert len(slow.store.rows.debits) == 1, "and its debit stays"


def test_a_sequence_number_of_a_payment_uses_up_none_of_a_cut(world):
    world.put(world.command("balance", signers=[BILLING], recharge=5, recharged_at=NOW, balance=9, seq=1 << 53))
    assert world.put(world.command()).status == "accepted"
