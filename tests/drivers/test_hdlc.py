"""HDLC frames: golden octets, an unrelated implementation, and whatever a line may bring."""

import contextlib
import time
from pathlib import Path

import pytest
from dlms_cosem.hdlc import frames as theirs
from dlms_cosem.hdlc.address import HdlcAddress
from hypothesis import given
from hypothesis import strategies as st

from dcu.drivers import hdlc
from dcu.drivers.hdlc import Frame, FrameReader
from dcu.drivers.hdlc_negotiation import negotiated
from dcu.errors import FrameDamaged

from .golden_files import FRAMES, lines

CAPTURES = Path(__file__).parents[3] / "shared" / "vectors" / "dlms-captures.txt"

ADDRESSES = st.one_of(
    st.integers(1, 0x7F).map(hdlc.client_address),
    st.tuples(st.integers(1, 0x3FFF), st.integers(1, 0x3FFF)).map(lambda pair: hdlc.server_address(*pair)),
)
ANY_FRAME = st.builds(Frame, ADDRESSES, ADDRESSES, st.integers(0, 255), st.binary(max_size=300), st.booleans())


def drain(reader, **how):
    found = []
    while (frame := reader.next_frame(**how)) is not None:
        found.append(frame)
    return found


def test_check_sequence_is_x25():
    # The catalogue's check value of CRC-16/X-25 over "123456789", low octet first on the wire.
    assert hdlc.fcs16(b"123456789") == bytes.fromhex("6E90")


@pytest.mark.parametrize("fields", lines("frames.txt"), ids=lambda fields: fields[0])
def test_golden_frame(fields):
    _, octets, destination, source, control, segmented = fields
    octets = bytes.fromhex(octets)
    frame = hdlc.decode(octets[1:-1])
    assert frame.destination.hex() == destination
    assert frame.source.hex() == source
    assert frame.control == int(control, 16)
    assert frame.segmented == (segmented == "1")
    assert frame.encode() == octets


@pytest.mark.skipif(not CAPTURES.exists(), reason="../shared/vectors is not beside this checkout")
def test_every_capture_decodes_and_all_of_them_are_in_the_golden_file():
    captures = [bytes.fromhex(line) for line in CAPTURES.read_text().split("\n") if line and line[0] != "#"]
    assert len(captures) == 7
    for octets in captures:
        assert hdlc.decode(octets[1:-1]).encode() == octets
        assert octets in FRAMES.values()


def test_flag_octets_inside_a_frame_do_not_end_it():
    octets = FRAMES["genus-aarq"] + FRAMES["genus-aare"]
    assert octets.count(0x7E) > 4
    reader = FrameReader()
    reader.feed(octets)
    assert [frame.control for frame in drain(reader)] == [0x10, 0x30]


@pytest.mark.parametrize("physical", [None, 17, 127])
def test_same_octets_as_an_unrelated_implementation(physical):
    # dlms-cosem 21.3.2. Known fault: a physical address above 127 makes it send an address of three octets.
    client, server = HdlcAddress(16, None, "client"), HdlcAddress(1, physical, "server")
    ours = (server.to_bytes(), hdlc.client_address(16))
    assert hdlc.server_address(1, physical or 0) == server.to_bytes()
    pairs = [
        (theirs.SetNormalResponseModeFrame(server, client), Frame(*ours, hdlc.SNRM)),
        (theirs.DisconnectFrame(server, client), Frame(*ours, hdlc.DISC)),
        (
            theirs.ReceiveReadyFrame(server, client, receive_sequence_number=3),
            Frame(*ours, hdlc.receive_ready_control(3)),
        ),
        (
            theirs.InformationFrame(server, client, b"abc", send_sequence_number=2, receive_sequence_number=5),
            Frame(*ours, hdlc.information_control(2, 5), b"abc"),
        ),
    ]
    for expected, frame in pairs:
        assert frame.encode() == expected.to_bytes()


