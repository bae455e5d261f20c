"""Knocking at addresses of a line where nobody knows who is there: one SNRM, and all that comes back.

A link to a known meter takes the first right answer and leaves the rest; here the rest is the news: a second answer, a
garbled one, our own frame. Source: Green Book 8.4, reference/is15959.md 1.3.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from dcu import obis
from dcu.drivers import acse, get_request, hdlc, reply
from dcu.drivers.hdlc import SHORTEST, Frame, FrameReader
from dcu.errors import DcuError
from dcu.meter import AttributeRef, ClassId, Mechanism
from dcu.ports import ByteLink

PUBLIC_CLIENT: Final = 16
PHYSICAL: Final = range(16, 16384)
"""Physical addresses that a meter may have; 0 here is the logical device alone, in one octet."""

_SERIAL: Final = AttributeRef(ClassId.DATA, obis.SERIAL_NUMBER, 2)
_GAP_S: Final = 0.05
_OCTETS_AT_MOST: Final = 4096
_PDU: Final = 0xFFFF


@dataclass(frozen=True, slots=True)
class Door:
    """Where to knock.

    Attributes:
        address: physical HDLC address, 0 for the logical device alone.
        server_sap: logical device.
        octet_s: one octet on the wire, seconds.
        answer_s: until an answer begins, and after each one for the next.
    """

    address: int
    server_sap: int = 1
    octet_s: float = 10 / 9600
    answer_s: float = 0.3

    @property
    def server(self) -> bytes:
        """Address octets of who may be behind it."""
        return hdlc.server_address(self.server_sap, self.address, 1 if self.address == 0 else 0)


@dataclass(frozen=True, slots=True)
class Knocked:
    """What came back.

    Attributes:
        accepted: meters that took the link (UA).
        refused: meters that said that they have none (DM, FRMR).
        garbled: octets came that were no frame.
        echo: our own frame came back.
        stray: frames of other addresses.
    """

    accepted: int = 0
    refused: int = 0
    garbled: bool = False
    echo: bool = False
    stray: int = 0

    @property
    def anybody(self) -> bool:
        """Something that is not ourselves."""
        return self.accepted + self.refused + self.stray > 0 or self.garbled


class Knocker:
    """Knocks over a borrowed line. One thread.

    Args:
        link: the line.
        monotonic: seconds that never go back.

    Attributes:
        garbled: the last answer came, and was no frame.
    """

    def __init__(self, link: ByteLink, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._link = link
        self._monotonic = monotonic
        self._reader = FrameReader()
        self._client = hdlc.client_address(PUBLIC_CLIENT)
        self.garbled = False

    def knock(self, door: Door) -> Knocked:
        """SNRM, and all answers to it. Raises BusFault, LinkLost."""
        frames, sent = self._say(door, hdlc.SNRM)
        own, others = self._sorted(door, frames)
        controls = [frame.control | hdlc.POLL_FINAL for frame in own]
        return Knocked(
            accepted=controls.count(hdlc.UA),
            refused=controls.count(hdlc.DM) + controls.count(hdlc.FRMR),
            garbled=self.garbled,
            echo=sent in others,
            stray=len([frame for frame in others if frame != sent]),
        )

    def leave(self, door: Door) -> None:
        """DISC: whoever took the link gives it up. Raises BusFault, LinkLost."""
        self._say(door, hdlc.DISC)

    def serials(self, door: Door) -> set[str]:
        """What all meters behind one address say that they are; those whose answers collide say nothing.

        Raises:
            BusFault, LinkLost: the line is gone.
        """
        self._say(door, hdlc.SNRM)
        self._say(door, hdlc.information_control(0, 0), hdlc.LLC_COMMAND + _public_aarq())
        asked = get_request.normal(1, _SERIAL)
        frames, _ = self._say(door, hdlc.information_control(1, 1), hdlc.LLC_COMMAND + asked)
        said = {text for frame in self._sorted(door, frames)[0] if (text := _serial(asked, frame))}
        garbled = self.garbled
        self.leave(door)
        self.garbled = garbled
        return said

    def _say(self, door: Door, control: int, information: bytes = b"") -> tuple[list[Frame], Frame]:
        """Send one frame; (all frames that came, the frame sent)."""
        frame = Frame(door.server, self._client, control, information)
        octets = frame.encode()
        self._link.flush_input()
        self._reader.clear()
        self._link.send(octets)
        return self._heard(self._monotonic() + len(octets) * door.octet_s, door), frame

    def _heard(self, sent_s: float, door: Door) -> list[Frame]:
        """Frames until nothing begins for as long as an answer may take; bounded where a line never falls silent."""
        frames: list[Frame] = []
        until = sent_s + door.answer_s
        limit = sent_s + 2 * door.answer_s + _OCTETS_AT_MOST // 8 * door.octet_s
        while (chunk := self._link.receive(min(until, limit))) and self._monotonic() < limit:
            self._reader.feed(chunk)
            while (frame := self._reader.next_frame()) is not None:
                frames.append(frame)
            until = max(until, self._monotonic() + max(_GAP_S, 4 * door.octet_s))
            if frames:
                until = max(until, self._monotonic() + door.answer_s)
        while (frame := self._reader.next_frame(silence=True)) is not None:
            frames.append(frame)
        self.garbled = self._reader.damaged > 0 or self._reader.discarded >= SHORTEST
        return frames

    def _sorted(self, door: Door, frames: list[Frame]) -> tuple[list[Frame], list[Frame]]:
        """(those that answer us from there, all others)."""
        ours = (self._client, door.server)
        return (
            [frame for frame in frames if (frame.destination, frame.source) == ours],
            [frame for frame in frames if (frame.destination, frame.source) != ours],
        )


def _public_aarq() -> bytes:
    return acse.aarq(Mechanism.NONE, acse.initiate_request(acse.PROPOSED, _PDU))


def _serial(request: bytes, frame: Frame) -> str:
    """The serial that one answer names; empty where it is none."""
    apdu = frame.information.removeprefix(hdlc.LLC_RESPONSE)
    if not frame.is_information or not apdu:
        return ""
    try:
        payload = reply.get_payload(request, apdu)
        said = reply.one(payload, "serial") if isinstance(payload, bytes) else ""
    except DcuError:
        return ""
    return said.decode("latin-1").strip("\0 ") if isinstance(said, bytes) else str(said)


class Sweep:
    """Which address is knocked at next, and at what speed. Pure.

    Other speeds than the line's own are tried when nobody was there at that one, or when `all_bauds` asks for it; an
    address where somebody was found is not tried again.

    Args:
        bauds: the line's own speed first; (0,) where the line has none.
        addresses: to be tried.
        all_bauds: go on though somebody was found.
    """

    def __init__(self, bauds: Sequence[int], addresses: Sequence[int], *, all_bauds: bool = False) -> None:
        self._bauds = tuple(bauds)
        self._addresses = tuple(addresses)
        self._all_bauds = all_bauds
        self._found: set[int] = set()
        self._spoken: int | None = None  # number of the speed at which somebody answered first
        self._at = 0

    @property
    def done(self) -> int:
        """Knocks that are behind us."""
        return self._at

    @property
    def total(self) -> int:
        """Knocks at most: all of a speed at which somebody was found, and no speed behind it."""
        speeds = len(self._bauds) if self._spoken is None or self._all_bauds else self._spoken + 1
        return len(self._addresses) * speeds

    def next(self) -> tuple[int, int] | None:
        """(baud, address), or None at the end; the same one until it was told of."""
        while self._at < self.total:
            baud, address = divmod(self._at, len(self._addresses))
            if self._addresses[address] not in self._found:
                return self._bauds[baud], self._addresses[address]
            self._at += 1
        return None

    def tell(self, address: int, *, found: bool) -> None:
        """How the last one went."""
        if found:
            self._found.add(address)
            if self._spoken is None:
                self._spoken = self._at // len(self._addresses)
        self._at += 1
