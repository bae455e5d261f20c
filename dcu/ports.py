"""Seams: what the rooms need of each other and of the world, as Protocols. No code.

Adapters (drivers, store, uplink, relay) never import each other; they meet here. Tests and the simulation of years
implement these too.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, TypeVar

from dcu.command import RelaySequence, StoredCommand, Warrant
from dcu.meter import AttributeRef, Meter, MethodRef, ProfileSpec, Purpose, Selection
from dcu.obis import LogicalName
from dcu.reading import ClockState, Data, Layout, ProfileReading, Row
from dcu.record import Stream

T = TypeVar("T")


class Clock(Protocol):
    """Time, as the box has it."""

    def now(self) -> datetime:
        """Aware UTC."""
        ...

    def state(self) -> ClockState:
        """Whether `now` can be trusted."""
        ...

    def monotonic_s(self) -> float:
        """Seconds that never go back; deadlines are made of these."""
        ...


# ---- drivers --------------------------------------------------------------------------------------------------------


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
        layout: of it, the clock first.
        selection: which rows.
        period_s: capture period, for times that are compressed away; 0 where there is none.
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
        layout: capture objects with scalers.
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

        In the place of one that cannot be used stands its AttributeDenied, MeterBusy, ReplyMalformed or CaptureMismatch.
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


class Plan(Protocol):
    """What a bus does when no errand waits: the polling of its meters. Called in the bus's thread only."""

    def due(self, monotonic_s: float) -> Errand | None:
        """The next errand whose time has come, or None."""
        ...

    def idle_s(self, monotonic_s: float) -> float:
        """Seconds until something may be due; the bus sleeps at most that long."""
        ...


class CounterVault(Protocol):
    """Invocation counters, committed to disk ahead of use: a nonce is never used twice, crash or restore."""

    def reserve(self, serial: str, client_sap: int, at_least: int, count: int) -> range:
        """`count` fresh counters, all >= `at_least` and above all ever reserved. Returns after the commit.

        Raises:
            CounterExhausted: none is left below 2^32.
            StoreFault: could not be committed; nothing may be sent.
        """
        ...


# ---- store ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class BatchSlice:
    """Contiguous records of one stream, as stored.

    Attributes:
        stream: which.
        first: id of the first.
        bodies: encoded records.
        layouts: digest to encoded layout, those that the bodies use.
    """

    stream: Stream
    first: int
    bodies: Sequence[bytes]
    layouts: Mapping[bytes, bytes]


@dataclass(frozen=True, slots=True)
class ProfileState:
    """What the gap ledger knows of one profile of one meter. Times are seconds since 1970 by the meter's clock.

    Attributes:
        period_s: capture period that the meter stated; 0 where it is not known yet.
        since_s: from when on intervals are expected.
        held: ascending, disjoint (first, last) of the intervals that are held, both ends inclusive, on the grid.
        absent: the same with a reason, for those that will never come.
        layout: cached capture objects, or None.
    """

    period_s: int
    since_s: int
    held: tuple[tuple[int, int], ...]
    absent: tuple[tuple[int, int, str], ...]
    layout: Layout | None


class Transaction(Protocol):
    """One transaction on the store, in the writer's thread. All of it is committed, or none."""

    # streams
    def append(self, stream: Stream, body: bytes, layout: Layout | None = None) -> int:
        """Store a record; its id. The layout it uses is kept once."""
        ...

    def next_batch(self, after: Mapping[Stream, int], max_bytes: int) -> BatchSlice | None:
        """Records of the most urgent stream that has any beyond its cursor and `after`; None when there are none."""
        ...

    def deliver(self, stream: Stream, last: int) -> None:
        """Move the cursor to `last`, never back. Raises OperatorFault beyond the last id ever given."""
        ...

    def cursors(self) -> Mapping[Stream, tuple[int, int]]:
        """(delivered up to, last id given) of each stream."""
        ...

    # gap ledger
    def profile(self, serial: str, profile: LogicalName) -> ProfileState | None:
        """What is known, or None before the first `describe`."""
        ...

    def describe(self, serial: str, profile: LogicalName, layout: Layout, period_s: int, since_s: int) -> None:
        """Note capture objects and period; `since_s` is kept from the first time."""
        ...

    def admit(self, reading: ProfileReading) -> ProfileReading:
        """Store the rows that are not held yet, as one record, and mark them held. Returns what was new.

        Nothing is stored when no row is new. A row is let in once: (serial, profile, captured_at).
        """
        ...

    def note_absent(self, serial: str, profile: LogicalName, first_s: int, last_s: int, reason: str) -> None:
        """Intervals that will never come, and why; held ones inside stay held."""
        ...

    def forget_absent(self, serial: str, profile: LogicalName, after_s: int) -> None:
        """Nothing later than `after_s` is known to be absent any more: the meter's clock was set back to there."""
        ...

    # relay
    def command(self, iss: str, cmd_id: str) -> StoredCommand | None:
        """The command of that id, whatever its state."""
        ...

    def open_commands(self) -> Sequence[StoredCommand]:
        """Commands that are not at an end, oldest first."""
        ...

    def save_command(self, command: StoredCommand) -> None:
        """Insert or replace by (iss, cmd_id)."""
        ...

    def relay_sequence(self, serial: str) -> RelaySequence:
        """Highest consumed."""
        ...

    def raise_relay_sequence(self, serial: str, seq: int, *, disconnect: bool) -> None:
        """Consume `seq`; never goes back."""
        ...

    def document(self, typ: str) -> tuple[int, bytes] | None:
        """(version, envelope) of the signed document in force, e.g. typ "policy"."""
        ...

    def save_document(self, typ: str, version: int, envelope: bytes) -> None:
        """Replace it."""
        ...

    def journal(self, at_s: int, kind: str, body: bytes) -> tuple[int, bytes]:
        """Append to the hash-chained journal: (number, digest of the new head)."""
        ...

    def count(self, name: str) -> None:
        """Add one to a named counter, e.g. of refusals by code."""
        ...

    def counts(self) -> Mapping[str, int]:
        """All of them."""
        ...


class Store(Protocol):
    """The store, from any thread."""

    epoch: str
    """Journal id: random, new with each store file."""

    def transact(self, work: Callable[[Transaction], T], *, wait_s: float = 30.0) -> T:
        """Run `work` in the writer's thread and return its result after the commit (synchronous=FULL).

        Works that wait at the same time share one commit; one that raises is rolled back alone and its own
        exception is raised here. Raises StoreFault when the commit failed, StoreBusy when `wait_s` passed.
        """
        ...
