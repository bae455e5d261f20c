"""The clock's state machine: each way into and out of each state, and laws over random lives of a clock."""

import random
from dataclasses import replace

import pytest

from dcu.reading import ClockState
from dcu.timekeeping import (
    ALONE_S,
    BEHIND_S,
    CALM_S,
    HEARING_S,
    HOLDOVER_S,
    LIFE_S,
    SETTLE_S,
    STEADY_S,
    VETO_S,
    Because,
    KeptTime,
    Sighting,
    Timekeeper,
)

BUILT_S = 1_793_491_200.0  # 2026-11-01
NOW_S = BUILT_S + 30 * 86_400
YEAR_S = 365.25 * 86_400
TRUSTED, HOLDOVER, UNTRUSTED = ClockState.TRUSTED, ClockState.HOLDOVER, ClockState.UNTRUSTED


class Kernel:
    """A box's clocks, moved by hand."""

    def __init__(self, wall_s=NOW_S, *, disciplined=True, kept=None, boot="b1", boot_s=100.0):
        self.seen = Sighting(wall_s, boot_s, disciplined)
        self.keeper = Timekeeper(BUILT_S, boot)
        self.keeper.remember(kept)

    def run(self, seconds, every_s=60.0):
        """Time passes, looked at as the process does; the last standing."""
        standing = self.look()
        while seconds > 0:
            turn_s = min(seconds, every_s)
            self.seen = replace(self.seen, wall_s=self.seen.wall_s + turn_s, boot_s=self.seen.boot_s + turn_s)
            seconds -= turn_s
            standing = self.look()
        return standing

    def step(self, seconds):
        self.seen = replace(self.seen, wall_s=self.seen.wall_s + seconds)
        return self.look()

    def disciplined(self, *, so):
        self.seen = replace(self.seen, disciplined=so)
        return self.look()

    def meters(self, *ahead_s, all_asked=False):
        offset_s = self.seen.wall_s - self.seen.boot_s
        self.keeper.hear_meters([offset_s + each for each in ahead_s], all_asked=all_asked)

    def look(self):
        return self.keeper.look(self.seen)


def test_a_disciplined_clock_is_trusted_at_once_and_an_undisciplined_one_never():
    assert Kernel().look().state is TRUSTED
    kernel = Kernel(disciplined=False)
    assert (kernel.look().state, kernel.look().because) == (UNTRUSTED, Because.NEVER_SET)
    assert kernel.run(400 * 86_400, every_s=3600).state is UNTRUSTED


@pytest.mark.parametrize(
    ("told", "heard"),
    [
        ([], False),
        ([((), False)], False),
        ([((0, 0), False)], False),
        ([((0, 0, 0), False)], True),
        ([((9e9, 9e9, 9e9), False)], True),
        ([((), True)], True),
        ([((0,), True)], True),
        ([((0, 0, 0), False), ((), False)], True),
    ],
)
def test_whether_the_meters_have_had_their_say(told, heard):
    kernel = Kernel()
    assert not kernel.look().heard
    for ahead_s, all_asked in told:
        kernel.meters(*ahead_s, all_asked=all_asked)
    assert kernel.look().heard is heard
    assert kernel.run(HEARING_S - 101).heard is heard
    assert kernel.run(101).heard, "it is waited for them no longer"


def test_what_a_process_before_heard_counts_for_nothing():
    kernel = Kernel(kept=KeptTime(BUILT_S, "b1", 90.0, NOW_S - 10))
    assert (kernel.look().state, kernel.look().heard) == (TRUSTED, False)


def test_hold_over_lasts_a_day_of_boottime_and_no_look_prolongs_it():
    kernel = Kernel()
    kernel.run(600)
    kernel.disciplined(so=False)
    assert kernel.run(HOLDOVER_S - 1).state is HOLDOVER
    assert kernel.run(2).because is Because.HELD_TOO_LONG
    assert kernel.disciplined(so=True).state is TRUSTED
    assert kernel.disciplined(so=False).state is HOLDOVER


