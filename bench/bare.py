"""What a drain is held against: bare paho with payloads that are made already, in messages of several sizes."""

import itertools
import json
import socket
import threading
import time
import zlib
from dataclasses import dataclass

import cbor2
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from bench import backlog
from bench.sink import SinkProcess
from dcu.record import QUICK
from dcu.uplink.diagnosis import Endpoint
from tests.uplink.world import DCU

SINGLE = 20_000
IN_FLIGHT = 20
"""What mosquitto allows (Receive Maximum), and so what ours keeps to; paho's own too, unless it is told otherwise."""

SMALL = 100
"""Readings in a message of those that reference/store-uplink.md 3 measured: a few kB, and thousands of messages."""

SMALL_READINGS = 200_000

TOPIC = f"dcu/v1/{DCU}/up/profile"


@dataclass(frozen=True, slots=True)
class Published:
    """Messages that were published.

    Attributes:
        count: how many.
        seconds: until the last was acknowledged.
        heard_s: until the last was at the subscriber.
        cpu_s: of the process.
    """

    count: int
    seconds: float
    heard_s: float
    cpu_s: float


def bare(messages: list[bytes], content_type: str, to: Endpoint, sink: SinkProcess) -> Published:
    """Publish them with paho, QoS 1 and TCP_NODELAY."""
    sink.begin()
    client = Client(CallbackAPIVersion.VERSION2, client_id=DCU, protocol=MQTTProtocolVersion.MQTTv5)
    client.max_inflight_messages_set(IN_FLIGHT)
    client.on_socket_open = lambda _c, _u, sock: sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    client.tls_set(str(to.ca), str(to.certificate), str(to.key))
    connected, ended, left = threading.Event(), threading.Event(), itertools.count(1)
    client.on_connect = lambda *_: connected.set()
    client.on_publish = lambda *_: ended.set() if next(left) == len(messages) else None
    client.connect("localhost", to.port)
    client.loop_start()
    assert connected.wait(30)
    began_s, cpu_s = time.monotonic(), time.process_time()
    for payload in messages:
        properties = Properties(PacketTypes.PUBLISH)
        properties.ContentType = content_type
        client.publish(TOPIC, payload, qos=1, properties=properties)
    assert ended.wait(600)
    ended_s, cpu_s = time.monotonic(), time.process_time() - cpu_s
    client.disconnect()
    client.loop_stop()
    heard = sink.settled()
    assert heard.messages == len(messages), "the subscriber did not hear every message"
    return Published(len(messages), ended_s - began_s, heard.last_s - began_s, cpu_s)


def small(made: list[bytes], rows: int) -> list[bytes]:
    """The first `SMALL_READINGS` of what is in these payloads, `SMALL` readings or a little less in each."""
    found: list[bytes] = []
    count = SMALL // rows
    for payload in made:
        batch = cbor2.loads(zlib.decompress(payload))
        parts = (batch["records"][n : n + count] for n in range(0, len(batch["records"]), count))
        found += [zlib.compress(cbor2.dumps(batch | {"records": part}), QUICK) for part in parts if len(part) == count]
        if len(found) * count * rows >= SMALL_READINGS:
            break
    return found


def singles() -> list[bytes]:
    """A plain JSON message for each reading, as a gateway without a concentrator sends it."""
    made = []
    for reading in backlog.readings(48, SINGLE // 48):
        for row in reading.rows:
            names = ("irc", "iyc", "ibc", "vrn", "vyn", "vbn", "kwh", "kvah")
            body = {"meter": reading.serial, "ts": row.captured_at.epoch_s * 1000, "status": 0}
            made.append(json.dumps(body | dict(zip(names, row.values, strict=True))).encode())
    return made
