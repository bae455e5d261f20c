"""Seams around the line: links, associations, errands, plans. No code."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, runtime_checkable

from dcu.command import Warrant
from dcu.meter import AttributeRef, Meter, MethodRef, ProfileSpec, Purpose, Selection
from dcu.obis import LogicalName
from dcu.reading import Data, Layout, Row


class ByteLink(Protocol):
    """A half-duplex byte pipe to a line: a serial port or a TCP connection."""

    def send(self, octets: bytes) -> None:
        """Write all of it. Raises BusFault (serial) or LinkLost (TCP)."""
        ...

    def receive(self, deadline_s: float) -> bytes:
        """What has come, at least one octet; b"" when the monotonic deadline passed. Raises as `send`."""
        ...

    def flush_input(self) -> None:
        """Forget whatever came unasked: it belongs to an earlier exchange."""
        ...

    def close(self) -> None:
        """Idempotent."""
        ...


@dataclass(frozen=True, slots=True)
class RowsWanted:
    """Rows of one profile, as part of a poll.

    Attributes:
        profile: logical name.
        layout: of it, the rows' time first (`reading.timed`): a column that is `reading.UNTIMED` is not in the buffer,
            and its rows come with `reading.NO_TIME`.
        selection: which rows.
        period_s: capture period as far as known: where rows of a range may be looked for; 0 where there is none.
    """

    profile: LogicalName
    layout: Layout
    selection: Selection = None
    period_s: int = 0


@dataclass(frozen=True, slots=True)
class Polled:
    """What a poll brought, in the order in which it was asked; a refusal in the place of what was refused."""

    values: tuple[Data | Exception, ...]
    rows: tuple[list[Row] | Exception, ...]


@dataclass(frozen=True, slots=True)
class Described:
    """What a meter says of one of its profiles.

    Attributes:
        layout: capture objects with scalers, their time first (`reading.timed`).
        period_s: capture period; 0 where rows come by themselves (class 7 attribute 4).
        entries: rows that the buffer can hold (attribute 8); 0 where it does not say.
        entries_in_use: rows that it holds now (attribute 7).
        newest_first: entry 1 is the newest row (attribute 5).
    """

    layout: Layout
    period_s: int
    entries: int
    entries_in_use: int
    newest_first: bool


class Association(Protocol):
    """An open application association with one meter. Every call is one or more exchanges on the line.

    Each raises a `DcuError` named by fate: LineFault, MeterSilent, LinkLost, BusFault, AttributeDenied, ReplyForged,
    ReplyMalformed. Reads are retried within their budget; a SET or an ACTION is sent once and never again.
    """

    serial: str
    """Read from the meter in this very association and equal to the configured one."""

    def get(self, ref: AttributeRef) -> Data:
        """One attribute (GET)."""
        ...

    def get_list(self, refs: Sequence[AttributeRef]) -> list[Data | Exception]:
        """Several attributes (GET with list), in order; an AttributeDenied in the place of one that was refused."""
        ...

    def poll(self, refs: Sequence[AttributeRef], wanted: Sequence[RowsWanted]) -> Polled:
        """Attributes and rows together, in as few exchanges as the meter's PDU allows (one GET with list)."""
        ...

    def describe(self, specs: Sequence[ProfileSpec]) -> list[Described | Exception]:
        """What the meter says of several profiles, in as few exchanges as it allows.

        In place of one that cannot be used stands its AttributeDenied, MeterBusy, ReplyMalformed or CaptureMismatch.
        """
        ...

    def layout(self, profile: LogicalName, scalers: LogicalName | None) -> Layout:
        """Capture objects of a profile, joined with its scaler profile by class and logical name."""
        ...

    def capture_period_s(self, profile: LogicalName) -> int:
        """Class 7 attribute 4, in seconds."""
        ...

    def rows(self, profile: LogicalName, layout: Layout, since: datetime, until: datetime) -> list[Row]:
        """Rows with since <= captured_at <= until (selective access by range on the clock column)."""
        ...

    def snapshot(self, profile: LogicalName, layout: Layout) -> list[Row]:
        """The whole buffer, for profiles of one row."""
        ...

    def last_rows(self, profile: LogicalName, layout: Layout, count: int) -> list[Row]:
        """The newest `count` rows (selective access by entry)."""
        ...

    def oldest_row(self, profile: LogicalName, layout: Layout) -> Row | None:
        """The oldest row that the meter still has (entry 1), or None where the buffer is empty."""
        ...

    def set(self, ref: AttributeRef, data: bytes, warrant: Warrant) -> None:
        """SET of A-XDR encoded `data`, once."""
        ...

    def act(self, method: MethodRef, data: bytes, warrant: Warrant) -> None:
        """ACTION with the A-XDR encoded parameter `data`, once."""
        ...


