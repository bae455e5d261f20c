"""A serial port as a byte link: the one door to pyserial.

The port is opened exclusively. A port that is gone (USB unplugged) shows itself as EIO or as an empty read; both are a
BusFault at once, so that no dead descriptor keeps the device name occupied (reference/faults.md 3).
"""

import contextlib
import termios
import time
from collections.abc import Callable

import serial

from dcu.errors import BusFault

_SLICE_S = 0.5  # a blocking read is renewed this often, so that a deadline is never missed by more


class SerialLink:
    """One serial port, 8N1, owned by one thread. Satisfies `ports.ByteLink` and `mode_e.SpeedLink`.

    Attributes:
        baud: the speed that it was opened with.
    """

    def __init__(self, port: str, baud: int, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        """Open it.

        Raises:
            BusFault: no such port, no permission, in use, or a baud rate that it cannot do.
        """
        self._place = port
        self._monotonic = monotonic
        self.baud = baud
        try:
            self._serial = serial.Serial(port, baud, timeout=0, write_timeout=5.0, exclusive=True)
        except (OSError, ValueError) as fault:  # SerialException is an OSError
            raise BusFault(f"cannot be opened: {fault}", place=port, cure=_cure(fault)) from fault

    def send(self, octets: bytes) -> None:
        """Write all of it and wait until it has left the buffer. Raises BusFault."""
        try:
            self._serial.write(octets)
            self._serial.flush()
        except (
            OSError,
            ValueError,
            TypeError,
            termios.error,
        ) as fault:  # pyserial: TypeError after the descriptor is gone
            raise self._lost(fault) from fault

    def receive(self, deadline_s: float) -> bytes:
        """What has come, at least one octet; b"" when the monotonic deadline passed. Raises BusFault."""
        try:
            while True:
                left = deadline_s - self._monotonic()
                self._serial.timeout = max(0.0, min(left, _SLICE_S))
                first = self._serial.read(1)
                if first:
                    return bytes(first + self._serial.read(self._serial.in_waiting))
                if left <= _SLICE_S:
                    return b""
        except (OSError, ValueError, TypeError, termios.error) as fault:
            raise self._lost(fault) from fault

    def flush_input(self) -> None:
        """Forget whatever came unasked. Raises BusFault."""
        try:
            self._serial.reset_input_buffer()
        except (OSError, ValueError, TypeError, termios.error) as fault:
            raise self._lost(fault) from fault

    def set_speed(self, baud: int) -> None:
        """Another speed from now on, still 8N1; what has come is forgotten. `baud` stays what it was opened with.

        Raises:
            BusFault: the port is gone, or cannot do it.
        """
        try:
            self._serial.baudrate = baud
            self._serial.reset_input_buffer()
        except (OSError, ValueError, TypeError, termios.error) as fault:
            raise self._lost(fault) from fault

    def close(self) -> None:
        """Give the port back. Idempotent."""
        with contextlib.suppress(OSError):  # a port that is gone needs no closing
            self._serial.close()

    def _lost(self, fault: Exception) -> BusFault:
        return BusFault(f"the port failed: {fault}", place=self._place, cure="check the adapter and its cable")


def _cure(fault: Exception) -> str:
    number = getattr(fault, "errno", None)
    return {
        2: "plug the adapter in, or name it by /dev/serial/by-path",
        13: "let the service's user into the group that owns the port (dialout)",
        16: "another program holds it: end that first",
        11: "another program holds it: end that first",
    }.get(number if isinstance(number, int) else 0, "check port name and baud rate")
