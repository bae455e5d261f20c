"""HDLC frames, format type 3 (IEC 62056-46; Green Book 8.4): octets in, frames out, and back."""

import binascii
from dataclasses import dataclass
from typing import Final

from dcu.sim.errors import Malformed

FLAG: Final = 0x7E
_REVERSED: Final = bytes(int(f"{octet:08b}"[::-1], 2) for octet in range(256))

SNRM, DISC, UA, DM, FRMR, UI = 0x83, 0x43, 0x63, 0x0F, 0x87, 0x03
"""Control octets of unnumbered frames with the P/F bit (0x10) cleared."""
POLL: Final = 0x10


def fcs(octets: bytes) -> bytes:
    """The 16-bit frame check sequence, as sent (ISO/IEC 13239; RFC 1662 appendix C)."""
    crc = binascii.crc_hqx(octets.translate(_REVERSED), 0xFFFF) ^ 0xFFFF
    return bytes([_REVERSED[crc >> 8], _REVERSED[crc & 0xFF]])


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame that passed both check sequences.

    Attributes:
        destination, source: address fields as sent, 1, 2 or 4 octets with the extension bits.
        control: control octet.
        information: information field, maybe empty.
        segmented: more of the same APDU follows.
    """

    destination: bytes
    source: bytes
    control: int
    information: bytes = b""
    segmented: bool = False

    @property
    def poll(self) -> bool:
        """Poll (from the client) or final (from the meter) bit."""
        return bool(self.control & POLL)

    def octets(self) -> bytes:
        """As sent, flags included."""
        head = self.destination + self.source + bytes([self.control])
        size = 2 + len(head) + 2 + (len(self.information) + 2 if self.information else 0)
        if size > 0x7FF:
            raise Malformed(f"frame of {size} octets")
        body = (0xA000 | (0x800 if self.segmented else 0) | size).to_bytes(2, "big") + head
        body += fcs(body)
        if self.information:
            body += self.information
            body += fcs(body)
        return bytes([FLAG]) + body + bytes([FLAG])


def server_address(upper: int, lower: int, size: int) -> bytes:
    """Address field of a meter: `upper` logical device, `lower` physical device (absent in one octet).

    Raises:
        Malformed: a part that does not fit its octets.
    """
    if size == 1 and 0 <= upper < 0x80:
        return bytes([upper << 1 | 1])
    if size == 2 and 0 <= upper < 0x80 and 0 <= lower < 0x80:
        return bytes([upper << 1, lower << 1 | 1])
    if size == 4 and 0 <= upper < 0x4000 and 0 <= lower < 0x4000:
        return bytes([upper >> 7 << 1, (upper & 0x7F) << 1, lower >> 7 << 1, (lower & 0x7F) << 1 | 1])
    raise Malformed(f"address {upper}/{lower} does not fit {size} octets")


def _address(octets: bytes) -> bytes:
    for size in (1, 2, 4):
        if len(octets) >= size and octets[size - 1] & 1:
            if any(octet & 1 for octet in octets[: size - 1]):
                break
            return octets[:size]
    raise Malformed("no address field")


def parse(body: bytes) -> Frame:
    """The frame between two flags.

    Raises:
        Malformed: format, length, address or a check sequence is wrong.
    """
    if len(body) < 7 or body[0] >> 4 != 0xA or int.from_bytes(body[:2], "big") & 0x7FF != len(body):
        raise Malformed("frame format")
    if fcs(body[:-2]) != body[-2:]:
        raise Malformed("frame check sequence")
    destination = _address(body[2:])
    source = _address(body[2 + len(destination) :])
    at = 2 + len(destination) + len(source)
    if at + 3 > len(body):
        raise Malformed("no control field")
    information = b""
    if at + 3 < len(body):
        if len(body) < at + 6 or fcs(body[: at + 1]) != body[at + 1 : at + 3]:
            raise Malformed("header check sequence")
        information = body[at + 3 : -2]
    return Frame(destination, source, body[at], information, bool(body[0] & 0x08))


class Deframer:
    """Finds frames in a stream of octets, however it is cut; noise between them is passed over.

    The length field decides where a frame ends, since 0x7E may occur inside it. A start that leads to no frame costs
    one octet: the search goes on behind it.
    """

    def __init__(self, limit: int = 0x7FF) -> None:
        self._buffer = bytearray()
        self._limit = limit

    def clear(self) -> None:
        """Forget a beginning that will not be continued."""
        self._buffer.clear()

    def feed(self, octets: bytes) -> list[Frame]:
        """Whole frames that `octets` completed."""
        self._buffer += octets
        frames = []
        while (body := self._next()) is not None:
            try:
                frames.append(parse(body))
                del self._buffer[: len(body) + 1]  # the closing flag may open the next frame
            except Malformed:
                del self._buffer[0]
        return frames

    def _next(self) -> bytes | None:
        """What stands between the first flag and where its length field puts the other one; None: more needed."""
        buffer = self._buffer
        while True:
            start = buffer.find(FLAG)
            if start < 0:
                buffer.clear()
                return None
            del buffer[:start]
            if len(buffer) < 3:
                if len(buffer) == 2 and buffer[1] >> 4 != 0xA:
                    del buffer[0]
                    continue
                return None
            size = int.from_bytes(buffer[1:3], "big") & 0x7FF
            if buffer[1] >> 4 != 0xA or not 7 <= size <= self._limit:
                del buffer[0]
                continue
            if len(buffer) < size + 2:
                return None
            if buffer[size + 1] != FLAG:
                del buffer[0]
                continue
            return bytes(buffer[1 : size + 1])
