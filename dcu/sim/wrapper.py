"""The TCP wrapper's header (IEC 62056-47; Green Book 7.3): version, source, destination, length, each of 16 bits."""

import struct
from collections.abc import Callable
from typing import Final

from dcu.sim.station import Session

_HEADER: Final = struct.Struct(">4H")
_VERSION: Final = 1


class WrapperPort:
    """One TCP connection to one meter, sans-IO: each client address on it has its session.

    Args:
        logical_device: the only destination that is answered.
        open_session: a new session for a client address.
    """

    def __init__(self, logical_device: int, open_session: Callable[[int], Session]) -> None:
        self._logical_device = logical_device
        self._open_session = open_session
        self._sessions: dict[int, Session] = {}
        self._buffer = bytearray()

    def receive(self, octets: bytes) -> list[bytes] | None:
        """Octets off the connection; the messages to send in answer. None: not the wrapper, close the connection."""
        self._buffer += octets
        answers = []
        while len(self._buffer) >= _HEADER.size:
            version, source, destination, size = _HEADER.unpack_from(self._buffer)
            if version != _VERSION:
                return None
            if len(self._buffer) < _HEADER.size + size:
                break
            apdu = bytes(self._buffer[_HEADER.size : _HEADER.size + size])
            del self._buffer[: _HEADER.size + size]
            if destination != self._logical_device:
                continue
            if source not in self._sessions:
                self._sessions[source] = self._open_session(source)
            answer = self._sessions[source].respond(apdu)
            if answer is not None:
                answers.append(_HEADER.pack(_VERSION, destination, source, len(answer)) + answer)
        return answers
