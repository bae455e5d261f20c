"""The primary station against lines that lose, garble, repeat and lie. Time is the line's own."""

import pytest

from dcu.drivers import hdlc
from dcu.drivers.data_link import HdlcOffer, LineTiming
from dcu.drivers.hdlc import Frame
from dcu.drivers.hdlc_link import HdlcLink
from dcu.errors import AddressClash, FrameDamaged, LinkLost, MeterSilent, ReplyLate, ReplyMalformed

from .line import ScriptedLine, frame_of

CLIENT, SERVER = hdlc.client_address(32), hdlc.server_address(1, 17)
OTHER = hdlc.server_address(1, 18)
TIMING = LineTiming(first_octet_s=3.0, octet_gap_s=0.3, reply_s=6.0, tries=3)
LIMITS = bytes.fromhex("818012050180060180070400000001080400000001")
REQUEST, ANSWER = b"\xc0 request", b"\xc4 answer"


class Secondary:
    """A meter's side of the link; `faults` maps the number of a frame that it gets (from 0) to what it does instead."""

    def __init__(self, answer=ANSWER, *, info=128, limits=LIMITS, faults=None):
        self.faults = faults or {}
        self.answer, self.info, self.limits = answer, info, limits
        self.count = -1
        self.reset()
        self.requests, self.parts = [], b""

    def reset(self):
        self.sent = self.received = 0
        self.segments, self.last = [], None

    def __call__(self, octets):
        self.count += 1
        frame = frame_of(octets)
        fault = self.faults.get(self.count)
        if fault == "deaf":
            return None
        replies = [frame_out.encode() for frame_out in self.react(frame)]
        if fault is None:
            return [(0.02, octets) for octets in replies]
        if fault == "lost":
            return None
        if fault == "damaged":
            return [(0.02, octets[:-4] + bytes([octets[-4] ^ 1]) + octets[-3:]) for octets in replies]
        return [(0.02, octets) for octets in fault(replies)]

    def frame(self, control, information=b"", *, segmented=False):
        return Frame(CLIENT, SERVER, control, information, segmented)

    def react(self, frame):
        if frame.control == hdlc.SNRM:
            self.reset()
            return [self.frame(hdlc.UA, self.limits)]
        if frame.control == hdlc.DISC:
            return [self.frame(hdlc.UA)]
        if frame.is_supervisory:
            if self.last is not None and frame.received == self.sent and self.segments:
                return [self.next_segment()]
            return [self.last] if self.last is not None else []
        if frame.sent != self.received:
            return [self.last] if self.last is not None else []
        self.received = (self.received + 1) % 8
        self.parts += frame.information
        if frame.segmented:
            self.last = self.frame(hdlc.receive_ready_control(self.received))
            return [self.last]
        self.requests.append(self.parts)
        self.parts = b""
        octets = b"\xe6\xe7\x00" + self.answer
        self.segments = [octets[at : at + self.info] for at in range(0, len(octets), self.info)]
        return [self.next_segment()]

    def next_segment(self):
        piece = self.segments.pop(0)
        control = hdlc.information_control(self.sent, self.received)
        self.sent = (self.sent + 1) % 8
        self.last = self.frame(control, piece, segmented=bool(self.segments))
        return self.last


def opened(secondary, max_info=128):
    line = ScriptedLine(secondary)
    link = HdlcLink(line, CLIENT, SERVER, HdlcOffer(max_info), TIMING, line.time, "meter 17")
    link.open()
    return line, link


def i_frames(line, from_=0):
    return [octets for octets in line.sent[from_:] if frame_of(octets).is_information]


def test_exchanges_in_order_and_numbers_that_wrap():
    secondary = Secondary()
    line, link = opened(secondary)
    for _ in range(20):
        assert link.exchange(REQUEST, once=False) == ANSWER
    assert secondary.requests == [b"\xe6\xe6\x00" + REQUEST] * 20
    link.close()
    assert frame_of(line.sent[-1]).control == hdlc.DISC
    count = len(line.sent)
    link.close()
    assert len(line.sent) == count


@pytest.mark.parametrize("size", [1, 125, 126, 127, 500, 3000])
def test_segments_both_ways(size):
    secondary = Secondary(bytes(size), info=61)
    _, link = opened(secondary)
    request = bytes(range(256)) * 2
    assert link.exchange(request, once=False) == bytes(size)
    assert secondary.requests == [b"\xe6\xe6\x00" + request]


def test_the_smaller_information_field_holds():
    secondary = Secondary(limits=bytes.fromhex("818006050140060140"))
    line, link = opened(secondary, max_info=2030)
    link.exchange(bytes(200), once=False)
    assert max(len(frame_of(octets).information) for octets in i_frames(line)) == 64


