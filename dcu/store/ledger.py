"""The gap ledger on disk: what each profile of each meter should have, has, and will never have.

The arithmetic is `dcu.gaps`; here are the rows it works on. Instants on the grid are kept as spans, so that a whole
profile is one row that grows; instants off the grid (the clock was set, the period was another) one by one, so that
they too are let in exactly once. The grid's phase is not stated by any meter: it is learned from the first rows.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cbor2

from dcu import gaps
from dcu.gaps import DAY_S, Absence, Absent, Span
from dcu.obis import LogicalName
from dcu.ports import ProfileState
from dcu.reading import Column, Layout, ProfileReading, Row
from dcu.store.database import Database


@dataclass(frozen=True, slots=True)
class _Line:
    """A profile's row in the ledger; `phase_s` is None until rows have shown it, `since_s` until it is described."""

    number: int
    period_s: int
    since_s: int | None
    phase_s: int | None
    columns: bytes | None


class Ledger:
    """Spans held and absent, by meter and profile."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def profile(self, serial: str, profile: LogicalName) -> ProfileState | None:
        """See `ports.Transaction.profile`."""
        line = self._line(serial, profile)
        if line is None or line.since_s is None:
            return None
        since, absent = line.since_s, self._absent(line)
        if line.phase_s is not None:
            since += (line.phase_s - since) % line.period_s
        layout = None if line.columns is None else decode_columns(line.columns)
        return ProfileState(line.period_s, since, self._held(line), absent, layout)

    def describe(self, serial: str, profile: LogicalName, layout: Layout, period_s: int, since_s: int) -> None:
        """See `ports.Transaction.describe`. With another period, what is held stays held, off the new grid."""
        line, columns = self._known(serial, profile), encode_columns(layout)
        since = since_s if line.since_s is None else line.since_s
        if (line.period_s, line.since_s, line.columns) == (period_s, since, columns):
            return
        phase = line.phase_s
        if line.period_s != period_s:
            self._leave_grid(line)
            phase = None
        self._database.write(
            "UPDATE profile SET period_s = ?, since_s = ?, phase_s = ?, columns = ? WHERE id = ?",
            (period_s, since, phase, columns, line.number),
        )

    def admit(self, reading: ProfileReading) -> tuple[Row, ...]:
        """Mark the rows that are not held yet as held; those rows, each time once, in the order in which they came."""
        if not reading.rows:
            return ()
        line = self._known(reading.serial, reading.profile)
        if line.period_s and line.phase_s is None:
            line = self._learn_grid(line, reading.rows)
        times = [row.captured_at.epoch_s for row in reading.rows]
        held, phase = self._held(line), line.phase_s or 0
        strays = self._strays(line, [at for at in times if not gaps.on_grid(at, phase, line.period_s)])
        let_in = gaps.admit(held, times, line.period_s, phase=phase, strays=strays)
        self._keep_held(line, held, let_in.held)
        self._keep_strays(line, let_in.strays)
        if line.phase_s is not None:
            absent = self._absent(line)
            self._keep_absent(line, absent, _outside(absent, let_in.held, line.period_s))
        fresh = {row.captured_at.epoch_s: row for row in reversed(reading.rows)}
        return tuple(fresh[at] for at in let_in.new)

    def note_absent(self, serial: str, profile: LogicalName, first_s: int, last_s: int, reason: str) -> None:
        """See `ports.Transaction.note_absent`. A newer reason replaces an older one."""
        line = self._known(serial, profile)
        if line.since_s is None or not line.period_s:
            return
        phase = line.since_s if line.phase_s is None else line.phase_s
        whole = gaps.snap((first_s, last_s), phase, line.period_s)
        if whole is None:
            return
        fresh = gaps.without([whole], self._held(line), line.period_s)
        before = self._absent(line)
        after = [*_outside(before, fresh, line.period_s), *((first, last, reason) for first, last in fresh)]
        self._keep_absent(line, before, _joined(after, line.period_s))

    def forget_absent(self, serial: str, profile: LogicalName, after_s: int) -> None:
        """See `ports.Transaction.forget_absent`."""
        line = self._known(serial, profile)
        before = self._absent(line)
        if not line.period_s or not before:
            return
        phase = before[0][0]  # absent instants stand on the grid
        cut = [(gaps.snap((first, min(last, after_s)), phase, line.period_s), reason) for first, last, reason in before]
        self._keep_absent(line, before, tuple((*span, reason) for span, reason in cut if span is not None))

    # ---- the grid

    def _learn_grid(self, line: _Line, rows: Sequence[Row]) -> _Line:
        """The first rows at this period show its phase; what was held off the grid and stands on it joins the spans."""
        face = rows[0].captured_at.at
        midnight = int(face.replace(hour=0, minute=0, second=0, microsecond=0).timestamp()) % DAY_S
        phase = gaps.phase_of([row.captured_at.epoch_s for row in rows], line.period_s, midnight)
        known = _Line(line.number, line.period_s, line.since_s, phase, line.columns)
        self._database.write("UPDATE profile SET phase_s = ? WHERE id = ?", (phase, line.number))
        found = self._database.rows("SELECT at_s FROM stray WHERE profile = ?", (line.number,))
        gridded = [at for (at,) in found if gaps.on_grid(at, phase, line.period_s)]
        self._database.write_all(
            "DELETE FROM stray WHERE profile = ? AND at_s = ?", ((line.number, at) for at in gridded)
        )
        held = gaps.spans(gridded, line.period_s)
        self._keep_held(known, (), held)
        before = self._absent(line)
        snapped = [(gaps.snap((first, last), phase, line.period_s), reason) for first, last, reason in before]
        after = [(*span, reason) for span, reason in snapped if span is not None]
        self._keep_absent(known, before, _joined(_outside(after, held, line.period_s), line.period_s))
        return known

    def _leave_grid(self, line: _Line) -> None:
        """The period is another from now on: spans become single instants, and between them nothing is missing."""
        held = self._held(line)
        for first, last in held:
            self._keep_strays(line, range(first, last + 1, line.period_s))
        between = [(first, last, Absence.OTHER_PERIOD.value) for first, last in held if first < last]
        absent = self._absent(line)
        self._keep_absent(line, absent, (*absent, *between))
        self._keep_held(line, held, ())

    # ---- rows

    def _line(self, serial: str, profile: LogicalName) -> _Line | None:
        found = self._database.first(
            "SELECT id, period_s, since_s, phase_s, columns FROM profile WHERE meter = ? AND ln = ?",
            (serial, profile.octets),
        )
        return None if found is None else _Line(*found)

    def _known(self, serial: str, profile: LogicalName) -> _Line:
        line = self._line(serial, profile)
        if line is not None:
            return line
        number = self._database.write(
            "INSERT INTO profile (meter, ln, period_s) VALUES (?, ?, 0)", (serial, profile.octets)
        )
        return _Line(number, 0, None, None, None)

    def _held(self, line: _Line) -> tuple[Span, ...]:
        return tuple(
            self._database.rows("SELECT first_s, last_s FROM held WHERE profile = ? ORDER BY first_s", (line.number,))
        )

    def _absent(self, line: _Line) -> tuple[Absent, ...]:
        return tuple(
            self._database.rows(
                "SELECT first_s, last_s, reason FROM absent WHERE profile = ? ORDER BY first_s", (line.number,)
            )
        )

    def _strays(self, line: _Line, times: Sequence[int]) -> frozenset[int]:
        """Of `times`, those that were let in off the grid."""
        if not times:
            return frozenset()
        found = self._database.rows(
            "SELECT at_s FROM stray WHERE profile = ? AND at_s BETWEEN ? AND ?", (line.number, min(times), max(times))
        )
        return frozenset(at for (at,) in found).intersection(times)

    def _keep_strays(self, line: _Line, times: Sequence[int]) -> None:
        self._database.write_all("INSERT INTO stray (profile, at_s) VALUES (?, ?)", ((line.number, at) for at in times))

    def _keep_held(self, line: _Line, before: Sequence[Span], after: Sequence[Span]) -> None:
        """Write only what changed: an ordinary poll moves the end of one span."""
        gone, come = set(before) - set(after), set(after) - set(before)
        starts = {first for first, _ in come}
        self._database.write_all(
            "DELETE FROM held WHERE profile = ? AND first_s = ?",
            ((line.number, first) for first, _ in gone if first not in starts),
        )
        self._database.write_all(
            "INSERT INTO held (profile, first_s, last_s) VALUES (?, ?, ?) "
            "ON CONFLICT (profile, first_s) DO UPDATE SET last_s = excluded.last_s",
            ((line.number, *span) for span in come),
        )

    def _keep_absent(self, line: _Line, before: Sequence[Absent], after: Sequence[Absent]) -> None:
        self._database.write_all(
            "DELETE FROM absent WHERE profile = ? AND first_s = ? AND last_s = ? AND reason = ?",
            ((line.number, *span) for span in set(before) - set(after)),
        )
        self._database.write_all(
            "INSERT INTO absent (profile, first_s, last_s, reason) VALUES (?, ?, ?, ?)",
            ((line.number, *span) for span in set(after) - set(before)),
        )


def encode_columns(layout: Layout) -> bytes:
    """CBOR of a layout with the class ids that the head-end's form leaves out: [[class, ln, attr, scaler, unit]..]."""
    return cbor2.dumps([[c.class_id, c.logical_name.octets, c.attribute, c.scaler, c.unit] for c in layout])


def decode_columns(columns: bytes) -> Layout:
    """The inverse of `encode_columns`."""
    rows: list[list[Any]] = cbor2.loads(columns)
    return tuple(Column(number, LogicalName(ln), attr, scaler, unit) for number, ln, attr, scaler, unit in rows)


def _outside(absent: Sequence[Absent], taken: Sequence[Span], period: int) -> tuple[Absent, ...]:
    """Absent spans without what is in `taken`."""
    return tuple(
        (first, last, reason)
        for start, end, reason in absent
        for first, last in gaps.without([(start, end)], taken, period)
    )


def _joined(absent: Sequence[Absent], period: int) -> tuple[Absent, ...]:
    """Ascending, disjoint, neighbours of one reason joined; where two overlap the earlier one keeps its instants."""
    joined: list[Absent] = []
    for first, last, reason in sorted(absent):
        start = max(first, joined[-1][1] + period) if joined else first
        if start > last:
            continue
        if joined and joined[-1][2] == reason and start == joined[-1][1] + period:
            joined[-1] = (joined[-1][0], last, reason)
        else:
            joined.append((start, last, reason))
    return tuple(joined)
