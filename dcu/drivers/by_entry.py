"""Rows of a range of time from a meter that selects by entry only: where they lie is found by looking. Pure.

A buffer is seen here by age: 0 is the newest row. Times fall with age, though not evenly: a meter without power
captures nothing, so that a row that is n periods old is at most n rows old.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from dcu.drivers.profile import within
from dcu.reading import Row

_FEW: Final = 4  # rows of a look: some of them may have no valid time
_BITE: Final = 96  # rows of a read; more would only make a lost answer dearer

Read = Callable[[int, int], list[Row]]
"""Rows of entries first..last, counted from 1 in the order of the meter's buffer."""


@dataclass(frozen=True, slots=True)
class EntryBuffer:
    """A buffer that is read by entry.

    Attributes:
        read: entries of it.
        entries: rows that it holds.
        newest_first: entry 1 is the newest.
        period_s: capture period; 0 where it is not known, which costs more looks.
    """

    read: Read
    entries: int
    newest_first: bool
    period_s: int = 0

    def rows(self, since: datetime, until: datetime) -> list[Row]:
        """Rows with since <= captured_at <= until, in the order of the meter's buffer. Raises as `read`."""
        if self.entries == 0:
            return []
        newest = self._aged(0, _FEW)
        bites = [within(newest, since, until)]
        age, reached = _FEW, _reach(newest, since)
        if not reached and _all_after(newest, until):
            age = self._first_age(newest, until)
        while age < self.entries and not reached:
            bite = self._aged(age, _BITE)
            bites.append(within(bite, since, until))
            age, reached = age + _BITE, _reach(bite, since)
        if not self.newest_first:
            bites.reverse()
        return [row for bite in bites for row in bite]

    def _first_age(self, newest: list[Row], until: datetime) -> int:
        """An age such that all younger rows are after `until`, found by halving."""
        young, old = min(_FEW, self.entries), self.entries
        look = (young + old) // 2
        if self.period_s > 0:
            latest = max(row.captured_at.at for row in newest)
            old = min(old, int((latest - until).total_seconds()) // self.period_s + 1)
            look = old - 2 * _FEW  # where it is when nothing is missing
        while young < old:
            look = max(young, look)
            found = self._aged(look, _FEW)
            if _all_after(found, until):
                young = look + _FEW
            else:
                old = look
            look = (young + old) // 2
        return min(young, self.entries)

    def _aged(self, age: int, count: int) -> list[Row]:
        """At most `count` rows, of `age` and older."""
        count = min(count, self.entries - age)
        first = age + 1 if self.newest_first else self.entries - age - count + 1
        return self.read(first, first + count - 1)


def _all_after(rows: list[Row], moment: datetime) -> bool:
    """Whether all are, and there are any: rows without a valid time prove nothing."""
    return bool(rows) and all(row.captured_at.at > moment for row in rows)


def _reach(rows: list[Row], moment: datetime) -> bool:
    """Whether they reach back beyond `moment`."""
    return any(row.captured_at.at < moment for row in rows)
