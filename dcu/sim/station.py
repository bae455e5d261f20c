"""The meter's end of the HDLC data link: a secondary station in normal response mode, sans-IO (Green Book 8.4).

It speaks only when polled, and only to frames of its own address: others are not seen at all. Each client address has
a link of its own, as each has its own application association. Garbage and bad check sequences are met with silence.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Protocol

from dcu.sim import hdlc
from dcu.sim.axdr import Reader
from dcu.sim.errors import Malformed
from dcu.sim.hdlc import Deframer, Frame
from dcu.sim.link_faults import LinkFaults

LLC_COMMAND: Final = b"\xe6\xe6\x00"
LLC_RESPONSE: Final = b"\xe6\xe7\x00"
_INTER_OCTET_S: Final = 0.15
"""A frame that stops for so long is not continued; wider than the standard's 25 ms, as meters of the field are."""

_INVALID_COMMAND, _INFO_NOT_ALLOWED, _INFO_TOO_LONG, _INVALID_NR = 1, 2, 4, 8


class Session(Protocol):
    """What lives on a link: APDU in, APDU out, None for no answer."""

    def respond(self, apdu: bytes) -> bytes | None:
        """Answer one request APDU."""
        ...


@dataclass(frozen=True, slots=True)
class StationLimits:
    """What the meter offers in UA: information field octets and window, each way, and when an idle link falls."""

    max_info_tx: int = 128
    max_info_rx: int = 128
    window_tx: int = 1
    window_rx: int = 1
    inactivity_s: float = 120.0


@dataclass(slots=True)
class _Link:
    """One open data link. V(S), V(R) and the frames sent but not acknowledged, counted from V(A)."""

    session: Session
    client: bytes
    max_info_tx: int
    window_tx: int
    heard_at: float
    send: int = 0
    receive: int = 0
    unsent: list[bytes] = field(default_factory=list)
    unacknowledged: list[tuple[bytes, bool]] = field(default_factory=list)
    assembled: bytearray = field(default_factory=bytearray)

    @property
    def acknowledged(self) -> int:
        """V(A): the oldest N(S) that the client has not acknowledged."""
        return (self.send - len(self.unacknowledged)) % 8


