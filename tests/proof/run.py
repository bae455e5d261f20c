"""How a claim is tried, and what came of it."""

import random
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

    def chance(self, what: object) -> random.Random:
        """Chance of its own for each part, so that no part's length moves another's."""
        return random.Random(f"{self.seed} {what}")


@dataclass(frozen=True, slots=True)
class Line:
    """One claim that was tried.

    Attributes:
        claim: in words.
        tried: how often and how, with its unit.
        result: what came of it.
        good: as it has to be.
        notes: what has to be explained, one sentence each.
    """

    claim: str
    tried: str
    result: str
    good: bool
    notes: tuple[str, ...] = ()
