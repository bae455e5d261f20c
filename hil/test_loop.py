"""Octets over the loop: intact at each baud rate and frame size, and an adapter that is pulled."""

import threading
import time

import pytest

from dcu.drivers.hdlc import POLL_FINAL, SNRM, Frame, FrameReader, client_address, server_address
from dcu.drivers.serial_link import SerialLink
from dcu.errors import BusFault
from hil.loop import Adapters

BAUDS = (1200, 2400, 4800, 9600, 19200, 38400, 57600, 115200)
SIZES = (1, 32, 128, 512, 2030)


def receive(link, count, within_s):
    octets = bytearray()
    deadline = time.monotonic() + within_s
    while len(octets) < count and time.monotonic() < deadline:
        octets += link.receive(deadline)
    return bytes(octets)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("baud", BAUDS)
def test_octets_arrive_intact_both_ways(loop, baud, size):
    pattern = bytes((7 * n + size) % 256 for n in range(size))  # every octet value, 0x7E, XON and XOFF among them
    wire_s = 10 * size / baud
    a, b = SerialLink(loop.port_a, baud), SerialLink(loop.port_b, baud)
    try:
        a.flush_input()
        b.flush_input()
        for near, far in ((a, b), (b, a)):
            sender = threading.Thread(target=near.send, args=(pattern,))
            sender.start()
            arrived = receive(far, size, within_s=2 * wire_s + 5)
            sender.join()
            assert arrived == pattern
    finally:
        a.close()
        b.close()


def test_frames_are_found_in_what_arrives(loop):
    frame = Frame(server_address(1, 17), client_address(32), SNRM | POLL_FINAL).encode()
    a, b = SerialLink(loop.port_a, 9600), SerialLink(loop.port_b, 9600)
    try:
        sender = threading.Thread(target=a.send, args=(b"\x00\xff" + frame + b"\x00" + frame,))
        sender.start()
        reader = FrameReader()
        reader.feed(receive(b, 2 * len(frame) + 3, within_s=5))
        sender.join()
        assert [reader.next_frame() is not None for _ in range(3)] == [True, True, False]
    finally:
        a.close()
        b.close()


def test_an_adapter_that_is_pulled_is_a_fault_at_once_and_recovers(loop, near_bus, far_meter):
    if isinstance(loop, Adapters):
        pytest.skip("pulling a real adapter takes a hand: run with ptys, or pull it during test_meter.py")
    from dcu.meter import Purpose

    assert near_bus.ask(Purpose.IDENTIFY, lambda association: association.serial) == far_meter.config.serial
    loop.unplug_a()
    with pytest.raises(BusFault, match="port-a"):
        near_bus.ask(Purpose.IDENTIFY, lambda association: association.serial)
    loop.replug_a()
    answered = near_bus.ask_until_answered(Purpose.IDENTIFY, lambda association: association.serial)
    assert answered == far_meter.config.serial
    assert near_bus.states[-1] is None, "and the bus said that it is back"
