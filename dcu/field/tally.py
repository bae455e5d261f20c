"""What people are told of the gap ledger: how many intervals of a profile are held, missing, or absent and why."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from dcu import gaps
from dcu.ports import ProfileState

READ_WITHIN_S: Final = 900
"""An interval that has just ended is not called missing before its row can be there: meters of a line take turns."""

MISSING: Final = "missing"


@dataclass(frozen=True, slots=True)
class Tally:
    """Intervals of one profile, of one meter or of many.

    Attributes:
        held: of which the row is stored.
        missing: that are expected, and neither held nor absent: they are asked for.
        absent: by reason, those that never come.
    """

    held: int = 0
    missing: int = 0
    absent: Mapping[str, int] = field(default_factory=dict)

    def __add__(self, other: "Tally") -> "Tally":
        absent = Counter(self.absent)
        absent.update(other.absent)
        return Tally(self.held + other.held, self.missing + other.missing, dict(absent))


def tally(state: ProfileState, face_s: int | None) -> Tally:
    """Counts of one profile; `face_s` is what the meter's clock should show, None where nobody knows."""
    absent: Counter[str] = Counter()
    for first, last, reason in state.absent:
        absent[reason] += _count([(first, last)], state.period_s)
    missing = gaps.missing(state, _until(state, face_s))
    return Tally(_count(state.held, state.period_s), _count(missing, state.period_s), dict(absent))


def unheld(state: ProfileState, face_s: int | None) -> list[gaps.Absent]:
    """What is not held, in the order of time: each span with the reason for its absence, or `missing`."""
    missing = gaps.missing(state, _until(state, face_s))
    return sorted([*state.absent, *((*span, MISSING) for span in missing)])


def _until(state: ProfileState, face_s: int | None) -> int:
    """Up to when intervals are expected to be held; where the meter's clock was never seen, up to the newest one."""
    if face_s is not None:
        return face_s - min(state.period_s, READ_WITHIN_S)
    return state.held[-1][1] if state.held else state.since_s - 1


def _count(spans: Iterable[gaps.Span], period_s: int) -> int:
    return sum(len(gaps.expected(first, last, period_s)) for first, last in spans)
