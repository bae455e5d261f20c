"""Invocation counters for the drivers, reserved ahead and committed before use: a nonce is used once, ever.

A crash after the commit and before the use wastes what was reserved. A 32-bit counter can afford that; a nonce that
is used twice under AES-GCM gives the key away.
"""

from dcu.ports import CounterStanding
from dcu.store.sqlite_store import SqliteStore


class Counters:
    """`ports.CounterVault` on the store, from any thread."""

    def __init__(self, store: SqliteStore, *, wait_s: float = 30.0) -> None:
        self._store = store
        self._wait_s = wait_s

    def standing(self, serial: str, client_sap: int) -> CounterStanding:
        """See `ports.CounterVault.standing`."""
        return self._store.transact(lambda tx: tx.counter_standing(serial, client_sap), wait_s=self._wait_s)

    def reserve(self, serial: str, client_sap: int, at_least: int, count: int) -> range:
        """See `ports.CounterVault.reserve`."""
        return self._store.transact(
            lambda tx: tx.reserve_counters(serial, client_sap, at_least, count), wait_s=self._wait_s
        )
