"""Invocation counters on disk: the next one that was never reserved, by meter and client."""

import secrets
from typing import Final

from dcu.errors import CounterExhausted
from dcu.ports import Clock, CounterStanding
from dcu.store.database import Database

LIMIT: Final = 1 << 32
"""Counters are 32 bits wide (Green Book 9.2.3.3)."""

LINE_SINCE_S: Final = 1_767_225_600
"""2026-01-01T00:00:00Z. A process may begin no lower than one counter a second since then, whatever a meter says of
how far it was: each use since a copy of the store was made then lies below, as no meter is asked more than once a
second for long. The line ends 2162; half way, a clock that says so is not believed."""

UNTRUSTED_SKIP: Final = 1 << 20
"""What a process skips at most, by chance, where the clock cannot say how old the store is: two lives of one copy are
then unlikely to begin at the same place."""


class Invocation:
    """The rows behind `Counters`."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def standing(self, serial: str, client_sap: int) -> CounterStanding:
        """How far that meter's and client's counters were reserved, here and in what was lost since."""
        found = self._database.first(
            "SELECT next FROM invocation WHERE meter = ? AND client_sap = ?", (serial, client_sap)
        )
        start: int = 0 if found is None else found[0]
        if not self._clock.state().known:
            return CounterStanding(start, start + secrets.randbelow(UNTRUSTED_SKIP))
        line = int(self._clock.now().timestamp()) - LINE_SINCE_S
        return CounterStanding(start, max(start, line) if line < LIMIT // 2 else start, by_time=True)

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
            "INSERT INTO invocation (meter, client_sap, next) VALUES (?, ?, ?) "
            "ON CONFLICT (meter, client_sap) DO UPDATE SET next = excluded.next",
            (serial, client_sap, start + count),
        )
        return range(start, start + count)
