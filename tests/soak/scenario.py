"""What a run is to be, and what truly became of each meter in it. Values only."""

from dataclasses import dataclass, field

from tests.soak.faults import DAY_S, Fault, draw

DRIFT_PPM = 40.0


@dataclass(frozen=True, slots=True)
class Scenario:
    """One line of a run.

    Attributes:
        seed: of everything.
        line: number of the line.
        days: how long.
        meters: how many.
        baud: of the line.
        period_s: capture period of all meters; 0: theirs differ.
        ring_days: of the meters' block load rings; IS 15959 asks for 35.
        quiet_s: before the end nothing goes wrong any more, so that what can be read is read.
        faults: that come; None: those of the seed.
        drift_ppm: of the meters' clocks, at most, either way.
    """

    seed: int
    line: int = 0
    days: float = 365.0
    meters: int = 16
    baud: int = 9600
    period_s: int = 0
    ring_days: int = 35
    quiet_s: float = 2 * DAY_S
    faults: tuple[Fault, ...] | None = None
    drift_ppm: float = DRIFT_PPM

    def drawn(self) -> list[Fault]:
        """By their beginning."""
        if self.faults is not None:
            return sorted(self.faults, key=lambda fault: fault.at_s)
        return draw(f"{self.seed}/{self.line}", self.days, self.meters, self.quiet_s)


@dataclass(slots=True)
class Life:
    """What truly happened to one meter; times are elapsed seconds.

    Attributes:
        serial: its own.
        period_s: capture period of its block load at the beginning.
        rate: its clock's seconds a true second.
        event_entries: rows of its event logs.
        repeats: after its clock was set back it captures the same moments again.
        installed_s, removed_s: when it hung on the line.
        known_s: when the box was told of it.
        off: spans without supply.
        clock: (when, what its clock showed then), at each setting, ascending.
        periods: (when, capture period from then on), ascending.
        cleared: when each profile was emptied.
        mute: spans in which it could not be spoken to though it was there.
    """

    serial: str
    period_s: int
    rate: float
    event_entries: int
    repeats: bool = False
    installed_s: float = 0.0
    known_s: float = 0.0
    removed_s: float = float("inf")
    off: list[tuple[float, float]] = field(default_factory=list)
    clock: list[tuple[float, float]] = field(default_factory=list)
    periods: list[tuple[float, int]] = field(default_factory=list)
    cleared: dict[str, list[float]] = field(default_factory=dict)
    mute: list[tuple[float, float]] = field(default_factory=list)
