"""What no single key, no end of a document, no step of the clock and no other card lifts."""

import pytest

from dcu.command import Refusal
from tests.relay.world import METER, NOW, POLICY_A, RANCHI, World, box, commissioned

R = Refusal


@pytest.fixture
def world():
    with box() as world:
        yield world


def last(world, kind="command"):
    return [r for r in world.receipts() if r.kind == kind][-1]


def ranchi(**changes):
    """The usual areas of a policy, one of them otherwise."""
    areas = World().policy_claims()["areas"]
    return {"areas": areas | {RANCHI: areas[RANCHI] | changes}}


# ---- how light returns ----------------------------------------------------------------------------------------------


def test_one_policy_key_cannot_leave_an_area_without_reconnects(world):
    world.put(world.command())
    arming = ranchi(reconnect="arm")
    assert world.put(world.policy(2, signers=(POLICY_A,), **arming)).code is R.E_QUORUM
    world.put(world.policy(2, **arming))
    assert last(world, "policy").state == "waiting" and "button" in last(world, "policy").claims["reason"]
    world.put(world.command("connect"))
    assert world.wall[METER].connected


@pytest.mark.parametrize("narrowing", [{"exp": NOW + 1}, {"meters": {}}, {"areas": {}, "meters": {}}])
def test_no_end_and_no_narrowing_of_a_policy_closes_a_relay_with_nobody_at_home(narrowing):
    arming = ranchi(reconnect="arm")
    world = commissioned(**arming)
    try:
        world.wall[METER].connected, world.wall[METER].control = False, 0
        assert world.put(world.policy(2, signers=(POLICY_A,), **arming | narrowing)).status == "accepted"
        world.clock.pass_s(2)
        world.put(world.command("connect"))
        assert not world.wall[METER].connected and last(world).code == "E_METER"
    finally:
        world.end()
