"""What the relay room tells at once, and how often the same refusal is told."""

import pytest

from dcu.command import Refusal
from dcu.event import Alarm, AlarmKind
from dcu.reading import ClockState, Uptime, from_epoch
from dcu.relay.alarms import Alarms
from tests.relay.world import METER, NOW, HandClock


class Speaker:
    def __init__(self):
        self.clock, self.told = HandClock(), []
        self.alarms = Alarms(self.clock, self.told.append)

    def refused_each_minute(self, times, code=Refusal.E_SIZE):
        """How many of these are told."""
        before = len(self.told)
        for _ in range(times):
            self.alarms.refused(code, "too large")
            self.clock.pass_s(60)
        return len(self.told) - before


@pytest.fixture
def speaker():
    return Speaker()


TOLD = {
    # what happened, and the alarm: kind, meter, facts, and words that its text has
    "a refusal": (
        lambda each: each.refused(Refusal.E_SIG, "not by that key"),
        (AlarmKind.COMMAND_REFUSED, "", {"code": "E_SIG"}, "not by that key"),
    ),
    "a refusal that names its meter": (
        lambda each: each.refused(Refusal.E_CAP, "too many today", METER),
        (AlarmKind.COMMAND_REFUSED, METER, {"code": "E_CAP"}, "too many today"),
    ),
    "a doubt": (
        lambda each: each.doubt(("hes", "c-1"), "no answer", METER),
        (AlarmKind.COMMAND_IN_DOUBT, METER, {"iss": "hes", "cmd_id": "c-1"}, "c-1 was dispatched"),
    ),
    "a doubt, and nobody knows why": (
        lambda each: each.doubt(("hes", "c-1"), "", METER),
        (AlarmKind.COMMAND_IN_DOUBT, METER, {"iss": "hes", "cmd_id": "c-1"}, "the read-back differs"),
    ),
    "a lock": (
        lambda each: each.locked(METER, "ravi", "fire", 2 * 3600),
        (AlarmKind.LOCKED, METER, {"who": "ravi", "why": "fire", "hours": 2}, f"{METER} is locked by ravi"),
    ),
    "a lock of less than whole hours": (
        lambda each: each.locked(METER, "ravi", "fire", 2 * 3600 - 1),
        (AlarmKind.LOCKED, METER, {"who": "ravi", "why": "fire", "hours": 1}, "fire"),
    ),
    "a lock of the box": (
        lambda each: each.locked("", "ravi", "fire", 72 * 3600),
        (AlarmKind.LOCKED, "", {"who": "ravi", "why": "fire", "hours": 72}, "the box is locked"),
    ),
    "the end of a lock": (
        lambda each: each.unlocked(METER, "ravi"),
        (AlarmKind.UNLOCKED, METER, {"who": "ravi"}, f"{METER} is unlocked by ravi"),
    ),
    "the end of a lock of the box": (
        lambda each: each.unlocked("", "ravi"),
        (AlarmKind.UNLOCKED, "", {"who": "ravi"}, "the box is unlocked"),
    ),
}


@pytest.mark.parametrize("what", TOLD)
def test_an_alarm_says_what_it_is_about(speaker, what):
    happened, (kind, meter, facts, words) = TOLD[what]
    happened(speaker.alarms)
    (alarm,) = speaker.told
    assert alarm == Alarm(kind, from_epoch(NOW), ClockState.TRUSTED, alarm.text, meter, facts)
    assert words in alarm.text


def test_where_the_time_is_not_known_it_says_the_uptime(speaker):
    speaker.clock.trusted = ClockState.UNTRUSTED
    speaker.alarms.unlocked(METER, "ravi")
    assert speaker.told[0].uptime == Uptime("boot-1", 1000)


@pytest.mark.parametrize(("apart_s", "told"), [(0, 1), (59, 1), (60, 2)])
def test_the_same_refusal_is_told_once_a_minute(speaker, apart_s, told):
    speaker.alarms.refused(Refusal.E_SIZE, "too large")
    speaker.clock.pass_s(apart_s)
    speaker.alarms.refused(Refusal.E_SIZE, "too large again")
    assert len(speaker.told) == told
    speaker.alarms.refused(Refusal.E_JSON, "another one")
    assert len(speaker.told) == told + 1


def test_one_refusal_is_told_so_often_in_a_day_and_another_one_is_told_all_the_same(speaker):
    assert speaker.refused_each_minute(40) == 24
    assert speaker.refused_each_minute(40, Refusal.E_JSON) == 24


@pytest.mark.parametrize(("after_s", "told"), [(2219.5, 0), (2220.5, 1)])
def test_then_one_an_hour(speaker, after_s, told):
    """The 24 were told within 23 minutes, of which the hour to the next one is a part."""
    assert speaker.refused_each_minute(24) == 24
    speaker.clock.pass_s(after_s - 60)
    assert speaker.refused_each_minute(1) == told


def test_locks_and_doubts_are_told_however_often(speaker):
    for _ in range(30):
        speaker.alarms.locked(METER, "ravi", "fire", 3600)
        speaker.alarms.doubt(("hes", "c-1"), "", METER)
    assert len(speaker.told) == 60
