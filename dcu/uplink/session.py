"""One MQTT 5 connection over mutual TLS: the only door to paho.

A `Session` lives as long as its connection; the next connection is a new one, so that nothing is remembered that the
store does not know. Callbacks run in paho's thread, hold its locks, and only post letters. paho's own reconnecting,
queueing and stopping are not used: reference/store-uplink.md 2.2 says why.
"""

import queue
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from functools import lru_cache
from typing import Any, Final, cast

from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from dcu.errors import SessionLost
from dcu.uplink import diagnosis, tls
from dcu.uplink.diagnosis import Endpoint
from dcu.uplink.letters import Acknowledged, Arrived, Letter, Lost, Subscribed, SubscriptionRefused, Terms

_USER_TIMEOUT_MS: Final = 60_000
_HALF_OPEN: Final = 1.5
"""Keepalives without a word."""

_CLOSE_S: Final = 2.0


class Session:
    """An open session. Made by `open`; usable from any thread.

    Attributes:
        receive_maximum: messages that the broker takes unacknowledged (CONNACK).
        max_packet: largest packet that it takes, octets, or None where it does not say.
    """

    def __init__(
        self, endpoint: Endpoint, terms: Terms, post: Callable[[Letter], object], now: Callable[[], datetime]
    ) -> None:
        self.receive_maximum = 65535
        self.max_packet: int | None = None
        self._endpoint = endpoint
        self._terms = terms
        self._post = post
        self._now = now
        self._connack: queue.SimpleQueue[tuple[int, Properties | None] | None] = queue.SimpleQueue()
        self._ended = threading.Event()
        self._answered = False
        self._closing = False
        self._pump: threading.Thread | None = None
        self._socket: object = None
        self._client = self._new_client()

    @classmethod
    def open(
        cls,
        endpoint: Endpoint,
        terms: Terms,
        post: Callable[[Letter], object],
        now: Callable[[], datetime] = tls.known_time,
    ) -> "Session":
        """Connect, verify, and wait for CONNACK; letters go to `post` from then on.

        `post` runs in paho's thread: it must neither block nor raise. `now` is the best known time, by which the dates
        of the broker's certificates are judged.

        Raises:
            SessionLost: what failed, in words.
        """
        session = cls(endpoint, terms, post, now)
        try:
            session._connect()
        except SessionLost:
            session.close()
            raise
        return session

    @property
    def alive(self) -> bool:
        """False once the connection ended, or paho's thread died of what the broker sent."""
        return not self._ended.is_set() and (self._pump is None or self._pump.is_alive())

    def silence_s(self) -> float:
        """Seconds since octets came from the broker; 0 once the connection ended."""
        heard_s = getattr(self._socket, "heard_s", None)
        return 0.0 if heard_s is None or not self.alive else time.monotonic() - heard_s

    def check(self) -> None:
        """Find a half-open link: a ping is due after one keepalive, so 1.5 of them without an octet are too many.

        paho alone needs about two. Raises SessionLost.
        """
        limit_s = _HALF_OPEN * self._client.keepalive
        if self.alive and 0 < limit_s < self.silence_s():
            raise SessionLost(
                f"nothing was heard for {limit_s:g} s: the link is half-open",
                place=self._endpoint.place,
                cure="is there a network?",
            )

    def publish(self, topic: str, octets: bytes, content_type: str, *, retain: bool = False) -> int:
        """Send with QoS 1; the message id under which it will be acknowledged.

        Raises:
            SessionLost: the connection is gone, or paho takes no more.
        """
        try:
            sent = self._client.publish(topic, octets, qos=1, retain=retain, properties=_named(content_type))
        except ValueError as fault:
            raise SessionLost(f"{topic}: not to be published: {fault}", place=self._endpoint.place) from fault
        if sent.rc != MQTTErrorCode.MQTT_ERR_SUCCESS or not self.alive:
            raise SessionLost("the connection is gone", place=self._endpoint.place)
        return int(sent.mid)

    def acknowledge(self, mid: int) -> None:
        """PUBACK of an arrived message; nothing once the connection ended (the broker will send it again)."""
        if self.alive:
            self._client.ack(mid, 1)

    def close(self, *, quiet: bool = False) -> None:
        """End the connection, in bounded time; a will is published by the broker, unless `quiet`. Idempotent."""
        self._closing = True
        farewell = "Disconnect with will message" if self._terms.will and not quiet else "Normal disconnection"
        if self._pump is not None:
            if self.alive:
                self._client.disconnect(ReasonCode(PacketTypes.DISCONNECT, farewell))
                if not self._ended.wait(_CLOSE_S if self._answered else 0.0):
                    self._shut()  # paho's thread then ends, whatever the broker does
            self._pump.join(_CLOSE_S)  # never paho's loop_stop: it waits without end
        self._ended.set()
        self._shut()
        client = self._client  # which closes its wake-up sockets when it is dropped: not to wait for the collector
        client.on_socket_open = client.on_connect = client.on_publish = client.on_message = None
        client.on_subscribe = client.on_disconnect = None

    def _shut(self) -> None:
        sock = cast("socket.socket | None", self._client.socket())
        if sock is not None:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            if self._pump is None or not self._pump.is_alive():
                sock.close()

    # ---- opening ----------------------------------------------------------------------------------------------------

    def _new_client(self) -> Client:
        client = Client(
            CallbackAPIVersion.VERSION2,
            client_id=self._terms.client_id,
            protocol=MQTTProtocolVersion.MQTTv5,
            reconnect_on_failure=False,
            manual_ack=True,
        )
        client.connect_timeout = self._terms.connect_s
        client.max_inflight_messages_set(0)  # the window is ours: paho ignores the broker's Receive Maximum
        client.on_socket_open = self._on_socket_open
        client.on_connect = self._on_connect
        client.on_publish = self._on_publish
        client.on_message = self._on_message
        client.on_subscribe = self._on_subscribe
        client.on_disconnect = self._on_disconnect
        if self._terms.will is not None:
            properties = _properties(PacketTypes.WILLMESSAGE)
            properties.ContentType = "application/json"
            client.will_set(self._terms.will.topic, self._terms.will.octets, qos=1, retain=True, properties=properties)
        return client

    def _connect(self) -> None:
        self._client.tls_set_context(tls.context(self._endpoint, self._now))
        properties = _properties(PacketTypes.CONNECT)
        properties.SessionExpiryInterval = self._terms.expiry_s
        properties.ReceiveMaximum = self._terms.receive_maximum
        properties.MaximumPacketSize = self._terms.inbound
        try:
            code = self._client.connect(
                self._endpoint.host,
                self._endpoint.port,
                keepalive=self._terms.keepalive_s,
                clean_start=self._terms.expiry_s == 0,
                properties=properties,
            )
        except (ConnectionResetError, BrokenPipeError, EOFError) as fault:
            raise self._unanswered() from fault
        except (OSError, ValueError) as fault:
            raise diagnosis.of_exception(fault, self._endpoint, self._now()) from fault
        if code != MQTTErrorCode.MQTT_ERR_SUCCESS:
            raise self._unanswered()
        before = set(threading.enumerate())
        self._client.loop_start()
        name = f"paho-mqtt-client-{self._terms.client_id}"  # as loop_start names it; paho does not hand it out
        self._pump = next((t for t in threading.enumerate() if t.name == name and t not in before), None)
        self._await_connack()

    def _unanswered(self) -> SessionLost:
        """CONNECT was not answered: by an alert, which a reset may have taken away, or for a reason of the broker's."""
        told = self._alert or tls.alert(self._endpoint, now=self._now)
        return diagnosis.before_connack(told, self._endpoint, self._now())

    def _await_connack(self) -> None:
        try:
            connack = self._connack.get(timeout=self._terms.connect_s)
        except queue.Empty:
            raise SessionLost("no CONNACK in time", place=self._endpoint.place, cure="is the broker well?") from None
        if connack is None:
            raise self._unanswered()
        code, properties = connack
        if code >= 0x80:
            raise diagnosis.of_reason(code, self._terms.client_id, self._endpoint, where="CONNACK")
        self.receive_maximum = int(getattr(properties, "ReceiveMaximum", 65535))
        self.max_packet = getattr(properties, "MaximumPacketSize", None)
        options = SubscribeOptions(qos=1, retainAsPublished=True, retainHandling=0 if self._terms.with_retained else 2)
        if self._terms.subscriptions:
            self._client.subscribe([(topic, options) for topic in self._terms.subscriptions])

    # ---- paho's thread: these only post -----------------------------------------------------------------------------

    def _on_connect(
        self, _client: Client, _userdata: Any, _flags: ConnectFlags, reason: ReasonCode, properties: Properties | None
    ) -> None:
        self._answered = True
        self._connack.put((int(reason.value), properties))

    def _on_publish(
        self, _client: Client, _userdata: Any, mid: int, reason: ReasonCode, _properties: Properties
    ) -> None:
        self._post(Acknowledged(mid, int(reason.value)))

    def _on_message(self, _client: Client, _userdata: Any, message: MQTTMessage) -> None:
        content_type = str(getattr(message.properties, "ContentType", ""))
        try:
            topic = message.topic
        except UnicodeDecodeError:
            topic = "\ufffd"
        octets = bytes(message.payload)
        self._post(Arrived(self, message.mid, topic, octets, message.qos, bool(message.retain), content_type))

    def _on_subscribe(
        self, _client: Client, _userdata: Any, _mid: int, reasons: list[ReasonCode], _properties: Properties | None
    ) -> None:
        refused: list[Letter] = [SubscriptionRefused(int(reason.value)) for reason in reasons if reason.is_failure]
        for letter in refused or [Subscribed()]:
            self._post(letter)

    def _on_disconnect(
        self,
        _client: Client,
        _userdata: Any,
        flags: DisconnectFlags,
        reason: ReasonCode,
        _properties: Properties | None,
    ) -> None:
        if self._ended.is_set():  # paho may say it twice
            return
        self._ended.set()
        self._connack.put(None)
        if not self._answered or self._closing:
            return
        if flags.is_disconnect_packet_from_server:
            code = int(reason.value)
            fault = diagnosis.of_reason(code, self._terms.client_id, self._endpoint, where="DISCONNECT")
            self._post(Lost(fault, code))
            return
        told = diagnosis.of_alert(self._alert, self._endpoint)
        fault = told or SessionLost("the connection to the broker was lost", place=self._endpoint.place)
        self._post(Lost(fault, closed=told is None and getattr(self._socket, "peer_ended", False)))

    def _on_socket_open(self, _client: Client, _userdata: Any, sock: Any) -> None:
        """No Nagle (a record above 16 KB would wait for a delayed ACK), and an end to what is never acknowledged."""
        self._socket = sock
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _USER_TIMEOUT_MS)

    @property
    def _alert(self) -> str:
        """What the broker said to our certificate behind the handshake; "" where it said nothing."""
        return str(getattr(self._socket, "alert", ""))


class _Named(Properties):
    """The properties of a PUBLISH that names its content-type: packed once, where paho packs for each message anew."""

    def __init__(self, content_type: str) -> None:
        super().__init__(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
        self.ContentType = content_type
        packed = super().pack()  # type: ignore[no-untyped-call]
        object.__setattr__(self, "pack", lambda: packed)


@lru_cache(maxsize=16)
def _named(content_type: str) -> Properties:
    return _Named(content_type)


def _properties(packet: int) -> Properties:
    return Properties(packet)  # type: ignore[no-untyped-call]
