"""One transaction, as the rooms see it: the parts of the store under one roof."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Final

import cbor2

from dcu.causes import Happening
from dcu.command import RelaySequence, StoredCommand
from dcu.gaps import Absence, Span
from dcu.obis import LogicalName
from dcu.ports import BatchSlice, Clock, CounterStanding, JournalEntry, MeterState, Page, ProfileState, Seal, Stock
from dcu.reading import Layout, ProfileReading
from dcu.record import Stream, check_size, encode_profile
from dcu.store.accounts import Accounts
from dcu.store.authority import StoredAuthority
from dcu.store.commands import Commands
from dcu.store.database import Database
from dcu.store.dropping import Dropping
from dcu.store.invocation import Invocation
from dcu.store.journal import Journal
from dcu.store.kept_time import KeptTimes
from dcu.store.ledger import Ledger
from dcu.store.marks import Let, digest
from dcu.store.meters import Meters
from dcu.store.pages import page
from dcu.store.stock import stock
from dcu.store.streams import Streams
from dcu.timekeeping import KeptTime

MAX_RECORD_BYTES: Final = 65_536
"""A reading larger than this becomes several records, so that every record fits a frame of the socket."""


class SqliteTransaction:
    """`ports.Transaction`, where each method is described. Usable inside a work only, in the writer's thread."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self.accounts = Accounts(database, clock)
        self.dropping = Dropping(database, clock, self.accounts)
        self._streams = Streams(database, clock, self.accounts, self.dropping)
        self._ledger = Ledger(database)
        self._meters = Meters(database)
        self._commands = Commands(database)
        self._journal = Journal(database)
        self.authority = StoredAuthority(database)
        self._invocation = Invocation(database, clock)
        self._kept_times = KeptTimes(database)
        self.appended = 0
        """Records appended since the store was opened, those of rolled-back works too: for waking who waits."""

    # streams
    def append(self, stream: Stream, body: bytes, layout: Layout | None = None) -> int:
        """See `ports.Transaction`."""
        self.appended += 1
        return self._streams.append(stream, body, layout)

    def next_batch(self, after: Mapping[Stream, int], max_bytes: int) -> BatchSlice | None:
        """See `ports.Transaction`."""
        return self._streams.next_batch(after, max_bytes)

    def next_sealed(
        self, after: Mapping[Stream, int], choose: Callable[[Stream, int], Sequence[Seal]]
    ) -> Sequence[Seal]:
        """See `ports.Transaction`."""
        return self._streams.next_sealed(after, choose)

    def again(self, stream: Stream, first: int, last: int, max_bytes: int) -> BatchSlice | None:
        """See `ports.Transaction`."""
        return self._streams.again(stream, first, last, max_bytes)

    def deliver(self, stream: Stream, last: int) -> None:
        """See `ports.Transaction`."""
        self._streams.deliver(stream, last)

    def cursors(self) -> Mapping[Stream, tuple[int, int]]:
        """See `ports.Transaction`."""
        return self._streams.cursors()

    def stock(self) -> Stock:
        """See `ports.Transaction`."""
        return stock(self._database, self.accounts, dict(self._streams.cursors()))

    def page(self, stream: Stream, after: int, max_bytes: int = 65_536) -> Page:
        """See `ports.Transaction`."""
        return page(self._database, stream, max(after, self.accounts.floors()[stream]), max_bytes)

    # gap ledger
    def profile(self, serial: str, profile: LogicalName) -> ProfileState | None:
        """See `ports.Transaction`."""
        return self._ledger.profile(serial, profile)

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
        """See `ports.Transaction`."""
        self._ledger.describe(
            serial, profile, layout, period_s, since_s, entries=entries, newest_first=newest_first, until_s=until_s
        )

    def admit(self, reading: ProfileReading) -> ProfileReading:
        """See `ports.Transaction`."""
        return self._let_in(reading, self._ledger.admit(reading))

    def admit_events(self, reading: ProfileReading) -> ProfileReading:
        """See `ports.Transaction`."""
        return self._let_in(reading, self._ledger.admit_events(reading))

    def admit_bills(self, reading: ProfileReading, *, newest: bool = False) -> ProfileReading:
        """See `ports.Transaction`."""
        return self._let_in(reading, self._ledger.admit_bills(reading, newest=newest), Stream.BILLING)

    def admit_snapshot(self, reading: ProfileReading) -> ProfileReading:
        """See `ports.Transaction`."""
        return self._let_in(reading, self._ledger.admit_snapshot(reading))

    def _let_in(self, reading: ProfileReading, let: Let, stream: Stream = Stream.PROFILE) -> ProfileReading:
        fresh = reading if let == (reading.rows, reading.again) else replace(reading, rows=let[0], again=let[1])
        if fresh.rows:
            self._append_reading(fresh, stream)
        return fresh

    def holds(self, reading: ProfileReading, *, bills: bool = False) -> tuple[bool, ...]:
        """See `ports.Transaction`."""
        return self._ledger.holds(reading, bills=bills)

    def note_absent(
        self, serial: str, profile: LogicalName, first_s: int, last_s: int, reason: str, *, fill: bool = False
    ) -> tuple[Span, ...]:
        """See `ports.Transaction`."""
        fresh = self._ledger.note_absent(serial, profile, first_s, last_s, reason, fill=fill)
        if not fill:
            self._ledger.weigh(serial, profile, (first_s, last_s), self._meters.happenings(serial))
        return fresh

    def forget_absent(self, serial: str, profile: LogicalName, after_s: int) -> None:
        """See `ports.Transaction`."""
        self._ledger.forget_absent(serial, profile, after_s)

    def reopen(self, serial: str, profile: LogicalName, after_s: int) -> int:
        """See `ports.Transaction`."""
        times = self._ledger.later(serial, profile, after_s)
        if times:
            self._ledger.reopen(serial, profile, after_s, self._told(serial, profile, times))
        return len(times)

    def _told(self, serial: str, profile: LogicalName, times: Sequence[int]) -> dict[int, list[bytes]]:
        """Digests of the rows that were let in at `times`, by their time, out of the records that carry them."""
        wanted, found = set(times), dict[int, list[bytes]]()
        for body in self._streams.told(Stream.PROFILE, serial.encode()):
            record = cbor2.loads(body)
            if (record["meter"], record["profile"]) == (serial, str(profile)):
                for at, *values in record["rows"]:
                    if at in wanted:
                        found.setdefault(at, []).append(digest(values))
        return found

    # meters
    def meter(self, serial: str) -> MeterState | None:
        """See `ports.Transaction`."""
        return self._meters.meter(serial)

    def note_firmware(self, serial: str, firmware: bytes, at_s: int) -> None:
        """See `ports.Transaction`."""
        if self._meters.note_firmware(serial, firmware, at_s):
            self._ledger.note_stale(serial)
            self._ledger.forget_presents(serial)

    def note_described(self, serial: str, at_s: int) -> None:
        """See `ports.Transaction`."""
        self._meters.note_described(serial, at_s)

    def note_stale(self, serial: str) -> None:
        """See `ports.Transaction`."""
        self._ledger.note_stale(serial)

    def note_ahead(self, serial: str, ahead_s: int) -> None:
        """See `ports.Transaction`."""
        self._meters.note_ahead(serial, ahead_s)

    def note_happening(self, serial: str, happening: Happening) -> None:
        """See `ports.Transaction`."""
        self._meters.note_happening(serial, happening)
        self._ledger.explain(serial, happening, self._meters.happenings(serial))

    def settle(self, place: str, serial: str, at_s: int) -> str | None:
        """See `ports.Transaction`."""
        new, before = self._meters.settle(place, serial, at_s)
        if new:
            self._ledger.forget_reason(serial, Absence.METER_REPLACED.value)
        if before is not None and not self._meters.stands(before):
            known = self._meters.meter(before)
            until_s = at_s + ((known.ahead_s if known else None) or 0)
            for profile in self._ledger.profiles(before):
                self._ledger.give_up(before, profile, until_s, Absence.METER_REPLACED.value)
        return before

    # relay
    def command(self, iss: str, cmd_id: str) -> StoredCommand | None:
        """See `ports.Transaction`."""
        return self._commands.command(iss, cmd_id)

    def open_commands(self) -> Sequence[StoredCommand]:
        """See `ports.Transaction`."""
        return self._commands.open_commands()

    def save_command(self, command: StoredCommand) -> None:
        """See `ports.Transaction`."""
        self._commands.save_command(command)

    def relay_sequence(self, serial: str) -> RelaySequence:
        """See `ports.Transaction`."""
        return self._commands.relay_sequence(serial)

    def raise_relay_sequence(self, serial: str, seq: int, *, disconnect: bool) -> None:
        """See `ports.Transaction`."""
        self._commands.raise_relay_sequence(serial, seq, disconnect=disconnect)

    def document(self, typ: str) -> tuple[int, bytes] | None:
        """See `ports.Transaction`."""
        return self._commands.document(typ)

    def save_document(self, typ: str, version: int, envelope: bytes) -> None:
        """See `ports.Transaction`."""
        self._commands.save_document(typ, version, envelope)

    def journal(self, at_s: int, kind: str, body: bytes) -> tuple[int, bytes]:
        """See `ports.Transaction`."""
        return self._journal.append(at_s, kind, body)

    def journal_entries(self, after: int, limit: int) -> list[JournalEntry]:
        """See `ports.Transaction`."""
        return self._journal.entries(after, limit)

    def count(self, name: str) -> None:
        """See `ports.Transaction`."""
        self._commands.count(name)

    def counts(self) -> Mapping[str, int]:
        """See `ports.Transaction`."""
        return self._commands.counts()

    # time
    def kept_time(self) -> KeptTime | None:
        """See `ports.Transaction`."""
        return self._kept_times.read()

    def keep_time(self, kept: KeptTime) -> None:
        """See `ports.Transaction`."""
        self._kept_times.write(kept)

    # beyond the port
    def identity(self) -> tuple[str, str]:
        """(id of the box, epoch)."""
        known = dict(self._database.rows("SELECT name, value FROM identity"))
        return known["dcu"], known["epoch"]

    def journal_head(self) -> tuple[int, bytes]:
        """(number, digest) of the newest journal entry; (0, 32 zero octets) before the first."""
        return self._journal.head()

    def verify_journal(self) -> tuple[int, bytes]:
        """Walk the whole chain; its head. Raises StoreFault naming the entry where it is broken."""
        return self._journal.verify()

    def counter_standing(self, serial: str, client_sap: int) -> CounterStanding:
        """See `ports.CounterVault.standing`."""
        return self._invocation.standing(serial, client_sap)

    def reserve_counters(self, serial: str, client_sap: int, at_least: int, count: int) -> range:
        """See `ports.CounterVault.reserve`; of use only after the commit, so through `Counters`."""
        return self._invocation.reserve(serial, client_sap, at_least, count)

    def _append_reading(self, reading: ProfileReading, stream: Stream) -> None:
        """One record, or halves of it until each fits."""
        body = encode_profile(reading)
        middle = len(reading.rows) // 2
        if len(body) > MAX_RECORD_BYTES and middle:
            before = tuple(each for each in reading.again if each[0] < middle)
            behind = tuple((index - middle, n) for index, n in reading.again if index >= middle)
            self._append_reading(replace(reading, rows=reading.rows[:middle], again=before), stream)
            self._append_reading(replace(reading, rows=reading.rows[middle:], again=behind), stream)
            return
        self.append(stream, check_size(body, reading.layout), reading.layout)
