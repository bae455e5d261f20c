"""Seams around the store: batches, the gap ledger's state, one transaction, the store itself. No code."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from dcu.causes import Happening
from dcu.command import RelaySequence, StoredCommand
from dcu.gaps import EarlierGrid, Span, Unsettled
from dcu.obis import LogicalName
from dcu.ports.authority import Authority
from dcu.ports.holding import JournalEntry, Page, Stock
from dcu.ports.sealing import Seal
from dcu.reading import Layout, ProfileReading
from dcu.record import Stream
from dcu.timekeeping import KeptTime

T = TypeVar("T")


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
        held: ascending, disjoint (first, last) of the intervals that are held, both ends inclusive, on the grid;
            without a period the time of the newest row.
        absent: the same with a reason, for those that will never come.
        layout: cached capture objects, or None.
        entries: rows that the meter's buffer can hold; 0 where it did not say.
        newest_first: entry 1 of the buffer is the newest row.
        stale: something says that the meter was changed since these were read: they are to be read again.
        is_shown: rows have shown the grid, or it is the first one; else its phase is a guess.
        earlier: grids that were in force before the capture period was found changed, the oldest first.
        unsettled: what is neither held nor absent of those.
    """

    period_s: int
    since_s: int
    held: tuple[tuple[int, int], ...]
    absent: tuple[tuple[int, int, str], ...]
    layout: Layout | None
    entries: int = 0
    newest_first: bool = False
    stale: bool = False
    is_shown: bool = True
    earlier: tuple[EarlierGrid, ...] = ()
    unsettled: tuple[Unsettled, ...] = ()


@dataclass(frozen=True, slots=True)
class MeterState:
    """What is kept of a meter beside its profiles.

    Attributes:
        firmware: version that the cached layouts were read under; empty before it was read.
        ahead_s: the meter's clock minus the box's when they were last compared in earnest; None before.
        described_s: when all was last read anew of the meter, by the box's clock.
        happenings: what is known to have kept it from capturing, oldest first.
    """

    firmware: bytes
    ahead_s: int | None
    described_s: int
    happenings: tuple[Happening, ...]


