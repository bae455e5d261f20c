"""Accepted commands on their way: which goes to its bus when, and which has leave before its meter. No thread."""

import pytest

from dcu.command import Event, Refusal, State
from dcu.reading import ClockState
from dcu.relay import dispatch
from dcu.relay.letters import Answer, Fell, Outcome, Ready, Reply
from dcu.relay.life import Life
from dcu.relay.policy.floor import LONGEST_LIFE_S
from tests.relay.dispatching import FAR_SWITCHING, READ, SPACING_S, SWITCHING, Dispatching, full, stumble
from tests.relay.room import evidence
from tests.relay.world import FAR_METER, ISS, METER


@pytest.fixture
def box():
    return Dispatching()


# ---- to its bus -----------------------------------------------------------------------------------------------------


def test_what_switches_goes_ahead_of_all_else_on_its_bus_and_what_reads_does_not(box):
    box.plan(**READ)
    box.plan("connect", FAR_METER)
    box.dispatch.pass_time()
    assert box.buses["north"].posted == [("OnDemand", METER, False)]
    assert box.buses["south"].posted == [("Switching", FAR_METER, True)]


@pytest.mark.parametrize(
    ("gone", "next_one"),
    [(("connect", METER), ("connect", FAR_METER)), (("disconnect", FAR_METER), ("message", FAR_METER))],
    ids=["of connects, which go together", "of others, which go one by one"],
)
def test_what_was_taken_back_goes_nowhere_and_stands_in_nobodys_way(box, gone, next_one):
    box.keep(box.plan(*gone), state=State.VOIDED)
    box.plan(*next_one)
    assert box.posted() + box.posted() == [FAR_SWITCHING]


@pytest.mark.parametrize("lost", ["its meter", "its bus"])
def test_what_has_no_meter_or_no_bus_any_more_is_refused_and_the_others_go(box, lost):
    key = box.plan("connect")
    box.plan("connect", FAR_METER)
    del (box.book.meters if lost == "its meter" else box.buses)[METER if lost == "its meter" else "north"]
    assert box.posted() == [FAR_SWITCHING]
    assert box.told() == [Fell(key, Refusal.E_METER, "its bus is not here any more")]


def test_a_bus_that_has_no_room_is_as_good_as_a_meter_that_does_not_answer(box):
    key = box.plan("connect")
    box.plan("connect", FAR_METER)
    box.buses["north"].full = True
    assert box.posted() == [FAR_SWITCHING]
    assert box.told() == [Fell(key, Refusal.E_UNREACHABLE, "north: too many errands wait for this bus")]


def test_while_the_store_cannot_say_whether_it_still_waits_it_goes_to_be_judged_again(box):
    box.plan("connect")
    box.store.fault = full
    assert box.posted() == [SWITCHING]


# ---- how long it waits ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("op", "trusted", "late_s", "life_s"),
    [
        ("disconnect", ClockState.TRUSTED, 0, 3600),
        ("disconnect", ClockState.TRUSTED, 3700, 0),
        ("disconnect", ClockState.UNTRUSTED, 0, LONGEST_LIFE_S),
        ("connect", ClockState.TRUSTED, 0, LONGEST_LIFE_S),
    ],
)
def test_a_clock_that_is_stepped_back_adds_to_the_life_of_what_gives_light_alone(box, op, trusted, late_s, life_s):
    ruling = box.decide(op)
    box.clock.pass_s(late_s)
    box.clock.trusted = trusted
    box.dispatch.plan(ruling.command, ruling)
    box.clock.epoch_s -= 7200
    if life_s:
        box.clock.mono_s += life_s - 1
        assert box.posted() == [SWITCHING] and box.told() == []
        box.clock.mono_s += 1
    box.dispatch.pass_time()
    [fell] = box.told()
    assert (fell.key, fell.code) == ((ISS, "c-1"), Refusal.E_EXPIRED)


@pytest.mark.parametrize(
    ("op", "trusted", "over"),
    [
        ("disconnect", ClockState.TRUSTED, True),
        ("disconnect", ClockState.UNTRUSTED, True),
        ("connect", ClockState.TRUSTED, True),
        ("connect", ClockState.UNTRUSTED, False),
    ],
)
def test_it_is_over_from_its_last_second_on_and_told_once(box, op, trusted, over):
    """By the box's clock, whatever that is worth, where it takes the light; by a good one, where it gives it."""
    key = box.plan(op)
    box.clock.trusted = trusted
    box.clock.epoch_s += 3599
    assert box.posted() == [SWITCHING] and box.told() == []
    box.clock.epoch_s += 1
    for _ in range(2):
        assert box.posted() == []
    reason = "its time passed before its meter could be reached"
    assert box.told() == ([Fell(key, Refusal.E_EXPIRED, reason)] if over else [])


def test_what_is_due_but_never_came_home_is_forgotten_when_it_is_over(box):
    key = box.plan()
    assert box.posted() == [SWITCHING]
    box.clock.pass_s(3600)
    box.dispatch.pass_time()
    [fell] = box.told()
    box.dispatch.read(fell)
    assert box.kept(key).state is State.REFUSED
    box.plan("message")
    assert box.posted() == [SWITCHING]


# ---- before its meter -----------------------------------------------------------------------------------------------


def test_a_disconnect_too_close_behind_another_goes_home_and_comes_again(box):
    first, second = box.plan(), box.plan(meter=FAR_METER)
    assert box.posted() == [SWITCHING, FAR_SWITCHING]
    assert len(box.ready(first).warrants) == 1
    assert box.ready(second, FAR_METER) == Answer()
    assert box.kept(second).state is State.PENDING
    box.clock.pass_s(SPACING_S - 1)
    assert box.posted() == []
    box.clock.pass_s(1)
    box.send(second, FAR_METER)


def test_a_fault_of_ours_in_the_second_judging_ends_the_command(box, monkeypatch):
    key = box.plan()
    assert box.posted() == [SWITCHING]
    with monkeypatch.context() as patch:
        patch.setattr(Life, "dispatch", stumble)
        assert box.ready(key) == Answer()
    told = box.receipts()[-1]
    assert (told.state, told.code, told.claims["reason"]) == ("refused", "E_STATE", "unforeseen ZeroDivisionError")
    box.plan("message")
    assert box.posted() == [SWITCHING], "its lane is free"


def test_leave_that_comes_too_late_is_worth_nothing(box, monkeypatch):
    key, reply, given = box.plan(), Reply(), []
    assert box.posted() == [SWITCHING]

    def warrants(*args):
        reply.wait(0.0)  # the errand gives up while its command is committed
        given.extend(made := warrants_of(*args))
        return made

    warrants_of = dispatch.warrants_of
    monkeypatch.setattr(dispatch, "warrants_of", warrants)
    box.dispatch.read(Ready(key, evidence(), reply))
    assert box.kept(key).state is State.DISPATCHED
    assert box.told() == [Outcome(key, Event.UNSENT, reason="the errand could not wait any longer")]
    [warrant] = given
    with pytest.raises(dispatch.DcuError, match="spent"):
        warrant.spend(METER, warrant.target, warrant.data, box.clock.mono_s)


def test_who_waits_no_longer_is_not_judged(box):
    key, reply = box.plan(), Reply()
    assert box.posted() == [SWITCHING]
    reply.wait(0.0)
    box.dispatch.read(Ready(key, evidence(), reply))
    assert box.kept(key).state is State.PENDING and box.told() == []
