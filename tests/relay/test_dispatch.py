"""Accepted commands on their way: what goes to which bus, what becomes of it there, and what ends each. No thread."""

from dataclasses import replace

import pytest

from dcu.command import ControlState, Event, OutputState, Refusal, State
from dcu.errors import OperatorFault, StoreFull
from dcu.event import AlarmKind
from dcu.mailbox import Mailbox, Stop
from dcu.reading import ClockState
from dcu.relay import dispatch
from dcu.relay.alarms import Alarms
from dcu.relay.dispatch import Dispatch
from dcu.relay.executor import Place
from dcu.relay.inspections import TRIES
from dcu.relay.letters import Answer, Brought, Fell, Outcome, Ready, Reply, Unseen
from dcu.relay.life import Life
from dcu.relay.policy.floor import LONGEST_LIFE_S
from dcu.relay.receipts import ReadBack
from dcu.relay.timetable import AGAIN_S
from tests.relay.room import Room, evidence
from tests.relay.world import CAPS, FAR_METER, ISS, METER, RANCHI

OPENED = {"output": OutputState.DISCONNECTED, "control": ControlState.DISCONNECTED}
READ = {"op": "read", "attribute": "1:0.0.96.1.0.255/2"}
SPACING_S = 120


class Bus:
    """Keeps what was posted to it: the errand's kind, its meter, whether it is urgent."""

    def __init__(self, name):
        self.name, self.posted, self.full = name, [], False

    def post(self, errand, *, urgent):
        if self.full:
            raise OperatorFault("too many errands wait for this bus", place=self.name)
        self.posted.append((type(errand).__name__, errand.meter.serial, urgent))


class Box(Room):
    """Two meters, each on a bus of its own; their errands are posted, and their letters given by hand."""

    def __init__(self):
        caps = CAPS | {"spacing_s": SPACING_S}
        super().__init__(meters={METER: RANCHI, FAR_METER: RANCHI}, caps={"arrears": caps, "prepaid": caps})
        self.meters[FAR_METER] = replace(self.meters[FAR_METER], bus="south", area=RANCHI)
        self.book.meters[FAR_METER] = self.meters[FAR_METER]
        self.buses = {name: Bus(name) for name in ("north", "south")}
        self.begin()

    def begin(self):
        """As a process that has just started."""
        self.letters = Mailbox(Stop())
        self.place = Place(self.letters, self.clock, self.zone)
        alarms = Alarms(self.clock, self.alarms.append)
        given = {"ask": lambda _ready: None, "pause": lambda _s: None, "settle_s": 0.0, "inspect_again_s": 5.0}
        self.dispatch = Dispatch(self.book, alarms, self.buses, self.place, **given)

    def plan(self, op="disconnect", meter=METER, **changes):
        """A command is accepted, and goes its way; its key."""
        ruling = self.decide(op, meter, **changes)
        assert ruling.verdict.status == "accepted", ruling
        self.dispatch.plan(ruling.command, ruling)
        return ruling.command.iss, ruling.command.cmd_id

    def posted(self):
        """What is posted as the time passes: meters, by bus."""
        self.dispatch.pass_time()
        found = [(kind, serial) for bus in self.buses.values() for kind, serial, _ in bus.posted]
        for bus in self.buses.values():
            bus.posted.clear()
        return found

    def told(self):
        """Letters that wait for the relay thread, each urgent: what the box itself says goes ahead of what comes."""
        found = []
        while (letter := self.letters.take_urgent()) is not None:
            found.append(letter)
        assert len(self.letters) == 0
        return found

    def ready(self, key, meter=METER, **shown):
        """Its errand stands before the meter and asks: (what it is answered, its reply)."""
        reply = Reply()
        self.dispatch.read(Ready(key, evidence(serial=meter, **shown), reply))
        return reply.wait(0.0)

    def send(self, key, meter=METER, **shown):
        """It goes out, and has leave."""
        assert self.posted() == [("Switching", meter)]
        assert len(self.ready(key, meter, **shown).warrants) == 1


@pytest.fixture
def box():
    return Box()


SWITCHING, FAR_SWITCHING = ("Switching", METER), ("Switching", FAR_METER)


def full(*_args, **_more):
    raise StoreFull("no room")


def stumble(*_args, **_more):
    raise ZeroDivisionError("our bug")


# ---- to its bus -----------------------------------------------------------------------------------------------------


def test_what_switches_goes_ahead_of_all_else_on_its_bus_and_what_reads_does_not(box):
    box.plan(**READ)
    box.plan("connect", FAR_METER)
    box.dispatch.pass_time()
    assert box.buses["north"].posted == [("OnDemand", METER, False)]
    assert box.buses["south"].posted == [("Switching", FAR_METER, True)]


def test_what_was_taken_back_goes_nowhere_and_stands_in_nobodys_way(box):
    gone = box.plan("connect")
    box.keep(gone, state=State.VOIDED)
    box.plan("connect", FAR_METER)
    assert box.posted() == [FAR_SWITCHING], "of connects, which go together"
    gone = box.plan()
    box.keep(gone, state=State.VOIDED)
    box.plan("message")
    assert box.posted() + box.posted() == [SWITCHING], "and of others, which go one by one"


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
    ("trusted", "late_s", "life_s"),
    [
        (ClockState.TRUSTED, 0, 3600),
        (ClockState.TRUSTED, 3700, 0),
        (ClockState.UNTRUSTED, 0, LONGEST_LIFE_S),
    ],
)
def test_a_clock_that_is_stepped_back_adds_nothing_to_the_life_of_a_disconnect(box, trusted, late_s, life_s):
    ruling = box.decide()
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
