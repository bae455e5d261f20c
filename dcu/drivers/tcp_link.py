"""A TCP connection as a byte link: meters behind the wrapper, or HDLC tunnelled over TCP."""

import socket
import time
from collections.abc import Callable
from contextlib import suppress

from dcu.errors import LinkLost

_CHUNK = 4096
_FLUSHED = 256


class TcpLink:
    """One connection to one meter, owned by one thread. Satisfies `ports.ByteLink`."""

    def __init__(
        self, host: str, port: int, connect_timeout_s: float, *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        """Connect.

        Raises:
            LinkLost: refused, no route, no such name, or no answer in time.
        """
        self._place = f"{host}:{port}"
        self._monotonic = monotonic
        opened: socket.socket | None = None
        try:
            opened = socket.create_connection((host, port), timeout=connect_timeout_s)
            opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError as fault:
            if opened is not None:
                opened.close()
            cure = "check host, port and that the meter's network is up"
            raise LinkLost(f"no connection: {fault}", place=self._place, cure=cure) from fault
        self._socket = opened

    def send(self, octets: bytes) -> None:
        """Write all of it. Raises LinkLost."""
        try:
            self._socket.settimeout(5.0)
            self._socket.sendall(octets)
        except OSError as fault:
            raise LinkLost(f"the connection failed: {fault}", place=self._place) from fault

    def receive(self, deadline_s: float) -> bytes:
        """What has come, at least one octet; b"" when the deadline passed. Raises LinkLost, also at the end."""
        try:
            self._socket.settimeout(max(0.001, deadline_s - self._monotonic()))
            octets = self._socket.recv(_CHUNK)
        except TimeoutError:
            return b""
        except OSError as fault:
            raise LinkLost(f"the connection failed: {fault}", place=self._place) from fault
        if not octets:
            raise LinkLost("the meter closed the connection", place=self._place)
        return octets

    def flush_input(self) -> None:
        """Forget whatever came unasked. Raises LinkLost."""
        try:
            self._socket.settimeout(0)
            for _ in range(_FLUSHED):  # a peer that never stops is not waited for
                if not self._socket.recv(_CHUNK):
                    raise LinkLost("the meter closed the connection", place=self._place)
        except BlockingIOError:
            return
        except OSError as fault:
            raise LinkLost(f"the connection failed: {fault}", place=self._place) from fault

    def interrupt(self) -> None:
        """From any thread: whoever waits on it hears LinkLost."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Idempotent."""
        self._socket.close()
