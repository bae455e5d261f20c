"""Leases: random names that the box gives out and keeps in memory only. A disconnect is signed for one. Pure.

A new one at each start, at each return of the connection and once a day; the one before stays good for an hour within
the same process. So what was signed before a restart, for a restored card, or for a box that was long offline is void.
Source: reference/command-authority.md 0 item 9, 5 (jid + lease).
"""

from collections.abc import Callable
from typing import Final

LIFE_S: Final = 86400.0
OVERLAP_S: Final = 3600.0
APART_S: Final = 60.0
"""No two new ones within this time: whoever makes the connection fail must not make them at will."""


class Leases:
    """The leases of one process. Times are seconds of a clock that never goes back.

    Args:
        make: makes a name that nobody can foretell; it is none yet.
    """

    def __init__(self, make: Callable[[], str]) -> None:
        self.make = make
        self._current = self._previous = ""
        self._since_s = self._due_s = float("-inf")

    @property
    def current(self) -> str:
        """The one that is given out now; empty before the first."""
        return self._current

    def want(self) -> None:
        """The connection is back: a new one is due."""
        self._due_s = min(self._due_s, self._since_s + APART_S)

    def due(self, now_s: float) -> bool:
        """Whether a new one is to be made now."""
        return now_s >= self._due_s

    def renew(self, now_s: float, lease: str) -> None:
        """One that was made and told replaces the current one, which stays good for a while."""
        self._previous, self._current = self._current, lease
        self._since_s, self._due_s = now_s, now_s + LIFE_S

    def good(self, now_s: float) -> frozenset[str]:
        """Those that a disconnect may name now."""
        age_s = now_s - self._since_s
        current = {self._current} if age_s < LIFE_S + OVERLAP_S else set()
        previous = {self._previous} if age_s < OVERLAP_S else set()
        return frozenset(current | previous) - {""}
