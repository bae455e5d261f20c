"""A subscriber of all batches with QoS 0, in MQTT 5 octets of its own: as cheap as a subscriber can be.

`Sink` runs in a thread; `sinking` gives one in a process of its own, so that it takes no turns from whoever publishes.
"""

import json
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO

from dcu.record import decode_batch
from dcu.uplink.diagnosis import Endpoint

QUIET_S = 0.3

_LENGTH = struct.Struct(">I")


@dataclass(slots=True)
class Heard:
    """What came since it was told to begin.

    Attributes:
        messages, octets: batches of readings and their payload.
        first_s, last_s: when the first and the last one came, on the monotonic clock.
        alarms_s: from each alarm's commit to its arrival.
    """

    messages: int = 0
    octets: int = 0
    first_s: float = 0.0
    last_s: float = 0.0
    alarms_s: list[float] = field(default_factory=list)


class Sink:
    """The subscriber, in a thread from the moment that it is made."""

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
        self.heard = Heard()
        self._copy: IO[bytes] | None = None
        threading.Thread(target=self._run, daemon=True).start()

    def begin(self, copy: str = "") -> None:
        """Count from nothing; payloads of readings go to the file `copy` too, each behind its length."""
        if self._copy is not None:
            self._copy.close()
        self._copy = Path(copy).open("wb", buffering=0) if copy else None  # noqa: SIM115  it outlives this call
        self.heard = Heard()

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
        payload = begin + 3 + length + head[2 + length]
        if topic.endswith(b"/alarm"):
            now = time.time()
            octets = bytes(kept[payload:end])
            batch = decode_batch(zlib.decompress(octets) if octets[:1] == b"\x78" else octets)
            self.heard.alarms_s += [now - record["sent"] for record in batch.records if "sent" in record]
        elif topic.endswith(b"/profile"):
            self.heard.last_s = time.monotonic()
            self.heard.first_s = self.heard.first_s or self.heard.last_s
            self.heard.messages += 1
            self.heard.octets += end - payload
            if self._copy is not None:
                self._copy.write(_LENGTH.pack(end - payload) + kept[payload:end])


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


def payloads(copy: Path) -> list[bytes]:
    """What a sink wrote to its copy."""
    octets, at, found = copy.read_bytes(), 0, []
    while at < len(octets):
        (length,) = _LENGTH.unpack_from(octets, at)
        found.append(octets[at + 4 : at + 4 + length])
        at += 4 + length
    return found


# ---- in a process of its own


class SinkProcess:
    """A sink, asked over its standard input."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def begin(self, copy: Path | None = None) -> None:
        """See `Sink.begin`."""
        self._ask(f"begin {copy or ''}")

    def heard(self) -> Heard:
        """All that came so far."""
        return Heard(**json.loads(self._ask("heard")))

    def settled(self) -> Heard:
        """All that came, once nothing has come for a while: a broker acknowledges before it has passed on."""
        heard = self.heard()
        while True:
            time.sleep(QUIET_S)
            before, heard = heard, self.heard()
            if heard == before:
                return heard

    def _ask(self, words: str) -> str:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(words + "\n")
        self._process.stdin.flush()
        return self._process.stdout.readline()


@contextmanager
def sinking(to: Endpoint) -> Iterator[SinkProcess]:
    """A subscriber at that broker, until the end."""
    given = json.dumps([to.host, to.port, *map(str, (to.ca, to.certificate, to.key))])
    command = [sys.executable, "-m", "bench.sink", given]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        sink = SinkProcess(process)
        sink.begin()
        try:
            yield sink
        finally:
            process.kill()


def _serve(given: str) -> None:
    host, port, *files = json.loads(given)
    sink = Sink(Endpoint(host, port, *map(Path, files)))
    for line in sys.stdin:
        verb, _, copy = line.rstrip("\n").partition(" ")
        if verb == "begin":
            sink.begin(copy)
        print(json.dumps(asdict(sink.heard)), flush=True)


if __name__ == "__main__":
    _serve(sys.argv[1])
