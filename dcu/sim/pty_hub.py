"""A line on a pty: the master's end is read and written here, the slave's path is the serial port of whoever reads.

Pacing is by deadlines of the line's model, so lateness of one wake-up is not carried into the next. The hub keeps the
slave open itself, so a reader may be killed and come again; what nobody reads is lost, as on a wire.
"""

import contextlib
import logging
import os
import tty
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from dcu.sim.line import MASTER, Heard, LineModel
from dcu.sim.meter import VirtualMeter

log = logging.getLogger(__name__)

_WAKE_S: Final = 0.004
_BACKLOG: Final = 16_384


class PtyHub:
    """Meters on one pty. One thread drives it: `wants_input`, `read`, `run`.

    Args:
        meters: who hangs on the line.
        model: its pace and noise.
        turnaround_s: from the end of a request to the start of its answer, where a meter has none of its own.
        link: symlink to be kept at the slave's path; None for none.
        trace: file that is told what passes: `> hex` from the reader, `< hex` from a meter; None for none.
    """

    def __init__(
        self,
        meters: Sequence[VirtualMeter],
        model: LineModel,
        turnaround_s: float,
        link: Path | None,
        trace: Path | None = None,
    ) -> None:
        self.model = model
        self.echo = False
        """The adapter hears itself: what the reader sends comes back to it."""
        self._meters = meters
        self._turnaround_s = turnaround_s
        self._link = link
        self._trace = trace
        self._silent_until = [0.0] * len(meters)
        self._master = self._slave = -1
        self.path = ""
        self.plug()

    def plug(self) -> None:
        """Make the pty and its symlink; after `unplug`, another one under the same symlink."""
        self._master, self._slave = os.openpty()
        tty.setraw(self._slave)
        os.set_blocking(self._master, False)
        self.path = os.ttyname(self._slave)
        if self._link:
            _point(self._link, self.path)

    def unplug(self) -> None:
        """The adapter is pulled: readers get an error, the symlink is gone."""
        if self._master < 0:
            return
        os.close(self._master)
        os.close(self._slave)
        self._master = self._slave = -1
        if self._link and self._link.is_symlink() and str(self._link.readlink()) == self.path:
            self._link.unlink()

    def fileno(self) -> int:
        """Descriptor to be watched for input, or -1 while unplugged."""
        return self._master

    def wants_input(self) -> bool:
        """False while so much waits to pass that the writer has to."""
        return self._master >= 0 and self.model.queued(MASTER) < _BACKLOG

    def read(self, now: float) -> None:
        """Take what the reader's side wrote; it starts to pass at `now`."""
        try:
            octets = os.read(self._master, 4096)
        except (BlockingIOError, OSError):
            return
        self.model.say(MASTER, now, octets)

    def run(self, now: float) -> float | None:
        """Pass on what has passed by `now`; when to be called again, None for not before new input."""
        for heard in self.model.due(now):
            self._note(heard)
            if heard.talker != MASTER or self.echo:
                self._write(heard.octets)
            if heard.talker == MASTER:
                self._tell(heard.octets, heard.at)
        end = self.model.next_end()
        return None if end is None else min(end, now + max(_WAKE_S, self.model.octet_s))

    def _tell(self, octets: bytes, at: float) -> None:
        noise, rng = self.model.noise, self.model.rng
        for number, meter in enumerate(self._meters):
            if at < self._silent_until[number]:
                continue
            frames = meter.receive(octets, at)
            if not frames:
                continue
            if noise.silence_rate > 0 and rng.random() < noise.silence_rate:
                self._silent_until[number] = at + noise.silence_s
                continue
            own = meter.config.turnaround_ms
            pause = self._turnaround_s if own is None else own / 1000
            self.model.say(number, at + pause + meter.faults.delay_s, b"".join(frames))

    def _note(self, heard: Heard) -> None:
        if self._trace is not None:
            with self._trace.open("a") as file:
                file.write(f"{'>' if heard.talker == MASTER else '<'} {heard.octets.hex()}\n")

    def _write(self, octets: bytes) -> None:
        if self._master < 0:
            return
        with contextlib.suppress(BlockingIOError, OSError):
            os.write(self._master, octets)  # a full pty has no reader: what does not fit is lost


def _point(link: Path, path: str) -> None:
    """Symlink in one step, so that nobody finds it missing."""
    link.parent.mkdir(parents=True, exist_ok=True)
    fresh = link.with_name(f".{link.name}.{os.getpid()}")
    with contextlib.suppress(FileNotFoundError):
        fresh.unlink()
    fresh.symlink_to(path)
    fresh.replace(link)
