"""The seam to whoever holds the meters of this box: a signed `meter` adds, replaces or retires one. No code."""

from typing import Protocol

from dcu.command import Command
from dcu.ports import Store, Transaction


class Roster(Protocol):
    """Called by the relay thread, and inside its transactions by the writer's."""

    def recall(self, store: Store) -> None:
        """At the start: what was kept before takes effect."""
        ...

    def fault(self, command: Command) -> str:
        """Why that `meter` cannot be carried out here, in words; empty: it can."""
        ...

    def keep(self, tx: Transaction, command: Command) -> None:
        """Keep it with the transaction that accepts it: from the commit on it outlives every restart."""
        ...

    def take_effect(self, command: Command) -> None:
        """It is committed: from now on the meter is read, or is not."""
        ...