@pytest.mark.parametrize("fault", ["lost", "deaf", "damaged"])
@pytest.mark.parametrize("at", range(1, 12))
def test_any_single_loss_of_a_read_is_recovered_without_a_second_request(fault, at):
    # 300 octets each way: three segments up, five down; whichever exchange suffers, the APDU arrives once and whole.
    secondary = Secondary(bytes(300), info=64, faults={at: fault})
    _, link = opened(secondary)
    request = bytes(range(250)) + bytes(50)
    for _ in range(2):
        assert link.exchange(request, once=False) == bytes(300)
    assert secondary.requests == [b"\xe6\xe6\x00" + request] * 2


def test_a_repetition_is_the_same_octets():
    line, link = opened(Secondary(faults={1: "lost"}))
    link.exchange(REQUEST, once=False)
    first, second = i_frames(line)
    assert first == second


@pytest.mark.parametrize(("fault", "error"), [("lost", ReplyLate), ("deaf", ReplyLate), ("damaged", FrameDamaged)])
def test_once_means_once(fault, error):
    line, link = opened(Secondary(faults={1: fault}))
    with pytest.raises(error):
        link.exchange(b"\xc3 action", once=True)
    assert len(i_frames(line)) == 1
    with pytest.raises(LinkLost):
        link.exchange(REQUEST, once=False)
    assert len(i_frames(line)) == 1


@pytest.mark.parametrize("at", range(1, 5))
@pytest.mark.parametrize("fault", ["lost", "deaf", "damaged"])
def test_once_in_segments_repeats_none_of_them(fault, at):
    line, link = opened(Secondary(faults={at: fault}))
    with pytest.raises((ReplyLate, FrameDamaged)):
        link.exchange(bytes(400), once=True)
    frames = i_frames(line)
    assert len(frames) == at == len(set(frames))


def test_once_to_a_meter_that_took_nothing():
    # RR with the old N(R): the meter asks for the frame again, and does not get it.
    refuse = Frame(CLIENT, SERVER, hdlc.receive_ready_control(0)).encode()
    line, link = opened(Secondary(faults={1: lambda _replies: [refuse]}))
    with pytest.raises(ReplyLate):
        link.exchange(b"\xc3", once=True)
    assert len(i_frames(line)) == 1


def test_a_meter_that_still_works_is_asked_with_rr():
    taken = Frame(CLIENT, SERVER, hdlc.receive_ready_control(1)).encode()
    for once in (False, True):
        line, link = opened(Secondary(faults={1: lambda _replies: [taken]}))
        assert link.exchange(REQUEST, once=once) == ANSWER
        assert len(i_frames(line)) == 1


def test_a_busy_meter_is_given_time():
    busy = Frame(CLIENT, SERVER, 1 << 5 | 0x10 | 0x05).encode()
    line, link = opened(Secondary(faults={n: lambda _replies: [busy] for n in (1, 2, 3)}))
    began = line.time.now_s
    assert link.exchange(REQUEST, once=False) == ANSWER
    assert line.time.now_s - began > 0.5


def test_forever_busy_is_silent():
    busy = Frame(CLIENT, SERVER, 1 << 5 | 0x10 | 0x05).encode()
    line, link = opened(Secondary(faults={n: lambda _replies: [busy] for n in range(1, 99)}))
    with pytest.raises(MeterSilent):
        link.exchange(REQUEST, once=False)
    assert len(i_frames(line)) == 1


def test_another_meters_frame_and_our_own_echo_are_not_answers():
    def strange(replies):
        answer = frame_of(replies[0])
        foreign = Frame(CLIENT, OTHER, answer.control, b"\xe6\xe7\x00 foreign").encode()
        other_client = Frame(hdlc.client_address(16), SERVER, answer.control, b"\xe6\xe7\x00 foreign").encode()
        echo = Frame(SERVER, CLIENT, answer.control, b"\xe6\xe6\x00" + REQUEST).encode()
        return [echo, foreign, other_client, *replies]

    _, link = opened(Secondary(faults={1: strange}))
    assert link.exchange(REQUEST, once=True) == ANSWER


def test_only_another_meter_answers():
    def foreign(replies):
        return [Frame(CLIENT, OTHER, frame_of(replies[0]).control, b"\xe6\xe7\x00 foreign").encode()]

    _, link = opened(Secondary(faults=dict.fromkeys(range(1, 9), foreign)))
    with pytest.raises(MeterSilent):
        link.exchange(REQUEST, once=False)


