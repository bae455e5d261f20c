"""What the head-end can prove: that each interval the meters captured arrived, once, with the value that was captured.

The truth is the virtual meters' own ledger, written at the moment of capture; nothing of it comes from the box. Pure.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

Interval = tuple[str, str, int]
"""(meter serial, profile, captured_at in seconds since 1970)."""

_RINGS: Final = {"1.0.99.1.0.255", "1.0.99.2.0.255"}
"""Block and daily load: profiles that have an interval for every moment. Bills and events have none."""


@dataclass(frozen=True, slots=True)
class Completeness:
    """The comparison of what was captured with what arrived.

    Attributes:
        expected: intervals that the meters captured up to the moment of comparison.
        delivered: of those, how many arrived.
        missing: of those, which did not.
        different: which arrived with other values than were captured.
        twice: which arrived in two different records: an interval counted twice.
        invented: which arrived and were never captured.
        repeated_records: records that arrived again and were recognised by their id (at-least-once at work).
        late: of those delivered, how many the box read only after the next interval had ended, or only when it was up
            again after a kill: backfill.
    """

    expected: int
    delivered: int
    missing: tuple[Interval, ...]
    different: tuple[Interval, ...]
    twice: tuple[Interval, ...]
    invented: tuple[Interval, ...]
    repeated_records: int
    late: int

    @property
    def holds(self) -> bool:
        """Nothing is missing, different, counted twice or invented, and there was something to compare."""
        return self.expected > 0 and not (self.missing or self.different or self.twice or self.invented)


def captured(ledgers: Iterable[tuple[str, Iterable[str]]], until_s: int) -> dict[Interval, list[int]]:
    """Interval rows of the virtual meters' ledgers: (serial, lines) each, those captured up to `until_s`."""
    rows: dict[Interval, list[int]] = {}
    for serial, lines in ledgers:
        for line in lines:
            entry = json.loads(line)
            if entry["kind"] == "row" and entry["profile"] in _RINGS and entry["captured_at"] <= until_s:
                rows[serial, entry["profile"], entry["captured_at"]] = entry["values"]
    return rows


@dataclass(frozen=True, slots=True)
class Arrived:
    """Rows of de-duplicated records: values by interval, those that came in two records, and those read late."""

    rows: Mapping[Interval, list[int]]
    twice: tuple[Interval, ...]
    late: frozenset[Interval]


def arrived(records: Iterable[Mapping[str, Any]], late_after_s: int, killed_at: Sequence[float] = ()) -> Arrived:
    """Rows of de-duplicated profile records.

    Late are those that the box read more than `late_after_s` later, or that were captured before it was killed and read
    when it was up again.
    """
    rows: dict[Interval, list[int]] = {}
    twice: list[Interval] = []
    late: set[Interval] = set()
    for record in records:
        for captured_at, *values in record["rows"]:
            interval = (record["meter"], record["profile"], captured_at)
            if interval in rows:
                twice.append(interval)
            rows[interval] = values
            across = any(captured_at <= at < record["read_at"] for at in killed_at)
            if across or record["read_at"] - captured_at > late_after_s:
                late.add(interval)
    return Arrived(rows, tuple(twice), frozenset(late))


def compare(
    truth: Mapping[Interval, list[int]],
    records: Iterable[Mapping[str, Any]],
    until_s: int,
    repeated_records: int = 0,
    late_after_s: int = 900,
    late_from_s: int = 0,
    killed_at: Sequence[float] = (),
) -> Completeness:
    """Compare the ledgers' rows with the head-end's, profile by profile that the ledgers know.

    Only what was captured from `late_from_s` on counts as late: the history of a first visit is no backfill.
    """
    came = arrived(records, late_after_s, killed_at)
    profiles = {profile for _, profile, _ in truth}
    compared = {i: v for i, v in came.rows.items() if i[1] in profiles and i[2] <= until_s}
    return Completeness(
        expected=len(truth),
        delivered=len(truth.keys() & compared.keys()),
        missing=tuple(sorted(truth.keys() - compared.keys())),
        different=tuple(sorted(i for i in truth.keys() & compared.keys() if truth[i] != compared[i])),
        twice=tuple(sorted(i for i in came.twice if i[1] in profiles)),
        invented=tuple(sorted(compared.keys() - truth.keys())),
        repeated_records=repeated_records,
        late=sum(captured_at >= late_from_s for _, _, captured_at in truth.keys() & came.late),
    )
