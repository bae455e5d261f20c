"""Alarms and health: what the box says of itself, stored as records and logged once."""

import logging
from typing import Final

from dcu.clock import alarm_now, uptime
from dcu.errors import DcuError, StoreBusy, StoreDown
from dcu.event import Alarm, AlarmKind, Fact, Health
from dcu.ports import Clock, Store
from dcu.record import Stream, encode_alarm, encode_health

log = logging.getLogger(__name__)

STORE_WAIT_S: Final = 30.0
"""How long a thread that feeds no watchdog waits for the store."""

HEALTH_WAIT_S: Final = 2.0
"""The main thread makes health records, and feeds the watchdog: it waits for no disk."""


class Announcer:
    """Stores alarms and health records. An alarm that cannot be stored is still logged, and blocks nobody.

    While the store is down they wait in its memory; so does an alarm for which it had no time, told twice rather than
    never.
    """

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    def alarm(self, kind: AlarmKind, text: str, *, meter: str = "", **facts: Fact) -> None:
        """Announce something that a person should know."""
        self.announce(alarm_now(self._clock, kind, text, meter, facts))

    def announce(self, alarm: Alarm, *, wait_s: float = STORE_WAIT_S) -> None:
        """The same, of an alarm that is already made; at most `wait_s` for the store."""
        log.warning("%s%s: %s", alarm.kind.value, f" {alarm.meter}" if alarm.meter else "", alarm.text)
        body = encode_alarm(alarm)
        try:
            self._store.transact(lambda tx: tx.append(Stream.ALARM, body), wait_s=wait_s)
        except (StoreDown, StoreBusy):
            self._store.keep(lambda tx: tx.append(Stream.ALARM, body), len(body))
        except DcuError as fault:
            log.warning("that alarm could not be stored: %s", fault)

    def started(self, version: str) -> None:
        """The process is up. Its main thread says so."""
        facts: dict[str, Fact] = {"version": version}
        up = alarm_now(self._clock, AlarmKind.STARTED, f"version {version}", facts=facts)
        self.announce(up, wait_s=HEALTH_WAIT_S)

    def health(self, **facts: Fact) -> None:
        """Store how the box is doing; one that cannot be stored is logged, and the next comes at its time."""
        state = self._clock.state()
        body = encode_health(Health(self._clock.now(), state, facts, uptime(self._clock, state)))
        try:
            self._store.transact(lambda tx: tx.append(Stream.HEALTH, body), wait_s=HEALTH_WAIT_S)
        except StoreDown:
            self._store.keep(lambda tx: tx.append(Stream.HEALTH, body), len(body))
        except DcuError as fault:
            log.warning("a health record could not be stored: %s", fault)
