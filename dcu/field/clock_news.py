"""What a look at a meter's clock changes: it was set, it is too far off, or it stands before what is held of it."""

from dcu.causes import Happening
from dcu.event import AlarmKind
from dcu.field.book import MeterBook
from dcu.field.clock_watch import Look, set_by_s, too_far
from dcu.field.parts import Writing, trusted
from dcu.gaps import Absence
from dcu.obis import LogicalName
from dcu.ports import Clock, ProfileState, Transaction

KEPT_S = 2
"""A drift that is known this well is not written again."""

LONGEST_S = 7 * 86_400
"""Of what may have been passed twice, so much is asked again at most."""


def looked(book: MeterBook, look: Look, clock: Clock, limit_s: int, writing: Writing) -> int:
    """Take notice of a look; how many seconds the clock was set by since the last one.

    Set forward: what it jumped over is known as a happening. Set back, also while nobody looked: what it passes for the
    second time is asked again.
    """
    before, after_s = book.look, look.face_s
    moved_s = 0 if before is None else set_by_s(before, look)
    if moved_s and before is not None:
        _tell_set(book, before, look, moved_s, writing)
    if moved_s < 0 and before is not None:
        after_s = _passed_again_from(book, before, look, -moved_s)
        book.read.clear()  # its log tells the same, and no more
    book.look = look
    reopen(book, after_s, writing)
    if trusted(clock):
        _note_ahead(book, look, clock, limit_s, moved_s, writing)
    else:
        book.ahead_s = None
    return moved_s


def _tell_set(book: MeterBook, before: Look, look: Look, moved_s: int, writing: Writing) -> None:
    serial = book.serial
    if moved_s > 0:
        jump = Happening(Absence.CLOCK_SET, _last_seen_s(book, before, look), look.face_s, moved_s)

        def note(tx: Transaction) -> None:
            tx.note_happening(serial, jump)
            book.reload(tx)

        writing.add(note)
    way = "forward" if moved_s > 0 else "back"
    writing.alarm(AlarmKind.METER_CLOCK, f"its clock was set {way} by {abs(moved_s)} s", set_by_s=moved_s)


def _last_seen_s(book: MeterBook, before: Look, look: Look) -> int:
    """A face that the clock had before it was set: of the last look, or where that is a memory, of the newest row."""
    if not before.slack_s:
        return before.face_s
    return max((last for last in _newest_rows(book) if last <= look.face_s), default=before.face_s)


def _newest_rows(book: MeterBook) -> list[int]:
    """Times at which runs of held rows end, of all rings."""
    rings = [state for spec in book.rings if (state := book.states.get(spec.logical_name)) is not None]
    return [last for state in rings for _, last in state.held]


def _passed_again_from(book: MeterBook, before: Look, look: Look, back_s: int) -> int:
    """The earliest face that the clock can have been set back to: since then it has run up to where it is.

    Where the last look is a memory, nobody knows how long ago that was: the clock had shown the newest row by then.
    """
    if before.slack_s:
        seen_s = min(max(_newest_rows(book), default=look.face_s), look.face_s)
        return max(seen_s - back_s, look.face_s - LONGEST_S) - 1
    return look.face_s - int(min(look.high_s - before.low_s, LONGEST_S)) - 1


def reopen(book: MeterBook, face_s: int, writing: Writing) -> None:
    """What is held or absent later than `face_s` is asked again when the clock is there: it passes it once more."""
    for spec in book.rings:
        state = book.states.get(spec.logical_name)
        if state is not None and _ends_after(state, face_s):
            writing.add(_Reopening(book, spec.logical_name, face_s))


class _Reopening:
    """Of one ring."""

    def __init__(self, book: MeterBook, profile: LogicalName, after_s: int) -> None:
        self._book = book
        self._profile = profile
        self._after_s = after_s

    def __call__(self, tx: Transaction) -> None:
        """In the transaction."""
        tx.reopen(self._book.serial, self._profile, self._after_s)
        tx.forget_absent(self._book.serial, self._profile, self._after_s)
        self._book.reload_profile(tx, self._profile)


def _ends_after(state: ProfileState, face_s: int) -> bool:
    held = state.held[-1][1] if state.held else 0
    absent = state.absent[-1][1] if state.absent else 0
    return max(held, absent) > face_s


def _note_ahead(book: MeterBook, look: Look, clock: Clock, limit_s: int, moved_s: int, writing: Writing) -> None:
    """The meter's clock minus the box's: kept, and told when it is further off than it may be."""
    late_s = clock.monotonic_s() - (look.low_s + look.high_s) / 2
    ahead_s = round(look.face_s + 0.5 - (clock.now().timestamp() - late_s))
    book.ahead_s = ahead_s
    kept_s = book.kept.ahead_s if book.kept is not None else None
    if kept_s is None or abs(kept_s - ahead_s) >= KEPT_S:
        serial = book.serial

        def keep(tx: Transaction) -> None:
            tx.note_ahead(serial, ahead_s)
            book.kept = tx.meter(serial)

        writing.add(keep)
    if book.told_ahead_s is None and kept_s is not None and abs(kept_s) > limit_s:
        book.told_ahead_s = kept_s  # before this start of the process
    if abs(ahead_s) <= limit_s // 2:
        book.told_ahead_s = None
    if too_far(ahead_s, book.told_ahead_s, limit_s):
        book.told_ahead_s = ahead_s
        way = "ahead of" if ahead_s > 0 else "behind"
        text = f"its clock is {abs(ahead_s)} s {way} the box's; at most {limit_s} s are expected"
        writing.alarm(AlarmKind.METER_CLOCK, text, ahead_s=ahead_s, set_by_s=moved_s)
