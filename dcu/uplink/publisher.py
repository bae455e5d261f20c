"""The publisher: keeps a session, takes batches from field, publishes them, and tells field what was confirmed.

It remembers nothing on disk: what was in flight when anything broke is offered again by field. Each loss is told once
by its cause, in the log and to field (`link`). Source: DESIGN 4.
"""

import json
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dcu.errors import SessionLost, SocketFault
from dcu.mailbox import Mailbox, Stop
from dcu.uplink import topics
from dcu.uplink.backoff import LONGEST_S, Backoff
from dcu.uplink.diagnosis import Endpoint, certificate_until
from dcu.uplink.encoding import Encoding, encode
from dcu.uplink.field_line import FieldLine
from dcu.uplink.letters import Acknowledged, Arrived, Letter, Lost, SubscriptionRefused, Terms, Will
from dcu.uplink.session import Session
from dcu.uplink.window import Held, Window
from dcu.wire.verbs import Delivered, Denied, Done, Link, Next, Noted, Nothing, Offer

log = logging.getLogger(__name__)

_PACKET_OVERHEAD: Final = 512  # topic, properties and heads of a PUBLISH, octets
_SMALLEST_ASK: Final = 1024
_TELL_AFTER: Final = 4  # confirmed batches; each telling is one commit in field
_TOO_LARGE: Final = 0x95
_FIELD_RETRY_S: Final = 2.0
_OFFLINE: Final = b'{"online":false}'


@dataclass(frozen=True, slots=True)
class Dials:
    """What an engineer may turn.

    Attributes:
        encoding: of batches.
        backoff_max_s: longest wait before the next attempt.
        max_bytes: octets of records in a batch: above 16 KiB a link is busy, below 100 KiB a lost one costs little.
        in_flight: most batches unacknowledged.
        answer_s: a broker that leaves the oldest batch unanswered for longer is left.
        idle_ms: how long field holds a question when nothing is in flight.
        busy_ms: the same while something is, so that what is confirmed does not wait.
    """

    encoding: Encoding = "cbor"
    backoff_max_s: float = LONGEST_S
    max_bytes: int = 32 * 1024
    in_flight: int = 8
    answer_s: float = 60.0
    idle_ms: int = 1000
    busy_ms: int = 200


