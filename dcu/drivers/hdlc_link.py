"""The primary station of an HDLC link: connects, carries APDUs in segments, and recovers what the line loses.

Both ways up to seven frames go before an acknowledgement, as far as SNRM and UA allow. What a read loses is asked for
again by its sequence number, so that the meter can tell a repetition from a new request and nothing is read twice. A
SET or an ACTION is never repeated: when its answer is lost the link is in an unknown state and only closing it helps.
Source: Green Book 8.4.5, ISO/IEC 13239.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from dcu.drivers import hdlc
from dcu.drivers.data_link import DEFAULT_INFO, HdlcOffer, LineTiming
from dcu.drivers.frame_size import Heard
from dcu.drivers.hdlc import Frame
from dcu.drivers.hdlc_negotiation import negotiated, proposal
from dcu.drivers.hdlc_poll import Poller, Turn
from dcu.errors import (
    AddressClash,
    DcuError,
    EchoHeard,
    FrameDamaged,
    LineFault,
    LinkLost,
    MeterSilent,
    ReplyLate,
    ReplyMalformed,
)
from dcu.ports import ByteLink

log = logging.getLogger(__name__)

_SMALLEST_INFO: Final = 16  # a meter that says it takes less is not believed
_LONGEST_APDU: Final = 1 << 16
_MOST_SEGMENTS: Final = 1 << 13  # empty ones have no other end
_ENDED: Final = frozenset({hdlc.DM, hdlc.FRMR})
_POLLS: Final = 20  # RR after RR to a meter that says "taken, still working"
_NOISY: Final = 5  # garbled segments of an answer that has begun, beyond the tries
_SLOWEST: Final = 20  # times the line's own time for an answer, beside its time-outs
_SLOWEST_S: Final = 0.1  # an octet of it, where the line has no pace of its own
_BUSY_PAUSE_S: Final = 0.2
_CLOSING_S: Final = 1.0


@dataclass(slots=True)
class _Carriage:
    """One APDU on its way there, and one on its way back.

    Attributes:
        pieces: of the request, that the meter has not acknowledged.
        once: it is a SET or an ACTION.
        answer: what came of the answer, in order.
        segments: how many frames that was.
        complete: the last of them is here.
    """

    pieces: list[bytes]
    once: bool
    answer: bytearray = field(default_factory=bytearray)
    segments: int = 0
    complete: bool = False


class HdlcLink:
    """One HDLC link to one meter. Satisfies `DataLink`; one thread.

    A relay errand must not wait for a profile, so a long answer to a read gives way between two windows.
    """

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
        ended: Callable[[HdlcOffer, Heard], None] = lambda _offer, _heard: None,
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
            give_way: called before each poll but the first of anything save a SET or an ACTION; may raise Preempted,
                and then only closing helps the link.
            ended: told at the end of a link that was open what had come over it.
        """
        self._poller = Poller(link, client, server, timing, monotonic)
        self._monotonic = monotonic
        self._client, self._server = client, server
        self._offer = offer
        self._timing = timing
        self._place = place
        self._give_way = give_way
        self._ended = ended
        self._send_info, self._send_window, self._receive_window = DEFAULT_INFO, 1, 1
        self._sent = 0  # V(S): number of the next I frame to send
        self._received = 0  # V(R): number of the next I frame expected
        self._usable = False
        self._connected = False
        self._carriage = _Carriage([], once=False)
        # What the poll that runs has brought:
        self._unnumbered: Frame | None = None
        self._acknowledged: int | None = None  # N(R) of the meter
        self._expected: int | None = None  # N(R) that an answer has; None while the request is not out as a whole
        self._busy = False

    @property
    def echoes(self) -> int:
        """Frames of our own that came back so far: more than none is an adapter that hears itself."""
        return self._poller.echoes

    # ---- the link itself ----

    def open(self) -> None:
        """SNRM and UA with the parameters of both sides; DISC first when the meter holds an old link.

        A meter that still refuses may hold a link of another client: its inactivity time-out ends that, and the
        meter's back-off is the wait for it, since others need the line meanwhile.

        Raises:
            MeterSilent: no try was answered.
            EchoHeard: nothing but our own frames came back.
            AddressClash: every try brought an answer that was garbled.
            LinkLost: the meter refuses the link.
            BusFault: the port is gone.
        """
        refused, garbled, echoes = False, 0, self.echoes
        for attempt in range(self._timing.tries):
            if attempt:
                self._give_way()
            if refused or 0 < attempt == self._timing.tries - 1:
                self._disconnect()
            # A meter that knows no parameters may refuse a frame that has them.
            information = b"" if refused else proposal(self._offer)
            answer = self._ask_unnumbered(hdlc.SNRM, information, self._timing.first_octet_s)
            if answer is not None and answer.control | hdlc.POLL_FINAL == hdlc.UA:
                self._accept(answer.information)
                return
            refused = refused or answer is not None
            garbled += answer is None and self._poller.garbled
            if not refused and not garbled and attempt + 1 == self._timing.first_tries:
                break  # a meter that was silent before: the others of the line wait for no more than this
        raise self._not_opened(attempt + 1, refused=refused, garbled=garbled, echoed=self.echoes > echoes)

    def _not_opened(self, tries: int, *, refused: bool, garbled: int, echoed: bool) -> DcuError:
        if refused:
            return LinkLost("the meter refuses the data link", place=self._place)
        if garbled == tries:
            return self._clash(f"{tries} garbled answers to {tries} SNRM")
        if echoed:
            return EchoHeard(
                f"{tries} SNRM came back from our own adapter, and nothing else",
                place=self._place,
                cure="check the meter's address and wires; the echo itself is harmless",
            )
        return MeterSilent(f"no answer to {tries} SNRM", place=self._place)

    def _clash(self, what: str) -> AddressClash:
        cure = "take one of the meters off the line, or check cable and termination"
        return AddressClash(f"{what}: two meters at one address, or much noise", place=self._place, cure=cure)

    def keep_alive(self) -> bool:
        """As `DataLink.keep_alive`: RR, and the RR that answers it."""
        if not self._usable:
            return False
        self._usable = False
        self._carriage = _Carriage([], once=False)
        for attempt in range(self._timing.tries):
            if attempt:
                self._give_way()
            self._poll_numbered([])
            if self._acknowledged == self._sent:
                self._usable = True
                return True
        return False

    def settle(self) -> None:
        """As `DataLink.settle`."""
        self._poller.settle()

    def close(self) -> None:
        """DISC, a brief wait for its answer; quiet, idempotent."""
        if not self._connected:
            return
        self._connected = self._usable = False
        self._ended(self._offer, Heard(self._poller.answered, self._poller.spoilt, self._poller.echoes))
        try:
            self._disconnect()
        except DcuError as fault:
            log.debug("%s: DISC failed: %s", self._place, fault)

    def _disconnect(self) -> None:
        self._ask_unnumbered(hdlc.DISC, b"", min(_CLOSING_S, self._timing.first_octet_s))

    def _ask_unnumbered(self, control: int, information: bytes, first_octet_s: float) -> Frame | None:
        self._unnumbered = None
        self._poller.poll([self._frame(control, information)], self._take_unnumbered, first_octet_s=first_octet_s)
        return self._unnumbered

    def _take_unnumbered(self, frame: Frame) -> Turn:
        if frame.control | hdlc.POLL_FINAL not in {hdlc.UA, hdlc.DM, hdlc.FRMR}:
            return Turn.STRAY
        self._unnumbered = frame
        return Turn.FINAL

    def _accept(self, information: bytes) -> None:
        # What the meter receives (06, 08) limits what we send, what it sends (05, 07) it keeps itself.
        said = negotiated(information)
        self._send_info = max(_SMALLEST_INFO, min(self._offer.max_info_bytes, said.get(6, DEFAULT_INFO)))
        self._send_window = max(1, min(self._offer.window, said.get(8, 1)))
        self._receive_window = max(1, min(self._offer.window, said.get(7, 1)))
        self._sent = self._received = 0
        self._connected = self._usable = True

    # ---- APDUs ----

    def exchange(self, apdu: bytes, *, once: bool) -> bytes:
        """As `DataLink.exchange`."""
        if not self._usable:
            raise LinkLost("the link is not open, or its order is unknown after a loss", place=self._place)
        self._usable = False  # until the answer is here
        octets, size = hdlc.LLC_COMMAND + apdu, self._send_info
        self._carriage = _Carriage([octets[at : at + size] for at in range(0, len(octets), size)], once)
        self._carry(self._carriage)
        self._usable = True
        return self._without_llc(bytes(self._carriage.answer))

    def _carry(self, carriage: _Carriage) -> None:
        """Poll until the answer is whole; a poll that brings nothing new is one of few."""
        tries, polls, garbled, noisy = self._tries(carriage), _POLLS, 0, _NOISY
        began_s, again = self._monotonic(), False
        while not carriage.complete:
            if again and not carriage.once:
                self._give_way()
            again = True
            before = self._received
            outgoing = carriage.pieces[: self._send_window]
            self._poll_numbered(outgoing)
            taken = self._taken(len(outgoing))
            if carriage.once and taken < len(outgoing):
                raise self._loss(carriage)
            del carriage.pieces[:taken]
            self._sent = (self._sent + taken) % 8
            if taken > 0 or self._received != before:
                tries, garbled, noisy = self._tries(carriage), 0, _NOISY
            elif not outgoing and self._acknowledged == self._sent:
                polls -= 1  # all taken, and the meter works on it
            elif carriage.answer and not carriage.once and self._poller.garbled and noisy > 0:
                noisy -= 1  # the answer has begun, so this is noise, and it costs no time-out
            else:
                tries -= 1
                garbled += self._poller.garbled
            if tries <= 0 or polls <= 0 or self._crawls(carriage, self._monotonic() - began_s):
                raise self._loss(carriage, garbled=garbled == self._timing.tries > 1)
            if self._busy:
                self._poller.pause(_BUSY_PAUSE_S)

    def _poll_numbered(self, outgoing: list[bytes]) -> None:
        """One window of a request, or RR: "go on from here"."""
        self._acknowledged, self._busy = None, False
        pieces = self._carriage.pieces
        self._expected = (self._sent + len(outgoing)) % 8 if len(outgoing) == len(pieces) else None
        frames = [
            self._frame(
                hdlc.information_control((self._sent + at) % 8, self._received, poll=at + 1 == len(outgoing)),
                piece,
                segmented=at + 1 < len(pieces),
            )
            for at, piece in enumerate(outgoing)
        ]
        if not frames:
            frames = [self._frame(hdlc.receive_ready_control(self._received))]
        self._poller.poll(frames, self._take_numbered, patient=self._carriage.once)

    def _take_numbered(self, frame: Frame) -> Turn:
        """One frame of the meter.

        Raises:
            LinkLost: the meter says that there is no link (DM) or that it lost its order (FRMR).
            ReplyMalformed: an answer without end.
        """
        control = frame.control | hdlc.POLL_FINAL
        if control in _ENDED:
            name = "DM" if control == hdlc.DM else "FRMR"
            raise LinkLost(f"the meter ended the data link ({name})", place=self._place)
        if frame.is_supervisory:
            self._acknowledged, self._busy = frame.received, frame.is_busy
            return Turn.FINAL
        ahead, received = (frame.sent - self._received) % 8, frame.received
        if not frame.is_information or ahead >= self._receive_window or received != self._expected:
            return Turn.STRAY
        self._acknowledged = received  # also by one that is out of order: what went before it is asked for by RR
        if ahead == 0:
            self._append(frame)
        last = frame.control & hdlc.POLL_FINAL or self._receive_window == 1 or self._carriage.complete
        return Turn.FINAL if last else Turn.MORE

    def _append(self, frame: Frame) -> None:
        carriage = self._carriage
        self._received = (self._received + 1) % 8
        carriage.answer += frame.information
        carriage.segments += 1
        carriage.complete = not frame.segmented
        if len(carriage.answer) > _LONGEST_APDU or carriage.segments > _MOST_SEGMENTS:
            raise ReplyMalformed("an answer without end", place=self._place)

    def _taken(self, count: int) -> int:
        """How many of `count` frames sent the meter has acknowledged."""
        if self._acknowledged is None:
            return 0
        taken = (self._acknowledged - self._sent) % 8
        return taken if taken <= count else 0

    def _without_llc(self, octets: bytes) -> bytes:
        """The APDU behind the LLC header; some meters put that header twice."""
        if octets[:3] != hdlc.LLC_RESPONSE:
            raise ReplyMalformed("an answer without its LLC header", place=self._place)
        return octets[3:].removeprefix(hdlc.LLC_RESPONSE)

    def _tries(self, carriage: _Carriage) -> int:
        return 1 if carriage.once else self._timing.tries

    def _crawls(self, carriage: _Carriage, lasted_s: float) -> bool:
        """Whether the answer comes so slowly that nobody waits any longer for its end."""
        octet_s = _SLOWEST * self._timing.octet_s or _SLOWEST_S
        return lasted_s > self._timing.tries * self._timing.reply_s + octet_s * len(carriage.answer)

    def _loss(self, carriage: _Carriage, *, garbled: bool = False) -> DcuError:
        if garbled and not carriage.once:
            return self._clash(f"{self._timing.tries} garbled answers to a read")
        if not carriage.once:
            return MeterSilent(f"{self._timing.tries} tries brought no answer", place=self._place)
        fault: type[LineFault] = FrameDamaged if self._poller.garbled else ReplyLate
        return fault("the answer to a request that is sent only once was lost", place=self._place)

    def _frame(self, control: int, information: bytes = b"", *, segmented: bool = False) -> Frame:
        return Frame(self._server, self._client, control, information, segmented)
