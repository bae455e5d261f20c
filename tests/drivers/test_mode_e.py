"""The optical head: the sign-on octet for octet, meters that do less than the standard, and one on a real pty."""

from time import monotonic

import pytest

from dcu.drivers import hdlc
from dcu.drivers.data_link import HdlcOffer, LineTiming
from dcu.drivers.hdlc_link import HdlcLink
from dcu.drivers.mode_e import ModeELink, with_parity, without_parity
from dcu.drivers.serial_link import SerialLink
from dcu.errors import AddressClash, LinkLost, MeterSilent
from dcu.sim import ConfigMistake, MeterConfig, running_line
from dcu.sim.optical import OpticalHead

from .bench import KEYS
from .line import FakeTime, ScriptedLine
from .station_line import CLIENT, SERVER, StationLine

IDENTIFICATION, SELECTION = b"/GXT5\\2VIRTUAL\r\n", b"\x06252\r\n"
PUBLIC = hdlc.client_address(16)


class SpeedLine(ScriptedLine):
    """A scripted line whose port has a speed; `meter(octets, speed)` answers."""

    def __init__(self, meter, baud=9600):
        super().__init__(lambda octets: meter(octets, self.speed), FakeTime())
        self.baud = self.speed = baud
        self.speeds = []

    def set_speed(self, baud):
        self.speed = baud
        self.speeds.append(baud)
        self.coming = [(at, octets) for at, octets in self.coming if isinstance(octets, Faster)]


class Faster(bytes):
    """Octets that are said at the speed to come: those of another speed are none."""


def linked(line):
    def hdlc_at(timing):
        assert timing.octet_s == 10 / line.speed
        return HdlcLink(line, CLIENT, SERVER, HdlcOffer(), timing, line.time, "meter 17")

    return ModeELink(line, LineTiming(), hdlc_at, line.time, "meter 17")


class Meter:
    """A station behind `OpticalHead`; what it says takes its time at its speed."""

    def __init__(self, named=9600, baud=9600, *, inactivity_s=120.0):
        self.bench = StationLine(inactivity_s=inactivity_s)
        station = self.bench.station
        self.head = OpticalHead(named, station.receive, station.is_connected, inactivity_s)
        self.change = lambda octets: octets
        self.echo = False
        self.line = SpeedLine(self.hear, baud)

    def hear(self, octets, speed):
        now, delay_s = self.line.time.now_s, 10 * len(octets) / speed
        answer, at = self.head.receive(octets, now + delay_s, speed)
        said = [(delay_s, octets)] if self.echo else []
        answer = self.change(answer)
        if answer and at != speed:
            return [*said, (delay_s + 0.2, Faster(answer))]  # the selection's confirmation, at the speed it names
        return [*said, (delay_s + 0.2, answer)] if answer else said


def test_parity_is_the_eighth_bit():
    # '/' 2F has five ones, '?' 3F six, '!' 21 two, CR 0D three, LF 0A two.
    assert with_parity(b"/?!\r\n").hex() == "af3f218d0a"
    assert without_parity(bytes.fromhex("af3f218d0a")) == b"/?!\r\n"
    assert without_parity(b"\xae") == b"\xff"


def test_signed_on_and_read():
    meter = Meter()
    link = linked(meter.line)
    link.open()
    assert link.exchange(b"\xc0 ask", once=False) == b"\xc4\xc0 ask"
    assert link.keep_alive() is True
    link.close()
    sent = meter.line.sent
    assert without_parity(sent[0]) == b"/?!\r\n"
    assert without_parity(sent[1]) == SELECTION
    assert sent[2][:1] == b"\x7e"
    assert meter.line.speeds == [300, 9600, 9600]


def test_a_meter_that_listens_at_300_baud_again_is_signed_on_again():
    meter = Meter()
    for _ in range(2):
        link = linked(meter.line)
        link.open()
        link.exchange(b"\xc0", once=False)
        link.close()
    assert meter.line.speeds == [300, 9600, 9600] * 2


