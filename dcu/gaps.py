"""The gap ledger's arithmetic: which intervals should exist, which are held, which never come. Pure.

Times are seconds since 1970 by the meter's clock. A *grid* is all instants with one remainder (its phase) by the
capture period. A *span* is (first, last), both on the grid and both included: a year of 15-minute rows without a gap
is one span. Rows off the grid (the clock was set, the period was changed) are single instants beside the spans.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from enum import Enum
from typing import Final, Protocol

Span = tuple[int, int]
"""(first, last) instants, inclusive."""

Absent = tuple[int, int, str]
"""(first, last, reason) of instants that will never come."""

DAY_S: Final = 86_400

SUMMER_TIME_S: Final = 7_200
"""How far from its grid a daily row may stand: a local midnight moves by an hour, in places by two."""


class Absence(Enum):
    """Why an interval will never come; the words are what the head-end and the technician read."""

    METER_OFF = "meter off"
    OVERWRITTEN = "overwritten"  # gone from the meter's ring before it was asked
    REFUSED = "refused"  # overwritten while the meter refused its profile
    OTHER_PERIOD = "other period"  # captured at another period at that time: this instant never was one
    CLOCK_SET = "clock set"  # the meter's clock was set forward over it
    METER_REPLACED = "meter replaced"  # another meter stands in its place, and took over before this was read


@dataclass(frozen=True, slots=True)
class EarlierGrid:
    """The grid of a ring before its capture period was found changed.

    Attributes:
        period_s: capture period that was in force.
        from_s: the first instant that is not settled, on that grid; beyond `until_s` where all are.
        until_s: when the change was found, by the meter's clock.
        sure_s: its newest row that the grid after it does not have: the change came later. 0: no such row is held.
    """

    period_s: int
    from_s: int
    until_s: int
    sure_s: int = 0

    def has(self, at: int) -> bool:
        """Whether it has that instant."""
        return on_grid(at, self.from_s, self.period_s)


@dataclass(frozen=True, slots=True)
class Unsettled:
    """Instants of an earlier grid of which nothing is known, and the held rows around them.

    Attributes:
        grid: whose.
        first_s, last_s: between which instants; those in between that are held or absent are meant by nobody.
        before_s, behind_s: the nearest rows that are held; None where there is none.
    """

    grid: EarlierGrid
    first_s: int
    last_s: int
    before_s: int | None
    behind_s: int | None


class Known(Protocol):
    """What is known of one profile of one meter; `ports.ProfileState` is one."""

    @property
    def period_s(self) -> int:
        """Capture period; 0 where none is known or the profile has none."""
        ...

    @property
    def since_s(self) -> int:
        """From when on intervals are expected, on the grid."""
        ...

    @property
    def held(self) -> Sequence[Span]:
        """Ascending, disjoint."""
        ...

    @property
    def absent(self) -> Sequence[Absent]:
        """Ascending, disjoint."""
        ...


@dataclass(frozen=True, slots=True)
class Admission:
    """Which rows of a reading are let in.

    Attributes:
        new: times not held before, each once, in the order in which they came.
        held: the spans, now with the instants that those of `new` fill.
        strays: those of `new` that are not on the grid.
    """

    new: tuple[int, ...]
    held: tuple[Span, ...]
    strays: tuple[int, ...]


def expected(since: int, until: int, period: int) -> range:
    """Instants from `since` (on the grid) to `until`, both included; none where there is no period."""
    return range(since, until + 1, period) if period > 0 else range(0)


def on_grid(at: int, phase: int, period: int) -> bool:
    """Whether `at` has the grid's remainder."""
    return period > 0 and (at - phase) % period == 0


def slot(at: int, phase: int, period: int) -> int | None:
    """The instant on the grid that a row captured at `at` fills, or None.

    A row fills its own instant; a daily one also that which summer time has moved it from.
    """
    if period <= 0:
        return None
    off = (at - phase) % period
    near = at - off if 2 * off <= period else at - off + period
    return near if near == at or (period % DAY_S == 0 and abs(at - near) <= SUMMER_TIME_S) else None


