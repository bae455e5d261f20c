"""Invocation counters of one line's meters: reserved in blocks ahead of use, handed out one by one, never twice."""

from collections.abc import Iterator
from typing import Final

from dcu.ports import CounterVault

BLOCK: Final = 64
"""Counters a reservation: one commit to disk for many exchanges; what is left at the end of a process is skipped."""

FIRST: Final = 1


class CounterBook:
    """What of the vault is in hand, by meter and client. One thread."""

    def __init__(self, vault: CounterVault) -> None:
        self._vault = vault
        self._floors: dict[tuple[str, int], int] = {}
        self._blocks: dict[tuple[str, int], Iterator[int]] = {}

    def knows(self, serial: str, client_sap: int) -> bool:
        """Whether the meter's own counter was seen since this process began, or since it was forgotten."""
        return (serial, client_sap) in self._floors

    def learn(self, serial: str, client_sap: int, floor: int) -> None:
        """Only counters of `floor` and above may be used from now on."""
        self._floors[serial, client_sap] = floor
        self._blocks.pop((serial, client_sap), None)

    def forget(self, serial: str, client_sap: int) -> None:
        """The meter refused, or its replies were no good: ask it again before the next association."""
        self._floors.pop((serial, client_sap), None)
        self._blocks.pop((serial, client_sap), None)

    def next(self, serial: str, client_sap: int) -> int:
        """A counter that is committed and was never used. Raises CounterExhausted, StoreFault."""
        key = (serial, client_sap)
        counter = next(self._blocks.get(key, iter(())), None)
        if counter is None:
            reserved = self._vault.reserve(serial, client_sap, self._floors.get(key, FIRST), BLOCK)
            self._floors[key] = reserved[-1] + 1
            block = iter(reserved)
            counter = next(block)
            self._blocks[key] = block
        return counter
