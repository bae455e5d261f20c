"""The supervisor: one thread per owned resource, heartbeats, and a process that ends when a loop falls (crash-only).

Threads of the field process, and what each may not do:
    store     owns dcu.db; never waits for another thread
    bus-NAME  owns one line; waits for the store and, during a relay errand, for relay. Behind TCP there are several,
              bus-NAME-0 for relay errands alone, each with the meter that it speaks to
    relay     decides commands; waits for the store, never for a bus or a socket
    uplink    serves uplink.sock; waits for the store and for relay
    clock     watches the box's clock; waits for the store
    cli       serves field.sock; waits for the store and for a bus
    sealing   makes payloads while the network is away, in a file of its own; waits for the store. Who asks for that
              file, the store too, waits for it no longer than a tenth of a second
    main      watches them all, feeds systemd's watchdog, makes health records
Waiting goes one way only, so nothing can deadlock: cli -> bus -> relay -> store, and uplink -> relay -> store.
"""

import logging
import os
import signal
import socket
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import FrameType

from dcu.mailbox import Stop
from dcu.ports import Clock

log = logging.getLogger(__name__)

TURN_S = 0.5
"""How often the main thread looks: at signals, heartbeats and health."""

JOIN_S = 10.0
"""How long a loop may take to end; what still runs then is ended with the process."""


class Pulse:
    """Heartbeat of one loop: `beat` at every turn, and the longest silence that is still life."""

    def __init__(self, clock: Clock, limit_s: float) -> None:
        self._clock = clock
        self._limit_s = limit_s
        self._last_s = clock.monotonic_s()

    def beat(self) -> None:
        """The loop made progress."""
        self._last_s = self._clock.monotonic_s()

    def late_s(self) -> float:
        """Seconds beyond the limit; negative while all is well."""
        return self._clock.monotonic_s() - self._last_s - self._limit_s


@dataclass(frozen=True, slots=True)
class Unit:
    """One loop in one thread.

    Attributes:
        name: of the thread.
        run: the loop; returns when the process stops, and any other return or exception ends the process.
        pulse: its heartbeat.
        ends_last: ends only after the others (the store: they still commit while they end).
    """

    name: str
    run: Callable[[], None]
    pulse: Pulse
    ends_last: bool = False


@dataclass(slots=True)
class Supervisor:
    """Runs units until one falls or the process is told to stop.

    Attributes:
        units: the loops.
        stop: ends all but the last.
        last_stop: ends those that end last.
        tick: called every half second in the main thread; it feeds the watchdog, so that this must not wait for long.
    """

    units: Sequence[Unit]
    stop: Stop
    last_stop: Stop
    clock: Clock
    tick: Callable[[], None] = lambda: None
    _fallen: list[str] = field(default_factory=list)
    _told: int = 0

    def run(self) -> int:
        """Exit code: 0 when told to stop, 1 when a loop fell."""
        for name in (signal.SIGTERM, signal.SIGINT):
            signal.signal(name, self._on_signal)
        threads = {u.name: threading.Thread(target=self._live, args=(u,), name=u.name, daemon=True) for u in self.units}
        for thread in threads.values():
            thread.start()
        notify("READY=1")
        stuck = ""
        while not self.stop.wait(TURN_S) and not self._told:
            self._tick()
            late = [u.name for u in self.units if u.pulse.late_s() > 0]
            if not late:
                notify("WATCHDOG=1")
            elif stuck != (stuck := ", ".join(late)):
                log.error("no progress in: %s; systemd's watchdog is not fed", stuck)
        if self._told:
            log.info("%s: ending", signal.Signals(self._told).name)
        self.stop.set()
        notify("STOPPING=1")
        self._join([threads[u.name] for u in self.units if not u.ends_last])
        self.last_stop.set()
        self._join([threads[u.name] for u in self.units if u.ends_last])
        return 1 if self._fallen else 0

    def _tick(self) -> None:
        """What falls in the main thread ends the process as a loop that falls does: in order."""
        try:
            self.tick()
        except Exception:
            log.exception("main fell; the process ends and is started again")
            self._fallen.append("main")
            self.stop.set()

    def _live(self, unit: Unit) -> None:
        try:
            unit.run()
        except Exception:
            log.exception("%s fell; the process ends and is started again", unit.name)
            self._fallen.append(unit.name)
        if not self.stop:
            self._fallen.append(unit.name)
            self.stop.set()

    def _join(self, threads: Sequence[threading.Thread]) -> None:
        deadline_s = self.clock.monotonic_s() + JOIN_S
        for thread in threads:
            thread.join(max(0.0, deadline_s - self.clock.monotonic_s()))
            if thread.is_alive():
                log.error("%s did not end in time", thread.name)
                self._fallen.append(thread.name)

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        self._told = number  # no more than this: the main thread, interrupted anywhere, may hold any lock


def notify(state: str) -> None:
    """Tell systemd (sd_notify(3)); nothing when it is not there to listen."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
        try:
            sender.connect("\0" + address[1:] if address.startswith("@") else address)
            sender.send(state.encode())
        except OSError as fault:
            log.warning("systemd does not listen: %s", fault.strerror)
