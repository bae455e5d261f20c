"""Windows, negotiation and the quirks of real meters: our link against an independent station, octet for octet."""

import itertools
import math

import pytest

from dcu.drivers import hdlc
from dcu.drivers.data_link import LONGEST_WINDOW_S, HdlcOffer, LineTiming
from dcu.drivers.hdlc import Frame
from dcu.drivers.hdlc_negotiation import negotiated, proposal
from dcu.errors import (
    AddressClash,
    EchoHeard,
    FrameDamaged,
    LinkLost,
    MeterSilent,
    Preempted,
    ReplyLate,
    ReplyMalformed,
)

from .line import ScriptedLine, frame_of
from .station_line import CLIENT, OTHER, SERVER, TIMING, StationLine, damaged, frames_of

LONG = bytes(range(256)) * 12  # 25 frames of 128 octets, with 0x7E in every second one of them
REQUEST = b"\xc0 request"


def long_answer(_apdu):
    return LONG


# ---- what is offered and what is agreed -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("baud", "info", "window", "offered"),
    [
        (9600, 2030, 7, (2030, 1)),
        (9600, 342, 7, (342, 7)),
        (9600, 343, 7, (343, 6)),
        (9600, 128, 1, (128, 1)),
        (9600, 128, 7, (128, 7)),
        (1200, 2030, 7, (300, 1)),
        (1200, 128, 7, (128, 2)),
        (300, 2030, 7, (75, 1)),
        (115200, 2030, 7, (2030, 7)),
        (57600, 2030, 7, (2030, 7)),
        (38400, 2030, 7, (2030, 4)),
    ],
)
def test_what_may_be_offered_at_a_baud(baud, info, window, offered):
    timing = LineTiming.at_baud(baud)
    offer = timing.hdlc_offer(info, window)
    assert (offer.max_info_bytes, offer.window) == offered
    assert offer.max_info_bytes * offer.window * 10 / baud <= LONGEST_WINDOW_S
    assert timing.reply_s > timing.first_octet_s + offer.window * (offer.max_info_bytes + 14) * 10 / baud


def test_a_line_without_pace_allows_everything():
    assert LineTiming().hdlc_offer(2030, 7) == HdlcOffer(2030, 7)
    assert LineTiming().hdlc_offer(9999, 99) == HdlcOffer(2030, 7)
    assert LineTiming().hdlc_offer(1, 0) == HdlcOffer(32, 1)


@pytest.mark.parametrize(("info", "window"), [(31, 1), (2031, 1), (128, 0), (128, 8)])
def test_what_no_link_has(info, window):
    with pytest.raises(ValueError, match="window"):
        HdlcOffer(info, window)


def test_the_frames_of_a_negotiation():
    # The first is the SNRM of public captures; the standard's defaults need no parameters.
    assert Frame(b"\x03", b"\x21", hdlc.SNRM, proposal(HdlcOffer())).encode().hex() == "7ea00703219 30f017e".replace(
        " ", ""
    )
    assert proposal(HdlcOffer(2030, 7)).hex() == "818014050207ee060207ee070400000007080400000007"
    assert proposal(HdlcOffer(128, 7)).hex() == "818012050180060180070400000007080400000007"
    assert negotiated(proposal(HdlcOffer(2030, 7))) == {5: 2030, 6: 2030, 7: 7, 8: 7}


@pytest.mark.parametrize("offer", [(128, 1), (128, 7), (342, 7), (2030, 1), (2030, 7)])
@pytest.mark.parametrize("granted", [(128, 1), (64, 3), (2030, 7), (500, 2)])
def test_the_less_of_both_holds_both_ways(offer, granted):
    limits = {"max_info_tx": granted[0], "max_info_rx": granted[0], "window_tx": granted[1], "window_rx": granted[1]}
    bench = StationLine(long_answer, **limits)
    link = bench.opened(*offer)
    heard = []
    bench.down = lambda frames: (heard.append(len(frames)), frames)[1]
    for _ in range(3):
        assert link.exchange(LONG, once=False) == LONG
    info, window = min(offer[0], granted[0]), min(offer[1], granted[1])
    assert bench.session.asked == [LONG] * 3
    pieces = math.ceil((len(LONG) + 3) / info)
    frames = [frame for frame in bench.sent_frames() if frame.is_information]
    assert len(frames) == 3 * pieces
    assert max(len(frame.information) for frame in frames) == info
    assert max(heard) == min(window, pieces)
    # One poll a window, each way: what windows are for.
    assert len(heard) == 3 * (2 * math.ceil(pieces / window) - 1)


