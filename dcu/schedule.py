"""When each meter of a bus is visited, and for what: a pure policy over monotonic seconds.

One visit is one association, and does all that is due at that meter, since opening it costs more line time than a
poll (reference/gurux-dlms.md 6). The meter whose work has waited longest goes first, so nobody starves; a meter that
failed is held by the fate of its error while the others keep their cadence.
"""

import heapq
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from dcu.errors import Fate
from dcu.obis import LogicalName

HOLD_S: Final = {Fate.PAUSE_METER: 1800.0, Fate.SET_ASIDE: 900.0}
"""How long a meter is left alone: wrong tries can lock a client, and a swapped meter is looked at again."""

SILENCE_LEAST_S: Final = 5.0
SILENCE_MOST_S: Final = 600.0

_DOUBLED_AT_MOST: Final = 10
"""Enough to pass the bound; a meter that is dead for weeks must not overflow a float."""


class TaskKind(Enum):
    """What is done at a meter."""

    RING = "ring"
    SNAPSHOT = "snapshot"
    BALANCE = "balance"
    BILLING = "billing"
    EVENTS = "events"
    NAMEPLATE = "nameplate"


@dataclass(frozen=True, slots=True)
class Task:
    """One recurring piece of work at one meter; `profile` is None for the balance."""

    serial: str
    kind: TaskKind
    profile: LogicalName | None = None


@dataclass(frozen=True, slots=True)
class Visit:
    """All that is due at one meter now, the longest waiting first."""

    serial: str
    tasks: tuple[Task, ...]


@dataclass(slots=True)
class _MeterBook:
    due_s: dict[Task, float] = field(default_factory=dict)
    held_until_s: float = 0.0
    failures: int = 0


class Schedule:
    """The plan of one bus.

    Args:
        tasks: all of them; each is due once at the start, spread over `spread_s`.
        now_s: monotonic seconds.
        spread_s: the first visits of the meters are spread over this time.
    """

    def __init__(self, tasks: Iterable[Task], now_s: float, spread_s: float = 0.0) -> None:
        self._meters: dict[str, _MeterBook] = {}
        for task in tasks:
            self._meters.setdefault(task.serial, _MeterBook()).due_s[task] = now_s
        step = spread_s / max(1, len(self._meters))
        for n, book in enumerate(self._meters.values()):
            book.due_s = {task: at + n * step for task, at in book.due_s.items()}

    def visit(self, now_s: float) -> Visit | None:
        """The visit whose work has waited longest, or None when nothing is due."""
        ready = [
            (min(book.due_s.values()), n, serial)
            for n, (serial, book) in enumerate(self._meters.items())
            if book.due_s and book.held_until_s <= now_s
        ]
        if not ready or min(ready)[0] > now_s:
            return None
        serial = min(ready)[2]
        due = sorted((at, n, task) for n, (task, at) in enumerate(self._meters[serial].due_s.items()) if at <= now_s)
        return Visit(serial, tuple(task for _, _, task in due))

    def idle_s(self, now_s: float, at_most_s: float = 60.0) -> float:
        """Seconds until something may be due, at most `at_most_s`."""
        times = (max(min(b.due_s.values()), b.held_until_s) for b in self._meters.values() if b.due_s)
        nearest = heapq.nsmallest(1, times)
        return min(max(nearest[0] - now_s, 0.0), at_most_s) if nearest else at_most_s

    def done(self, task: Task, next_s: float) -> None:
        """The task succeeded and is due again at `next_s`."""
        self._meters[task.serial].due_s[task] = next_s

    def drop(self, task: Task) -> None:
        """The meter refuses this object: not asked again until the next start."""
        self._meters[task.serial].due_s.pop(task, None)

    def answered(self, serial: str) -> bool:
        """A visit went through to its end; True when the ones before it had failed."""
        book = self._meters[serial]
        failed, book.failures, book.held_until_s = book.failures > 0, 0, 0.0
        return failed

    def failed(self, serial: str, fate: Fate, now_s: float) -> bool:
        """Hold the meter by the fate of its error; True when this is the first failure in a row."""
        book = self._meters[serial]
        book.failures += 1
        backoff = min(SILENCE_LEAST_S * 2 ** min(book.failures - 1, _DOUBLED_AT_MOST), SILENCE_MOST_S)
        book.held_until_s = now_s + HOLD_S.get(fate, backoff)
        return book.failures == 1

    def held(self, serial: str, now_s: float) -> bool:
        """Whether the meter is being left alone."""
        return self._meters[serial].held_until_s > now_s
