"""What is offered of payloads that are made already (`sealing`), and where other batches have to end for them.

A payload counts as long as all its records are held: where one was given up meanwhile, the rest is read and encoded as
if there were no payload.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

from dcu.ports import BatchSlice, Seal, Seals
from dcu.record import Stream
from dcu.wire.verbs import MAX_BATCH, Sealed


def chosen(seals: Seals, epoch: str, most: int) -> Callable[[Stream, int], Sequence[Seal]]:
    """For `ports.Transaction.next_sealed`: those that follow, of `most` octets of batches or one alone."""

    def choose(stream: Stream, first: int) -> Sequence[Seal]:
        taken: list[Seal] = []
        octets = 0
        for seal in seals.run_from(epoch, stream, first):
            octets += seal.octets
            if taken and octets > most:
                break
            taken.append(seal)
        return taken

    return choose


def answer(seals: Seals, epoch: str, found: Sequence[Seal]) -> Sealed | None:
    """The payloads, up to the first that is not what was written or that no frame has room for; None: not one."""
    payloads: list[tuple[int, int, bytes]] = []
    room = MAX_BATCH
    for seal in found:
        payload = seals.payload(epoch, seal)
        if payload is None or len(payload) > room:
            break
        room -= len(payload)
        payloads.append((seal.last, seal.octets, payload))
    return Sealed(epoch, found[0].stream, found[0].first, tuple(payloads)) if payloads else None


def up_to_payload(seals: Seals, epoch: str, parts: Sequence[BatchSlice]) -> list[BatchSlice]:
    """Of parts that follow each other what stands before the next payload, so that it is the next to be offered."""
    begins = seals.next_first(epoch, parts[0].stream, parts[0].first) if parts else None
    if begins is None:
        return list(parts)
    return [replace(part, bodies=part.bodies[: begins - part.first]) for part in parts if part.first < begins]
