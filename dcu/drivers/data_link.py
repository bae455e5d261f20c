"""What a data link is to the application layer, and the time that its exchanges may take."""

from dataclasses import dataclass
from typing import Final, Protocol, Self

LONGEST_WINDOW_S: Final = 2.5
"""One HDLC window on the wire at most, so that a relay errand never waits longer for the line."""
DEFAULT_INFO: Final = 128  # octets both ways, where nothing is negotiated (Green Book 8.4.5.3.2)
_SHORTEST_INFO: Final = 32
_LONGEST_INFO: Final = 2030
_LONGEST_WINDOW: Final = 7
_FRAME_OCTETS: Final = 16  # of a frame beside its information: flags, format, addresses, control, two check sequences


@dataclass(frozen=True, slots=True)
class HdlcOffer:
    """What SNRM proposes, the same both ways; the meter may answer with less.

    Attributes:
        max_info_bytes: information field, octets, 32..2030.
        window: frames before an acknowledgement, 1..7.
    """

    max_info_bytes: int = DEFAULT_INFO
    window: int = 1

    def __post_init__(self) -> None:
        if not (_SHORTEST_INFO <= self.max_info_bytes <= _LONGEST_INFO and 1 <= self.window <= _LONGEST_WINDOW):
            raise ValueError(f"no HDLC link has {self.max_info_bytes} octets a frame and a window of {self.window}")


@dataclass(frozen=True, slots=True)
class LineTiming:
    """Deadlines of one line, in seconds.

    Attributes:
        first_octet_s: until the answer begins. Field meters are known to need more than 8 s for a block-load row.
        octet_gap_s: silence inside an answer that ends it. Wider than the standard's 25 ms: USB adapters hand over in
            bursts of 16 ms and more.
        reply_s: bound on one answer as a whole, against a line that never falls silent.
        tries: how often a read exchange is sent in all; a SET or an ACTION is sent once whatever this says.
        octet_s: one octet on the wire; 0 on a link that has no pace of its own (TCP).
        first_tries: how often a first request that nobody answers is sent; 0: as any other.
    """

    first_octet_s: float = 3.0
    octet_gap_s: float = 0.3
    reply_s: float = 6.0
    tries: int = 3
    octet_s: float = 0.0
    first_tries: int = 0

    @classmethod
    def at_baud(cls, baud: int, *, first_octet_s: float = 3.0, tries: int = 3) -> Self:
        """Timing of a serial line: 10 bits an octet; an answer is one window of `hdlc_offer`, or one default frame."""
        octet_s = 10 / baud
        gap_s = 0.25 + 20 * octet_s
        window_s = max(LONGEST_WINDOW_S, DEFAULT_INFO * octet_s) + _LONGEST_WINDOW * _FRAME_OCTETS * octet_s
        return cls(first_octet_s, gap_s, first_octet_s + window_s + gap_s, tries, octet_s)

    @classmethod
    def over_tcp(cls, *, first_octet_s: float = 3.0, tries: int = 3) -> Self:
        """Timing of a connection: a network may pause inside an answer, and TCP loses nothing of it."""
        return cls(first_octet_s, min(2.0, first_octet_s), 2.0 * first_octet_s, tries)

    def hdlc_offer(self, max_info_bytes: int, window: int) -> HdlcOffer:
        """What may be offered on this line, where a meter's model allows so much.

        A window takes `LONGEST_WINDOW_S` at most. Long frames come first, since they have the least overhead: at 9600
        baud 1 x 2030 or 7 x 342 octets, at 1200 baud 1 x 300.
        """
        room = int(LONGEST_WINDOW_S / self.octet_s + 1e-9) if self.octet_s else _LONGEST_WINDOW * _LONGEST_INFO
        info = max(_SHORTEST_INFO, min(max_info_bytes, room, _LONGEST_INFO))
        return HdlcOffer(info, max(1, min(window, room // info, _LONGEST_WINDOW)))


class DataLink(Protocol):
    """Carries whole APDUs to one meter and back."""

    def open(self) -> None:
        """Connect. Raises MeterSilent, EchoHeard, AddressClash, LinkLost, BusFault."""
        ...

    def exchange(self, apdu: bytes, *, once: bool) -> bytes:
        """Send `apdu`, return the meter's answer.

        Args:
            apdu: whole, as the application layer made it.
            once: a loss of any kind is a fault at once; the APDU is never sent a second time.

        Raises:
            MeterSilent: no try of a read was answered.
            AddressClash: every try of a read was answered, and every answer garbled.
            LineFault: `once`, and the answer was lost or garbled: nobody knows whether the meter acted.
            LinkLost: the meter ended the link, or a loss before left it in an unknown state.
            BusFault: the port is gone.
        """
        ...

    def keep_alive(self) -> bool:
        """Whether the meter still holds the link, asked with the shortest exchange there is; its idle time begins anew.

        False: it does not answer, the link is not in use, or this kind of link has nothing to ask with.

        Raises:
            LinkLost: the meter ended the link.
            BusFault: the port is gone.
        """
        ...

    def settle(self) -> None:
        """Before what is sent once: let the line fall silent, since whoever talks on would ruin it. A second at most.

        Raises:
            LinkLost: the meter ended the link.
            BusFault: the port is gone.
        """
        ...

    def close(self) -> None:
        """End the link; brief, quiet and idempotent."""
        ...
