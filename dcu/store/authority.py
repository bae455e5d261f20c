"""Debits, permits and restraints; the rules are in `dcu.relay`. Satisfies `ports.Authority`."""

from collections.abc import Sequence
from typing import Final

from dcu.command import Debit, Profile, Restraint
from dcu.store.database import Database

_DEBIT: Final = "SELECT iss, cmd_id, profile, permit, at_s, boot, boot_s, sent_at_s, sent_boot_s, total FROM debit "


class StoredAuthority:
    """The tables of authority of one store."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def debit(self, debit: Debit) -> None:
        """See `ports.Authority.debit`."""
        self._database.write(
            "INSERT INTO debit (iss, cmd_id, profile, permit, total, at_s, boot, boot_s) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                *(debit.iss, debit.cmd_id, debit.profile.value, debit.permit, debit.total),
                *(debit.at_s, debit.boot, debit.boot_s),
            ),
        )

    def debits(self, since_s: int, boot: str) -> Sequence[Debit]:
        """See `ports.Authority.debits`."""
        found = self._database.rows(_DEBIT + "WHERE at_s > ? OR boot = ? ORDER BY id", (since_s, boot))
        return [Debit(row[0], row[1], Profile(row[2]), *row[3:]) for row in found]

    def note_sent(self, iss: str, cmd_id: str, at_s: int, boot_s: int) -> None:
        """See `ports.Authority.note_sent`."""
        self._database.write(
            "UPDATE debit SET sent_at_s = ?, sent_boot_s = ? WHERE iss = ? AND cmd_id = ?", (at_s, boot_s, iss, cmd_id)
        )

    def permit(self, iss: str, permit_id: str) -> bytes | None:
        """See `ports.Authority.permit`."""
        found = self._database.first("SELECT envelope FROM permit WHERE iss = ? AND name = ?", (iss, permit_id))
        return None if found is None else found[0]

    def save_permit(self, iss: str, permit_id: str, envelope: bytes) -> None:
        """See `ports.Authority.save_permit`."""
        self._database.write("INSERT INTO permit (iss, name, envelope) VALUES (?, ?, ?)", (iss, permit_id, envelope))

    def permit_uses(self, iss: str, permit_id: str) -> int:
        """See `ports.Authority.permit_uses`."""
        found = self._database.first(
            "SELECT (SELECT count(*) FROM debit WHERE iss = ?1 AND permit = ?2) + "
            "(SELECT count(*) FROM debit WHERE iss = ?1 AND total = ?2 AND total != '')",
            (iss, permit_id),
        )
        return 0 if found is None else int(found[0])

    def restraints(self) -> Sequence[Restraint]:
        """See `ports.Authority.restraints`."""
        found = self._database.rows(
            "SELECT kind, meter, who, why, seconds, until_s, boot, boot_s FROM restraint ORDER BY kind, meter"
        )
        return [Restraint(*row) for row in found]

    def restrain(self, restraint: Restraint) -> None:
        """See `ports.Authority.restrain`."""
        self._database.write(
            "INSERT OR REPLACE INTO restraint (kind, meter, who, why, seconds, until_s, boot, boot_s) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                *(restraint.kind, restraint.meter, restraint.who, restraint.why),
                *(restraint.seconds, restraint.until_s, restraint.boot, restraint.boot_s),
            ),
        )

    def lift(self, kind: str, meter: str) -> None:
        """See `ports.Authority.lift`."""
        self._database.write("DELETE FROM restraint WHERE kind = ? AND meter = ?", (kind, meter))

    def note_safety(self, serial: str, seq: int) -> None:
        """See `ports.Authority.note_safety`."""
        self._database.write("UPDATE relay_sequence SET safety = ? WHERE meter = ?", (seq, serial))

    def forget_document(self, typ: str) -> None:
        """See `ports.Authority.forget_document`."""
        self._database.write("DELETE FROM document WHERE typ = ?", (typ,))