class Station:
    """One meter on a line.

    Args:
        address: its HDLC address field.
        open_session: a new session for a client address; called at each SNRM.
        limits: what it offers.
        faults: what it gets wrong.
    """

    def __init__(
        self,
        address: bytes,
        open_session: Callable[[int], Session],
        limits: StationLimits,
        faults: LinkFaults | None = None,
    ) -> None:
        self.address = address
        self._open_session = open_session
        self._limits = limits
        self._faults = faults or LinkFaults()
        self._deframer = Deframer(limit=limits.max_info_rx + 32)
        self._links: dict[bytes, _Link] = {}
        self._octet_at = 0.0

    def receive(self, octets: bytes, now: float) -> list[bytes]:
        """Octets off the line at `now` (seconds on any steady clock); the frames to be sent in answer."""
        if now - self._octet_at > _INTER_OCTET_S:
            self._deframer.clear()
        self._octet_at = now
        answers: list[Frame] = []
        for frame in self._deframer.feed(octets):
            if frame.destination == self.address and len(frame.source) == 1:
                answers += self._answer(frame, now)
        return [frame.octets() for frame in answers]

    def is_connected(self, now: float) -> bool:
        """Whether any client holds a link."""
        return any(now - link.heard_at <= self._limits.inactivity_s for link in self._links.values())

    def disconnect_all(self) -> None:
        """As after a power cut: every link is gone."""
        self._links.clear()

    def _answer(self, frame: Frame, now: float) -> list[Frame]:
        link = self._links.get(frame.source)
        if link and now - link.heard_at > self._limits.inactivity_s:
            del self._links[frame.source]
            link = None
        if link:
            link.heard_at = now
        kind = frame.control & ~hdlc.POLL
        if kind == hdlc.SNRM and frame.poll:
            if self._faults.exclusive and self.is_connected(now):
                return [self._unnumbered(frame.source, hdlc.DM)]
            return self._connect(frame, now)
        if kind == hdlc.UI:
            return []
        if link is None:
            return [self._unnumbered(frame.source, hdlc.DM)] if frame.poll else []
        if kind == hdlc.DISC:
            del self._links[frame.source]
            return [self._unnumbered(frame.source, hdlc.UA)]
        return self._numbered(link, frame)

    def _numbered(self, link: _Link, frame: Frame) -> list[Frame]:
        if frame.control & 1 == 0:
            return self._information(link, frame)
        if frame.control & 0x0F == 0x01:
            return self._ready(link, frame)
        if frame.control & 0x0F == 0x05:
            return [self._supervisory(link)] if frame.poll else []  # the client cannot take more now
        return self._reject(link, frame, _INVALID_COMMAND)

    # ---- connection -------------------------------------------------------------------------------------------------

    def _connect(self, frame: Frame, now: float) -> list[Frame]:
        try:
            asked = _negotiation(frame.information)
        except Malformed:
            return [self._unnumbered(frame.source, hdlc.DM)]
        limits = self._limits
        # The client's transmit is our receive (Green Book 8.4.5.3.2): each value goes down, never up.
        info_tx = min(limits.max_info_tx, asked.get(6, 128))
        info_rx = min(limits.max_info_rx, asked.get(5, 128))
        window_tx = min(limits.window_tx, asked.get(8, 1))
        window_rx = min(limits.window_rx, asked.get(7, 1))
        if min(info_tx, info_rx, window_tx, window_rx) < 1:
            return [self._unnumbered(frame.source, hdlc.DM)]
        session = self._open_session(frame.source[0] >> 1)
        if self._faults.bare_ua:
            self._links[frame.source] = _Link(session, frame.source, min(info_tx, 128), 1, now)
            return [self._unnumbered(frame.source, hdlc.UA)]
        self._links[frame.source] = _Link(session, frame.source, info_tx, window_tx, now)
        granted = b"".join(
            bytes([code, size]) + value.to_bytes(size, "big")
            for code, size, value in (
                (5, 2 if info_tx > 0xFF else 1, info_tx),
                (6, 2 if info_rx > 0xFF else 1, info_rx),
                (7, 4, window_tx),
                (8, 4, window_rx),
            )
        )
        return [self._unnumbered(frame.source, hdlc.UA, b"\x81\x80" + bytes([len(granted)]) + granted)]

    def _unnumbered(self, client: bytes, kind: int, information: bytes = b"") -> Frame:
        return Frame(client, self.address, kind | hdlc.POLL, information)

    def _reject(self, link: _Link, frame: Frame, reason: int) -> list[Frame]:
        """FRMR: the link cannot go on, only SNRM or DISC mends it (ISO/IEC 13239 5.5.3.4.2)."""
        state = link.receive << 5 | hdlc.POLL | link.send << 1
        return [self._unnumbered(link.client, hdlc.FRMR, bytes([frame.control, state, reason]))]

    # ---- numbered frames --------------------------------------------------------------------------------------------

    def _acknowledge(self, link: _Link, frame: Frame) -> bool:
        """Take N(R); False when it acknowledges what was never sent."""
        count = ((frame.control >> 5) - link.acknowledged) % 8
        if count > len(link.unacknowledged):
            return False
        del link.unacknowledged[:count]
        return True

    def _ready(self, link: _Link, frame: Frame) -> list[Frame]:
        if frame.information:
            return self._reject(link, frame, _INFO_NOT_ALLOWED)
        if not self._acknowledge(link, frame):
            return self._reject(link, frame, _INVALID_NR)
        return self._speak(link) if frame.poll else []

    def _information(self, link: _Link, frame: Frame) -> list[Frame]:
        if len(frame.information) > self._limits.max_info_rx:
            return self._reject(link, frame, _INFO_TOO_LONG)
        if not self._acknowledge(link, frame):
            return self._reject(link, frame, _INVALID_NR)
        if (frame.control >> 1) & 7 == link.receive and not link.unacknowledged:
            link.receive = (link.receive + 1) % 8
            self._assemble(link, frame)
        # Else it is one that was taken before (its answer was lost: send that again), or one out of order (N(R)
        # in what we send says which one is wanted).
        return self._speak(link) if frame.poll else []

    def _assemble(self, link: _Link, frame: Frame) -> None:
        link.assembled += frame.information
        if len(link.assembled) > 0x10000:
            link.assembled.clear()
        if frame.segmented:
            return
        message = bytes(link.assembled)
        link.assembled.clear()
        if message[:3] != LLC_COMMAND:
            return
        answer = link.session.respond(message[3:])
        if answer is None:
            return
        whole = LLC_RESPONSE * (2 if self._faults.double_llc else 1) + answer
        step = link.max_info_tx
        link.unsent = [whole[at : at + step] for at in range(0, len(whole), step)]

    def _speak(self, link: _Link) -> list[Frame]:
        """Repeat what is not acknowledged; else the next window of segments; else RR."""
        if not link.unacknowledged:
            window, link.unsent = link.unsent[: link.window_tx], link.unsent[link.window_tx :]
            more = len(link.unsent)
            link.unacknowledged = [(part, bool(more) or at + 1 < len(window)) for at, part in enumerate(window)]
            link.send = (link.send + len(window)) % 8
        if not link.unacknowledged:
            return [self._supervisory(link)]
        frames = []
        for at, (part, segmented) in enumerate(link.unacknowledged):
            number = (link.acknowledged + at) % 8
            last = at + 1 == len(link.unacknowledged)
            control = link.receive << 5 | (hdlc.POLL if last else 0) | number << 1
            frames.append(Frame(link.client, self.address, control, part, segmented))
        return frames

    def _supervisory(self, link: _Link) -> Frame:
        return Frame(link.client, self.address, link.receive << 5 | hdlc.POLL | 0x01)


def _negotiation(information: bytes) -> dict[int, int]:
    """Parameters of an SNRM by their code: 5 and 6 information field, 7 and 8 window; transmit before receive."""
    if not information:
        return {}
    reader = Reader(information)
    if reader.octet() != 0x81 or reader.octet() != 0x80:
        raise Malformed("format or group identifier")
    reader = Reader(reader.counted())
    asked = {}
    while reader.left:
        code = reader.octet()
        asked[code] = int.from_bytes(reader.counted(), "big")
    return asked


class HdlcPort:
    """One TCP connection to one meter that speaks HDLC on it: a station of its own.

    Args:
        station: the meter's end.
        now: seconds of a steady clock.
        said: what becomes of its frames on their way out.
    """

    def __init__(self, station: Station, now: Callable[[], float], said: Callable[[list[bytes]], list[bytes]]) -> None:
        self._station = station
        self._now = now
        self._said = said

    def receive(self, octets: bytes) -> list[bytes] | None:
        """Octets off the connection; the frames to send in answer. Never None: noise is met with silence."""
        return self._said(self._station.receive(octets, self._now()))
