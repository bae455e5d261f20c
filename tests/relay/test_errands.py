"""What an errand brings back, whichever exchange with its meter falls: one letter, and nothing is sent twice."""

import contextlib

import pytest

from dcu.command import ControlState, Event, OutputState, Refusal
from dcu.errors import AttributeDenied, LinkLost, MeterSilent, WarrantRequired
from dcu.mailbox import Mailbox, Stop
from dcu.relay.executor import Inspection, Place, Switching, warrants_of
from dcu.relay.letters import Answer, Fell, Outcome, Unseen
from dcu.relay.receipts import ReadBack
from dcu.relay.schema import read_command
from dcu.relay.warrant import VALID_S
from tests.relay.world import ISS, METER, FakeAssociation, FakeBus, World

KEY = (ISS, "c-1")
OPEN = ReadBack(OutputState.DISCONNECTED, ControlState.DISCONNECTED, said={})
CLOSED = ReadBack(OutputState.CONNECTED, ControlState.CONNECTED, said={})
SHOWN = ReadBack(text=True, holds=True)
SETTLE_S = 1.5


class Line(FakeBus):
    """The line of one meter; `told` is what passes on it, in its order."""

    def __init__(self, clock, meters):
        super().__init__(clock, meters)
        self.told, self.sending, self.release = [], lambda: None, lambda: None

    @contextlib.contextmanager
    def associate(self, meter, purpose):
        self.told.append("associated")
        with super().associate(meter, purpose):
            yield Watched(self.meters[meter.serial], self)
        self.release()


class Watched(FakeAssociation):
    def __init__(self, meter, line):
        super().__init__(meter, line.clock)
        self.line = line

    def get_list(self, refs):
        assert refs, "nothing is asked for"
        self.line.told.append("read")
        return super().get_list(refs)

    def _spend(self, target, data, warrant):
        self.line.sending()
        super()._spend(target, data, warrant)
        self.line.told.append("sent")


class Pole:
    """One errand, and all that it meets."""

    def __init__(self, op="disconnect"):
        self.world = World()
        self.wall, self.meter = self.world.wall[METER], self.world.meters[METER]
        self.line = Line(self.world.clock, self.world.wall)
        self.command = read_command(self.world.claims(op))
        self.letters = Mailbox(Stop())
        self.place = Place(self.letters, self.world.clock, self.world.zone)
        self.steps = 1
        self.answer = self.leave
        self.on_pause = lambda: None
        self.errand = Switching(self.command, self.meter, self.place, self.asked, self.pause, SETTLE_S)

    def asked(self, ready):
        assert ready.key == KEY and ready.evidence.serial == METER
        self.line.told.append("asked")
        return self.answer(ready)

    def leave(self, ready):
        warrants = (warrants_of(self.command, self.meter, ready.evidence, self.place) for _ in range(self.steps))
        return Answer(tuple(each for some in warrants for each in some))

    def pause(self, seconds):
        self.line.told.append(f"waited {seconds} s")
        self.on_pause()

    def run(self):
        """As a bus does."""
        try:
            self.errand.run(self.line)
        except Exception as fault:
            self.errand.failed(fault)

    def letter(self):
        """The one that came of it, ahead of whatever else waits for the relay thread."""
        letter = self.letters.take_urgent()
        assert letter is not None and len(self.letters) == 0
        return letter


@pytest.fixture
def pole():
    return Pole()


def falls(fault):
    def fall(*_args):
        raise fault

    return fall


# ---- each step in its order -----------------------------------------------------------------------------------------

ONCE = ["associated", "read", "asked", "sent", "read", f"waited {SETTLE_S} s", "read"]


def test_it_reads_asks_sends_once_and_looks_twice_in_one_association(pole):
    pole.run()
    assert pole.letter() == Outcome(KEY, Event.READ_BACK_TARGET, (OPEN, OPEN))
    assert pole.line.told == ONCE and pole.wall.acts == [1]


def test_what_is_read_of_no_meter_before_is_not_asked_for():
    pole = Pole("message")
    pole.run()
    assert pole.letter() == Outcome(KEY, Event.READ_BACK_TARGET, (SHOWN, SHOWN))
    assert pole.line.told == [step for n, step in enumerate(ONCE) if n != 1]


def test_what_has_told_its_end_does_and_tells_nothing_any_more(pole):
    pole.run()
    pole.letter()
    pole.run()
    pole.errand.failed(MeterSilent("no answer"))
    assert len(pole.letters) == 0 and pole.line.told == ONCE


# ---- before the leave -----------------------------------------------------------------------------------------------


def test_without_an_answer_in_time_it_goes_home_unreached(pole):
    pole.answer = lambda _ready: None
    with pytest.raises(MeterSilent) as silent:
        pole.errand.run(pole.line)
    assert pole.line.told == ONCE[:3], "and its line goes on with the others"
    pole.errand.failed(silent.value)
    assert pole.letter() == Fell(KEY, Refusal.E_UNREACHABLE, f"{METER}: the relay thread gave no leave in time")


