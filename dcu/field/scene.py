"""What visits of one bus share, and who hears how they went."""

from dataclasses import dataclass, field
from datetime import tzinfo
from typing import Protocol

from dcu.config import PollConfig
from dcu.errors import AttributeDenied, DcuError
from dcu.field.book import MeterBook
from dcu.meter import Meter
from dcu.ports import Clock, Store
from dcu.schedule import Task


class VisitReport(Protocol):
    """Who hears how a visit went: the plan of the bus."""

    def answered(self, meter: Meter) -> None:
        """The association is open and the serial is right."""
        ...

    def visited(self, meter: Meter) -> None:
        """The visit went through to its end."""
        ...

    def done(self, task: Task, next_s: float, *, given: bool) -> None:
        """Nothing is left to ask of a task, due again at `next_s`, monotonic; `given`: it was asked, and given."""
        ...

    def put_off(self, task: Task, next_s: float) -> None:
        """A task did not succeed, and nothing is said against its object: again at `next_s`."""
        ...

    def denied(self, task: Task, fault: AttributeDenied) -> None:
        """The meter refuses the object."""
        ...

    def changed(self, meter: Meter) -> None:
        """The meter says that its firmware is another."""
        ...

    def malformed(self, task: Task, fault: DcuError, next_s: float) -> None:
        """An answer that cannot be stored as good."""
        ...

    def backlog(self, task: Task, *, remains: bool) -> None:
        """Whether the task left rows behind that spare time may bring: a spare visit then comes for them."""
        ...

    def failed(self, meter: Meter, fault: Exception) -> None:
        """The visit ended badly."""
        ...


@dataclass(frozen=True, slots=True)
class VisitScene:
    """What visits of one bus share.

    Attributes:
        store, clock: of the process.
        zone: of the meters' clocks.
        poll: cadences.
        octets_per_s: what the line carries: a bite of a backlog is no longer than an errand may wait.
        books: what is remembered of each meter, by serial.
    """

    store: Store
    clock: Clock
    zone: tzinfo
    poll: PollConfig
    octets_per_s: float = 960.0
    books: dict[str, MeterBook] = field(default_factory=dict)

    def book(self, meter: Meter) -> MeterBook:
        """Of one meter."""
        return self.books.setdefault(meter.serial, MeterBook(meter))
