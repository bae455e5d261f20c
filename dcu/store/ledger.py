"""The gap ledger on disk: what each profile of each meter should have, has, and will never have.

The arithmetic is `dcu.gaps`; here are the rows it works on. Instants on the grid are kept as spans, so that a whole
profile is one row that grows; instants off the grid (the clock was set, the period was another) one by one, so that
they too are let in exactly once. The grid's phase is not stated by any meter: it is learned from the first rows.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from dcu import gaps
from dcu.causes import Happening, explained, gone
from dcu.gaps import DAY_S, Absence, Absent, Span
from dcu.obis import LogicalName
from dcu.ports import ProfileState
from dcu.reading import Layout, ProfileReading, Row
from dcu.store.columns import decode_columns, encode_columns
from dcu.store.database import Database
from dcu.store.marks import UNKNOWN, Let, Marks

_CAUSES = frozenset({Absence.METER_OFF.value, Absence.CLOCK_SET.value})
_OTHER = Absence.OTHER_PERIOD.value


@dataclass(frozen=True, slots=True)
class _Line:
    """A profile's row in the ledger; `phase_s` is None until rows have shown it, `since_s` until it is described."""

    number: int
    period_s: int
    since_s: int | None
    phase_s: int | None
    columns: bytes | None
    entries: int = 0
    newest_first: int = 0
    stale: int = 0


