"""Class 7 profiles: rings that capture on a grid of time, snapshots of the present, and selective access to both."""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

from dcu.sim.axdr import Datum, Tag, array, enum, i8, octets, structure, u16, u32
from dcu.sim.meter_clock import CLOCK_NAME, MeterClock
from dcu.sim.objects import Attribute, CosemObject, fixed
from dcu.sim.xdlms import Refused, Result

_BY_RANGE, _BY_ENTRY = 1, 2

Row = tuple[Any, ...]
"""Values in the order of the columns; of a ring: epoch second of capture, then raw integers."""


@dataclass(frozen=True, slots=True)
class Column:
    """One capture object, and how a row's value of it is encoded."""

    class_id: int
    name: bytes
    attribute: int
    present: Callable[[Any], Datum]

    def capture_object(self) -> Datum:
        """As attribute 3 lists it."""
        return structure(u16(self.class_id), octets(self.name), i8(self.attribute), u16(0))


def clock_column(clock: MeterClock) -> Column:
    """The clock, captured as an epoch second."""
    return Column(8, CLOCK_NAME, 2, lambda at: octets(clock.octets(at)))


class Ring:
    """The newest rows of a profile, one a capture period, on the grid of that period in the meter's local time.

    Args:
        period_s: capture period.
        entries: how many rows are kept.
        measure: raw integers of the interval (start, end] by the meter's clock.
        captured: told of each row at the moment of capture.
    """

    def __init__(
        self,
        period_s: int,
        entries: int,
        measure: Callable[[int, int], tuple[int, ...]],
        captured: Callable[[Row], None],
    ) -> None:
        self.period_s = period_s
        self.entries = entries
        self.rows: deque[Row] = deque(maxlen=entries)
        self.reached = 0
        """Grid moment up to which all that had to be captured was."""
        self._measure = measure
        self._captured = captured

    @property
    def last(self) -> int | None:
        """When the newest row was captured."""
        return self.rows[-1][0] if self.rows else None

    def restore(self, row: Row) -> None:
        """Put back a row that was captured in an earlier life."""
        if self.last is None or row[0] > self.last:
            self.rows.append(row)

    def advance(self, grid: int) -> None:
        """Capture up to `grid`. A clock that was set back captures no moment twice."""
        if grid > self.reached:
            self.capture(self.reached, grid)
        self.reached = grid

    def capture(self, after: int, until: int) -> None:
        """Capture each grid moment in (after, until] that is later than the newest row; at most a ring full."""
        first = max(after, until - self.entries * self.period_s)
        for end in range(first + self.period_s, until + 1, self.period_s):
            if self.last is not None and end <= self.last:
                continue
            row = (end, *self._measure(end - self.period_s, end))
            self.rows.append(row)
            self._captured(row)


def ring_object(name: bytes, columns: Sequence[Column], ring: Ring, clock: MeterClock) -> CosemObject:
    """Class 7 over a ring; its first column is the clock."""

    def select(selector: int, parameters: Datum) -> Datum:
        if selector == _BY_RANGE:
            return _by_range(columns, ring, clock, parameters)
        if selector == _BY_ENTRY:
            return _by_entry(columns, ring, parameters)
        raise Refused(Result.SCOPE_VIOLATED)

    return _profile(
        name,
        columns,
        Attribute(lambda: _buffer(columns, ring.rows), select=select),
        period_s=ring.period_s,
        in_use=lambda: len(ring.rows),
        entries=ring.entries,
        sort=columns[0].capture_object(),
    )


def snapshot_object(name: bytes, columns: Sequence[Column], row: Callable[[], Row]) -> CosemObject:
    """Class 7 with one row that is made when it is read."""
    nothing = structure(u16(0), octets(bytes(6)), i8(0), u16(0))
    buffer = Attribute(lambda: _buffer(columns, [row()]))
    return _profile(name, columns, buffer, period_s=0, in_use=lambda: 1, entries=1, sort=nothing)


def _profile(
    name: bytes,
    columns: Sequence[Column],
    buffer: Attribute,
    *,
    period_s: int,
    in_use: Callable[[], int],
    entries: int,
    sort: Datum,
) -> CosemObject:
    return CosemObject(
        7,
        name,
        {
            2: buffer,
            3: fixed(array([column.capture_object() for column in columns])),
            4: fixed(u32(period_s)),
            5: fixed(enum(1)),  # first in, first out
            6: fixed(sort),
            7: Attribute(lambda: u32(in_use())),
            8: fixed(u32(entries)),
        },
        version=1,
    )


def _buffer(columns: Sequence[Column], rows: Sequence[Row] | deque[Row], wanted: Sequence[int] | None = None) -> Datum:
    picked = range(len(columns)) if wanted is None else wanted
    return array([structure(*(columns[at].present(row[at]) for at in picked)) for row in rows])


# ---- selective access (Blue Book 4.3.6, range_descriptor and entry_descriptor) --------------------------------------

_RANGE_PARTS: Final = 4


def _parts(parameters: Datum, count: int) -> tuple[Datum, ...]:
    if parameters.tag is not Tag.STRUCTURE or len(parameters.value) != count:
        raise Refused(Result.TYPE_UNMATCHED)
    return tuple(parameters.value)


def _by_range(columns: Sequence[Column], ring: Ring, clock: MeterClock, parameters: Datum) -> Datum:
    restricting, start, end, selected = _parts(parameters, _RANGE_PARTS)
    if _named(columns, restricting) != 0:
        raise Refused(Result.OTHER_REASON)  # only the clock orders this buffer
    if selected.tag is not Tag.ARRAY:
        raise Refused(Result.TYPE_UNMATCHED)
    low, high = (_moment(clock, bound) for bound in (start, end))
    wanted = [_named(columns, item) for item in selected.value] or None
    rows = [row for row in ring.rows if (low is None or row[0] >= low) and (high is None or row[0] <= high)]
    return _buffer(columns, rows, wanted)


def _moment(clock: MeterClock, bound: Datum) -> int | None:
    if bound.tag not in {Tag.OCTET_STRING, Tag.DATE_TIME}:
        raise Refused(Result.TYPE_UNMATCHED)
    return clock.moment(bound.value)


def _named(columns: Sequence[Column], item: Datum) -> int:
    """Place of the column that a capture object names."""
    parts = _parts(item, 4)
    if [part.tag for part in parts] != [Tag.LONG_UNSIGNED, Tag.OCTET_STRING, Tag.INTEGER, Tag.LONG_UNSIGNED]:
        raise Refused(Result.TYPE_UNMATCHED)
    wanted = tuple(part.value for part in parts[:3])
    for at, column in enumerate(columns):
        if (column.class_id, column.name, column.attribute) == wanted:
            return at
    raise Refused(Result.OTHER_REASON)


def _by_entry(columns: Sequence[Column], ring: Ring, parameters: Datum) -> Datum:
    """Entries and columns count from 1, the oldest row first; 0 as upper bound is the last one."""
    parts = _parts(parameters, 4)
    long, short = Tag.DOUBLE_LONG_UNSIGNED, Tag.LONG_UNSIGNED
    if [part.tag for part in parts] != [long, long, short, short]:
        raise Refused(Result.TYPE_UNMATCHED)
    first, last, left, right = (part.value for part in parts)
    if first < 1 or left < 1 or (last and last < first) or (right and right < left):
        raise Refused(Result.OTHER_REASON)
    rows = list(islice(ring.rows, first - 1, last or None))
    return _buffer(columns, rows, range(left - 1, min(right or len(columns), len(columns))))