@pytest.mark.parametrize("seconds", [-10 * YEAR_S, -YEAR_S, -86_400, -60, -3, 3, 60, 86_400, YEAR_S, 10 * YEAR_S])
@pytest.mark.parametrize("disciplined", [True, False])
def test_a_clock_that_was_believed_and_steps_is_not_believed(seconds, disciplined):
    kernel = Kernel()
    kernel.run(600)
    kernel.disciplined(so=disciplined)
    after = kernel.step(seconds)
    assert (after.state, after.steps) == (UNTRUSTED, 1)
    assert after.step_s == pytest.approx(seconds)
    settled = kernel.run(SETTLE_S + 1)
    good = disciplined and kernel.seen.wall_s > BUILT_S
    assert settled.state is (TRUSTED if good else UNTRUSTED)
    assert kernel.disciplined(so=False).state is (HOLDOVER if good else UNTRUSTED)  # a step ends what was held over


@pytest.mark.parametrize("seconds", [-1.0, 1.0])
def test_a_leap_second_is_no_step_but_many_small_ones_add_up(seconds):
    kernel = Kernel()
    kernel.run(600)
    assert kernel.step(seconds).state is TRUSTED
    kernel.run(600)
    kernel.step(seconds)
    assert kernel.step(seconds).because is Because.STEPPED


def test_each_further_step_within_a_day_costs_twice_as_long():
    kernel = Kernel()
    kernel.run(600)
    for settle_s in (SETTLE_S, 2 * SETTLE_S, 4 * SETTLE_S):
        kernel.step(-199)
        assert kernel.run(settle_s - 1).because is Because.STEPPED
        assert kernel.run(2).state is TRUSTED
    kernel.run(CALM_S)
    kernel.step(199)
    assert kernel.run(SETTLE_S + 1).state is TRUSTED