@pytest.mark.parametrize("fault", [None, LinkLost("gone"), ZeroDivisionError("our bug")], ids=str)
def test_without_leave_nothing_more_is_told_however_the_association_ends(pole, fault):
    """The relay thread has ended the command itself, or has it wait: another letter would end it again."""
    pole.answer = lambda _ready: Answer()
    pole.line.release = falls(fault) if fault else lambda: None
    pole.run()
    assert len(pole.letters) == 0 and pole.line.told == ONCE[:3]


# ---- behind it ------------------------------------------------------------------------------------------------------


def lose_the_answer(pole):
    pole.wall.lose_reply = True


def refuse(pole):
    pole.wall.on_acted = falls(AttributeDenied("refused", place=METER))


def fall_silent(pole):
    pole.wall.silent_after_act = True


def fall_silent_between_the_looks(pole):
    pole.on_pause = lambda: setattr(pole.wall, "silent", True)


def stick(pole):
    pole.wall.sticks = True


def come_too_late(pole):
    pole.answer = lambda ready: (pole.leave(ready), pole.world.clock.pass_s(VALID_S))[0]


def stumble_before_it_is_sent(pole):
    pole.line.sending = falls(ZeroDivisionError("our bug"))


def stumble_behind_it(pole):
    pole.on_pause = falls(ZeroDivisionError("our bug"))


def lose_the_release(pole):
    pole.line.release = falls(LinkLost("no release", place=METER))


def let_current_flow(pole):
    pole.wall.flows = 4000
    refuse(pole)


FLOWS = ReadBack(OutputState.DISCONNECTED, ControlState.DISCONNECTED, said={"milliamperes": 4000})
FALLS = {
    # what happens: event, looks, how the reason begins, associations
    lose_the_answer: (Event.READ_BACK_TARGET, (OPEN, OPEN), f"{METER}: gone", 2),
    refuse: (Event.READ_BACK_TARGET, (OPEN, OPEN), f"{METER}: refused", 1),
    fall_silent: (Event.READ_BACK_NOTHING, (), f"{METER}: no answer", 2),
    fall_silent_between_the_looks: (Event.READ_BACK_NOTHING, (OPEN,), f"{METER}: no answer", 2),
    stick: (Event.READ_BACK_OTHER, (CLOSED, CLOSED), "", 1),
    come_too_late: (Event.UNSENT, (), f"{METER}: the warrant's time has passed", 1),
    stumble_before_it_is_sent: (Event.UNSENT, (), "our bug", 1),
    stumble_behind_it: (Event.READ_BACK_NOTHING, (OPEN,), "our bug", 1),
    lose_the_release: (Event.READ_BACK_TARGET, (OPEN, OPEN), f"{METER}: no release", 1),
    let_current_flow: (Event.READ_BACK_NOTHING, (FLOWS, FLOWS), "current flows behind a relay", 1),
}


@pytest.mark.parametrize("fall", FALLS, ids=lambda fall: fall.__name__)
def test_behind_the_leave_there_is_an_outcome_whatever_falls(pole, fall):
    event, looks, reason, associations = FALLS[fall]
    fall(pole)
    pole.run()
    told = pole.letter()
    assert (told.key, told.event, told.readback) == (KEY, event, looks)
    assert told.reason.startswith(reason) and bool(told.reason) == bool(reason)
    assert pole.line.told.count("associated") == associations
    assert pole.line.told.count("sent") == len(pole.wall.acts) == (event is not Event.UNSENT)


def test_of_two_steps_the_second_stays_where_the_first_was_refused_and_it_is_looked_at_what_the_first_did():
    pole = Pole("message")
    pole.steps = 2
    refuse(pole)
    pole.run()
    assert pole.letter() == Outcome(KEY, Event.READ_BACK_TARGET, (SHOWN, SHOWN), f"{METER}: refused")
    assert pole.line.told.count("sent") == pole.line.told.count("associated") == 1


def test_what_has_gone_home_has_leave_no_longer(pole):
    given = []
    pole.answer = lambda ready: given.append(pole.leave(ready)) or given[0]
    pole.steps = 2
    pole.line.sending = falls(LinkLost("gone"))
    pole.run()
    assert pole.letter().event is Event.UNSENT and len(given[0].warrants) == 2
    for warrant in given[0].warrants:
        with pytest.raises(WarrantRequired, match="spent"):
            warrant.spend(METER, warrant.target, warrant.data, 0.0)


# ---- after a crash --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("connected", "event", "look"), [(False, Event.RECOVERED_TARGET, OPEN), (True, Event.RECOVERED_OTHER, CLOSED)]
)
def test_an_inspection_looks_once_and_sends_nothing(pole, connected, event, look):
    pole.wall.connected, pole.wall.control = connected, int(connected)
    pole.errand = Inspection(pole.command, pole.meter, pole.place)
    pole.run()
    assert pole.letter() == Outcome(KEY, event, (look,))
    assert pole.line.told == ["associated", "read"]


def test_an_inspection_of_a_meter_that_does_not_answer_says_so(pole):
    pole.wall.silent = True
    pole.errand = Inspection(pole.command, pole.meter, pole.place)
    pole.run()
    assert pole.letter() == Unseen(KEY, f"{METER}: no answer")
