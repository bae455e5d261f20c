"""Whether the box knows what time it is: a pure state machine over looks at the kernel's clocks.

    UNTRUSTED -> TRUSTED    the kernel says that something disciplines its clock, and nothing speaks against it
    TRUSTED   -> HOLDOVER   the discipline is lost; for at most a day of CLOCK_BOOTTIME the clock runs on by itself
    any       -> UNTRUSTED  before the floor, beyond any box's life, just stepped, vetoed by meters, held over too long

The meters' clocks only ever speak against the box's: whoever sets a meter must not set the time by which it is cut. A
process that has just begun has not heard them: it waits for their first words before it cuts anybody
(`Standing.heard`). The floor is a moment that has certainly passed; it is raised by steady time only, since a clock
that once was wrong for a minute must not make the box refuse its true time for years.
Source: reference/command-authority.md 7 (Time).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from statistics import median
from typing import Final

from dcu.reading import ClockState

HOLDOVER_S: Final = 86_400.0
"""How long an undisciplined clock is believed; at 100 ppm it is then 9 s off."""

STEP_S: Final = 2.0
"""Wall time and time since boot part only by steps, since a slewed clock takes both along. A leap second is less."""

SETTLE_S: Final = 60.0
"""A clock that was believed and then stepped is not believed for so long."""

CALM_S: Final = 86_400.0
"""Each further step within such a time doubles that, up to as much: who steps a clock back again and again would
otherwise hold the box's time still, and with it every hour and every end that it is asked about."""

STEADY_S: Final = 3600.0
"""Trusted without a pause and without a step for so long, and in agreement with the meters: then the floor goes up."""

ALONE_S: Final = 86_400.0
"""The same where too few meters speak."""

BEHIND_S: Final = 60.0
"""The floor stays so far behind, so that a small step back is none below it."""

VETO_S: Final = 300.0
"""The median of the meters' clocks may be so far from the box's."""

VOICES: Final = 3
"""Fewer meters have no veto: one that was set wrong must not stop the box."""

HEARING_S: Final = 900.0
"""A process that has begun waits at most so long for the first words of the meters."""

LIFE_S: Final = 25 * 365.25 * 86_400
"""No program is so old: a clock that says so is wrong, whatever disciplines it."""


class Because(Enum):
    """Why the clock is in its state."""

    DISCIPLINED = "disciplined"
    HELD_OVER = "held over"
    NEVER_SET = "never set"
    HELD_TOO_LONG = "held too long"
    BEFORE_FLOOR = "before the floor"
    BEYOND_LIFE = "beyond any box's life"
    STEPPED = "stepped"
    METERS = "the meters disagree"


@dataclass(frozen=True, slots=True)
class Sighting:
    """One look at the kernel's clocks.

    Attributes:
        wall_s: CLOCK_REALTIME, seconds since 1970.
        boot_s: CLOCK_BOOTTIME, seconds since the machine started, sleep included.
        disciplined: the kernel says that its clock is synchronised (adjtimex).
        slack_s: how far apart in time the two may have been read.
    """

    wall_s: float
    boot_s: float
    disciplined: bool
    slack_s: float = 0.0


@dataclass(frozen=True, slots=True)
class KeptTime:
    """What is on the disk.

    Attributes:
        floor_s: seconds since 1970; no true time is before it.
        boot: which start of the machine the other two belong to.
        boot_s, wall_s: of the last sighting that was trusted.
    """

    floor_s: float
    boot: str
    boot_s: float
    wall_s: float


@dataclass(frozen=True, slots=True)
class Standing:
    """What a look came to.

    Attributes:
        state: whether the time is known.
        because: why.
        floor_s: seconds since 1970; no true time is before it.
        steps: how many there were since this process began, those in between two of its starts included.
        step_s: how far the last one went, negative back.
        voices: how many meters have shown their clock lately.
        meters_ahead_s: median of the meters' clocks minus the box's; 0 without voices.
        held_s: how long the clock has been running on by itself, of HOLDOVER.
        heard: the meters could have spoken against it since this process began: enough of them did speak, all were
            asked, or it was waited for them long enough. Before that nobody is cut by it.
    """

    state: ClockState
    because: Because
    floor_s: float
    steps: int = 0
    step_s: float = 0.0
    voices: int = 0
    meters_ahead_s: float = 0.0
    held_s: float = 0.0
    heard: bool = False


