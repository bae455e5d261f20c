"""Records: what the streams carry, encoded once in CBOR (RFC 8949), and the batches that deliver them.

A record's body is encoded when it is stored and never again: a batch is the bodies side by side behind a short
head. Values only; no I/O. Source: DESIGN 4 and 6.
"""

import hashlib
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from typing import Any, Final

import cbor2

from dcu.errors import ReplyMalformed
from dcu.event import Alarm, Fact, Health
from dcu.meter import Amount
from dcu.reading import ClockState, Layout, ProfileReading, Uptime, Value

BATCH_VERSION = 1

LARGEST_BYTES = 200 * 1024
"""Octets of a record of readings with its layout: what one frame of the socket to uplink carries."""

DEFLATE_ABOVE: Final = 256
"""A batch of more octets travels deflated."""

THOROUGH: Final = 6
QUICK: Final = 1
"""zlib's levels: batches grow by 6 % with the quick one, and are ready in a third of the time."""


class Stream(Enum):
    """Streams to the head-end, most urgent first (the order of definition)."""

    RECEIPT = "receipt"
    ALARM = "alarm"
    CREDIT = "credit"
    BILLING = "billing"
    PROFILE = "profile"
    HEALTH = "health"


@dataclass(frozen=True, slots=True)
class Batch:
    """A decoded batch. Record n of it has id `first + n` in (dcu, epoch, stream).

    Attributes:
        dcu: id of the box.
        epoch: of its store.
        stream: which.
        first: id of the first record.
        layouts: digest to columns, `{ln, attr, unit, scaler}` each.
        records: decoded bodies.
    """

    dcu: str
    epoch: str
    stream: Stream
    first: int
    layouts: Mapping[bytes, list[dict[str, Any]]]
    records: Sequence[dict[str, Any]]

    @property
    def last(self) -> int:
        """Id of the last record."""
        return self.first + len(self.records) - 1


def encode_layout(layout: Layout) -> bytes:
    """CBOR of a layout: a list of `{ln, attr, unit, scaler}`, the clock's column first."""
    return cbor2.dumps(
        [{"ln": str(c.logical_name), "attr": c.attribute, "unit": c.unit, "scaler": c.scaler} for c in layout]
    )


def layout_digest(encoded: bytes) -> bytes:
    """Name of an encoded layout: the first 8 bytes of its SHA-256."""
    return hashlib.sha256(encoded).digest()[:8]


@lru_cache(maxsize=256)
def named_layout(layout: Layout) -> tuple[bytes, bytes]:
    """A layout encoded, and its digest: a thousand meters have a few, and each of their records needs both."""
    encoded = encode_layout(layout)
    return encoded, layout_digest(encoded)


def encode_profile(reading: ProfileReading) -> bytes:
    """Body of a profile record: `{meter, profile, read_at, clock, layout, rows, status?, again?, boot?, uptime_s?}`.

    `rows` is [[captured_at, value..]..], `captured_at` in seconds since 1970 by the meter's clock, values raw.
    `status` is [[row index, clock status octet]..] for the rows whose status is not 0, and absent where none is.
    `again` is [[row index, n]..] for rows whose `captured_at` n other rows have already: with it a row's identity is
    (meter, profile, captured_at, n), where n is 0 for all others. `boot` and `uptime_s` stand in every record that was
    made while the time was not known: with them its time is computed once it is (docs/decisions/0007).
    """
    body: dict[str, Any] = {
        "meter": reading.serial,
        "profile": str(reading.profile),
        "read_at": int(reading.read_at.timestamp()),
        "clock": reading.clock.value,
        "layout": named_layout(reading.layout)[1],
        "rows": [[row.captured_at.epoch_s, *row.values] for row in reading.rows],
    }
    status = [[n, row.captured_at.status] for n, row in enumerate(reading.rows) if row.captured_at.status]
    if status:
        body["status"] = status
    if reading.again:
        body["again"] = [list(each) for each in reading.again]
    return cbor2.dumps(body | _uptime(reading.uptime))


def encode_credit(
    serial: str,
    layout: Layout,
    values: Sequence[Value],
    read_at: int,
    clock: ClockState,
    area: str,
    amount: Amount,
    uptime: Uptime | None = None,
) -> bytes:
    """Body of a credit record: `{meter, area, source, amount, read_at, clock, layout, values, boot?, uptime_s?}`.

    `amount` is the unit of the meter's money registers, "rupee" or "paise": the meter itself does not say.
    """
    return cbor2.dumps(
        {
            "meter": serial,
            "area": area,
            "source": "meter",
            "amount": amount.value,
            "read_at": read_at,
            "clock": clock.value,
            "layout": named_layout(layout)[1],
            "values": list(values),
        }
        | _uptime(uptime)
    )


