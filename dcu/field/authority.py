"""What joins the relay room to the rest of the field process.

Locks by the CLI at the pole, leases at reconnection, and the commissioning root, read again when its file changes.
"""

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from dcu.command import Restraint
from dcu.errors import ConfigFault, OperatorFault
from dcu.relay.desk import RelayDesk
from dcu.relay.trust import Commissioning
from dcu.wire.verbs import Link, Noted

log = logging.getLogger(__name__)

LONGEST_WORDS: Final = 80
MOST_HOURS: Final = 72
HOUR_S: Final = 3600


class LockAsks:
    """What `field.sock` is asked about locks. Any thread.

    Args:
        desk: decides.
        meters: serials that are commissioned here.
    """

    def __init__(self, desk: RelayDesk, meters: Callable[[], Mapping[str, object]]) -> None:
        self._desk = desk
        self._meters = meters

    def asks(self) -> Mapping[str, Callable[[Mapping[str, Any]], Any]]:
        """By name."""
        return {"lock": self._lock, "unlock": self._unlock, "restraints": self._restraints}

    def _lock(self, request: Mapping[str, Any]) -> dict[str, Any]:
        hours = request.get("hours")
        if type(hours) is not int or not 1 <= hours <= MOST_HOURS:
            raise OperatorFault(f"a lock lasts 1 to {MOST_HOURS} hours", place="lock", cure="renew it in time")
        meter, who, why = self._meter(request), _words(request, "who"), _words(request, "why")
        made = self._desk.lock(meter, who, why, hours * HOUR_S)
        if made is None:
            raise OperatorFault("nothing was locked", place="lock")
        return _told(made)

    def _unlock(self, request: Mapping[str, Any]) -> dict[str, Any]:
        meter = self._meter(request)
        ended = self._desk.lock(meter, _words(request, "who"), "", 0)
        if ended is None:
            raise OperatorFault(f"{meter or 'the box'} is not locked", place="lock", cure="see `dcu lock --list`")
        return _told(ended)

    def _restraints(self, _request: Mapping[str, Any]) -> list[dict[str, Any]]:
        return [_told(found) for found in self._desk.restraints()]

    def _meter(self, request: Mapping[str, Any]) -> str:
        """Serial, or empty for `all`."""
        meter = str(request.get("meter", ""))
        if meter != "all" and meter not in self._meters():
            raise OperatorFault(f"no meter {meter[:32]!r} here", place="lock", cure="a serial of this box, or all")
        return "" if meter == "all" else meter


class TrustWatch:
    """Hands the commissioning root over when its file changes; one that is wrong changes nothing. One thread."""

    def __init__(self, path: Path, desk: RelayDesk) -> None:
        self._path = path
        self._desk = desk
        self._seen = _mark(path)

    def tick(self) -> None:
        """Look; about once a second."""
        mark = _mark(self._path)
        if mark is None or mark == self._seen:
            return
        self._seen = mark
        try:
            self._desk.renew_trust(Commissioning.load(self._path))
        except ConfigFault as fault:
            log.warning("the trust store changed and is not taken: %s", fault)


def giving_leases(desk: RelayDesk, note: Callable[[Link], None]) -> Callable[[Link], None]:
    """`note`, and the relay room hears of each return of the connection."""

    def noted(link: Link) -> None:
        if link.noted is Noted.CONNECTED:
            desk.connected()
        note(link)

    return noted


def _told(found: Restraint) -> dict[str, Any]:
    return {
        "kind": found.kind,
        "meter": found.meter or "all",
        "who": found.who,
        "why": found.why,
        "until": found.until_s,
        "seconds": found.seconds,
    }


def _words(request: Mapping[str, Any], name: str) -> str:
    words = str(request.get(name, "")).strip()
    if not words or len(words) > LONGEST_WORDS:
        raise OperatorFault(f"{name} is 1 to {LONGEST_WORDS} characters", place="lock", cure=f"give --{name}")
    return words


def _mark(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
