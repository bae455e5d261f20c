"""The publisher: keeps a session, takes batches from field, publishes them, and tells field what was confirmed.

It remembers nothing on disk: what was in flight when anything broke is offered again by field. Each loss is told once
by its cause, in the log and to field (`link`). Source: DESIGN 4.
"""

import json
import logging
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Final

from dcu.clock import BUILT
from dcu.errors import SessionLost, SocketFault
from dcu.mailbox import Mailbox, Stop
from dcu.reading import from_epoch
from dcu.uplink import tls, topics
from dcu.uplink.again import Again
from dcu.uplink.backoff import Backoff, rest, to_broker
from dcu.uplink.diagnosis import TAKEN_OVER, Endpoint
from dcu.uplink.dials import Dials
from dcu.uplink.field_line import FieldLine, told
from dcu.uplink.letters import Acknowledged, Arrived, Letter, Lost, SubscriptionRefused, Terms, Will
from dcu.uplink.renewal import Renewal
from dcu.uplink.reports import Reports
from dcu.uplink.rivals import Rivals, unsaid_rival
from dcu.uplink.session import Session
from dcu.uplink.supply import PACKET_OVERHEAD, Load, Supply
from dcu.uplink.window import FAILURE, Held, Window
from dcu.wire.verbs import Delivered, Denied, Done, Link, Quarantine, Reason

log = logging.getLogger(__name__)

TELL_S: Final = 0.25
"""What was confirmed is told within this time while there is more to publish: each telling is a commit in field."""

