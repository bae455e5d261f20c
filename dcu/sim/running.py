"""Virtual meters running in real time: one thread that serves the pty line, the TCP ports and the captures."""

import contextlib
import os
import selectors
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Self

from dcu.sim.line import LineModel, Noise
from dcu.sim.meter import VirtualMeter
from dcu.sim.meter_config import MeterConfig
from dcu.sim.pty_hub import PtyHub
from dcu.sim.tcp_ports import TcpPorts

_CAPTURE_S: Final = 0.1
"""How often captures are looked for; a thousand meters are looked through once a second."""


class PtyLine:
    """A line that runs: `run` serves it, or as a context a thread of its own does.

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
        echo: the adapter hears itself; may be changed while it runs.
        round_trip_ms: what the network adds to each exchange over TCP; may be changed (`line.round_trip_s`).

    Attributes:
        port: path to open as serial port: the symlink where there is one.
        meters: by serial.
        tcp, hdlc_tcp: TCP port by serial of the wrapper and of HDLC, for meters that have one.

    Raises:
        ConfigMistake: such meters or such a line cannot be.
        OSError: a port or the ledger cannot be had.
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
        echo: bool = False,
        round_trip_ms: float = 0.0,
    ) -> None:
        self.noise = noise or Noise()
        self.meters = {config.serial: VirtualMeter(config, now=now, ledger=ledger) for config in configs}
        self._hub = PtyHub(
            list(self.meters.values()), LineModel(baud, self.noise, seed), turnaround_ms / 1000, link, trace
        )
        self._hub.echo = echo
        self._link = link
        self._selector = selectors.DefaultSelector()
        self._tcp = TcpPorts(self._selector, round_trip_ms / 1000)
        self._captures_at = 0.0
        self._thread = threading.Thread(target=self.run, name="virtual-line", daemon=True)
        self._watched = False
        self._stop = threading.Event()
        self._orders: list[tuple[Callable[[], None], threading.Event]] = []
        self._wake_in, self._wake_out = os.pipe()
        os.set_blocking(self._wake_in, False)
        self._selector.register(self._wake_in, selectors.EVENT_READ, self._woken)
        for meter in self.meters.values():
            self._tcp.listen(meter)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_fault: object) -> None:
        self.stop()
        self._thread.join(5.0)

    @property
    def tcp(self) -> dict[str, int]:
        """TCP port of the wrapper by serial."""
        return self._tcp.wrapper

    @property
    def hdlc_tcp(self) -> dict[str, int]:
        """TCP port of HDLC by serial."""
        return self._tcp.hdlc

    @property
    def round_trip_s(self) -> float:
        """What the network adds to each exchange over TCP."""
        return self._tcp.round_trip_s

    @round_trip_s.setter
    def round_trip_s(self, seconds: float) -> None:
        self._tcp.round_trip_s = seconds

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
        if now >= self._captures_at:
            for meter in self.meters.values():
                meter.tick()
            self._captures_at = now + max(_CAPTURE_S, len(self.meters) / 1000)
        moments = [self._captures_at, self._hub.run(now), self._tcp.send(now)]
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
        self._tcp.close()
        self._selector.close()
        wake_in, wake_out = self._wake_in, self._wake_out
        self._wake_in = self._wake_out = -1  # a late `stop` must not write to whoever gets the number next
        os.close(wake_in)
        os.close(wake_out)
        for meter in self.meters.values():
            meter.close()


running_line = PtyLine
"""A line with its thread, as a context: `with running_line(configs) as line`."""
