"""Connects: who may give light again, how long a connect is tried, and that it goes ahead of all others."""

import contextlib

from dcu.command import Refusal, State
from tests.relay.running import last, running
from tests.relay.world import APPROVE, METER, NEIGHBOURS, REQUEST

R = Refusal
world = running()


def test_after_a_cut_for_safety_two_people_give_light_again(world):
    world.put(world.command(why="safety", notice=..., case=...))
    assert last(world).state == "done"
    assert world.put(world.command("connect")).code is R.E_QUORUM
    assert world.put(world.command("connect", signers=[REQUEST, APPROVE])).status == "accepted"
    assert world.wall[METER].connected
    world.put(world.command())
    assert world.put(world.command("connect")).status == "accepted" and world.wall[METER].connected


def test_a_connect_tries_again_until_its_meter_answers(world):
    wall = world.wall[METER]
    wall.connected, wall.control, wall.silent = False, 0, True
    world.put(world.command("connect"))
    assert world.states() == {"c-1": State.ACCEPTED}
    for _ in range(3):
        world.clock.pass_s(30)
        world.work()
    assert wall.acts == []
    wall.silent = False
    world.clock.pass_s(30)
    world.work()
    assert wall.acts == [2] and last(world).state == "done"


def test_a_connect_gives_up_when_its_time_is_over(world):
    world.wall[METER].silent = True
    world.put(world.command("connect"))
    for _ in range(125):
        world.clock.pass_s(30)
        world.work()
    assert last(world).code == "E_EXPIRED" and world.states() == {"c-1": State.REFUSED}


def test_a_connect_of_which_nothing_was_sent_is_tried_again_one_that_was_sent_is_not(world):
    wall = world.wall[METER]
    wall.connected, wall.control = False, 0
    real = world.bus.associate

    @contextlib.contextmanager
    def dying(meter, purpose):
        with real(meter, purpose) as association:
            act = association.act

            def late(*args):
                world.clock.mono_s += 3
                act(*args)

            association.act = late
            yield association

    world.bus.associate = dying
    world.put(world.command("connect"))
    assert world.states() == {"c-1": State.ACCEPTED} and wall.acts == []
    world.bus.associate = real
    wall.sticks = True
    world.clock.pass_s(30)
    world.work()
    assert last(world).state == "failed" and wall.acts == [2]
    world.clock.pass_s(60)
    world.work()
    assert wall.acts == [2]


def test_connects_have_their_own_bucket_and_go_ahead(world):
    while world.put(b"{", work=False).code is not R.E_FLOOD:
        pass
    world.wall[METER].connected = False
    assert world.put(world.command("connect")).status == "accepted" and world.wall[METER].connected


def test_of_all_others_one_at_a_time_stands_before_a_bus(world):
    for serial in NEIGHBOURS[:4]:
        world.put(world.command("message", serial), work=False)
    world.put(world.command("connect"), work=False)
    world.settle()
    assert [e.meter.serial for e in world.bus.queue] == [NEIGHBOURS[0], METER]
    world.work()
    assert all(world.wall[s].text for s in NEIGHBOURS[:4])
