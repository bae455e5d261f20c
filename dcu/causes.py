"""Why intervals that a meter did not capture are absent: what was seen of its power and its clock, weighed. Pure.

A ring with rows on both sides of a hole proves that the meter captured nothing there, and not why. Two kinds of
evidence say more: the meter's own logs (power failure and return, clock set), to the second; and two looks at its clock
that do not fit together, which show by how much it was set, somewhere between the two. Times are the meter's clock's.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from dcu.gaps import Absence, Absent, Span, merge, snap, without

BOOT_S: Final = 60
"""A meter whose power has returned needs a moment before it captures."""


@dataclass(frozen=True, slots=True)
class Happening:
    """Something that kept a meter from capturing, or may have.

    Attributes:
        kind: METER_OFF or CLOCK_SET.
        first_s, last_s: between what faces of the meter's clock; both may be the same second.
        skipped_s: of a clock that was set forward, by how much; 0 where that is not known.
    """

    kind: Absence
    first_s: int
    last_s: int
    skipped_s: int = 0


def explained(
    holes: Iterable[Span], happenings: Sequence[Happening], phase: int, period: int, never: Sequence[Span] = ()
) -> tuple[Absent, ...]:
    """Each hole, or its parts, with its reason.

    Where the power log says off, it was off. A clock set forward by s skips one run of instants shorter than s: of the
    holes that lie where it may have happened, the longest that fits. Of the rest, `never` was of another period, and
    all else `meter off`: a meter with power and a steady clock captures.

    Args:
        holes: spans on the grid that the meter did not capture.
        happenings: all that are known of that time.
        phase: of the grid.
        period: of the grid.
        never: instants of the holes that an earlier capture period did not have, which lasted nobody knows how long.
    """
    parts = merge(holes, period)
    spans = (
        snap((each.first_s, each.last_s + BOOT_S), phase, period)
        for each in happenings
        if each.kind is Absence.METER_OFF
    )
    off = merge((span for span in spans if span is not None), period)
    left = list(without(parts, off, period))
    skipped: list[Span] = []
    for jump in happenings:
        runs = [run for run in left if without([run], never, period)]
        if jump.kind is Absence.CLOCK_SET and (run := _skipped(runs, jump, period)) is not None:
            left.remove(run)
            skipped.append(run)
    others = without(left, without(left, never, period), period)
    dark = without(parts, merge([*skipped, *others], period), period)
    named = [(*span, Absence.METER_OFF.value) for span in dark]
    named += [(*span, Absence.CLOCK_SET.value) for span in skipped]
    return tuple(sorted([*named, *((*span, Absence.OTHER_PERIOD.value) for span in others)]))


def gone(lost: Iterable[Span], happenings: Sequence[Happening], phase: int, period: int) -> tuple[Absent, ...]:
    """Spans below the oldest row that a meter has, or their parts, with their reasons.

    Overwritten, but where the power log says that the meter was off, and where its clock surely jumped: there was
    nothing to overwrite.
    """
    left = merge(lost, period)
    off = [(each.first_s, each.last_s) for each in happenings if each.kind is Absence.METER_OFF]
    named: list[Absent] = []
    for reason, never in ((Absence.METER_OFF, off), (Absence.CLOCK_SET, _jumped(happenings))):
        spans = (snap(span, phase, period) for span in never)
        rest = without(left, merge((span for span in spans if span is not None), period), period)
        named += [(*span, reason.value) for span in without(left, rest, period)]
        left = rest
    return tuple(sorted([*named, *((*span, Absence.OVERWRITTEN.value) for span in left)]))


def _jumped(happenings: Iterable[Happening]) -> list[Span]:
    """What a clock that was set forward cannot have shown, whenever between two looks that was.

    Where the meter's log has it too, its moment is known.
    """
    jumps = [each for each in happenings if each.kind is Absence.CLOCK_SET]
    moments = [each.first_s for each in jumps if each.first_s == each.last_s]
    found = []
    for jump in jumps:
        if jump.skipped_s > 0:
            shown = [at for at in moments if jump.first_s < at <= jump.last_s]
            shown = shown or [jump.first_s + jump.skipped_s, jump.last_s]
            found.append((max(shown) - jump.skipped_s + 1, min(shown)))
    return found


def _skipped(holes: Sequence[Span], jump: Happening, period: int) -> Span | None:
    """The hole that this jump of the clock left."""
    if jump.skipped_s <= 0:
        near = [(a, b) for a, b in holes if a - period <= jump.first_s and jump.last_s <= b + period]
        return min(near, key=lambda hole: hole[1] - hole[0], default=None)
    fits = [(a, b) for a, b in holes if a > jump.first_s and b <= jump.last_s and b - a < jump.skipped_s]
    return max(fits, key=lambda hole: hole[1] - hole[0], default=None)


def while_refused(absent: Iterable[Absent], refused: Iterable[Span], phase: int, period: int) -> tuple[Absent, ...]:
    """Absent spans; what was overwritten and is of a time when the meter refused its profile says so.

    Args:
        absent: with their reasons.
        refused: from what face of the meter's clock to what face it surely did; ascending and disjoint.
        phase: of the grid.
        period: of the grid.
    """
    spans = [span for each in refused if (span := snap(each, phase, period)) is not None]
    named: list[Absent] = []
    for first, last, reason in absent:
        left = without([(first, last)], spans if reason == Absence.OVERWRITTEN.value else (), period)
        named += [(*span, reason) for span in left]
        named += [(*span, Absence.REFUSED.value) for span in without([(first, last)], left, period)]
    return tuple(sorted(named))
