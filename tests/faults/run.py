"""How a row is to be tried."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Run:
    """Its seed, whether all of it or a small share, and a directory in memory."""

    seed: int
    full: bool
    scratch: Path

    def of(self, small: int, full: int) -> int:
        """The one or the other."""
        return full if self.full else small