class Ledger:
    """Spans held and absent, by meter and profile."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._marks = Marks(database)

    def profile(self, serial: str, profile: LogicalName) -> ProfileState | None:
        """See `ports.Transaction.profile`."""
        line = self._line(serial, profile)
        if line is None or line.since_s is None:
            return None
        since, absent = line.since_s, self._absent(line)
        if line.phase_s is not None:
            since += (line.phase_s - since) % line.period_s
        layout = None if line.columns is None else decode_columns(line.columns)
        held = self._held(line)
        if not held and not line.period_s and (newest_s := self._marks.newest(line.number)) is not None:
            held = ((newest_s, newest_s),)
        extent = (line.entries, bool(line.newest_first), bool(line.stale))
        return ProfileState(line.period_s, since, held, absent, layout, *extent)

    def describe(
        self,
        serial: str,
        profile: LogicalName,
        layout: Layout,
        period_s: int,
        since_s: int,
        *,
        entries: int = 0,
        newest_first: bool = False,
    ) -> None:
        """See `ports.Transaction.describe`. With another period, what is held stays held, off the new grid."""
        line, columns = self._known(serial, profile), encode_columns(layout)
        since = since_s if line.since_s is None else line.since_s
        self._database.write(
            "UPDATE profile SET entries = ?, newest_first = ?, stale = 0 WHERE id = ?",
            (entries, int(newest_first), line.number),
        )
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

    def admit(self, reading: ProfileReading) -> Let:
        """Mark the rows that are not held yet as held; those rows, in the order in which they came."""
        if not reading.rows:
            return (), ()
        line = self._known(reading.serial, reading.profile)
        if line.period_s and line.phase_s is None:
            line = self._learn_grid(line, reading.rows)
        times = [row.captured_at.epoch_s for row in reading.rows]
        held, phase = self._held(line), line.phase_s or 0
        strays = self._strays(line, [at for at in times if not gaps.on_grid(at, phase, line.period_s)])
        let_in = gaps.admit(held, times, line.period_s, phase=phase, strays=strays)
        self._keep_held(line, held, let_in.held)
        self._keep_strays(line, let_in.strays)
        new = frozenset(let_in.new)
        if line.phase_s is not None:  # what was held before is absent nowhere
            absent, slots = self._absent(line), (gaps.slot(at, phase, line.period_s) for at in new)
            came = gaps.spans((at for at in slots if at is not None), line.period_s)
            self._keep_absent(line, absent, gaps.outside(absent, came, line.period_s))
        return self._marks.admit_intervals(line.number, reading, new, newest_first=bool(line.newest_first))

    def admit_events(self, reading: ProfileReading) -> Let:
        """See `ports.Transaction.admit_events`."""
        return self._marks.admit_events(self._known(reading.serial, reading.profile).number, reading)

    def admit_bills(self, reading: ProfileReading) -> Let:
        """See `ports.Transaction.admit_bills`."""
        return self._marks.admit_bills(self._known(reading.serial, reading.profile).number, reading)

    def admit_snapshot(self, reading: ProfileReading) -> Let:
        """See `ports.Transaction.admit_snapshot`. The last one's time is all that is held."""
        line = self._known(reading.serial, reading.profile)
        held = self._held(line)
        rows = tuple(row for row in reading.rows if (row.captured_at.epoch_s,) * 2 not in held)
        if rows:
            self._keep_held(line, held, ((rows[-1].captured_at.epoch_s,) * 2,))
        return rows, ()

    def holds(self, reading: ProfileReading, *, bills: bool) -> tuple[bool, ...]:
        """See `ports.Transaction.holds`."""
        line = self._known(reading.serial, reading.profile)
        return self._marks.held(line.number, reading, by_time=bills)

    def note_absent(self, serial: str, profile: LogicalName, first_s: int, last_s: int, reason: str) -> None:
        """See `ports.Transaction.note_absent`. A newer reason replaces an older one."""
        line = self._known(serial, profile)
        if line.since_s is None or not line.period_s:
            return
        phase = line.since_s if line.phase_s is None else line.phase_s
        whole = gaps.snap((first_s, last_s), phase, line.period_s)
        if whole is None:
            return
        held, before = self._held(line), self._absent(line)
        if line.phase_s is None:  # no row has shown this grid, and what is there may be of another
            self._add_absent(line, before, whole, reason)
            return
        fresh = gaps.without([whole], held, line.period_s)
        marked = gaps.spans(self._marks.of(line.number, _instants(fresh, line.period_s)), line.period_s)
        if marked:  # asked again after the clock was set back: the rows of the first passage are stored
            self._keep_held(line, held, gaps.merge([*held, *marked], line.period_s))
            fresh = gaps.without(fresh, marked, line.period_s)
        after = [*gaps.outside(before, fresh, line.period_s), *((first, last, reason) for first, last in fresh)]
        self._keep_absent(line, before, gaps.joined(after, line.period_s))

    def _add_absent(self, line: _Line, before: Sequence[Absent], whole: Span, reason: str) -> None:
        """Those instants of `whole` of which nothing is known yet, on whatever grid."""
        instants = _instants([whole], line.period_s)
        strays = self._strays(line, instants)
        free = [at for at in instants if at not in strays and not any(a <= at <= b for a, b, _ in before)]
        fresh = [(*span, reason) for span in gaps.spans(free, line.period_s)]
        self._keep_absent(line, before, [*before, *fresh])

    def forget_absent(self, serial: str, profile: LogicalName, after_s: int) -> None:
        """See `ports.Transaction.forget_absent`."""
        line = self._known(serial, profile)
        before = self._absent(line)
        if not line.period_s or not before:
            return
        phase, period = before[0][0], 1 if line.phase_s is None else line.period_s  # they stand on the grid, once known
        cut = [(gaps.snap((first, min(last, after_s)), phase, period), reason) for first, last, reason in before]
        self._keep_absent(line, before, tuple((*span, reason) for span, reason in cut if span is not None))

    # ---- clocks and causes

    def later(self, serial: str, profile: LogicalName, after_s: int) -> tuple[int, ...]:
        """Times later than `after_s` at which rows are held, on the grid and off it."""
        line = self._known(serial, profile)
        held = [(max(first, after_s + 1), last) for first, last in self._held(line) if last > after_s]
        phase = line.phase_s or 0
        snapped = [span for each in held if (span := gaps.snap(each, phase, line.period_s)) is not None]
        found = self._database.rows("SELECT at_s FROM stray WHERE profile = ? AND at_s > ?", (line.number, after_s))
        return (*_instants(snapped, line.period_s), *(at for (at,) in found))

    def reopen(self, serial: str, profile: LogicalName, after_s: int, values: dict[int, list[bytes]]) -> None:
        """What is held later than `after_s` is missing again, and remembered by the digests of its `values`."""
        line = self._known(serial, profile)
        times = self.later(serial, profile, after_s)
        known = self._marks.of(line.number, times)
        self._marks.add(line.number, {at: values.get(at) or [UNKNOWN] for at in times if at not in known})
        held = self._held(line)
        cut = [(first, min(last, after_s)) for first, last in held if first <= after_s]
        snapped = [span for each in cut if (span := gaps.snap(each, line.phase_s or 0, line.period_s)) is not None]
        self._keep_held(line, held, gaps.merge(snapped, line.period_s))

    def note_stale(self, serial: str) -> None:
        """See `ports.Transaction.note_stale`."""
        self._database.write("UPDATE profile SET stale = 1 WHERE meter = ?", (serial,))

    def forget_presents(self, serial: str) -> None:
        """No row of a profile without a period is held any more: a nameplate is read again."""
        self._database.write(
            "DELETE FROM held WHERE profile IN (SELECT id FROM profile WHERE meter = ? AND period_s = 0)", (serial,)
        )

    def profiles(self, serial: str) -> list[LogicalName]:
        """Those of a meter that have a period."""
        found = self._database.rows("SELECT ln FROM profile WHERE meter = ? AND period_s > 0", (serial,))
        return [LogicalName(ln) for (ln,) in found]

    def explain(self, serial: str, happening: Happening, happenings: Sequence[Happening]) -> None:
        """Absences that lie where `happening` does get their reasons anew, by all that is known to have happened."""
        for name in self.profiles(serial):
            line = self._known(serial, name)
            before, period = self._absent(line), line.period_s
            near = [
                each
                for each in before
                if each[0] <= happening.last_s + period and each[1] >= happening.first_s - period
            ]
            holes = [(first, last) for first, last, reason in near if reason in _CAUSES]
            never = [(first, last) for first, last, reason in near if reason == _OTHER and line.phase_s is not None]
            lost = [(first, last) for first, last, reason in near if reason == Absence.OVERWRITTEN.value]
            if holes or lost or never:
                rest = [each for each in before if each[:2] not in [*holes, *lost, *never]]
                phase = near[0][0]
                fresh = explained([*holes, *never], happenings, phase, period, never)
                fresh += gone(lost, happenings, phase, period)
                self._keep_absent(line, before, gaps.joined([*rest, *fresh], period))

    def forget_reason(self, serial: str, reason: str) -> None:
        """Nothing of a meter is absent for that reason any more."""
        self._database.write(
            "DELETE FROM absent WHERE reason = ? AND profile IN (SELECT id FROM profile WHERE meter = ?)",
            (reason, serial),
        )

    # ---- the grid

    def _learn_grid(self, line: _Line, rows: Sequence[Row]) -> _Line:
        """The first rows at this period show its phase; what was held off the grid and stands on it joins the spans."""
        face = rows[0].captured_at.at
        midnight = int(face.replace(hour=0, minute=0, second=0, microsecond=0).timestamp()) % DAY_S
        phase = gaps.phase_of([row.captured_at.epoch_s for row in rows], line.period_s, midnight)
        known = replace(line, phase_s=phase)
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
        off = [(each, span) for each, (span, _) in zip(before, snapped, strict=True) if each[2] != _OTHER]
        ends = [(*end, each[2]) for each, span in off for end in gaps.around(each[:2], span)]  # were intervals once
        self._keep_absent(known, before, [*gaps.joined(gaps.outside(after, held, line.period_s), line.period_s), *ends])
        return known

    def _leave_grid(self, line: _Line) -> None:
        """The period is another from now on: spans become single instants, and between them nothing is missing."""
        held = self._held(line)
        for first, last in held:
            self._keep_strays(line, range(first, last + 1, line.period_s))
        between = [(first, last, _OTHER) for first, last in held if first < last]
        absent = self._absent(line)
        self._keep_absent(line, absent, (*absent, *between))
        self._keep_held(line, held, ())

    # ---- rows

    def _line(self, serial: str, profile: LogicalName) -> _Line | None:
        found = self._database.first(
            "SELECT id, period_s, since_s, phase_s, columns, entries, newest_first, stale "
            "FROM profile WHERE meter = ? AND ln = ?",
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
        """Those on the grid; what begins beside it tells of intervals of an earlier one."""
        query = "SELECT first_s, last_s, reason FROM absent WHERE profile = ? ORDER BY first_s"
        found, phase = self._database.rows(query, (line.number,)), line.phase_s
        return tuple(each for each in found if phase is None or gaps.on_grid(each[0], phase, line.period_s))

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


def _instants(parts: Iterable[Span], period: int) -> tuple[int, ...]:
    return tuple(at for first, last in parts for at in gaps.expected(first, last, period))
