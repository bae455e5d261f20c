"""What the clock's state means, in words, and what to do. Pure."""

from datetime import datetime, timedelta
from typing import Final

from dcu.reading import from_epoch
from dcu.timekeeping import HEARING_S, HOLDOVER_S, VOICES, Because, Standing

_SERVICE: Final = (
    "see that the time service runs and reaches a server: `chronyc tracking`, or `timedatectl timesync-status`"
)

_CURES: Final = {
    Because.DISCIPLINED: "",
    Because.HELD_OVER: _SERVICE,
    Because.NEVER_SET: _SERVICE,
    Because.HELD_TOO_LONG: _SERVICE,
    Because.BEFORE_FLOOR: f"{_SERVICE}; if it is that moment which is wrong: `dcu clock --floor DATE`",
    Because.BEYOND_LIFE: "correct the source of the time service",
    Because.STEPPED: "it passes by itself; where it comes again, two things set the clock",
    Because.METERS: "find out who is right: correct the source of the time service, or set the meters' clocks",
}

_TOLD: Final = {
    Because.DISCIPLINED: "the kernel's clock is disciplined",
    Because.HELD_OVER: "nothing disciplines the kernel's clock any more; it is believed for {left} more",
    Because.NEVER_SET: "nothing has disciplined the kernel's clock since the machine started, or since it was stepped",
    Because.HELD_TOO_LONG: "nothing has disciplined the kernel's clock for more than a day",
    Because.BEFORE_FLOOR: "the clock says {now}, and {floor} has certainly passed",
    Because.BEYOND_LIFE: "the clock says {now}: no program lives so long",
    Because.STEPPED: "the clock was set {step}; it is believed again when it has been steady for a minute",
    Because.METERS: "the clocks of {meters} meters are {ahead} the box's, by their median",
}


def cure(standing: Standing) -> str:
    """What somebody has to do; empty where nothing."""
    return _CURES[standing.because]


def told(standing: Standing, now: datetime, *, assumed: bool) -> str:
    """One sentence."""
    if standing.because is Because.DISCIPLINED and assumed:
        return "the configuration says that the kernel's clock is right; nothing disciplines it"
    return _TOLD[standing.because].format(
        now=f"{now:%Y-%m-%d %H:%M} UTC",
        floor=f"{from_epoch(int(standing.floor_s)):%Y-%m-%d %H:%M} UTC",
        left=f"{max(0.0, HOLDOVER_S - standing.held_s) / 3600:.1f} h",
        step=f"{'forward' if standing.step_s > 0 else 'back'} by {_span(standing.step_s)}",
        meters=standing.voices,
        ahead=f"{_span(standing.meters_ahead_s)} {'ahead of' if standing.meters_ahead_s > 0 else 'behind'}",
    )


def veto(standing: Standing) -> str:
    """Whether the meters could speak against the clock."""
    if not standing.heard:
        at_most = f"{HEARING_S / 60:.0f} min at most"
        return f"the meters' clocks are being asked since the start; nobody is cut before that, {at_most}"
    if standing.voices >= VOICES:
        return f"{standing.voices} meters have shown their clock within a day"
    return f"the meters have no veto: {standing.voices} have shown their clock within a day, {VOICES} are needed"


def _span(seconds: float) -> str:
    return str(timedelta(seconds=round(abs(seconds))))
