"""How a claim is tried, and what came of it."""

import multiprocessing
import os
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

Found = TypeVar("Found")


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

    def over(self, one: Callable[["Run", int], Found], n: int) -> Iterator[Found]:
        """What `one` finds for each number below `n`, none of which knows of another: in order, over all cores."""
        if not self.full:
            yield from (one(self, i) for i in range(n))
            return
        with multiprocessing.get_context("fork").Pool(os.cpu_count()) as pool:
            yield from pool.imap(_Numbered(self, one), range(n), chunksize=4)
            pool.close()  # they end by themselves: one that has inherited a handler of SIGTERM hears no other word
            pool.join()


@dataclass(frozen=True, slots=True)
class _Numbered:
    """A run and what is done in it; both can be sent to another process."""

    run: Run
    one: Callable[[Run, int], object]

    def __call__(self, number: int) -> object:
        return self.one(self.run, number)


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
