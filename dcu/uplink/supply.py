"""What is published next: batches asked of field in time, and payloads that field has made already.

Behind a fast link field reads what follows while a batch is deflated and sent. Payloads come several in an answer. Of
both there is no more than the link carries in an eighth of a second: what is urgent waits behind what was taken, and
behind the answer that was asked for meanwhile. Source: DESIGN 4, docs/decisions/0010.
"""

from collections import deque
from dataclasses import dataclass, field
from typing import Final

from dcu.batching import BATCH_BYTES, HEAD_BYTES
from dcu.errors import SocketFault
from dcu.record import Stream
from dcu.uplink.again import Again
from dcu.uplink.dials import Dials
from dcu.uplink.encoding import SEALED_TYPE, encode
from dcu.uplink.field_line import FieldLine, told
from dcu.uplink.window import Window
from dcu.wire.verbs import MAX_SEALED, Next, Nothing, Offer, Sealed

AHEAD_S: Final = 0.125
"""Payloads that are taken at once are sent in this time, and so are those that are asked for meanwhile."""

PACKET_OVERHEAD: Final = 512
"""Topic, properties and heads of a PUBLISH, octets."""


@dataclass(frozen=True, slots=True)
class Load:
    """What is to be published: records first to last of a stream.

    Attributes:
        octets: of the batch, before it is deflated.
        body: the batch, or the payload where it is `sealed`.
        again: asked for by the head-end once more; no cursor moves.
    """

    stream: Stream
    first: int
    last: int
    octets: int
    body: bytes = field(repr=False)
    sealed: bool = False
    again: bool = False


class Supply:
    """One thread's own, with the window that it fills.

    Args:
        dials: of the publisher.
        window: what is on its way.
        again: what is on its way once more.
    """

    def __init__(self, dials: Dials, window: Window, again: Again) -> None:
        self._dials, self._window, self._again = dials, window, again
        self._taken: deque[Load] = deque()
        self._behind: tuple[Stream, int] | None = None
        self._packet_bytes = self._asked_bytes = dials.max_bytes
        self._max_packet: int | None = None

    def begin(self, max_packet: int | None) -> None:
        """A new session, with a broker that takes packets of so many octets."""
        self._taken.clear()
        self._packet_bytes, self._max_packet = self._dials.max_bytes, max_packet

    def next(self, line: FieldLine, now_s: float, wait_ms: int) -> Load | None:
        """The next batch, which field may wait for so long; None: nothing is there. Raises SocketFault."""
        if self._taken:
            if self._window.awaits(self._taken[0].stream, self._taken[0].first, now_s):
                return self._taken.popleft()
            self._taken.clear()
        flow = self._window.flow
        self._asked_bytes = most = min(self._dials.max_bytes, flow.batch_bytes, self._packet_bytes)
        ahead = line.take_ahead()
        if isinstance(ahead, Offer | Sealed) and self._window.awaits(ahead.stream, ahead.first, now_s):
            return self._take(ahead)
        search = self._window.search(now_s)
        if search is None:
            after, again, sealed = self._window.after(now_s), self._again.wanted(now_s), self._sealed_octets
        else:
            after, most, wait_ms, again, sealed = search[0], min(most, search[1]), 0, False, 0
        answer = line.ask(Next(after, most, wait_ms, again, sealed), wait_ms / 1000)
        match answer:
            case Offer() | Sealed():
                return self._take(answer)
            case Nothing():
                self._window.found_nothing(after)
                return None
            case _:
                raise SocketFault(f"field answered next with {told(answer)}")

    def ask_ahead(self, line: FieldLine, now_s: float) -> None:
        """While what was taken last is deflated and sent, field reads what stands behind it. Raises SocketFault.

        Behind a slow link nothing is gained by that, and what is urgent would wait behind it.
        """
        behind, self._behind = self._behind, None
        if behind is not None and self._asked_bytes <= self._soon and self._window.search(now_s) is None:
            after = self._window.after(now_s) | dict([behind])
            line.ask_ahead(Next(after, self._asked_bytes, 0, sealed=self._sealed_octets))

    def payload(self, load: Load) -> tuple[bytes, str]:
        """(payload, content-type)."""
        if load.sealed:
            return load.body, SEALED_TYPE
        return encode(load.body, self._dials.encoding, self._window.flow.level)

    def too_large(self, load: Load) -> bool:
        """It is no packet for this broker: it is asked for in halves. True where it is a single record."""
        self._packet_bytes = max(1, min(self._packet_bytes, load.octets) // 2)
        if load.first == load.last:
            self._packet_bytes = self._dials.max_bytes
            return True
        return False

    def sent(self) -> None:
        """A packet was not too large: the next one may be larger."""
        self._packet_bytes = min(self._dials.max_bytes, self._packet_bytes + self._packet_bytes // 8 + 1)

    def _take(self, answer: Offer | Sealed) -> Load:
        if isinstance(answer, Offer):
            backlog = not answer.again and len(answer.batch) > self._asked_bytes // 2
            self._behind = (answer.stream, answer.last) if backlog else None
            octets = len(answer.batch)
            return Load(answer.stream, answer.first, answer.last, octets, answer.batch, again=answer.again)
        first = answer.first
        for last, octets, payload in answer.payloads:
            self._taken.append(Load(answer.stream, first, last, octets, payload, sealed=True))
            first = last + 1
        self._behind = answer.stream, first - 1
        return self._taken.popleft()

    @property
    def _soon(self) -> int:
        """How many octets of batches the link carries in `AHEAD_S`."""
        return int((self._window.flow.rate or 0.0) * AHEAD_S)

    @property
    def _sealed_octets(self) -> int:
        """How many octets of batches may come as payloads; 0 where one alone would be too much for link or broker."""
        most = min(MAX_SEALED, self._soon)
        usual = self._dials.encoding == "cbor" and self._asked_bytes >= BATCH_BYTES
        fits = self._max_packet is None or self._max_packet >= BATCH_BYTES + HEAD_BYTES + PACKET_OVERHEAD
        return most if usual and fits and most >= BATCH_BYTES else 0
