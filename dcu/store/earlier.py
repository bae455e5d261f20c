"""Grids on which profiles captured before their capture period was found changed: the table `earlier_grid`.

What was not read when that was found is still in the meter's ring, or is absent for a reason, though it may stand on
no instant of the grid that is in force.
"""

from collections.abc import Sequence
from dataclasses import replace
from math import lcm
from typing import Final

from dcu import gaps
from dcu.gaps import EarlierGrid, Span, Unsettled
from dcu.store.absences import Absences
from dcu.store.database import Database
from dcu.store.instants import Instants

AT_MOST: Final = 8
"""So many are kept of a profile, the newest."""

_NEVER: Final = 1 << 62


class EarlierGrids:
    """Those of all profiles, by the number of the profile's row in the ledger.

    `held` and `period` are those of the grid that is in force.
    """

    def __init__(self, database: Database, instants: Instants, absences: Absences) -> None:
        self._database = database
        self._instants = instants
        self._absences = absences

    def of(self, profile: int) -> list[EarlierGrid]:
        """Of one profile, the oldest first."""
        query = "SELECT period_s, from_s, until_s FROM earlier_grid WHERE profile = ? ORDER BY id"
        return [EarlierGrid(*found) for found in self._database.rows(query, (profile,))]

    def add(self, profile: int, grid: EarlierGrid) -> None:
        """One more, and the oldest may go."""
        self._database.write(
            "INSERT INTO earlier_grid (profile, period_s, from_s, until_s) VALUES (?, ?, ?, ?)",
            (profile, grid.period_s, grid.from_s, grid.until_s),
        )
        self._database.write(
            "DELETE FROM earlier_grid WHERE profile = ? AND id NOT IN "
            "(SELECT id FROM earlier_grid WHERE profile = ? ORDER BY id DESC LIMIT ?)",
            (profile, profile, AT_MOST),
        )

    def in_turn(self, profile: int, held: Sequence[Span], period: int, phase: int) -> tuple[EarlierGrid, ...]:
        """The same, each with its newest row that the one after it does not have."""
        grids = self.of(profile)
        later = [*grids, EarlierGrid(period, phase, 0)][1:]
        return tuple(
            replace(grid, sure_s=self._instants.newest_off(profile, held, period, grid.until_s, after))
            for grid, after in zip(grids, later, strict=True)
        )

    def since(self, profile: int) -> set[int]:
        """Times of rows that came since the last of them was found changed, while nobody knew the grid."""
        grids = self.of(profile)
        return set(self._instants.strays(profile, grids[-1].until_s + 1, _NEVER)) if grids else set()

    def settle(self, profile: int, period: int) -> None:
        """Rows have come, or are known to be absent: note how far each of them is settled."""
        query = "SELECT id, period_s, from_s, until_s FROM earlier_grid WHERE profile = ? AND from_s <= until_s"
        for number, *known in self._database.rows(query, (profile,)):
            grid = EarlierGrid(*known)
            left = self._open(profile, self._instants.held(profile), period, grid)
            first_s = left[0][0] if left else beyond(grid.until_s, grid.from_s, grid.period_s)
            if first_s != grid.from_s:
                self._database.write("UPDATE earlier_grid SET from_s = ? WHERE id = ?", (first_s, number))

    def unsettled(self, profile: int, held: Sequence[Span], period: int, grid: EarlierGrid) -> list[Unsettled]:
        """Instants of one of them that are neither held nor absent, with the held rows around them."""
        found: list[Unsettled] = []
        for first, last in self._open(profile, held, period, grid):
            at = first
            while at <= last:
                if not found or (found[-1].behind_s or at) < at:
                    found.append(Unsettled(grid, at, at, *self._instants.beside(profile, held, period, at)))
                behind_s = found[-1].behind_s
                end = last if behind_s is None else min(last, beyond(behind_s, at, grid.period_s) - grid.period_s)
                found[-1] = replace(found[-1], last_s=end)
                at = end + grid.period_s
        return found

    def _open(self, profile: int, held: Sequence[Span], period: int, grid: EarlierGrid) -> tuple[Span, ...]:
        """The same as spans on its grid, whatever rows lie between its instants."""
        if grid.period_s <= 0 or grid.from_s > grid.until_s:
            return ()
        whole = grid.from_s, grid.until_s - (grid.until_s - grid.from_s) % grid.period_s
        absent = (gaps.snap((a, b), grid.from_s, grid.period_s) for a, b, _ in self._absences.near(profile, *whole))
        inner = (gaps.snap(part, held[0][0], period) for part in gaps.common(held, [whole]))
        gridded = (span for part in inner if part is not None for span in _shared(part, period, grid))
        odd = ((at, at) for at in self._instants.strays(profile, *whole) if grid.has(at))
        known = gaps.merge([*(span for span in absent if span is not None), *gridded, *odd], grid.period_s)
        return gaps.without([whole], known, grid.period_s)


def _shared(part: Span, period: int, grid: EarlierGrid) -> list[Span]:
    """Spans of a grid whose instants a span of another period has too."""
    step = lcm(period, grid.period_s)
    first = next((at for at in gaps.expected(part[0], min(part[1], part[0] + step), period) if grid.has(at)), None)
    if first is None:
        return []
    last = part[1] - (part[1] - first) % step
    return [(first, last)] if step == grid.period_s else [(at, at) for at in gaps.expected(first, last, step)]


def beyond(at: int, phase: int, period: int) -> int:
    """The first instant of a grid that is later than `at`."""
    return at + period - (at - phase) % period
