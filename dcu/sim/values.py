"""A meter's values at one moment, by `Place.key`; those of the present are kept until something changes."""

from collections.abc import Callable
from typing import Final

from dcu.sim.billing import Billing
from dcu.sim.events import Events
from dcu.sim.kinds import Kind
from dcu.sim.measure import Measurement
from dcu.sim.profile import Ring

_FRESH_S: Final = 0.05
"""What is read within so short a time is of one moment."""


class Present:
    """Values of one meter.

    Args:
        kind, measurement, billing, events, block: of the meter.
        programmed: how often it was programmed.
        now: real time.
    """

    def __init__(
        self,
        kind: Kind,
        measurement: Measurement,
        billing: Billing,
        events: Events,
        block: Ring,
        programmed: Callable[[], int],
        now: Callable[[], float],
    ) -> None:
        self._kind = kind
        self._measurement = measurement
        self._billing = billing
        self._events = events
        self._block = block
        self._programmed = programmed
        self._now = now
        self._known: dict[str, int] | None = None
        self._known_at = 0.0

    def changed(self) -> None:
        """Something has happened to the meter."""
        self._known = None

    def __call__(self) -> dict[str, int]:
        """Of now."""
        at = self._now()
        if self._known is None or abs(at - self._known_at) >= _FRESH_S:
            self._known, self._known_at = self.at(at), at
        return self._known

    def at(self, real: float) -> dict[str, int]:
        """Of a real time that is not yet to come."""
        newest = self._block.rows[-1][1:] if self._block.rows else (0,) * len(self._kind.block)
        blocks = {place.key: value for place, value in zip(self._kind.block, newest, strict=True)}
        bills = self._billing.values(real, self._events.tampers)
        counts = self._events.values() | {"0.0.96.2.0": self._programmed()}
        return self._measurement.moment(real) | bills | counts | blocks
