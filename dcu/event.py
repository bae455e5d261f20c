"""What the box says of itself: alarms and health. Values only."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum

from dcu.reading import ClockState, Uptime

Fact = None | bool | int | str
"""What an alarm or a health record may carry beside its text."""


class AlarmKind(Enum):
    """Kinds of alarm; the names are a contract with the head-end."""

    METER_SET_ASIDE = "meter-set-aside"  # wrong serial, or a table that is not what it says
    METER_SILENT = "meter-silent"
    METER_RETURNED = "meter-returned"
    METER_PAUSED = "meter-paused"  # association refused or a reply forged
    METER_REPLACED = "meter-replaced"  # another serial than before at its place on the line
    METER_CLOCK = "meter-clock"  # the meter's clock was set, or is further from the box's than it may be
    PROFILE_REFUSED = "profile-refused"  # the meter gives no rows of it; it is asked again each day
    PROFILE_RETURNED = "profile-returned"  # it gives them again
    METER_CHANGED = "meter-changed"  # another capture period, other capture objects, other firmware
    ROWS_LOST = "rows-lost"  # a ring overwrote rows before they were read
    COUNTER_LOW = "counter-low"  # invocation counters run out: the keys must be changed before
    ADDRESS_CLASH = "address-clash"  # more than one meter answers at an address
    BUS_DOWN = "bus-down"
    BUS_RETURNED = "bus-returned"
    COMMAND_REFUSED = "command-refused"
    COMMAND_IN_DOUBT = "command-in-doubt"
    LOCKED = "locked"  # somebody at the pole locked a meter, or the box, against all switching
    UNLOCKED = "unlocked"
    CURSOR_REFUSED = "cursor-refused"  # uplink claimed a delivery of what was never offered
    DROPPED = "dropped"  # records that the store does not keep any more; these ids never come, or not again
    SALVAGED = "salvaged"  # the store was damaged: what could be read of it goes on in a new one with a new epoch
    STORE_TROUBLE = "store-trouble"  # nothing could be stored for a time; told when it can again
    RECORD_QUARANTINED = "record-quarantined"  # the broker refuses these ids: kept, and not delivered
    CERTIFICATE_EXPIRES = "certificate-expires"  # ours: 60, 30, 14 and 7 days before, and when it has
    UPLINK_TROUBLE = "uplink-trouble"  # the broker refused, or the connection was lost; told when it is back
    CLOCK_KNOWN = "clock-known"  # from now on the time is known; what was stored before in this boot can be dated
    CLOCK_UNKNOWN = "clock-unknown"  # it is not any more: no disconnection until it is
    CLOCK_FLOOR = "clock-floor"  # somebody at the box lowered the moment before which no true time is
    STARTED = "started"


class DropReason(Enum):
    """Why the store does not keep records any more; the names are a contract with the head-end."""

    AGE = "age"  # every record of its class is kept for a fixed time, and this one was
    NO_ROOM = "no-room"  # the file is full: the oldest of the least worth went
    DAMAGED = "damaged"  # what is stored is not what was written


@dataclass(frozen=True, slots=True)
class Alarm:
    """Something that a person should know.

    Attributes:
        kind: what happened.
        at: by the box's clock, aware.
        clock: whether that clock was trusted.
        text: one sentence: the place, the cause, the cure.
        meter: serial, or empty when it is not about one meter.
        facts: the same for machines.
        uptime: when, where the time was not known.
    """

    kind: AlarmKind
    at: datetime
    clock: ClockState
    text: str
    meter: str = ""
    facts: Mapping[str, Fact] = field(default_factory=dict)
    uptime: Uptime | None = None


@dataclass(frozen=True, slots=True)
class Health:
    """How the box is doing, at intervals: counts and states by name."""

    at: datetime
    clock: ClockState
    facts: Mapping[str, Fact]
    uptime: Uptime | None = None