class Timekeeper:
    """The state machine. One thread at a time.

    Args:
        built_s: when the program was built, seconds since 1970: the first floor.
        boot: names this start of the machine.
    """

    def __init__(self, built_s: float, boot: str) -> None:
        self._boot = boot
        self._ceiling_s = built_s + LIFE_S
        self._floor_s = built_s
        self._last: Sighting | None = None
        self._offset_s: float | None = None  # wall minus boot since the last step
        self._trusted_s: float | None = None  # boot_s when it was last TRUSTED
        self._steady_since_s: float | None = None
        self._settled_s = -math.inf
        self._settle_s = 0.0  # how long the last step of a believed clock cost, and
        self._stepped_s = -math.inf  # boot_s of it
        self._state = ClockState.UNTRUSTED
        self._steps = 0
        self._step_s = 0.0
        self._voices = 0
        self._heard = False
        self._began_s: float | None = None  # boot_s of the first look
        self._face_s = 0.0  # median of what the meters' clocks show, minus the seconds since the boot

    def remember(self, kept: KeptTime | None) -> None:
        """Go on from what was on the disk; before the first look. A floor beyond any box's life is not believed."""
        if kept is None:
            return
        if kept.floor_s < self._ceiling_s:
            self._floor_s = max(self._floor_s, kept.floor_s)
        if kept.boot == self._boot:
            self._offset_s, self._trusted_s = kept.wall_s - kept.boot_s, kept.boot_s
            self._state = ClockState.HOLDOVER  # it was believed: a step since then is one of a clock that was

    def lower_floor(self, floor_s: float) -> None:
        """The cure where the floor is wrong: somebody at the box says so."""
        self._floor_s = floor_s
        self._steady_since_s = None

    def hear_meters(self, faces_s: Sequence[float], *, all_asked: bool = False) -> None:
        """What the clocks show of meters that were asked lately: seconds since 1970 minus seconds since the boot.

        `all_asked`: there is no meter that was not asked since the process began, whatever came of it.
        """
        self._voices, self._face_s = len(faces_s), median(faces_s) if faces_s else 0.0
        self._heard = self._heard or all_asked or self._voices >= VOICES

    @property
    def floor_s(self) -> float:
        """Seconds since 1970; no true time is before it."""
        return self._floor_s

    def look(self, seen: Sighting) -> Standing:
        """Take notice of a look; what the clock is worth now."""
        self._notice_step(seen)
        self._last = seen
        held_s = math.inf if self._trusted_s is None else seen.boot_s - self._trusted_s
        ahead_s = self._face_s - (seen.wall_s - seen.boot_s) if self._voices else 0.0
        because = self._because(seen, held_s, ahead_s)
        self._state = _STATES[because]
        if self._state is ClockState.TRUSTED:
            self._trusted_s, held_s = seen.boot_s, 0.0
            self._raise_floor(seen)
        else:
            self._steady_since_s = None
        held_s = held_s if self._state is ClockState.HOLDOVER else 0.0
        if self._began_s is None:
            self._began_s = seen.boot_s
        heard = self._heard or seen.boot_s - self._began_s >= HEARING_S
        floor_s, steps, step_s = self._floor_s, self._steps, self._step_s
        return Standing(self._state, because, floor_s, steps, step_s, self._voices, ahead_s, held_s, heard)

    def keep(self) -> KeptTime | None:
        """What is worth the disk: None unless the clock is TRUSTED."""
        if self._state is not ClockState.TRUSTED or self._last is None:
            return None
        return KeptTime(self._floor_s, self._boot, self._last.boot_s, self._last.wall_s)

    def _notice_step(self, seen: Sighting) -> None:
        offset_s = seen.wall_s - seen.boot_s
        if self._offset_s is None:
            self._offset_s = offset_s
            return
        step_s = offset_s - self._offset_s
        if abs(step_s) <= STEP_S + seen.slack_s:
            return
        self._offset_s, self._step_s = offset_s, step_s
        self._steps += 1
        self._trusted_s = self._steady_since_s = None
        if self._state.known:
            calm = seen.boot_s - self._stepped_s > CALM_S
            self._settle_s = SETTLE_S if calm else min(2 * self._settle_s, CALM_S)
            self._settled_s, self._stepped_s = seen.boot_s + self._settle_s, seen.boot_s

    def _because(self, seen: Sighting, held_s: float, ahead_s: float) -> Because:
        speaks = (
            (seen.wall_s < self._floor_s, Because.BEFORE_FLOOR),
            (seen.wall_s > self._ceiling_s, Because.BEYOND_LIFE),
            (seen.boot_s < self._settled_s, Because.STEPPED),
            (self._voices >= VOICES and abs(ahead_s) > VETO_S, Because.METERS),
            (seen.disciplined, Because.DISCIPLINED),
            (held_s <= HOLDOVER_S, Because.HELD_OVER),
            (self._trusted_s is None, Because.NEVER_SET),
        )
        return next((because for said, because in speaks if said), Because.HELD_TOO_LONG)

    def _raise_floor(self, seen: Sighting) -> None:
        if self._steady_since_s is None:
            self._steady_since_s = seen.boot_s
        needed_s = STEADY_S if self._voices >= VOICES else ALONE_S
        if seen.boot_s - self._steady_since_s >= needed_s:
            self._floor_s = max(self._floor_s, seen.wall_s - BEHIND_S)


_STATES: Final = {
    Because.DISCIPLINED: ClockState.TRUSTED,
    Because.HELD_OVER: ClockState.HOLDOVER,
    Because.NEVER_SET: ClockState.UNTRUSTED,
    Because.HELD_TOO_LONG: ClockState.UNTRUSTED,
    Because.BEFORE_FLOOR: ClockState.UNTRUSTED,
    Because.BEYOND_LIFE: ClockState.UNTRUSTED,
    Because.STEPPED: ClockState.UNTRUSTED,
    Because.METERS: ClockState.UNTRUSTED,
}
