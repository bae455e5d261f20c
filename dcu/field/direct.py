"""A line that a command opens itself: a meter is read, or looked for, without a configuration and without a store.

Nothing is remembered, so the system title is new each time: no invocation counter was ever used under it, and the
meter says itself above which one it accepts.
"""

import secrets
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import tzinfo
from typing import Final

from dcu.drivers.association import Caller
from dcu.drivers.counters import CounterBook
from dcu.drivers.data_link import DataLink, LineTiming
from dcu.drivers.hdlc import client_address, server_address
from dcu.drivers.hdlc_link import HdlcLink
from dcu.drivers.wrapper import WrapperLink
from dcu.errors import CounterExhausted
from dcu.meter import Meter, Purpose
from dcu.ports import Association, ByteLink, CounterStanding

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
        link: the line; whoever opened it closes it.
        wrapper: the TCP wrapper, else HDLC.
        timing: of the line.
        zone: of the meters' clocks.
        give_way: called before each exchange.
        monotonic: seconds that never go back.
    """

    def __init__(
        self,
        link: ByteLink,
        *,
        wrapper: bool,
        timing: LineTiming,
        zone: tzinfo,
        give_way: Callable[[], None] = lambda: None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._link = link
        self._wrapper = wrapper
        self._timing = timing
        self._monotonic = monotonic
        title = b"DCU" + secrets.token_bytes(_TITLE_OWN)
        self._caller = Caller(self._data_link, CounterBook(Unremembered()), title, zone, monotonic, give_way)

    def associate(self, meter: Meter, purpose: Purpose) -> AbstractContextManager[Association]:
        """As `ports.Line.associate`; a meter whose serial is empty is taken as it is."""
        return self._caller.associate(meter, purpose)

    def _data_link(self, meter: Meter, client_sap: int) -> DataLink:
        model, place = meter.model, meter.serial or f"address {meter.address}"
        if self._wrapper:
            return WrapperLink(self._link, client_sap, model.server_sap, self._timing, self._monotonic, place)
        server = server_address(model.server_sap, meter.address, model.address_octets)
        offer = self._timing.hdlc_offer(model.max_info_bytes, model.window)
        client = client_address(client_sap)
        return HdlcLink(self._link, client, server, offer, self._timing, self._monotonic, place)
