"""Meters as the store knows them beside their profiles: firmware, clock, what happened to them, where they stand."""

from typing import Final

from dcu.causes import Happening
from dcu.gaps import Absence
from dcu.ports import MeterState
from dcu.store.database import Database

HAPPENINGS: Final = 256
"""So many are kept of a meter, the newest."""


class Meters:
    """The tables `meter`, `happening` and `place`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def meter(self, serial: str) -> MeterState | None:
        """See `ports.Transaction.meter`."""
        found = self._database.first("SELECT firmware, ahead_s, described_s FROM meter WHERE serial = ?", (serial,))
        if found is None:
            return None
        firmware, ahead_s, described_s = found
        return MeterState(firmware, ahead_s, described_s, self.happenings(serial))

    def note_firmware(self, serial: str, firmware: bytes, at_s: int) -> bool:
        """Keep it; whether it is another than before, or the first."""
        known = self._database.first("SELECT firmware FROM meter WHERE serial = ?", (serial,))
        if known is not None and known[0] == firmware:
            return False
        self._upsert(serial, "firmware", firmware)
        self._upsert(serial, "described_s", at_s)
        return True

    def note_described(self, serial: str, at_s: int) -> None:
        """See `ports.Transaction.note_described`."""
        self._upsert(serial, "described_s", at_s)

    def note_ahead(self, serial: str, ahead_s: int) -> None:
        """See `ports.Transaction.note_ahead`."""
        self._upsert(serial, "ahead_s", ahead_s)

    def _upsert(self, serial: str, column: str, value: int | bytes) -> None:
        self._known(serial)
        statement = {
            "firmware": "UPDATE meter SET firmware = ? WHERE serial = ?",
            "described_s": "UPDATE meter SET described_s = ? WHERE serial = ?",
            "ahead_s": "UPDATE meter SET ahead_s = ? WHERE serial = ?",
        }[column]
        self._database.write(statement, (value, serial))

    def _known(self, serial: str) -> None:
        self._database.write(
            "INSERT OR IGNORE INTO meter (serial, firmware, described_s) VALUES (?, ?, 0)", (serial, b"")
        )

    # ---- what happened

    def happenings(self, serial: str) -> tuple[Happening, ...]:
        """All that are kept of a meter, oldest first."""
        found = self._database.rows(
            "SELECT kind, first_s, last_s, skipped_s FROM happening WHERE meter = ? ORDER BY first_s, last_s", (serial,)
        )
        return tuple(Happening(Absence(kind), *times) for kind, *times in found)

    def note_happening(self, serial: str, happening: Happening) -> None:
        """Keep it, and let the oldest go."""
        self._known(serial)
        self._database.write(
            "INSERT OR IGNORE INTO happening (meter, kind, first_s, last_s, skipped_s) VALUES (?, ?, ?, ?, ?)",
            (serial, happening.kind.value, happening.first_s, happening.last_s, happening.skipped_s),
        )
        self._database.write(
            "DELETE FROM happening WHERE meter = ? AND id NOT IN "
            "(SELECT id FROM happening WHERE meter = ? ORDER BY id DESC LIMIT ?)",
            (serial, serial, HAPPENINGS),
        )

    # ---- where they stand

    def settle(self, place: str, serial: str, at_s: int) -> tuple[bool, str | None]:
        """Whether the meter is new at `place`, and the one that stood there before and stands nowhere now."""
        known = self._database.first("SELECT meter FROM place WHERE place = ? ORDER BY id DESC LIMIT 1", (place,))
        if known is not None and known[0] == serial:
            return False, None
        self._database.write("INSERT INTO place (place, meter, since_s) VALUES (?, ?, ?)", (place, serial, at_s))
        if known is None:
            return True, None
        return True, known[0]

    def stands(self, serial: str) -> bool:
        """Whether the meter is the newest one of any place."""
        found = self._database.first(
            "SELECT 1 FROM place AS p WHERE p.meter = ? AND p.id = (SELECT max(id) FROM place WHERE place = p.place)",
            (serial,),
        )
        return found is not None
