"""Weeks of endpoints that die in every way: no thread, file or association is left behind, and a sound one is read."""

import socket
import struct
import threading
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest

from dcu.drivers.bus import Framing
from dcu.drivers.tcp_link import TcpLink
from dcu.errors import DcuError, LinkLost, VisitTooLong
from dcu.meter import Purpose

from .test_bus import Job
from .test_bus_pool import CLOCK, MODEL, at, meters, read_and_wait, read_clock, running

ROUNDS = 5


def closes(peer):
    pass


def resets(peer):
    peer.recv(4096)
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def says_nothing(peer):
    while peer.recv(4096):
        pass


def floods(octets):
    def flood(peer):
        peer.settimeout(5)
        while True:
            peer.sendall(octets)

    return flood


def drips(octets):
    def drip(peer):
        peer.recv(4096)
        peer.settimeout(0.05)
        for octet in octets:
            peer.sendall(bytes([octet]))
            with suppress(TimeoutError):
                peer.recv(4096)

    return drip


LONG_HEADER = bytes.fromhex("0001 0001 0020 ffff")
ENDPOINTS = {
    "closes": closes,
    "resets": resets,
    "says nothing": says_nothing,
    "flags for ever": floods(b"\x7e" * 4096),
    "noise for ever": floods(bytes(range(256)) * 16),
    "headers of nothing for ever": floods(bytes.fromhex("0001 0005 0005 0000") * 512),
    "the longest APDU, octet by octet": drips(LONG_HEADER + bytes(4000)),
    "the longest APDU for ever": floods(LONG_HEADER + bytes(65535)),
}


@contextmanager
def endpoint(behave):
    """A listening socket whose every connection is treated so."""
    listening = socket.create_server(("127.0.0.1", 0), backlog=16)

    def serve():
        while True:
            try:
                peer, _ = listening.accept()
            except OSError:
                return
            with peer, suppress(OSError):
                behave(peer)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield listening.getsockname()[1]
    finally:
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        thread.join(20)
        assert not thread.is_alive()


def held():
    return len(list(Path("/proc/self/fd").iterdir())), threading.active_count()


@pytest.mark.parametrize("framing", [Framing.WRAPPER, Framing.HDLC_TCP])
@pytest.mark.parametrize("behave", ENDPOINTS.values(), ids=ENDPOINTS)
def test_an_endpoint_that_fails_in_any_way_leaves_nothing_behind(behave, framing):
    with endpoint(behave) as port, running(framing, first_octet_s=0.05) as pool:
        bad = replace(at("BAD", "127.0.0.1", port), model=replace(MODEL, keep_open=True))
        before = None
        for _ in range(ROUNDS):
            assert isinstance(read_and_wait(pool, bad).fault, DcuError)
            before = before or held()
        files, threads = held()
        assert (files - before[0], threads - before[1]) <= (1, 0)  # the server may hold its last connection
        assert pool._lent._guests == {}
        assert len(pool._lent.parking) == 0


def test_an_endpoint_that_flaps_between_visits_leaves_nothing_behind():
    with meters(1, keep_open=True) as (_, found), running() as pool:
        assert read_and_wait(pool, found[0]).fault is None
        before = held()
        for _ in range(30):
            pool.opened[-1].interrupt()
            assert read_and_wait(pool, found[0]).fault is None
        assert held()[0] - before[0] <= 2  # what the meter's side has not closed yet
        assert len(pool._lent._guests) == len(pool._lent.parking) == 1


def test_a_connection_that_dies_while_it_is_set_up_is_closed(monkeypatch):
    made = []

    class Dying(socket.socket):
        def setsockopt(self, *_args):
            raise OSError(22, "the peer has gone")

    def connect(*_args, **_how):
        made.append(Dying())
        return made[-1]

    monkeypatch.setattr(socket, "create_connection", connect)
    with pytest.raises(LinkLost, match="has gone"):
        TcpLink("127.0.0.1", 4059, 1.0)
    assert made[0].fileno() == -1


def test_an_address_that_does_not_fit_costs_no_connection():
    with meters(1) as (_, found), running(Framing.HDLC_TCP) as pool:
        wrong = replace(found[0], address=300, model=replace(MODEL, address_octets=2))
        assert read_and_wait(pool, wrong).fault is not None
        assert pool._lent._guests == {}
        assert all(link._socket.fileno() == -1 for link in pool.opened)


def test_visits_without_end_give_their_threads_to_others_that_wait(monkeypatch):
    monkeypatch.setattr("dcu.drivers.pool.longest_visit_s", lambda _octet_s: 0.2)
    with meters(2) as (_, found), running(workers=2) as pool:
        began = threading.Event()

        def work(line):
            with line.associate(found[0], Purpose.READ) as association:
                while True:
                    association.get(CLOCK)
                    began.set()

        endless, other = Job(found[0], work), read_clock(found[1])
        pool.post(endless, urgent=False)
        assert began.wait(30)
        pool.post(other, urgent=False)
        assert other.wait().fault is None
        assert isinstance(endless.fault, VisitTooLong)
