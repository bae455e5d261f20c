"""Freezes and locks: whom they hold, and from when on no more. No box."""

from dataclasses import replace

import pytest

from dcu.command import Restraint
from dcu.reading import ClockState
from dcu.relay.case import Moment
from dcu.relay.policy.floor import FREEZE_S, LOCK_S
from dcu.relay.restraints import FREEZE, LOCK, begun, holding, lapsed, restraint

NOW = 1_795_417_800
KNOWN = Moment(NOW, ClockState.TRUSTED, 0, "boot", 1)
LOST = replace(KNOWN, clock=ClockState.UNTRUSTED)
HELD = Restraint(LOCK, "M", "ravi", "work", 3600, NOW + 1)


def test_one_begins_to_count_when_the_time_is_known():
    assert restraint(LOCK, "M", "ravi", "work", 3600, KNOWN) == replace(HELD, until_s=NOW + 3600)
    waiting = restraint(LOCK, "M", "ravi", "work", 3600, LOST)
    assert waiting.until_s is None and begun(waiting, LOST) is None
    assert begun(waiting, KNOWN) == replace(waiting, until_s=NOW + 3600)
    assert begun(HELD, KNOWN) is None, "it counts already"


@pytest.mark.parametrize(
    ("until_s", "moment", "over"),
    [(NOW + 1, KNOWN, False), (NOW, KNOWN, True), (NOW, LOST, False), (None, KNOWN, False), (None, LOST, False)],
)
def test_it_lapses_only_when_its_time_is_surely_over(until_s, moment, over):
    held = replace(HELD, until_s=until_s)
    assert lapsed(held, moment) is over
    assert holding([held], "M", moment) == (() if over else (held,))


def test_it_holds_its_meter_and_one_of_the_box_holds_all():
    box = replace(HELD, kind=FREEZE, meter="")
    assert holding([HELD, box], "M", KNOWN) == (HELD, box)
    assert holding([HELD, box], "N", KNOWN) == (box,)


def test_how_long_they_last():
    assert (FREEZE_S, LOCK_S, FREEZE, LOCK) == (86400, 259200, "freeze", "lock")
