"""Freezes and locks: which hold now, and when they lapse. They restrict, never actuate. Pure.

A freeze comes from the head-end and stops disconnects for a day. A lock comes from somebody at the pole, stops whatever
would move the relay, both ways, and lasts three days at most. Where the box does not know what time it is, neither
lapses. Their end has to be past by the clock and by the box's uptime: a step of the clock ends neither. After a reboot
the rest is counted by the new uptime. Source: reference/command-authority.md 0 items 10 and 11.
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
    return Restraint(kind, meter, who, why, seconds, until_s, moment.boot, moment.boot_s)


def holding(restraints: Collection[Restraint], meter: str, moment: Moment) -> tuple[Restraint, ...]:
    """Those that hold for a meter now."""
    return tuple(r for r in restraints if r.meter in {"", meter} and not lapsed(r, moment))


def lapsed(restraint: Restraint, moment: Moment) -> bool:
    """Whether its time is surely over."""
    if not moment.clock.known or restraint.until_s is None or moment.now_s < restraint.until_s:
        return False
    return restraint.boot != moment.boot or moment.boot_s - restraint.boot_s >= restraint.seconds


def counted(restraint: Restraint, moment: Moment) -> Restraint | None:
    """The same with its end, once the time is known, and by the uptime of this boot; None where nothing changes."""
    if not moment.clock.known:
        return None
    if restraint.until_s is None:
        return replace(restraint, until_s=moment.now_s + restraint.seconds, boot=moment.boot, boot_s=moment.boot_s)
    if restraint.boot == moment.boot:
        return None
    left_s = min(max(restraint.until_s - moment.now_s, 0), restraint.seconds)
    return replace(restraint, boot=moment.boot, boot_s=moment.boot_s - restraint.seconds + left_s)