class Transaction(Protocol):
    """One transaction on the store, in the writer's thread. All of it is committed, or none."""

    # streams
    def append(self, stream: Stream, body: bytes, layout: Layout | None = None) -> int:
        """Store a record; its id. The layout it uses is kept once."""
        ...

    def next_batch(self, after: Mapping[Stream, int], max_bytes: int) -> BatchSlice | None:
        """Records of the most urgent stream that has any beyond its cursor and `after`; None when there are none."""
        ...

    def next_sealed(
        self, after: Mapping[Stream, int], choose: Callable[[Stream, int], Sequence[Seal]]
    ) -> Sequence[Seal]:
        """Of the seals that `choose` names those whose records are all held, up to the first that is not.

        It is asked for the stream that `next_batch` would give, and from which record on; where it names none, that
        stream is next as before.
        """
        ...

    def again(self, stream: Stream, first: int, last: int, max_bytes: int) -> BatchSlice | None:
        """Records `first` to `last` once more, as many as fit, delivered or not; None when none of them is held."""
        ...

    def deliver(self, stream: Stream, last: int) -> None:
        """Move the cursor to `last`, never back. Raises OperatorFault beyond the last id ever given."""
        ...

    def cursors(self) -> Mapping[Stream, tuple[int, int]]:
        """(delivered up to, last id given) of each stream."""
        ...

    def stock(self) -> Stock:
        """What is held, at which rate it grows, and for how long an outage it is enough. Cheap: counts no rows."""
        ...

    def page(self, stream: Stream, after: int, max_bytes: int = 65_536) -> Page:
        """Records of a stream beyond an id, delivered or not, to about `max_bytes`; at least one where there is one."""
        ...

    # time
    def kept_time(self) -> KeptTime | None:
        """When the box last knew the time, or None."""
        ...

    def keep_time(self, kept: KeptTime) -> None:
        """The same, from now on."""
        ...

    # gap ledger
    def profile(self, serial: str, profile: LogicalName) -> ProfileState | None:
        """What is known, or None before the first `describe`."""
        ...

    def describe(
        self,
        serial: str,
        profile: LogicalName,
        layout: Layout,
        period_s: int,
        since_s: int,
        *,
        entries: int = 0,
        newest_first: bool = False,
        until_s: int | None = None,
    ) -> None:
        """Note capture objects, period and extent; `since_s` is kept from the first time. It is not stale any more.

        With another period than before, what was missing up to `until_s` (by the meter's clock) stays to be settled,
        as `unsettled`; without that, up to the newest row that is held.
        """
        ...

    def admit(self, reading: ProfileReading) -> ProfileReading:
        """Store the rows of a ring that are not held yet, as one record, and mark them held. Returns what was new.

        Nothing is stored when no row is new. A row is let in once: (serial, profile, captured_at). Another row with a
        time that is held already is let in as `again` where the first one's values are known and are others.
        """
        ...

    def admit_events(self, reading: ProfileReading) -> ProfileReading:
        """The same for a log: a row is its time and code, and equal ones count as often as one answer has them."""
        ...

    def admit_bills(self, reading: ProfileReading, *, newest: bool = False) -> ProfileReading:
        """The same into the `billing` stream: a bill is its billing date and its values; the newest row comes first.

        Another bill of a date that is known is let in as `again`, but for the first row where that is the `newest` of
        the meter's buffer: it may be the running period.
        """
        ...

    def admit_snapshot(self, reading: ProfileReading) -> ProfileReading:
        """The same for a profile of one row: let in unless it is the very row that was let in last."""
        ...

    def holds(self, reading: ProfileReading, *, bills: bool = False) -> tuple[bool, ...]:
        """Of each row of a log, or of each bill, whether it was let in."""
        ...

    def note_absent(
        self, serial: str, profile: LogicalName, first_s: int, last_s: int, reason: str, *, fill: bool = False
    ) -> Sequence[Span]:
        """No row dated from `first_s` to `last_s` will ever come, and why; held ones inside stay held.

        A newer reason replaces an older one; with `fill` the older one stays.
        Returns the seconds of it at which no row is stored, ascending and disjoint.
        """
        ...

    def forget_absent(self, serial: str, profile: LogicalName, after_s: int) -> None:
        """Nothing later than `after_s` is known to be absent any more: the meter's clock was set back to there."""
        ...

    def reopen(self, serial: str, profile: LogicalName, after_s: int) -> int:
        """What is held of intervals later than `after_s` is asked again: the meter's clock passes them once more.

        What was let in of them is remembered by its values: equal rows are not let in again, others are, as `again`.
        Returns how many intervals.
        """
        ...

    # meters
    def meter(self, serial: str) -> MeterState | None:
        """What is kept of a meter, or None."""
        ...

    def note_firmware(self, serial: str, firmware: bytes, at_s: int) -> None:
        """The meter says so. Where it said otherwise before, all that is cached of its profiles is stale."""
        ...

    def note_described(self, serial: str, at_s: int) -> None:
        """All profiles were read anew, or found as they were."""
        ...

    def note_stale(self, serial: str) -> None:
        """Something says that the meter was changed: what is cached of its profiles is read again."""
        ...

    def note_ahead(self, serial: str, ahead_s: int) -> None:
        """The meter's clock minus the box's."""
        ...

    def note_happening(self, serial: str, happening: Happening) -> None:
        """Something kept the meter from capturing: absences of that time are explained anew with it."""
        ...

    def settle(self, place: str, serial: str, at_s: int) -> str | None:
        """The meter of that serial stands at `place`. Returns the serial of the meter that it took the place of.

        Intervals of that one which were still missing are absent from then on (`meter replaced`), unless it stands in
        another place now.
        """
        ...

    # relay
    @property
    def authority(self) -> Authority:
        """Debits, permits, restraints."""
        ...

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

    def journal_entries(self, after: int, limit: int) -> Sequence[JournalEntry]:
        """The next entries of the journal behind number `after`, at most `limit`."""
        ...

    def journal_head(self) -> tuple[int, bytes]:
        """(number, digest) of the newest journal entry; (0, 32 zero octets) before the first."""
        ...

    def count(self, name: str) -> None:
        """Add one to a named counter, e.g. of refusals by code."""
        ...

    def counts(self) -> Mapping[str, int]:
        """All of them."""
        ...


class Waiting(Protocol):
    """A work that a store keeps until it can do it."""

    @property
    def waits(self) -> bool:
        """False once it is done, or lost: then what the store has says which."""
        ...


class Store(Protocol):
    """The store, from any thread."""

    @property
    def epoch(self) -> str:
        """Journal id: random, new with each store file. Raises StoreDown before the first opening."""
        ...

    def transact(self, work: Callable[[Transaction], T], *, wait_s: float = 30.0) -> T:
        """Run `work` in the writer's thread and return its result after the commit (synchronous=FULL).

        Works that wait at the same time share one commit; one that raises is rolled back alone and its own
        exception is raised here.

        Raises:
            StoreDown: nothing of it is committed or ever will be: nothing can be stored now, too many wait, or it was
                not begun when `wait_s` passed.
            StoreBusy: `wait_s` passed while it was done: it may or may not be committed.
            StoreFault: the commit failed.
        """
        ...

    def keep(self, work: Callable[[Transaction], object], octets: int = 0) -> Waiting:
        """Have `work` done as soon as the store can, unless the process ends before: for what may wait in memory.

        Bounded in octets: where there is no room the oldest is dropped, counted, and told when the store is well again.
        What it raises is logged.

        Args:
            work: as for `transact`.
            octets: that it holds in memory, about; a little is added for the work itself.
        """
        ...
