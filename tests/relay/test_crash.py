"""kill -9 at every step of a command's life, and again during recovery: in memory, exhaustively."""

from dataclasses import replace

import pytest

from dcu.command import OPEN, Refusal, State
from dcu.event import AlarmKind
from tests.relay.world import METER, Killed, commissioned

STEPS = {
    # (hook, which of its calls): where the box dies
    "before the acceptance is on disk": ("fault", 1),
    "when it is, and nobody knows": ("after", 1),
    "before DISPATCHED is on disk": ("fault", 2),
    "when it is, before leave is given": ("after", 2),
    "before the request leaves": ("sending", 1),
    "when the meter has acted": ("acted", 1),
    "before the end is on disk": ("fault", 3),
    "when it is": ("after", 3),
}
RECOVERY = {"no second kill": None, "before": ("fault", 1), "behind": ("after", 1), "later": ("fault", 2)}
ENDS = {State.DONE, State.DONE_BY_READBACK, State.IN_DOUBT, State.ABANDONED, State.NOOP}


def arm(world, hook, calls):
    left = [calls]

    def killing():
        left[0] -= 1
        if left[0] == 0:
            raise Killed

    if hook in {"fault", "after"}:
        setattr(world.store, hook, killing)
    else:
        setattr(world.wall[METER], f"on_{hook}", killing)


def disarm(world):
    world.wall[METER].on_sending = world.wall[METER].on_acted = lambda: None


def attempt(world, work):
    try:
        work()
    except Killed:
        pass
    except Exception:  # who waited was told that the thread has ended
        world.thread.join(30)
        assert world.fallen is not None


@pytest.mark.parametrize("second", RECOVERY)
@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("op", ["disconnect", "connect", "message"])
def test_killed_at_a_step(op, step, second):
    world = commissioned()
    wall = world.wall[METER]
    if op == "connect":
        wall.connected, wall.control = False, 0
    document = world.command(op)

    arm(world, *STEPS[step])
    attempt(world, lambda: world.put(document))
    disarm(world)
    world.end()

    if RECOVERY[second]:
        attempt(world, lambda: world.start(work=False))
        world.end()
        world.start(work=False)
        arm(world, *RECOVERY[second])
        attempt(world, world.work)
        world.end()
    world.start()
    assert len(wall.acts) <= 1
    verdict = world.put(document)  # the broker hands it in again
    unknown = op == "disconnect" and step == "before the acceptance is on disk"
    if unknown:  # it was signed for the lease of the process that died
        assert verdict.code is Refusal.E_LEASE
    else:
        assert verdict.status in {"accepted", "duplicate"}
    world.work()
    world.end()
    assert world.fallen is None

    assert len(wall.acts) <= 1, "acted twice"
    (state,) = (c.state for c in world.store.rows.commands.values())
    assert state not in OPEN and state in (ENDS if not unknown else {State.REFUSED})
    if state in {State.ABANDONED, State.NOOP}:
        assert wall.acts == []
    if state is State.DONE:
        assert wall.acts != []
    if step == "when the meter has acted":
        assert state is State.DONE_BY_READBACK
        assert world.receipts()[-1].claims.get("cause") == "unproven"
    if step == "before the request leaves":
        assert state is State.IN_DOUBT and wall.acts == []
    before_dispatch = step in {"when it is, and nobody knows", "before DISPATCHED is on disk"}
    if op == "connect" and before_dispatch and second in {"no second kill", "before"}:
        assert state is State.DONE and wall.connected, "a connect is taken up again"
    if op == "disconnect" and before_dispatch:
        assert state is State.ABANDONED and wall.connected, "a disconnect is not"


def test_a_meter_that_is_silent_after_a_crash_is_looked_at_again():
    world = commissioned()
    wall = world.wall[METER]
    arm(world, "acted", 1)
    attempt(world, lambda: world.put(world.command()))
    disarm(world)
    world.end()
    wall.silent = True
    world.start()
    assert world.states()["c-1"] is State.DISPATCHED
    wall.silent = False
    world.clock.pass_s(5)
    world.settle()
    world.settle()
    world.work()
    assert world.states()["c-1"] is State.DONE_BY_READBACK and wall.acts == [1]
    world.end()


def test_a_meter_that_stays_silent_after_a_crash_leaves_the_command_in_doubt():
    world = commissioned()
    arm(world, "acted", 1)
    attempt(world, lambda: world.put(world.command()))
    disarm(world)
    world.end()
    world.wall[METER].silent = True
    world.start()
    for _ in range(25):
        world.clock.pass_s(5)
        world.settle()
        world.settle()
        world.work()
    assert world.states()["c-1"] is State.IN_DOUBT
    (alarm,) = (a for a in world.alarms if a.kind is AlarmKind.COMMAND_IN_DOUBT)
    assert alarm.meter == METER and alarm.facts["cmd_id"] == "c-1"
    world.end()


def damaged(stored):
    return replace(stored, payload=stored.payload.replace(b'"op":"', b'"op":"x'))


@pytest.mark.parametrize(("step", "end"), [("ACCEPTED", State.ABANDONED), ("DISPATCHED", State.IN_DOUBT)])
@pytest.mark.parametrize("op", ["disconnect", "connect"])
def test_an_open_command_that_cannot_be_read_any_more_ends_and_the_box_starts(op, step, end):
    """A flipped bit on the card, or a schema that changed under it: nothing is sent, and metering goes on."""
    world = commissioned()
    if op == "connect":
        world.wall[METER].connected, world.wall[METER].control = False, 0
    world.wall[METER].silent = step == "ACCEPTED"
    world.put(world.command(op), work=False)
    world.end()
    [(key, stored)] = world.rows.commands.items()
    world.rows.commands[key] = damaged(replace(stored, state=State[step]))
    world.wall[METER].silent = False
    world.start()
    assert world.fallen is None, world.fallen
    assert world.states() == {key[1]: end}
    assert world.wall[METER].acts == []
    receipt = [r for r in world.receipts() if r.kind == "command"][-1]
    assert (receipt.iss, receipt.cmd_id, receipt.state) == (*key, end.value)
    assert world.put(world.command("message")).status == "accepted"
    world.end()
