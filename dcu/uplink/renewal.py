"""A new certificate, key or CA on disk: noticed, tried for fitness, and picked up at a quiet moment."""

from collections.abc import Callable
from datetime import datetime
from typing import Final

from dcu.errors import SessionLost
from dcu.uplink import diagnosis, tls
from dcu.uplink.diagnosis import Endpoint

LOOK_S: Final = 5.0
PATIENCE_S: Final = 10.0
"""So long may what is in flight take before the session is renewed all the same; it is offered again then."""

_Stamp = tuple[tuple[int, int, int], ...]


class Renewal:
    """Watches the files of an endpoint. One thread's own.

    Args:
        endpoint: names the files.
        now: the best known time: a certificate that is not valid yet is not taken.
        look_s: seconds between two looks.
    """

    def __init__(self, endpoint: Endpoint, now: Callable[[], datetime], look_s: float = LOOK_S) -> None:
        self._endpoint, self._now, self._every_s = endpoint, now, look_s
        self._used: _Stamp = ()
        self._looked: _Stamp = ()
        self._look_s = 0.0
        self._wanted_s: float | None = None

    def began(self, now_s: float) -> None:
        """A session is about to be made, with the files as they are now."""
        self._used = self._looked = _stamp(self._endpoint)
        self._look_s, self._wanted_s = now_s + self._every_s, None

    def look(self, now_s: float) -> SessionLost | None:
        """See whether there are new files that can be used; in words, once, when they are new and cannot."""
        if now_s < self._look_s:
            return None
        self._look_s = now_s + self._every_s
        stamp = _stamp(self._endpoint)
        if stamp == self._looked:
            return None
        self._looked, self._wanted_s = stamp, None
        if stamp == self._used:
            return None
        try:
            tls.context(self._endpoint)
        except SessionLost as fault:
            return fault
        outdated = diagnosis.of_own_dates(self._endpoint, self._now())
        if outdated is None:
            self._wanted_s = now_s
        return outdated

    @property
    def wanted(self) -> bool:
        """There are: nothing more should be sent before the session is renewed."""
        return self._wanted_s is not None

    def due(self, now_s: float, *, idle: bool) -> bool:
        """Whether now is the moment."""
        return self._wanted_s is not None and (idle or now_s >= self._wanted_s + PATIENCE_S)


def _stamp(endpoint: Endpoint) -> _Stamp:
    """Which files there are; one that is missing is like none before it."""
    found = []
    for path in (endpoint.certificate, endpoint.key, endpoint.ca):
        try:
            status = path.stat()
            found.append((status.st_ino, status.st_size, status.st_mtime_ns))
        except OSError:
            found.append((0, 0, 0))
    return tuple(found)
