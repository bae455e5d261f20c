"""Commands and what they have consumed: states, relay sequences, the documents in force, counts of refusals."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from dcu.command import RelaySequence, State, StoredCommand
from dcu.store.database import Database

_SELECT: Final = "SELECT iss, cmd_id, digest, payload, kids, state, receipt, repeated_at FROM command "


class Commands:
    """The relay's part of the store; the rules are in `dcu.relay`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def command(self, iss: str, cmd_id: str) -> StoredCommand | None:
        """See `ports.Transaction.command`."""
        found = self._database.first(_SELECT + "WHERE iss = ? AND cmd_id = ?", (iss, cmd_id))
        return None if found is None else _stored(found)

    def open_commands(self) -> Sequence[StoredCommand]:
        """See `ports.Transaction.open_commands`."""
        found = self._database.rows(_SELECT + "WHERE state IN ('accepted', 'pending', 'dispatched') ORDER BY id")
        return [_stored(row) for row in found]

    def save_command(self, command: StoredCommand) -> None:
        """See `ports.Transaction.save_command`; a replaced command keeps its place in the order."""
        self._database.write(
            "INSERT INTO command (iss, cmd_id, digest, payload, kids, state, receipt, repeated_at) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?) "
            "ON CONFLICT (iss, cmd_id) DO UPDATE SET digest = excluded.digest, payload = excluded.payload, "
            "kids = excluded.kids, state = excluded.state, receipt = excluded.receipt, "
            "repeated_at = excluded.repeated_at",
            (
                command.iss,
                command.cmd_id,
                command.digest,
                command.payload,
                json.dumps(list(command.kids)),
                command.state.value,
                command.receipt,
                command.repeated_at,
            ),
        )

    def relay_sequence(self, serial: str) -> RelaySequence:
        """See `ports.Transaction.relay_sequence`."""
        found = self._database.first(
            "SELECT highest, disconnect, safety FROM relay_sequence WHERE meter = ?", (serial,)
        )
        return RelaySequence() if found is None else RelaySequence(*found)

    def raise_relay_sequence(self, serial: str, seq: int, *, disconnect: bool) -> None:
        """See `ports.Transaction.raise_relay_sequence`."""
        self._database.write(
            "INSERT INTO relay_sequence (meter, highest, disconnect) VALUES (?, ?, ?) "
            "ON CONFLICT (meter) DO UPDATE SET highest = max(highest, excluded.highest), "
            "disconnect = max(disconnect, excluded.disconnect)",
            (serial, seq, seq if disconnect else 0),
        )

    def document(self, typ: str) -> tuple[int, bytes] | None:
        """See `ports.Transaction.document`."""
        found = self._database.first("SELECT version, envelope FROM document WHERE typ = ?", (typ,))
        return None if found is None else (found[0], found[1])

    def save_document(self, typ: str, version: int, envelope: bytes) -> None:
        """See `ports.Transaction.save_document`."""
        self._database.write(
            "INSERT INTO document (typ, version, envelope) VALUES (?, ?, ?) "
            "ON CONFLICT (typ) DO UPDATE SET version = excluded.version, envelope = excluded.envelope",
            (typ, version, envelope),
        )

    def count(self, name: str) -> None:
        """See `ports.Transaction.count`."""
        self._database.write(
            "INSERT INTO tally (name, n) VALUES (?, 1) ON CONFLICT (name) DO UPDATE SET n = n + 1", (name,)
        )

    def counts(self) -> Mapping[str, int]:
        """See `ports.Transaction.counts`."""
        return dict(self._database.rows("SELECT name, n FROM tally ORDER BY name"))


def _stored(row: tuple[Any, ...]) -> StoredCommand:
    iss, cmd_id, digest, payload, kids, state, receipt, repeated_at = row
    return StoredCommand(iss, cmd_id, digest, payload, tuple(json.loads(kids)), State(state), receipt, repeated_at)
