"""What a data link is to the application layer, and the time that its exchanges may take."""

from dataclasses import dataclass
from typing import Protocol, Self


@dataclass(frozen=True, slots=True)
class LineTiming:
    """Deadlines of one line, in seconds.

    Attributes:
        first_octet_s: until the answer begins. Field meters are known to need more than 8 s for a block-load row.
        octet_gap_s: silence inside an answer that ends it. Wider than the standard's 25 ms: USB adapters hand over in
            bursts of 16 ms and more.
        reply_s: bound on one answer as a whole, against a line that never falls silent.
        tries: how often a read exchange is sent in all; a SET or an ACTION is sent once whatever this says.
    """

    first_octet_s: float = 3.0
    octet_gap_s: float = 0.3
    reply_s: float = 6.0
    tries: int = 3

    @classmethod
    def at_baud(cls, baud: int, *, first_octet_s: float = 3.0, tries: int = 3) -> Self:
        """Timing of a serial line: 10 bits an octet, the longest frame of 2049 octets."""
        octet_s = 10 / baud
        gap_s = 0.25 + 20 * octet_s
        return cls(first_octet_s, gap_s, first_octet_s + 2049 * octet_s + gap_s, tries)


class DataLink(Protocol):
    """Carries whole APDUs to one meter and back."""

    def open(self) -> None:
        """Connect. Raises MeterSilent, LinkLost, BusFault."""
        ...

    def exchange(self, apdu: bytes, *, once: bool) -> bytes:
        """Send `apdu`, return the meter's answer.

        Args:
            apdu: whole, as the application layer made it.
            once: a loss of any kind is a fault at once; the APDU is never sent a second time.

        Raises:
            MeterSilent: no try of a read was answered.
            LineFault: `once`, and the answer was lost or garbled: nobody knows whether the meter acted.
            LinkLost: the meter ended the link, or a loss before left it in an unknown state.
            BusFault: the port is gone.
        """
        ...

    def close(self) -> None:
        """End the link; brief, quiet and idempotent."""
        ...
