"""What lies between mains and house: whether there is a supply, whether the relay lets it through, since when."""

from bisect import bisect_right
from collections.abc import Callable
from typing import Final

from dcu.sim.load import COMMISSIONED

Cumulative = Callable[[float], float]


class Spans:
    """Times of one kind, and how much of a growing quantity passed within them. Told of in their order.

    Args:
        cumulative: the quantity's total at a time.
    """

    def __init__(self, cumulative: Cumulative) -> None:
        self._cumulative = cumulative
        self._begun: list[float] = []
        self._at_begin: list[float] = []
        self._ended: list[float] = []
        self._before: list[float] = [0.0]  # total of all spans before a span

    @property
    def within(self) -> bool:
        """Whether one goes on."""
        return len(self._begun) > len(self._ended)

    def begin(self, at: float) -> None:
        """One begins; nothing where one goes on."""
        if not self.within:
            self._begun.append(at)
            self._at_begin.append(self._cumulative(at))

    def end(self, at: float) -> None:
        """The one that goes on ends; nothing where none does."""
        if self.within:
            self._ended.append(at)
            self._before.append(self._before[-1] + self._cumulative(at) - self._at_begin[-1])

    def passed(self, t: float) -> float:
        """The quantity's growth within all spans up to `t`."""
        n = bisect_right(self._begun, t) - 1
        if n < 0:
            return 0.0
        if n < len(self._ended) and t >= self._ended[n]:
            return self._before[n + 1]
        return self._before[n] + self._cumulative(t) - self._at_begin[n]

    def covers(self, t: float) -> bool:
        """Whether a span is on at `t`."""
        n = bisect_right(self._begun, t) - 1
        return n >= 0 and (n >= len(self._ended) or t < self._ended[n])


class Supply:
    """Power and relay of one meter. Times are real time, seconds since 1970.

    Args:
        imported, exported: energy that would have passed from commissioning to a time, J.
    """

    def __init__(self, imported: Cumulative, exported: Cumulative) -> None:
        self._imported: Final = imported
        self._exported: Final = exported
        self._import_lost = Spans(imported)
        self._export_lost = Spans(exported)
        self._off = Spans(lambda t: t)
        self._relay_closed = True
        self.failures = 0
        """How often the power failed."""
        self.version = 0
        """Grows with each change."""

    @property
    def on(self) -> bool:
        """Whether there is power."""
        return not self._off.within

    def relay(self, closed: bool, at: float) -> None:
        """The relay has moved."""
        self._relay_closed = closed
        self._changed(at)

    def power(self, on: bool, at: float) -> None:
        """The mains have failed or come back."""
        if on:
            self._off.end(at)
        else:
            self._off.begin(at)
            self.failures += 1
        self._changed(at)

    def _changed(self, at: float) -> None:
        flowing = self._relay_closed and self.on
        for lost in (self._import_lost, self._export_lost):
            (lost.end if flowing else lost.begin)(at)
        self.version += 1

    def flows(self, t: float) -> bool:
        """Whether energy passes at `t`."""
        return not self._import_lost.covers(t)

    def imported(self, t: float) -> float:
        """Energy that came from the mains up to `t`, J."""
        return self._imported(t) - self._import_lost.passed(t)

    def exported(self, t: float) -> float:
        """Energy that went into the mains up to `t`, J."""
        return self._exported(t) - self._export_lost.passed(t)

    def off_s(self, t: float) -> float:
        """Time without power up to `t`."""
        return self._off.passed(t)

    def on_s(self, t: float) -> float:
        """Time with power from commissioning to `t`."""
        return max(0.0, t - COMMISSIONED - self.off_s(t))