def test_no_time_server_holds_the_time_still():
    """Back by all that passed, whenever the clock is believed: of a day of that an hour at most is believed."""
    kernel, believed_s = Kernel(), 0
    for _ in range(86_400 // 60):
        if kernel.run(60).state is TRUSTED:
            believed_s += 60
            kernel.step(-60)
    assert believed_s <= 3600


def test_two_clocks_that_were_read_far_apart_are_no_step():
    kernel = Kernel()
    kernel.run(600)
    kernel.seen = replace(kernel.seen, wall_s=kernel.seen.wall_s + 5, slack_s=5.0)
    assert kernel.look().steps == 0


def test_a_clock_that_was_not_believed_may_step_to_the_true_time():
    kernel = Kernel(0.0, disciplined=False)
    assert kernel.run(3600).because is Because.BEFORE_FLOOR
    kernel.step(NOW_S)
    assert kernel.disciplined(so=True).state is TRUSTED


def test_before_the_floor_and_beyond_any_life_nothing_is_believed():
    kept = KeptTime(NOW_S, "b0", 5.0, NOW_S)
    assert Kernel(NOW_S - 1, kept=kept).look().because is Because.BEFORE_FLOOR
    assert Kernel(NOW_S + 1, kept=kept).look().state is TRUSTED
    assert Kernel(BUILT_S - 1).look().because is Because.BEFORE_FLOOR
    assert Kernel(BUILT_S + LIFE_S + 1).look().because is Because.BEYOND_LIFE
    assert Kernel(NOW_S, kept=KeptTime(BUILT_S + 2 * LIFE_S, "b0", 5.0, NOW_S)).look().state is TRUSTED


@pytest.mark.parametrize(
    ("ahead_s", "state"),
    [
        ([VETO_S + 2] * 3, UNTRUSTED),
        ([-VETO_S - 2] * 3, UNTRUSTED),
        ([VETO_S - 2] * 3, TRUSTED),
        ([VETO_S + 2] * 2, TRUSTED),  # too few
        ([0, 0, YEAR_S], TRUSTED),  # one wrong meter vetoes nothing
        ([0, -YEAR_S, YEAR_S], TRUSTED),
        ([0, YEAR_S, YEAR_S], UNTRUSTED),
    ],
)
def test_the_median_of_three_meters_vetoes(ahead_s, state):
    kernel = Kernel()
    kernel.meters(*ahead_s)
    assert kernel.look().state is state
    kernel.meters()
    assert kernel.look().state is TRUSTED


def test_meters_are_no_source():
    kernel = Kernel(disciplined=False)
    kernel.meters(0, 0, 0, 0)
    assert kernel.look().state is UNTRUSTED


def test_meters_speak_against_a_first_time_that_is_wrong_before_it_is_believed():
    kernel = Kernel(0.0, disciplined=False)
    kernel.meters(NOW_S, NOW_S, NOW_S)
    kernel.seen = replace(kernel.seen, wall_s=NOW_S + YEAR_S, disciplined=True)
    assert kernel.look().because is Because.METERS
    assert kernel.look().meters_ahead_s == pytest.approx(-YEAR_S)


def test_the_floor_rises_after_a_steady_hour_with_the_meters_and_a_day_without():
    for ahead_s, needed_s in (((1, 2, 3), STEADY_S), ((), ALONE_S), ((1, 2), ALONE_S)):
        kernel = Kernel()
        kernel.meters(*ahead_s)
        assert kernel.run(needed_s - 1).floor_s == BUILT_S
        assert kernel.run(1).floor_s == kernel.seen.wall_s - BEHIND_S


def test_a_wrong_year_does_not_become_the_floor_by_an_hour_nor_against_the_meters():
    kernel = Kernel()
    kernel.meters(0, 0, 0)
    kernel.run(2 * STEADY_S)
    floor_s = kernel.keeper.floor_s
    kernel.step(10 * YEAR_S)
    assert kernel.run(30 * 86_400, every_s=600).floor_s == floor_s
    kernel.step(-10 * YEAR_S)
    assert kernel.run(SETTLE_S + 1).state is TRUSTED


def test_a_floor_that_is_wrong_nevertheless_is_lowered_by_hand():
    kernel = Kernel()
    kernel.step(10 * YEAR_S)
    kernel.run(2 * ALONE_S)
    kernel.step(-10 * YEAR_S)
    assert kernel.run(3600).because is Because.BEFORE_FLOOR
    kernel.keeper.lower_floor(BUILT_S)
    assert kernel.look().state is TRUSTED


def test_hold_over_goes_on_behind_a_restart_of_the_process_and_not_behind_one_of_the_machine():
    kernel = Kernel()
    kernel.run(600)
    kept = kernel.keeper.keep()
    kernel.disciplined(so=False)
    assert kernel.keeper.keep() is None
    kernel.run(3600)
    seen = kernel.seen
    again = Kernel(seen.wall_s, disciplined=False, kept=kept, boot_s=seen.boot_s)
    assert again.look().state is HOLDOVER
    assert again.run(HOLDOVER_S - 3600 + 1).state is UNTRUSTED
    assert Kernel(seen.wall_s, disciplined=False, kept=kept, boot="b2", boot_s=9.0).look().state is UNTRUSTED


def test_a_step_between_two_starts_of_the_process_is_seen():
    kernel = Kernel()
    kernel.run(600)
    kept, seen = kernel.keeper.keep(), kernel.seen
    again = Kernel(seen.wall_s + 90, kept=kept, boot_s=seen.boot_s + 10)
    assert again.look().because is Because.STEPPED
    assert again.look().step_s == pytest.approx(80)


@pytest.mark.parametrize("seed", range(40))
def test_whatever_happens_the_laws_hold(seed):
    """Floor never down; trusted only if disciplined; hold-over at most a day; nothing below the floor is known."""
    chance = random.Random(seed)
    kernel = Kernel(chance.choice([0.0, NOW_S]), disciplined=chance.random() < 0.5)
    floor_s, known_s, true_offset_s = 0.0, None, NOW_S - 100.0
    for _ in range(400):
        match chance.randrange(6):
            case 0:
                kernel.step(chance.choice([-1, 1]) * 10 ** chance.uniform(0, 8.5))
            case 1:
                kernel.disciplined(so=chance.random() < 0.5)
            case 2:
                kernel.keeper.hear_meters([true_offset_s] * chance.randrange(5))
            case _:
                pass
        standing = kernel.run(10 ** chance.uniform(0, 5), every_s=1800)
        seen = kernel.seen
        assert standing.floor_s >= floor_s
        floor_s = standing.floor_s
        if standing.state is TRUSTED:
            assert seen.disciplined
            known_s = seen.boot_s
        if standing.state is HOLDOVER:
            assert seen.boot_s - known_s <= HOLDOVER_S + 1
        if standing.state.known:
            assert floor_s <= seen.wall_s <= BUILT_S + LIFE_S
            assert standing.voices < 3 or abs(standing.meters_ahead_s) <= VETO_S
