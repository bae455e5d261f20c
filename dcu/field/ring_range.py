"""Ranges of a ring: what is asked for an interval, and what lies where on its grid. Pure."""

from collections.abc import Sequence
from datetime import timedelta

from dcu import gaps
from dcu.gaps import Span
from dcu.ports import ProfileState
from dcu.reading import MeterTime, Row


def begins(period_s: int, oldest: Row | None, now: MeterTime, history_days: int) -> int:
    """The oldest interval that is expected of a ring: what it still holds, within the history that is wanted.

    Args:
        period_s: capture period.
        oldest: row that it holds; None where it holds none.
        now: by the meter's clock.
        history_days: how far back.
    """
    if oldest is None:
        midnight = now.at.replace(hour=0, minute=0, second=0, microsecond=0)
        return ceil(now.epoch_s + 1, gaps.phase_of([], period_s, int(midnight.timestamp())), period_s)
    oldest_s = oldest.captured_at.epoch_s
    within_s = ceil(int((now.at - timedelta(days=history_days)).timestamp()), oldest_s, period_s)
    return within_s if oldest_s > now.epoch_s else max(oldest_s, within_s)  # a clock that was ahead says nothing


def with_neighbours(held: Sequence[Span], asked: Span, period_s: int) -> Span:
    """With the held rows beside a range of several intervals: what lies between rows is proven."""
    first, last = asked
    if first == last:
        return asked
    below = any(span[1] == first - period_s for span in held)
    above = any(span[0] == last + period_s for span in held)
    return first - below * period_s, last + above * period_s


def newest_of(state: ProfileState, now_s: int) -> int:
    """The newest instant of the grid that has passed."""
    return now_s - (now_s - state.since_s) % state.period_s


def below(missing: Sequence[Span], floor: int, period_s: int) -> tuple[Span, ...]:
    """What of it lies below `floor`."""
    return tuple(
        (first, min(last, last - (last - floor) // period_s * period_s - period_s) if last >= floor else last)
        for first, last in missing
        if first < floor
    )


def ceil(at_s: int, phase: int, period_s: int) -> int:
    """The first instant of the grid that is not before `at_s`."""
    return at_s + (phase - at_s) % period_s


def window(reach: Span, asked: Span, period_s: int, newest: int) -> Span:
    """What the meter is asked: from behind the row before up to before the row behind; days with slack.

    So rows off the grid are seen. Nothing can stand behind the newest instant that has passed.
    """
    slack_s = gaps.SUMMER_TIME_S if period_s % gaps.DAY_S == 0 else 0
    first = reach[0] if reach[0] < asked[0] else asked[0] - period_s + 1 + slack_s
    last = asked[1] + period_s - 1 - slack_s if asked[1] == reach[1] < newest else reach[1]
    return first - slack_s, last + slack_s
