"""The gap ledger on disk: what each profile of each meter should have, has, and will never have.

The arithmetic is `dcu.gaps`; here are the rows it works on. Instants on the grid are kept as spans, so that a whole
profile is one row that grows; instants off the grid (the clock was set, the period was another) one by one, so that
they too are let in exactly once. The grid's phase is not stated by any meter: it is learned from the first rows.
What is absent is kept to the second (`absences`), so that it says the same under any capture period.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from dcu import gaps
from dcu.causes import BOOT_S, Happening, explained, gone
from dcu.gaps import DAY_S, Absence, EarlierGrid, Span
from dcu.obis import LogicalName
from dcu.ports import ProfileState
from dcu.reading import Layout, ProfileReading, Row
from dcu.store.absences import OTHER, Absences, on_grid
from dcu.store.columns import decode_columns, encode_columns
from dcu.store.database import Database
from dcu.store.earlier import EarlierGrids, beyond
from dcu.store.instants import Instants, each_of
from dcu.store.marks import UNKNOWN, Let, Marks, digest, event_digest

_NEVER = 1 << 62
_GONE = Absence.OVERWRITTEN.value
_CAUSES = frozenset({Absence.METER_OFF.value, Absence.CLOCK_SET.value})


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
        self._absences = Absences(database)
        self._instants = Instants(database)
        self._earlier = EarlierGrids(database, self._instants, self._absences)

    def profile(self, serial: str, profile: LogicalName) -> ProfileState | None:
        """See `ports.Transaction.profile`."""
        line = self._line(serial, profile)
        if line is None or line.since_s is None:
            return None
        since = line.since_s
        if line.phase_s is not None:
            since += (line.phase_s - since) % line.period_s
        layout = None if line.columns is None else decode_columns(line.columns)
        held = self._instants.held(line.number)
        if not line.period_s:
            newest_s = None if held else self._marks.newest(line.number)
            return self._state(line, since, held if newest_s is None else ((newest_s, newest_s),), layout)
        if line.phase_s is None:  # what is held of this grid, if it is the grid
            within = self._instants.strays(line.number, since, _NEVER)
            held = gaps.spans((at for at in within if gaps.on_grid(at, since, line.period_s)), line.period_s)
        absent = on_grid(self._absences.of(line.number), held, since, line.period_s)
        grid = (line.number, held, line.period_s)
        earlier = self._earlier.in_turn(*grid, since)
        unsettled = tuple(each for one in earlier for each in self._earlier.unsettled(*grid, one))
        state = self._state(line, since, held, layout)
        is_shown = line.phase_s is not None or not earlier
        return replace(state, absent=absent, is_shown=is_shown, earlier=earlier, unsettled=unsettled)

    @staticmethod
    def _state(line: _Line, since: int, held: tuple[Span, ...], layout: Layout | None) -> ProfileState:
        extent = (line.entries, bool(line.newest_first), bool(line.stale))
        return ProfileState(line.period_s, since, held, (), layout, *extent)

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
        until_s: int | None = None,
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
            self._leave_grid(line, until_s)
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
        times = [row.captured_at.epoch_s for row in reading.rows]
        if line.period_s and line.phase_s is None:
            if self._instants.strays_of(line.number, times).issuperset(
                times
            ):  # of an earlier grid, and none of them new
                return self._marks.admit_intervals(
                    line.number, reading, frozenset(), newest_first=bool(line.newest_first)
                )
            line = self._learn_grid(line, reading.rows)
        held, phase = self._instants.held(line.number), line.phase_s or 0
        strays = self._instants.strays_of(
            line.number, [at for at in times if not gaps.on_grid(at, phase, line.period_s)]
        )
        let_in = gaps.admit(held, times, line.period_s, phase=phase, strays=strays)
        self._instants.keep(line.number, held, let_in.held)
        self._instants.keep_strays(line.number, let_in.strays)
        new = frozenset(let_in.new)
        number = line.number
        self._absences.take(number, let_in, phase, line.period_s, alone=lambda: not self._earlier.of(number))
        self._earlier.settle(line.number, line.period_s)
        return self._marks.admit_intervals(line.number, reading, new, newest_first=bool(line.newest_first))

    def admit_events(self, reading: ProfileReading) -> Let:
        """See `ports.Transaction.admit_events`."""
        return self._marks.admit_events(self._known(reading.serial, reading.profile).number, reading)

    def admit_bills(self, reading: ProfileReading, *, newest: bool) -> Let:
        """See `ports.Transaction.admit_bills`."""
        number = self._known(reading.serial, reading.profile).number
        return self._marks.admit_bills(number, reading, newest=newest)

    def admit_snapshot(self, reading: ProfileReading) -> Let:
        """See `ports.Transaction.admit_snapshot`. The last one's time is all that is held."""
        line = self._known(reading.serial, reading.profile)
        held = self._instants.held(line.number)
        rows = tuple(row for row in reading.rows if (row.captured_at.epoch_s,) * 2 not in held)
        if rows:
            self._instants.keep(line.number, held, ((rows[-1].captured_at.epoch_s,) * 2,))
        return rows, ()

    def holds(self, reading: ProfileReading, *, bills: bool) -> tuple[bool, ...]:
        """See `ports.Transaction.holds`."""
        line = self._known(reading.serial, reading.profile)
        return self._marks.held(line.number, reading, digest if bills else event_digest(reading.layout))

    def note_absent(
        self, serial: str, profile: LogicalName, first_s: int, last_s: int, reason: str, *, fill: bool = False
    ) -> tuple[Span, ...]:
        """See `ports.Transaction.note_absent`."""
        line = self._known(serial, profile)
        if line.since_s is None or not line.period_s or first_s > last_s:
            return ()
        fresh = self._free(line, self._instants.held(line.number), (first_s, last_s))
        marked = self._marks.times(line.number, fresh)
        if marked:  # asked again after the clock was set back: the rows of the first passage are stored
            self._hold(line, marked)
            fresh = gaps.without(fresh, gaps.spans(marked, 1), 1)
        if fill or line.phase_s is None:  # no row has shown this grid, and what is known may be of another
            for span in fresh:
                self._absences.fill(line.number, span, reason)
        else:
            self._absences.put(line.number, fresh, reason)
        self._earlier.settle(line.number, line.period_s)
        return fresh

    def give_up(self, serial: str, profile: LogicalName, until_s: int, reason: str) -> None:
        """What is missing up to `until_s` never comes; what was to be asked again is held as before."""
        line, state = self._known(serial, profile), self.profile(serial, profile)
        if state is not None:
            missing = gaps.margins(gaps.missing(state, until_s), state.period_s)
            for first, last in (*missing, *((each.first_s, each.last_s) for each in state.unsettled)):
                self.note_absent(serial, profile, first, min(last, until_s), reason, fill=True)
        everything = (-_NEVER, _NEVER)
        held = self._instants.within(line.number, self._instants.held(line.number), line.period_s, everything)
        self._hold(line, sorted(set(self._marks.times(line.number, [everything])).difference(held)))

    def _hold(self, line: _Line, times: Sequence[int]) -> None:
        """Rows of those times are held, on the grid or off it."""
        phase, held = line.phase_s, self._instants.held(line.number)
        gridded = [at for at in times if phase is not None and gaps.on_grid(at, phase, line.period_s)]
        more = gaps.spans(gridded, line.period_s)
        self._instants.keep(line.number, held, gaps.merge([*held, *more], line.period_s))
        self._instants.keep_strays(line.number, sorted(set(times).difference(gridded)))

    def forget_absent(self, serial: str, profile: LogicalName, after_s: int) -> None:
        """See `ports.Transaction.forget_absent`."""
        self._absences.forget(self._known(serial, profile).number, after_s)

    def _free(self, line: _Line, held: Sequence[Span], span: Span) -> tuple[Span, ...]:
        """Seconds of a span at which no row is held."""
        return gaps.without([span], gaps.spans(self._instants.within(line.number, held, line.period_s, span), 1), 1)

    # ---- clocks and causes

    def later(self, serial: str, profile: LogicalName, after_s: int) -> tuple[int, ...]:
        """Times later than `after_s` at which rows are held, on the grid and off it."""
        line = self._known(serial, profile)
        held = [(max(first, after_s + 1), last) for first, last in self._instants.held(line.number) if last > after_s]
        phase = line.phase_s or 0
        snapped = [span for each in held if (span := gaps.snap(each, phase, line.period_s)) is not None]
        return (*each_of(snapped, line.period_s), *self._instants.strays(line.number, after_s + 1, _NEVER))

    def reopen(self, serial: str, profile: LogicalName, after_s: int, values: dict[int, list[bytes]]) -> None:
        """What is held later than `after_s` is missing again, and remembered by the digests of its `values`."""
        line = self._known(serial, profile)
        times = self.later(serial, profile, after_s)
        known = self._marks.of(line.number, times)
        self._marks.add(line.number, {at: values.get(at) or [UNKNOWN] for at in times if at not in known})
        held = self._instants.held(line.number)
        cut = [(first, min(last, after_s)) for first, last in held if first <= after_s]
        snapped = [span for each in cut if (span := gaps.snap(each, line.phase_s or 0, line.period_s)) is not None]
        self._instants.keep(line.number, held, gaps.merge(snapped, line.period_s))
        if line.phase_s is None and line.since_s is not None:  # the grid is not known, and these may be on it
            since, period = line.since_s, line.period_s
            self._instants.drop_strays(line.number, [at for at in times if gaps.on_grid(at, since, period)])

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
        about = [
            happening,
            *(each for each in happenings if each.first_s <= happening.last_s and each.last_s >= happening.first_s),
        ]
        first_s, last_s = min(each.first_s for each in about), max(each.last_s for each in about)
        for name in self.profiles(serial):
            line = self._known(serial, name)
            margin = line.period_s + BOOT_S
            self._weigh(line, first_s - margin, last_s + margin, happenings)

    def weigh(self, serial: str, profile: LogicalName, span: Span, happenings: Sequence[Happening]) -> None:
        """Absences of that time get their reasons together with those beside them: a hole may be found in parts."""
        self._weigh(self._known(serial, profile), *span, happenings)

    def _weigh(self, line: _Line, first_s: int, last_s: int, happenings: Sequence[Happening]) -> None:
        near = self._absences.near(line.number, first_s, last_s)
        found = {why: [(first, last) for first, last, reason in near if reason == why] for _, _, why in near}
        holes = [span for why in _CAUSES for span in found.pop(why, [])]
        lost, never = found.pop(_GONE, []), gaps.merge(found.pop(OTHER, []), 1)
        if not (holes or lost or never):
            return
        rest = [(*span, why) for why, spans in found.items() for span in spans]
        phase = (line.since_s or 0) if line.phase_s is None else line.phase_s
        jumped = [(first, last) for first, last, reason in near if reason == Absence.CLOCK_SET.value]
        fresh = explained([*holes, *never], happenings, phase, line.period_s, never, jumped)
        held = self._instants.held(line.number)
        weighed = [
            (*part, reason)
            for first, last, reason in (*fresh, *gone(lost, happenings))
            for part in ([(first, last)] if reason == OTHER else self._free(line, held, (first, last)))
        ]
        self._absences.replace(line.number, near, [*rest, *weighed])

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
        times = {row.captured_at.epoch_s for row in rows} | self._earlier.since(line.number)
        phase = gaps.phase_of(times, line.period_s, midnight)
        known = replace(line, phase_s=phase)
        if len(times) == 1 and self._earlier.of(line.number) and not gaps.on_grid(max(times), phase, line.period_s):
            return known  # one row off the clock's face proves nothing yet
        self._database.write("UPDATE profile SET phase_s = ? WHERE id = ?", (phase, line.number))
        strays = self._instants.strays(line.number, -_NEVER, _NEVER)
        gridded = [at for at in strays if gaps.on_grid(at, phase, line.period_s)]
        self._instants.drop_strays(line.number, gridded)
        held = gaps.spans(gridded, line.period_s)
        self._instants.keep(known.number, (), held)
        return known

    def _leave_grid(self, line: _Line, until_s: int | None) -> None:
        """The period is another from now on: spans become single instants, and between them nothing is missing."""
        held = self._instants.held(line.number)
        if line.period_s and line.since_s is not None:
            self._keep_earlier(line, held, until_s)
        for first, last in held:
            self._instants.keep_strays(line.number, range(first, last + 1, line.period_s))
            self._absences.fill(line.number, (first, last), OTHER)
        self._instants.keep(line.number, held, ())

    def _keep_earlier(self, line: _Line, held: Sequence[Span], until_s: int | None) -> None:
        """What is missing of the grid that is left stays to be settled."""
        since = line.since_s or 0
        phase = since if line.phase_s is None else line.phase_s
        since += (phase - since) % line.period_s
        newest = max((last for _, last in held), default=since)
        until = max(until_s or newest, newest, self._marks.newest(line.number) or newest)  # it may have been set back
        absent = on_grid(self._absences.of(line.number), held, phase, line.period_s)
        known = ProfileState(line.period_s, since, tuple(held), absent, None)
        missing = gaps.missing(known, until)
        first = missing[0][0] if missing else beyond(until, phase, line.period_s)
        self._earlier.add(line.number, EarlierGrid(line.period_s, first, until))

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