def test_a_meter_that_names_no_parameters_has_the_defaults():
    bench = StationLine(long_answer, max_info_tx=2030, max_info_rx=2030, window_tx=7, window_rx=7)
    bench.faults.bare_ua = True
    link = bench.opened(2030, 7)
    assert link.exchange(LONG, once=False) == LONG
    assert max(len(frame.information) for frame in bench.sent_frames()) == 128


def test_a_meter_that_refuses_parameters_is_called_without():
    def plain_only(octets):
        frame = frame_of(octets)
        return None if frame.control == hdlc.SNRM and frame.information else octets

    bench = StationLine(long_answer)
    bench.up = plain_only
    refusal = Frame(CLIENT, SERVER, hdlc.DM).encode()
    bench.down = lambda frames: frames or [refusal]
    assert bench.opened(2030, 7).exchange(REQUEST, once=False) == LONG


@pytest.mark.parametrize(
    ("octets", "address"), [(1, "03"), (2, "0223"), (4, "00020023"), (0, "0223")], ids=["one", "two", "four", "few"]
)
def test_addresses_of_every_size(octets, address):
    server = hdlc.server_address(1, 0 if octets == 1 else 17, octets)
    assert server.hex() == address
    bench = StationLine(server=server)
    assert bench.opened().exchange(REQUEST, once=False) == b"\xc4" + REQUEST
    assert {frame.destination for frame in bench.sent_frames()} == {server}


def test_addresses_that_do_not_fit():
    for logical, physical, octets in [(1, 17, 1), (128, 0, 1), (1, 128, 2), (128, 17, 2), (1, 17, 3), (1, 0x4000, 4)]:
        with pytest.raises(ValueError, match="does not fit"):
            hdlc.server_address(logical, physical, octets)


# ---- losses inside a window -----------------------------------------------------------------------------------------

WIDE = {"max_info_tx": 128, "max_info_rx": 128, "window_tx": 7, "window_rx": 7}


def losing(bench, numbers, how):
    """Frames of the meter, counted from the one after UA, that are lost or damaged."""
    count = itertools.count()

    def down(frames):
        passing = []
        for octets in frames:
            if next(count) not in numbers:
                passing.append(octets)
            elif how == "damaged":
                passing.append(damaged(octets))
            elif how == "short":
                passing.append(octets[:40] + octets[41:])
        return passing

    bench.down = down


@pytest.mark.parametrize("how", ["lost", "damaged", "short"])
@pytest.mark.parametrize("numbers", [{0}, {3}, {6}, {0, 1}, {2, 5}, {0, 6}, set(range(7)), {24}, {7, 13, 20}])
def test_a_window_with_holes_is_filled_without_a_second_request(numbers, how):
    bench = StationLine(long_answer, **WIDE)
    link = bench.opened(128, 7)
    losing(bench, numbers, how)
    assert link.exchange(REQUEST, once=False) == LONG
    bench.down = lambda frames: frames
    assert link.exchange(REQUEST + b" again", once=False) == LONG
    assert bench.session.asked == [REQUEST, REQUEST + b" again"]


@pytest.mark.parametrize("at", range(8))
@pytest.mark.parametrize("how", ["lost", "damaged"])
def test_a_hole_in_our_own_window_is_filled_from_there(at, how):
    bench = StationLine(**WIDE)
    link = bench.opened(128, 7)
    request = LONG[:1000]  # eight frames: a window of seven, and one
    count = itertools.count()

    def up(octets):
        kept = b""
        for frame in frames_of(octets):
            spoilt = frame.is_information and next(count) == at
            kept += frame.encode() if not spoilt else damaged(frame.encode()) if how == "damaged" else b""
        return kept

    bench.up = up
    assert link.exchange(request, once=False) == b"\xc4" + request
    assert bench.session.asked == [request]


