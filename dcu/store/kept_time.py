"""The box's time as it was last known to be right: one row."""

from dcu.store.database import Database
from dcu.timekeeping import KeptTime


class KeptTimes:
    """The row behind `SystemClock.remember` and `keep`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def read(self) -> KeptTime | None:
        """What was kept last, or None."""
        found = self._database.first("SELECT floor_ms, boot, boot_ms, wall_ms FROM kept_time")
        return None if found is None else KeptTime(found[0] / 1000, found[1], found[2] / 1000, found[3] / 1000)

    def write(self, kept: KeptTime) -> None:
        """In the place of what was kept before."""
        self._database.write(
            "INSERT OR REPLACE INTO kept_time (one, floor_ms, boot, boot_ms, wall_ms) VALUES (1, ?, ?, ?, ?)",
            (round(kept.floor_s * 1000), kept.boot, round(kept.boot_s * 1000), round(kept.wall_s * 1000)),
        )
