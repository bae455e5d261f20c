"""The one batch on its way that the head-end wants once more. It moves no cursor; field keeps what is still to come."""

import logging
from typing import Final

from dcu.record import Stream
from dcu.uplink.field_line import FieldLine
from dcu.uplink.window import OF_A_RECORD, REFUSALS, SUCCESS, Window
from dcu.wire.verbs import Resent

log = logging.getLogger(__name__)

REST_S: Final = 30.0
"""After a refusal."""


class Again:
    """One thread's own, with the window that it takes a place in. Times are monotonic seconds."""

    def __init__(self, window: Window) -> None:
        self._window = window
        self._offered: tuple[Stream, int] | None = None
        self._mid = -1
        self._done = False
        self._rest_until_s = 0.0
        self._refusals = 0

    def wanted(self, now_s: float) -> bool:
        """Whether field may offer one."""
        return self._offered is None and now_s >= self._rest_until_s

    def begin(self) -> None:
        """A new session, or a new field: nothing is on its way, and field offers it again."""
        self._offered, self._mid, self._done = None, -1, False

    def sent(self, mid: int, stream: Stream, _first: int, last: int, now_s: float, _octets: int = 0) -> None:
        """It was published under that message id; it takes a place in the window."""
        self._offered, self._mid, self._done = (stream, last), mid, False
        self._window.sent_aside(mid, now_s)

    def acknowledged(self, mid: int, code: int, now_s: float) -> None:
        """The broker's answer to whatever has that message id."""
        if self._offered is None or mid != self._mid:
            return
        self._refusals = 0 if code == SUCCESS else self._refusals + 1
        self._done = code == SUCCESS or (code in OF_A_RECORD and self._refusals >= REFUSALS)
        if code != SUCCESS:
            log.warning(
                "records offered again, up to %d of %s, are refused: 0x%02x",
                self._offered[1],
                self._offered[0].value,
                code,
            )
            self._rest_until_s = now_s + REST_S
        if not self._done:
            self.begin()

    def refuse(self, stream: Stream, first: int, code: int, _now_s: float) -> None:
        """Record `first` cannot be sent at all: it is passed over."""
        log.warning("record %d of %s is not offered again: 0x%02x", first, stream.value, code)
        self._offered, self._mid, self._done = (stream, first), -1, True

    def tell(self, line: FieldLine) -> None:
        """Tell field what needs not be offered again. Raises SocketFault."""
        if self._offered is not None and self._done:
            line.ask(Resent(line.welcome.epoch, *self._offered))
            self._refusals = 0
            self.begin()