class Line(Protocol):
    """What an errand may do with the bus that it was lent."""

    def associate(self, meter: Meter, purpose: Purpose) -> AbstractContextManager[Association]:
        """Open an association, verify the meter's serial in it, and release it on any exit.

        Raises:
            WrongMeter: another serial answered.
            DcuError: as `Association`, and AssociationRefused, CounterExhausted.
        """
        ...


class Errand(Protocol):
    """A piece of work on a bus, run in the bus's own thread. It never outlives `run`."""

    meter: Meter

    def run(self, line: Line) -> None:
        """Do it. Raising a DcuError hands its fate to `failed`."""
        ...

    def failed(self, fault: Exception) -> None:
        """The errand did not end well: its own report of it. Called in the bus's thread, exactly once."""
        ...


class Bus(Protocol):
    """One line and the thread that owns it."""

    name: str

    def post(self, errand: Errand, *, urgent: bool) -> None:
        """Queue an errand; urgent ones (relay) go before all others and wait only for the errand step on the wire."""
        ...


@runtime_checkable
class VisitErrand(Errand, Protocol):
    """An errand of the plan: nobody waits for it, and it says how it may be treated."""

    spare: bool
    """It ends as soon as anything else wants the line, and is not taken up again: the plan has it still."""

    probe: bool
    """The meter did not answer the last time: one try of the first request must do."""


class Plan(Protocol):
    """What a bus does when no errand waits: the polling of its meters.

    `busy` says which meters cannot be visited now; None: all can. A pool calls from several threads.
    """

    def due(self, monotonic_s: float, busy: Callable[[Meter], bool] | None = None) -> Errand | None:
        """The next errand whose time has come, or None. It stays due until its outcome is told."""
        ...

    def is_due(self, monotonic_s: float, busy: Callable[[Meter], bool] | None = None) -> bool:
        """Whether an errand other than a spare one is due: spare ones give way to it."""
        ...

    def idle_s(self, monotonic_s: float, busy: Callable[[Meter], bool] | None = None) -> float:
        """Seconds until something may be due; the bus sleeps at most that long."""
        ...


@dataclass(frozen=True, slots=True)
class CounterStanding:
    """How far the invocation counters of one client of one meter were reserved.

    Attributes:
        next: the lowest that never was; 0 where none was ever reserved.
        beyond: no less, and above what was reserved by a later state of this store that is lost: a copy that was put
            back knows nothing of it. As good as the box's clock.
        by_time: `beyond` is by a clock that is trusted; else by chance, for a meter that does not say how far it was.
    """

    next: int
    beyond: int
    by_time: bool = False


class CounterVault(Protocol):
    """Invocation counters, committed to disk ahead of use: a nonce is never used twice, crash or restore."""

    def standing(self, serial: str, client_sap: int) -> CounterStanding:
        """What was reserved before. Raises StoreFault."""
        ...

    def reserve(self, serial: str, client_sap: int, at_least: int, count: int) -> range:
        """`count` fresh counters, all >= `at_least` and above all ever reserved. Returns after the commit.

        Raises:
            CounterExhausted: none is left below 2^32.
            StoreFault: could not be committed; nothing may be sent.
        """
        ...
