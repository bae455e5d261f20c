"""Leases: how long each is good, who is told of it, and what was signed under one that is over."""

import threading

from dcu.command import Refusal
from dcu.relay.leases import Leases
from tests.relay.running import HOUR, last, running
from tests.relay.world import DAY, METER

R = Refusal
world = running()


def test_a_lease_is_new_at_the_start_daily_and_at_a_return_and_the_one_before_is_good_for_an_hour():
    leases = Leases(lambda: "")
    assert leases.due(0.0) and leases.good(0.0) == frozenset() and leases.current == ""
    leases.renew(0.0, "a")
    assert leases.current == "a" and leases.good(0.0) == {"a"} and not leases.due(DAY - 1)
    assert leases.due(DAY)
    leases.renew(DAY, "b")
    assert leases.good(DAY + HOUR - 1) == {"a", "b"} and leases.good(DAY + HOUR) == {"b"}
    assert leases.good(2 * DAY + HOUR - 1) == {"b"}
    assert leases.good(2 * DAY + HOUR) == frozenset(), "one that nobody renews ends"
    leases.want()
    assert not leases.due(DAY + 59), "a connection that flaps makes no leases at will"
    assert leases.due(DAY + 60)
    leases.renew(3 * DAY, "c")
    leases.want()
    assert not leases.due(3 * DAY + 59) and leases.due(3 * DAY + 60)


def test_a_connection_that_is_there_before_the_first_lease_keeps_none_back():
    leases = Leases(lambda: "")
    leases.want()
    assert leases.due(0.0)
    leases.renew(0.0, "a")
    assert not leases.due(DAY - 1) and leases.good(0.0) == {"a"}


def test_the_lease_is_published_signed_with_all_that_a_head_end_needs(world):
    told = last(world, "lease")
    assert told.claims["lease"] == world.lease and told.jid == world.store.epoch
    assert {"n", "chain", "clock", "pol", "keys"} <= told.claims.keys() and told.claims["pol"] == 1


def test_a_cut_that_was_signed_before_a_restart_is_void(world):
    document = world.command()
    world.end()
    world.start()
    assert world.put(document).code is R.E_LEASE and world.wall[METER].acts == []
    assert world.put(world.command()).status == "accepted"


def test_a_return_of_the_connection_gives_a_new_lease_and_the_old_one_an_hour(world):
    first = world.lease
    world.clock.pass_s(61)
    world.desk.connected()
    world.settle()
    assert world.lease != first and last(world, "lease").claims["lease"] == world.lease
    assert world.put(world.command(lease=first)).status == "accepted"
    world.clock.pass_s(HOUR)
    assert world.put(world.command(lease=first)).code is R.E_LEASE


def test_an_uplink_that_is_connected_again_and_again_fills_no_mailbox(world):
    """The relay thread may wait half a minute for a slow store, and whoever holds the socket says what it likes."""
    waits, go = threading.Event(), threading.Event()

    def beat():
        waits.set()
        go.wait(10)

    world.desk._beat = beat
    assert waits.wait(10)
    first = world.lease
    world.clock.pass_s(61)
    for _ in range(1000):
        world.desk.connected()
    assert len(world.desk._letters) == 0
    go.set()
    world.settle()
    assert world.lease != first
