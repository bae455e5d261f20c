"""The few verbs between uplink and field, as values, with bounds and types on every field in both directions.

Uplink asks, field answers; one request is outstanding on a connection. A request is a map with `verb`, an answer one
with `answer`; a field that is missing, unknown, of another type or out of bounds is a `SocketFault` and ends the
connection. Source: DESIGN 2 (table of verbs).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final, cast

from dcu.batching import BATCH_BYTES, HEAD_BYTES
from dcu.command import Refusal
from dcu.errors import SocketFault
from dcu.record import Stream
from dcu.wire.fields import MAX_ID, Fields

PROTOCOL: Final = 2
"""Version of these verbs."""

MAX_BATCH: Final = 200 * 1024
"""Octets of records that `next` may ask for: with layouts and head the answer still fits in a frame."""

MAX_SEALED: Final = 8 * (BATCH_BYTES + HEAD_BYTES)
"""Octets of records, before they were deflated, that may be asked for as payloads."""

MAX_WAIT_MS: Final = 30_000
LAST_SECOND: Final = 253_402_300_799
"""Of year 9999, UTC."""

MAX_PUT: Final = 128 * 1024
"""Octets of a document that can be handed in. Far above what any check lets pass, so that field names the refusal."""

Message = Mapping[str, Any]


class Noted(Enum):
    """What uplink tells of its connection (`link`)."""

    CONNECTED = "connected"
    LOST = "lost"  # the session ended or could not be made; text names the cause
    HELD = "held"  # the broker did not take a batch (PUBACK other than 0x00); the cursor holds
    SUBSCRIPTION_REFUSED = "subscription-refused"  # no command can arrive
    CERTIFICATE = "certificate"  # a new one that cannot be used; the session goes on with the old one


# ---- requests -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Hello:
    """Who are you? The first request on a connection."""

    protocol: int = PROTOCOL


@dataclass(frozen=True, slots=True)
class Next:
    """The most urgent batch beyond `after` (ids by stream), of at most `max_bytes` octets of records; waits for one.

    With `again` field may offer what the head-end wants once more instead: uplink has none of that on its way.
    With `sealed`, octets of records in all, it may answer with payloads that are made already, each of a usual batch
    (`batching.BATCH_BYTES`), and one at least.
    """

    after: Mapping[Stream, int]
    max_bytes: int
    wait_ms: int
    again: bool = False
    sealed: int = 0


@dataclass(frozen=True, slots=True)
class Delivered:
    """The broker confirmed all records of `stream` up to `last`, in `epoch`."""

    epoch: str
    stream: Stream
    last: int


@dataclass(frozen=True, slots=True)
class Resent:
    """The broker has what was offered again of `stream`, up to `last`, in `epoch`; no cursor moves."""

    epoch: str
    stream: Stream
    last: int


@dataclass(frozen=True, slots=True)
class Quarantine:
    """The broker refuses record `n` of `stream`, the next one there, again and again, with that reason code.

    Field marks it in an alarm, counts it, and lets the cursor pass; it is bounded how often.
    """

    epoch: str
    stream: Stream
    n: int
    code: int


@dataclass(frozen=True, slots=True)
class Put:
    """A document that came from the head-end, and how it came. Uplink cannot judge it."""

    octets: bytes = field(repr=False)
    topic: str
    qos: int
    retained: bool


@dataclass(frozen=True, slots=True)
class Link:
    """How the connection to the broker is.

    Attributes:
        noted: what happened.
        text: one sentence, at most 500 characters.
        code: MQTT reason code, or None.
        certificate_until: end of validity of our certificate, UTC seconds, or None where it could not be read.
    """

    noted: Noted
    text: str
    code: int | None = None
    certificate_until: int | None = None


Request = Hello | Next | Delivered | Resent | Quarantine | Put | Link

# ---- answers --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Welcome:
    """Field's side of `hello`: its id, the epoch of its store, its version, and how batches are encoded.

    `floor` is a moment, UTC seconds, before which no true time is, whatever the kernel's clock says.
    """

    dcu: str
    epoch: str
    version: str
    protocol: int = PROTOCOL
    encoding: str = "cbor"
    floor: int = 0


@dataclass(frozen=True, slots=True)
class Offer:
    """A batch: records `first` to `last` of `stream`, encoded. `again`: asked for by the head-end; no cursor moves."""

    epoch: str
    stream: Stream
    first: int
    last: int
    batch: bytes = field(repr=False)
    again: bool = False


@dataclass(frozen=True, slots=True)
class Sealed:
    """Payloads that were made before they were asked for, each the deflated batch of records first to last.

    They follow each other: `payloads` are (last, octets before deflating, payload) each, from record `first` on.
    """

    epoch: str
    stream: Stream
    first: int
    payloads: Sequence[tuple[int, int, bytes]] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Nothing:
    """No record beyond those ids within the time."""


@dataclass(frozen=True, slots=True)
class Done:
    """It is done, durably."""


@dataclass(frozen=True, slots=True)
class Decided:
    """The document is decided and journalled: only now may it be acknowledged."""

    status: str
    code: Refusal | None = None


class Reason(Enum):
    """Why field denies a request."""

    EPOCH = "epoch"  # the store is another one: say hello again
    BEYOND = "beyond"  # a delivery of what was never given an id, or a quarantine of what is not next
    BUSY = "busy"  # could not be done in time; ask again


@dataclass(frozen=True, slots=True)
class Denied:
    """Not done, and why. The connection stays."""

    reason: Reason
    text: str


Answer = Welcome | Offer | Sealed | Nothing | Done | Decided | Denied

STATUSES: Final = ("accepted", "refused", "duplicate")


# ---- to and from messages -------------------------------------------------------------------------------------------


def to_message(value: Request | Answer) -> dict[str, Any]:
    """The map that goes on the wire: one of plain values, named by `verb` or `answer`."""
    name = type(value).__name__.lower()
    head = {"verb" if type(value) in _REQUESTS.values() else "answer": name}
    return head | {key: _outward(getattr(value, key)) for key in value.__slots__}


def to_request(message: Message) -> Request:
    """The request that `message` is.

    Raises:
        SocketFault: it is none: unknown verb, or a field missing, unknown, mistyped or out of bounds.
    """
    return cast("Request", _read(message, "verb", _REQUESTS))


def to_answer(message: Message) -> Answer:
    """The answer that `message` is. Raises as `to_request`."""
    return cast("Answer", _read(message, "answer", _ANSWERS))


def _read(message: Message, tag: str, kinds: Mapping[str, type[Request | Answer]]) -> Request | Answer:
    kind = kinds.get(Fields(message).text(tag, 1, 20))
    if kind is None:
        raise SocketFault(f"an unknown {tag}")
    if message.keys() != {tag, *kind.__slots__}:
        raise SocketFault(f"`{tag}` {kind.__name__.lower()} with other fields than its own")
    return kind(**_READERS[kind](Fields(message)))


def _outward(value: object) -> object:
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Mapping):
        return {_outward(key): member for key, member in value.items()}
    if isinstance(value, tuple):
        return [list(member) for member in value]
    return value


_REQUESTS: Final[dict[str, type[Request]]] = {
    c.__name__.lower(): c for c in (Hello, Next, Delivered, Resent, Quarantine, Put, Link)
}
_ANSWERS: Final[dict[str, type[Answer]]] = {
    c.__name__.lower(): c for c in (Welcome, Offer, Sealed, Nothing, Done, Decided, Denied)
}

_READERS: Final[dict[type[object], Callable[[Fields], dict[str, Any]]]] = {
    Hello: lambda f: {"protocol": f.number("protocol", PROTOCOL, PROTOCOL)},
    Next: lambda f: {
        "after": f.ids("after"),
        "max_bytes": f.number("max_bytes", 1, MAX_BATCH),
        "wait_ms": f.number("wait_ms", 0, MAX_WAIT_MS),
        "again": f.truth("again"),
        "sealed": f.number("sealed", 0, MAX_SEALED),
    },
    Delivered: lambda f: {
        "epoch": f.text("epoch", 1, 64),
        "stream": f.one_of("stream", Stream),
        "last": f.number("last", 1, MAX_ID),
    },
    Resent: lambda f: {
        "epoch": f.text("epoch", 1, 64),
        "stream": f.one_of("stream", Stream),
        "last": f.number("last", 1, MAX_ID),
    },
    Quarantine: lambda f: {
        "epoch": f.text("epoch", 1, 64),
        "stream": f.one_of("stream", Stream),
        "n": f.number("n", 1, MAX_ID),
        "code": f.number("code", 0, 255),
    },
    Put: lambda f: {
        "octets": f.octets("octets", MAX_PUT),
        "topic": f.text("topic", 1, 256),
        "qos": f.number("qos", 0, 2),
        "retained": f.truth("retained"),
    },
    Link: lambda f: {
        "noted": f.one_of("noted", Noted),
        "text": f.text("text", 0, 500),
        "code": f.optional("code", 0, 255),
        "certificate_until": f.optional("certificate_until", 0, MAX_ID),
    },
    Welcome: lambda f: {
        "dcu": f.text("dcu", 1, 64),
        "epoch": f.text("epoch", 1, 64),
        "version": f.text("version", 1, 64),
        "protocol": f.number("protocol", PROTOCOL, PROTOCOL),
        "encoding": f.text("encoding", 1, 20),
        "floor": f.number("floor", 0, LAST_SECOND),
    },
    Offer: lambda f: {
        "epoch": f.text("epoch", 1, 64),
        "stream": f.one_of("stream", Stream),
        "first": f.number("first", 1, MAX_ID),
        "last": f.number("last", f.number("first", 1, MAX_ID), MAX_ID),
        "batch": f.octets("batch", MAX_BATCH + 50 * 1024),
        "again": f.truth("again"),
    },
    Sealed: lambda f: {
        "epoch": f.text("epoch", 1, 64),
        "stream": f.one_of("stream", Stream),
        "first": f.number("first", 1, MAX_ID),
        "payloads": f.payloads("payloads", f.number("first", 1, MAX_ID), MAX_BATCH),
    },
    Nothing: lambda _: {},
    Done: lambda _: {},
    Decided: lambda f: {"status": f.member("status", STATUSES), "code": f.perhaps("code", Refusal)},
    Denied: lambda f: {"reason": f.one_of("reason", Reason), "text": f.text("text", 0, 500)},
}
