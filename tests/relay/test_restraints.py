"""Freezes and locks: whom they hold, and from when on no more. No box."""

from dataclasses import replace

import pytest

from dcu.command import Restraint
from dcu.reading import ClockState
from dcu.relay.case import Moment
from dcu.relay.policy.floor import FREEZE_S, LOCK_S
from dcu.relay.restraints import FREEZE, LOCK, counted, holding, lapsed, restraint

NOW, UP_S = 1_795_417_800, 100_000
KNOWN = Moment(NOW, ClockState.TRUSTED, 0, "boot", UP_S, heard=True)
LOST = replace(KNOWN, clock=ClockState.UNTRUSTED)
HELD = Restraint(LOCK, "M", "ravi", "work", 3600, NOW + 1, "boot", UP_S - 3599)


def test_one_begins_to_count_when_the_time_is_known():
    made = Restraint(LOCK, "M", "ravi", "work", 3600, NOW + 3600, "boot", UP_S)
    assert restraint(LOCK, "M", "ravi", "work", 3600, KNOWN) == made
    waiting = restraint(LOCK, "M", "ravi", "work", 3600, LOST)
    assert waiting == replace(made, until_s=None) and counted(waiting, LOST) is None
    later = replace(KNOWN, boot_s=UP_S + 50)
    assert counted(waiting, later) == replace(made, boot_s=UP_S + 50)
    assert counted(HELD, KNOWN) is None, "it counts already"


@pytest.mark.parametrize("left_s", [-5, 0, 1, 3600, 9999])
def test_what_is_left_is_counted_by_the_uptime_of_the_next_boot(left_s):
    again = replace(KNOWN, boot="next", boot_s=30)
    held = replace(HELD, until_s=NOW + left_s)
    assert counted(held, replace(again, clock=ClockState.UNTRUSTED)) is None
    found = counted(held, again)
    assert (found.boot, found.until_s) == ("next", held.until_s)
    assert found.boot_s + found.seconds - again.boot_s == min(max(left_s, 0), 3600)


@pytest.mark.parametrize(
    ("until_s", "moment", "up_s", "over"),
    [
        (NOW + 1, KNOWN, 3600, False),
        (NOW, KNOWN, 3600, True),
        (NOW, KNOWN, 3599, False),  # a clock that was stepped does not end it
        (NOW, replace(KNOWN, boot="next"), 0, True),
        (NOW, LOST, 3600, False),
        (None, KNOWN, 3600, False),
        (None, LOST, 3600, False),
    ],
)
def test_it_lapses_only_when_its_time_is_surely_over(until_s, moment, up_s, over):
    held = replace(HELD, until_s=until_s, boot_s=UP_S - up_s)
    assert lapsed(held, moment) is over
    assert holding([held], "M", moment) == (() if over else (held,))


def test_it_holds_its_meter_and_one_of_the_box_holds_all():
    box = replace(HELD, kind=FREEZE, meter="")
    assert holding([HELD, box], "M", KNOWN) == (HELD, box)
    assert holding([HELD, box], "N", KNOWN) == (box,)


def test_how_long_they_last():
    assert (FREEZE_S, LOCK_S, FREEZE, LOCK) == (86400, 259200, "freeze", "lock")
