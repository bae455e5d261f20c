"""The head-end's connection to the broker: batches in, signed documents out. Made again, with jitter, when lost."""

import logging
import threading
import time
from types import TracebackType
from typing import Final, Self

from dcu.errors import PublishRefused, SessionLost
from dcu.headend.pki import HEAD_END
from dcu.mailbox import Mailbox, Stop
from dcu.uplink.backoff import Backoff
from dcu.uplink.diagnosis import Endpoint
from dcu.uplink.letters import Acknowledged, Arrived, Letter, Lost, SubscriptionRefused, Terms
from dcu.uplink.session import Session
from dcu.uplink.topics import ROOT, cmd

log = logging.getLogger(__name__)

ALL_BATCHES: Final = f"{ROOT}/+/up/+"
ALL_STATES: Final = f"{ROOT}/+/state"

_DOCUMENT: Final = "application/jose+json"  # RFC 7515 9.2.1
_RECEIVE_MAXIMUM: Final = 20
_INBOUND: Final = 1024 * 1024
_NOBODY: Final = 0x10


class HeadEndLink:
    """A client of the broker for the head-end. Any thread may send; one receives.

    Args:
        endpoint: the broker, and the head-end's certificate.
        stop: ends every wait.
        filters: topic filters; none for a link that only sends.
        client_id: with the broker. Two links at once need two.
        expiry_s: how long the broker keeps the session, and what comes, while nobody is connected.
        backoff_max_s: longest wait before the next attempt to connect.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        stop: Stop,
        *,
        filters: tuple[str, ...] = (ALL_BATCHES, ALL_STATES),
        client_id: str = HEAD_END,
        expiry_s: int = 3600,
        backoff_max_s: float = 30.0,
    ) -> None:
        self._endpoint = endpoint
        self._stop = stop
        # A link that only sends keeps no session: nothing is to be queued for it.
        self._terms = Terms(
            client_id,
            subscriptions=filters,
            receive_maximum=_RECEIVE_MAXIMUM,
            expiry_s=expiry_s if filters else 0,
            inbound=_INBOUND,
            with_retained=True,
        )
        self._arrived: Mailbox[Arrived | Lost] = Mailbox(stop)
        self._answers: Mailbox[Acknowledged | Lost] = Mailbox(stop)
        self._backoff = Backoff(backoff_max_s)
        self._connecting = threading.Lock()
        self._sending = threading.Lock()
        self._session: Session | None = None

    def open(self) -> Session:
        """The session; a new one when there is none.

        Raises:
            SessionLost: it could not be made, in words.
        """
        with self._connecting:
            if self._session is None or not self._session.alive:
                if self._session is not None:
                    self._session.close()
                self._session = Session.open(self._endpoint, self._terms, self._post)
                self._backoff.connected(time.monotonic())
                log.info("%s: connected as %s", self._endpoint.place, self._terms.client_id)
            return self._session

    def receive(self, timeout_s: float) -> Arrived | None:
        """The next message, or None; `letter.session.acknowledge(letter.mid)` once it is kept.

        A lost connection is made again within this call, after a wait with jitter.
        """
        deadline_s = time.monotonic() + timeout_s
        try:
            self.open()
        except SessionLost as fault:
            self._wait_after(fault, deadline_s)
            return None
        letter = self._arrived.take(max(0.0, deadline_s - time.monotonic()))
        if isinstance(letter, Lost):
            self._wait_after(letter.fault, deadline_s)
            return None
        return letter

    def send(self, dcu: str, document: bytes, *, timeout_s: float = 10.0, retain: bool = False) -> None:
        """Hand a signed document to a box's command topic; returns when the broker has it.

        That proves nothing about the box: only its signed receipt does.

        Raises:
            SessionLost: no connection, or no answer in time.
            PublishRefused: nobody is subscribed (the box never connected, or was away too long), or not allowed.
        """
        with self._sending:
            mid = self.open().publish(cmd(dcu), document, _DOCUMENT, retain=retain)
            code = self._answer_to(mid, time.monotonic() + timeout_s)
        if code == _NOBODY:
            raise PublishRefused(
                "nobody is subscribed there", place=cmd(dcu), cure="is the box connected, or away for over an hour?"
            )
        if code:
            raise PublishRefused(f"the broker refused it (0x{code:02X})", place=cmd(dcu), cure="see the access list")

    def close(self) -> None:
        """Idempotent."""
        with self._connecting:
            if self._session is not None:
                self._session.close()
                self._session = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _post(self, letter: Letter) -> None:
        """In paho's thread."""
        match letter:
            case Arrived():
                self._arrived.post(letter)
            case Acknowledged():
                self._answers.post(letter)
            case Lost():
                self._arrived.post(letter)
                self._answers.post(letter)
            case SubscriptionRefused():
                log.warning("%s: subscription refused (0x%02X)", self._endpoint.place, letter.code)

    def _answer_to(self, mid: int, deadline_s: float) -> int:
        while (left_s := deadline_s - time.monotonic()) > 0 and not self._stop:
            answer = self._answers.take(left_s)
            if isinstance(answer, Lost):
                if self._session is not None and self._session.alive:
                    continue  # of an earlier session
                raise answer.fault
            if answer is not None and answer.mid == mid:
                return answer.code
        raise SessionLost("the broker did not acknowledge in time", place=self._endpoint.place)

    def _wait_after(self, fault: SessionLost, deadline_s: float) -> None:
        self._backoff.lost(time.monotonic())
        wait_s = self._backoff.next_s()
        log.warning("no session: %s", fault)
        self._stop.wait(max(0.0, min(wait_s, deadline_s - time.monotonic())))
