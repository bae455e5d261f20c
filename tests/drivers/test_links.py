"""Serial ports on real ptys, connections on real sockets, and the wrapper over them."""

import os
import socket
import stat
import threading
import time

import pytest

from dcu.drivers import wrapper
from dcu.drivers.data_link import LineTiming
from dcu.drivers.serial_link import SerialLink
from dcu.drivers.tcp_link import TcpLink
from dcu.drivers.wrapper import WrapperLink
from dcu.errors import BusFault, LinkLost, MeterSilent, ReplyLate

from .line import ScriptedLine

TIMING = LineTiming(first_octet_s=3.0, reply_s=6.0)


@pytest.fixture
def pty():
    master, slave = os.openpty()
    name = os.ttyname(slave)
    os.close(slave)
    ends = [master]
    yield master, name, ends
    for end in ends:
        os.close(end)


def soon(seconds=30.0):
    return time.monotonic() + seconds


def test_octets_both_ways(pty):
    master, name, _ = pty
    link = SerialLink(name, 9600)
    octets = bytes(range(256))
    link.send(octets)
    assert os.read(master, 300) == octets
    os.write(master, octets)
    came = b""
    while len(came) < 256:
        came += link.receive(soon())
    assert came == octets
    os.write(master, b"unasked")
    assert link.receive(soon(0.5))
    link.flush_input()
    began = time.monotonic()
    assert link.receive(soon(0.2)) == b""
    assert 0.15 < time.monotonic() - began < 2
    link.close()
    link.close()


def test_a_port_that_vanishes_is_a_fault_at_once(pty):
    master, name, ends = pty
    link = SerialLink(name, 9600)
    ends.remove(master)
    os.close(master)
    began = time.monotonic()
    with pytest.raises(BusFault, match=name):
        link.receive(soon())
    assert time.monotonic() - began < 1
    with pytest.raises(BusFault, match="adapter"):
        link.send(b"x")
    with pytest.raises(BusFault):
        link.flush_input()
    link.close()
    for call in (lambda: link.send(b"x"), lambda: link.receive(soon()), link.flush_input):
        with pytest.raises(BusFault):
            call()


def test_a_port_is_opened_by_one_only(pty):
    _, name, _ = pty
    link = SerialLink(name, 9600)
    with pytest.raises(BusFault, match="another program"):
        SerialLink(name, 9600)
    link.close()
    SerialLink(name, 9600).close()


def test_ports_that_cannot_be_opened(tmp_path):
    with pytest.raises(BusFault, match="by-path"):
        SerialLink(str(tmp_path / "ttyNONE"), 9600)
    file = tmp_path / "file"
    file.write_text("")
    assert stat.S_ISREG(file.stat().st_mode)
    with pytest.raises(BusFault, match="cannot be opened"):
        SerialLink(str(file), 9600)


@pytest.fixture
def server():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(30)
        yield listening


def test_connection(server):
    link = TcpLink(*server.getsockname(), 2.0)
    peer, _ = server.accept()
    with peer:
        link.send(b"ask")
        assert peer.recv(10) == b"ask"
        peer.sendall(b"answer")
        assert link.receive(soon()) == b"answer"
        assert link.receive(soon(0.05)) == b""
        peer.sendall(b"unasked")
        link.receive(soon())
        link.flush_input()
    with pytest.raises(LinkLost, match="closed"):
        link.receive(soon())
    with pytest.raises(LinkLost):
        link.flush_input()
    link.close()
    link.close()
    with pytest.raises(LinkLost):
        link.send(b"x")


def test_no_connection(server):
    host, port = server.getsockname()
    server.close()
    with pytest.raises(LinkLost, match=f"{host}:{port}"):
        TcpLink(host, port, 1.0)
    with pytest.raises(LinkLost):
        TcpLink("no-such-host.invalid", 4059, 1.0)


def wrapped(answers):
    line = ScriptedLine(lambda _octets: [(0.02, octets) for octets in answers.pop(0)])
    return line, WrapperLink(line, 32, 1, TIMING, line.time, "meter")


def test_wrapper_answers_in_any_pieces():
    octets = wrapper.encode(1, 32, b"\xc4answer")
    _, link = wrapped([[octets[n : n + 1] for n in range(len(octets))], [octets], [octets[:5], octets[5:]]])
    link.open()
    for _ in range(3):
        assert link.exchange(b"\xc0", once=False) == b"\xc4answer"
    link.close()


def test_wrapper_passes_over_what_is_for_others():
    foreign = wrapper.encode(2, 32, b"x") + wrapper.encode(1, 16, b"y")
    _, link = wrapped([[foreign, wrapper.encode(1, 32, b"mine")]])
    assert link.exchange(b"\xc0", once=True) == b"mine"


@pytest.mark.parametrize(("once", "error"), [(True, ReplyLate), (False, MeterSilent)])
@pytest.mark.parametrize("answers", [[], [b"\x00\x01\x00\x01"], [wrapper.encode(1, 32, bytes(9))[:-1]]])
def test_wrapper_silence_is_never_answered_by_a_second_request(answers, once, error):
    line, link = wrapped([answers, [wrapper.encode(1, 32, b"late")]])
    with pytest.raises(error):
        link.exchange(b"\xc0", once=once)
    with pytest.raises(LinkLost):
        link.exchange(b"\xc0", once=False)
    assert len(line.sent) == 1


def test_wrapper_two_answers_in_one_segment_and_a_notification():
    pushed = wrapper.encode(1, 32, b"\x0f\x00\x00\x00\x01 pushed")
    _, link = wrapped(
        [
            [pushed + wrapper.encode(1, 32, b"\xc4 one") + wrapper.encode(1, 32, b"\xc4 stale")],
            [wrapper.encode(1, 32, b"\xc4 two")],
        ]
    )
    assert link.exchange(b"\xc0", once=False) == b"\xc4 one"
    assert link.exchange(b"\xc0", once=False) == b"\xc4 two"


@pytest.mark.parametrize(
    "flood",
    [
        wrapper.encode(2, 32, bytes(20)),
        wrapper.encode(1, 32, b"\x0f pushed"),
        b"\x00\x01\x00\x01\x00\x20\xff\xff" + bytes(99),
    ],
    ids=["another meter", "notifications", "the longest length"],
)
def test_wrapper_a_peer_that_never_stops_costs_bounded_time_and_memory(flood):
    line, link = wrapped([[]])
    line.coming = [(line.time.now_s + n * 0.05, flood) for n in range(9000)]
    began = line.time.now_s
    with pytest.raises((MeterSilent, LinkLost)):
        link.exchange(b"\xc0", once=False)
    assert line.time.now_s - began <= TIMING.first_octet_s + TIMING.reply_s + 1
    assert len(link._octets) <= 0xFFFF + 4096


def test_not_a_wrapper():
    _, link = wrapped([[b"HTTP/1.1 400 Bad Request\r\n"]])
    with pytest.raises(LinkLost, match="wrapper"):
        link.exchange(b"\xc0", once=False)


def test_waiting_for_octets_does_not_keep_a_deadline_open(pty):
    master, name, _ = pty
    link = SerialLink(name, 115200)
    writer = threading.Timer(0.1, os.write, (master, b"late"))
    writer.start()
    began = time.monotonic()
    assert link.receive(soon()) != b""
    assert time.monotonic() - began < 2
    writer.join()
    link.close()
