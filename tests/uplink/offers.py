"""What field offers, as the head-end would read it, and the seals that its cache has of a stream."""

from dcu.record import Stream, decode_batch
from dcu.uplink.encoding import SEALED_TYPE, decode
from dcu.wire.verbs import Offer


def taken(answer):
    """The batches of an answer, whichever way they came; what the answer says of them is what they say."""
    if isinstance(answer, Offer):
        batches, lasts = [decode_batch(answer.batch)], [answer.last]
    else:
        batches = [decode(payload, SEALED_TYPE) for _, _, payload in answer.payloads]
        lasts = [last for last, _, _ in answer.payloads]
    first = answer.first
    for batch, last in zip(batches, lasts, strict=True):
        assert (batch.epoch, batch.stream) == (answer.epoch, answer.stream)
        assert (batch.first, batch.last, len(batch.records)) == (first, last, last - first + 1)
        first = last + 1
    return batches


def readings(answer):
    """(id, number) of each reading of an answer (`records.profile`)."""
    return [(n, body["rows"][0][1]) for batch in taken(answer) for n, body in enumerate(batch.records, batch.first)]


def seals_of(cache, epoch, stream=Stream.PROFILE):
    """All seals of a stream, in order."""
    n = 0
    while (n := cache.next_first(epoch, stream, n)) is not None:
        for seal in cache.run_from(epoch, stream, n):
            yield seal
            n = seal.first
