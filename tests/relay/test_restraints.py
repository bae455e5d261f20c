"""Freezes and locks: whom they hold, and from when on no more; what is told of them. No box runs."""

from dataclasses import replace

import pytest

from dcu.command import Restraint
from dcu.reading import ClockState
from dcu.relay.case import Moment
from dcu.relay.policy.floor import FREEZE_S, LOCK_S
from dcu.relay.restraints import FREEZE, LOCK, counted, holding, lapsed, restraint
from tests.relay.world import FAR_METER, ISS, METER
from tests.relay.world import NOW as SINCE

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


# ---- what is kept and told ------------------------------------------------------------------------------------------


def told(room):
    """What the receipts of locks and freezes say, the box's own part left out."""
    own = ("v", "typ", "dcu", "jid", "n", "chain", "at", "clock")
    return [
        {name: value for name, value in each.claims.items() if name not in own}
        for each in room.receipts()
        if each.kind in {LOCK, FREEZE}
    ]


OF_A_LOCK = {"kind": "lock", "op": "lock", "meter": METER, "iss": ISS, "cmd_id": "", "digest": ""}
WORDS = {"who": "ravi", "why": "work", "seconds": 600, "until": SINCE + 600}


def test_a_lock_is_told_with_who_why_and_how_long(room):
    made = room.locks.lock(METER, "ravi", "work", 600)
    assert room.locks.held() == [made]
    assert told(room) == [OF_A_LOCK | WORDS | {"state": "locked"}]


def test_a_lock_whose_end_nobody_knows_is_told_without_it(room):
    room.clock.trusted = ClockState.UNTRUSTED
    room.locks.lock(METER, "ravi", "work", 600)
    assert "until" not in told(room)[0] and told(room)[0]["seconds"] == 600


def test_who_unlocks_is_told_and_no_other_restraint_ends(room):
    room.locks.lock(METER, "ravi", "work", 600)
    others = [room.locks.lock("", "sunil", "storm", 600)]
    room.accept("freeze")
    others += [each for each in room.locks.held() if each.kind == FREEZE]
    before = len(told(room))
    assert room.locks.unlock(FAR_METER, "asha") is None and len(told(room)) == before
    assert room.locks.unlock(METER, "asha").who == "ravi"
    assert room.locks.unlock(METER, "asha") is None
    assert told(room)[before:] == [OF_A_LOCK | WORDS | {"state": "unlocked", "who": "asha"}]
    assert room.locks.held() == others and len(others) == 2


@pytest.mark.parametrize("seconds", [LOCK_S, LOCK_S + 1])
def test_no_lock_is_longer_than_three_days(room, seconds):
    assert room.locks.lock(METER, "ravi", "work", seconds).seconds == LOCK_S


def test_what_has_lapsed_is_lifted_and_told_once_and_nothing_else(room):
    room.locks.lock(METER, "ravi", "work", 600)
    later = room.locks.lock("", "sunil", "storm", 601)
    before = len(told(room))
    room.clock.pass_s(599)
    room.locks.pass_time()
    assert len(room.locks.held()) == 2 and len(told(room)) == before
    room.clock.pass_s(1)
    assert room.locks.held() == [later], "it holds nobody any more, and was not looked at yet"
    for _ in range(2):
        room.locks.pass_time()
    assert told(room)[before:] == [OF_A_LOCK | WORDS | {"state": "lapsed"}]
    assert room.locks.held() == list(room.store.rows.restraints.values()) == [later]


def test_what_waited_for_the_time_is_counted_when_it_is_known(room):
    room.clock.trusted = ClockState.UNTRUSTED
    room.locks.lock(METER, "ravi", "work", 600)
    room.locks.pass_time()
    assert [each.until_s for each in room.locks.held()] == [None]
    room.clock.trusted = ClockState.TRUSTED
    room.clock.pass_s(50)
    before = len(told(room))
    room.locks.pass_time()
    assert [each.until_s for each in room.locks.held()] == [SINCE + 650] and len(told(room)) == before


def test_how_long_they_last():
    assert (FREEZE_S, LOCK_S, FREEZE, LOCK) == (86400, 259200, "freeze", "lock")
