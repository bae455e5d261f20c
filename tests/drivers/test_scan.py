"""Knocking at unknown addresses: what is told apart, and that nothing holds it up."""

from hypothesis import given
from hypothesis import strategies as st

from dcu.drivers import hdlc
from dcu.drivers.hdlc import Frame
from dcu.drivers.scan import Door, Knocked, Knocker, Sweep
from dcu.sim import MeterConfig, MeterKeys, VirtualMeter

from .line import ScriptedLine, frame_of

KEYS = MeterKeys(guek=bytes(range(16)), gak=bytes(range(16, 32)), lls=b"reader-pass", hls=bytes(range(32, 48)))
DOOR = Door(17)


def meters(*places):
    """Virtual meters at (serial, address, turnaround) on one pair; octets that are said at once are combined as on a
    wire: where both say the same, nobody can tell."""
    virtual = [(VirtualMeter(MeterConfig(serial, address, KEYS)), wait) for serial, address, wait in places]

    def answer(octets):
        said = {}
        for meter, wait in virtual:
            for frame in meter.receive(octets, 0.0):
                old = said.get(wait)
                said[wait] = frame if old is None else mixed(old, frame)
        return list(said.items())

    return answer


def mixed(one, other):
    size = max(len(one), len(other))
    pairs = zip(one.ljust(size, b"\xff"), other.ljust(size, b"\xff"), strict=True)
    return bytes(a if a == b else a & b ^ 0x55 for a, b in pairs)


def knock(meter, door=DOOR):
    line = ScriptedLine(meter)
    return Knocker(line, line.time).knock(door), line


def test_nobody():
    knocked, line = knock(lambda octets: None)
    assert knocked == Knocked()
    assert not knocked.anybody
    assert line.time.now_s - 1000 < 0.4


def test_one_meter():
    assert knock(meters(("A1", 17, 0.02)))[0] == Knocked(accepted=1)


def test_another_address_is_silent():
    assert knock(meters(("A1", 18, 0.02)))[0] == Knocked()


def test_the_logical_device_alone_in_one_octet():
    line = ScriptedLine(VirtualMeter(MeterConfig("A1", 0, KEYS, address_octets=1)).receive)
    line.meter = lambda octets, meter=line.meter: [(0.02, frame) for frame in meter(octets, 0.0)]
    assert Knocker(line, line.time).knock(Door(0)) == Knocked(accepted=1)
    assert frame_of(line.sent[0]).destination == b"\x03"


def test_two_meters_that_answer_one_after_the_other():
    line = ScriptedLine(meters(("A1", 17, 0.02), ("B22", 17, 0.15)))
    knocker = Knocker(line, line.time)
    assert knocker.knock(DOOR).accepted == 2
    assert knocker.serials(DOOR) == {"A1", "B22"}


def test_two_meters_that_answer_at_once_take_the_link_as_one_and_then_garble():
    line = ScriptedLine(meters(("A1", 17, 0.02), ("B2", 17, 0.02)))
    knocker = Knocker(line, line.time)
    assert knocker.knock(DOOR) == Knocked(accepted=1)
    assert knocker.serials(DOOR) == set()
    assert knocker.garbled


def test_an_echo_is_told_from_an_answer():
    answer = meters(("A1", 17, 0.05))
    knocked, _ = knock(lambda octets: [(0.001, octets), *answer(octets)])
    assert knocked == Knocked(accepted=1, echo=True)
    knocked, _ = knock(lambda octets: [(0.001, octets)])
    assert knocked == Knocked(echo=True)
    assert not knocked.anybody


def test_a_meter_that_refuses():
    dm = Frame(hdlc.client_address(16), DOOR.server, hdlc.DM).encode()
    assert knock(lambda octets: [(0.02, dm)])[0] == Knocked(refused=1)


def test_anothers_late_frame_is_a_stray():
    ua = Frame(hdlc.client_address(16), Door(40).server, hdlc.UA).encode()
    knocked, _ = knock(lambda octets: [(0.02, ua)])
    assert (knocked.accepted, knocked.stray) == (0, 1)


@given(st.binary(min_size=1, max_size=600))
def test_noise_is_bounded_and_never_a_meter(noise):
    knocked, line = knock(lambda octets: [(0.01, noise)])
    assert knocked.accepted == 0
    assert line.time.now_s - 1000 < 5


def test_a_line_that_never_falls_silent_ends():
    class Babble:
        def __init__(self, time):
            self.time = time

        def flush_input(self):
            pass

        def send(self, octets):
            pass

        def receive(self, deadline_s):
            self.time.now_s += 0.001
            return b"\x7e" * 4

    from .line import FakeTime

    time = FakeTime()
    assert Knocker(Babble(time), time).knock(DOOR).accepted == 0
    assert time.now_s - 1000 < 5


# ---- the order of knocks ----


def run(sweep, there):
    """Knocks until the end; `there` are (baud, address) where somebody is."""
    knocked = []
    while (place := sweep.next()) is not None:
        assert sweep.next() == place  # asked twice, the same: a knock that was stopped is begun again
        knocked.append(place)
        sweep.tell(place[1], found=place in there)
    assert sweep.done == sweep.total or not knocked
    return knocked


def test_other_speeds_are_tried_only_when_nobody_was_there():
    assert run(Sweep([9600, 4800], [0, 17]), {(9600, 17)}) == [(9600, 0), (9600, 17)]
    assert run(Sweep([9600, 4800], [0, 17]), {(4800, 17)}) == [(9600, 0), (9600, 17), (4800, 0), (4800, 17)]


def test_a_speed_at_which_somebody_was_found_is_swept_to_its_end():
    order = run(Sweep([9600, 4800, 2400], [0, 17, 18]), {(4800, 0), (4800, 18)})
    assert order == [(baud, address) for baud in (9600, 4800) for address in (0, 17, 18)]


def test_all_speeds_leave_out_who_was_found():
    sweep = Sweep([9600, 4800], [16, 17], all_bauds=True)
    assert run(sweep, {(9600, 17)}) == [(9600, 16), (9600, 17), (4800, 16)]


def test_a_line_without_speed():
    assert run(Sweep([0], [16, 17]), set()) == [(0, 16), (0, 17)]
