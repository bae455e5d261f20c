"""Class 7 profiles: rings that capture on a grid of time, logs of what happens, snapshots, and selective access."""

from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from operator import itemgetter
from typing import Any, Final

from dcu.sim.axdr import Datum, Tag, array, encode, enum, i8, octets, structure, u16, u32
from dcu.sim.buffer import Column, Form, buffer
from dcu.sim.faults import Faults
from dcu.sim.meter_clock import MeterClock
from dcu.sim.objects import Attribute, CosemObject, expect, fixed
from dcu.sim.xdlms import Refused, Result

_BY_RANGE, _BY_ENTRY = 1, 2

Row = tuple[Any, ...]
"""Values in the order of the columns; of a ring: epoch second of capture, then raw integers."""


class Log:
    """The newest rows of a profile.

    Args:
        entries: how many rows are kept.
        rolls: a new row drops the oldest of a full buffer; else the full buffer takes no more.
    """

    def __init__(self, entries: int, *, rolls: bool = True) -> None:
        self.entries = entries
        self.rows: deque[Row] = deque(maxlen=entries)
        self.sorted = True
        """Whether rows stand in the order of their times: not where the clock was set back."""
        self._rolls = rolls

    @property
    def period_s(self) -> int:
        """Capture period: 0, captured by events."""
        return 0

    @property
    def last(self) -> int | None:
        """When the newest row was captured."""
        return self.rows[-1][0] if self.rows else None

    def append(self, row: Row) -> bool:
        """Take a row; False where the buffer is full and does not roll."""
        if not self._rolls and len(self.rows) == self.entries:
            return False
        if self.last is not None and row[0] < self.last:
            self.sorted = False
        self.rows.append(row)
        return True

    def clear(self) -> None:
        """Forget all rows."""
        self.rows.clear()
        self.sorted = True


