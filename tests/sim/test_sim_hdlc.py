"""The secondary station: addresses, negotiation, sequence numbers, segmentation, and bad input of every kind."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dcu.sim.errors import Malformed
from dcu.sim.hdlc import Deframer, Frame, fcs, parse, server_address
from dcu.sim.station import Station, StationLimits
from tests.sim.sim_client import frame, frames

ADDRESS = b"\x02\x23"
SNRM, DISC, UA, DM, FRMR = 0x93, 0x53, 0x73, 0x1F, 0x97
LLC = b"\xe6\xe6\x00"


class Echo:
    """Answers each APDU with itself, repeated as often as its first octet says; counts what it was asked."""

    def __init__(self):
        self.asked = []

    def respond(self, apdu):
        self.asked.append(apdu)
        return apdu * apdu[0] if apdu[0] else None


class Bench:
    """A station with sessions to look at."""

    def __init__(self, address=ADDRESS, **limits):
        self.sessions = []
        self.station = Station(address, self._open, StationLimits(**limits))

    def _open(self, client):
        self.client = client
        self.sessions.append(Echo())
        return self.sessions[-1]

    def tell(self, octets, now=0.0):
        return frames(self.station.receive(octets, now))

    def connect(self, information=b"", client=32):
        (answer,) = self.tell(frame(SNRM, information, client=client))
        assert answer.control == UA
        return answer


def i_frame(send, receive, information, *, poll=True, segmented=False, client=32):
    control = receive << 5 | (0x10 if poll else 0) | send << 1
    return frame(control, information, segmented=segmented, client=client)


# Frames of real meters; source of each: the address beside it.
REAL = {
    "https://gurux.fi/node/24607 request": (
        (
            "7EA05F03411007E2E6E6006051A109060760857405080103A60A040848504C37323939388A0207808B0760857405080201AC12801031"
            "313131313131313131313131313131BE17041521132000000001E9C53132607662DC7A94A61439BFBEB57E"
        ),
        (b"\x03", b"\x41", 0x10),
    ),
    "https://gurux.fi/node/24607 answer": (
        (
            "7EA04A410330EBA8E6E700613CA109060760857405080103A203020100A305A103020100A40A040848504C000010F447BE1704152813"
            "2000000000830705F03594EEE1A96C27CCA051765F7E"
        ),
        (b"\x41", b"\x03", 0x30),
    ),
    "https://www.gurux.fi/comment/16477 flag inside the ciphertext": (
        (
            "7EA07C036110AA6BE6E600606EA109060760857405080103A60A040841424344454647488A0207808B0760857405080202AC1280104E"
            "261D0E1D1E416A0563742355463E4CBE3404322130300000000055B274213543BFC62B203160A9B5C12D973BDFF27E02ACF1115E58F8"
            "AEA77AC24CD823837370D6F00D153E6F867E"
        ),
        (b"\x03", b"\x61", 0x10),
    ),
    "https://www.gurux.fi/node/20118 clock": (
        "7EA01E410352054FE6E700C4018100090C07E60810FF0F211BFF800000C71A7E",
        (b"\x41", b"\x03", 0x52),
    ),
}


@pytest.mark.parametrize("source", REAL)
def test_frames_of_real_meters_are_read_and_made_again(source):
    text, (destination, origin, control) = REAL[source]
    octets = bytes.fromhex(text)
    (found,) = Deframer().feed(octets)
    assert (found.destination, found.source, found.control) == (destination, origin, control)
    assert found.octets() == octets


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_any_cut_of_the_same_octets_gives_the_same_frames(data):
    whole = b"".join(
        data.draw(st.sampled_from([b"", b"\x7e", b"\x00\xff", b"\x7e\xa0", b"garbage"])) + bytes.fromhex(text)
        for text, _ in REAL.values()
    )
    whole += bytes(200)  # enough for the longest false start to be found false
    expected = Deframer().feed(whole)
    assert len(expected) == len(REAL)
    deframer, found, at = Deframer(), [], 0
    while at < len(whole):
        step = data.draw(st.integers(1, 40))
        found += deframer.feed(whole[at : at + step])
        at += step
    assert found == expected


@given(st.binary(max_size=600), st.integers(1, 64))
@settings(max_examples=200, deadline=None)
def test_garbage_is_met_with_silence(noise, step):
    bench = Bench()
    for at in range(0, len(noise), step):
        assert bench.tell(noise[at : at + step]) == []


@given(st.integers(0, 10_000))
@settings(max_examples=150, deadline=None)
def test_one_flipped_bit_anywhere_is_never_answered(where):
    good = i_frame(0, 0, LLC + b"\x01\x02\x03")
    bit = where % (len(good) * 8)
    bad = bytearray(good)
    bad[bit // 8] ^= 1 << bit % 8
    bench = Bench()
    bench.connect()
    assert bench.tell(bytes(bad)) == []
    assert bench.sessions[0].asked == []


def test_check_sequence_is_that_of_the_standard():
    assert fcs(b"123456789") == bytes.fromhex("6e90")  # CRC-16/X-25 check value 0x906E, low octet first


@pytest.mark.parametrize(
    ("upper", "lower", "size", "octets"),
    [
        (1, 17, 1, "03"),
        (1, 17, 2, "0223"),
        (1, 17, 4, "00020023"),
        (1, 127, 2, "02ff"),
        (0x1234, 0x3FFF, 4, "4868fe" + "ff"),
    ],
)
def test_addresses(upper, lower, size, octets):
    assert server_address(upper, lower, size).hex() == octets


@pytest.mark.parametrize(("upper", "lower", "size"), [(128, 0, 1), (1, 128, 2), (1, 0x4000, 4), (1, 1, 3), (-1, 1, 2)])
def test_addresses_that_do_not_fit(upper, lower, size):
    with pytest.raises(Malformed):
        server_address(upper, lower, size)


@pytest.mark.parametrize("size", [1, 2, 4])
def test_each_size_of_address_is_served_and_no_other(size):
    own = server_address(1, 17, size)
    bench = Bench(own)
    for destination in (b"\x03", b"\x02\x23", b"\x00\x02\x00\x23", b"\x02\x25", b"\x04\x23", b"\xff"):
        answers = bench.tell(frame(SNRM, destination=destination))
        assert [answer.control for answer in answers] == ([UA] if destination == own else [])
        for answer in answers:
            assert (answer.source, answer.destination) == (own, b"\x41")


# ---- connection -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "granted"),
    [
        ("", "8180120501800601800704000000010804" + "00000001"),
        ("818014050207ee060207ee070400000007080400000007", "818014050207ee060207ee0704000000070804" + "00000007"),
        ("8180060501400601" + "20", "8180120501200601400704000000010804" + "00000001"),
    ],
)
def test_negotiation(asked, granted):
    """The client's transmit is the meter's receive; no value is larger than asked, 128 and 1 where nothing is asked."""
    limit = 2030 if "07ee" in granted else 128
    answer = Bench(max_info_tx=limit, max_info_rx=limit, window_tx=7, window_rx=7).connect(bytes.fromhex(asked))
    assert answer.information.hex() == granted


@pytest.mark.parametrize("asked", ["00", "8180", "81800305010006", "8180030502"])
def test_senseless_negotiation_is_refused(asked):
    answers = Bench().tell(frame(SNRM, bytes.fromhex(asked)))
    assert [answer.control for answer in answers] == [DM]


def test_before_snrm_everything_gets_dm():
    bench = Bench()
    for octets in (frame(DISC), frame(0x11), i_frame(0, 0, LLC + b"\x01")):
        assert [answer.control for answer in bench.tell(octets)] == [DM]
    assert bench.sessions == []


def test_disc_ends_the_link():
    bench = Bench()
    bench.connect()
    assert [answer.control for answer in bench.tell(frame(DISC))] == [UA]
    assert [answer.control for answer in bench.tell(frame(DISC))] == [DM]


def test_each_client_has_its_own_link():
    bench = Bench()
    bench.connect(client=16)
    bench.connect(client=32)
    assert bench.tell(i_frame(0, 0, LLC + b"\x01A", client=16))[0].information == b"\xe6\xe7\x00\x01A"
    assert bench.tell(i_frame(0, 0, LLC + b"\x01B", client=32))[0].information == b"\xe6\xe7\x00\x01B"
    bench.tell(frame(DISC, client=16))
    assert bench.tell(i_frame(1, 1, LLC + b"\x01C", client=32))[0].information == b"\xe6\xe7\x00\x01C"


def test_an_idle_link_falls():
    bench = Bench(inactivity_s=120.0)
    bench.connect()
    assert [answer.control for answer in bench.tell(frame(0x11), 119.0)] == [0x11]
    assert [answer.control for answer in bench.tell(frame(0x11), 240.0)] == [DM]


def test_a_frame_that_stops_is_forgotten():
    bench = Bench()
    snrm = frame(SNRM)
    assert bench.tell(b"\x7e\xa0\x60\x02", 0.0) == []  # promises 96 octets
    assert bench.tell(snrm, 0.1) == []
    assert [answer.control for answer in bench.tell(snrm, 5.0)] == [UA]


# ---- numbered frames ------------------------------------------------------------------------------------------------


def test_sequence_numbers_go_round():
    bench = Bench()
    bench.connect()
    for turn in range(20):
        (answer,) = bench.tell(i_frame(turn % 8, turn % 8, LLC + bytes([1, turn])))
        assert answer.control == ((turn + 1) % 8) << 5 | 0x10 | (turn % 8) << 1
        assert answer.information[3:] == bytes([1, turn])


def test_a_repeated_request_gets_the_old_answer_and_is_served_once():
    bench = Bench()
    bench.connect()
    request = i_frame(0, 0, LLC + b"\x01A")
    first = bench.tell(request)
    assert bench.tell(request) == first
    assert bench.tell(request) == first
    assert bench.sessions[0].asked == [b"\x01A"]
    assert bench.tell(i_frame(1, 1, LLC + b"\x01B"))[0].information[3:] == b"\x01B"


def test_a_request_out_of_order_is_not_served():
    bench = Bench()
    bench.connect()
    (answer,) = bench.tell(i_frame(3, 0, LLC + b"\x01A"))
    assert answer.control == 0x11  # RR that still wants number 0
    assert bench.sessions[0].asked == []


@pytest.mark.parametrize("control", [0x31, 0xF1, 0x50])
def test_acknowledging_what_was_never_sent_is_rejected(control):
    bench = Bench()
    bench.connect()
    (answer,) = bench.tell(frame(control, LLC + b"\x01" if control == 0x50 else b""))
    assert answer.control == FRMR
    assert answer.information[0] == control
    assert answer.information[2] == 8


@pytest.mark.parametrize(("control", "information", "reason"), [(0x19, b"", 1), (0x1B, b"", 1), (0x11, b"x", 2)])
def test_nonsense_commands_are_rejected(control, information, reason):
    bench = Bench()
    bench.connect()
    (answer,) = bench.tell(frame(control, information))
    assert (answer.control, answer.information[2]) == (FRMR, reason)


def test_snrm_mends_a_rejected_link():
    bench = Bench()
    bench.connect()
    bench.tell(frame(0x19))
    bench.connect()
    assert bench.tell(i_frame(0, 0, LLC + b"\x01A"))[0].information[3:] == b"\x01A"


def test_a_request_in_segments():
    bench = Bench()
    bench.connect()
    whole = LLC + bytes([1]) + bytes(range(200))
    assert bench.tell(i_frame(0, 0, whole[:100], segmented=True))[0].control == 0x31
    assert bench.tell(i_frame(0, 0, whole[:100], segmented=True))[0].control == 0x31  # its RR was lost
    assert bench.tell(i_frame(1, 0, whole[100:]))[0].segmented
    assert bench.sessions[0].asked == [whole[3:]]


@pytest.mark.parametrize("window", [1, 2, 3, 7])
def test_an_answer_in_segments_survives_lost_frames(window):
    """Of each window the last frame is lost once: RR names the first that is missing, and it comes again."""
    bench = Bench(max_info_tx=32, window_tx=window)
    bench.connect(bytes.fromhex("8180090501800601200801") + bytes([window]))
    request = LLC + bytes([40]) + b"abcdefghi"
    answers = bench.tell(i_frame(0, 0, request))
    got, expected, lose = b"", 0, True
    for _ in range(200):
        assert 1 <= len(answers) <= window
        assert [answer.poll for answer in answers] == [False] * (len(answers) - 1) + [True]
        taken = answers[:-1] if lose else answers
        for answer in taken:
            assert (answer.control >> 1) & 7 == expected
            got += answer.information
            expected = (expected + 1) % 8
        if not lose and not answers[-1].segmented:
            break
        lose = not lose
        answers = bench.tell(frame(expected << 5 | 0x11))
    assert got == b"\xe6\xe7\x00" + request[3:] * 40
    assert bench.sessions[0].asked == [request[3:]]
    assert bench.tell(frame(expected << 5 | 0x11))[0].control == 0x31


def test_a_window_of_requests_is_answered_at_its_poll():
    bench = Bench(window_rx=3)
    bench.connect()
    assert bench.tell(i_frame(0, 0, LLC + b"\x01", poll=False, segmented=True)) == []
    assert bench.tell(i_frame(1, 0, b"AB", poll=False, segmented=True)) == []
    (answer,) = bench.tell(i_frame(2, 0, b"CD"))
    assert answer.control == 3 << 5 | 0x10
    assert bench.sessions[0].asked == [b"\x01ABCD"]


def test_no_llc_no_service():
    bench = Bench()
    bench.connect()
    assert bench.tell(i_frame(0, 0, b"\xe6\xe7\x00\x01A"))[0].control == 0x31
    assert bench.sessions[0].asked == []


def test_too_much_information_is_rejected():
    bench = Bench(max_info_rx=64)
    bench.connect()
    (answer,) = bench.tell(i_frame(0, 0, LLC + bytes(70)))
    assert (answer.control, answer.information[2]) == (FRMR, 4)


def test_parse_refuses_a_wrong_header_check():
    body = bytearray(Frame(ADDRESS, b"\x41", 0x10, b"abc").octets()[1:-1])
    body[6] ^= 1
    body[-2:] = fcs(bytes(body[:-2]))
    with pytest.raises(Malformed, match="header"):
        parse(bytes(body))


def test_a_new_request_that_ignores_the_last_answer_gets_that_answer_again():
    bench = Bench()
    bench.connect()
    first = bench.tell(i_frame(0, 0, LLC + b"\x01A"))
    assert bench.tell(i_frame(1, 0, LLC + b"\x01B")) == first  # N(R) = 0: the answer was never taken
    assert bench.sessions[0].asked == [b"\x01A"]
