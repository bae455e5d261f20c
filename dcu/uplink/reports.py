"""What uplink tells of its connection, in the log and to field: each trouble once, in words."""

import logging
from collections.abc import Callable

from dcu.errors import SessionLost
from dcu.uplink import topics
from dcu.uplink.diagnosis import Endpoint, certificate_until
from dcu.uplink.window import Held
from dcu.wire.verbs import Link, Noted

log = logging.getLogger(__name__)

_NOBODY = 0x10


class Reports:
    """Says it.

    Args:
        dcu: id of the box.
        endpoint: the broker, and our certificate, whose end is told along.
        forward: takes what is for field; must not block.
    """

    def __init__(self, dcu: str, endpoint: Endpoint, forward: Callable[[Link], None]) -> None:
        self._dcu, self._endpoint, self._forward = dcu, endpoint, forward
        self._cause = ""

    def connected(self) -> None:
        """A session is there."""
        self._cause = ""
        log.info("%s: connected", self._endpoint.place)
        self._note(Noted.CONNECTED, f"connected to {self._endpoint.place}")

    def lost(self, fault: SessionLost, wait_s: float, code: int | None) -> None:
        """It is gone, or could not be made; one cause is told once."""
        if str(fault) == self._cause:
            return
        self._cause = str(fault)
        log.warning("no session: %s (next try in %.1f s)", fault, wait_s)
        self._note(Noted.LOST, self._cause, code)

    def held(self, held: Held) -> None:
        """The broker does not take a stream. Looking for one record in it is told when that is found."""
        if held.again or not held.wait_s:
            return
        meaning = "nobody is subscribed" if held.code == _NOBODY else "the broker did not take it"
        text = f"{topics.up(self._dcu, held.stream)} from {held.first}: {meaning} (0x{held.code:02X}); held"
        log.warning("%s: %s", self._endpoint.place, text)
        self._note(Noted.HELD, text, held.code)

    def not_set_aside(self, held: Held, why: str, wait_s: float) -> None:
        """Field does not let the cursor pass a refused record."""
        text = f"{topics.up(self._dcu, held.stream)}: record {held.first} is refused (0x{held.code:02X}): {why}; held"
        log.warning("%s (next try in %.0f s)", text, wait_s)
        self._note(Noted.HELD, text, held.code)

    def set_aside(self, held: Held) -> None:
        """Field let the cursor pass it; field's alarm tells the head-end."""
        log.warning("%s: record %d is set aside", topics.up(self._dcu, held.stream), held.first)

    def taken_again(self, streams: set[str], *, all_are: bool) -> None:
        """The broker takes these streams again."""
        for name in sorted(streams):
            log.info("up/%s: taken again", name)
        if all_are:
            self._note(Noted.CONNECTED, "every stream is taken again")

    def subscription_refused(self, code: int) -> None:
        """No command can arrive."""
        text = f"the broker refuses our subscription (0x{code:02X}): no command can arrive"
        log.warning("%s: %s", self._endpoint.place, text)
        self._note(Noted.SUBSCRIPTION_REFUSED, text, code)

    def new_certificate_unfit(self, fault: SessionLost) -> None:
        """There are new files and they cannot be used."""
        text = f"new files of TLS cannot be used, the session goes on with the old ones: {fault.cause}; {fault.cure}"
        log.warning("%s", text)
        self._note(Noted.CERTIFICATE, text)

    def _note(self, noted: Noted, text: str, code: int | None = None) -> None:
        until = certificate_until(self._endpoint.certificate)
        seconds = max(0, int(until.timestamp())) if until else None
        self._forward(Link(noted, text[:500], code, seconds))
