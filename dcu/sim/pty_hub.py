"""A line on a pty: the master's end is read and written here, the slave's path is the serial port of whoever reads.

Pacing is by deadlines of the line's model, so lateness of one wake-up is not carried into the next. The hub keeps the
slave open itself, so a reader may be killed and come again; what nobody reads is lost, as on a wire.
"""

import contextlib
import logging
import os
import termios
import tty
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from dcu.sim.errors import ConfigMistake
from dcu.sim.line import BITS_PER_OCTET, MASTER, Heard, LineModel
from dcu.sim.meter import VirtualMeter
from dcu.sim.optical import BAUDS, OpticalHead

log = logging.getLogger(__name__)

_WAKE_S: Final = 0.004
_BACKLOG: Final = 16_384
_REACTION_S: Final = 0.2
"""Of a meter to a line of the sign-on (IEC 62056-21 6.3.14: 200 ms to 1500 ms)."""
_SPEEDS: Final = {getattr(termios, f"B{baud}"): baud for baud in (*BAUDS, 38400, 57600, 115200)}


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
        self._head = _head_of(meters)
        self._speed = BAUDS[0]  # of what passes an optical head now
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
        if self._head:
            self._pace(self._reader_speed())
        self.model.say(MASTER, now, octets)

    def run(self, now: float) -> float | None:
        """Pass on what has passed by `now`; when to be called again, None for not before new input."""
        for heard in self.model.due(now):
            self._note(heard)
            if heard.talker != MASTER or self.echo:
                self._write(heard.octets)
            if self._head:
                self._tell_head(self._head, heard)
            else:
                self._tell(heard)
        self._hear_unasked(now)
        end = self.model.next_end()
        return None if end is None else min(end, now + max(_WAKE_S, self.model.octet_s))

    def _tell(self, heard: Heard) -> None:
        """A pair has no direction: a meter hears the others' answers as well as the reader."""
        noise, rng, at = self.model.noise, self.model.rng, heard.at
        for number, meter in enumerate(self._meters):
            if number == heard.talker or at < self._silent_until[number]:
                continue
            frames = meter.receive(heard.octets, at)
            if not frames:
                continue
            if noise.silence_rate > 0 and rng.random() < noise.silence_rate:
                self._silent_until[number] = at + noise.silence_s
                continue
            own = meter.config.turnaround_ms
            pause = self._turnaround_s if own is None else own / 1000
            self.model.say(number, at + pause + meter.faults.delay_s, b"".join(frames))

    def _hear_unasked(self, now: float) -> None:
        """Meters that talk although nobody asked them."""
        for number, meter in enumerate(self._meters):
            faults = meter.faults.link
            talks = meter.powered and (faults.hold is not None or faults.babble_s > 0)
            if talks and self.model.queued(number) == 0:
                self.model.say(number, now, faults.unasked(now))

    # ---- an optical head --------------------------------------------------------------------------------------------

    def _tell_head(self, head: OpticalHead, heard: Heard) -> None:
        if heard.talker == MASTER:
            answer, speed = head.receive(heard.octets, heard.at, self._speed)
            binary = answer[:1] == b"\x7e"  # with parity no line of the sign-on begins so
            if answer:
                self._pace(speed)
                self.model.say(0, heard.at + (self._turnaround_s if binary else _REACTION_S), answer)

    def _pace(self, speed: int) -> None:
        """What is said next goes at this speed; a head is never spoken through by two at once."""
        if self.model.next_end() is None:
            self._speed, self.model.octet_s = speed, BITS_PER_OCTET / speed

    def _reader_speed(self) -> int:
        """The speed that the reader's side has set; a pty keeps it, and drops parity and character size."""
        return _SPEEDS.get(termios.tcgetattr(self._slave)[5], 0) or BAUDS[0]

    def _note(self, heard: Heard) -> None:
        if self._trace is not None:
            with self._trace.open("a") as file:
                file.write(f"{'>' if heard.talker == MASTER else '<'} {heard.octets.hex()}\n")

    def _write(self, octets: bytes) -> None:
        if self._master < 0 or (self._head and self._speed != self._reader_speed()):
            return  # at another speed an octet is no octet
        with contextlib.suppress(BlockingIOError, OSError):
            os.write(self._master, octets)  # a full pty has no reader: what does not fit is lost


def _head_of(meters: Sequence[VirtualMeter]) -> OpticalHead | None:
    """The optical head, where the line has one; a head has one meter."""
    named = [meter for meter in meters if meter.config.mode_e_baud]
    if not named:
        return None
    meter = named[0]
    if len(meters) > 1:
        raise ConfigMistake(f"meter {meter.config.serial!r}: behind an optical head it is alone on its line")
    return OpticalHead(meter.config.mode_e_baud, meter.receive, meter.is_connected, meter.config.inactivity_s)


def _point(link: Path, path: str) -> None:
    """Symlink in one step, so that nobody finds it missing."""
    link.parent.mkdir(parents=True, exist_ok=True)
    fresh = link.with_name(f".{link.name}.{os.getpid()}")
    with contextlib.suppress(FileNotFoundError):
        fresh.unlink()
    fresh.symlink_to(path)
    fresh.replace(link)
