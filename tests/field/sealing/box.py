"""A real store and the loop that makes payloads of it, by a clock that the test moves."""

from contextlib import closing, contextmanager

from dcu.field.made_ahead import answer, chosen, up_to_payload
from dcu.field.sealing import AWAY_S, LOOK_S, Sealing
from dcu.mailbox import Stop
from dcu.record import Stream, encode_batch
from dcu.store import SealedFile
from dcu.uplink.encoding import SEALED_TYPE, decode
from tests.records import record
from tests.store.running_store import running
from tests.uplink.offers import seals_of
from tests.uplink.world import DCU

MANY = 600
"""Records of a stream: some batches, and one that is not full."""


class HandClock:
    def __init__(self):
        self.s = 1000.0

    def monotonic_s(self):
        return self.s


class Box:
    """A store and what makes payloads of it; `meanwhile` is called between two payloads, and at each bite."""

    def __init__(self, it, path, pages=20_000):
        self.running, self.store, self.path = it, it.store, path
        self.file = path.with_name("dcu-sealed.db")
        self.clock, self.stop, self.meanwhile, self.beats = HandClock(), Stop(), lambda: None, 0
        self.pages = pages
        self.start()

    def start(self):
        """As a start of the process."""
        self.seals = SealedFile(self.path, self.pages)
        self.sealing = Sealing(self.store, self.seals, DCU, self.clock, self.stop, self._beat, pause_s=0.0)

    def _beat(self):
        self.beats += 1
        self.meanwhile()

    def look(self, after_s=LOOK_S):
        self.clock.s += after_s
        self.sealing.look()

    def wait_for_network(self):
        """So long that what waits is sealed."""
        self.look(0.0)
        self.look(AWAY_S)

    def append(self, stream, count, start=0):
        bodies = [record(stream, n) for n in range(start, start + count)]
        return self.store.transact(lambda tx: [tx.append(stream, *each) for each in bodies])[-1]

    def deliver(self, stream, last):
        self.store.transact(lambda tx: tx.deliver(stream, last))

    def sealed(self, stream=Stream.PROFILE, epoch=None):
        """All seals of a stream."""
        return list(seals_of(self.seals, epoch or self.store.epoch, stream))

    def payloads(self, stream=Stream.PROFILE):
        """What is made, decoded: (batch, seal) each."""
        made = [(self.seals.payload(self.store.epoch, seal), seal) for seal in self.sealed(stream)]
        return [(decode(payload, SEALED_TYPE), seal) for payload, seal in made]

    def ids(self, stream=Stream.PROFILE):
        return [n for seal in self.sealed(stream) for n in range(seal.first, seal.last + 1)]

    def judge(self, stream=Stream.PROFILE):
        """What is made is what the store says of those records."""
        for batch, seal in self.payloads(stream):
            part = self.store.transact(lambda tx, s=seal: tx.again(s.stream, s.first, s.last, 10**6))
            encoded = encode_batch(DCU, self.store.epoch, stream, part.first, part.layouts, part.bodies)
            assert decode(encoded, "application/cbor") == batch and len(encoded) == seal.octets
            assert (batch.dcu, batch.epoch, batch.first, batch.last) == (DCU, self.store.epoch, seal.first, seal.last)


@contextmanager
def box_of(path, **options):
    with running(path, **options) as it:
        box = Box(it, path)
        with closing(box.seals):
            yield box


def offered(box, stream=Stream.PROFILE, most=10**6):
    """Records as uplink would be offered them, from payloads where there are any: (id, from a payload) each."""
    found, after, epoch = [], dict.fromkeys(Stream, 10**9) | {stream: 0}, box.store.epoch
    choose = chosen(box.seals, epoch, most)
    while True:
        seals = box.store.transact(lambda tx, a=dict(after): tx.next_sealed(a, choose))
        if seals and (got := answer(box.seals, epoch, seals)) is not None:
            first = got.first
            for last, _, payload in got.payloads:
                batch = decode(payload, SEALED_TYPE)
                assert (batch.first, batch.last) == (first, last)
                found += [(n, True) for n in range(first, last + 1)]
                first = last + 1
        else:
            part = box.store.transact(lambda tx, a=dict(after): tx.next_batch(a, 32_768))
            if part is None:
                return found
            [part] = up_to_payload(box.seals, epoch, [part])
            found += [(part.first + n, False) for n in range(len(part.bodies))]
        after[stream] = found[-1][0]