def test_a_meter_that_says_reject():
    bench = StationLine(**WIDE)
    link = bench.opened(128, 7)
    reject = Frame(CLIENT, SERVER, 2 << 5 | hdlc.POLL_FINAL | 0x09)
    first = [True]

    def down(frames):
        if first.pop() if first else False:
            return [reject.encode()]
        return frames

    def up(octets):
        return b"".join(frame.encode() for frame in frames_of(octets)[:2]) if first else octets

    bench.up, bench.down = up, down
    assert link.exchange(LONG[:600], once=False) == b"\xc4" + LONG[:600]
    numbers = [frame.sent for frame in bench.sent_frames() if frame.is_information]
    assert numbers == [0, 1, 2, 3, 4, 2, 3, 4]


@pytest.mark.parametrize("at", range(8))
@pytest.mark.parametrize("way", ["up", "down"])
@pytest.mark.parametrize("how", ["lost", "damaged"])
def test_what_is_sent_once_is_sent_once_in_windows_too(at, way, how):
    """1000 octets in eight frames, seven and one: whatever is lost, no frame goes out twice and none acts twice."""
    bench = StationLine(**WIDE)
    link = bench.opened(128, 7)
    count = itertools.count()

    def spoil(octets):
        if next(count) != at:
            return octets
        return damaged(octets) if how == "damaged" else b""

    if way == "up":
        bench.up = lambda octets: b"".join(spoil(frame.encode()) for frame in frames_of(octets))
    else:
        bench.down = lambda frames: [spoil(octets) for octets in frames]
    request = LONG[:1000]
    try:
        answer = link.exchange(request, once=True)
    except (ReplyLate, FrameDamaged):
        with pytest.raises(LinkLost):
            link.exchange(REQUEST, once=False)
    else:
        assert answer == b"\xc4" + request
    frames = [frame.encode() for frame in bench.sent_frames() if frame.is_information]
    assert len(frames) == len(set(frames))
    assert bench.session.asked in ([], [request])


def test_empty_segments_without_end():
    bench = StationLine()
    link = bench.opened()
    numbers = itertools.count()

    def endless(_frames):
        number = next(numbers)
        control = hdlc.information_control(number % 8, 1)
        return [(0.001, Frame(CLIENT, SERVER, control, b"", segmented=True).encode())]

    bench.down = endless
    with pytest.raises(ReplyMalformed, match="without end"):
        link.exchange(REQUEST, once=False)


@pytest.mark.parametrize("timing", [LineTiming.at_baud(9600), LineTiming.over_tcp()])
@pytest.mark.parametrize("octets", [b"", b"x"])
def test_an_answer_that_drips_is_not_waited_for(octets, timing):
    bench = StationLine()
    link = bench.opened(timing=timing)
    numbers = itertools.count()

    def dripping(_frames):
        control = hdlc.information_control(next(numbers) % 8, 1)
        return [(2.9, Frame(CLIENT, SERVER, control, octets, segmented=True).encode())]

    bench.down = dripping
    began = bench.line.time.now_s
    with pytest.raises(MeterSilent):
        link.exchange(REQUEST, once=False)
    assert bench.line.time.now_s - began < timing.tries * timing.reply_s + timing.first_octet_s


@pytest.mark.parametrize("timing", [LineTiming.at_baud(9600), LineTiming.over_tcp()])
def test_a_slow_meter_is_waited_for_as_long_as_it_says_something(timing):
    bench = StationLine(long_answer, **WIDE)
    link = bench.opened(timing=timing)
    bench.down = lambda frames: [(2.0, frame) for frame in frames]
    assert link.exchange(REQUEST, once=False) == LONG


# ---- giving way -----------------------------------------------------------------------------------------------------


def test_a_long_answer_gives_way_between_windows_and_the_link_is_ended_in_order():
    asked = []

    def give_way():
        asked.append(bench.line.time.now_s)
        if len(asked) == 2:
            raise Preempted("a relay errand waits")

    bench = StationLine(long_answer, **WIDE)
    link = bench.opened(128, 7, give_way=give_way)
    with pytest.raises(Preempted):
        link.exchange(REQUEST, once=False)
    with pytest.raises(LinkLost):
        link.exchange(REQUEST, once=False)
    link.close()
    assert bench.sent_frames()[-1].control == hdlc.DISC
    assert bench.opened(128, 7).exchange(REQUEST, once=False) == LONG


