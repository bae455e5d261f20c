"""A meter's own station (`dcu.sim`, independent of the drivers) on a line of fake time, with faults on either way."""

from dcu.drivers import hdlc
from dcu.drivers.data_link import HdlcOffer, LineTiming
from dcu.drivers.hdlc_link import HdlcLink
from dcu.sim.link_faults import LinkFaults
from dcu.sim.station import Station, StationLimits

from .line import ScriptedLine, frame_of

CLIENT, SERVER = hdlc.client_address(32), hdlc.server_address(1, 17)
OTHER = hdlc.server_address(1, 18)
TIMING = LineTiming(first_octet_s=3.0, octet_gap_s=0.3, reply_s=6.0, tries=3)


class Answering:
    """A session that answers each request as it is told to, and remembers what it was asked."""

    def __init__(self, answers):
        self.asked, self.answers = [], answers

    def respond(self, apdu):
        self.asked.append(apdu)
        return self.answers(apdu)


class StationLine:
    """One station behind a scripted line.

    `up(octets)` and `down(frames)` may change what passes: the first gives the octets that the meter hears (None:
    nothing), the second a list of octets or of (delay_s, octets) that go back.
    """

    def __init__(self, answers=lambda apdu: b"\xc4" + apdu, *, server=SERVER, **limits):
        self.session = Answering(answers)
        self.faults = LinkFaults()
        self.station = Station(server, lambda _client: self.session, StationLimits(**limits), self.faults)
        self.server = server
        self.up = self.down = lambda passing: passing
        self.line = ScriptedLine(self._hear)

    def _hear(self, octets):
        heard = self.up(octets)
        frames = [] if heard is None else self.faults.worn(self.station.receive(heard, self.line.time.now_s))
        return [part if isinstance(part, tuple) else (0.02, part) for part in self.down(frames)]

    def link(self, info=128, window=1, *, timing=TIMING, client=CLIENT, **how):
        offer = HdlcOffer(info, window)
        return HdlcLink(self.line, client, self.server, offer, timing, self.line.time, "meter 17", **how)

    def opened(self, info=128, window=1, **how):
        link = self.link(info, window, **how)
        link.open()
        return link

    def sent_frames(self):
        """Every frame that we sent, in order."""
        return [frame for octets in self.line.sent for frame in frames_of(octets)]


def frames_of(octets):
    """The frames in octets that are nothing else."""
    reader = hdlc.FrameReader()
    reader.feed(octets)
    found = []
    while (frame := reader.next_frame()) is not None:
        found.append(frame)
    return found


def damaged(octets):
    """The same frame with one bit of its information or control wrong."""
    assert frame_of(octets)
    at = len(octets) - 4
    return octets[:at] + bytes([octets[at] ^ 0x10]) + octets[at + 1 :]
