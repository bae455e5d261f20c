"""Batches as a box makes them."""

from dcu.event import Alarm, AlarmKind
from dcu.reading import ClockState, from_epoch
from dcu.record import Stream, decode_batch, encode_alarm, encode_batch, encode_layout, layout_digest
from tests.records import record

DCU = "JH-RNC-0042"


def encoded(stream, first, records, *, dcu=DCU, epoch="e"):
    """Of (body, layout or None) pairs."""
    layouts = {layout_digest(encode_layout(each)): encode_layout(each) for _, each in records if each}
    return encode_batch(dcu, epoch, stream, first, layouts, [body for body, _ in records])


def batch(stream, first, length, *, dcu=DCU, epoch="e"):
    """Records `first` and on, each with its id as its number."""
    return decode_batch(
        encoded(stream, first, [record(stream, n) for n in range(first, first + length)], dcu=dcu, epoch=epoch)
    )


def dropped(first, stream, *span, epoch="e", at=1, kind=AlarmKind.DROPPED):
    """A batch with the alarm `first` that says that ids of a stream are no more."""
    facts = {"epoch": epoch, "stream": stream.value, "first": span[0], "last": span[1], "reason": "age"}
    alarm = Alarm(kind, from_epoch(at), ClockState.TRUSTED, "dropped", "", facts)
    return decode_batch(encoded(Stream.ALARM, first, [(encode_alarm(alarm), None)]))


def salvaged(first, was, epoch, last, *, stream=Stream.PROFILE):
    """A batch with the alarm `first` of the new epoch: ids of a stream up to `last` are the same in both."""
    facts = {"was": was, "epoch": epoch, "stream": stream.value, "first": 1, "last": last}
    alarm = Alarm(AlarmKind.SALVAGED, from_epoch(1), ClockState.TRUSTED, "salvaged", "", facts)
    return decode_batch(encoded(Stream.ALARM, first, [(encode_alarm(alarm), None)], epoch=epoch))
