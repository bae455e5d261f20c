"""The harness itself: time passes at the pace of the wire, and what happens in it happens at its moment."""

import pytest

from dcu.errors import BusFault
from dcu.sim import MeterConfig, MeterKeys, VirtualMeter, hdlc
from tests.soak.virtual_clock import VirtualClock, VirtualTime
from tests.soak.virtual_line import VirtualLine
from tests.soak.virtual_mailbox import VirtualMailbox

KEYS = MeterKeys(guek=bytes(range(16)), gak=bytes(range(16, 32)), lls=b"reader-pass", hls=bytes(16))
CLIENT = bytes([16 << 1 | 1])


@pytest.fixture
def time():
    return VirtualTime(1_780_000_000.0)


@pytest.fixture
def line(time):
    meters = [VirtualMeter(MeterConfig(f"SOAK{n:04}", address=17 + n, keys=KEYS), now=time.now) for n in range(3)]
    return VirtualLine(time, meters, baud=9600, turnaround_ms=20.0)


def snrm(address):
    return hdlc.Frame(hdlc.server_address(1, address, 2), CLIENT, hdlc.SNRM | hdlc.POLL).octets()


def test_a_request_and_its_answer_take_the_time_of_the_wire(time, line):
    clock = VirtualClock(time)
    link = line.open(clock)
    request = snrm(18)
    link.send(request)
    assert time.elapsed_s == pytest.approx(len(request) * 10 / 9600, abs=1e-4), "a port's flush waits for the wire"
    answer = link.receive(clock.monotonic_s() + 3.0)
    assert hdlc.parse(answer[1:-1]).control == hdlc.UA | hdlc.POLL
    assert time.elapsed_s == pytest.approx((len(request) + len(answer)) * 10 / 9600 + 0.020, abs=1e-4)
    assert line.octets == len(request) + len(answer)


def test_a_deadline_passes_on_a_cut_line_and_an_answer_that_has_begun_is_heard_in_part(time, line):
    clock = VirtualClock(time)
    link = line.open(clock)
    line.cut = True
    link.send(snrm(18))
    assert link.receive(clock.monotonic_s() + 3.0) == b""
    line.cut = False
    link.send(snrm(18))
    part = link.receive(clock.monotonic_s() + 0.030)
    assert 0 < len(part) < 15 and part[:1] == b"\x7e"
    assert len(part + link.receive(clock.monotonic_s() + 3.0)) > 15


def test_a_link_that_was_open_when_the_adapter_was_pulled_stays_dead(time, line):
    link = line.open(VirtualClock(time))
    line.unplug()
    with pytest.raises(BusFault):
        line.open(VirtualClock(time))
    line.replug()
    with pytest.raises(BusFault):
        link.send(b"\x7e")
    line.open(VirtualClock(time)).send(b"\x7e")


def test_two_talkers_garble_one_another(time, line):
    clock = VirtualClock(time)
    link = line.open(clock)
    link.send(snrm(18))
    line.model.say(2, time.elapsed_s + 0.020, bytes(20))
    heard = link.receive(clock.monotonic_s() + 0.1) + link.receive(clock.monotonic_s() + 0.1)
    assert len(heard) > 20 and b"\x7e\xa0" not in heard


def test_what_happens_during_a_wait_happens_at_its_moment_and_a_letter_ends_it(time):
    clock = VirtualClock(time)
    mailbox = VirtualMailbox(clock)
    seen = []
    time.at(time.start_s + 5.0, lambda: seen.append(time.elapsed_s))
    time.at(time.start_s + 7.0, lambda: mailbox.post("letter", urgent=True))
    assert mailbox.take(60.0) == "letter"
    assert (seen, time.elapsed_s) == ([5.0], 7.0)
    assert mailbox.take(60.0) is None
    assert time.elapsed_s == pytest.approx(67.0)


def test_uptime_begins_with_the_box_and_its_wall_clock_may_be_wrong(time):
    time.pass_to(100.0)
    clock = VirtualClock(time, wrong_by_s=-50.0, trusted=False)
    clock.wait_until(10.0)
    assert clock.monotonic_s() == pytest.approx(10.0)
    assert clock.now().timestamp() == pytest.approx(time.start_s + 110.0 - 50.0)
