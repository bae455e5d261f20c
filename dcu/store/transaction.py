"""One transaction, as the rooms see it: the parts of the store under one roof."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from dcu.command import RelaySequence, StoredCommand
from dcu.obis import LogicalName
from dcu.ports import BatchSlice, Clock, CounterStanding, ProfileState
from dcu.reading import Layout, ProfileReading
from dcu.record import Stream, check_size, encode_profile
from dcu.store.commands import Commands
from dcu.store.database import Database
from dcu.store.invocation import Invocation
from dcu.store.journal import Journal
from dcu.store.ledger import Ledger
from dcu.store.streams import Streams

BILLING_PROFILE: Final = LogicalName.of("1.0.98.1.0.255")
"""Rows of it are what a bill is made of; they have their own stream."""

MAX_RECORD_BYTES: Final = 65_536
"""A reading larger than this becomes several records, so that every record fits a frame of the socket."""


class SqliteTransaction:
    """`ports.Transaction`, where each method is described. Usable inside a work only, in the writer's thread."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._streams = Streams(database, clock)
        self._ledger = Ledger(database)
        self._commands = Commands(database)
        self._journal = Journal(database)
        self._invocation = Invocation(database, clock)
        self.appended = 0
        """Records appended since the store was opened, those of rolled-back works too: for waking who waits."""

    # streams
    def append(self, stream: Stream, body: bytes, layout: Layout | None = None) -> int:
        """See `ports.Transaction`."""
        self.appended += 1
        return self._streams.append(stream, body, layout)

    def next_batch(self, after: Mapping[Stream, int], max_bytes: int) -> BatchSlice | None:
        """See `ports.Transaction`. Raises StoreFault when the record that is next is damaged."""
        return self._streams.next_batch(after, max_bytes)

    def deliver(self, stream: Stream, last: int) -> None:
        """See `ports.Transaction`."""
        self._streams.deliver(stream, last)

    def cursors(self) -> Mapping[Stream, tuple[int, int]]:
        """See `ports.Transaction`."""
        return self._streams.cursors()

    # gap ledger
    def profile(self, serial: str, profile: LogicalName) -> ProfileState | None:
        """See `ports.Transaction`."""
        return self._ledger.profile(serial, profile)

    def describe(self, serial: str, profile: LogicalName, layout: Layout, period_s: int, since_s: int) -> None:
        """See `ports.Transaction`."""
        self._ledger.describe(serial, profile, layout, period_s, since_s)

    def admit(self, reading: ProfileReading) -> ProfileReading:
        """See `ports.Transaction`."""
        fresh = replace(reading, rows=self._ledger.admit(reading))
        if fresh.rows:
            self._append_reading(fresh)
        return fresh

    def note_absent(self, serial: str, profile: LogicalName, first_s: int, last_s: int, reason: str) -> None:
        """See `ports.Transaction`."""
        self._ledger.note_absent(serial, profile, first_s, last_s, reason)

    def forget_absent(self, serial: str, profile: LogicalName, after_s: int) -> None:
        """See `ports.Transaction`."""
        self._ledger.forget_absent(serial, profile, after_s)

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

    def count(self, name: str) -> None:
        """See `ports.Transaction`."""
        self._commands.count(name)

    def counts(self) -> Mapping[str, int]:
        """See `ports.Transaction`."""
        return self._commands.counts()

    # beyond the port
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

    def _append_reading(self, reading: ProfileReading) -> None:
        """One record, or halves of it until each fits."""
        body = encode_profile(reading)
        middle = len(reading.rows) // 2
        if len(body) > MAX_RECORD_BYTES and middle:
            self._append_reading(replace(reading, rows=reading.rows[:middle]))
            self._append_reading(replace(reading, rows=reading.rows[middle:]))
            return
        stream = Stream.BILLING if reading.profile == BILLING_PROFILE else Stream.PROFILE
        self.append(stream, check_size(body, reading.layout), reading.layout)
