"""Whatever takes a disconnect back succeeds on its own merits; what was cut for safety is given light by two people."""

import threading
from dataclasses import replace

import pytest

from dcu.command import Event, Refusal, State
from dcu.errors import StoreFull
from dcu.reading import ClockState
from dcu.relay import desk
from dcu.relay.letters import Outcome
from dcu.relay.withdrawals import AT_MOST
from tests.relay.running import last
from tests.relay.world import (
    APPROVE,
    BILLING,
    CAPS,
    DAY,
    FAR_METER,
    ISS,
    METER,
    NOW,
    POLICY_A,
    REQUEST,
    WITNESS,
    box,
    commissioned,
)

R = Refusal
WAIT_S = 900
SAFETY = {"why": "safety", "notice": ..., "case": ...}
PAID = {"recharge": 500, "recharged_at": NOW, "balance": 900}


@pytest.fixture
def slow():
    """A disconnect waits a quarter of an hour."""
    world = commissioned(caps={"arrears": CAPS | {"wait_s": WAIT_S}, "prepaid": CAPS})
    yield world
    world.end()
    assert world.fallen is None, world.fallen


@pytest.fixture
def world():
    world = commissioned()
    yield world
    world.end()
    assert world.fallen is None, world.fallen


def wait_for_the_cut(world):
    world.clock.pass_s(WAIT_S + 1)
    world.work()


TAKING_BACK = {
    "a cancel": (("cancel", [WITNESS], {"cancels": "c-1"}), None, State.CANCELLED),
    "a connect": (("connect", [BILLING], {}), None, State.VOIDED),
    "a payment": (("balance", [BILLING], PAID), R.E_METER, State.VOIDED),
}


@pytest.mark.parametrize("what", TAKING_BACK)
def test_a_meter_that_was_set_aside_hinders_nobody_from_taking_a_cut_back(slow, what):
    """Another serial answered at its address, once; the next visit finds the right one again."""
    (op, signers, members), code, state = TAKING_BACK[what]
    slow.put(slow.command())
    slow.aside.add(METER)
    assert slow.put(slow.command(op, signers=signers, **members)).code is code
    assert slow.states()["c-1"] is state
    slow.aside.discard(METER)
    wait_for_the_cut(slow)
    assert 1 not in slow.wall[METER].acts


def test_a_meter_that_was_set_aside_gets_its_light_when_it_says_its_serial(world):
    world.wall[METER].connected, world.wall[METER].control = False, 0
    world.aside.add(METER)
    assert world.put(world.command("connect", signers=[BILLING])).status == "accepted"
    assert world.wall[METER].connected
    assert world.put(world.command()).code is R.E_METER, "and no disconnect meanwhile"


@pytest.mark.parametrize("signers", [[BILLING], [REQUEST, APPROVE]])
def test_a_connect_that_a_lock_refuses_takes_the_cut_back_all_the_same(slow, signers):
    slow.put(slow.command())
    slow.desk.lock(METER, "sunil", "at the terminals", 3600)
    assert slow.put(slow.command("connect", signers=signers)).code is R.E_LOCKED
    assert slow.states()["c-1"] is State.VOIDED
    slow.desk.lock(METER, "sunil", "", 0)
    wait_for_the_cut(slow)
    assert slow.wall[METER].acts == []


@pytest.mark.parametrize(
    ("changes", "signers", "code"),
    [
        ({}, [POLICY_A], R.E_QUORUM),
        ({"dcu": "JH-RNC-0043"}, [BILLING], R.E_TARGET),
        ({"jid": "j-other"}, [BILLING], R.E_JID),
        ({"iat": NOW - 100, "exp": NOW - 1}, [BILLING], R.E_EXPIRED),
        ({"seq": 1}, [BILLING], R.E_SEQ),
    ],
    ids=["signers", "box", "journal", "time", "older than the cut"],
)
def test_what_is_no_order_of_today_takes_nothing_back(slow, changes, signers, code):
    slow.put(slow.command())
    slow.desk.lock(METER, "sunil", "at the terminals", 3600)
    assert slow.put(slow.command("connect", signers=signers, **changes)).code is code
    assert slow.states()["c-1"] is State.PENDING


def test_a_connect_that_is_refused_still_answers_every_cut_that_was_signed_before_it(world):
    earlier = world.command()  # delayed by the broker
    world.desk.lock(METER, "sunil", "at the terminals", 3600)
    assert world.put(world.command("connect", signers=[BILLING])).code is R.E_LOCKED
    world.desk.lock(METER, "sunil", "", 0)
    assert world.put(earlier).code is R.E_SEQ and world.wall[METER].acts == []


