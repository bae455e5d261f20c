"""Any mixture of losses on any lines: each exchange gives the right APDU or a fault, and acts once at most."""

import contextlib
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dcu.drivers import hdlc
from dcu.drivers.hdlc import Frame, FrameReader
from dcu.drivers.hdlc_negotiation import negotiated
from dcu.errors import DcuError, LinkLost, Preempted

from .station_line import CLIENT, OTHER, SERVER, StationLine, frames_of


class Wire:
    """Losses by seed, on both ways, of a meter that answers in order and sometimes late."""

    def __init__(self, bench, seed, rate):
        self.bench, self.rate = bench, rate
        self.random = random.Random(seed)
        self.busy_until = 0.0
        bench.up, bench.down = self.up, self.down

    def chance(self, part=1.0):
        return self.random.random() < self.rate * part

    def worn(self, octets):
        """What a wire makes of a frame: nothing, a flipped bit, a lost octet, an octet of noise before it."""
        if self.chance(0.3):
            return b""
        if self.chance():
            at = self.random.randrange(8 * len(octets))
            octets = octets[: at // 8] + bytes([octets[at // 8] ^ 1 << at % 8]) + octets[at // 8 + 1 :]
        if self.chance(0.5):
            at = self.random.randrange(len(octets))
            octets = octets[:at] + octets[at + 1 :]
        if self.chance(0.5):
            octets = self.random.randbytes(self.random.randrange(1, 12)) + octets
        return octets

    def up(self, octets):
        return b"".join(self.worn(frame.encode()) for frame in frames_of(octets))

    def down(self, frames):
        now = self.bench.line.time.now_s
        at = max(self.busy_until, now + (self.random.uniform(1, 8) if self.chance(0.3) else 0.02))
        said = []
        if self.chance(0.5):  # another meter's late answer, with numbers that would fit
            control = self.random.randrange(0, 256, 2)
            said.append((0.01, Frame(CLIENT, OTHER, control, b"\xe6\xe7\x00\xc4 of another meter").encode()))
        for octets in frames:
            said.append((at - now, self.worn(octets)))
            at += 0.01
            if self.chance(0.2):
                said.append((at - now, octets))  # and once more
                at += 0.01
        self.busy_until = at
        return [(delay_s, octets) for delay_s, octets in said if octets]


def answer_to(apdu):
    """Any length, by the number that the request bears; no two alike."""
    number = int.from_bytes(apdu[1:5], "big")
    return b"\xc4" + number.to_bytes(4, "big") + random.Random(number).randbytes(number * 37 % 2500)


OPERATIONS = st.lists(st.sampled_from(["read", "read", "read", "order", "keep", "reopen"]), min_size=3, max_size=14)


class Talk:
    """Exchanges over one wire, and what must hold of each of them whatever is lost."""

    def __init__(self, seed, rate, info, window):
        self.bench = StationLine(answer_to, max_info_tx=info, max_info_rx=info, window_tx=window, window_rx=window)
        self.wire = Wire(self.bench, seed, rate)
        self.link = self.bench.link(info, window, give_way=self.give_way)
        self.requests, self.answered = [], 0

    def give_way(self):
        if self.wire.chance(0.1):
            raise Preempted("a relay errand waits")

    def reopen(self):
        self.link.close()
        self.link.open()

    def keep(self):
        self.link.keep_alive()

    def read(self, *, once=False):
        number = len(self.requests) + 1
        # No two pieces of it alike: a number of three bits comes round again after eight frames.
        request = b"\xc0" + number.to_bytes(4, "big") + random.Random(-number).randbytes(number * 53 % 900)
        self.requests.append(request)
        count = len(self.bench.line.sent)
        try:
            answer = self.link.exchange(request, once=once)
            assert answer == answer_to(request)
            assert self.bench.session.asked[-1] == request
            self.answered += 1
        finally:
            if once:
                sent = [frame for octets in self.bench.line.sent[count:] for frame in frames_of(octets)]
                numbered = [frame.encode() for frame in sent if frame.is_information]
                assert len(numbered) == len(set(numbered))

    def order(self):
        self.read(once=True)

    def do(self, operation):
        try:
            getattr(self, operation)()
        except LinkLost:
            with contextlib.suppress(DcuError):
                self.reopen()
        except DcuError:
            pass
        asked = self.bench.session.asked
        assert len(asked) == len(set(asked))  # nothing had its effect twice
        assert set(asked) <= set(self.requests)


@given(
    st.integers(0, 2**32),
    st.sampled_from([0.0, 0.02, 0.1, 0.3, 0.7]),
    st.sampled_from([(128, 1), (64, 7), (342, 7), (2030, 1), (300, 3)]),
    OPERATIONS,
)
@settings(max_examples=250, deadline=None)
def test_the_right_answer_or_a_fault_and_never_an_act_twice(seed, rate, size, operations):
    talk = Talk(seed, rate, *size)
    talk.do("reopen")
    for operation in operations:
        talk.do(operation)
    if rate == 0:
        assert talk.bench.session.asked == talk.requests
        assert talk.answered == len(talk.requests)


@pytest.mark.parametrize(("rate", "least"), [(0.005, 0.99), (0.02, 0.97), (0.1, 0.7)])
def test_what_is_lost_is_recovered_mostly(rate, least):
    talk = Talk(7, rate, 128, 7)
    talk.do("reopen")
    for _ in range(300):
        talk.do("read")
    assert talk.answered >= least * len(talk.requests)


@given(st.lists(st.binary(max_size=900), max_size=30), st.booleans())
@settings(max_examples=150, deadline=None)
def test_any_octets_in_any_chunks_give_whole_valid_frames_only(chunks, silence):
    reader, everything = FrameReader(), b"".join(chunks)
    for chunk in chunks:
        reader.feed(chunk)
        while (frame := reader.next_frame(silence=silence)) is not None:
            octets = frame.encode()[1:-1]
            assert octets in everything
            assert hdlc.decode(octets) == frame
        assert len(reader) <= 4 * 0x7FF
        assert reader.discarded <= len(everything)


PIECES = st.one_of(
    st.binary(max_size=40),
    st.sampled_from([b"\x7e", b"\x7e\xa0", b"\x7e\xa7\xff", b"\x7e\xa0\x07", b"\x00" * 9]),
    st.builds(lambda control, info: Frame(CLIENT, OTHER, control, info).encode(), st.integers(0, 255), st.binary()),
)


@given(st.lists(PIECES, max_size=12), st.data())
@settings(max_examples=200, deadline=None)
def test_frames_between_rubbish_are_the_same_however_they_are_cut(pieces, data):
    """Once the line is quiet: a false start may hide frames only until then."""

    def found(chunks):
        reader, frames = FrameReader(), []
        for chunk in chunks:
            reader.feed(chunk)
            while (frame := reader.next_frame()) is not None:
                frames.append(frame)
        while (frame := reader.next_frame(silence=True)) is not None:
            frames.append(frame)
        return frames

    octets, cut, at = b"".join(pieces), [], 0
    while at < len(octets):
        step = data.draw(st.integers(1, 60))
        cut.append(octets[at : at + step])
        at += step
    assert found(cut) == found([octets])


@given(st.one_of(st.binary(max_size=300), st.binary(max_size=40).map(lambda rest: b"\x81\x80" + rest)))
def test_what_a_meter_negotiates_is_never_more_than_was_offered(information):
    """Any UA: the link works within its own offer, whatever the meter says."""
    bench = StationLine(answer_to)
    bench.down = lambda _frames: [Frame(CLIENT, SERVER, hdlc.UA, information[:300]).encode()]
    link = bench.opened(300, 5)
    bench.down = lambda frames: frames
    assert all(isinstance(value, int) for value in negotiated(information).values())
    with contextlib.suppress(DcuError):
        link.exchange(bytes(2000), once=False)
    sizes = [len(frame.information) for frame in bench.sent_frames() if frame.is_information]
    assert max(sizes) <= 300
    windows = [len(frames_of(octets)) for octets in bench.line.sent]
    assert max(windows) <= 5
