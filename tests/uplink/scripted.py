"""A broker that says what a test wants, over real TLS: what no well-behaved broker can be made to do."""

import io
import socket
import ssl
import struct
import threading
from contextlib import suppress

CONNECT, PUBLISH, PUBACK, SUBSCRIBE, PINGREQ, DISCONNECT = 1, 3, 4, 8, 12, 14

TAKEN_OVER = b"\xe0\x01\x8e"


def connack(code=0, receive_maximum=None, max_packet=None):
    properties = b"" if receive_maximum is None else b"\x21" + struct.pack(">H", receive_maximum)
    properties += b"" if max_packet is None else b"\x27" + struct.pack(">I", max_packet)
    rest = b"\x00" + bytes([code, len(properties)]) + properties
    return bytes([0x20, len(rest)]) + rest


def puback(mid, code=0):
    return b"\x40\x03" + struct.pack(">H", mid) + bytes([code])


def server_context(identity, ca):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(identity.certificate, identity.key)
    context.load_verify_locations(ca)
    context.verify_mode = ssl.CERT_REQUIRED
    return context


class ScriptedBroker:
    """Accepts connections one after another.

    `on_publish(broker, mid, topic)` gives the octets that answer a PUBLISH; `published` are the (connection number,
    mid, topic) of all of them and `payload` that of the last; `connections` says how many there were, `connects` how
    many of them began to speak MQTT.
    """

    def __init__(
        self, authority, *, tls=None, greeting=None, suback=0x01, on_publish=lambda broker, mid, topic: puback(mid)
    ):
        self._context = tls or server_context(authority.server("scripted", ("localhost",)), authority.certificate_file)
        self.greeting, self.suback, self.on_publish = greeting or connack(), suback, on_publish
        self.published, self.connections, self.acknowledged, self.connects = [], 0, [], 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.host, self.port, self.authority = "localhost", self._listener.getsockname()[1], authority
        self._live, self.payload = None, b""
        self._ends = False
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def send(self, octets):
        """Say something unasked, on the connection that is open."""
        self._live.sendall(octets)

    def close(self):
        self._ends = True
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with suppress(OSError, AttributeError):
            self._live.shutdown(socket.SHUT_RDWR)
        self._thread.join(10)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _serve(self):
        while not self._ends:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            sock.settimeout(10)
            with suppress(OSError), self._context.wrap_socket(sock, server_side=True) as live:
                self._live = live
                self.connections += 1
                self._converse(live)
            sock.close()

    def _converse(self, live):
        stream = live.makefile("rb")
        with stream:
            while head := stream.read(1):
                body = stream.read(_length(stream))
                answer = self._answer(head[0] >> 4, body)
                if answer:
                    live.sendall(answer)
                if head[0] >> 4 == DISCONNECT or answer.startswith(b"\xe0"):
                    return

    def _answer(self, kind, body):
        if kind == CONNECT:
            self.connects += 1
            return self.greeting
        if kind == SUBSCRIBE:
            return b"\x90\x04" + body[:2] + b"\x00" + bytes([self.suback])
        if kind == PINGREQ:
            return b"\xd0\x00"
        if kind == PUBACK:
            self.acknowledged.append(struct.unpack(">H", body[:2])[0])
        if kind == PUBLISH:
            size = struct.unpack(">H", body[:2])[0]
            topic, mid = body[2 : 2 + size].decode(), struct.unpack(">H", body[2 + size : 4 + size])[0]
            rest = io.BytesIO(body[4 + size :])
            rest.seek(_length(rest), io.SEEK_CUR)  # properties
            self.payload = rest.read()
            self.published.append((self.connections, mid, topic))
            return self.on_publish(self, mid, topic) or b""
        return b""


def _length(stream):
    total = shift = 0
    while True:
        octet = stream.read(1)[0]
        total |= (octet & 0x7F) << shift
        if octet < 0x80:
            return total
        shift += 7
