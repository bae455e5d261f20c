"""What ends a command that was on its way: what its errand says, a fault of ours, a crash. No thread."""

import pytest

from dcu.command import ControlState, Event, OutputState, Refusal, State
from dcu.errors import StoreFull
from dcu.event import AlarmKind
from dcu.reading import ClockState
from dcu.relay.inspections import TRIES
from dcu.relay.letters import Brought, Fell, Outcome, Ready, Reply, Unseen
from dcu.relay.life import Life
from dcu.relay.policy.floor import LONGEST_LIFE_S
from dcu.relay.receipts import ReadBack
from dcu.relay.timetable import AGAIN_S
from tests.relay.dispatching import READ, SWITCHING, Dispatching, full, stumble
from tests.relay.room import evidence
from tests.relay.world import ISS, METER

OPENED = {"output": OutputState.DISCONNECTED, "control": ControlState.DISCONNECTED}


@pytest.fixture
def box():
    return Dispatching()


# ---- home without leave ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("op", "code", "again"),
    [
        ("connect", Refusal.E_UNREACHABLE, True),
        ("connect", Refusal.E_STORE, True),
        ("connect", Refusal.E_METER, False),
        ("disconnect", Refusal.E_UNREACHABLE, False),
        ("disconnect", Refusal.E_STORE, False),
    ],
)
def test_light_is_tried_again_where_the_obstacle_may_pass(box, op, code, again):
    key = box.plan(op)
    assert box.posted() == [SWITCHING]
    box.dispatch.read(Fell(key, code, "no answer"))
    if again:
        assert box.kept(key).state is State.ACCEPTED
        box.clock.pass_s(AGAIN_S - 1)
        assert box.posted() == []
        box.clock.pass_s(1)
        assert box.posted() == [SWITCHING]
        return
    told = box.receipts()[-1]
    assert (told.state, told.code, told.claims["reason"]) == ("refused", code.value, "no answer")
    box.plan("message")
    assert box.posted() == [SWITCHING], "its lane is free"


# ---- what a read brought --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bug", [False, True])
def test_what_a_read_brought_ends_it_and_frees_its_lane(box, monkeypatch, bug):
    key = box.plan(**READ)
    box.plan(**READ)
    assert box.posted() == [("OnDemand", METER)]
    with monkeypatch.context() as patch:
        if bug:
            patch.setattr(Life, "bring", stumble)
        box.dispatch.read(Brought(key, evidence()))
    told = [receipt for receipt in box.receipts() if receipt.cmd_id == key[1]][-1]
    ended = (told.state, told.code, told.claims.get("reason"))
    assert ended == (("refused", "E_STATE", "unforeseen ZeroDivisionError") if bug else ("done", "", None))
    assert box.posted() == [("OnDemand", METER)]


# ---- how it ended ---------------------------------------------------------------------------------------------------

DOUBTED = {
    Event.UNSENT: State.FAILED_UNSENT,
    Event.READ_BACK_TARGET: State.IN_DOUBT,
    Event.READ_BACK_ARMED: State.IN_DOUBT,
    Event.READ_BACK_OTHER: State.IN_DOUBT,
    Event.READ_BACK_NOTHING: State.IN_DOUBT,
    Event.RECOVERED_TARGET: State.IN_DOUBT,
    Event.RECOVERED_OTHER: State.IN_DOUBT,
}


@pytest.mark.parametrize("event", DOUBTED)
def test_an_outcome_that_cannot_be_told_ends_in_doubt_with_nothing_of_what_it_says(box, monkeypatch, event):
    key, settle = box.plan(), Life.settle
    box.send(key)

    def stumbles(life, key, event, reason, *readback):
        return settle(life, key, event, reason) if not readback else stumble()

    monkeypatch.setattr(Life, "settle", stumbles)
    box.dispatch.read(Outcome(key, event, (ReadBack(OutputState.CONNECTED),), "as said"))
    told = box.receipts()[-1]
    assert (told.state, told.claims["reason"]) == (DOUBTED[event].value, "unforeseen ZeroDivisionError")
    assert "readback" not in told.claims


@pytest.mark.parametrize("known", [True, False])
def test_a_doubt_is_told_with_its_meter_where_that_is_known(box, known):
    key = box.plan()
    box.send(key)
    if not known:
        box.begin()
    box.dispatch.read(Outcome(key, Event.READ_BACK_NOTHING, reason="no answer"))
    assert box.kept(key).state is State.IN_DOUBT
    [alarm] = box.alarms
    assert (alarm.kind, alarm.meter) == (AlarmKind.COMMAND_IN_DOUBT, METER if known else "")
    assert alarm.facts == {"iss": ISS, "cmd_id": key[1]} and alarm.text.endswith("no answer")


