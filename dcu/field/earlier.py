"""Settling what was not read of a ring before its capture period was found changed.

Its rows are read with the ranges of the grid that is in force. What the meter did not capture of the earlier one is
proven like any hole, by the rows around it; only nobody would ask there any more.
"""

from collections.abc import Iterable, Sequence
from itertools import accumulate, pairwise

from dcu import gaps
from dcu.gaps import EarlierGrid, Span, Unsettled
from dcu.ports import ProfileState


def next_unsettled(state: ProfileState, now_s: int, in_vain: Iterable[int]) -> Unsettled | None:
    """The first part that has a row behind it, so that there is something to prove it by.

    Before rows have shown the grid that is in force nobody can tell the two apart.

    Args:
        state: of the ring.
        now_s: by the meter's clock.
        in_vain: first instants of what is not asked again yet.
    """
    if not state.is_shown:
        return None
    vain = set(in_vain)
    ready = (each for each in state.unsettled if each.behind_s is not None and each.behind_s <= now_s)
    return next((each for each in ready if each.first_s not in vain), None)


def window(unsettled: Unsettled) -> Span:
    """What the meter is asked: from the row before it to the row behind it."""
    before = unsettled.first_s if unsettled.before_s is None else unsettled.before_s
    return before, unsettled.last_s if unsettled.behind_s is None else unsettled.behind_s


def proven(unsettled: Unsettled, times: Sequence[int]) -> list[Span] | None:
    """Seconds between rows of one answer that hold instants of the grid; None where not both rows around them came."""
    if not {unsettled.before_s, unsettled.behind_s}.issubset(times):
        return None
    between = ((first + 1, last - 1) for first, last in pairwise(sorted(set(times))))
    grid = unsettled.grid
    return [span for span in between if gaps.snap(span, grid.from_s, grid.period_s) is not None]


def never(hole: Span, phase: int, period: int, state: ProfileState) -> tuple[Span, ...]:
    """Parts of a hole, to the second, in which another grid that may have been in force then had no interval.

    Args:
        hole: seconds in which the meter captured nothing.
        phase: of the grid on which it is seen.
        period: of that grid.
        state: of the ring, with its earlier grids.
    """
    run = gaps.snap(hole, phase, period)
    if run is None:
        return ()
    grids = _in_turn(state, hole[1])
    starts: list[tuple[int, bool]] = []  # where it changes whether it may have been an interval
    for at in gaps.expected(*run, period):
        doubtful = any(since_s < at <= grid.until_s and not grid.has(at) for since_s, grid in grids)
        if not starts or starts[-1][1] != doubtful:
            starts.append((at if starts else hole[0], doubtful))
    ends = [first - 1 for first, _ in starts[1:]] + [hole[1]]
    return tuple((first, last) for (first, doubtful), last in zip(starts, ends, strict=True) if doubtful)


def _in_turn(state: ProfileState, until_s: int) -> list[tuple[int, EarlierGrid]]:
    """All grids of a ring in their order, each with the moment before which it was surely not in force yet."""
    grids = [*state.earlier, EarlierGrid(state.period_s, state.since_s, until_s)]
    sure = accumulate((grid.sure_s for grid in grids[:-1]), max, initial=0)
    return list(zip(sure, grids, strict=True))
