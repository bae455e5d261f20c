"""Why intervals that a meter did not capture are absent: what was seen of its power and its clock, weighed. Pure.

A ring with rows on both sides of a hole proves that the meter captured nothing there, and not why. Two kinds of
evidence say more: the meter's own logs (power failure and return, clock set), to the second; and two looks at its clock
that do not fit together, which show by how much it was set, somewhere between the two. Times are the meter's clock's.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from dcu.gaps import Absence, Absent, Span, common, joined, merge, snap, without

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
    holes: Iterable[Span],
    happenings: Sequence[Happening],
    phase: int,
    period: int,
    never: Sequence[Span] = (),
    skipped_before: Sequence[Span] = (),
) -> tuple[Absent, ...]:
    """Each hole, or its parts, with its reason, to the second.

    Where the power log says off, it was off; what a clock surely jumped over, it never showed. A clock that was set
    forward by s at a moment that is not known skips one run of instants shorter than s: of the holes that lie where it
    may have happened, the longest that fits. Of the rest, `never` was of another period, and all else `meter off`: a
    meter with power and a steady clock captures.

    Args:
        holes: spans of seconds in which the meter captured no row.
        happenings: all that are known of that time.
        phase: of the grid on which runs are counted.
        period: of that grid.
        never: parts of the holes in which an earlier capture period had no interval, which lasted nobody knows how
            long; ascending and disjoint.
        skipped_before: parts that were taken for jumps of the clock before: they stay so unless a jump is known that
            can have left them, and left another hole; ascending and disjoint.
    """
    parts = merge(holes, 1)
    dark, jumped = _dark(happenings), merge(_jumped(happenings), 1)
    named = [(*span, Absence.METER_OFF.value) for span in common(parts, dark)]
    left = without(parts, dark, 1)
    skipped = list(common(left, jumped))
    pieces = list(without(left, jumped, 1))
    for jump in _unsure(happenings):
        runs = {run: piece for piece in pieces if (run := snap(piece, phase, period)) and without([piece], never, 1)}
        run = _skipped(list(runs), jump, period)
        if run is not None:
            pieces.remove(runs[run])
            skipped.append(runs[run])
    named += [(*span, Absence.CLOCK_SET.value) for span in skipped]
    named += [(*span, Absence.OTHER_PERIOD.value) for span in common(pieces, never)]
    rest = without(pieces, never, 1)
    ranges = merge(((each.first_s, each.last_s) for each in happenings if each.skipped_s > 0), 1)
    still = common(rest, [span for span in skipped_before if not common([span], ranges)])
    named += [(*span, Absence.CLOCK_SET.value) for span in still]
    named += [(*span, Absence.METER_OFF.value) for span in without(rest, still, 1)]
    return joined(named, 1)


def gone(lost: Iterable[Span], happenings: Sequence[Happening]) -> tuple[Absent, ...]:
    """Spans of seconds below the oldest row that a meter has, or their parts, with their reasons.

    Overwritten, but where the power log says that the meter was off, and where its clock surely jumped: there was
    nothing to overwrite.
    """
    left = merge(lost, 1)
    named: list[Absent] = []
    for reason, nothing in ((Absence.METER_OFF, _dark(happenings)), (Absence.CLOCK_SET, merge(_jumped(happenings), 1))):
        named += [(*span, reason.value) for span in common(left, nothing)]
        left = without(left, nothing, 1)
    return joined([*named, *((*span, Absence.OVERWRITTEN.value) for span in left)], 1)


def _dark(happenings: Iterable[Happening]) -> tuple[Span, ...]:
    """When the meter had no power, or was not up again yet."""
    off = ((each.first_s, each.last_s + BOOT_S) for each in happenings if each.kind is Absence.METER_OFF)
    return merge(off, 1)


def _jumped(happenings: Iterable[Happening]) -> list[Span]:
    """What a clock that was set forward cannot have shown, whenever between two looks that was.

    Where the meter's log has it too, its moment is known.
    """
    jumps = [each for each in happenings if each.kind is Absence.CLOCK_SET]
    spans = (_never_shown(jump, jumps) for jump in jumps if jump.skipped_s > 0)
    return [span for span in spans if span is not None]


def _never_shown(jump: Happening, jumps: Sequence[Happening]) -> Span | None:
    """The part of a jump that is sure."""
    shown = _logged(jump, jumps) or [jump.first_s + jump.skipped_s, jump.last_s]
    first, last = max(shown) - jump.skipped_s + 1, min(shown)
    return (first, last) if first <= last else None


def _logged(jump: Happening, jumps: Iterable[Happening]) -> list[int]:
    """Moments of the meter's log at which it may have been."""
    moments = [each.first_s for each in jumps if each.first_s == each.last_s]
    return [at for at in moments if jump.first_s < at <= jump.last_s]


def _unsure(happenings: Sequence[Happening]) -> list[Happening]:
    """Settings of the clock of which it is not known what they jumped over; a moment of the log that tells is none."""
    jumps = [each for each in happenings if each.kind is Absence.CLOCK_SET]
    sure = [jump for jump in jumps if jump.skipped_s > 0 and len(_logged(jump, jumps)) == 1]
    told = {at for jump in sure for at in _logged(jump, jumps)}
    return [jump for jump in jumps if jump not in sure and not (jump.first_s == jump.last_s and jump.first_s in told)]


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