_TOO_LARGE: Final = 0x95
_SOON_S: Final = 0.01
_FIELD_RETRY_S: Final = 2.0
_OFFLINE: Final = b'{"online":false}'


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
        self._again = Again(self._window)
        self._supply = Supply(dials, self._window, self._again)
        self._backoff = to_broker(dials.backoff_max_s)
        self._field_retry = Backoff(_FIELD_RETRY_S)
        self._rivals = Rivals()
        self._reports = Reports(dcu, endpoint, forward)
        self._floor = BUILT
        self._renewal = Renewal(endpoint, self._known_time, dials.look_s)
        self._line: FieldLine | None = None
        self._session: Session | None = None
        self._sessions = 0
        self._opened_s = 0.0
        self._end: Lost | None = None
        self._refusals_heard = False
        self._refused: list[Held] = []
        self._untold_since_s: float | None = None
        self._lull_s = 0.0
        self._state_epoch = ""
        self._field_cause = ""

    def run(self) -> None:
        """Publish until the process stops."""
        try:
            while not self._stop:
                self._beat()
                try:
                    line = self._line or self._greet()
                    self._turn(line, self._session or self._open(line))
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
        self._floor = from_epoch(self._line.welcome.floor)
        self._field_retry.connected(time.monotonic())
        self._window.forget()
        self._again.begin()
        self._refused.clear()
        self._field_cause = ""
        log.info("field is there: epoch %s", self._line.welcome.epoch)
        return self._line

    def _known_time(self) -> datetime:
        return tls.known_time(self._floor)

    def _open(self, line: FieldLine) -> Session:
        self._sessions += 1
        number = self._sessions
        terms = Terms(
            self._dcu,
            subscriptions=(topics.cmd(self._dcu),),
            will=Will(topics.state(self._dcu), _OFFLINE),
            keepalive_s=self._dials.keepalive_s,
        )
        self._renewal.began(time.monotonic())
        session = Session.open(self._endpoint, terms, lambda letter: self._post(number, letter), self._known_time)
        self._session = session
        self._window.begin(session.receive_maximum)
        self._again.begin()
        self._supply.begin(session.max_packet)
        self._state_epoch = ""
        self._end, self._refusals_heard, self._opened_s = None, False, time.monotonic()
        self._backoff.connected(self._opened_s)
        self._reports.connected()
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
        ready = self._window.room and not self._renewal.wanted
        self._read_letters(self._lull_s if ready else 1.0)
        self._look_after(session)
        while self._refused:
            self._set_aside(line, self._refused.pop())
        if self._session is None:
            return
        ready, now_s = self._window.room and not self._renewal.wanted, time.monotonic()
        load = self._supply.next(line, now_s, self._wait_ms(now_s)) if ready else None
        self._lull_s = self._longer_lull_s() if ready and load is None else 0.0
        if (load is None and (ready or self._window.idle)) or self._is_telling_due(now_s):
            self._tell(line)
        if load is not None:
            self._supply.ask_ahead(line, now_s)
            self._publish(session, load)

    def _look_after(self, session: Session) -> None:
        """Leave a session that is dead, half-open or silent, and one whose certificate was renewed."""
        now_s = time.monotonic()
        if not session.alive:
            raise SessionLost("the connection to the broker was lost", place=self._endpoint.place)
        try:
            session.check()
            if self._window.silence_s(now_s) > self._dials.answer_s:
                raise SessionLost(
                    f"the broker has not acknowledged for {self._dials.answer_s:g} s", place=self._endpoint.place
                )
        except SessionLost:
            self._window.flow.stalled()
            raise
        unfit = self._renewal.look(now_s)
        if unfit is not None:
            self._reports.new_certificate_unfit(unfit)
        if self._renewal.due(now_s, idle=self._window.idle):
            log.info("%s: new files of TLS: a new session", self._endpoint.place)
            session.close(quiet=True)
            self._session = None

    def _read_letters(self, wait_s: float) -> None:
        for number, letter in self._letters.drain(wait_s, at_most=256):
            if number != self._sessions:
                continue
            match letter:
                case Acknowledged():
                    self._acknowledged(letter)
                case SubscriptionRefused():
                    self._refusals_heard = True
                    self._reports.subscription_refused(letter.code)
                case Lost():
                    self._end = letter
                    raise letter.fault

    def _acknowledged(self, letter: Acknowledged) -> None:
        held_before = self._window.held()
        self._again.acknowledged(letter.mid, letter.code, time.monotonic())
        held = self._window.acknowledged(letter.mid, letter.code, time.monotonic())
        self._untold_since_s = self._untold_since_s or time.monotonic()
        self._lull_s = 0.0
        self._refusals_heard |= letter.code >= FAILURE  # some brokers close behind one
        self._note_held(held)
        again = held_before.keys() - self._window.held().keys()
        if again:
            self._reports.taken_again({s.value for s in again}, all_are=not self._window.held())

    def _note_held(self, held: Held | None) -> None:
        if held is not None:
            self._reports.held(held)
            if held.refused:
                self._refused.append(held)

    def _longer_lull_s(self) -> float:
        """How long answers of the broker are waited for first: while some are due and field had nothing.

        Each time that none came twice as long: one that is due at once may never come.
        """
        if self._window.idle:
            return 0.0
        return min(self._dials.busy_ms / 1000, max(_SOON_S, 2 * self._window.flow.round_trip_s, 2 * self._lull_s))

    def _wait_ms(self, now_s: float) -> int:
        """How long field may hold the question: what is confirmed, and a stream that was held, are not to wait."""
        if self._untold_since_s is not None or not self._window.idle:
            return 0
        retry_s = self._window.retry_s(now_s)
        return self._dials.idle_ms if retry_s is None else min(self._dials.idle_ms, max(10, int(retry_s * 1000)))

    def _publish(self, session: Session, load: Load) -> None:
        way: Again | Window = self._again if load.again else self._window
        payload, content_type = self._supply.payload(load)
        if session.max_packet is not None and len(payload) + PACKET_OVERHEAD > session.max_packet:
            if self._supply.too_large(load):
                self._note_held(way.refuse(load.stream, load.first, _TOO_LARGE, time.monotonic()))
            return
        mid = session.publish(topics.up(self._dcu, load.stream), payload, content_type)
        way.sent(mid, load.stream, load.first, load.last, time.monotonic(), load.octets)
        self._supply.sent()

    def _is_telling_due(self, now_s: float) -> bool:
        return self._untold_since_s is not None and now_s - self._untold_since_s >= TELL_S

    def _tell(self, line: FieldLine) -> None:
        self._untold_since_s = None
        self._again.tell(line)
        for stream, last in self._window.take_confirmed().items():
            answer = line.ask(Delivered(line.welcome.epoch, stream, last))
            if not isinstance(answer, Done):
                raise SocketFault(f"field does not move the cursor of {stream.value} to {last}: {told(answer)}")

    def _set_aside(self, line: FieldLine, held: Held) -> None:
        """Have field's cursor pass a record that the broker refuses; all before it is told first."""
        self._tell(line)
        answer = line.ask(Quarantine(line.welcome.epoch, held.stream, held.first, held.code))
        match answer:
            case Done():
                self._window.passed(held.stream, held.first)
                self._reports.set_aside(held)
            case Denied(Reason.BUSY):
                wait_s = self._window.postpone(held.stream, time.monotonic())
                self._reports.not_set_aside(held, answer.text, wait_s)
            case _:
                raise SocketFault(f"field does not set record {held.first} aside: {told(answer)}")

    # ---- losses -----------------------------------------------------------------------------------------------------

    def _field_lost(self, fault: SocketFault) -> None:
        had_line = self._line is not None
        self._hang_up()
        if self._stop:
            return
        if had_line or str(fault) != self._field_cause:
            log.warning("field is not there: %s", fault)
            self._field_cause = str(fault)
        self._field_retry.lost(time.monotonic())
        rest(self._stop, self._field_retry.next_s(), self._beat)

    def _session_lost(self, fault: SessionLost) -> None:
        end = Lost(fault)
        now_s = time.monotonic()
        rival = False
        if self._session is not None:
            self._session.close()
            self._session = None
            end = self._last_words() or end
            fault.__traceback__ = end.fault.__traceback__ = None  # whose frames hold the session that is over
            told = self._refusals_heard or end.code is not None
            rival = self._rivals.ended(now_s - self._opened_s, closed=end.closed, told=told)
            if end.code is not None:
                self._note_held(self._window.ended(end.code, now_s))
        self._tell_before_rest()
        self._backoff.lost(now_s)
        rival |= end.code == TAKEN_OVER
        wait_s = self._backoff.rest_s() if rival else self._backoff.next_s()
        if rival and end.code is None:
            end = Lost(unsaid_rival(self._dcu, self._endpoint.place))
        self._reports.lost(end.fault, wait_s, end.code)
        rest(self._stop, wait_s, self._beat)

    def _tell_before_rest(self) -> None:
        """The network may be away for long: what the broker has confirmed is told now."""
        if self._line is not None and self._untold_since_s is not None:
            try:
                self._tell(self._line)
            except SocketFault as fault:
                log.warning("field is not there: %s", fault)
                self._hang_up()

    def _last_words(self) -> Lost | None:
        """Reads what came before the end: a refusal is often answered first (mosquitto drops who it denied)."""
        while len(self._letters):
            try:
                self._read_letters(0.0)
            except SessionLost:
                continue
        return self._end

    def _hang_up(self) -> None:
        if self._line is not None:
            self._line.close()
            self._line = None
