"""What field knows of the way to the head-end by what uplink tells and hands in: our certificate, the last document.

Uplink remembers nothing, so that it is field that announces the end of the certificate, once at each step before it.
"""

import logging
import threading
from collections.abc import Callable
from datetime import datetime
from typing import Any, Final, Protocol, TypeVar

import cbor2

from dcu.clock import alarm_now
from dcu.command import Refusal
from dcu.errors import DcuError
from dcu.event import AlarmKind
from dcu.field.throttle import Throttle
from dcu.ports import Clock, Store, Transaction
from dcu.reading import from_epoch
from dcu.record import Stream, encode_alarm

log = logging.getLogger(__name__)

STEPS_DAYS: Final = (60, 30, 14, 7, 0)
"""Days before the end at which it is announced; at 0 it has come."""

LOOK_BACK: Final = 5000
"""So many of the newest alarms say, after a start, whether a step was announced already."""

BURST: Final = 5
EVERY_S: Final = 86_400.0
"""Uplink is not trusted: whatever ends it makes up, no more is announced than this."""

STORE_WAIT_S: Final = 5.0
"""The main thread looks too, and feeds the watchdog: what the store has no time for is done at the next look."""

_DAY_S: Final = 86_400
_KIND: Final = AlarmKind.CERTIFICATE_EXPIRES


class Verdict(Protocol):
    """What became of a document."""

    @property
    def status(self) -> str:
        """accepted, refused or duplicate."""
        ...

    @property
    def code(self) -> Refusal | None:
        """Why it was refused."""
        ...


V = TypeVar("V", bound=Verdict)


class LinkWatch:
    """Usable from any thread."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store, self._clock = store, clock
        self._lock = threading.Lock()
        self._throttle = Throttle(clock, BURST, EVERY_S)
        self._until_s: int | None = None
        self._announced: tuple[int, int] | None = None  # (end, step in days) that was announced last, by us or before
        self._document: dict[str, Any] | None = None

    def heard(self, until_s: int | None) -> None:
        """The end of our certificate, UTC seconds, as uplink reads it; None where it cannot."""
        self._until_s = until_s
        self.look()

    def look(self) -> None:
        """Announce the step that the certificate has reached, if that was not done before."""
        until_s = self._until_s
        if until_s is None:
            return
        step = step_of(until_s - self._known_time().timestamp())
        with self._lock:
            if step is None or self._is_announced(until_s, step):
                return
            if not self._throttle.admits():
                return
            self._announce(until_s, step)

    def noting(self, put: Callable[[bytes, str, int, bool], V]) -> Callable[[bytes, str, int, bool], V]:
        """`put`, remembered: only what arrives shows that commands can."""

        def noted(octets: bytes, topic: str, qos: int, retained: bool) -> V:
            verdict = put(octets, topic, qos, retained)
            code = verdict.code.value if verdict.code else None
            self._document = {"at": int(self._clock.now().timestamp()), "status": verdict.status, "code": code}
            return verdict

        return noted

    def report(self) -> dict[str, Any]:
        """For `dcu status`: end of the certificate (UTC seconds) and the days left, the last document handed in."""
        until_s = self._until_s
        left = None if until_s is None else int((until_s - self._known_time().timestamp()) // _DAY_S)
        return {"certificate_until": until_s, "certificate_days": left, "last_document": self._document}

    def _known_time(self) -> datetime:
        """No true time is before the floor; what an untrusted clock says beyond it is nothing to go by."""
        floor = self._clock.floor()
        return max(self._clock.now(), floor) if self._clock.state().known else floor

    def _is_announced(self, until_s: int, step: int) -> bool:
        if self._announced is None or self._announced[0] != until_s:
            try:
                earlier = self._store.transact(lambda tx: _steps_announced(tx, until_s), wait_s=STORE_WAIT_S)
            except DcuError:
                return True  # it cannot be announced either: at the next look
            self._announced = (until_s, min(earlier, default=STEPS_DAYS[0] + 1))
        return self._announced[1] <= step

    def _announce(self, until_s: int, step: int) -> None:
        day = f"{from_epoch(until_s):%Y-%m-%d}"
        text = (
            f"our certificate expires on {day}, in {step} days or less: install a new one in its place"
            if step
            else f"our certificate expired on {day}: nothing can be delivered until a new one is in its place"
        )
        alarm = alarm_now(self._clock, _KIND, text, facts={"until": until_s, "days": step})
        try:
            self._store.transact(lambda tx: tx.append(Stream.ALARM, encode_alarm(alarm)), wait_s=STORE_WAIT_S)
        except DcuError as fault:
            log.warning("%s (not stored: %s)", text, fault)
            return
        log.warning("%s: %s", _KIND.value, text)
        self._announced = (until_s, step)


def step_of(left_s: float) -> int | None:
    """The last step that is reached with so many seconds left; None before the first."""
    return min((step for step in STEPS_DAYS if left_s <= step * _DAY_S), default=None)


def _steps_announced(tx: Transaction, until_s: int) -> list[int]:
    """Steps of the certificate that ends then which the newest alarms tell of."""
    after = max(0, tx.cursors()[Stream.ALARM][1] - LOOK_BACK)
    steps: list[int] = []
    while True:
        page = tx.page(Stream.ALARM, after)
        for record in page.records:
            if _KIND.value.encode() in record.body:
                facts = cbor2.loads(record.body).get("facts", {})
                if facts.get("until") == until_s:
                    steps.append(facts.get("days", STEPS_DAYS[0]))
        if not page.more:
            return steps
        after = page.upto
