"""Invocation counters on disk: the next one that was never reserved, and when that was, by meter and client."""

from typing import Final

from dcu.errors import CounterExhausted
from dcu.ports import Clock, CounterStanding
from dcu.store.database import Database

LIMIT: Final = 1 << 32
"""Counters are 32 bits wide (Green Book 9.2.3.3)."""


class Invocation:
    """The rows behind `Counters`."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def standing(self, serial: str, client_sap: int) -> CounterStanding:
        """How far that meter's and client's counters were reserved, and how long ago."""
        found = self._database.first(
            "SELECT next, at_s FROM invocation WHERE meter = ? AND client_sap = ?", (serial, client_sap)
        )
        if found is None:
            return CounterStanding(0, None)
        return CounterStanding(found[0], None if found[1] is None else self._now_s() - found[1])

    def _now_s(self) -> int:
        return int(self._clock.now().timestamp())

    def reserve(self, serial: str, client_sap: int, at_least: int, count: int) -> range:
        """`count` counters, all >= `at_least` and above all ever reserved for that meter and client.

        Raises:
            CounterExhausted: fewer than `count` are left below 2^32.
            ValueError: `count` below 1, or `at_least` below 0.
        """
        if count < 1 or at_least < 0:
            raise ValueError(f"{count} counters from {at_least}")
        found = self._database.first(
            "SELECT next FROM invocation WHERE meter = ? AND client_sap = ?", (serial, client_sap)
        )
        start = max(at_least, 0 if found is None else found[0])
        if start + count > LIMIT:
            raise CounterExhausted(
                f"client {client_sap} has {max(0, LIMIT - start)} invocation counters left, {count} are needed",
                place=serial,
                cure="change the meter's keys, which starts the counter again",
            )
        self._database.write(
            "INSERT INTO invocation (meter, client_sap, next, at_s) VALUES (?, ?, ?, ?) "
            "ON CONFLICT (meter, client_sap) DO UPDATE SET next = excluded.next, at_s = excluded.at_s",
            (serial, client_sap, start + count, self._now_s()),
        )
        return range(start, start + count)
