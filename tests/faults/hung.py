"""`dcu` with one loop that hangs: its heartbeat does not return any more.

DCU_HUNG names the loop; it hangs as soon as the file DCU_HUNG_WHEN is there.
"""

import os
import sys
import threading
import time
from pathlib import Path

from dcu import supervisor
from dcu.cli import main
from dcu.field import main as field_main

HUNG, WHEN = os.environ.get("DCU_HUNG", ""), Path(os.environ.get("DCU_HUNG_WHEN", ""))

_beat, _run = supervisor.Pulse.beat, supervisor.Supervisor.run
_hanging: set[int] = set()


def beat(pulse: supervisor.Pulse) -> None:
    """As it is, until it hangs."""
    while id(pulse) in _hanging:
        time.sleep(3600)
    _beat(pulse)


def run(self: supervisor.Supervisor) -> int:
    """As it is; later one loop hangs."""

    def hang() -> None:
        while not WHEN.is_file():
            time.sleep(0.1)
        if HUNG == "main":
            self.tick = lambda: time.sleep(3600)
        _hanging.update(id(unit.pulse) for unit in self.units if unit.name == HUNG)

    if HUNG:
        threading.Thread(target=hang, daemon=True).start()
    return _run(self)


if __name__ == "__main__":
    supervisor.Pulse.beat, supervisor.Supervisor.run = beat, run
    if pulse_s := os.environ.get("DCU_HUNG_PULSE_S"):
        field_main.STORE_PULSE_S = field_main.PULSE_S = float(pulse_s)
    sys.exit(main())
