"""Invocation counters that nobody needs after the run."""

from dcu.ports import CounterStanding


class Vault:
    """A `CounterVault` in memory, of one meter."""

    def __init__(self) -> None:
        self._next = 1

    def standing(self, serial: str, client_sap: int) -> CounterStanding:
        """Nothing was ever reserved."""
        del serial, client_sap
        return CounterStanding(0, 0)

    def reserve(self, serial: str, client_sap: int, at_least: int, count: int) -> range:
        """See `ports.CounterVault.reserve`."""
        del serial, client_sap
        first = max(self._next, at_least)
        self._next = first + count
        return range(first, self._next)