def snap(span: Span, phase: int, period: int) -> Span | None:
    """The part of `span` from its first to its last instant on the grid; None when there is none in it."""
    first = span[0] + (phase - span[0]) % period
    last = span[1] - (span[1] - phase) % period
    return (first, last) if first <= last else None


def phase_of(times: Collection[int], period: int, midnight: int) -> int:
    """Remainder of the grid that rows at `times` stand on.

    Meters capture in step with the face of their clock, so the grid goes through local `midnight`; a meter that counts
    its periods from another moment is known by most of its rows having another remainder, and at least two.
    """
    face = midnight % period
    votes = Counter(at % period for at in set(times))
    if not votes:
        return face
    phase, count = max(votes.items(), key=lambda vote: (vote[1], -vote[0]))
    return phase if count >= 2 and count > votes[face] else face


def spans(times: Iterable[int], period: int) -> tuple[Span, ...]:
    """Spans of instants on one grid."""
    return merge(((at, at) for at in times), period)


def merge(parts: Iterable[Span], period: int) -> tuple[Span, ...]:
    """Union of spans on one grid: ascending, disjoint, and neighbours joined."""
    merged: list[Span] = []
    for first, last in sorted(parts):
        if merged and first <= merged[-1][1] + period:
            merged[-1] = (merged[-1][0], max(merged[-1][1], last))
        else:
            merged.append((first, last))
    return tuple(merged)


def without(parts: Sequence[Span], taken: Sequence[Span], period: int) -> tuple[Span, ...]:
    """Instants of `parts` that are not in `taken`; both ascending and disjoint, on one grid."""
    left: list[Span] = []
    turn = 0
    for first, last in parts:
        start = first
        while turn < len(taken) and taken[turn][1] < start:
            turn += 1
        look = turn
        while look < len(taken) and taken[look][0] <= last and start <= last:
            if start < taken[look][0]:
                left.append((start, taken[look][0] - period))
            start = max(start, taken[look][1] + period)
            look += 1
        if start <= last:
            left.append((start, last))
    return tuple(left)


def admit(
    held: Sequence[Span], times: Iterable[int], period: int, *, phase: int = 0, strays: AbstractSet[int] = frozenset()
) -> Admission:
    """Let each instant in once.

    Args:
        held: spans on the grid.
        times: of the rows that came, in any order, with repetitions.
        period: capture period; 0: there is no grid, every row stands alone.
        phase: of the grid.
        strays: those of `times` that are off the grid and were let in before.
    """
    new: list[int] = []
    filled: list[int] = []
    odd: list[int] = []
    for at in dict.fromkeys(times):
        if on_grid(at, phase, period):
            if not _holds(held, at):
                new.append(at)
                filled.append(at)
        elif at not in strays:
            new.append(at)
            odd.append(at)
            near = slot(at, phase, period)
            filled += [] if near is None else [near]
    return Admission(tuple(new), merge([*held, *((at, at) for at in filled)], period), tuple(odd))


def missing(known: Known, until: int) -> tuple[Span, ...]:
    """What is expected up to `until`, is not held, and is not known to be absent."""
    if known.period_s <= 0:
        return ()
    whole = snap((known.since_s, until), known.since_s, known.period_s)
    if whole is None:
        return ()
    settled = merge([*known.held, *((first, last) for first, last, _ in known.absent)], known.period_s)
    return without([whole], settled, known.period_s)


def margins(missing_: Sequence[Span], period: int) -> list[Span]:
    """What is missing, to the second: from behind the instant before each span up to before the one behind it."""
    return [(first - period + 1, last + period - 1) for first, last in missing_]


def next_range(gaps: Sequence[Span], period: int, at_most: int, *, newest_first: bool = False) -> Span | None:
    """What to ask next: at most `at_most` intervals from one end of the oldest or newest gap; None without gaps."""
    if not gaps or at_most <= 0:
        return None
    reach = (at_most - 1) * period
    first, last = gaps[-1] if newest_first else gaps[0]
    return (max(first, last - reach), last) if newest_first else (first, min(last, first + reach))