@pytest.mark.parametrize("control", [0x15, 0x11], ids=["RNR", "RR"])
def test_a_meter_that_is_busy_for_ever_gives_way_between_two_polls(control):
    asked = []
    bench = StationLine()
    link = bench.opened(give_way=lambda: asked.append(bench.line.time.now_s))
    bench.down = lambda _frames: [(2.9, Frame(CLIENT, SERVER, 1 << 5 | control).encode())]
    with pytest.raises(MeterSilent):
        link.exchange(REQUEST, once=False)
    assert len(asked) >= 5
    assert max(later - earlier for earlier, later in itertools.pairwise(asked)) < 3.5


def test_what_is_sent_once_gives_way_to_nobody():
    def give_way():
        raise AssertionError

    bench = StationLine(long_answer, **WIDE)
    assert bench.opened(128, 7, give_way=give_way).exchange(REQUEST, once=True) == LONG


def test_short_answers_never_give_way():
    def give_way():
        raise AssertionError

    bench = StationLine()
    assert bench.opened(give_way=give_way).exchange(REQUEST, once=False)


# ---- kept alive -----------------------------------------------------------------------------------------------------


def test_keeping_alive_moves_the_inactivity_on_and_costs_two_short_frames():
    bench = StationLine(inactivity_s=120.0)
    link = bench.opened()
    link.exchange(REQUEST, once=False)
    for _ in range(5):
        bench.line.time.now_s += 100
        count = len(bench.line.sent)
        assert link.keep_alive() is True
        assert [len(octets) for octets in bench.line.sent[count:]] == [10]
    assert link.exchange(REQUEST, once=False) == b"\xc4" + REQUEST
    bench.line.time.now_s += 121
    with pytest.raises(LinkLost, match="DM"):
        link.keep_alive()
    assert link.keep_alive() is False


def test_keeping_alive_through_a_loss_and_when_nobody_is_there():
    bench = StationLine()
    link = bench.link()
    assert link.keep_alive() is False
    link.open()
    lost = [True]
    bench.down = lambda frames: [] if lost and lost.pop() else frames
    assert link.keep_alive() is True
    bench.down = lambda _frames: []
    assert link.keep_alive() is False
    with pytest.raises(LinkLost):
        link.exchange(REQUEST, once=False)


# ---- what real meters and adapters do -------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 3, 20])
def test_leading_zeros(count):
    bench = StationLine()
    bench.faults.leading_zeros = count
    bench.down = lambda frames: [(0.02 + 0.001 * n, part) for n, part in enumerate(frames)]
    link = bench.opened()
    assert link.exchange(REQUEST, once=True) == b"\xc4" + REQUEST
    assert len(bench.session.asked) == 1


def test_doubled_llc_header_from_the_station():
    bench = StationLine(long_answer, **WIDE)
    bench.faults.double_llc = True
    assert bench.opened(128, 7).exchange(REQUEST, once=False) == LONG


def test_every_answer_twice():
    bench = StationLine(long_answer, **WIDE)
    bench.faults.repeat = True
    link = bench.opened(128, 7)
    for n in range(6):
        assert link.exchange(bytes([n]), once=False) == LONG
    assert bench.session.asked == [bytes([n]) for n in range(6)]


def test_half_a_frame_and_then_silence():
    bench = StationLine(long_answer)
    link = bench.opened()
    bench.faults.half_frame = True
    began = bench.line.time.now_s
    with pytest.raises((MeterSilent, AddressClash)):
        link.exchange(REQUEST, once=False)
    assert bench.line.time.now_s - began <= TIMING.tries * TIMING.reply_s
    bench.faults.half_frame = False
    link.close()
    assert bench.opened().exchange(REQUEST, once=False) == LONG


def test_an_echoing_adapter_is_told_once_and_does_no_harm():
    bench = StationLine(long_answer, **WIDE)
    echo = lambda octets: [(0.001, octets)]  # noqa: E731
    hear = bench.line.meter
    bench.line.meter = lambda octets: [*echo(octets), *hear(octets)]
    link = bench.opened(128, 7)
    assert link.echoes == 1
    assert link.exchange(LONG, once=True) == LONG
    assert link.exchange(REQUEST, once=False) == LONG
    assert bench.session.asked == [LONG, REQUEST]
    assert link.echoes == len(bench.sent_frames())