def encode_alarm(alarm: Alarm) -> bytes:
    """Body of an alarm record: `{kind, at, clock, text, meter?, facts?, boot?, uptime_s?}`."""
    body: dict[str, Any] = {
        "kind": alarm.kind.value,
        "at": int(alarm.at.timestamp()),
        "clock": alarm.clock.value,
        "text": alarm.text,
    }
    if alarm.meter:
        body["meter"] = alarm.meter
    if alarm.facts:
        body["facts"] = dict(alarm.facts)
    return cbor2.dumps(body | _uptime(alarm.uptime))


def encode_health(health: Health) -> bytes:
    """Body of a health record: `{at, clock, facts, boot?, uptime_s?}`."""
    facts: dict[str, Fact] = dict(health.facts)
    body = {"at": int(health.at.timestamp()), "clock": health.clock.value, "facts": facts}
    return cbor2.dumps(body | _uptime(health.uptime))


def encode_receipt(envelope: bytes) -> bytes:
    """Body of a receipt record: `{jws}`, the signed receipt as sealed."""
    return cbor2.dumps({"jws": envelope.decode("ascii")})


def check_size(body: bytes, layout: Layout) -> bytes:
    """`body`, if it can be offered with its layout in one frame: one that cannot would block all behind it.

    Raises:
        ReplyMalformed: it is too large; no true meter says so much at once.
    """
    octets = len(body) + len(named_layout(layout)[0])
    if octets > LARGEST_BYTES:
        raise ReplyMalformed(f"a record of {octets} octets; the most is {LARGEST_BYTES}")
    return body


def checksum(body: bytes) -> int:
    """CRC-32 of a stored body: SQLite's own checks do not see a flipped byte (reference/store-uplink.md 1.6)."""
    return zlib.crc32(body)


def checksums(bodies: Sequence[bytes]) -> list[int]:
    """`checksum` of each: a backlog has a million."""
    return list(map(zlib.crc32, bodies))


def encode_batch(
    dcu: str, epoch: str, stream: Stream, first: int, layouts: Mapping[bytes, bytes], bodies: Sequence[bytes]
) -> bytes:
    """A batch in CBOR, from bodies and layouts that are already encoded: nothing is decoded or encoded twice."""
    head = cbor2.dumps({"v": BATCH_VERSION, "dcu": dcu, "epoch": epoch, "stream": stream.value, "first": first})
    parts = [bytes([head[0] + 2]), head[1:], cbor2.dumps("layouts"), _head(5, len(layouts))]
    for digest, encoded in layouts.items():
        parts += [cbor2.dumps(digest), encoded]
    parts += [cbor2.dumps("records"), _head(4, len(bodies)), *bodies]
    return b"".join(parts)


def deflate(batch: bytes, level: int = THOROUGH) -> bytes:
    """What travels of a batch that is longer than `DEFLATE_ABOVE`: a zlib stream (RFC 1950)."""
    return zlib.compress(batch, level)


def decode_batch(encoded: bytes) -> Batch:
    """The batch that `encode_batch` made.

    Raises:
        ReplyMalformed: not CBOR, or not a batch of this version.
    """
    try:
        body = cbor2.loads(encoded)
        if body["v"] != BATCH_VERSION:
            raise ReplyMalformed(f"batch version {body['v']!r} is not {BATCH_VERSION}")
        return Batch(
            str(body["dcu"]),
            str(body["epoch"]),
            Stream(body["stream"]),
            int(body["first"]),
            dict(body["layouts"]),
            list(body["records"]),
        )
    except (cbor2.CBORDecodeError, KeyError, TypeError, ValueError) as fault:
        raise ReplyMalformed(f"not a batch: {fault}") from fault


def _uptime(uptime: Uptime | None) -> dict[str, str | int]:
    return {} if uptime is None else {"boot": uptime.boot, "uptime_s": uptime.seconds}


def _head(major: int, count: int) -> bytes:
    """CBOR head of a map (5) or an array (4) of `count` members (RFC 8949 3)."""
    if count < 24:
        return bytes([major << 5 | count])
    for code, width in ((24, 1), (25, 2), (26, 4)):
        if count < 1 << 8 * width:
            return bytes([major << 5 | code]) + count.to_bytes(width, "big")
    raise ValueError(f"{count} members in one batch")