def test_addresses_on_the_wire():
    assert hdlc.client_address(16) == b"\x21"
    assert hdlc.server_address(1, 0) == b"\x03"
    assert hdlc.server_address(1, 17) == b"\x02\x23"
    assert hdlc.server_address(1, 0x1234) == bytes.fromhex("00024869")
    for refused in [(0, 1), (0x4000, 1), (1, 0x4000), (1, -1)]:
        with pytest.raises(ValueError):
            hdlc.server_address(*refused)
    for sap in (0, 128):
        with pytest.raises(ValueError):
            hdlc.client_address(sap)


def test_negotiated_parameters_of_a_real_answer():
    assert negotiated(hdlc.decode(FRAMES["public-ua"][1:-1]).information) == {5: 128, 6: 128, 7: 1, 8: 1}
    assert negotiated(b"") == {}
    assert negotiated(bytes.fromhex("818006050207EE0602")) == {5: 2030}
    assert negotiated(bytes.fromhex("8180FF0501")) == {}


@given(ANY_FRAME)
def test_round_trip(frame):
    assert hdlc.decode(frame.encode()[1:-1]) == frame


@given(st.lists(ANY_FRAME, min_size=1, max_size=4), st.data())
def test_chunks_do_not_matter(frames, data):
    octets = b"\x00\xff".join(frame.encode() for frame in frames)
    reader, found = FrameReader(), []
    while octets:
        size = data.draw(st.integers(1, len(octets)))
        reader.feed(octets[:size])
        octets = octets[size:]
        found += drain(reader)
    assert found + drain(reader, silence=True) == frames


@given(ANY_FRAME, st.data())
def test_one_flipped_bit_is_never_another_frame(frame, data):
    octets = bytearray(frame.encode())
    bit = data.draw(st.integers(8, 8 * (len(octets) - 1) - 1))
    octets[bit // 8] ^= 1 << bit % 8
    reader = FrameReader()
    reader.feed(bytes(octets))
    assert drain(reader, silence=True) == []


@given(st.binary(max_size=600))
def test_garbage_is_damage_or_nothing(octets):
    with contextlib.suppress(FrameDamaged):
        hdlc.decode(octets)
    reader = FrameReader()
    reader.feed(octets)
    drain(reader, silence=True)


@pytest.mark.parametrize(
    "noise",
    [b"\x7e" * 100_000, b"\x7e\xa7\xff" * 30_000, b"\x7e\xa0\x08" * 30_000, b"U" * 100_000],
    ids=["flags", "false starts", "short false starts", "no flag"],
)
def test_endless_noise_neither_grows_nor_hangs(noise):
    reader, began = FrameReader(), time.process_time()
    for at in range(0, len(noise), 512):
        reader.feed(noise[at : at + 512])
        assert reader.next_frame() is None
        assert len(reader) <= 4 * 0x7FF
    reader.next_frame(silence=True)
    assert time.process_time() - began < 3


def test_a_false_start_hides_a_frame_only_until_silence():
    reader, good = FrameReader(), Frame(b"\x21", b"\x03", 0x73)
    reader.feed(b"\x7e\xa7\xff" + good.encode())
    assert reader.next_frame() is None
    assert reader.next_frame(silence=True) == good


def test_a_damaged_frame_costs_only_itself():
    good = Frame(b"\x21", b"\x03", 0x30, b"value")
    bad = bytearray(good.encode())
    bad[10] ^= 0x40
    reader = FrameReader()
    reader.feed(bytes(bad) + good.encode())
    assert drain(reader) == [good]
    assert reader.damaged == 1


def test_closing_flag_may_open_the_next_frame():
    one, two = Frame(b"\x21", b"\x03", 0x30, b"1"), Frame(b"\x21", b"\x03", 0x52, b"2")
    reader = FrameReader()
    reader.feed(one.encode()[:-1] + two.encode())
    assert drain(reader) == [one, two]


def test_frame_too_long_for_its_length_field():
    with pytest.raises(ValueError, match="11 bits"):
        Frame(b"\x21", b"\x03", 0x30, bytes(2040)).encode()