# ---- a cancel that comes first --------------------------------------------------------------------------------------


def test_a_cancel_that_overtakes_its_disconnect_holds(world):
    cut = world.command(cmd_id="c-x")
    assert world.put(world.command("cancel", cancels="c-x", signers=[WITNESS])).status == "accepted"
    assert world.put(cut).code is R.E_STATE
    assert "taken back" in last(world).claims["reason"]
    assert world.wall[METER].acts == []


def test_it_holds_over_a_restart_and_for_that_meter_and_operation_alone(world):
    world.put(world.command("cancel", cancels="c-x", signers=[WITNESS]))
    world.put(world.command("cancel", cancels="c-y", meter=FAR_METER))
    world.put(world.command("cancel", cancels="c-z"))
    world.end()
    world.start()
    assert world.put(world.command(cmd_id="c-x")).code is R.E_STATE, "signed anew, under the lease of this process"
    assert world.put(world.command(cmd_id="c-x2")).status == "accepted"
    assert world.put(world.command(cmd_id="c-y")).status == "accepted", "that was another meter's"
    assert world.put(world.command("connect", cmd_id="c-z")).status == "accepted", "light is never taken back"


def test_it_is_forgotten_when_no_such_cut_can_live_any_more(world):
    world.put(world.command("cancel", cancels="c-x"))
    world.clock.pass_s(DAY)
    for n in range(3):
        world.put(world.command("cancel", cancels=f"c-new-{n}"))
    assert len(world.store.rows.documents["taken-back"][1]) < 250


def test_a_clock_that_is_not_believed_makes_none_forgotten(world):
    cut = world.command(cmd_id="c-x", exp=world.clock.epoch_s + 4 * 3600)
    world.put(world.command("cancel", cancels="c-x"))
    world.clock.epoch_s += 3 * DAY
    world.clock.trusted = ClockState.UNTRUSTED
    world.put(world.command("cancel", cancels="c-other"))
    world.clock.epoch_s -= 3 * DAY
    world.clock.trusted = ClockState.TRUSTED
    assert world.put(cut).code is R.E_STATE and world.wall[METER].acts == []


def test_one_key_cannot_fill_the_store_with_them(world):
    from dcu.relay.withdrawals import keep

    world.put(world.command("cancel", cancels="c-x"))
    _, octets = world.store.rows.documents["taken-back"]
    assert octets.count(b"c-x") == 1
    held = [(f"c-{n:040}", METER, NOW + DAY) for n in range(AT_MOST)]
    world.store.transact(lambda tx: keep(tx, held))
    cancel = world.command("cancel", cancels="c-one-more")
    assert world.put(cancel).code is R.E_FLOOD
    world.store.transact(lambda tx: keep(tx, held[1:]))
    assert world.put(cancel).status == "accepted", "it has not used its id up"
    world.put(world.command(cmd_id="c-1000", why="arrears"))
    assert world.wall[METER].acts == [1], "those that wait are taken back, and those that are new are carried out"


# ---- safety ---------------------------------------------------------------------------------------------------------


def test_a_safety_order_for_a_meter_that_is_open_already_is_remembered(world):
    world.put(world.command())
    world.put(world.command(**SAFETY))
    assert last(world).state == "noop"
    assert world.put(world.command("connect", signers=[BILLING])).code is R.E_QUORUM
    assert not world.wall[METER].connected
    assert world.put(world.command("connect", signers=[REQUEST, APPROVE])).status == "accepted"
    assert world.wall[METER].connected
    world.put(world.command())
    assert world.put(world.command("connect", signers=[BILLING])).status == "accepted", "two people have ended it"


def test_two_people_end_it_also_where_somebody_closed_the_relay_by_hand(world):
    world.put(world.command(**SAFETY))
    world.wall[METER].connected, world.wall[METER].control = True, 1
    world.put(world.command("connect", signers=[REQUEST, APPROVE]))
    assert last(world).state == "noop"
    assert world.store.rows.sequences[METER].safety == 0


@pytest.mark.parametrize(("op", "members"), [("connect", {}), ("balance", PAID)])
def test_one_key_takes_no_waiting_safety_order_back(slow, op, members):
    slow.put(slow.command(**SAFETY))
    slow.put(slow.command(op, signers=[BILLING], **members))
    assert slow.states()["c-1"] is State.PENDING
    wait_for_the_cut(slow)
    assert slow.wall[METER].acts == [1] and not slow.wall[METER].connected


