"""The optical head: sign-on after IEC 62056-21 mode E, and HDLC behind it.

The sign-on is at 300 baud with seven bits and even parity, which on the wire is the same as eight bits of which the
highest is the parity: the port stays at 8N1, and an adapter need not know of parity at all.
Source: IEC 62056-21 6.3 and annex B; Green Book 10.2 (HDLC over the optical port).
"""

import re
from collections.abc import Callable
from contextlib import suppress
from typing import Final, Protocol, runtime_checkable

from dcu.drivers.data_link import DataLink, LineTiming
from dcu.errors import BusFault, LinkLost
from dcu.ports import ByteLink

SIGN_ON_BAUD: Final = 300
_SPEEDS: Final = (300, 600, 1200, 2400, 4800, 9600, 19200)  # by the digit that names them
_SIGN_ON: Final = b"/?!\r\n"
_IDENTIFICATION: Final = re.compile(rb"/[A-Za-z]{3}([0-6])[^\r\n]{0,64}\r\n")
_CONFIRMATION: Final = re.compile(rb"\x062[0-6]2\r\n")
_TRIES: Final = 2
_REACTION_S: Final = 2.5  # the standard allows a meter 1.5 s to begin
_CONFIRMED_S: Final = 1.8  # not all meters confirm; this long is waited for those that do
_CHARACTER_GAP_S: Final = 1.5  # between two characters of a line, at most (IEC 62056-21 6.3.14)
_LONGEST_LINE: Final = 256


@runtime_checkable
class SpeedLink(ByteLink, Protocol):
    """A byte link whose speed can be changed: a serial port."""

    @property
    def baud(self) -> int:
        """The speed that the configuration gives it."""
        ...

    def set_speed(self, baud: int) -> None:
        """Another speed from now on. Raises BusFault."""
        ...


def with_parity(text: bytes) -> bytes:
    """Seven-bit characters with their even parity as the eighth bit."""
    return bytes(octet & 0x7F | (octet & 0x7F).bit_count() % 2 << 7 for octet in text)


def without_parity(octets: bytes) -> bytes:
    """Characters of what came; one whose parity is wrong is 0xFF, which is no character."""
    return bytes(octet & 0x7F if octet.bit_count() % 2 == 0 else 0xFF for octet in octets)


class ModeELink:
    """One meter behind an optical head. Satisfies `DataLink`; one thread.

    When a link ends, the meter listens at 300 baud again, so each `open` begins with the sign-on.
    """

    def __init__(
        self,
        link: SpeedLink,
        timing: LineTiming,
        hdlc_at: Callable[[LineTiming], DataLink],
        monotonic: Callable[[], float],
        place: str,
    ) -> None:
        """A link that is not open yet.

        Args:
            link: the port, lent.
            timing: deadlines and tries; those of the wire are made for the speed that is agreed.
            hdlc_at: the HDLC link over that port with such a timing, not open yet.
            monotonic: seconds that never go back.
            place: who is spoken to, for errors.
        """
        self._link = link
        self._timing = timing
        self._hdlc_at = hdlc_at
        self._monotonic = monotonic
        self._place = place
        self._hdlc: DataLink | None = None

    def open(self) -> None:
        """Sign on, change speed, connect. Raises as `DataLink.open`."""
        speed = self._signed_on()
        if speed is None:
            # Nobody at 300 baud: a link that a dead client left open is at the port's own speed, and so is a meter
            # that needs no sign-on.
            speed = self._link.baud
            self._link.set_speed(speed)
        timing = LineTiming.at_baud(speed, first_octet_s=self._timing.first_octet_s, tries=self._timing.tries)
        self._hdlc = self._hdlc_at(timing)
        self._hdlc.open()

    def exchange(self, apdu: bytes, *, once: bool) -> bytes:
        """As `DataLink.exchange`."""
        if self._hdlc is None:
            raise LinkLost("the link is not open", place=self._place)
        return self._hdlc.exchange(apdu, once=once)

    def keep_alive(self) -> bool:
        """As `DataLink.keep_alive`."""
        return self._hdlc is not None and self._hdlc.keep_alive()

    def settle(self) -> None:
        """As `DataLink.settle`."""
        if self._hdlc is not None:
            self._hdlc.settle()

    def close(self) -> None:
        """As `DataLink.close`; the port has its own speed again."""
        if self._hdlc is not None:
            self._hdlc.close()
            self._hdlc = None
            with suppress(BusFault):
                self._link.set_speed(self._link.baud)

    def _signed_on(self) -> int | None:
        """The speed agreed with the meter, now set; None when nobody answered."""
        self._link.set_speed(SIGN_ON_BAUD)
        for _ in range(_TRIES):
            self._say(_SIGN_ON)
            identification = self._line(_IDENTIFICATION, _REACTION_S)
            if identification is None:
                continue
            digit = int(identification[1])
            while _SPEEDS[digit] > max(self._link.baud, SIGN_ON_BAUD):
                digit -= 1  # the reader may choose a lower speed than the meter's
            self._say(b"\x062%d2\r\n" % digit)
            self._link.set_speed(_SPEEDS[digit])
            self._line(_CONFIRMATION, _CONFIRMED_S)
            return _SPEEDS[digit]
        return None

    def _say(self, text: bytes) -> None:
        """A line at the present speed; back when its last stop bit is out, whatever the port calls sent.

        Most heads reflect what they send: that is forgotten with everything else that came meanwhile.
        """
        self._link.flush_input()
        until = self._monotonic() + len(text) * 10 / SIGN_ON_BAUD + 0.01
        self._link.send(with_parity(text))
        while self._monotonic() < until:
            self._link.receive(until)

    def _line(self, pattern: re.Pattern[bytes], within_s: float) -> re.Match[bytes] | None:
        """The first line like `pattern`; None when there was none in time."""
        octets = bytearray()
        limit = self._monotonic() + within_s + _LONGEST_LINE * 10 / SIGN_ON_BAUD
        until = self._monotonic() + within_s
        while chunk := self._link.receive(min(until, limit)):
            octets += chunk
            if found := pattern.search(without_parity(bytes(octets))):
                return found
            del octets[:-_LONGEST_LINE]
            until = self._monotonic() + _CHARACTER_GAP_S
            if self._monotonic() >= limit:
                return None
        return None