def _utc_grid(at: float, period_s: int) -> int:
    return int(at // period_s) * period_s


class Ring(Log):
    """The newest rows of a profile, one a capture period, on the grid of that period in the meter's local time.

    Args:
        period_s: capture period.
        entries: how many rows are kept.
        measure: raw integers of the interval (start, end] by the meter's clock.
        captured: told of each row at the moment of capture, with its interval's beginning.
        grid: the last moment not after a time that a period's grid has.
        repeats: after its clock was set back it captures the same moments again; else none is captured twice.
    """

    def __init__(
        self,
        period_s: int,
        entries: int,
        measure: Callable[[int, int], tuple[int, ...]],
        captured: Callable[[Row, int], None],
        grid: Callable[[float, int], int] = _utc_grid,
        *,
        repeats: bool = False,
    ) -> None:
        super().__init__(entries)
        self._period_s = period_s
        self.next_period: tuple[int, int] | None = None
        """(seconds, moment) of a change to come: the grid moment of the old period from which the new one counts."""
        self.reached = 0
        """Grid moment up to which all that had to be captured was."""
        self._measure = measure
        self._captured = captured
        self._grid = grid
        self._repeats = repeats

    @property
    def period_s(self) -> int:
        """Capture period in force."""
        return self._period_s

    @property
    def due(self) -> int:
        """When the next row is to be captured."""
        return self._grid(self.reached, self._period_s) + self._period_s

    def restore(self, row: Row) -> int:
        """Put back a row that was captured in an earlier life; when its interval began."""
        self._turn_period(row[0] - 1)
        start = row[0] - self._period_s
        if self.last is not None and start < self.last < row[0]:
            start = self.last
        self.append(row)
        return int(start)

    def change_period(self, period_s: int, at: float) -> int:
        """Take another period from the next boundary of the present one on; that boundary."""
        boundary = self._grid(at, self._period_s) + self._period_s
        self.next_period = (period_s, boundary)
        return boundary

    def _turn_period(self, at: float) -> None:
        if self.next_period and at >= self.next_period[1]:
            self._period_s, self.next_period = self.next_period[0], None

    def rebase(self, at: float) -> None:
        """Go on from `at`, as after a power cut or when the clock was set: what was due before is not captured."""
        self._turn_period(at)
        if self.next_period and self.next_period[1] - at > self._period_s:  # the clock was set back
            self.change_period(self.next_period[0], at)
        self.reached = self._grid(at, self._period_s)

    def advance(self, at: float) -> None:
        """Capture all that is due at `at`. Unless it repeats, a clock set back captures no moment twice."""
        if self.next_period and at >= self.next_period[1]:
            boundary = self.next_period[1]
            self._advance(boundary)
            self._turn_period(boundary)
            self.reached = boundary
        self._advance(at)

    def _advance(self, at: float) -> None:
        grid = self._grid(at, self._period_s)
        if grid > self.reached:
            self.capture(self.reached, grid)
            self.reached = grid

    def capture(self, after: int, until: int) -> None:
        """Capture each grid moment in (after, until] that is later than the newest row; at most a ring full."""
        first = max(self._grid(after, self._period_s), until - self.entries * self._period_s)
        for end in range(first + self._period_s, until + 1, self._period_s):
            if not self._repeats and self.last is not None and end <= self.last:
                continue
            start = end - self._period_s
            if start < after:  # the first one after a change of period
                start = max(start, after)
            row = (end, *self._measure(start, end))
            self.append(row)
            self._captured(row, start)


@dataclass(frozen=True, slots=True)
class Manner:
    """How a meter shows its buffers.

    Attributes:
        form: of the rows on the wire.
        newest_first: order of the buffer, and of its entries.
    """

    form: Form = Form.PLAIN
    newest_first: bool = False


@dataclass(frozen=True, slots=True)
class Shelf:
    """A buffer with rows in time, as an object serves it.

    Attributes:
        columns: the first one is the row's time.
        log: its rows.
        clock: reads the bounds of a range.
        faults: of the meter.
        manner: how it is shown.
        present: one more row, newer than all, made when it is read.
        set_period: takes a new capture period; None where nobody may set it.
    """

    columns: Sequence[Column]
    log: Log
    clock: MeterClock
    faults: Faults
    manner: Manner = field(default_factory=Manner)
    present: Callable[[], Row] | None = None
    set_period: Callable[[int], None] | None = None

    def rows(self) -> list[Row]:
        """All rows, the oldest first."""
        rows = list(self.log.rows)
        if self.present:
            rows.append(self.present())
        return rows

    def show(self, rows: list[Row], wanted: Sequence[int] | None = None) -> Datum:
        """Rows, the oldest first, as they are sent: of all columns, or of the wanted ones."""
        if self.manner.newest_first:
            rows.reverse()
        return buffer(self.columns, rows, wanted, self.manner.form, self.log.period_s)


def ring_object(name: bytes, shelf: Shelf) -> CosemObject:
    """Class 7 over rows in time."""

    def select(selector: int, parameters: Datum) -> Datum:
        if selector == _BY_RANGE:
            return _by_range(shelf, parameters)
        if selector == _BY_ENTRY:
            return _by_entry(shelf, parameters)
        raise Refused(Result.SCOPE_VIOLATED)

    def write_period(value: Datum) -> None:
        if shelf.set_period is not None:
            shelf.set_period(expect(value, Tag.DOUBLE_LONG_UNSIGNED, Tag.LONG_UNSIGNED).value)

    log, more = shelf.log, 1 if shelf.present else 0
    period = Attribute(lambda: u32(log.period_s), write_period if shelf.set_period else None)
    in_use = Attribute(lambda: u32(len(log.rows) + more))
    whole = Attribute(lambda: shelf.show(shelf.rows()), select=select)
    sort = fixed(shelf.columns[0].capture_object())
    lifo = shelf.manner.newest_first
    return _profile(name, shelf.columns, whole, period, in_use, log.entries + more, sort, newest_first=lifo)


def snapshot_object(name: bytes, columns: Sequence[Column], row: Callable[[], Row]) -> CosemObject:
    """Class 7 with one row that is made when it is read."""
    nothing = fixed(structure(u16(0), octets(bytes(6)), i8(0), u16(0)))
    whole = Attribute(lambda: buffer(columns, [row()]))
    return _profile(name, columns, whole, fixed(u32(0)), fixed(u32(1)), 1, nothing)


def _profile(
    name: bytes,
    columns: Sequence[Column],
    rows: Attribute,
    period: Attribute,
    in_use: Attribute,
    entries: int,
    sort: Attribute,
    *,
    newest_first: bool = False,
) -> CosemObject:
    return CosemObject(
        7,
        name,
        {
            2: rows,
            3: fixed(array([column.capture_object() for column in columns])),
            4: period,
            5: fixed(enum(2 if newest_first else 1)),  # last in, first out; first in, first out
            6: sort,
            7: in_use,
            8: fixed(u32(entries)),
        },
        version=1,
    )


# ---- selective access (Blue Book 4.3.6, range_descriptor and entry_descriptor) --------------------------------------

_RANGE_PARTS: Final = 4
_TIME: Final = itemgetter(0)


def _parts(parameters: Datum, count: int) -> tuple[Datum, ...]:
    if parameters.tag is not Tag.STRUCTURE or len(parameters.value) != count:
        raise Refused(Result.TYPE_UNMATCHED)
    return tuple(parameters.value)


def _by_range(shelf: Shelf, parameters: Datum) -> Datum:
    restricting, start, end, selected = _parts(parameters, _RANGE_PARTS)
    if _named(shelf.columns, restricting) != 0:
        raise Refused(Result.OTHER_REASON)  # only its time orders this buffer
    if selected.tag is not Tag.ARRAY:
        raise Refused(Result.TYPE_UNMATCHED)
    low, high = (_moment(shelf.clock, bound) for bound in (start, end))
    wanted = [_named(shelf.columns, item) for item in selected.value] or None
    rows = shelf.rows()
    if shelf.faults.range_ignored == "all":
        return shelf.show(rows, wanted)
    return shelf.show(_within(rows, low, high, shelf), wanted)


def _within(rows: list[Row], low: int | None, high: int | None, shelf: Shelf) -> list[Row]:
    if not shelf.log.sorted:
        return [row for row in rows if (low is None or row[0] >= low) and (high is None or row[0] <= high)]
    first = 0 if low is None else bisect_left(rows, low, key=_TIME)
    beyond = len(rows) if high is None else bisect_right(rows, high, key=_TIME)
    if shelf.faults.range_ignored == "ends":
        first, beyond = max(first - 1, 0), beyond + 1
    return rows[first:beyond]


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


def _by_entry(shelf: Shelf, parameters: Datum) -> Datum:
    """Entries and columns count from 1 in the order of the buffer; 0 as upper bound is the last one."""
    parts = _parts(parameters, 4)
    long, short = Tag.DOUBLE_LONG_UNSIGNED, Tag.LONG_UNSIGNED
    if [part.tag for part in parts] != [long, long, short, short]:
        raise Refused(Result.TYPE_UNMATCHED)
    first, last, left, right = (part.value for part in parts)
    if first < 1 or left < 1 or (last and last < first) or (right and right < left):
        raise Refused(Result.OTHER_REASON)
    rows = shelf.rows()
    if shelf.manner.newest_first:
        rows = rows[::-1][first - 1 : last or None][::-1]
    else:
        rows = list(islice(rows, first - 1, last or None))
    columns = shelf.columns
    return shelf.show(rows, range(left - 1, min(right or len(columns), len(columns))))


def snapshot_column(class_id: int, name: bytes, attribute: int) -> Column:
    """A column whose row holds a datum already."""
    return Column(class_id, name, attribute, encode)
