"""What the relay room tells at once: refusals, doubts, locks. The same refusal at most once a minute."""

import logging
from collections.abc import Callable, Mapping
from typing import Final

from dcu.bucket import TokenBucket
from dcu.clock import alarm_now
from dcu.command import Refusal
from dcu.event import Alarm, AlarmKind, Fact
from dcu.ports import Clock
from dcu.relay.gate import Sampler
from dcu.relay.letters import Key

log = logging.getLogger(__name__)

REFUSALS: Final = 24
REFUSALS_PER_S: Final = 1 / 3600
"""Alarms of one refusal code: so many within a day's beginning, then one an hour."""


class Alarms:
    """Alarms of the relay thread.

    Args:
        clock: the box's.
        take: takes an alarm.
    """

    def __init__(self, clock: Clock, take: Callable[[Alarm], None]) -> None:
        self._clock = clock
        self._take = take
        self._sampler = Sampler()
        self._refusals: dict[Refusal, TokenBucket] = {}

    def refused(self, code: Refusal, cause: str, meter: str = "") -> None:
        """A document was refused. `health` says how many were: alarms of nobody's documents must not fill the store."""
        now_s = self._clock.monotonic_s()
        bucket = self._refusals.setdefault(code, TokenBucket(REFUSALS, REFUSALS_PER_S))
        if self._sampler.due(code, now_s) and bucket.take(now_s):
            text = f"a document was refused ({code.value}): {cause}"
            self._tell(AlarmKind.COMMAND_REFUSED, text, meter, {"code": code.value})

    def doubt(self, key: Key, reason: str, meter: str) -> None:
        """A command was sent, and nobody knows what became of it."""
        text = f"command {key[1]} was dispatched, and nobody knows what it did: {reason or 'the read-back differs'}"
        self._tell(AlarmKind.COMMAND_IN_DOUBT, text, meter, {"iss": key[0], "cmd_id": key[1]})

    def locked(self, meter: str, who: str, why: str, seconds: int) -> None:
        """Somebody at the pole has locked a meter, or the box."""
        facts: dict[str, Fact] = {"who": who, "why": why, "hours": seconds // 3600}
        self._tell(AlarmKind.LOCKED, f"{meter or 'the box'} is locked by {who}: {why}", meter, facts)

    def unlocked(self, meter: str, who: str) -> None:
        """Somebody at the pole has ended a lock."""
        self._tell(AlarmKind.UNLOCKED, f"{meter or 'the box'} is unlocked by {who}", meter, {"who": who})

    def _tell(self, kind: AlarmKind, text: str, meter: str, facts: Mapping[str, Fact]) -> None:
        log.warning("%s", text)
        self._take(alarm_now(self._clock, kind, text, meter, facts))
