"""Seams: what the rooms need of each other and of the world, as Protocols. No code.

Adapters (drivers, store, uplink, relay) never import each other; they meet here. Tests and the simulation of years
implement these too.
"""

from datetime import datetime
from typing import Protocol

from dcu.ports.holding import JournalEntry, Page, Stock, StoredRecord, StreamStock
from dcu.ports.metering import (
    Association,
    Bus,
    ByteLink,
    CounterStanding,
    CounterVault,
    Described,
    Errand,
    Line,
    Plan,
    Polled,
    RowsWanted,
    VisitErrand,
)
from dcu.ports.sealing import Seal, Seals
from dcu.ports.storing import BatchSlice, MeterState, ProfileState, Store, Transaction, Waiting
from dcu.reading import ClockState

__all__ = [
    "Association",
    "BatchSlice",
    "Bus",
    "ByteLink",
    "Clock",
    "CounterStanding",
    "CounterVault",
    "Described",
    "Errand",
    "JournalEntry",
    "Line",
    "MeterState",
    "Page",
    "Plan",
    "Polled",
    "ProfileState",
    "RowsWanted",
    "Seal",
    "Seals",
    "Stock",
    "Store",
    "StoredRecord",
    "StreamStock",
    "Transaction",
    "VisitErrand",
    "Waiting",
]


class Clock(Protocol):
    """Time, as the box has it."""

    def now(self) -> datetime:
        """Aware UTC."""
        ...

    def state(self) -> ClockState:
        """Whether `now` can be trusted."""
        ...

    def floor(self) -> datetime:
        """No true time is before this moment (aware, UTC), whatever `now` says."""
        ...

    def monotonic_s(self) -> float:
        """Seconds that never go back; deadlines are made of these."""
        ...

    def boottime_s(self) -> float:
        """Seconds since the machine started, its sleep included."""
        ...

    @property
    def boot_id(self) -> str:
        """Which start of the machine that is."""
        ...
