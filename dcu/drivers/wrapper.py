"""The TCP wrapper of DLMS/COSEM: an 8-octet header before each APDU. Source: Green Book 7.3.3.

TCP neither loses nor garbles, so nothing is ever sent twice here: an answer that does not come in time is a silent
meter, and whatever comes after it would be taken for the answer to something else, so the link is closed to use.
"""

from collections.abc import Callable
from typing import Final

from dcu.drivers.data_link import LineTiming
from dcu.errors import FrameDamaged, LinkLost, MeterSilent, ReplyLate
from dcu.ports import ByteLink

HEADER: Final = 8
_VERSION: Final = 1
_LONGEST_APDU: Final = 0xFFFF
_UNASKED: Final = frozenset({b"\x0f", b"\xc2", b"\xca", b"\xd2"})
"""Tags of data and event notifications, clear and ciphered: a meter may push them on the connection that asks it."""


def encode(source: int, destination: int, apdu: bytes) -> bytes:
    """`apdu` behind its header. Raises ValueError when it has more than 65535 octets."""
    if len(apdu) > _LONGEST_APDU:
        raise ValueError(f"an APDU of {len(apdu)} octets does not fit into the wrapper")
    words = (_VERSION, source, destination, len(apdu))
    return b"".join(word.to_bytes(2, "big") for word in words) + apdu


def decode_header(octets: bytes) -> tuple[int, int, int]:
    """(source, destination, length) of an 8-octet header.

    Raises:
        FrameDamaged: not 8 octets, or another version.
    """
    if len(octets) != HEADER:
        raise FrameDamaged(f"a wrapper header has {HEADER} octets, not {len(octets)}")
    version, source, destination, length = (int.from_bytes(octets[at : at + 2], "big") for at in (0, 2, 4, 6))
    if version != _VERSION:
        raise FrameDamaged(f"wrapper version {version}, not {_VERSION}")
    return source, destination, length


class WrapperLink:
    """The wrapper over one connection. Satisfies `DataLink`."""

    def __init__(
        self, link: ByteLink, client: int, server: int, timing: LineTiming, monotonic: Callable[[], float], place: str
    ) -> None:
        self._link = link
        self._client = client
        self._server = server
        self._timing = timing
        self._monotonic = monotonic
        self._place = place
        self._octets = bytearray()
        self._usable = True

    def open(self) -> None:
        """Nothing to do: the connection is the link."""

    def exchange(self, apdu: bytes, *, once: bool) -> bytes:
        """As `DataLink.exchange`; sent once in any case."""
        if not self._usable:
            raise LinkLost("the connection's order is unknown after a loss", place=self._place)
        self._usable = False  # until the answer is here
        self._octets.clear()  # a second answer in the segment of the first belongs to nobody
        self._link.flush_input()
        self._link.send(encode(self._client, self._server, apdu))
        answer = self._answer()
        if answer is None:
            cause = f"no answer in {self._timing.first_octet_s:g} s"
            raise ReplyLate(cause, place=self._place) if once else MeterSilent(cause, place=self._place)
        self._usable = True
        return answer

    def keep_alive(self) -> bool:
        """Always False: the wrapper has nothing to ask with but an APDU."""
        return False

    def settle(self) -> None:
        """Nothing to do: nobody else is on the connection."""

    def close(self) -> None:
        """Nothing to do: whoever opened the connection closes it."""

    def _answer(self) -> bytes | None:
        """The first APDU from this meter to this client; None when time is up."""
        now = self._monotonic()
        limit = now + self._timing.reply_s + self._timing.first_octet_s
        while True:
            header = self._take(HEADER, limit)
            if header is None:
                return None
            try:
                source, destination, length = decode_header(header)
            except FrameDamaged as fault:
                raise LinkLost(f"not a wrapper: {fault.cause}", place=self._place) from fault
            apdu = self._take(length, limit)
            if apdu is None:
                return None
            if (source, destination) == (self._server, self._client) and apdu[:1] not in _UNASKED:
                return apdu

    def _take(self, count: int, limit_s: float) -> bytes | None:
        deadline = min(limit_s, self._monotonic() + self._timing.first_octet_s)
        while len(self._octets) < count:
            chunk = self._link.receive(deadline)
            if not chunk or self._monotonic() > limit_s:  # a peer that never stops is as good as silent
                return None
            self._octets += chunk
        taken = bytes(self._octets[:count])
        del self._octets[:count]
        return taken
