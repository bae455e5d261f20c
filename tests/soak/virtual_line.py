"""An RS-485 line with virtual meters in virtual time: `LineModel` between a byte link and meters, in one thread."""

from collections.abc import Sequence

from dcu.errors import BusFault
from dcu.sim import VirtualMeter, hdlc
from dcu.sim.line import MASTER, LineModel, Noise
from tests.soak.virtual_clock import VirtualClock, VirtualTime

_SOON_S = 1e-6
"""Past the end of an octet, so that rounding never leaves it unheard."""


class VirtualLine:
    """The wire, its adapter and its meters.

    Args:
        time: the true time.
        meters: who hangs on the line.
        baud: its pace.
        turnaround_ms: from a request to its answer, where a meter has none of its own.
        noise: what the wire does to octets; may be changed at any time.
        seed: of the noise.

    Attributes:
        model: the pair; `model.noise` may be changed, and `model.say(number, at, octets)` lets somebody babble.
        cut: the cable is cut beyond the adapter: nobody hears anybody.
        plugged: the adapter is there; unplugged, the link that was open fails and none can be opened.
        echo: the adapter hears itself.
        octets: that have passed, of all talkers: times ten and over baud it is the time that the line was in use.
    """

    def __init__(
        self,
        time: VirtualTime,
        meters: Sequence[VirtualMeter],
        *,
        baud: int = 9600,
        turnaround_ms: float = 20.0,
        noise: Noise | None = None,
        seed: int = 0,
    ) -> None:
        self.time = time
        self.meters = list(meters)
        self._addresses = [_address(meter) for meter in self.meters]
        self._faults = [meter.faults.link for meter in self.meters]
        self.baud = baud
        self.model = LineModel(baud, noise, seed)
        self.cut = self.echo = False
        self.plugged = True
        self.octets = 0
        self._turnaround_s = turnaround_ms / 1000
        self._plugs = 0
        self._silent_until = [0.0] * len(self.meters)

    def open(self, clock: VirtualClock) -> "VirtualLink":
        """A byte link to it, for a `LinkFactory`. Raises BusFault while the adapter is unplugged."""
        self._check(self._plugs)
        return VirtualLink(self, clock, self._plugs)

    def unplug(self) -> None:
        """Pull the adapter."""
        self.plugged = False
        self._plugs += 1

    def replug(self) -> None:
        """Plug it in again."""
        self.plugged = True

    def say(self, octets: bytes) -> float:
        """The master speaks from now on; when its last octet has passed, in elapsed seconds."""
        self._babble()
        return self.model.say(MASTER, self.time.elapsed_s, octets) + _SOON_S

    def next_s(self) -> float | None:
        """When there is something to hear, in elapsed seconds; None on a quiet line."""
        self._babble()
        end_s = self.model.next_end()
        return None if end_s is None else end_s + _SOON_S

    def hear(self) -> bytes:
        """What has passed by now and reaches the master."""
        heard = bytearray()
        for part in self.model.due(self.time.elapsed_s):
            self.octets += len(part.octets)
            if part.talker != MASTER:
                heard += b"" if self.cut else part.octets
                continue
            if self.echo:
                heard += part.octets
            if not self.cut:
                self._tell(part.octets, part.at)
        return bytes(heard)

    def _babble(self) -> None:
        """Meters that talk although nobody asked them; heard only while somebody uses the line."""
        for number, faults in enumerate(self._faults):
            if (faults.hold is not None or faults.babble_s > 0) and self.model.queued(number) == 0:
                self.model.say(number, self.time.elapsed_s, faults.unasked(self.time.elapsed_s))

    def _check(self, plug: int) -> None:
        if not self.plugged or plug != self._plugs:
            raise BusFault("the adapter is gone", place="virtual line")

    def _tell(self, octets: bytes, at: float) -> None:
        noise, rng = self.model.noise, self.model.rng
        for number in self._listeners(octets):
            meter = self.meters[number]
            if at < self._silent_until[number]:
                continue
            frames = meter.receive(octets, at)
            if not frames:
                continue
            if noise.silence_rate > 0 and rng.random() < noise.silence_rate:
                self._silent_until[number] = at + noise.silence_s
                continue
            own = meter.config.turnaround_ms
            pause_s = self._turnaround_s if own is None else own / 1000
            self.model.say(number, at + pause_s + meter.faults.delay_s, b"".join(frames))

    def _listeners(self, octets: bytes) -> Sequence[int]:
        """Who has to hear this: all, but a whole frame on a quiet wire is nothing to whom it is not addressed to."""
        noise = self.model.noise
        everybody = range(len(self.meters))
        if noise.bit_error_rate > 0 or noise.loss_rate > 0 or octets[:1] != b"\x7e" or octets[-1:] != b"\x7e":
            return everybody
        if 2 + int.from_bytes(octets[1:3], "big") % 0x800 != len(octets):
            return everybody  # several frames, or something else
        return [number for number in everybody if octets.startswith(self._addresses[number], 3)]


class VirtualLink:
    """One opening of the line (`ports.ByteLink`); its waits are what moves the time on."""

    def __init__(self, line: VirtualLine, clock: VirtualClock, plug: int) -> None:
        self._line = line
        self._clock = clock
        self._plug = plug
        self._input = bytearray()

    def send(self, octets: bytes) -> None:
        """Write all of it and wait until it has left, as the serial port's flush does. Raises BusFault."""
        self._check()
        self._wait(self._line.say(octets))

    def receive(self, deadline_s: float) -> bytes:
        """What has come; b"" when the monotonic deadline passed. Raises BusFault."""
        end_s = self._clock.elapsed_s(deadline_s)
        self._hear()
        while not self._input and self._clock.time.elapsed_s < end_s:
            next_s = self._line.next_s()
            self._clock.time.pass_to(end_s if next_s is None else min(end_s, max(next_s, self._clock.time.elapsed_s)))
            self._hear()
        heard = bytes(self._input)
        self._input.clear()
        return heard

    def flush_input(self) -> None:
        """Forget whatever came unasked. Raises BusFault."""
        self._hear()
        self._input.clear()

    def close(self) -> None:
        """Nothing is left open."""
        self._input.clear()

    def _wait(self, until_s: float) -> None:
        while self._clock.time.elapsed_s < until_s:
            self._clock.time.pass_to(min(until_s, self._line.next_s() or until_s))
            self._hear()

    def _check(self) -> None:
        self._clock.check_supply()
        self._line._check(self._plug)

    def _hear(self) -> None:
        self._check()
        self._input += self._line.hear()


def _address(meter: VirtualMeter) -> bytes:
    return hdlc.server_address(meter.config.logical_device, meter.config.address, meter.config.address_octets)
