"""The true time of records that were made while a box did not know it (docs/decisions/0007). Pure."""

from bisect import bisect_left
from collections.abc import Mapping
from typing import Any

from dcu.event import AlarmKind
from dcu.reading import ClockState


class Dating:
    """What is known of the boots of all boxes: each `clock-known` alarm says what time it was at an uptime."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], list[tuple[int, int]]] = {}

    def hear(self, dcu: str, record: Mapping[str, Any]) -> None:
        """An alarm; one that says nothing of the time is passed over."""
        facts = record.get("facts")
        if record.get("kind") != AlarmKind.CLOCK_KNOWN.value or not isinstance(facts, Mapping):
            return
        boot, uptime_s, utc = (facts.get(name) for name in ("boot", "uptime_s", "utc"))
        if isinstance(boot, str) and isinstance(uptime_s, int) and isinstance(utc, int):
            known = self._known.setdefault((dcu, boot), [])
            if (uptime_s, utc) not in known:
                known.insert(bisect_left(known, (uptime_s, utc)), (uptime_s, utc))

    def time_of(self, dcu: str, record: Mapping[str, Any]) -> int | None:
        """Seconds since 1970 of `read_at` or `at`, the true ones where it was not known; None: nobody knows (yet)."""
        if record.get("clock") != ClockState.UNTRUSTED.value:
            return int(record["read_at"] if "read_at" in record else record["at"])
        uptime_s, known = record.get("uptime_s"), self._known.get((dcu, str(record.get("boot"))))
        if not known or not isinstance(uptime_s, int):
            return None
        then_s, utc = known[min(bisect_left(known, (uptime_s, -(2**63))), len(known) - 1)]
        return utc + uptime_s - then_s
