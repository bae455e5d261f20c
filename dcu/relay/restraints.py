"""Freezes and locks: which hold now, and when they lapse. They restrict, never actuate. Pure.

A freeze comes from the head-end and stops disconnects for a day. A lock comes from somebody at the pole, stops whatever
would move the relay, both ways, and lasts three days at most. Where the box does not know what time it is, neither
lapses. Source: reference/command-authority.md 0 items 10 and 11.
"""

from collections.abc import Collection
from dataclasses import replace
from typing import Final

from dcu.command import Restraint
from dcu.relay.case import Moment

FREEZE: Final = "freeze"
LOCK: Final = "lock"


def restraint(kind: str, meter: str, who: str, why: str, seconds: int, moment: Moment) -> Restraint:
    """One that begins now."""
    until_s = moment.now_s + seconds if moment.clock.known else None
    return Restraint(kind, meter, who, why, seconds, until_s)


def holding(restraints: Collection[Restraint], meter: str, moment: Moment) -> tuple[Restraint, ...]:
    """Those that hold for a meter now."""
    return tuple(r for r in restraints if r.meter in {"", meter} and not lapsed(r, moment))


def lapsed(restraint: Restraint, moment: Moment) -> bool:
    """Whether its time is surely over."""
    return moment.clock.known and restraint.until_s is not None and moment.now_s >= restraint.until_s


def begun(restraint: Restraint, moment: Moment) -> Restraint | None:
    """The same with its end, once the time is known; None where nothing is to be changed."""
    if restraint.until_s is not None or not moment.clock.known:
        return None
    return replace(restraint, until_s=moment.now_s + restraint.seconds)
