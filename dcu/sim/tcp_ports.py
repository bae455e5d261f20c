"""TCP ports of virtual meters: the wrapper or HDLC behind each, and a network that takes its time. One thread."""

import heapq
import itertools
import selectors
import socket
import time
from dataclasses import dataclass

from dcu.sim.meter import VirtualMeter
from dcu.sim.station import HdlcPort
from dcu.sim.wrapper import WrapperPort


@dataclass(eq=False, slots=True)
class _Connection:
    """One connection to a meter."""

    meter: VirtualMeter
    port: WrapperPort | HdlcPort
    peer: socket.socket
    open: bool = True


class TcpPorts:
    """The ports, driven by whoever owns the selector: its keys' data are called when they are ready.

    Attributes:
        round_trip_s: what the network adds to each exchange; plain assignment while it runs.
        wrapper, hdlc: port number by serial.
    """

    def __init__(self, selector: selectors.BaseSelector, round_trip_s: float = 0.0) -> None:
        self.round_trip_s = round_trip_s
        self.wrapper: dict[str, int] = {}
        self.hdlc: dict[str, int] = {}
        self._selector = selector
        self._listeners: list[socket.socket] = []
        self._connections: set[_Connection] = set()
        self._outgoing: list[tuple[float, int, _Connection, bytes]] = []
        self._order = itertools.count()

    def listen(self, meter: VirtualMeter) -> None:
        """Open the ports that the meter has. Raises OSError."""
        config = meter.config
        if config.port is not None:
            self.wrapper[config.serial] = self._listen(meter, config.port, framed=False)
        if config.hdlc_port is not None:
            self.hdlc[config.serial] = self._listen(meter, config.hdlc_port, framed=True)

    def send(self, now: float) -> float | None:
        """Send what is due; when the next is."""
        while self._outgoing and self._outgoing[0][0] <= now:
            _, _, connection, answer = heapq.heappop(self._outgoing)
            if not connection.open:
                continue
            try:
                connection.peer.sendall(answer)
            except OSError:
                self._drop(connection)
        return self._outgoing[0][0] if self._outgoing else None

    def close(self) -> None:
        """End all of it."""
        for connection in list(self._connections):
            self._drop(connection)
        for listener in self._listeners:
            listener.close()

    def _listen(self, meter: VirtualMeter, port: int, *, framed: bool) -> int:
        listener = socket.create_server(("127.0.0.1", port))
        listener.setblocking(False)
        self._listeners.append(listener)
        self._selector.register(listener, selectors.EVENT_READ, lambda: self._admit(listener, meter, framed=framed))
        number: int = listener.getsockname()[1]
        return number

    def _admit(self, listener: socket.socket, meter: VirtualMeter, *, framed: bool) -> None:
        try:
            peer, _ = listener.accept()
        except OSError:
            return
        peer.settimeout(1.0)
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection = _Connection(meter, meter.hdlc_port() if framed else meter.wrapper_port(), peer)
        self._connections.add(connection)
        self._selector.register(peer, selectors.EVENT_READ, lambda: self._hear(connection))

    def _hear(self, connection: _Connection) -> None:
        try:
            octets = connection.peer.recv(4096)
        except OSError:
            octets = b""
        answers = connection.meter.converse(connection.port, octets) if octets else None
        if answers is None:
            self._drop(connection)
            return
        at = time.monotonic() + connection.meter.faults.delay_s + self.round_trip_s
        for answer in answers:
            heapq.heappush(self._outgoing, (at, next(self._order), connection, answer))

    def _drop(self, connection: _Connection) -> None:
        if connection.open:
            connection.open = False
            self._connections.discard(connection)
            self._selector.unregister(connection.peer)
            connection.peer.close()
