"""How an MQTT session is asked for, and the letters that come from it. Values only."""

from dataclasses import dataclass, field
from typing import Final, Protocol

from dcu.errors import SessionLost

MAX_INBOUND: Final = 120 * 1024
"""Largest packet that we accept, octets: told to the broker, which drops what is larger."""


@dataclass(frozen=True, slots=True)
class Will:
    """What the broker publishes, retained, when the connection ends without a word."""

    topic: str
    octets: bytes


@dataclass(frozen=True, slots=True)
class Terms:
    """How a session is asked for.

    Attributes:
        client_id: with the broker; for a box its id.
        subscriptions: topic filters, QoS 1, retain-as-published.
        with_retained: whether what is retained there already is wanted at each new session.
        will: last will, or None.
        receive_maximum: messages that we take unacknowledged.
        expiry_s: how long the broker keeps the session while we are away.
        keepalive_s: the broker misses us after 1.5 times that, and we it.
        connect_s: deadline of TCP, of TLS, and of CONNACK, each.
        inbound: largest packet accepted, octets.
    """

    client_id: str
    subscriptions: tuple[str, ...] = ()
    will: Will | None = None
    receive_maximum: int = 4
    expiry_s: int = 3600
    keepalive_s: int = 30
    connect_s: float = 10.0
    inbound: int = MAX_INBOUND
    with_retained: bool = False


class Acknowledging(Protocol):
    """The session that a message came with."""

    @property
    def alive(self) -> bool:
        """False once the connection ended."""
        ...

    def acknowledge(self, mid: int) -> None:
        """PUBACK; nothing once the connection ended."""
        ...


# ---- letters from paho's thread -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """PUBACK of message `mid` with an MQTT 5 reason code. 0x10 and everything from 0x80 on: nobody has it."""

    mid: int
    code: int


@dataclass(frozen=True, slots=True)
class Arrived:
    """A message for us; `session.acknowledge(mid)` once it is decided."""

    session: Acknowledging = field(repr=False)
    mid: int
    topic: str
    octets: bytes = field(repr=False)
    qos: int
    retained: bool
    content_type: str


@dataclass(frozen=True, slots=True)
class SubscriptionRefused:
    """SUBACK with a failure: nothing will arrive."""

    code: int


@dataclass(frozen=True, slots=True)
class Subscribed:
    """SUBACK without a failure. It proves nothing: brokers grant what they never serve."""


@dataclass(frozen=True, slots=True)
class Lost:
    """The connection ended; posted once.

    Attributes:
        fault: why, in words.
        code: reason code of the broker's DISCONNECT, or None where it sent none.
        closed: the broker closed in order; no reset, no silence.
    """

    fault: SessionLost
    code: int | None = None
    closed: bool = False


Letter = Acknowledged | Arrived | Subscribed | SubscriptionRefused | Lost
