"""A line that a command opens itself: a meter is read, or looked for, without a configuration and without a store.

Nothing is remembered, so the system title is new each time: no invocation counter was ever used under it, and the
meter says itself above which one it accepts.
"""

import secrets
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import tzinfo
from typing import Final

from dcu.drivers.counters import CounterBook
from dcu.drivers.data_link import LineTiming
from dcu.drivers.lending import Framing, LentLine
from dcu.errors import CounterExhausted
from dcu.meter import Meter, Purpose
from dcu.ports import Association, ByteLink, Clock, CounterStanding

_TITLE_OWN: Final = 5  # octets behind the three of the maker


class Unremembered:
    """Invocation counters of a title that ends with this process. Satisfies `ports.CounterVault`."""

    def __init__(self) -> None:
        self._next: dict[tuple[str, int], int] = {}

    def standing(self, serial: str, client_sap: int) -> CounterStanding:
        """What was handed out so far."""
        return CounterStanding(self._next.get((serial, client_sap), 0), 0)

    def reserve(self, serial: str, client_sap: int, at_least: int, count: int) -> range:
        """`count` counters from `at_least` on. Raises CounterExhausted."""
        first = max(at_least, self._next.get((serial, client_sap), 0))
        if first + count > 1 << 32:
            raise CounterExhausted("none is left", place=serial)
        self._next[serial, client_sap] = first + count
        return range(first, first + count)


class DirectLine:
    """Satisfies `ports.Line` for one thread.

    Args:
        connect: opens the line; called once for a shared one, else for each association.
        framing: kind of the line.
        timing: of the line.
        zone: of the meters' clocks.
        clock: time.
        give_way: called before each exchange.

    Raises:
        BusFault: it cannot be opened.
    """

    def __init__(
        self,
        connect: Callable[[], ByteLink],
        framing: Framing,
        *,
        timing: LineTiming,
        zone: tzinfo,
        clock: Clock,
        give_way: Callable[[], None] = lambda: None,
    ) -> None:
        self._lent = LentLine(
            "direct",
            lambda _meter: connect(),
            framing,
            CounterBook(Unremembered()),
            clock,
            zone,
            system_title=b"DCU" + secrets.token_bytes(_TITLE_OWN),
            timing=timing,
            give_way=give_way,
        )
        self._lent.open()

    def associate(self, meter: Meter, purpose: Purpose) -> AbstractContextManager[Association]:
        """As `ports.Line.associate`; a meter whose serial is empty is taken as it is."""
        return self._lent.associate(meter, purpose)

    def close(self) -> None:
        """End what is open, and the line."""
        self._lent.close()
