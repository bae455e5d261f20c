"""What of a backlog is asked next, and how much at once. Pure.

The newest interval first: somebody waits for it. Then what the meter's ring is about to overwrite, oldest first; then
the rest from its newest end, in bites that leave the line free again after a moment (DESIGN 4, 6).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from dcu.gaps import Span, merge, next_range, without

BITE_S: Final = 2.3
"""Line time of one bite: with a request and its turnaround a relay errand waits 2.5 s at most."""

_ROW_HEAD: Final = 2 + 14
_VALUE: Final = 5
_MARGIN: Final = 8  # of the ring's capacity
_FEWEST: Final = 4
_MOST: Final = 480


@dataclass(frozen=True, slots=True)
class Bite:
    """A range to ask for; `urgent` where the meter is about to overwrite it."""

    span: Span
    urgent: bool


def bite_rows(columns: int, octets_per_s: float) -> int:
    """Rows of a profile with so many columns that a line carries in `BITE_S`: 4 to 480.

    A row is taken as a clock of 14 octets and 5 octets a value, as they come from the meter without compression.
    """
    octets = _ROW_HEAD + _VALUE * max(0, columns - 1)
    return max(_FEWEST, min(int(octets_per_s * BITE_S / octets), _MOST))


def next_bite(missing: Sequence[Span], period: int, rows: int, *, now_s: int, entries: int) -> Bite | None:
    """What to ask next of what is missing; None when nothing is.

    Args:
        missing: spans on the grid, ascending and disjoint.
        period: capture period.
        rows: most intervals to ask for.
        now_s: by the meter's clock.
        entries: rows that the meter's ring holds; 0 where it does not say.
    """
    threatened = _threatened(missing, period, now_s, entries)
    first = next_range(threatened, period, rows)
    if first is not None:
        return Bite(first, urgent=True)
    newest = next_range(missing, period, rows, newest_first=True)
    return None if newest is None else Bite(newest, urgent=False)


def _threatened(missing: Sequence[Span], period: int, now_s: int, entries: int) -> tuple[Span, ...]:
    """What is still in a ring that captured all the time, and will be gone before an eighth of it has gone round."""
    if entries <= 0 or not missing:
        return ()
    phase = missing[0][0]
    newest = now_s - (now_s - phase) % period
    floor = newest - (entries - 1) * period
    ceiling = floor + max(1, entries // _MARGIN) * period
    inside = [(max(first, floor), min(last, ceiling)) for first, last in missing if first <= ceiling and last >= floor]
    return tuple(inside)


def less(missing: Sequence[Span], asked_in_vain: Sequence[Span], period: int) -> tuple[Span, ...]:
    """What is missing without what was just asked and did not come."""
    return without(missing, merge(asked_in_vain, period), period)
