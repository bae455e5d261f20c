"""Where a meter stands: noted once a start, so that a meter that was replaced is told, and told once."""

from dcu.clock import alarm_now
from dcu.event import AlarmKind
from dcu.field.book import MeterBook
from dcu.field.parts import Writing, trusted
from dcu.meter import Meter
from dcu.ports import Clock, Transaction
from dcu.record import Stream, encode_alarm


def place_of(meter: Meter) -> str:
    """Bus, endpoint and address."""
    endpoint = f"{meter.host}:{meter.port}/" if meter.host else ""
    return f"{meter.bus}/{endpoint}{meter.address}"


def note_place(book: MeterBook, clock: Clock, writing: Writing) -> None:
    """The meter has said who it is and stands where the configuration names it."""
    if book.settled:
        return
    meter, place = book.meter, place_of(book.meter)

    def settle(tx: Transaction) -> None:
        before = tx.settle(place, meter.serial, _now_s(book, clock))
        if before is not None:
            text = f"it stands at {place} in the place of {before}"
            facts = {"place": place, "was": before, "now": meter.serial}
            alarm = alarm_now(clock, AlarmKind.METER_REPLACED, text, meter.serial, facts)
            tx.append(Stream.ALARM, encode_alarm(alarm))

    def settled() -> None:
        book.settled = True

    writing.add(settle)
    writing.then(settled)


def _now_s(book: MeterBook, clock: Clock) -> int:
    """Now; by the meter's clock where the box, without a battery, does not know the time yet."""
    face_s = None if trusted(clock) else book.face_s(clock.monotonic_s())
    return int(clock.now().timestamp()) if face_s is None else face_s
