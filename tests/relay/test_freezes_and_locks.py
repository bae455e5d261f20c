"""Freezes by signed command and locks at the pole: what each stops, for how long, and who ends it."""

from dcu.command import Refusal
from dcu.event import AlarmKind
from dcu.reading import ClockState
from tests.relay.running import HOUR, last, running
from tests.relay.world import DAY, FAR_METER, METER, NOW, PERMITTER, REQUEST

R = Refusal
world = running()


def test_a_freeze_stops_cuts_for_a_day_and_no_connect(world):
    assert world.put(world.command("freeze", meter=..., signers=[PERMITTER])).status == "accepted"
    told = world.put(world.command())
    assert told.code is R.E_FROZEN
    world.wall[METER].connected = False
    assert world.put(world.command("connect")).status == "accepted" and world.wall[METER].acts == [2]
    world.clock.pass_s(DAY)
    world.settle()
    assert world.store.rows.restraints == {} and last(world, "freeze").state == "lapsed"


def test_a_freeze_of_one_meter_is_of_that_meter(world):
    world.put(world.command("freeze", FAR_METER))
    assert world.put(world.command()).status == "accepted"
    assert world.put(world.command("disconnect", FAR_METER, why="arrears")).code is R.E_FROZEN


def test_who_unfreezes_are_two(world):
    world.put(world.command("freeze"))
    assert world.put(world.command("unfreeze", signers=[REQUEST])).code is R.E_QUORUM
    assert world.put(world.command("unfreeze", meter=...)).status == "accepted", "of the box: there was none"
    assert world.put(world.command()).code is R.E_FROZEN
    assert world.put(world.command("unfreeze")).status == "accepted"
    assert world.put(world.command()).status == "accepted"


def test_a_freeze_without_the_time_lasts_a_day_from_when_it_is_known(world):
    world.clock.trusted = ClockState.UNTRUSTED
    assert world.put(world.command("freeze")).status == "accepted"
    world.clock.pass_s(10 * DAY)
    world.settle()
    world.clock.trusted = ClockState.TRUSTED
    world.clock.pass_s(60)
    world.settle()
    (held,) = world.store.rows.restraints.values()
    assert held.until_s == world.clock.epoch_s + DAY


def test_a_freeze_survives_a_restart(world):
    world.put(world.command("freeze"))
    world.end()
    world.start()
    assert world.put(world.command()).code is R.E_FROZEN


def test_a_lock_stops_both_ways_is_signed_alarmed_and_ends(world):
    made = world.desk.lock(METER, "ravi", "at work on the line", 8 * HOUR)
    assert (made.who, made.until_s) == ("ravi", NOW + 8 * HOUR)
    assert world.alarms[-1].kind is AlarmKind.LOCKED and world.alarms[-1].meter == METER
    told = last(world, "lock")
    assert (told.state, told.meter, told.claims["who"], told.claims["until"]) == (
        "locked",
        METER,
        "ravi",
        NOW + 8 * HOUR,
    )
    assert world.put(world.command()).code is R.E_LOCKED
    assert world.put(world.command("connect")).code is R.E_LOCKED
    assert world.put(world.command("message")).status == "accepted"
    assert world.wall[METER].acts == ["set"], "and it actuates nothing"
    assert world.desk.lock(METER, "ravi", "", 0) == made and world.alarms[-1].kind is AlarmKind.UNLOCKED
    assert world.put(world.command()).status == "accepted"
    assert world.desk.lock(METER, "ravi", "", 0) is None


def test_a_lock_of_the_box_lasts_three_days_at_most_and_is_renewed(world):
    world.desk.lock("", "ravi", "storm", 1000 * HOUR)
    (held,) = world.desk.restraints()
    assert held.until_s == NOW + 72 * HOUR
    world.clock.pass_s(HOUR)
    world.desk.lock("", "ravi", "storm", 72 * HOUR)
    assert [r.until_s for r in world.desk.restraints()] == [NOW + 73 * HOUR]
    assert world.put(world.command("connect", FAR_METER)).code is R.E_LOCKED


def test_a_lock_that_comes_while_a_command_is_on_its_way_stops_it(world):
    world.put(world.command(), work=False)
    world.desk.lock(METER, "ravi", "at work", HOUR)
    world.work()
    assert last(world).code == "E_LOCKED" and world.wall[METER].acts == []
