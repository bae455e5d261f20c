"""Walks the way to the broker step by step, and says where it stops and what to do there.

It connects beside the running box, with the box's certificate and a client id of its own: with the box's id the broker
would drop the box. What it publishes the head-end has or will get anyway.
"""

import queue
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from dcu.errors import SessionLost
from dcu.uplink import diagnosis, tls, topics
from dcu.uplink.diagnosis import Endpoint
from dcu.uplink.letters import Acknowledged, Letter, Lost, Subscribed, SubscriptionRefused, Terms
from dcu.uplink.session import Session

STEPS: Final = ("files", "name", "tcp", "tls", "connack", "publish", "subscribe")
_NOBODY: Final = 0x10
_OK: Final = 0x00


@dataclass(frozen=True, slots=True)
class Finding:
    """What came of one step.

    Attributes:
        step: one of `STEPS`.
        ok: whether the next one can be tried.
        text: what was found.
        cure: what to do, where something is wrong.
        took_ms: how long it took.
    """

    step: str
    ok: bool
    text: str
    cure: str
    took_ms: int


@dataclass(frozen=True, slots=True)
class Probe:
    """What is published: something true that does no harm when it comes twice."""

    topic: str
    octets: bytes
    content_type: str


class _Stops(Exception):
    """It goes no further."""

    def __init__(self, text: str, cure: str = "") -> None:
        super().__init__(text)
        self.text, self.cure = text, cure


class Doctor:
    """One examination.

    Args:
        endpoint: the broker and the box's certificate.
        dcu: id of the box.
        probe: what to publish.
        now: best known time.
        wait_s: patience with each step.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        dcu: str,
        probe: Probe,
        now: Callable[[], datetime] = tls.known_time,
        wait_s: float = 10.0,
    ) -> None:
        self._endpoint, self._dcu, self._probe, self._now, self._wait_s = endpoint, dcu, probe, now, wait_s
        self._letters: queue.SimpleQueue[Letter] = queue.SimpleQueue()
        self._session: Session | None = None

    @property
    def client_id(self) -> str:
        """Beside that of the box."""
        return f"{self._dcu}-doctor"

    def examine(self) -> Iterator[Finding]:
        """The steps in order, up to the first that fails."""
        works = (self._files, self._name, self._tcp, self._tls, self._connack, self._publish, self._subscribe)
        try:
            for step, work in zip(STEPS, works, strict=True):
                began_s = time.monotonic()
                try:
                    text, cure, ok = work(), "", True
                except _Stops as stop:
                    text, cure, ok = stop.text, stop.cure, False
                except SessionLost as fault:
                    text, cure, ok = fault.cause, fault.cure, False
                yield Finding(step, ok, text, cure, int((time.monotonic() - began_s) * 1000))
                if not ok:
                    return
        finally:
            if self._session is not None:
                self._session.close()

    def _files(self) -> str:
        tls.context(self._endpoint, self._now)
        outdated = diagnosis.of_own_dates(self._endpoint, self._now())
        if outdated is not None:
            raise outdated
        until = diagnosis.certificate_until(self._endpoint.certificate)
        return f"our certificate {self._endpoint.certificate} is valid until {until:%Y-%m-%d}"

    def _name(self) -> str:
        try:
            found = socket.getaddrinfo(self._endpoint.host, self._endpoint.port, type=socket.SOCK_STREAM)
        except OSError as fault:
            raise diagnosis.of_exception(fault, self._endpoint) from fault
        return f"{self._endpoint.host} is {', '.join(sorted({str(address[4][0]) for address in found}))}"

    def _tcp(self) -> str:
        with closing(self._connected()) as sock:
            return f"port {self._endpoint.port} of {sock.getpeername()[0]} answers"

    def _tls(self) -> str:
        """As far as the handshake goes; with TLS 1.3 the broker judges our certificate after it."""
        context = tls.context(self._endpoint, self._now)
        sock = self._connected()
        try:
            with context.wrap_socket(sock, server_hostname=self._endpoint.host) as secured:
                return f"{secured.version()}, and the broker's certificate is for {self._endpoint.host}"
        except (OSError, ValueError) as fault:
            raise diagnosis.of_exception(fault, self._endpoint, self._now()) from fault
        finally:
            sock.close()

    def _connack(self) -> str:
        terms = Terms(self.client_id, subscriptions=(topics.cmd(self._dcu),), expiry_s=0, connect_s=self._wait_s)
        session = self._session = Session.open(self._endpoint, terms, self._letters.put, self._now)
        limit = "of any size" if session.max_packet is None else f"up to {session.max_packet} octets"
        return f"taken as {self.client_id}: {session.receive_maximum} messages in flight, {limit}"

    def _publish(self) -> str:
        session = self._session
        if session is None:
            raise _Stops("no session")
        mid = session.publish(self._probe.topic, self._probe.octets, self._probe.content_type)
        answer = self._await(lambda letter: isinstance(letter, Acknowledged) and letter.mid == mid)
        code = answer.code if isinstance(answer, Acknowledged) else _OK
        if code == _NOBODY:
            cure = "does the head-end's listener run, and is it subscribed?"
            raise _Stops(f"the broker takes it and nobody is subscribed to {self._probe.topic} (0x10)", cure)
        if code != _OK:
            raise diagnosis.of_reason(code, self._dcu, self._endpoint, where=f"{self._probe.topic}: PUBACK")
        return f"the broker has it, and somebody is subscribed to {self._probe.topic}"

    def _subscribe(self) -> str:
        answer = self._await(lambda letter: isinstance(letter, Subscribed | SubscriptionRefused))
        if isinstance(answer, SubscriptionRefused):
            raise diagnosis.of_reason(answer.code, self._dcu, self._endpoint, where=f"{topics.cmd(self._dcu)}: SUBACK")
        return f"{topics.cmd(self._dcu)} is granted, which proves nothing: brokers grant what they never serve"

    def _connected(self) -> socket.socket:
        try:
            return socket.create_connection((self._endpoint.host, self._endpoint.port), timeout=self._wait_s)
        except OSError as fault:
            raise diagnosis.of_exception(fault, self._endpoint) from fault

    def _await(self, awaited: Callable[[Letter], bool]) -> Letter:
        """The letter that is waited for; others wait until they are."""
        until_s = time.monotonic() + self._wait_s
        others: list[Letter] = []
        try:
            while (left_s := until_s - time.monotonic()) > 0:
                try:
                    letter = self._letters.get(timeout=left_s)
                except queue.Empty:
                    break
                if awaited(letter):
                    return letter
                if isinstance(letter, Lost):
                    raise letter.fault
                others.append(letter)
            raise _Stops("the broker does not answer", "is the broker well?")
        finally:
            for letter in others:
                self._letters.put(letter)
