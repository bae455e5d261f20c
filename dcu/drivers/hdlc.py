"""HDLC frames of IEC 62056-46 (frame format type 3): octets in, frames out. Pure; no I/O and no clock.

Source: Green Book 8.4; FCS is CRC-16/X.25 (ISO/IEC 13239). Both addresses stay as they stand on the wire, so that the
link can compare them octet for octet: on a shared line another meter's late reply must never pass for this meter's.
"""

import binascii
from functools import lru_cache
from typing import Final, NamedTuple

from dcu.errors import FrameDamaged

FLAG: Final = 0x7E
LLC_COMMAND: Final = b"\xe6\xe6\x00"
LLC_RESPONSE: Final = b"\xe6\xe7\x00"

SNRM: Final = 0x93
DISC: Final = 0x53
UA: Final = 0x73
DM: Final = 0x1F
FRMR: Final = 0x97
POLL_FINAL: Final = 0x10

_FORMAT_TYPE: Final = 0xA0
_SEGMENT: Final = 0x08
_LONGEST: Final = 0x7FF  # the length field has 11 bits
SHORTEST: Final = 7  # format, two one-octet addresses, control, FCS
_BUFFER_LIMIT: Final = 4 * _LONGEST  # the rest of one frame, and what a read of a port or socket brings at once
_RESIDUE: Final = 0x1D0F  # what the CRC of octets and their check sequence always is
_REVERSED: Final = bytes(int(f"{octet:08b}"[::-1], 2) for octet in range(256))


def fcs16(octets: bytes, before: int = 0xFFFF) -> bytes:
    """Frame check sequence of `octets`, two octets as they stand on the wire; `before` is the CRC of what went before.

    binascii's CRC has the same polynomial unreflected: fed with mirrored octets it gives the mirrored FCS, 20 times
    faster than a table in Python.
    """
    mirrored = binascii.crc_hqx(octets.translate(_REVERSED), before) ^ 0xFFFF
    return mirrored.to_bytes(2, "big").translate(_REVERSED)


def client_address(sap: int) -> bytes:
    """HDLC address of a client: always one octet. Raises ValueError outside 1..127."""
    if not 0 < sap <= 0x7F:
        raise ValueError(f"client SAP {sap} is not in 1..127")
    return bytes([sap << 1 | 1])


def server_address(logical: int, physical: int, octets: int = 0) -> bytes:
    """HDLC address of a meter in 1, 2 or 4 octets; 0: as few as hold it. One octet has no physical address.

    Raises:
        ValueError: a part does not fit into its 7 bits, or 14 of four octets.
    """
    few = 4 if max(logical, physical) > 0x7F else 1 if physical == 0 else 2
    size, most = octets or few, 0x3FFF if octets in {0, 4} else 0x7F
    if size not in {1, 2, 4} or not (0 < logical <= most and 0 <= physical <= (0 if size == 1 else most)):
        raise ValueError(f"HDLC address {logical}/{physical} does not fit into {octets or 4} octets")
    if size == 1:
        return bytes([logical << 1 | 1])
    if size == 2:
        return bytes([logical << 1, physical << 1 | 1])
    return bytes([logical >> 6 & 0xFE, logical << 1 & 0xFE, physical >> 6 & 0xFE, (physical << 1 & 0xFE) | 1])


class Frame(NamedTuple):
    """One frame between its flags.

    Attributes:
        destination, source: addresses as encoded, 1, 2 or 4 octets.
        control: control octet.
        information: information field; empty where the frame has none.
        segmented: more segments of the same information follow.
    """

    destination: bytes
    source: bytes
    control: int
    information: bytes = b""
    segmented: bool = False

    @property
    def is_information(self) -> bool:
        """An I frame."""
        return self.control & 0x01 == 0

    @property
    def is_supervisory(self) -> bool:
        """RR, RNR or REJ."""
        return self.control & 0x03 == 0x01

    @property
    def is_busy(self) -> bool:
        """RNR: the meter cannot take frames now."""
        return self.control & 0x0F == 0x05

    @property
    def sent(self) -> int:
        """N(S) of an I frame."""
        return self.control >> 1 & 0x07

    @property
    def received(self) -> int:
        """N(R) of an I or S frame: the number that the sender expects next."""
        return self.control >> 5

    def encode(self) -> bytes:
        """The frame as it stands on the wire, both flags included. Raises ValueError when it is too long."""
        size = len(self.information)
        if not size:
            head = _head(self.destination, self.source, self.control, 0, self.segmented)
            return b"\x7e" + head + b"\x7e"
        head = _head(self.destination, self.source, self.control, size + 2, self.segmented)
        # Behind the header and its own check sequence the CRC always stands at the same constant.
        return b"\x7e" + head + self.information + fcs16(self.information, _RESIDUE) + b"\x7e"


@lru_cache(maxsize=256)
def _head(destination: bytes, source: bytes, control: int, behind: int, segmented: bool) -> bytes:
    """A frame up to its first check sequence, `behind` octets of it not counted. Raises ValueError when too long."""
    addresses = destination + source
    length = 2 + len(addresses) + 1 + 2 + behind
    if length > _LONGEST:
        raise ValueError(f"a frame of {length} octets does not fit into 11 bits")
    head = bytes((_FORMAT_TYPE | (_SEGMENT if segmented else 0) | length >> 8, length & 0xFF))
    head += addresses + bytes((control,))
    return head + fcs16(head)