class Publisher:
    """A loop in a thread of its own.

    Args:
        path: of field's socket.
        dcu: id of the box, and the client id.
        endpoint: the broker.
        dials: see there.
        forward: takes what arrived and what is to be told to field; must not block.
        stop: ends it.
        beat: called at each turn.
    """

    def __init__(
        self,
        path: Path,
        dcu: str,
        endpoint: Endpoint,
        dials: Dials,
        forward: Callable[[Arrived | Link], None],
        stop: Stop,
        beat: Callable[[], None],
    ) -> None:
        self._path, self._dcu, self._endpoint, self._dials = path, dcu, endpoint, dials
        self._forward, self._stop, self._beat = forward, stop, beat
        self._letters: Mailbox[tuple[int, Letter]] = Mailbox(stop)
        self._window = Window(dials.in_flight, lambda: Backoff(dials.backoff_max_s))
        self._backoff = Backoff(dials.backoff_max_s)
        self._field_retry = Backoff(_FIELD_RETRY_S)
        self._line: FieldLine | None = None
        self._session: Session | None = None
        self._sessions = 0
        self._taken_over = False
        self._max_bytes = dials.max_bytes
        self._untold = 0
        self._state_epoch = ""
        self._last_cause = ""

    def run(self) -> None:
        """Publish until the process stops."""
        try:
            while not self._stop:
                self._beat()
                try:
                    line = self._line or self._greet()
                    session = self._session or self._open(line)
                    self._turn(line, session)
                except SocketFault as fault:
                    self._field_lost(fault)
                except SessionLost as fault:
                    self._session_lost(fault)
        finally:
            self._hang_up()
            if self._session is not None:
                self._session.close()

    # ---- the two ends -----------------------------------------------------------------------------------------------

    def _greet(self) -> FieldLine:
        self._line = FieldLine(self._path, self._dcu, self._stop)
        self._field_retry.connected(time.monotonic())
        self._window.forget()
        log.info("field is there: epoch %s", self._line.welcome.epoch)
        return self._line

    def _open(self, line: FieldLine) -> Session:
        self._sessions += 1
        number = self._sessions
        terms = Terms(
            self._dcu,
            subscriptions=(topics.cmd(self._dcu),),
            will=Will(topics.state(self._dcu), _OFFLINE),
        )
        session = Session.open(self._endpoint, terms, lambda letter: self._post(number, letter))
        self._session = session
        self._window.begin(session.receive_maximum)
        self._max_bytes, self._untold, self._last_cause, self._state_epoch = self._dials.max_bytes, 0, "", ""
        self._backoff.connected(time.monotonic())
        log.info("%s: connected", self._endpoint.place)
        self._note(Noted.CONNECTED, f"connected to {self._endpoint.place}")
        self._say_online(line, session)
        return session

    def _post(self, number: int, letter: Letter) -> None:
        """In paho's thread."""
        if isinstance(letter, Arrived):
            self._forward(letter)
        else:
            self._letters.post((number, letter))

    def _say_online(self, line: FieldLine, session: Session) -> None:
        welcome = line.welcome
        state = {"online": True, "version": welcome.version, "epoch": welcome.epoch, "since": int(time.time())}
        self._state_epoch = welcome.epoch
        octets = json.dumps(state).encode()
        mid = session.publish(topics.state(self._dcu), octets, "application/json", retain=True)
        self._window.sent_aside(mid, time.monotonic())

    # ---- one turn ---------------------------------------------------------------------------------------------------

    def _turn(self, line: FieldLine, session: Session) -> None:
        if self._state_epoch != line.welcome.epoch and self._window.room:
            self._say_online(line, session)
        self._read_letters(0.0 if self._window.room else 1.0)
        if not session.alive:
            raise SessionLost("the connection to the broker was lost", place=self._endpoint.place)
        session.check()
        if self._window.silence_s(time.monotonic()) > self._dials.answer_s:
            raise SessionLost(
                f"the broker has not acknowledged for {self._dials.answer_s:g} s", place=self._endpoint.place
            )
        full = not self._window.room
        offer = None if full else self._ask(line)
        if offer is None or self._untold >= _TELL_AFTER:
            self._tell(line)
        if offer is not None:
            self._publish(session, offer)

    def _read_letters(self, wait_s: float) -> None:
        for number, letter in self._letters.drain(wait_s, at_most=256):
            if number != self._sessions:
                continue
            match letter:
                case Acknowledged():
                    self._acknowledged(letter)
                case SubscriptionRefused():
                    text = f"the broker refuses our subscription (0x{letter.code:02X}): no command can arrive"
                    log.warning("%s: %s", self._endpoint.place, text)
                    self._note(Noted.SUBSCRIPTION_REFUSED, text, letter.code)
                case Lost():
                    self._taken_over = letter.taken_over
                    raise letter.fault

    def _acknowledged(self, letter: Acknowledged) -> None:
        held_before = self._window.held()
        held = self._window.acknowledged(letter.mid, letter.code, time.monotonic())
        self._untold += 1
        if held is not None:
            self._note_held(held)
        for stream in held_before.keys() - self._window.held().keys():
            log.info("%s: taken again", topics.up(self._dcu, stream))
        if held_before and not self._window.held():
            self._note(Noted.CONNECTED, "every stream is taken again")

    def _ask(self, line: FieldLine) -> Offer | None:
        now_s = time.monotonic()
        retry_s = self._window.retry_s(now_s)
        wait_ms = self._dials.idle_ms if self._window.idle else self._dials.busy_ms
        if retry_s is not None:
            wait_ms = min(wait_ms, max(10, int(retry_s * 1000)))
        if self._untold:
            wait_ms = 0  # the confirmed is told as soon as nothing more urgent is there
        answer = line.ask(Next(self._window.after(now_s), self._max_bytes, wait_ms), wait_ms / 1000)
        match answer:
            case Offer():
                return answer
            case Nothing():
                return None
            case _:
                raise SocketFault(f"field answered next with {_words(answer)}")

    def _publish(self, session: Session, offer: Offer) -> None:
        payload, content_type = encode(offer.batch, self._dials.encoding)
        limit = session.max_packet
        if limit is not None and len(payload) + _PACKET_OVERHEAD > limit:
            if offer.first == offer.last:
                self._max_bytes = self._dials.max_bytes
                self._note_held(self._window.refuse(offer.stream, offer.first, _TOO_LARGE, time.monotonic()))
            else:
                self._max_bytes = max(_SMALLEST_ASK, self._max_bytes // 2)
                if self._max_bytes == _SMALLEST_ASK:
                    self._max_bytes = 1  # one record at a time: at least one is always offered
            return
        mid = session.publish(topics.up(self._dcu, offer.stream), payload, content_type)
        self._window.sent(mid, offer.stream, offer.first, offer.last, time.monotonic())

    def _tell(self, line: FieldLine) -> None:
        self._untold = 0
        for stream, last in self._window.take_confirmed().items():
            answer = line.ask(Delivered(line.welcome.epoch, stream, last))
            if not isinstance(answer, Done):
                raise SocketFault(f"field does not move the cursor of {stream.value} to {last}: {_words(answer)}")

    # ---- losses -----------------------------------------------------------------------------------------------------

    def _field_lost(self, fault: SocketFault) -> None:
        had_line = self._line is not None
        self._hang_up()
        if self._stop:
            return
        if had_line or str(fault) != self._last_cause:
            log.warning("field is not there: %s", fault)
            self._last_cause = str(fault)
        self._field_retry.lost(time.monotonic())
        self._rest(self._field_retry.next_s())

    def _session_lost(self, fault: SessionLost) -> None:
        if self._session is not None:
            self._session.close()
            self._session = None
            fault = self._last_words() or fault
        now_s = time.monotonic()
        self._backoff.lost(now_s)
        wait_s = self._backoff.rest_s() if self._taken_over else self._backoff.next_s()
        self._taken_over = False
        if str(fault) != self._last_cause:
            self._last_cause = str(fault)
            log.warning("no session: %s (next try in %.1f s)", fault, wait_s)
            self._note(Noted.LOST, str(fault))
        self._rest(wait_s)

    def _last_words(self) -> SessionLost | None:
        """Reads what came before the end: a refusal is often answered first (mosquitto drops who it denied)."""
        told: SessionLost | None = None
        while len(self._letters):
            try:
                self._read_letters(0.0)
            except SessionLost as fault:
                told = fault
        return told

    def _rest(self, seconds: float) -> None:
        until_s = time.monotonic() + seconds
        while not self._stop.wait(min(1.0, max(0.0, until_s - time.monotonic()))) and time.monotonic() < until_s:
            self._beat()

    def _hang_up(self) -> None:
        if self._line is not None:
            self._line.close()
            self._line = None

    def _note_held(self, held: Held) -> None:
        if held.again:
            return
        meaning = "nobody is subscribed" if held.code == 0x10 else "the broker did not take it"
        text = f"{topics.up(self._dcu, held.stream)} from {held.first}: {meaning} (0x{held.code:02X}); held"
        log.warning("%s: %s", self._endpoint.place, text)
        self._note(Noted.HELD, text, held.code)

    def _note(self, noted: Noted, text: str, code: int | None = None) -> None:
        until = certificate_until(self._endpoint.certificate)
        seconds = max(0, int(until.timestamp())) if until else None
        self._forward(Link(noted, text[:500], code, seconds))


def _words(answer: object) -> str:
    return answer.text if isinstance(answer, Denied) else type(answer).__name__
