"""What the relay room keeps, in memory: as much of a transaction as every memory of the tests has in common."""

from abc import ABC, abstractmethod
from dataclasses import replace

from dcu.command import OPEN, RelaySequence


class Kept(ABC):
    """`ports.Transaction` and `ports.Authority` on `rows`: commands, sequences, documents, permits, restraints, counts.

    Streams, the journal and debits are each memory's own; `_debits` gives it all of them.
    """

    def __init__(self, rows):
        self.rows = rows
        self.authority = self

    def command(self, iss, cmd_id):
        return self.rows.commands.get((iss, cmd_id))

    def open_commands(self):
        return [c for c in self.rows.commands.values() if c.state in OPEN]

    def save_command(self, command):
        self.rows.commands[command.iss, command.cmd_id] = command

    def relay_sequence(self, serial):
        return self.rows.sequences.get(serial, RelaySequence())

    def raise_relay_sequence(self, serial, seq, *, disconnect):
        held = self.relay_sequence(serial)
        cut = max(held.disconnect, seq) if disconnect else held.disconnect
        self.rows.sequences[serial] = replace(held, any=max(held.any, seq), disconnect=cut)

    def note_safety(self, serial, seq):
        if (held := self.rows.sequences.get(serial)) is not None:
            self.rows.sequences[serial] = replace(held, safety=seq)

    def document(self, typ):
        return self.rows.documents.get(typ)

    def save_document(self, typ, version, envelope):
        self.rows.documents[typ] = (version, envelope)

    def forget_document(self, typ):
        self.rows.documents.pop(typ, None)

    def count(self, name):
        self.rows.counts[name] = self.rows.counts.get(name, 0) + 1

    def counts(self):
        return dict(self.rows.counts)

    def debits(self, since_s, boot):
        return [d for d in self._debits() if d.at_s > since_s or d.boot == boot]

    def permit(self, iss, permit_id):
        return self.rows.permits.get((iss, permit_id))

    def save_permit(self, iss, permit_id, envelope):
        assert (iss, permit_id) not in self.rows.permits
        self.rows.permits[iss, permit_id] = envelope

    def permit_uses(self, iss, permit_id):
        return sum(d.iss == iss and permit_id in {d.permit, d.total} for d in self._debits())

    def restraints(self):
        return list(self.rows.restraints.values())

    def restrain(self, restraint):
        self.rows.restraints[restraint.kind, restraint.meter] = restraint

    def lift(self, kind, meter):
        self.rows.restraints.pop((kind, meter), None)

    @abstractmethod
    def _debits(self):
        """All of them."""
