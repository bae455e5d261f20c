"""A backlog of a million readings to a mosquitto over mutual TLS: ours, bare paho, and a message for each reading.

Ours is the real path: a process with the store and `uplink.sock`, the real uplink process, batches read, encoded,
deflated, published with QoS 1, acknowledged, and the cursor moved durably. Bare paho publishes the very payloads that
ours made, from memory, and waits for their acknowledgements. All go to one broker with one subscriber that reads the
octets and looks at nothing but the kind of each packet; alarms come into the store four times a second meanwhile.
"""

import itertools
import json
import shutil
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import threading
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import cbor2
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from bench import backlog
from bench.figure import Figure, at_least, at_most, stated
from dcu.record import Stream, decode_batch, encode_batch
from dcu.uplink.diagnosis import Endpoint
from dcu.uplink.encoding import encode
from dcu.uplink.publisher import Dials
from tests.broker import endpoint, running_broker
from tests.store.running_store import running
from tests.uplink.world import DCU, Field, uplink_process

READINGS = 1_000_000
ALARM_EVERY_S = 0.25
SINGLE = 30_000
PAIRS = 3


@dataclass(frozen=True, slots=True)
class Drained:
    """One drain.

    Attributes:
        seconds: from the first batch at the subscriber to the last movement of the cursor.
        octets: of payload.
        messages: batches.
        alarms_s: from each alarm's commit to its arrival.
        memory_mb: resident, of field and uplink: (a fifth into it, at its end).
    """

    seconds: float
    octets: int
    messages: int
    alarms_s: list[float]
    memory_mb: dict[str, tuple[float, float]]


class Sink:
    """A subscriber of all batches with QoS 0, in MQTT 5 octets of its own: as cheap as a subscriber can be."""

    def __init__(self, to: Endpoint, client_id: str = "hes") -> None:
        context = ssl.create_default_context(cafile=str(to.ca))
        context.load_cert_chain(to.certificate, to.key)
        raw = socket.create_connection(("127.0.0.1", to.port))
        self._sock = context.wrap_socket(raw, server_hostname=to.host)
        name = client_id.encode()
        connect = b"\x00\x04MQTT\x05\x02\x00\x00\x00" + struct.pack(">H", len(name)) + name
        self._sock.sendall(b"\x10" + bytes([len(connect)]) + connect)
        topic = b"dcu/v1/+/up/+"
        subscribe = b"\x00\x01\x00" + struct.pack(">H", len(topic)) + topic + b"\x00"
        self._sock.sendall(b"\x82" + bytes([len(subscribe)]) + subscribe)
        self.messages = self.octets = 0
        self.first_s = 0.0
        self.alarms_s: list[float] = []
        threading.Thread(target=self._run, daemon=True).start()

    def forget(self) -> None:
        """Begin to count again."""
        self.messages = self.octets = 0
        self.first_s, self.alarms_s = 0.0, []

    def _run(self) -> None:
        kept = bytearray()
        while part := self._sock.recv(1 << 18):
            kept += part
            at = 0
            while (packet := _packet(kept, at)) is not None:
                kind, begin, at = packet
                if kind == 3:
                    self._published(bytes(kept[begin : begin + 80]), kept, begin, at)
            del kept[:at]

    def _published(self, head: bytes, kept: bytearray, begin: int, end: int) -> None:
        (length,) = struct.unpack_from(">H", head)
        topic = head[2 : 2 + length]
        properties = head[2 + length]
        payload = begin + 3 + length + properties
        if topic.endswith(b"/alarm"):
            now = time.time()
            octets = bytes(kept[payload:end])
            batch = decode_batch(zlib.decompress(octets) if octets[:1] == b"\x78" else octets)
            self.alarms_s += [now - record["sent"] for record in batch.records if "sent" in record]
        elif topic.endswith(b"/profile"):
            self.first_s = self.first_s or time.perf_counter()
            self.messages += 1
            self.octets += end - payload


def _packet(octets: bytearray, at: int) -> tuple[int, int, int] | None:
    """(kind, where its variable header begins, where it ends) of the packet at `at`; None when it is not whole."""
    length = shift = 0
    for place in range(at + 1, min(at + 5, len(octets))):
        length |= (octets[place] & 0x7F) << shift
        shift += 7
        if not octets[place] & 0x80:
            end = place + 1 + length
            return (octets[at] >> 4, place + 1, end) if end <= len(octets) else None
    return None


# ---- ours


def serve(directory: Path) -> None:
    """The process of field's part: says a line when it listens, one at a fifth, and one when all is delivered."""
    with Field(directory) as box:
        goal = box.store.transact(lambda tx: tx.cursors())[Stream.PROFILE][1]
        print("listens", flush=True)
        sent_s, early = 0.0, False
        while (delivered := box.delivered(Stream.PROFILE)) < goal:
            if delivered and time.monotonic() - sent_s > ALARM_EVERY_S:
                sent_s = time.monotonic()
                body = cbor2.dumps({"kind": "drain", "sent": time.time()})
                box.store.transact(lambda tx, body=body: tx.append(Stream.ALARM, body))
            if delivered > goal // 5 and not early:
                early = True
                print("a fifth", flush=True)
            time.sleep(0.005)
        print("done", flush=True)
        sys.stdin.read()


