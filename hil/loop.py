"""A serial loop: two ports that are wired to each other crosswise.

By default two ptys with a thread that carries octets between them; with DCU_HIL_PORT_A and DCU_HIL_PORT_B two real
adapters, RS-485 A to A and B to B (or RS-232 crossed).
"""

import os
import select
import threading
import tty
from pathlib import Path


class PtyLoop:
    """Two ptys, joined. `unplug_a` pulls adapter A; `replug_a` brings it back under the same name."""

    def __init__(self, directory: Path):
        self.port_a = str(directory / "port-a")
        self.port_b = str(directory / "port-b")
        self._masters = {}
        self._slaves = {}
        self._lock = threading.Lock()
        self._stop = threading.Event()
        for port in (self.port_a, self.port_b):
            self._plug(port)
        self._thread = threading.Thread(target=self._carry, name="loop", daemon=True)
        self._thread.start()

    def _plug(self, port):
        master, slave = os.openpty()
        tty.setraw(slave)
        os.set_blocking(master, False)
        with self._lock:
            self._masters[port], self._slaves[port] = master, slave
        link = Path(port)
        link.unlink(missing_ok=True)
        link.symlink_to(os.ttyname(slave))

    def unplug_a(self):
        """Adapter A is pulled."""
        with self._lock:
            os.close(self._masters.pop(self.port_a))
            os.close(self._slaves.pop(self.port_a))
        Path(self.port_a).unlink()

    def replug_a(self):
        """And plugged in again; by another kernel name, under the same symlink."""
        self._plug(self.port_a)

    def _carry(self):
        while not self._stop.is_set():
            with self._lock:
                masters = dict(self._masters)
            readable, _, _ = select.select(list(masters.values()), [], [], 0.05)
            with self._lock:
                for port, master in masters.items():
                    other = self.port_b if port == self.port_a else self.port_a
                    if master not in readable or self._masters.get(port) != master:
                        continue
                    try:
                        octets = os.read(master, 4096)
                    except OSError:
                        continue
                    self._write(self._masters.get(other), octets)

    @staticmethod
    def _write(master, octets):
        while master is not None and octets:
            try:
                octets = octets[os.write(master, octets) :]
            except BlockingIOError:
                select.select([], [master], [], 0.05)
            except OSError:
                return

    def close(self):
        """End it."""
        self._stop.set()
        self._thread.join(5)
        for descriptor in (*self._masters.values(), *self._slaves.values()):
            os.close(descriptor)


class Adapters:
    """Two real adapters, cross-wired."""

    def __init__(self, port_a, port_b):
        self.port_a = port_a
        self.port_b = port_b

    def close(self):
        """Nothing is held."""
