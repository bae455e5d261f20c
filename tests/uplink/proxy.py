"""A TCP proxy with faults, between a client and a broker: what `tc netem` would do, without the kernel's help.

    with FaultProxy(broker.port) as proxy:
        place = proxy.endpoint(box)
        proxy.black_hole = True

Every fault may be switched while connections are open. With `inside` the proxy ends TLS on both sides, sees the packets
of MQTT and may drop some: `proxy.drop = lambda kind, up: kind == PUBACK`.
"""

import random
import select
import socket
import ssl
import struct
import threading
import time
from collections import deque
from contextlib import suppress
from dataclasses import replace

from dcu.headend.pki import Authority, Identity
from tests.uplink.scripted import server_context

_BUFFER = 64 * 1024  # octets that wait in one direction; beyond them TCP holds the sender back
_LOOK_S = 0.02
_RST = struct.pack("ii", 1, 0)  # SO_LINGER: close sends a reset


class Inside:
    """Both sides of TLS, for a proxy that reads what passes: a broker to the client, the client to the broker."""

    def __init__(self, authority: Authority, client: Identity):
        self.accepting = server_context(authority.server("proxy"), authority.certificate_file)
        self.connecting = ssl.create_default_context(cafile=str(authority.certificate_file))
        self.connecting.load_cert_chain(client.certificate, client.key)


class FaultProxy:
    """Listens on a free port of 127.0.0.1.

    Faults:
        black_hole: nothing passes in either direction; connections stay open and new ones are accepted.
        refuse: new connections are closed at once.
        delay_s: every octet is that late, each way.
        rate_bytes_s: octets a second, each way.
        slice_bytes: so many octets at a time.
        reset_p: chance that a piece that comes is answered with a reset of its connection (`rng`).
        drop: (kind of MQTT packet, whether it goes up) -> whether it is lost; needs `inside`.

    What was seen: `connections` made, `passed` octets (up, down), `dropped` packets.
    """

    def __init__(self, port, *, host="127.0.0.1", inside=None, rng=None):
        self._target, self._inside = (host, port), inside
        self.black_hole = self.refuse = False
        self.delay_s, self.rate_bytes_s, self.slice_bytes, self.reset_p = 0.0, None, None, 0.0
        self.drop = lambda kind, up: False
        self.rng = rng or random.Random(1)
        self.connections, self.passed, self.dropped = 0, [0, 0], 0
        self._live, self._lock, self._ends = set(), threading.Lock(), False
        self._threads = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._accepting = threading.Thread(target=self._accept, name="proxy", daemon=True)
        self._accepting.start()

    def endpoint(self, place):
        """That broker, through this proxy."""
        return replace(place, port=self.port)

    def reset(self):
        """RST on every connection, both sides."""
        with self._lock:
            for pair in self._live:
                pair.resets = True

    def close(self):
        self._ends = True
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in [self._accepting, *self._threads]:
            thread.join(10)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _accept(self):
        while not self._ends:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            if self.refuse:
                client.close()
                continue
            self._threads = [t for t in self._threads if t.is_alive()]
            self._threads.append(threading.Thread(target=self._serve, args=(client,), daemon=True))
            self._threads[-1].start()

    def _serve(self, client):
        pair = None
        try:
            broker = socket.create_connection(self._target, timeout=10)
            client.settimeout(10)
            for sock in (client, broker):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._inside:
                client = self._inside.accepting.wrap_socket(client, server_side=True)
                broker = self._inside.connecting.wrap_socket(broker, server_hostname="localhost")
            pair = _Pair(self, client, broker)
            with self._lock:
                self._live.add(pair)
            pair.run()
        except OSError:
            client.close()
        finally:
            with self._lock:
                self._live.discard(pair)