def ours(directory: Path, to: Endpoint, sink: Sink) -> Drained:
    """Drain the store in `directory`."""
    sink.forget()
    command = [sys.executable, "-m", "bench.drain", "serve", str(directory)]
    field = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert field.stdout is not None
    assert field.stdin is not None
    field.stdout.readline()
    uplink = uplink_process(directory, to, directory / "uplink.log")
    try:
        field.stdout.readline()
        early = {"field": _memory_mb(field.pid), "uplink": _memory_mb(uplink.pid)}
        field.stdout.readline()
        seconds = time.perf_counter() - sink.first_s
        late = {"field": _memory_mb(field.pid), "uplink": _memory_mb(uplink.pid)}
    finally:
        uplink.kill()
        uplink.wait()
        field.stdin.close()
        field.wait()
    time.sleep(0.2)
    memory = {name: (early[name], late[name]) for name in early}
    return Drained(seconds, sink.octets, sink.messages, list(sink.alarms_s), memory)


def _memory_mb(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) * 1024 / 1e6


# ---- the others


def payloads(directory: Path) -> list[tuple[bytes, str]]:
    """What ours publishes, made before the clock runs."""
    with running(directory / "dcu.db", dcu=DCU) as it:
        store, after, made = it.store, dict[Stream, int](), []
        while batch := store.transact(lambda tx: tx.next_batch(dict(after), Dials().max_bytes)):
            after[batch.stream] = batch.first + len(batch.bodies) - 1
            octets = encode_batch(DCU, store.epoch, batch.stream, batch.first, batch.layouts, batch.bodies)
            made.append(encode(octets, "cbor"))
    return made


def bare(messages: list[tuple[bytes, str]], to: Endpoint, topic: str) -> float:
    """Seconds that paho takes to publish them with QoS 1, its own window of 20, and TCP_NODELAY."""
    client = Client(CallbackAPIVersion.VERSION2, client_id=DCU, protocol=MQTTProtocolVersion.MQTTv5)
    client.on_socket_open = lambda _c, _u, sock: sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    client.tls_set(str(to.ca), str(to.certificate), str(to.key))
    connected, ended, left = threading.Event(), threading.Event(), itertools.count(1)
    client.on_connect = lambda *_: connected.set()
    client.on_publish = lambda *_: ended.set() if next(left) == len(messages) else None
    client.connect("localhost", to.port)
    client.loop_start()
    assert connected.wait(30)
    began = time.perf_counter()
    for payload, content_type in messages:
        properties = Properties(PacketTypes.PUBLISH)
        properties.ContentType = content_type
        client.publish(topic, payload, qos=1, properties=properties)
    assert ended.wait(600)
    seconds = time.perf_counter() - began
    client.disconnect()
    client.loop_stop()
    return seconds


def singles() -> list[tuple[bytes, str]]:
    """A plain JSON message for each reading, as a gateway without a concentrator sends it."""
    made = []
    for reading in backlog.readings(48, SINGLE // 48):
        for row in reading.rows:
            names = ("irc", "iyc", "ibc", "vrn", "vyn", "vbn", "kwh", "kvah")
            body = {"meter": reading.serial, "ts": row.captured_at.epoch_s * 1000, "status": 0}
            made.append((json.dumps(body | dict(zip(names, row.values, strict=True))).encode(), "application/json"))
    return made


# ---- the figures


@contextmanager
def _stage() -> Iterator[tuple[Path, Endpoint, Sink]]:
    with tempfile.TemporaryDirectory(prefix="dcu-drain-") as name:
        scratch = Path(name)
        with running_broker(scratch) as broker:
            sink = Sink(endpoint(broker, broker.authority.client("hes")))
            yield scratch, endpoint(broker, broker.authority.client(DCU)), sink


def _pair(scratch: Path, full: Path, to: Endpoint, sink: Sink, made: list[tuple[bytes, str]]) -> tuple[Drained, float]:
    directory = scratch / "box"
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir()
    shutil.copyfile(full / "dcu.db", directory / "dcu.db")
    drained = ours(directory, to, sink)
    return drained, bare(made, to, f"dcu/v1/{DCU}/up/profile")


def drain(rows: int, readings: int = READINGS, pairs: int = PAIRS) -> tuple[list[Drained], list[float], float]:
    """(ours, bare paho's seconds, seconds a reading of one message each), for records of `rows` intervals."""
    with _stage() as (scratch, to, sink):
        full = scratch / "full"
        full.mkdir()
        backlog.fill(full / "dcu.db", rows, readings)
        made = payloads(full)
        found = [_pair(scratch, full, to, sink, made) for _ in range(pairs)]
        each = bare(singles(), to, f"dcu/v1/{DCU}/up/profile") / (SINGLE // 48 * 48)
    return [drained for drained, _ in found], [seconds for _, seconds in found], each


def figures() -> list[Figure]:
    """Both kinds of records."""
    found = []
    for rows, least in ((48, 0.7), (1, 0.4)):
        drains, bares, each_s = drain(rows)
        name = f"drain of {READINGS:,} readings, {rows} in a record"
        readings = READINGS // rows * rows
        ours_s, growth = median(d.seconds for d in drains), 0.0
        for d in drains:
            growth = max(growth, *(late - early for early, late in d.memory_mb.values()))
        alarms = [late for d in drains for late in d.alarms_s]
        ratio = median(b / d.seconds for d, b in zip(drains, bares, strict=True))
        found += [
            at_least(name, ratio, least, "bare paho's time/ours"),
            at_least(f"{name}: against a JSON message a reading", each_s * readings / ours_s, 10, "its time/ours"),
            stated(f"{name}: speed", readings / ours_s, "readings/s", 0),
            stated(f"{name}: payload", drains[0].octets / readings, "octets/reading"),
            at_most(f"{name}: growth of field or uplink from the first fifth to the end", growth, 4, "MB", 1),
            at_most(f"{name}: slowest of {len(alarms)} live alarms", max(alarms, default=99.0), 1, "s"),
        ]
    return found


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        serve(Path(sys.argv[2]))
    else:
        for figure in figures():
            print(figure)
