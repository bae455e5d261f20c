"""Finding the oldest row that a meter still has, through entries whose time is not valid."""

from typing import Final

from dcu.field.parts import Answer, Ask
from dcu.meter import AttributeRef, ByEntry, ClassId
from dcu.obis import LogicalName
from dcu.ports import RowsWanted
from dcu.reading import Layout, Row

WINDOWS: Final = ((1, 4), (5, 32), (33, 160))
"""Entries from the oldest on that are looked at, one window after another, until one has a row with a valid time."""

ENTRIES_IN_USE: Final = 7


class Oldest:
    """A search of a few polls.

    Attributes:
        found: the oldest row with a valid time; None before, and where there is none.
        over: the search has come to its end.
        empty: the meter says that the buffer has no rows.

    Args:
        profile: which.
        layout: of it.
        newest_first: the order of its buffer.
        in_use: rows that it holds; None: it is asked.
    """

    def __init__(self, profile: LogicalName, layout: Layout, *, newest_first: bool, in_use: int | None) -> None:
        self._profile = profile
        self._layout = layout
        self._newest_first = newest_first
        self._in_use = in_use
        self._window = 0
        self.found: Row | None = None
        self.empty = in_use == 0
        self.over = self.empty

    def ask(self) -> Ask:
        """The next window, or how many rows there are."""
        if self._in_use is None:
            return Ask(refs=(AttributeRef(ClassId.PROFILE_GENERIC, self._profile, ENTRIES_IN_USE),))
        young, old = self._window_of(self._in_use)
        return Ask(rows=RowsWanted(self._profile, self._layout, ByEntry(young, old)))

    def _window_of(self, in_use: int) -> tuple[int, int]:
        first, last = WINDOWS[self._window]
        last = min(last, in_use)
        return (in_use - last + 1, in_use - first + 1) if self._newest_first else (first, last)

    def take(self, answer: Answer) -> None:
        """What came. Raises its refusal."""
        if self._in_use is None:
            self._in_use = answer.count()
            self.empty = self.over = self._in_use == 0
            return
        self.found = min(answer.taken(), key=lambda row: row.captured_at.at, default=None)
        self._window += 1
        self.over = self.found is not None or self._window == len(WINDOWS) or WINDOWS[self._window][0] > self._in_use