def absences(
    asked: Span,
    returned: Collection[int],
    *,
    phase: int,
    period: int,
    oldest: int | None = None,
    newest: int | None = None,
) -> tuple[Absent, ...]:
    """Instants of `asked` that will never come, as far as the answer proves it.

    Below the ring's oldest row they are overwritten; between rows that the ring has, the meter was off. Above its
    newest row they may be yet to be captured, and below the lowest answer with no `oldest` known nothing is proven:
    those stay missing.

    Args:
        asked: the range that was asked; its ends need not be on the grid.
        returned: times of the rows that came.
        phase: of the grid.
        period: of the grid.
        oldest: time of the oldest row in the meter's ring, where known.
        newest: time of the newest row in the meter's ring, where known.
    """
    whole = snap(asked, phase, period) if period > 0 else None
    if whole is None:
        return ()
    floor = oldest if oldest is not None else min(returned, default=None)
    ceiling = max([*returned, *([] if newest is None else [newest])], default=None)
    gone = _below(whole, oldest, phase, period)
    lost = [(*gone, Absence.OVERWRITTEN.value)] if gone else []
    if floor is not None and ceiling is not None:
        between = snap((max(whole[0], floor), min(whole[1], ceiling)), phase, period)
        came = spans((near for at in returned if (near := slot(at, phase, period)) is not None), period)
        lost += [(*hole, Absence.METER_OFF.value) for hole in without([between] if between else [], came, period)]
    return tuple(lost)


def outside(absent: Sequence[Absent], taken: Sequence[Span], period: int) -> tuple[Absent, ...]:
    """Absent spans without what is in `taken`."""
    return tuple(
        (first, last, reason) for start, end, reason in absent for first, last in without([(start, end)], taken, period)
    )


def joined(absent: Sequence[Absent], period: int) -> tuple[Absent, ...]:
    """Ascending, disjoint, neighbours of one reason joined; where two overlap the earlier one keeps its instants."""
    whole: list[Absent] = []
    for first, last, reason in sorted(absent):
        start = max(first, whole[-1][1] + period) if whole else first
        if start > last:
            continue
        if whole and whole[-1][2] == reason and start == whole[-1][1] + period:
            whole[-1] = (whole[-1][0], last, reason)
        else:
            whole.append((start, last, reason))
    return tuple(whole)


def common(parts: Sequence[Span], others: Sequence[Span]) -> tuple[Span, ...]:
    """Seconds that are in both; both ascending and disjoint."""
    found: list[Span] = []
    turn = 0
    for first, last in parts:
        while turn < len(others) and others[turn][1] < first:
            turn += 1
        look = turn
        while look < len(others) and others[look][0] <= last:
            found.append((max(first, others[look][0]), min(last, others[look][1])))
            look += 1
    return tuple(found)


def opened(hole: Span, times: Iterable[int], bounds: Span) -> Span:
    """A hole of a grid to the second: from behind the row before it up to before the row behind it.

    Args:
        hole: first and last instant.
        times: of the rows that came.
        bounds: to use where none came before it, or behind it.
    """
    rows = sorted(times)
    first = max((at + 1 for at in rows if at < hole[0]), default=bounds[0])
    last = min((at - 1 for at in rows if at > hole[1]), default=bounds[1])
    return min(first, hole[0]), max(last, hole[1])


def _below(whole: Span, bound: int | None, phase: int, period: int) -> Span | None:
    return None if bound is None else snap((whole[0], min(whole[1], bound - 1)), phase, period)


def _holds(held: Sequence[Span], at: int) -> bool:
    """Whether a span contains `at`: bisection by the spans' first instants."""
    low, high = 0, len(held)
    while low < high:
        middle = (low + high) // 2
        if held[middle][0] <= at:
            low = middle + 1
        else:
            high = middle
    return low > 0 and at <= held[low - 1][1]
