"""What a meter says of itself and seldom changes: firmware, capture objects, scalers, periods, extents.

Read once for a version of the firmware and kept in the store: a start of the process reads nothing again. Looked at
anew once a day, and when something says that the meter was changed; what is other than before is told.
"""

from collections.abc import Sequence
from typing import Final

from dcu.errors import CaptureMismatch, DcuError, ReplyMalformed
from dcu.event import AlarmKind
from dcu.field.book import MeterBook
from dcu.field.parts import Writing
from dcu.meter import AttributeRef, ClassId, ProfileKind, ProfileSpec
from dcu.obis import CLOCK, LogicalName
from dcu.ports import Clock, Described, MeterState, ProfileState, Transaction
from dcu.reading import UNTIMED, Data

FIRMWARE: Final = AttributeRef(ClassId.DATA, LogicalName.of("1.0.0.2.0"), 2)

DESCRIBED_EVERY_S: Final = 86_400

AGE_UNKNOWN_S: Final = 3600.0
"""A box that does not know the time cannot tell how old what it has cached is: it looks so long after its start."""

_NONE: Final = b"?"  # of a meter that does not say


def note_firmware(said: Data | Exception, book: MeterBook, clock: Clock, writing: Writing) -> bool:
    """Keep the version; whether it is another than the one under which the profiles were described."""
    firmware = _octets(said)
    known = book.kept.firmware if book.kept is not None else b""
    if firmware == known:
        return False
    at_s, serial = int(clock.now().timestamp()), book.serial
    book.statics_due_s = clock.monotonic_s() + DESCRIBED_EVERY_S
    writing.add(lambda tx: tx.note_firmware(serial, firmware, at_s))
    if known:
        was, now = known.decode("latin-1"), firmware.decode("latin-1")
        writing.alarm(AlarmKind.METER_CHANGED, f"firmware {was!r} became {now!r}", was=was, now=now)
    return True


def statics_due(book: MeterBook, kept: MeterState, clock: Clock) -> bool:
    """Whether the meter is to be described again. Only a process that has just begun asks what day it is."""
    now_s = clock.monotonic_s()
    if book.statics_due_s is None:
        age_s = clock.now().timestamp() - kept.described_s
        left_s = DESCRIBED_EVERY_S - age_s if age_s >= 0 else 0.0
        book.statics_due_s = now_s + (max(0.0, left_s) if clock.state().known else AGE_UNKNOWN_S)
    return now_s >= book.statics_due_s


def note_all_described(book: MeterBook, clock: Clock, writing: Writing) -> None:
    """All profiles were looked at: again in a day, once that is noted."""
    serial, at_s = book.serial, int(clock.now().timestamp())

    def note(tx: Transaction) -> None:
        tx.note_described(serial, at_s)
        book.kept = tx.meter(serial)

    def noted() -> None:
        book.statics_due_s = clock.monotonic_s() + DESCRIBED_EVERY_S

    writing.add(note)
    writing.then(noted)


def _octets(said: Data | Exception) -> bytes:
    if isinstance(said, bytes):
        return said or _NONE
    return said.encode() if isinstance(said, str) and said else _NONE


def adopt(
    specs: Sequence[ProfileSpec],
    described: Sequence[Described | Exception],
    book: MeterBook,
    now_s: int | None,
    writing: Writing,
) -> dict[LogicalName, DcuError]:
    """Keep what the meter says of its profiles, and tell what is other than before; faults by profile."""
    faults: dict[LogicalName, DcuError] = {}
    for spec, said in zip(specs, described, strict=True):
        name = spec.logical_name
        if isinstance(said, Exception):
            faults[name] = said if isinstance(said, DcuError) else ReplyMalformed(str(said))
            continue
        book.suspect.discard(name)
        book.in_use[name] = said.entries_in_use
        if not said.newest_first and spec.kind in {ProfileKind.EVENTS, ProfileKind.BILLING} and name not in book.tails:
            _begin_log(book, name, said.entries_in_use)
        try:
            _adopt_one(spec, said, book, now_s, writing)
        except DcuError as fault:
            faults[name] = fault
    return faults


def check_ring(described: Described, what: str) -> None:
    """Raises ReplyMalformed or CaptureMismatch when intervals cannot be expected of what the meter says."""
    if described.period_s <= 0:
        raise ReplyMalformed(f"{what}: its capture period is 0, so that no interval can be expected")
    first = described.layout[0]
    if (first.class_id, first.logical_name, first.attribute) != (ClassId.CLOCK, CLOCK, 2):
        raise CaptureMismatch(f"{what}: its first column is not the clock")


def note_described(
    tx: Transaction, serial: str, name: LogicalName, described: Described, since_s: int, until_s: int | None = None
) -> None:
    """Keep what the meter says of a profile; `until_s` as in `ports.Transaction.describe`."""
    tx.describe(
        serial,
        name,
        described.layout,
        described.period_s,
        since_s,
        entries=described.entries,
        newest_first=described.newest_first,
        until_s=until_s,
    )


def _begin_log(book: MeterBook, name: LogicalName, in_use: int) -> None:
    if in_use:
        book.tails[name] = in_use


def _adopt_one(spec: ProfileSpec, said: Described, book: MeterBook, now_s: int | None, writing: Writing) -> None:
    name, serial = spec.logical_name, book.serial
    state = book.states.get(name)
    is_ring = spec.kind is ProfileKind.RING
    if is_ring:
        check_ring(said, str(name))
        if state is None:
            book.described[name] = said  # the store hears of it with the oldest interval that is expected
            return
    if said.layout[0] == UNTIMED and spec.kind in {ProfileKind.EVENTS, ProfileKind.BILLING}:
        raise CaptureMismatch(f"{name}: its first column is no time, so that its rows cannot be told apart")
    kept = said if is_ring else Described(said.layout, 0, said.entries, said.entries_in_use, said.newest_first)
    since_s = now_s or 0

    if state is not None:
        since_s = state.since_s
        _tell_changes(name, state, kept, writing)

    def note(tx: Transaction) -> None:
        note_described(tx, serial, name, kept, since_s, now_s)
        book.reload_profile(tx, name)

    writing.add(note)


def _tell_changes(name: LogicalName, state: ProfileState, said: Described, writing: Writing) -> None:
    facts: dict[str, int | str] = {"profile": str(name)}
    words = []
    if state.layout is not None and state.layout != said.layout:
        words.append(f"{len(state.layout)} capture objects became {len(said.layout)} others")
    if state.period_s != said.period_s:
        words.append(f"capture period {state.period_s} s became {said.period_s} s")
        facts |= {"was_s": state.period_s, "now_s": said.period_s}
    if words:
        writing.alarm(AlarmKind.METER_CHANGED, f"{name}: {', '.join(words)}", **facts)