def test_late_answer_of_the_last_exchange_is_dropped_by_its_number():
    secondary = Secondary()
    line, link = opened(secondary)
    link.exchange(REQUEST, once=False)
    late = secondary.last.encode()
    secondary.answer = b"\xc4 newer"
    line.coming.append((line.time.now_s + 0.01, late))
    assert link.exchange(b"\xc0 second", once=False) == b"\xc4 newer"
    assert len(i_frames(line)) == 2  # nor does it cost a repetition


def test_a_segment_that_comes_twice_is_taken_once():
    answer = bytes(range(200))
    kept = []

    def repeat_the_one_before(replies):
        kept.extend(replies)
        return [kept[0], *replies] if len(kept) > 1 else replies

    secondary = Secondary(answer, info=64, faults=dict.fromkeys(range(1, 5), repeat_the_one_before))
    _, link = opened(secondary)
    assert link.exchange(REQUEST, once=False) == answer


def test_noise_before_an_answer():
    noise = b"\x00\x7e\xa7\xff\x55"
    _, link = opened(Secondary(faults={1: lambda replies: [noise, *replies]}))
    assert link.exchange(REQUEST, once=True) == ANSWER


@pytest.mark.parametrize(("control", "word"), [(hdlc.DM, "DM"), (hdlc.FRMR, "FRMR")])
def test_the_meter_ends_the_link(control, word):
    end = Frame(CLIENT, SERVER, control).encode()
    line, link = opened(Secondary(faults={1: lambda _replies: [end]}))
    with pytest.raises(LinkLost, match=word):
        link.exchange(REQUEST, once=False)
    assert len(i_frames(line)) == 1


def test_an_old_link_is_ended_before_a_new_one():
    end = Frame(CLIENT, SERVER, hdlc.FRMR).encode()
    line, _ = opened(Secondary(faults={0: lambda _replies: [end]}))
    assert [frame_of(octets).control for octets in line.sent] == [hdlc.SNRM, hdlc.DISC, hdlc.SNRM]


def test_nobody_there():
    line = ScriptedLine(lambda _octets: None)
    link = HdlcLink(line, CLIENT, SERVER, HdlcOffer(), TIMING, line.time, "meter 17")
    began = line.time.now_s
    with pytest.raises(MeterSilent, match="meter 17"):
        link.open()
    assert line.time.now_s - began <= 3 * 3.0 + 1.0 + 0.1
    link.close()
    assert frame_of(line.sent[-1]).control == hdlc.SNRM  # nothing to end


def test_a_link_that_is_refused():
    end = Frame(CLIENT, SERVER, hdlc.DM).encode()
    line = ScriptedLine(lambda _octets: [(0.02, end)])
    with pytest.raises(LinkLost):
        HdlcLink(line, CLIENT, SERVER, HdlcOffer(), TIMING, line.time, "meter 17").open()


@pytest.mark.parametrize("babble", [b"\x7e" * 50, b"U" * 50, b"\x7e\xa7\xff" * 17])
def test_a_babbling_line_takes_bounded_time(babble):
    line, link = opened(Secondary(faults={n: lambda _replies: [] for n in range(1, 99)}))
    line.coming = [(line.time.now_s + n * 0.05, babble) for n in range(2000)]
    began = line.time.now_s
    with pytest.raises((MeterSilent, AddressClash)):
        link.exchange(REQUEST, once=False)
    assert line.time.now_s - began <= TIMING.tries * TIMING.reply_s + 1


def test_closing_a_dead_link_is_brief():
    line, link = opened(Secondary(faults=dict.fromkeys(range(1, 99), "deaf")))
    began = line.time.now_s
    link.close()
    assert line.time.now_s - began <= 1.0


@pytest.mark.parametrize("answer", [b"", b"\xe6", b"\xe6\xe7", b"\xc4\x01\xc1"])
def test_an_answer_without_llc(answer):
    def bare(replies):
        return [Frame(CLIENT, SERVER, frame_of(replies[0]).control, answer or b"\x00").encode()]

    _, link = opened(Secondary(faults={1: bare}))
    with pytest.raises(ReplyMalformed):
        link.exchange(REQUEST, once=False)


def test_doubled_llc_header():
    _, link = opened(Secondary(b"\xe6\xe7\x00" + ANSWER))
    assert link.exchange(REQUEST, once=False) == ANSWER


def test_an_answer_without_end():
    secondary = Secondary(bytes(200_000), info=120)
    _, link = opened(secondary)
    with pytest.raises(ReplyMalformed, match="without end"):
        link.exchange(REQUEST, once=False)


def test_timing_of_a_baud_rate():
    slow, fast = LineTiming.at_baud(1200), LineTiming.at_baud(115200)
    assert slow.reply_s > 3.0 + 300 * 10 / 1200
    assert fast.reply_s < 6
    assert fast.octet_gap_s < slow.octet_gap_s < 0.5