def information_control(sent: int, received: int, *, poll: bool = True) -> int:
    """Control octet of an I frame; with the poll bit the meter is to answer."""
    return received << 5 | (POLL_FINAL if poll else 0) | sent << 1


def receive_ready_control(received: int) -> int:
    """Control octet of an RR with the poll bit."""
    return received << 5 | POLL_FINAL | 0x01


def decode(octets: bytes) -> Frame:
    """The frame whose octets, without flags, these are.

    Raises:
        FrameDamaged: bad FCS or HCS, a length that is not the frame's, an address that does not end.
    """
    size = len(octets)
    if size < SHORTEST or octets[0] & 0xF0 != _FORMAT_TYPE:
        raise FrameDamaged(f"{size} octets are no HDLC frame")
    if ((octets[0] & 0x07) << 8 | octets[1]) != size:
        raise FrameDamaged("the frame's length field is not its length")
    mirrored = octets.translate(_REVERSED)
    if binascii.crc_hqx(mirrored, 0xFFFF) != _RESIDUE:
        raise FrameDamaged("bad FCS")
    destination = octets[2:3] if octets[2] & 0x01 else _address(octets, 2)  # a client's is one octet
    source = _address(octets, 2 + len(destination))
    control_at = 2 + len(destination) + len(source)
    info_at = control_at + 3
    segmented = octets[0] & _SEGMENT != 0
    if info_at == size:
        return Frame(destination, source, octets[control_at], b"", segmented)
    if info_at > size:
        raise FrameDamaged("the frame ends inside its header")
    if binascii.crc_hqx(mirrored[:info_at], 0xFFFF) != _RESIDUE or info_at + 2 > size:
        raise FrameDamaged("bad HCS")
    return Frame(destination, source, octets[control_at], octets[info_at:-2], segmented)


def _address(octets: bytes, at: int) -> bytes:
    """The address that begins at `at`: its last octet has the lowest bit set."""
    ends = len(octets) - 2
    if at < ends and octets[at] & 0x01:
        return octets[at : at + 1]
    if at + 1 < ends and octets[at + 1] & 0x01:
        return octets[at : at + 2]
    if at + 3 < ends and octets[at + 3] & 0x01 and not octets[at + 2] & 0x01:
        return octets[at : at + 4]
    raise FrameDamaged("an address that does not end")


class FrameReader:
    """Finds frames in whatever comes over a line; bounded, whatever that is.

    A damaged frame, noise or a false start costs itself only: the search goes on one octet later.

    Attributes:
        damaged: frames with a closing flag at the right place and a bad check sequence, since the last `clear`.
        discarded: octets other than flags that led to no frame, since the last `clear`.
    """

    def __init__(self) -> None:
        self._octets = bytearray()
        self.damaged = 0
        self.discarded = 0

    def clear(self) -> None:
        """Forget everything: what came belongs to an earlier exchange."""
        self._octets.clear()
        self.damaged = 0
        self.discarded = 0

    def feed(self, chunk: bytes) -> None:
        """Append what came; beyond the limit the oldest octets are dropped."""
        self._octets += chunk
        if len(self._octets) > _BUFFER_LIMIT:
            self._drop(len(self._octets) - _BUFFER_LIMIT)

    def __len__(self) -> int:
        return len(self._octets)

    def next_frame(self, *, silence: bool = False) -> Frame | None:
        """The next whole frame, or None when more octets are needed.

        Args:
            silence: the line is quiet, so that a frame still incomplete never was one: look behind its start.
        """
        octets = self._octets
        while octets:
            if octets[0] != FLAG:
                start = octets.find(FLAG)
                self._drop(start if start > 0 else len(octets))
                continue
            need = self._needed()
            if 0 < need <= len(octets):
                frame = self._whole(need)
                if frame is not None:
                    return frame
            elif need > 0 and not silence:
                return None
            del octets[0]  # the flag; what stands behind it may be the start of a frame itself
        return None

    def _drop(self, count: int) -> None:
        self.discarded += count - self._octets.count(FLAG, 0, count)
        del self._octets[:count]

    def _needed(self) -> int:
        """Octets of the frame at the start, flags included; 3 where even that is unknown; 0 where none begins."""
        octets = self._octets
        size = len(octets)
        if size > 1 and octets[1] & 0xF0 != _FORMAT_TYPE:
            return 0
        if size < 3:
            return 3
        length = (octets[1] & 0x07) << 8 | octets[2]
        return length + 2 if length >= SHORTEST else 0

    def _whole(self, need: int) -> Frame | None:
        octets = self._octets
        if need <= 3 or octets[need - 1] != FLAG:
            return None
        try:
            frame = decode(bytes(octets[1 : need - 1]))
        except FrameDamaged:
            self.damaged += 1
            return None
        del octets[: need - 1]  # the closing flag may open the next frame
        return frame
