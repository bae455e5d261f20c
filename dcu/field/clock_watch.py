"""What two looks at a meter's clock say: whether it was set between them, and how far it is from the box's. Pure."""

from dataclasses import dataclass
from typing import Final

SET_S: Final = 5.0
"""A clock that is further than this from where it should be was set."""

DRIFT: Final = 100e-6
"""Part of the time between two looks by which a clock may have run fast or slow."""

RESTART_SLACK_S: Final = 60.0
"""The same where the box was off between two looks and nobody knows for how long."""


@dataclass(frozen=True, slots=True)
class Look:
    """One look at a meter's clock.

    Attributes:
        face_s: what it showed, whole seconds since 1970.
        low_s: the box's monotonic seconds before it was asked.
        high_s: those after the answer.
        slack_s: how wrong it may be besides, where it is not a look but a memory.
    """

    face_s: int
    low_s: float
    high_s: float
    slack_s: float = 0.0

    def face_at(self, monotonic_s: float) -> int:
        """What the clock should show then."""
        return int(self.face_s + monotonic_s - (self.low_s + self.high_s) / 2)


def set_by_s(before: Look, now: Look) -> int:
    """Seconds that the clock was set forward between two looks, negative where back, 0 where it was not set."""
    elapsed_s = max(0.0, now.low_s - before.high_s)
    slack_s = SET_S + DRIFT * elapsed_s + before.slack_s
    earliest_s = before.face_s + (now.low_s - before.high_s) - slack_s
    latest_s = before.face_s + 1 + (now.high_s - before.low_s) + slack_s
    if earliest_s <= now.face_s <= latest_s:
        return 0
    return now.face_s - before.face_at((now.low_s + now.high_s) / 2)


def too_far(ahead_s: int, told_s: int | None, limit_s: int) -> bool:
    """Whether a drift is worth a word: beyond the limit, and not what was told already."""
    return abs(ahead_s) > limit_s and (told_s is None or abs(ahead_s - told_s) > limit_s)
