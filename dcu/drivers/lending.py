"""What a bus lends to its errands: associations over its line, opened as the line's kind demands, or parked ones."""

import logging
from collections.abc import Callable, Hashable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import replace
from datetime import tzinfo
from enum import Enum
from functools import partial
from typing import Protocol, runtime_checkable

from dcu.drivers.association import Caller, Session
from dcu.drivers.counters import CounterBook
from dcu.drivers.data_link import DataLink, HdlcOffer, LineTiming
from dcu.drivers.frame_size import FrameSizes, Heard
from dcu.drivers.hdlc import client_address, server_address
from dcu.drivers.hdlc_link import HdlcLink
from dcu.drivers.mode_e import ModeELink, SpeedLink
from dcu.drivers.parked import Parking
from dcu.drivers.wrapper import WrapperLink
from dcu.errors import BusFault, DcuError, OperatorFault
from dcu.meter import Meter, Purpose, Quirk
from dcu.ports import Association, ByteLink, Clock

log = logging.getLogger(__name__)

LinkFactory = Callable[[Meter | None], ByteLink]
"""Opens the link: of a shared line with None, once; of a TCP meter with that meter, for each association.

Raises BusFault (serial) or LinkLost (TCP).
"""


class Framing(Enum):
    """Kind of a line, as the configuration names it."""

    HDLC = "rs485"
    WRAPPER = "wrapper"
    HDLC_TCP = "hdlc-tcp"

    @property
    def is_shared(self) -> bool:
        """One link for all meters of the line."""
        return self is Framing.HDLC

    def place(self, meter: Meter) -> Hashable:
        """Where one session is open at a time: a meter of a shared line, else the endpoint that meters may share."""
        return meter.serial if self.is_shared else (meter.host, meter.port)


@runtime_checkable
class Interruptible(Protocol):
    """A link whose wait another thread can end."""

    def interrupt(self) -> None:
        """Whoever waits on it hears LinkLost."""
        ...


