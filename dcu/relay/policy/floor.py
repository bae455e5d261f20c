"""What no policy can lift: compiled in, and below every policy of every head-end. Pure.

Source: reference/command-authority.md 0 item 12 (the floor under both profiles), 6.
"""

from typing import Final

from dcu.command import Profile

OPENS_MIN: Final = 8 * 60
CLOSES_MIN: Final = 18 * 60
"""Nobody is disconnected before or after, minutes of the day by the policy's own timezone."""

LONGEST_LIFE_S: Final = 4 * 3600
"""No command lives longer."""

DAY_PERCENT: Final = 10
DAY_AT_LEAST: Final = 3
HOUR_S: Final = 3600
DAY_S: Final = 86400
WEEK_S: Final = 7 * DAY_S

NOTICE_S: Final = 15 * DAY_S
"""Age of a written notice before a disconnect for arrears."""

NOTICE_MOST_S: Final = 731 * DAY_S
"""And its age at most: two years, as the debt that it speaks of (Electricity Act 2003 s. 56)."""

LOW_CREDIT_MOST_S: Final = 60 * DAY_S
"""Age of the message of low credit at most: who has paid since is told anew."""

WITNESS_S: Final = 3600
"""Age of the witness's own reading of the ledger, at most."""

LEAST_LIMIT_W: Final = 500
"""A load limit below this is a disconnect, whatever the policy says: lamp, fan and refrigerator need more."""

SLOW_S: Final = DAY_S
"""How long a policy that makes anything more permitted waits before it takes effect."""

FREEZE_S: Final = DAY_S
LOCK_S: Final = 72 * 3600
"""How long a freeze, or a lock by somebody at the pole, lasts at most; both can be renewed."""


def most_a_day(meters: int) -> int:
    """Disconnects of a box with so many meters in 24 hours, whatever its policy says."""
    return max(DAY_AT_LEAST, meters * DAY_PERCENT // 100)


def usual_caps(profile: Profile, meters: int) -> dict[str, int]:
    """Caps that a policy for a box with so many meters usually has, as its document spells them."""
    if profile is Profile.ARREARS:
        day = max(1, min(5, meters * 5 // 100))
        return {"hour": min(2, day), "day": day, "week": 7 * day, "spacing_s": 120, "wait_s": 900}
    day = max(3, meters * 5 // 100)
    return {
        "hour": max(2, meters * 2 // 100),
        "day": day,
        "week": max(day, meters * 10 // 100),
        "spacing_s": 60,
        "wait_s": 60,
    }