def test_two_people_a_cancel_and_a_freeze_take_it_back(slow):
    slow.put(slow.command(**SAFETY))
    slow.put(slow.command("connect", signers=[REQUEST, APPROVE]))
    assert slow.states()["c-1"] is State.VOIDED
    slow.put(slow.command(cmd_id="s-2", **SAFETY))
    slow.put(slow.command("cancel", cancels="s-2"))
    assert slow.states()["s-2"] is State.CANCELLED
    slow.put(slow.command(cmd_id="s-3", **SAFETY))
    slow.put(slow.command("freeze"))
    assert slow.states()["s-3"] is State.VOIDED


# ---- a meter that is exchanged --------------------------------------------------------------------------------------


def test_restraints_and_the_mark_of_safety_stay_on_the_wall_when_the_meter_is_exchanged():
    from dcu.relay.docket import hand_on

    world = commissioned()
    try:
        world.put(world.command(**SAFETY))
        world.put(world.command("freeze"))
        world.desk.lock(METER, "sunil", "at the terminals", 3600)
        world.store.transact(lambda tx: hand_on(tx, METER, "GXT99"))
        held = {(r.kind, r.meter) for r in world.store.rows.restraints.values()}
        assert held == {("freeze", METER), ("freeze", "GXT99"), ("lock", METER), ("lock", "GXT99")}
        old = world.store.rows.sequences[METER].safety
        assert old and world.store.rows.sequences["GXT99"].safety == old
        assert replace(world.store.rows.sequences["GXT99"], safety=0) == type(world.store.rows.sequences[METER])()
    finally:
        world.end()


# ---- a connect that may be tried again ------------------------------------------------------------------------------


def until(world, condition):
    """Idle turns of the relay thread, and tries of a connect."""
    for _ in range(500):
        if condition():
            return
        world.clock.pass_s(1)
        world.work()
        idle.wait(0.01)
    raise AssertionError(world.states())


idle = threading.Event()  # never set


@pytest.fixture
def dark(monkeypatch):
    monkeypatch.setattr(desk, "TURN_S", 0.01)
    with box() as world:
        world.wall[METER].connected, world.wall[METER].control = False, 0
        yield world


def test_a_connect_that_finds_the_store_full_is_tried_again(dark):
    full = threading.Event()

    def fault():
        if full.is_set():
            raise StoreFull("no room")

    dark.store.fault = fault
    dark.wall[METER].on_associate = full.set
    dark.put(dark.command("connect"))
    assert not dark.wall[METER].connected
    dark.wall[METER].on_associate = None
    full.clear()
    until(dark, lambda: dark.wall[METER].connected)
    assert dark.wall[METER].acts == [2]


def test_a_connect_whose_leave_came_too_late_is_tried_again(dark, monkeypatch):
    """The errand has gone when its leave is on disk: nothing was sent, and both sides say so."""
    late, gone = threading.Event(), threading.Event()
    monkeypatch.setattr(desk, "PATIENCE_S", 0.05)

    def fault():
        if late.is_set():
            late.clear()
            gone.wait(0.5)

    dark.store.fault = fault
    dark.wall[METER].on_associate = late.set
    dark.put(dark.command("connect"))
    dark.wall[METER].on_associate = None
    monkeypatch.setattr(desk, "PATIENCE_S", 10.0)
    until(dark, lambda: dark.wall[METER].connected)
    assert dark.wall[METER].acts == [2]


def test_a_connect_whose_end_found_no_room_for_a_minute_is_tried_again(dark, monkeypatch):
    """Its leave came too late, its outcome could not be stored; nothing was sent, and its time is not over."""
    key = (ISS, "c-1")
    dark.put(dark.command("connect"), work=False)
    dark.settle()
    dark.bus.queue.clear()
    room = dark.desk._dispatch
    dark.store.transact(lambda tx: tx.save_command(replace(tx.command(*key), state=State.DISPATCHED)))
    room._timetable.forget(key)  # it stood in the way of nobody for so long that it was taken for gone
    dark.desk._letters.post(Outcome(key, Event.UNSENT, reason="the errand could not wait"), urgent=True)
    dark.settle()
    until(dark, lambda: dark.wall[METER].connected)
    assert dark.wall[METER].acts == [2]
