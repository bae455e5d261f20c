"""Virtual meters running in real time: one thread that serves the pty line, the TCP ports and the captures."""

import contextlib
import logging
import os
import selectors
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from dcu.sim.line import LineModel, Noise
from dcu.sim.meter import VirtualMeter
from dcu.sim.meter_config import MeterConfig
from dcu.sim.pty_hub import PtyHub
from dcu.sim.wrapper import WrapperPort

log = logging.getLogger(__name__)

_CAPTURE_S: Final = 0.1
"""How often captures are looked for on a quiet line."""


@dataclass(eq=False, slots=True)
class _Connection:
    """One TCP connection to a meter, and what waits to be sent on it and from when."""

    meter: VirtualMeter
    port: WrapperPort
    peer: socket.socket
    outgoing: list[tuple[float, bytes]] = field(default_factory=list)


class PtyLine:
    """A running line.

    Args:
        configs: its meters.
        baud: pace of the pty.
        ledger: directory of the ledgers; None keeps them in memory.
        link: symlink to the pty.
        turnaround_ms: of meters that have none of their own.
        noise: what the wire does; may be changed while it runs (`line.noise`).
        seed: of the noise.
        now: real time, seconds since 1970.
        trace: file that is told what passes on the pty line.

    Attributes:
        port: path to open as serial port: the symlink where there is one.
        meters: by serial.
        tcp: TCP port by serial, for meters that have one.
    """

    def __init__(
        self,
        configs: Sequence[MeterConfig],
        *,
        baud: int = 9600,
        ledger: Path | None = None,
        link: Path | None = None,
        turnaround_ms: float = 20.0,
        noise: Noise | None = None,
        seed: int = 0,
        now: Callable[[], float] = time.time,
        trace: Path | None = None,
    ) -> None:
        self.noise = noise or Noise()
        self.meters = {config.serial: VirtualMeter(config, now=now, ledger=ledger) for config in configs}
        self.tcp: dict[str, int] = {}
        self._hub = PtyHub(
            list(self.meters.values()), LineModel(baud, self.noise, seed), turnaround_ms / 1000, link, trace
        )
        self._link = link
        self._selector = selectors.DefaultSelector()
        self._watched = False
        self._stop = threading.Event()
        self._orders: list[tuple[Callable[[], None], threading.Event]] = []
        self._listeners: list[socket.socket] = []
        self._connections: set[_Connection] = set()
        self._wake_in, self._wake_out = os.pipe()
        os.set_blocking(self._wake_in, False)
        self._selector.register(self._wake_in, selectors.EVENT_READ, self._woken)
        for meter in self.meters.values():
            if meter.config.port is not None:
                self._listen(meter, meter.config.port)

    @property
    def port(self) -> str:
        """Path to open as serial port."""
        return str(self._link) if self._link else self._hub.path

    @property
    def pty(self) -> str:
        """Path of the pty itself."""
        return self._hub.path

    @property
    def echo(self) -> bool:
        """Whether the adapter hears itself."""
        return self._hub.echo

    @echo.setter
    def echo(self, on: bool) -> None:
        self._hub.echo = on

    def unplug(self) -> None:
        """Pull the adapter."""
        self._order(self._unplug)

    def replug(self) -> None:
        """Plug it in again: another pty, the same symlink."""
        self._order(self._hub.plug)

    def stop(self) -> None:
        """End `run`."""
        self._stop.set()
        self._wake()

    # ---- the thread -------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Serve until `stop`."""
        try:
            while not self._stop.is_set():
                self._turn()
        finally:
            self._close()

    def _turn(self) -> None:
        now = time.monotonic()
        moments = [now + _CAPTURE_S, self._hub.run(now), *(self._send(each, now) for each in list(self._connections))]
        for meter in self.meters.values():
            meter.tick()
        self._watch()
        deadline = min(moment for moment in moments if moment is not None)
        for key, _ in self._selector.select(max(0.0, deadline - time.monotonic())):
            key.data()

    def _watch(self) -> None:
        """Watch the pty only while it is there and its writer need not wait."""
        if self._hub.wants_input() == self._watched:
            return
        if self._watched:
            self._selector.unregister(self._hub)
        else:
            self._selector.register(self._hub, selectors.EVENT_READ, self._hear)
        self._watched = not self._watched

    def _hear(self) -> None:
        self._hub.read(time.monotonic())

    def _unplug(self) -> None:
        if self._watched:
            self._selector.unregister(self._hub)
            self._watched = False
        self._hub.unplug()

    def _order(self, order: Callable[[], None]) -> None:
        """Have the thread do something, and wait for it."""
        done = threading.Event()
        self._orders.append((order, done))
        self._wake()
        if not done.wait(5.0):
            raise TimeoutError("the line's thread does not run")

    def _wake(self) -> None:
        with contextlib.suppress(OSError):
            os.write(self._wake_out, b"\0")

    def _woken(self) -> None:
        os.read(self._wake_in, 4096)
        orders, self._orders = self._orders, []
        for order, done in orders:
            order()
            done.set()

    def _close(self) -> None:
        self._unplug()
        for connection in list(self._connections):
            self._drop(connection)
        for listener in self._listeners:
            listener.close()
        self._selector.close()
        wake_in, wake_out = self._wake_in, self._wake_out
        self._wake_in = self._wake_out = -1  # a late `stop` must not write to whoever gets the number next
        os.close(wake_in)
        os.close(wake_out)
        for meter in self.meters.values():
            meter.close()

    # ---- TCP --------------------------------------------------------------------------------------------------------

    def _listen(self, meter: VirtualMeter, port: int) -> None:
        listener = socket.create_server(("127.0.0.1", port))
        listener.setblocking(False)
        self._listeners.append(listener)
        self.tcp[meter.config.serial] = listener.getsockname()[1]
        self._selector.register(listener, selectors.EVENT_READ, lambda: self._admit(listener, meter))

    def _admit(self, listener: socket.socket, meter: VirtualMeter) -> None:
        try:
            peer, _ = listener.accept()
        except OSError:
            return
        peer.settimeout(1.0)
        connection = _Connection(meter, meter.wrapper_port(), peer)
        self._connections.add(connection)
        self._selector.register(peer, selectors.EVENT_READ, lambda: self._listen_to(connection))

    def _listen_to(self, connection: _Connection) -> None:
        try:
            octets = connection.peer.recv(4096)
        except OSError:
            octets = b""
        answers = connection.meter.converse(connection.port, octets) if octets else None
        if answers is None:
            self._drop(connection)
            return
        at = time.monotonic() + connection.meter.faults.delay_s
        connection.outgoing += [(at, answer) for answer in answers]

    def _send(self, connection: _Connection, now: float) -> float | None:
        """Send what is due; when the next is."""
        while connection.outgoing:
            at, answer = connection.outgoing[0]
            if at > now:
                return at
            del connection.outgoing[0]
            try:
                connection.peer.sendall(answer)
            except OSError:
                self._drop(connection)
                return None
        return None

    def _drop(self, connection: _Connection) -> None:
        if connection in self._connections:
            self._connections.discard(connection)
            self._selector.unregister(connection.peer)
            connection.peer.close()


@contextlib.contextmanager
def running_line(
    configs: Sequence[MeterConfig],
    *,
    baud: int = 9600,
    ledger: Path | None = None,
    link: Path | None = None,
    turnaround_ms: float = 20.0,
    noise: Noise | None = None,
    seed: int = 0,
    now: Callable[[], float] = time.time,
    trace: Path | None = None,
) -> Iterator[PtyLine]:
    """A `PtyLine` with its thread, ended on the way out. Arguments as there."""
    line = PtyLine(
        configs,
        baud=baud,
        ledger=ledger,
        link=link,
        turnaround_ms=turnaround_ms,
        noise=noise,
        seed=seed,
        now=now,
        trace=trace,
    )
    thread = threading.Thread(target=line.run, name="virtual-line", daemon=True)
    thread.start()
    try:
        yield line
    finally:
        line.stop()
        thread.join(5.0)
