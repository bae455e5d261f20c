"""The primary station of an HDLC link: connects, carries APDUs in segments, and recovers what the line loses.

Window 1: each frame waits for its answer. A lost or garbled answer to a read is asked for again with the same octets
and the same sequence number, so that the meter can tell a repetition from a new request. A SET or an ACTION is never
repeated: when its answer is lost the link is in an unknown state and only closing it helps.
Source: Green Book 8.4.5, ISO/IEC 13239.
"""

import logging
from collections.abc import Callable
from typing import Final

from dcu.drivers import hdlc
from dcu.drivers.data_link import DEFAULT_INFO, HdlcOffer, LineTiming
from dcu.drivers.hdlc import Frame, FrameReader
from dcu.errors import DcuError, FrameDamaged, LineFault, LinkLost, MeterSilent, ReplyLate, ReplyMalformed
from dcu.ports import ByteLink

log = logging.getLogger(__name__)

_LONGEST_APDU: Final = 1 << 16
_POLLS: Final = 20  # RR after RR to a meter that says "taken, still working"
_BUSY_PAUSE_S: Final = 0.2
_CLOSING_S: Final = 1.0


class HdlcLink:
    """One HDLC link to one meter. Satisfies `DataLink`; one thread."""

    def __init__(
        self,
        link: ByteLink,
        client: bytes,
        server: bytes,
        offer: HdlcOffer,
        timing: LineTiming,
        monotonic: Callable[[], float],
        place: str,
        *,
        give_way: Callable[[], None] = lambda: None,
    ) -> None:
        """A link that is not open yet.

        Args:
            link: the line, lent.
            client: address as encoded by `hdlc.client_address`.
            server: address as encoded by `hdlc.server_address`.
            offer: what SNRM proposes, both ways.
            timing: deadlines and tries.
            monotonic: seconds that never go back.
            place: who is spoken to, for errors.
            give_way: called between the windows of a long answer to a read; may raise Preempted, and then only closing
                helps the link.
        """
        self._link = link
        self._client = client
        self._server = server
        self._max_info = offer.max_info_bytes
        self._give_way = give_way
        self._timing = timing
        self._monotonic = monotonic
        self._place = place
        self._reader = FrameReader()
        self._send_info = DEFAULT_INFO
        self._sent = 0  # V(S): number of the next I frame to send
        self._received = 0  # V(R): number of the next I frame expected
        self._usable = False
        self._connected = False

    # ---- the link itself ----

    def open(self) -> None:
        """SNRM and UA with the parameters of both sides; DISC first when the meter holds an old link.

        Raises:
            MeterSilent: no try was answered.
            LinkLost: the meter refuses the link.
            BusFault: the port is gone.
        """
        refused = False
        for attempt in range(self._timing.tries):
            if refused or 0 < attempt == self._timing.tries - 1:
                self._disconnect()
            answer = self._try(self._frame(hdlc.SNRM, self._proposal()), self._timing.first_octet_s)
            if answer is not None and answer.control | hdlc.POLL_FINAL == hdlc.UA:
                self._accept(answer.information)
                return
            refused = refused or answer is not None or self._reader.damaged > 0
        if refused:
            raise LinkLost("the meter refuses the data link", place=self._place)
        raise MeterSilent(f"no answer to {self._timing.tries} SNRM", place=self._place)

    def keep_alive(self) -> bool:
        """As `DataLink.keep_alive`: RR, and the RR that answers it."""
        if not self._usable:
            return False
        self._usable = False
        frame = self._frame(hdlc.receive_ready_control(self._received))
        for _ in range(self._timing.tries):
            answer = self._try(frame, self._timing.first_octet_s)
            if answer is not None and answer.is_supervisory and answer.received == self._sent:
                self._usable = True
                return True
        return False

    def close(self) -> None:
        """DISC, a brief wait for its answer; quiet, idempotent."""
        if not self._connected:
            return
        self._connected = self._usable = False
        try:
            self._disconnect()
        except DcuError as fault:
            log.debug("%s: DISC failed: %s", self._place, fault)

    def _disconnect(self) -> None:
        self._try(self._frame(hdlc.DISC), min(_CLOSING_S, self._timing.first_octet_s))

    def _proposal(self) -> bytes:
        size = self._max_info.to_bytes(1 if self._max_info <= 0xFF else 2, "big")
        limits = b"".join(bytes([name, len(size)]) + size for name in (5, 6))
        parameters = limits + b"\x07\x04\x00\x00\x00\x01\x08\x04\x00\x00\x00\x01"
        return bytes([0x81, 0x80, len(parameters)]) + parameters

    def _accept(self, information: bytes) -> None:
        # What the meter receives (06) limits what we send; what it sends (05) it keeps itself.
        self._send_info = min(self._max_info, negotiated(information).get(6, DEFAULT_INFO))
        self._send_info = max(self._send_info, 16)
        self._sent = self._received = 0
        self._connected = self._usable = True

    # ---- APDUs ----

    def exchange(self, apdu: bytes, *, once: bool) -> bytes:
        """As `DataLink.exchange`."""
        if not self._usable:
            raise LinkLost("the link is not open, or its order is unknown after a loss", place=self._place)
        self._usable = False  # until the answer is here
        octets = hdlc.LLC_COMMAND + apdu
        pieces = [octets[at : at + self._send_info] for at in range(0, len(octets), self._send_info)]
        for piece in pieces[:-1]:
            self._send_segment(piece, once=once)
        frame = self._send_last(pieces[-1], once=once)
        answer = bytearray(frame.information)
        while frame.segmented:
            if not once:
                self._give_way()
            frame = self._next_segment(once=once)
            answer += frame.information
            if len(answer) > _LONGEST_APDU:
                raise ReplyMalformed("an answer without end", place=self._place)
        self._usable = True
        return self._without_llc(bytes(answer))

    def _send_segment(self, piece: bytes, *, once: bool) -> None:
        """An I frame that is not the last: answered by an RR that expects the next."""
        following = (self._sent + 1) % 8
        frame = self._information(piece, segmented=True)
        for _ in range(self._tries(once=once)):
            answer = self._try(frame, self._timing.first_octet_s)
            if answer is not None and answer.is_supervisory and answer.received == following:
                self._sent = following
                if answer.is_busy:
                    self._pause()
                return
        raise self._loss(once=once)

    def _send_last(self, piece: bytes, *, once: bool) -> Frame:
        """The last I frame of a request, and the first one of its answer."""
        following = (self._sent + 1) % 8
        frame = self._information(piece, segmented=False)
        tries, polls = self._tries(once=once), _POLLS
        while tries > 0 and polls > 0:
            answer = self._try(frame, self._timing.first_octet_s)
            if answer is not None and answer.is_information:
                if answer.received == following:
                    self._sent = following
                    self._received = (self._received + 1) % 8
                    return answer
                tries -= 1
            elif answer is not None and answer.received == following:
                polls -= 1  # taken; its answer is to be asked for
                if answer.is_busy:
                    self._pause()
                frame = self._frame(hdlc.receive_ready_control(self._received))
            else:
                tries -= 1
                if answer is not None and answer.is_busy:
                    self._pause()
        raise self._loss(once=once)

    def _next_segment(self, *, once: bool) -> Frame:
        frame = self._frame(hdlc.receive_ready_control(self._received))
        for _ in range(self._tries(once=once)):
            answer = self._try(frame, self._timing.first_octet_s)
            if answer is not None and answer.is_information and answer.received == self._sent:
                self._received = (self._received + 1) % 8
                return answer
        raise self._loss(once=once)

    def _without_llc(self, octets: bytes) -> bytes:
        """The APDU behind the LLC header; some meters put that header twice."""
        if octets[:3] != hdlc.LLC_RESPONSE:
            raise ReplyMalformed("an answer without its LLC header", place=self._place)
        return octets[3:].removeprefix(hdlc.LLC_RESPONSE)

    def _tries(self, *, once: bool) -> int:
        return 1 if once else self._timing.tries

    def _loss(self, *, once: bool) -> DcuError:
        if not once:
            return MeterSilent(f"{self._timing.tries} tries brought no answer", place=self._place)
        fault: type[LineFault] = FrameDamaged if self._reader.damaged else ReplyLate
        return fault("the answer to a request that is sent only once was lost", place=self._place)

    # ---- frames ----

    def _frame(self, control: int, information: bytes = b"") -> Frame:
        return Frame(self._server, self._client, control, information)

    def _information(self, piece: bytes, *, segmented: bool) -> Frame:
        control = hdlc.information_control(self._sent, self._received)
        return Frame(self._server, self._client, control, piece, segmented)

    def _try(self, frame: Frame, first_octet_s: float) -> Frame | None:
        """Send `frame` and wait for what answers it; None when that was lost.

        Raises:
            LinkLost: the meter says that there is no link (DM) or that it lost its order (FRMR).
        """
        self._link.flush_input()
        self._reader.clear()
        self._link.send(frame.encode())
        connecting = frame.control in {hdlc.SNRM, hdlc.DISC}
        started = self._monotonic()
        limit = started + self._timing.reply_s
        while (answer := self._receive(started + first_octet_s, limit)) is not None:
            control = answer.control | hdlc.POLL_FINAL
            if control in {hdlc.DM, hdlc.FRMR}:
                if connecting:
                    return answer
                name = "DM" if control == hdlc.DM else "FRMR"
                raise LinkLost(f"the meter ended the data link ({name})", place=self._place)
            if self._answers(answer, connecting=connecting):
                return answer
        return None

    def _answers(self, answer: Frame, *, connecting: bool) -> bool:
        """Whether a frame of the right addresses can be the answer: late and repeated ones are not."""
        if connecting:
            return answer.control | hdlc.POLL_FINAL == hdlc.UA
        return answer.is_supervisory or (answer.is_information and answer.sent == self._received)

    def _receive(self, first_s: float, limit_s: float) -> Frame | None:
        """The next frame from this meter to this client; None when time is up, or only a damaged one came."""
        quiet_s = first_s
        while True:
            frame = self._reader.next_frame()
            if frame is None:
                chunk = self._link.receive(min(quiet_s, limit_s))
                now = self._monotonic()
                if chunk and now < limit_s:
                    self._reader.feed(chunk)
                    quiet_s = now + self._timing.octet_gap_s
                    continue
                frame = self._reader.next_frame(silence=True)
                if frame is None and (self._reader.damaged or now >= first_s or now >= limit_s):
                    return None
                quiet_s = first_s  # noise, or another's frame: the answer may still come
            if frame is not None and (frame.destination, frame.source) == (self._client, self._server):
                return frame

    def _pause(self) -> None:
        """Let a busy meter work; whatever it says meanwhile was not asked for."""
        until = self._monotonic() + _BUSY_PAUSE_S
        while self._monotonic() < until and self._link.receive(until):
            pass


def negotiated(information: bytes) -> dict[int, int]:
    """Parameters of a UA: 5 and 6 are the longest information field that the meter sends and receives, octets.

    Anything that is not well formed is as if it were not there: the defaults then hold.
    """
    found: dict[int, int] = {}
    if information[:2] != b"\x81\x80" or len(information) < 3:
        return found
    at, end = 3, min(len(information), 3 + information[2])
    while at + 2 <= end:
        name, length = information[at], information[at + 1]
        at += 2
        if length in {1, 2, 4} and at + length <= end:
            found[name] = int.from_bytes(information[at : at + length], "big")
        at += length
    return found
