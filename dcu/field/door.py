"""Who may talk to the field process: a peer is known by the user its process runs as. A flood is not a log storm."""

import logging
import socket
from collections.abc import Callable
from pathlib import Path

from dcu.errors import SocketFault
from dcu.wire import peer_uid

log = logging.getLogger(__name__)


class Door:
    """The door of one socket.

    Args:
        path: of the socket.
        may: whether processes of that user, by uid, are let in.

    Attributes:
        turned_away: connections so far.
    """

    def __init__(self, path: Path, may: Callable[[int], bool]) -> None:
        self._path = path
        self._may = may
        self.turned_away = 0

    def admits(self, sock: socket.socket) -> bool:
        """Whether a peer may stay. One whose user the kernel does not tell may not."""
        try:
            uid = peer_uid(sock)
        except SocketFault as fault:
            self.turn_away(str(fault))
            return False
        if not self._may(uid):
            self.turn_away(f"user {uid} may not connect")
            return False
        return True

    def turn_away(self, cause: str) -> None:
        """Count one, and say so the 1st, 2nd, 4th, 8th.. time."""
        self.turned_away += 1
        if self.turned_away.bit_count() == 1:
            log.warning("%s: %s (%d turned away so far)", self._path, cause, self.turned_away)