@pytest.mark.parametrize("event", [Event.READ_BACK_TARGET, Event.READ_BACK_OTHER, Event.UNSENT])
def test_what_is_in_no_doubt_raises_no_alarm_and_frees_its_lane(box, event):
    key = box.plan()
    box.send(key)
    box.plan("message")
    assert box.posted() == []
    box.dispatch.read(Outcome(key, event, (ReadBack(OutputState.DISCONNECTED),)))
    assert box.alarms == [] and box.posted() == [SWITCHING]


def test_light_of_which_surely_nothing_was_sent_is_tried_again_while_its_time_holds(box):
    key = box.plan("connect")
    box.send(key, **OPENED)
    box.dispatch.read(Outcome(key, Event.UNSENT, reason="too late"))
    assert box.kept(key).state is State.ACCEPTED and box.posted() == [] == box.told()
    box.clock.mono_s += AGAIN_S
    box.send(key, **OPENED)
    box.clock.mono_s += LONGEST_LIFE_S - 2 * AGAIN_S
    box.dispatch.read(Outcome(key, Event.UNSENT, reason="too late again"))
    [fell] = box.told()
    assert fell == Fell(key, Refusal.E_EXPIRED, "too late again")
    box.dispatch.read(fell)
    assert (box.receipts()[-1].state, box.receipts()[-1].code) == ("refused", "E_EXPIRED")


def test_light_whose_outcome_could_not_be_stored_for_so_long_that_it_was_forgotten_goes_at_once(box):
    key = box.plan("connect")
    box.send(key, **OPENED)
    box.begin()
    box.dispatch.read(Outcome(key, Event.UNSENT, reason="too late"))
    assert box.told() == []
    box.send(key, **OPENED)


@pytest.mark.parametrize("letter", ["ready", "brought", "outcome"])
def test_a_store_that_cannot_keep_what_a_letter_says_is_told_of_to_who_keeps_the_letter(box, letter):
    key = box.plan(**READ) if letter == "brought" else box.plan()
    if letter == "outcome":
        box.send(key)
    letters = {"ready": Ready(key, evidence(), Reply()), "brought": Brought(key, evidence()), "outcome": None}
    before, box.store.fault = box.kept(key), full
    with pytest.raises(StoreFull):
        box.dispatch.read(letters[letter] or Outcome(key, Event.READ_BACK_TARGET))
    assert box.kept(key) == before


# ---- after a crash --------------------------------------------------------------------------------------------------


def test_light_that_a_crash_left_open_goes_at_once_and_waits_for_no_clock(box):
    box.accept("connect")
    box.heard = False
    box.clock.trusted = ClockState.UNTRUSTED
    box.dispatch.recover()
    assert box.posted() == [SWITCHING]
    box.clock.epoch_s += 3600
    assert box.posted() == [] and box.told() == []


def test_a_start_goes_on_where_the_meter_of_what_it_takes_up_is_not_here_any_more(box):
    key = box.accept("connect")
    del box.book.meters[METER]
    box.dispatch.recover()
    assert box.posted() == []
    [fell] = box.told()
    box.dispatch.read(fell)
    assert (box.kept(key).state, box.receipts()[-1].code) == (State.REFUSED, "E_METER")


def test_what_a_crash_left_under_way_is_inspected_until_it_is_seen_and_then_in_doubt(box):
    key = box.accept()
    assert box.life.dispatch(key, evidence())
    box.dispatch.recover()
    for _ in range(TRIES - 1):
        assert box.posted() == [("Inspection", METER)]
        box.dispatch.read(Unseen(key, "no answer"))
        assert box.posted() == [] and box.told() == []
        box.clock.pass_s(5)
    assert box.posted() == [("Inspection", METER)]
    box.dispatch.read(Unseen(key, "no answer"))
    [outcome] = box.told()
    assert outcome == Outcome(key, Event.RECOVERED_OTHER, reason="no answer")
    box.dispatch.read(outcome)
    assert box.kept(key).state is State.IN_DOUBT and box.alarms[-1].meter == METER
    box.clock.pass_s(5)
    assert box.posted() == []
