"""The meter's end of an optical head: IEC 62056-21 mode E, from the sign-on at 300 baud to HDLC. Sans-IO.

What is modelled: the lines of the sign-on and their answers, each at its own speed. Who speaks at a speed to which the
meter does not listen is not understood, nor is a character of wrong parity. A pty keeps the speed that its reader sets
and drops character size and parity: 7E1 is what it is on the wire, eight bits of which the highest is the parity.
"""

import re
from collections.abc import Callable
from enum import Enum
from typing import Final

BAUDS: Final = (300, 600, 1200, 2400, 4800, 9600, 19200)
"""Speeds by the digit that names them in an identification (IEC 62056-21 6.3.14, item 13c)."""
_SIGN_ON: Final = re.compile(rb"/\?[0-9A-Za-z ]{0,32}!\r\n")
_SELECT: Final = re.compile(rb"\x062([0-6])2\r\n")
_LONGEST_LINE: Final = 64


class _Stage(Enum):
    LISTENING = "for a sign-on"
    OFFERED = "a speed"
    BINARY = "HDLC"
    IN_USE = "HDLC, with a link that was opened"


class OpticalHead:
    """One meter behind a head.

    Args:
        baud: that the meter names.
        receive: HDLC octets and their moment; frames in answer.
        is_connected: whether a client holds an HDLC link at a moment.
        inactivity_s: silence after which the meter listens at 300 baud again.
    """

    def __init__(
        self,
        baud: int,
        receive: Callable[[bytes, float], list[bytes]],
        is_connected: Callable[[float], bool],
        inactivity_s: float,
    ) -> None:
        self._named = baud
        self._receive = receive
        self._is_connected = is_connected
        self._inactivity_s = inactivity_s
        self._line = bytearray()
        self._stage = _Stage.LISTENING
        self._baud = BAUDS[0]
        self._heard_at = 0.0

    def listens_at(self, at: float) -> int:
        """The speed at which the meter hears: 300 until a selection, and again when its links are gone."""
        idle = at - self._heard_at > self._inactivity_s
        if idle or (self._stage is _Stage.IN_USE and not self._is_connected(at)):
            self._stage, self._baud = _Stage.LISTENING, BAUDS[0]
        return self._baud

    def receive(self, octets: bytes, at: float, baud: int) -> tuple[bytes, int]:
        """Octets at `baud`; the answer, maybe none, and its speed."""
        if baud != self.listens_at(at):
            return b"", baud
        self._heard_at = at
        if self._stage in {_Stage.LISTENING, _Stage.OFFERED}:
            self._line += bytes(octet & 0x7F if octet.bit_count() % 2 == 0 else 0xFF for octet in octets)
            del self._line[:-_LONGEST_LINE]
            return _even(self._signed_on()), self._baud
        answer = b"".join(self._receive(octets, at))
        if self._is_connected(at):
            self._stage = _Stage.IN_USE
        return answer, baud

    def _signed_on(self) -> bytes:
        """What a line of the sign-on brings."""
        if _SIGN_ON.search(self._line):
            self._line.clear()
            self._stage = _Stage.OFFERED
            return b"/GXT%d\\2VIRTUAL\r\n" % BAUDS.index(self._named)
        selected = _SELECT.search(self._line)
        if selected is None or self._stage is not _Stage.OFFERED:
            return b""
        answer = selected[0]
        self._stage, self._baud = _Stage.BINARY, BAUDS[int(selected[1])]
        self._line.clear()
        return answer  # the confirmation, at the new speed already


def _even(text: bytes) -> bytes:
    """Characters of seven bits with even parity."""
    return bytes(octet | octet.bit_count() % 2 << 7 for octet in text)
