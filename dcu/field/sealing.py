"""Makes the payloads of a backlog while the network is away, when the box has time: a drain then only sends them.

A stream whose cursor has not moved for minutes waits for the network. What it holds is read batch by batch, deflated
thoroughly, and kept beside the store; the last batch, which is not full yet, is left as it is. Behind a link that is
only slow nothing is made: there deflating costs no time. Source: docs/decisions/0010.
"""

import logging
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

from dcu.batching import BATCH_BYTES, HEAD_BYTES
from dcu.errors import StoreFault
from dcu.field.read_ahead import last_of
from dcu.mailbox import Stop
from dcu.ports import BatchSlice, Clock, Seal, Store, Transaction
from dcu.record import DEFLATE_ABOVE, Stream, checksum, deflate, encode_batch
from dcu.store import SealedFile

log = logging.getLogger(__name__)

LOOK_S: Final = 30.0
"""How often it is looked for something to do."""

AWAY_S: Final = 300.0
"""A cursor that stands for so long waits for the network."""

PAUSE_S: Final = 0.05
"""Between two payloads: the store and the processor are others' first."""

TURN_S: Final = 1.0


class Sealing:
    """A loop in a thread of its own.

    Args:
        store: what waits is in it.
        seals: where the payloads go.
        dcu: id of the box.
        clock: of the process.
        stop: ends it.
        beat: called at each turn.
        away_s: how long a cursor must have stood.
        pause_s: between two payloads.
    """

    def __init__(
        self,
        store: Store,
        seals: SealedFile,
        dcu: str,
        clock: Clock,
        stop: Stop,
        beat: Callable[[], None],
        away_s: float = AWAY_S,
        pause_s: float = PAUSE_S,
    ) -> None:
        self._store, self._seals, self._dcu, self._clock = store, seals, dcu, clock
        self._stop, self._beat, self._away_s, self._pause_s = stop, beat, away_s, pause_s
        self._in_the_way = False
        self._stands: dict[Stream, tuple[int, float]] = {}

    def run(self) -> None:
        """Until the process stops."""
        look_s = self._clock.monotonic_s()
        while not self._stop.wait(TURN_S):
            self._beat()
            if self._clock.monotonic_s() >= look_s:
                self.look()
                look_s = self._clock.monotonic_s() + LOOK_S
        self._seals.close()

    def look(self) -> None:
        """Forget what is delivered, and make what waits; where nothing can be read now, another time."""
        try:
            self._look(*self._store.transact(_standing))
        except StoreFault:
            return  # the writer tells of it

    def _look(self, cursors: Mapping[Stream, tuple[int, int]], gone: Mapping[Stream, int]) -> None:
        epoch = self._store.epoch
        in_the_way, self._in_the_way = self._in_the_way, self._seals.is_in_the_way()
        if self._in_the_way:
            if not in_the_way:
                log.info("no payloads are made in advance: the disk has no room beside the store and a second one")
            self._seals.discard()
            return
        self._seals.begin(epoch)
        while not self._stop and self._seals.forget(gone):
            self._breathe()
        for stream, (delivered, given) in cursors.items():
            if self._is_away(stream, delivered, given):
                self._seal(epoch, stream, delivered, given)

    def _is_away(self, stream: Stream, delivered: int, given: int) -> bool:
        now_s = self._clock.monotonic_s()
        stood, since_s = self._stands.get(stream, (-1, now_s))
        if stood != delivered or delivered >= given:  # where nothing waits, nothing waits for the network
            since_s = now_s
        self._stands[stream] = delivered, since_s
        return delivered < given and now_s - since_s >= self._away_s

    def _seal(self, epoch: str, stream: Stream, delivered: int, given: int) -> None:
        last = self._seals.last(stream)
        if last > given:  # garbled, or of a store in whose place an older copy was put
            self._seals.discard()
            return
        first = max(delivered, last) + 1
        while not self._stop:
            part = self._store.transact(partial(_read, stream, first, delivered, given))
            if part is None or last_of(part) == given or self._store.epoch != epoch:
                return  # more of it may come; or it was salvaged meanwhile
            batch = encode_batch(self._dcu, epoch, stream, part.first, part.layouts, part.bodies)
            seal = Seal(stream, part.first, last_of(part), len(batch), checksum(part.bodies[-1]))
            is_usual = DEFLATE_ABOVE < len(batch) <= BATCH_BYTES + HEAD_BYTES
            if is_usual and not self._seals.add(epoch, seal, deflate(batch)):
                return
            first = seal.last + 1
            self._breathe()

    def _breathe(self) -> None:
        self._beat()
        self._stop.wait(self._pause_s)


def _standing(tx: Transaction) -> tuple[Mapping[Stream, tuple[int, int]], Mapping[Stream, int]]:
    """Cursors; and of each stream the record up to which all is delivered or not held any more."""
    cursors, gone = tx.cursors(), {}
    for stream, (delivered, given) in cursors.items():
        oldest = tx.again(stream, delivered + 1, given, 1)
        gone[stream] = given if oldest is None else oldest.first - 1
    return cursors, gone


def _read(stream: Stream, first: int, delivered: int, given: int, tx: Transaction) -> BatchSlice | None:
    """None too where the cursor moves again: a drain needs the processor for itself."""
    if tx.cursors()[stream][0] != delivered:
        return None
    return tx.again(stream, first, given, BATCH_BYTES)