def test_nothing_but_the_echo():
    line = ScriptedLine(lambda octets: [(0.001, octets)])
    bench = StationLine()
    bench.line = line
    link = bench.link()
    with pytest.raises(EchoHeard, match="our own adapter"):
        link.open()
    assert link.echoes > 0


def test_two_meters_at_one_address():
    bench = StationLine()

    def both(frames):
        return [bytes(octet ^ 0x24 if at % 3 else octet for at, octet in enumerate(octets)) for octets in frames]

    bench.down = both
    with pytest.raises(AddressClash, match="two meters"):
        bench.link().open()


def test_two_meters_that_begin_to_clash_in_the_midst():
    bench = StationLine()
    link = bench.opened()
    bench.down = lambda frames: [octets[:3] + bytes(len(octets) - 3) for octets in frames]
    with pytest.raises(AddressClash, match="garbled answers to a read"):
        link.exchange(REQUEST, once=False)


def test_a_late_answer_of_another_meter_is_never_ours():
    bench = StationLine()
    link = bench.opened()
    foreign = Frame(CLIENT, OTHER, hdlc.information_control(0, 1), b"\xe6\xe7\x00 foreign").encode()
    bench.down = lambda frames: [(0.01, foreign), *[(2.0, octets) for octets in frames]]
    assert link.exchange(REQUEST, once=True) == b"\xc4" + REQUEST
    assert link._poller.strays == 1
    bench.down = lambda _frames: [foreign]
    with pytest.raises(MeterSilent):
        link.exchange(REQUEST, once=False)


def test_a_session_of_a_dead_client_of_ours():
    """A meter that refuses SNRM while it holds a link: DISC first, then SNRM."""
    bench = StationLine()
    bench.faults.exclusive = True
    bench.opened()  # and never closed
    assert bench.opened().exchange(REQUEST, once=False) == b"\xc4" + REQUEST
    controls = [frame.control for frame in bench.sent_frames()]
    assert controls[:4] == [hdlc.SNRM, hdlc.SNRM, hdlc.DISC, hdlc.SNRM]


def test_a_session_of_another_client_ends_by_its_inactivity():
    bench = StationLine(inactivity_s=120.0)
    bench.faults.exclusive = True
    bench.opened(client=hdlc.client_address(48))
    with pytest.raises(LinkLost, match="refuses"):
        bench.link().open()
    bench.line.time.now_s += 121
    assert bench.opened().exchange(REQUEST, once=False) == b"\xc4" + REQUEST


@pytest.mark.parametrize("control", [hdlc.DM, hdlc.FRMR])
def test_a_link_that_the_meter_ends_is_opened_anew(control):
    bench = StationLine()
    link = bench.opened()
    bench.down = lambda _frames: [Frame(CLIENT, SERVER, control).encode()]
    with pytest.raises(LinkLost):
        link.exchange(REQUEST, once=False)
    bench.down = lambda frames: frames
    link.close()
    link.open()
    assert link.exchange(REQUEST, once=False) == b"\xc4" + REQUEST


@pytest.mark.parametrize("octet", [0x7E, 0x00, 0xFF, 0x55])
def test_a_meter_that_holds_the_line_costs_bounded_time_and_memory(octet):
    bench = StationLine()
    link = bench.opened()
    bench.down = lambda _frames: []
    bench.line.coming = [(bench.line.time.now_s + n * 0.033, bytes([octet]) * 32) for n in range(4000)]
    began = bench.line.time.now_s
    with pytest.raises((MeterSilent, AddressClash)):
        link.exchange(REQUEST, once=False)
    assert bench.line.time.now_s - began <= TIMING.tries * TIMING.reply_s + 1


def test_a_garbled_answer_is_asked_again_without_waiting_for_the_time_out():
    bench = StationLine()
    link = bench.opened()
    losing(bench, {0}, "short")
    began = bench.line.time.now_s
    assert link.exchange(bytes(100), once=False)
    assert bench.line.time.now_s - began < 1.0


def test_a_garbled_answer_to_what_is_sent_once_leaves_time_for_the_true_one():
    bench = StationLine()
    link = bench.opened()
    noise = Frame(CLIENT, OTHER, 0x30, b"somebody else").encode()
    bench.down = lambda frames: [(0.01, damaged(noise)), *[(2.5, octets) for octets in frames]]
    assert link.exchange(REQUEST, once=True) == b"\xc4" + REQUEST
