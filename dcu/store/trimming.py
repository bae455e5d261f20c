"""The gap ledger and the marks of each profile are bounded: what no meter can have any more is forgotten.

By number and not by date, since a meter's clock may show any: what is kept is several times what a meter's buffer
holds, so that a row that was let in once cannot come again after it was forgotten.
"""

from typing import Final

from dcu.store.database import Database

SPANS: Final = 8192
"""Of a profile, held and absent: three months of a meter that loses an interval every half hour."""

ROWS: Final = 8192
"""Marks, and instants off the grid, of a profile whose buffer is smaller than a quarter of that."""


class Trimming:
    """One profile at a time, round and round."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._number = 0

    def step(self) -> bool:
        """Trim the next profile; False once after the last of a round."""
        found = self._database.first(
            "SELECT id, entries FROM profile WHERE id > ? ORDER BY id LIMIT 1", (self._number,)
        )
        if found is None:
            self._number = 0
            return False
        self._number, entries = found
        most = max(ROWS, 4 * entries)
        self._trim_rows("mark", most)
        self._trim_rows("stray", most)
        self._trim_spans()
        return True

    def _trim_rows(self, name: str, most: int) -> None:
        cut = self._cut(name, "at_s", most)
        if cut is not None:
            self._database.write(f"DELETE FROM {name} WHERE profile = ? AND at_s < ?", (self._number, cut))  # noqa: S608

    def _trim_spans(self) -> None:
        """What lies before the oldest span that is kept is not expected any more either."""
        cuts = [cut for name in ("held", "absent") if (cut := self._cut(name, "first_s", SPANS)) is not None]
        if not cuts:
            return
        cut = max(cuts)
        self._database.write("DELETE FROM held WHERE profile = ? AND last_s < ?", (self._number, cut))
        self._database.write("DELETE FROM absent WHERE profile = ? AND last_s < ?", (self._number, cut))
        self._database.write("UPDATE profile SET since_s = max(since_s, ?) WHERE id = ?", (cut, self._number))

    def _cut(self, name: str, column: str, most: int) -> int | None:
        """Where too many are there: the first that is kept of three quarters of them."""
        sql = f"SELECT count(*) FROM {name} WHERE profile = ?"  # noqa: S608  names of our own
        if self._database.rows(sql, (self._number,))[0][0] <= most:
            return None
        sql = f"SELECT {column} FROM {name} WHERE profile = ? ORDER BY {column} DESC LIMIT 1 OFFSET ?"  # noqa: S608
        found = self._database.first(sql, (self._number, most * 3 // 4))
        return None if found is None else int(found[0])
