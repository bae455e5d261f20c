"""What was, of one profile of one meter: its rows, and what kept it from capturing them or from telling."""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

Span = tuple[float, float]
"""Elapsed seconds of the true time."""

INDIA_S = 19_800
"""The grid goes through midnight there."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """A time in which nothing was done to a meter's clock and capture period.

    Attributes:
        from_s, to_s: elapsed seconds.
        clock_s: what the meter's clock showed at the beginning, seconds since 1970.
        rate: its seconds a true second.
        period_s: capture period; 0 where there is none.
    """

    from_s: float
    to_s: float
    clock_s: float
    rate: float
    period_s: int

    def clock(self, elapsed_s: float) -> float:
        """What the clock shows then."""
        return self.clock_s + (elapsed_s - self.from_s) * self.rate

    def elapsed(self, clock_s: float) -> float:
        """When it shows that."""
        return self.from_s + (clock_s - self.clock_s) / self.rate

    def grid(self, from_s: float, to_s: float) -> range:
        """Instants of its clock in (from, to] of elapsed seconds."""
        first = int(self.clock(from_s)) + 1
        return range(first + -(first + INDIA_S) % self.period_s, int(self.clock(to_s)) + 1, self.period_s)


@dataclass(slots=True)
class Truth:
    """One profile of one meter.

    Attributes:
        serial, profile: whose.
        rows: (captured_at, values), in the order of capture.
        entries: that the buffer holds.
        stretches: of the time in which it was there, ascending.
        off: spans without supply.
        cleared: moments at which the buffer was emptied.
        unreachable: spans in which the box could not speak to it.
        removed_s: when another meter took its place, if one did.
        rolls: a full buffer drops its oldest row.
        repeats: what the clock passes twice is captured twice; else nothing is captured that is not later than the
            newest row.
    """

    serial: str
    profile: str
    rows: list[tuple[int, tuple[Any, ...]]]
    entries: int
    stretches: Sequence[Stretch]
    off: Sequence[Span] = ()
    cleared: Sequence[float] = ()
    unreachable: Sequence[Span] = ()
    removed_s: float = float("inf")
    rolls: bool = True
    repeats: bool = True

    def capture_times(self) -> list[float]:
        """When each row was captured, elapsed seconds: the first stretch after the last one's that can have been it."""
        times: list[float] = []
        turn, before = 0, float("-inf")
        for at, _ in self.rows:
            for number in range(turn, len(self.stretches)):
                stretch = self.stretches[number]
                when_s = stretch.elapsed(at)
                if stretch.from_s - EDGE_S <= when_s <= stretch.to_s + EDGE_S and when_s >= before - EDGE_S:
                    turn = number
                    break
            else:
                when_s = before
            times.append(when_s)
            before = when_s
        return times


EDGE_S = 2.0
"""What happens at the very moment of a capture may go either way."""


class Losses:
    """Which rows left the buffer before the box could have asked for them.

    Args:
        truth: of the profile.
        grace_s: for so long it may have been able to, busy with what waited.
    """

    def __init__(self, truth: Truth, grace_s: float) -> None:
        self._truth = truth
        self._grace_s = grace_s
        self._captured = truth.capture_times()
        self._newest = list(accumulate((at for at, _ in truth.rows), max))
        self._first = {}
        for number, (at, _) in enumerate(truth.rows):
            self._first.setdefault(at, number)
        self._order = sorted(self._first)

    def captured_s(self, number: int) -> float:
        """When a row was captured."""
        return self._captured[number]

    def newest_at(self, elapsed_s: float) -> int:
        """The latest time of a row that was captured by then; 0 before the first."""
        count = bisect_left(self._captured, elapsed_s)
        return self._newest[count - 1] if count else 0

    def number(self, at: int) -> int:
        """Of the first row of that time or after it."""
        place = bisect_left(self._order, at)
        return self._first[self._order[place]] if place < len(self._order) else len(self._truth.rows)

    def number_before(self, at: int) -> int | None:
        """Of the first row of the latest time before it; None where there is none."""
        place = bisect_left(self._order, at)
        return self._first[self._order[place - 1]] if place else None

    def was_lost(self, number: int) -> bool:
        """Whether the buffer lost a row so early."""
        lost_s = self.lost_s(number)
        return lost_s is not None and self.was_out_of_reach(number, lost_s)

    def lost_s(self, number: int) -> float | None:
        """When the buffer lost it."""
        if number >= len(self._captured):
            return None
        captured_s, beyond = self._captured[number], number + self._truth.entries
        moments = [cleared_s for cleared_s in self._truth.cleared if cleared_s >= captured_s - EDGE_S]
        if self._truth.rolls and beyond < len(self._captured):
            moments.append(self._captured[beyond])
        return min(moments, default=None)

    def was_out_of_reach(self, number: int, until_s: float) -> bool:
        """Whether the box could not speak to the meter, but for the grace, from a row's capture to a moment."""
        captured_s = self._captured[number]
        covered_s = covered(self._truth.unreachable, captured_s, until_s)
        return until_s - captured_s - covered_s <= self._grace_s


def joined(spans: Iterable[Span], longer_by_s: float = 0.0) -> list[Span]:
    """Their union, each longer by so much."""
    whole: list[Span] = []
    for first, last in sorted(spans):
        if whole and first <= whole[-1][1]:
            whole[-1] = (whole[-1][0], max(whole[-1][1], last + longer_by_s))
        else:
            whole.append((first, last + longer_by_s))
    return whole


def covered(spans: Iterable[Span], from_s: float, to_s: float) -> float:
    """How much of a time lies in them."""
    return sum(max(0.0, min(last, to_s) - max(first, from_s)) for first, last in spans)
