"""Frames get shorter on a line that garbles them and longer again when it is clean; no other meter pays for it."""

import random
from functools import partial

import pytest

from dcu.drivers.data_link import HdlcOffer, LineTiming
from dcu.drivers.frame_size import FrameSizes, Heard
from dcu.errors import DcuError

from .station_line import StationLine

SLOW = LineTiming.at_baud(9600)


def offered(sizes, serial="A", info=2030, window=7):
    offer = sizes.offer(serial, SLOW, info, window)
    return offer.max_info_bytes, offer.window


def link(sizes, whole, garbled, serial="A"):
    sizes.learn(serial, sizes.offer(serial, SLOW, 2030, 7), Heard(whole, garbled))


def test_a_noisy_line_gets_shorter_frames_and_then_windows_of_them():
    sizes = FrameSizes()
    assert offered(sizes) == (2030, 1)
    link(sizes, 3, 3)
    assert offered(sizes) == (507, 4)
    assert offered(sizes, "B") == (2030, 1)
    link(sizes, 8, 2)
    assert offered(sizes) == (128, 7)
    link(sizes, 1, 9)
    assert offered(sizes) == (128, 7), "shorter ones than every meter takes have no use"


@pytest.mark.parametrize(("whole", "garbled"), [(0, 0), (5, 1), (1, 1), (50, 5)])
def test_a_garbled_answer_now_and_then_is_no_noise(whole, garbled):
    sizes = FrameSizes()
    link(sizes, whole, garbled)
    assert offered(sizes) == (2030, 1)


def test_a_line_that_was_clean_for_a_while_gets_longer_frames_again():
    sizes = FrameSizes()
    link(sizes, 0, 3)
    link(sizes, 0, 3)
    sizes_seen = []
    for _ in range(32 * 6):
        link(sizes, 4, 0)
        sizes_seen.append(offered(sizes)[0])
    assert list(dict.fromkeys(sizes_seen)) == [128, 256, 512, 1024, 2030]
    assert sizes_seen.count(256) == 32
    assert sizes._caps == {}


def test_a_clean_while_begins_anew_with_each_garbled_answer():
    sizes = FrameSizes()
    link(sizes, 0, 3)
    for _ in range(20):
        for _ in range(31):
            link(sizes, 4, 0)
        link(sizes, 20, 1)
    assert offered(sizes) == (507, 4)
    for _ in range(50):
        link(sizes, 0, 0)  # nothing came over these: they say nothing
    assert offered(sizes) == (507, 4)


def test_on_a_wire_with_one_wrong_bit_in_ten_thousand_long_answers_come_through():
    """Answers of 4,000 octets: in frames of 2030 nearly none comes; the link finds out by itself, by its own faults."""
    noise = random.Random(11)

    def worn(octets):
        return bytes(octet ^ sum(1 << bit for bit in range(8) if noise.random() < 1e-4) for octet in octets)

    answer = random.Random(1).randbytes(4000)
    limits = {"max_info_tx": 2030, "max_info_rx": 2030, "window_tx": 7, "window_rx": 7}
    bench = StationLine(lambda _apdu: answer, **limits)
    bench.up, bench.down = worn, lambda frames: [worn(octets) for octets in frames]
    sizes, results = FrameSizes(), []
    for _ in range(40):
        offer = sizes.offer("A", SLOW, 2030, 7)
        link = bench.link(offer.max_info_bytes, offer.window, ended=partial(sizes.learn, "A"))
        try:
            link.open()
            for _ in range(4):
                assert link.exchange(b"\xc0", once=False) == answer
            results.append((offer, True))
        except DcuError:
            results.append((offer, False))
        finally:
            link.close()
    assert results[0] == (HdlcOffer(2030, 1), False)
    assert results[-1][0] == HdlcOffer(128, 7)
    assert sum(well for _, well in results[6:]) >= 32