class _Pair:
    """One connection: a thread that carries octets both ways."""

    def __init__(self, proxy, client, broker):
        self.proxy, self.resets = proxy, False
        self._ways = [_Way(proxy, client, broker, up=True), _Way(proxy, broker, client, up=False)]
        self._socks = (client, broker)
        for sock in self._socks:
            sock.setblocking(False)

    def run(self):
        try:
            while not self.proxy._ends and not self.resets and any(w.open for w in self._ways):
                self._turn()
        except OSError:
            self.resets = True
        for sock in self._socks:
            with suppress(OSError):
                if self.resets:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RST)
                sock.close()

    def _turn(self):
        reading = [w for w in self._ways if w.open and w.size < _BUFFER and not self.proxy.black_hole]
        pending = any(w.source.pending() for w in reading if isinstance(w.source, ssl.SSLSocket))
        ready, _, _ = select.select([w.source for w in reading], [], [], 0 if pending else self._wait_s())
        for way in reading:
            if pending or way.source in ready:
                self.resets |= way.take()
        if not self.proxy.black_hole:
            for way in self._ways:
                way.give()

    def _wait_s(self):
        dues = [w.due_s for w in self._ways if w.due_s is not None]
        return min([_LOOK_S, *(max(0.0, due - time.monotonic()) for due in dues)])


class _Way:
    """One direction."""

    def __init__(self, proxy, source, sink, *, up):
        self.proxy, self.source, self.sink, self.up = proxy, source, sink, up
        self.open = True
        self._waiting, self._half, self._free_s = deque(), b"", 0.0

    @property
    def size(self):
        return sum(len(octets) for _, octets in self._waiting)

    @property
    def due_s(self):
        return max(self._waiting[0][0], self._free_s) if self._waiting else None

    def take(self):
        """Whether what came is answered with a reset."""
        try:
            octets = self.source.recv(16 * 1024)
        except (ssl.SSLWantReadError, BlockingIOError):
            return False
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            octets = b""
        if octets and self.proxy.reset_p and self.proxy.rng.random() < self.proxy.reset_p:
            return True
        passing = self._kept(octets) if self.proxy._inside else octets
        if passing or not octets:
            self._waiting.append((time.monotonic() + self.proxy.delay_s, passing))
        self.open = bool(octets)
        return False

    def give(self):
        while self._waiting and (now := time.monotonic()) >= self.due_s:
            due, octets = self._waiting.popleft()
            rate, most = self.proxy.rate_bytes_s, self.proxy.slice_bytes or len(octets)
            if rate:
                most = max(1, min(most, int(rate * _LOOK_S)))
            part, rest = octets[:most], octets[most:]
            if rest:
                self._waiting.appendleft((due, rest))
            if not octets:
                with suppress(OSError):
                    self.sink.shutdown(socket.SHUT_WR)
                return
            self._send(part)
            self.proxy.passed[0 if self.up else 1] += len(part)
            if rate:
                self._free_s = max(self._free_s, now) + len(part) / rate
            elif self.proxy.slice_bytes and rest:
                self._free_s = now + 0.0005

    def _send(self, octets):
        left = memoryview(octets)
        while left and not self.proxy._ends:
            try:
                left = left[self.sink.send(left) :]
            except (ssl.SSLWantWriteError, BlockingIOError):
                select.select([], [self.sink], [], _LOOK_S)
            except ssl.SSLWantReadError:
                select.select([self.sink], [], [], _LOOK_S)

    def _kept(self, octets):
        """Whole packets of MQTT, without those that are dropped."""
        self._half += octets
        kept = b""
        while (size := _packet_size(self._half)) and len(self._half) >= size:
            packet, self._half = self._half[:size], self._half[size:]
            if self.proxy.drop(packet[0] >> 4, self.up):
                self.proxy.dropped += 1
            else:
                kept += packet
        return kept


def _packet_size(octets):
    """Octets of the packet that begins there, or 0 where its length is not yet whole (MQTT 5.0 1.5.5)."""
    total = 0
    for n, octet in enumerate(octets[1:5]):
        total |= (octet & 0x7F) << 7 * n
        if octet < 0x80:
            return 2 + n + total
    return 0
