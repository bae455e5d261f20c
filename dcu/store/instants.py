"""Which rows of each profile are held: on the grid as spans (table `held`), off it one by one (table `stray`).

Spans are ascending, disjoint, and all on one grid.
"""

from collections.abc import Iterable, Sequence
from itertools import islice
from math import gcd

from dcu import gaps
from dcu.gaps import EarlierGrid, Span
from dcu.store.database import Database


class Instants:
    """Those of all profiles, by the number of the profile's row in the ledger."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def held(self, profile: int) -> tuple[Span, ...]:
        """All spans of a profile."""
        query = "SELECT first_s, last_s FROM held WHERE profile = ? ORDER BY first_s"
        return tuple(self._database.rows(query, (profile,)))

    def keep(self, profile: int, before: Sequence[Span], after: Sequence[Span]) -> None:
        """Write only what changed: an ordinary poll moves the end of one span."""
        gone, come = set(before) - set(after), set(after) - set(before)
        starts = {first for first, _ in come}
        self._database.write_all(
            "DELETE FROM held WHERE profile = ? AND first_s = ?",
            ((profile, first) for first, _ in gone if first not in starts),
        )
        self._database.write_all(
            "INSERT INTO held (profile, first_s, last_s) VALUES (?, ?, ?) "
            "ON CONFLICT (profile, first_s) DO UPDATE SET last_s = excluded.last_s",
            ((profile, *span) for span in come),
        )

    def strays(self, profile: int, first_s: int, last_s: int) -> list[int]:
        """Times of rows off the grid in first_s .. last_s, ascending."""
        query = "SELECT at_s FROM stray WHERE profile = ? AND at_s BETWEEN ? AND ? ORDER BY at_s"
        return [at for (at,) in self._database.rows(query, (profile, first_s, last_s))]

    def strays_of(self, profile: int, times: Sequence[int]) -> frozenset[int]:
        """Of `times`, those that were let in off the grid."""
        return frozenset(self.strays(profile, min(times), max(times))).intersection(times) if times else frozenset()

    def keep_strays(self, profile: int, times: Iterable[int]) -> None:
        """Some more."""
        self._database.write_all("INSERT INTO stray (profile, at_s) VALUES (?, ?)", ((profile, at) for at in times))

    def drop_strays(self, profile: int, times: Iterable[int]) -> None:
        """They stand on the grid."""
        self._database.write_all("DELETE FROM stray WHERE profile = ? AND at_s = ?", ((profile, at) for at in times))

    def within(self, profile: int, held: Sequence[Span], period: int, span: Span) -> list[int]:
        """Times of all rows in a span of seconds, ascending; `held` as it is on the grid of that period."""
        phase = held[0][0] if held else 0
        inner = (gaps.snap(part, phase, period) for part in gaps.common(held, [span]))
        gridded = each_of((part for part in inner if part is not None), period)
        return sorted({*gridded, *self.strays(profile, *span)})

    def beside(self, profile: int, held: Sequence[Span], period: int, at: int) -> tuple[int | None, int | None]:
        """Times of the nearest rows before and behind a moment that has none."""
        [(below, above)] = self._database.rows(
            "SELECT (SELECT max(at_s) FROM stray WHERE profile = ? AND at_s < ?), "
            "(SELECT min(at_s) FROM stray WHERE profile = ? AND at_s > ?)",
            (profile, at, profile, at),
        )
        for first, last in held:
            if first < at:
                below = max(below or first, min(last, at - (at - first) % period))
            if last > at:
                above = min(above or last, max(first, at + (first - at) % period))
        return below, above

    def newest_off(self, profile: int, held: Sequence[Span], period: int, until_s: int, grid: EarlierGrid) -> int:
        """Time of the newest row up to `until_s` that stands on no instant of `grid`; 0 where there is none."""
        query = "SELECT max(at_s) FROM stray WHERE profile = ? AND at_s <= ? AND (at_s - ?) % ? != 0"
        [(stray,)] = self._database.rows(query, (profile, until_s, grid.from_s, grid.period_s))
        cycle = grid.period_s // gcd(grid.period_s, period)
        for first, last in reversed([(first, min(last, until_s)) for first, last in held if first <= until_s]):
            newest = last - (last - first) % period
            off = (at for at in islice(range(newest, first - 1, -period), cycle) if not grid.has(at))
            if (at := next(off, None)) is not None:
                return max(at, stray or 0)
        return stray or 0


def each_of(parts: Iterable[Span], period: int) -> tuple[int, ...]:
    """All instants of spans on one grid."""
    return tuple(at for first, last in parts for at in gaps.expected(first, last, period))