class LentLine:
    """Satisfies `ports.Line`. Any thread, but one at a time for each place (`Framing.place`).

    Args:
        name: of the bus.
        link_factory: opens the line.
        framing: its kind.
        counters: of the line's meters.
        clock: time.
        zone: of the meters' clocks.
        system_title: of this box.
        timing: deadlines.
        give_way: called before each read exchange; raises Preempted when an urgent errand waits.
        parked_at_most: associations that may stay open between visits.

    Attributes:
        link: of a shared line, while it is open.
        probed: serials of meters whose first request is tried once.
        parking: the associations that stay open.
        echoes: the line's adapter hears what it sends.
    """

    def __init__(
        self,
        name: str,
        link_factory: LinkFactory,
        framing: Framing,
        counters: CounterBook,
        clock: Clock,
        zone: tzinfo,
        *,
        system_title: bytes,
        timing: LineTiming,
        give_way: Callable[[], None],
        parked_at_most: int = 64,
    ) -> None:
        self.link: ByteLink | None = None
        self.probed: set[str] = set()
        self._name = name
        self._link_factory = link_factory
        self._framing = framing
        self._clock = clock
        self._timing = timing
        self._give_way = give_way
        self._sizes = FrameSizes()
        self.echoes = False
        self._guests: dict[Hashable, ByteLink] = {}  # the connection that was last opened at each place
        hdlc, now = framing is not Framing.WRAPPER, clock.monotonic_s
        caller = Caller(self._data_link, counters, system_title, zone, now, give_way, disconnects=hdlc)
        self.parking = Parking(
            caller.open,
            clock.monotonic_s,
            probes=partial(self._probe, caller),
            place=framing.place,
            beats=hdlc,
            at_most=parked_at_most,
        )

    def associate(self, meter: Meter, purpose: Purpose) -> AbstractContextManager[Association]:
        """As `ports.Line.associate`."""
        return self.parking.associate(meter, purpose)

    def _probe(self, caller: Caller, meter: Meter, purpose: Purpose) -> Session:
        """As `Caller.open`, with one try of the first request."""
        known = meter.serial in self.probed
        self.probed.add(meter.serial)
        try:
            return caller.open(meter, purpose)
        finally:
            if not known:
                self.probed.discard(meter.serial)

    @contextmanager
    def survey(self) -> Iterator[ByteLink]:
        """The shared line itself, for who looks for meters on it; what is open on it ends first.

        Raises:
            OperatorFault: every meter of this line has a connection of its own.
            BusFault: the line is down.
            Preempted: something more urgent waits than to end all that.
        """
        if not self._framing.is_shared:
            raise OperatorFault("its meters share no line", place=self._name, cure="name the endpoint with --tcp")
        if self.link is None:
            raise BusFault("the line is down", place=self._name)
        self.parking.end(self._give_way)
        try:
            yield self.link
        finally:
            if isinstance(self.link, SpeedLink):
                self.link.set_speed(self.link.baud)

    @property
    def is_open(self) -> bool:
        """Whether errands can run: each has its own connection, or the shared line is open."""
        return not self._framing.is_shared or self.link is not None

    def open(self) -> None:
        """Open a shared line that is not open. Raises BusFault."""
        if not self.is_open:
            self.link = self._link_factory(None)

    def lose(self) -> None:
        """Give up a shared line that failed, with all that was open on it."""
        self.parking.forget()
        self._close_link()

    def close(self) -> None:
        """End what is open, and the line."""
        self.parking.end()
        self._close_link()

    def _close_link(self) -> None:
        if self.link is not None:
            with suppress(DcuError):
                self.link.close()
            self.link = None

    def _data_link(self, meter: Meter, client_sap: int) -> DataLink:
        """A data link to `meter` for one client, not open yet."""
        if self._framing.is_shared:
            if self.link is None:
                raise BusFault("the line is down", place=self._name)
            return self._framed(self.link, meter, client_sap)
        place = self._framing.place(meter)
        guest = self._link_factory(meter)
        try:
            framed = self._framed(guest, meter, client_sap)
        except BaseException:
            guest.close()
            raise
        self._guests[place] = guest
        return OwnLink(framed, guest, lambda: self._forget(place, guest))

    def _forget(self, place: Hashable, guest: ByteLink) -> None:
        if self._guests.get(place) is guest:
            del self._guests[place]

    def interrupt(self, place: Hashable) -> None:
        """From any thread: whoever waits for an answer at that place hears that the connection is lost."""
        guest: object = self._guests.get(place)
        if isinstance(guest, Interruptible):
            guest.interrupt()

    def _learn(self, serial: str, offered: HdlcOffer, heard: Heard) -> None:
        """What a link that ended says of the line."""
        self._sizes.learn(serial, offered, heard)
        if heard.echoes and not self.echoes:
            self.echoes = True
            log.info("bus %s: its adapter hears what it sends; the echo is left out", self._name)

    def _framed(self, link: ByteLink, meter: Meter, client_sap: int) -> DataLink:
        model, monotonic, place = meter.model, self._clock.monotonic_s, meter.serial
        if self._framing is Framing.WRAPPER:
            return WrapperLink(link, client_sap, model.server_sap, self._timing, monotonic, place)
        timing = replace(self._timing, first_tries=1) if meter.serial in self.probed else self._timing
        client = client_address(client_sap)
        server = server_address(model.server_sap, meter.address, model.address_octets)

        def hdlc_at(timing: LineTiming) -> HdlcLink:
            offer = self._sizes.offer(place, timing, model.max_info_bytes, model.window)
            ended = partial(self._learn, place)
            return HdlcLink(link, client, server, offer, timing, monotonic, place, give_way=self._give_way, ended=ended)

        if Quirk.MODE_E in model.quirks and isinstance(link, SpeedLink):
            return ModeELink(link, timing, hdlc_at, monotonic, place)
        return hdlc_at(timing)


class OwnLink:
    """A data link over a connection that nobody shares: it is closed with it. Satisfies `DataLink`."""

    def __init__(self, framed: DataLink, connection: ByteLink, closed: Callable[[], None]) -> None:
        self._framed = framed
        self._connection = connection
        self._closed = closed

    def open(self) -> None:
        """As `DataLink.open`."""
        self._framed.open()

    def exchange(self, apdu: bytes, *, once: bool) -> bytes:
        """As `DataLink.exchange`."""
        return self._framed.exchange(apdu, once=once)

    def keep_alive(self) -> bool:
        """As `DataLink.keep_alive`."""
        return self._framed.keep_alive()

    def settle(self) -> None:
        """As `DataLink.settle`."""
        self._framed.settle()

    def close(self) -> None:
        """As `DataLink.close`, and the connection."""
        try:
            self._framed.close()
        finally:
            with suppress(DcuError):
                self._connection.close()
            self._closed()