@pytest.mark.parametrize(("named", "port", "agreed"), [(2400, 9600, 2400), (19200, 9600, 9600), (300, 9600, 300)])
def test_the_lower_of_both_speeds(named, port, agreed):
    meter = Meter(named, port)
    link = linked(meter.line)
    link.open()
    assert meter.line.speed == agreed
    assert link.exchange(b"\xc0", once=False) == b"\xc4\xc0"


def test_a_head_that_reflects():
    meter = Meter()
    meter.echo = True
    link = linked(meter.line)
    link.open()
    assert link.exchange(b"\xc0", once=True) == b"\xc4\xc0"


def test_a_meter_that_does_not_confirm():
    meter = Meter()
    meter.change = lambda octets: b"" if without_parity(octets) == SELECTION else octets
    link = linked(meter.line)
    link.open()
    assert link.exchange(b"\xc0", once=False) == b"\xc4\xc0"


def test_a_garbled_identification_is_asked_for_again():
    meter, spoilt = Meter(), [True]

    def spoil(octets):
        return octets[:4] + bytes([octets[4] ^ 1]) + octets[5:] if spoilt and spoilt.pop() else octets

    meter.change = spoil
    link = linked(meter.line)
    link.open()
    assert [without_parity(octets) for octets in meter.line.sent[:3]] == [b"/?!\r\n", b"/?!\r\n", SELECTION]


def test_a_link_that_was_left_open_is_found_at_the_ports_speed():
    meter = Meter()
    linked(meter.line).open()  # and never closed
    link = linked(meter.line)
    link.open()
    assert link.exchange(b"\xc0", once=False) == b"\xc4\xc0"
    assert meter.line.speeds == [300, 9600, 300, 9600]


def test_nobody_there():
    line = SpeedLine(lambda _octets, _speed: None)
    link = linked(line)
    began = line.time.now_s
    with pytest.raises(MeterSilent):
        link.open()
    assert line.time.now_s - began < 20
    link.close()
    with pytest.raises(LinkLost):
        linked(line).exchange(b"\xc0", once=False)
    assert linked(line).keep_alive() is False


@pytest.mark.parametrize("noise", [b"\x00" * 40, b"/" * 40, b"\x7e" * 40, with_parity(b"/?!\r\n") * 8])
def test_a_head_that_talks_without_end_costs_bounded_time(noise):
    line = SpeedLine(lambda _octets, _speed: None)
    line.coming = [(line.time.now_s + n * 0.1, Faster(noise)) for n in range(3000)]
    began = line.time.now_s
    with pytest.raises((MeterSilent, AddressClash)):
        linked(line).open()
    assert line.time.now_s - began < 80


# ---- on a pty, which keeps the speed that is set --------------------------------------------------------------------


def test_a_virtual_meter_behind_a_head():
    config = MeterConfig("OPT1", 17, ciphered=False, reader_mechanism="none", mode_e_baud=19200, keys=KEYS)
    with running_line([config]) as line:
        port = SerialLink(line.port, 19200)
        try:
            for _ in range(2):
                link = ModeELink(port, LineTiming(), lambda timing: on(port, timing), monotonic, "meter 17")
                link.open()
                assert link.exchange(bytes.fromhex("c001c100080000010000ff0200"), once=False)
                link.close()
            # A plain SNRM at the line's speed is not heard: the meter listens at 300 baud.
            with pytest.raises(MeterSilent):
                on(port, LineTiming(first_octet_s=0.2, octet_gap_s=0.1, reply_s=0.3, tries=1)).open()
        finally:
            port.close()


def on(port, timing):
    return HdlcLink(port, PUBLIC, SERVER, HdlcOffer(), timing, monotonic, "meter 17")


def test_a_head_has_one_meter():
    with pytest.raises(ConfigMistake, match="alone"):
        running_line([MeterConfig("OPT1", 17, keys=KEYS, mode_e_baud=9600), MeterConfig("OPT2", 18, keys=KEYS)])
