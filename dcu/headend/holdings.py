"""What the head-end holds: each record once, by its exact key, and the holes that are left. Pure.

Delivery is at-least-once with an exact key (dcu, epoch, stream, id): a batch may come again, whole or cut in another
way, and only ids that are new are taken. Ids of a stream start at 1 and have no hole of the box's own making.
"""

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from dcu.record import Batch, Stream

ANNOUNCING: Final = ("dropped", "record-quarantined")
"""Kinds of alarm that name ids which never come."""

SUCCEEDING: Final = "salvaged"
"""Kind of alarm that says under which epoch a store goes on."""


@dataclass(frozen=True, slots=True)
class Series:
    """One sequence of ids: a stream of a store of a box."""

    dcu: str
    epoch: str
    stream: Stream


@dataclass(frozen=True, slots=True)
class Item:
    """A record that was not held before.

    Attributes:
        series, id: its key.
        record: its decoded body.
        columns: `{ln, attr, unit, scaler}` of each column where the record names a layout, else None.
    """

    series: Series
    id: int
    record: Mapping[str, Any]
    columns: list[dict[str, Any]] | None = None


@dataclass(frozen=True, slots=True)
class Hole:
    """Ids first..last that a later one shows to exist, and that are not held."""

    series: Series
    first: int
    last: int


class IdRanges:
    """A set of ids as ascending disjoint ranges: as small as the holes are few."""

    def __init__(self) -> None:
        self._firsts: list[int] = []
        self._lasts: list[int] = []

    def add(self, n: int) -> bool:
        """True when it was new."""
        at = bisect_left(self._lasts, n)  # the first range that does not end before n
        if at < len(self._firsts) and self._firsts[at] <= n:
            return False
        joins_left = at > 0 and self._lasts[at - 1] == n - 1
        joins_right = at < len(self._firsts) and self._firsts[at] == n + 1
        if joins_left and joins_right:
            self._lasts[at - 1] = self._lasts.pop(at)
            self._firsts.pop(at)
        elif joins_left:
            self._lasts[at - 1] = n
        elif joins_right:
            self._firsts[at] = n
        else:
            self._firsts.insert(at, n)
            self._lasts.insert(at, n)
        return True

    def ranges(self) -> tuple[tuple[int, int], ...]:
        """(first, last) of each, ascending, both ends inclusive."""
        return tuple(zip(self._firsts, self._lasts, strict=True))


def columns_of(record: Mapping[str, Any], batch: Batch) -> list[dict[str, Any]] | None:
    """Columns that a record of the batch stands in; None where it names no layout."""
    digest = record.get("layout")
    return batch.layouts.get(digest) if isinstance(digest, bytes) else None


@dataclass(slots=True)
class Holdings:
    """All that is held, of all boxes.

    Attributes:
        repeated: records that came again and were not taken.
    """

    repeated: int = 0
    _ids: dict[Series, IdRanges] = field(default_factory=dict)
    _announced: dict[Series, set[tuple[int, int]]] = field(default_factory=dict)
    _heirs: dict[Series, tuple[Series, int]] = field(default_factory=dict)

    def take(self, batch: Batch) -> list[Item]:
        """The records of a batch that were not held; they are from now on."""
        series = Series(batch.dcu, batch.epoch, batch.stream)
        items = []
        for n, record in enumerate(batch.records, start=batch.first):
            if not self.note(series, n):
                self.repeated += 1
                continue
            items.append(Item(series, n, record, columns_of(record, batch)))
            self._hear(series, record)
        return items

    def _hear(self, series: Series, record: Mapping[str, Any]) -> None:
        """An alarm that says which ids never come, or under which epoch the others do."""
        if series.stream is not Stream.ALARM:
            return
        facts, kind = record.get("facts"), record.get("kind")
        try:
            of, first, last = _series(series.dcu, facts, "epoch"), int(facts["first"]), int(facts["last"])  # type: ignore[index]
            if kind in ANNOUNCING:
                self._announced.setdefault(of, set()).add((first, last))
            elif kind == SUCCEEDING:
                self._heirs[_series(series.dcu, facts, "was")] = of, last
        except (KeyError, TypeError, ValueError):
            return  # kept all the same

    def note(self, series: Series, n: int) -> bool:
        """One id is held, e.g. from an earlier run; True when it was new."""
        return self._ids.setdefault(series, IdRanges()).add(n)

    def held(self) -> dict[Series, tuple[tuple[int, int], ...]]:
        """Ranges of ids by series."""
        return {series: ids.ranges() for series, ids in self._ids.items()}

    def count(self) -> int:
        """Records held."""
        return sum(last - first + 1 for ranges in self.held().values() for first, last in ranges)

    def holes(self) -> list[Hole]:
        """What is missing below the highest id of each series, and was not announced as never to come.

        Of a store that was salvaged only the last epoch is asked: ids up to the salvage count whichever epoch they
        came under (`docs/head-end.md`).
        """
        found = []
        heirs = {heir for heir, _ in self._heirs.values()}
        for series in (self._ids.keys() | self._announced.keys() | heirs) - self._heirs.keys():
            awaited = 1
            for first, last in sorted(self._known(series)):
                if first > awaited:
                    found.append(Hole(series, awaited, first - 1))
                awaited = max(awaited, last + 1)
        return sorted(found, key=lambda hole: (*_order(hole.series), hole.first))

    def _known(self, series: Series) -> set[tuple[int, int]]:
        """Ranges of ids that are held or announced, under this epoch or an earlier one of the same line."""
        ids = self._ids.get(series)
        known = set(self._announced.get(series, ())) | set(ids.ranges() if ids else ())
        line, seen = [(old, last) for old, (heir, last) in self._heirs.items() if heir == series], {series}
        for old, last in line:  # it grows: the parents of parents
            if old in seen:
                continue
            seen.add(old)
            ids = self._ids.get(old)
            own = set(self._announced.get(old, ())) | set(ids.ranges() if ids else ())
            known |= {span for span in own if span[0] <= last}
            line += [(older, least) for older, (heir, least) in self._heirs.items() if heir == old]
        return known


def _series(dcu: str, facts: Any, name: str) -> Series:
    """Raises KeyError, TypeError or ValueError."""
    return Series(dcu, str(facts[name]), Stream(facts["stream"]))


def _order(series: Series) -> tuple[str, str, str]:
    return series.dcu, series.epoch, series.stream.value
