"""One poll on the wire: frames out, and what the meter says to them until it hands the line back.

In normal response mode a meter speaks only when polled and ends its turn with the final bit. Everything else that a
line brings meanwhile is sorted out here: other meters' frames, our own echo, noise, a line that never falls silent.
Source: Green Book 8.4, ISO/IEC 13239.
"""

from collections.abc import Callable, Sequence
from enum import Enum
from typing import Final

from dcu.drivers.data_link import LineTiming
from dcu.drivers.hdlc import SHORTEST, Frame, FrameReader
from dcu.ports import ByteLink

_BETWEEN_FRAMES_S: Final = 1.0
"""Longest pause of a meter inside a window; only a lost final frame is waited for so long."""

_SETTLED_S: Final = 0.05  # three bursts of a USB adapter
_SETTLING_S: Final = 1.0


class Turn(Enum):
    """What a frame of the meter is to the poll that runs."""

    STRAY = "not an answer to it: late, repeated, out of order"
    MORE = "part of the answer, and more of it follows"
    FINAL = "the end of the answer"


class Poller:
    """The line as one client's link to one meter uses it. One thread.

    Attributes:
        echoes: frames of our own that came back: an adapter that hears itself.
        strays: whole frames that were not for this link.
        answered: polls that the meter answered to the end.
        spoilt: polls whose answer, or a part of it, was garbled.
    """

    def __init__(
        self, link: ByteLink, client: bytes, server: bytes, timing: LineTiming, monotonic: Callable[[], float]
    ) -> None:
        """As `HdlcLink`."""
        self._link = link
        self._client = client
        self._server = server
        self._timing = timing
        self._monotonic = monotonic
        self._reader = FrameReader()
        self.echoes = 0
        self.strays = 0
        self.answered = 0
        self.spoilt = 0

    @property
    def garbled(self) -> bool:
        """The last poll brought what may have been a frame, and was none."""
        return self._reader.damaged > 0 or self._reader.discarded >= SHORTEST

    def poll(
        self,
        frames: Sequence[Frame],
        take: Callable[[Frame], Turn],
        *,
        patient: bool = False,
        first_octet_s: float | None = None,
    ) -> bool:
        """Send `frames`, hand what answers to `take`; whether the meter came to its end.

        Args:
            frames: the last of them with the poll bit.
            take: says what a frame from this meter to this client is; may raise.
            patient: wait the whole time after a garbled answer too: the true one may still come.
            first_octet_s: until the answer begins; None: as on this line.
        """
        octets = b"".join([frame.encode() for frame in frames])
        self._link.flush_input()
        self._reader.clear()
        self._link.send(octets)
        # What a serial port has "sent" may still be in the adapter: the meter's time begins behind it.
        sent_s = self._monotonic() + len(octets) * self._timing.octet_s
        first_s = self._timing.first_octet_s if first_octet_s is None else first_octet_s
        limit_s = sent_s + self._timing.reply_s
        whole = self._listen(frames, take, min(sent_s + first_s, limit_s), limit_s, patient=patient)
        garbled = self.garbled
        self.spoilt += garbled
        self.answered += whole and not garbled
        return whole

    def settle(self) -> None:
        """Wait for a moment without an octet: a meter may say its answer twice, and another one answer late."""
        limit = self._monotonic() + _SETTLING_S
        while (now := self._monotonic()) < limit and self._link.receive(min(now + _SETTLED_S, limit)):
            pass

    def pause(self, seconds: float) -> None:
        """Let a busy meter work; whatever it says meanwhile was not asked for."""
        until = self._monotonic() + seconds
        while self._monotonic() < until and self._link.receive(until):
            pass

    def _listen(
        self, sent: Sequence[Frame], take: Callable[[Frame], Turn], due_s: float, limit_s: float, *, patient: bool
    ) -> bool:
        """Until the final frame, silence behind a garbled one, `due_s` without any, or `limit_s`."""
        quiet_s = due_s
        while True:
            frame = self._reader.next_frame()
            now = self._monotonic()
            if frame is None:
                chunk = self._link.receive(min(quiet_s, limit_s))
                now = self._monotonic()
                if chunk and now < limit_s:
                    self._reader.feed(chunk)
                    quiet_s = now + self._timing.octet_gap_s
                    continue
                frame = self._reader.next_frame(silence=True)
                if frame is None and (now >= min(due_s, limit_s) or (self.garbled and not patient)):
                    return False
            if frame is not None:
                heard = self._sort(frame, sent, take)
                if heard is Turn.FINAL:
                    return True
                if heard is Turn.MORE:
                    due_s = now + _BETWEEN_FRAMES_S
            if len(self._reader) <= 1:  # nothing, or the flag that closed a frame: what follows may take its time
                quiet_s = due_s

    def _sort(self, frame: Frame, sent: Sequence[Frame], take: Callable[[Frame], Turn]) -> Turn:
        if frame.source == self._server and frame.destination == self._client:
            return take(frame)
        if frame in sent:
            self.echoes += 1
        else:
            self.strays += 1
        return Turn.STRAY
