"""The field process's duty towards its clock: it hears the meters, tells the head-end, and keeps the floor on disk.

When the time becomes known, an alarm says which moment of this boot it was: with it the head-end dates what was stored
before, since a stored record is never rewritten (docs/decisions/0007). That alarm and the kept time are one
transaction, so that it is told once for each boot, and once more for each step.
"""

import logging
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Final, Protocol

from dcu.clock import BUILT, alarm_now
from dcu.errors import DcuError, OperatorFault
from dcu.event import Alarm, AlarmKind, Fact
from dcu.field.clock_watch import Look
from dcu.field.clock_words import cure, told, veto
from dcu.field.throttle import Throttle
from dcu.mailbox import Stop
from dcu.ports import Clock, Store, Transaction
from dcu.reading import from_epoch
from dcu.record import Stream, encode_alarm
from dcu.timekeeping import KeptTime, Standing

log = logging.getLogger(__name__)

TURN_S: Final = 0.5
HEAR_S: Final = 5.0
"""How often the meters' clocks are compared."""

LATELY_S: Final = 86_400.0
"""A meter that was asked longer ago does not speak."""

KEEP_S: Final = 900.0
"""How often the kept time is written: each time is a commit, and flash wears."""

BURST: Final = 6
EVERY_S: Final = 600.0
"""A clock that comes and goes is told no more often than this."""


class JudgedClock(Clock, Protocol):
    """A clock that says why it is trusted (`dcu.clock.SystemClock`)."""

    @property
    def assumed(self) -> bool:
        """Whether the configuration says that it is disciplined, and not the kernel."""
        ...

    def standing(self) -> Standing:
        """What the clock is worth now, and why."""
        ...

    def keep(self) -> KeptTime | None:
        """What the store should keep; None unless it is TRUSTED."""
        ...

    def hear_meters(self, faces_s: list[float], *, all_asked: bool) -> None:
        """What meters' clocks show: seconds since 1970 minus `boottime_s`, and whether all meters were asked."""
        ...

    def lower_floor(self, floor: datetime) -> None:
        """Somebody at the box says that the floor is wrong."""
        ...


class ClockKeeping:
    """A loop in a thread of its own; `report` and `asks` may be called by any.

    Args:
        clock: of the process.
        store: where the floor is kept.
        looks: the last look at each meter's clock.
        all_asked: whether all meters were asked since the process began.
        kept: what the store had at the start.
        stop: ends it.
        beat: called at each turn.
    """

    def __init__(
        self,
        clock: JudgedClock,
        store: Store,
        looks: Callable[[], Iterable[Look]],
        all_asked: Callable[[], bool],
        kept: KeptTime | None,
        stop: Stop,
        beat: Callable[[], None],
    ) -> None:
        self._clock, self._store, self._looks, self._stop, self._beat = clock, store, looks, stop, beat
        self._all_asked = all_asked
        self._known = kept is not None and kept.boot == clock.boot_id  # as the head-end was told
        self._steps = 0
        self._keep_s = self._hear_s = clock.monotonic_s()
        self._throttle = Throttle(clock, BURST, EVERY_S)

    def run(self) -> None:
        """Until the process stops; what is known then is kept."""
        while not self._stop.wait(TURN_S):
            self._beat()
            self.turn()
        self.end()

    def turn(self) -> None:
        """Look once."""
        now_s = self._clock.monotonic_s()
        if now_s >= self._hear_s:
            self._hear_s = now_s + HEAR_S
            self._hear()
        standing = self._clock.standing()
        if standing.state.known and (not self._known or standing.steps != self._steps):
            self._tell_known(standing)
        elif self._known and not standing.state.known:
            self._tell_unknown(standing)
        elif now_s >= self._keep_s:
            self.end()

    def end(self) -> None:
        """Keep what is known."""
        self._keep_s = self._clock.monotonic_s() + KEEP_S
        kept = self._clock.keep()
        if kept is not None:
            self._commit(lambda tx: tx.keep_time(kept))

    def report(self) -> dict[str, Any]:
        """For `dcu status` and `dcu clock`: the state, why, and what to do."""
        standing, now = self._clock.standing(), self._clock.now()
        return {
            "state": standing.state.value,
            "because": standing.because.value,
            "text": told(standing, now, assumed=self._clock.assumed),
            "cure": cure(standing),
            "utc": int(now.timestamp()),
            "floor": int(standing.floor_s),
            "boot": self._clock.boot_id,
            "uptime_s": int(self._clock.boottime_s()),
            "meters": standing.voices,
            "meters_ahead_s": round(standing.meters_ahead_s),
            "heard": standing.heard,
            "veto": veto(standing),
        }

    def asks(self) -> Mapping[str, Callable[[Mapping[str, Any]], Any]]:
        """What `field.sock` answers."""
        return {"clock": self._answer}

    def _answer(self, request: Mapping[str, Any]) -> dict[str, Any]:
        floor_s = request.get("floor")
        if floor_s is not None:
            self._lower(floor_s)
        return self.report()

    def _lower(self, floor_s: Any) -> None:
        before = self._clock.floor()
        if type(floor_s) is not int or not BUILT.timestamp() <= floor_s < before.timestamp():
            raise OperatorFault(
                f"the floor can only be lowered: to a moment from {BUILT:%Y-%m-%d} on and before {before:%Y-%m-%d}",
                place="field",
                cure="it rises by itself while the time is known",
            )
        floor = from_epoch(floor_s)
        text = f"somebody at the box lowered the floor of its time from {before:%Y-%m-%d} to {floor:%Y-%m-%d}"
        facts: dict[str, Fact] = {"was": int(before.timestamp()), "now": floor_s}
        alarm = alarm_now(self._clock, AlarmKind.CLOCK_FLOOR, text, "", facts)

        def work(tx: Transaction) -> None:
            tx.keep_time(KeptTime(float(floor_s), "", 0.0, 0.0))  # of no boot: the next start looks anew
            self._append(tx, alarm)

        self._store.transact(work)
        self._clock.lower_floor(floor)
        log.warning("%s", text)

    def _hear(self) -> None:
        all_asked = self._all_asked()  # first: whoever is asked in between is heard as well
        now_s, boot_s = self._clock.monotonic_s(), self._clock.boottime_s()
        lately = [look for look in self._looks() if now_s - look.high_s < LATELY_S]
        self._clock.hear_meters([look.face_at(now_s) + 0.5 - boot_s for look in lately], all_asked=all_asked)

    def _tell_known(self, standing: Standing) -> None:
        if not self._throttle.admits():
            return
        step_s = standing.step_s if standing.steps != self._steps else 0.0
        uptime_s, now = int(self._clock.boottime_s()), self._clock.now()
        began = datetime.fromtimestamp(now.timestamp() - uptime_s, UTC)
        text = f"the time is known: this boot began on {began:%Y-%m-%d at %H:%M:%S} UTC"
        facts: dict[str, Fact] = {
            "boot": self._clock.boot_id,
            "uptime_s": uptime_s,
            "utc": int(now.timestamp()),
            "step_s": round(step_s),
        }
        alarm, kept = Alarm(AlarmKind.CLOCK_KNOWN, now, standing.state, text, "", facts), self._clock.keep()

        def work(tx: Transaction) -> None:
            self._append(tx, alarm)
            if kept is not None:
                tx.keep_time(kept)

        if self._commit(work):
            log.warning("%s", text)
            self._known, self._steps = True, standing.steps
            self._keep_s = self._clock.monotonic_s() + KEEP_S

    def _tell_unknown(self, standing: Standing) -> None:
        if not self._throttle.admits():
            return
        text = told(standing, self._clock.now(), assumed=self._clock.assumed)
        facts: dict[str, Fact] = {
            "because": standing.because.value,
            "step_s": round(standing.step_s) if standing.steps != self._steps else 0,
            "meters": standing.voices,
            "meters_ahead_s": round(standing.meters_ahead_s),
        }
        alarm = alarm_now(self._clock, AlarmKind.CLOCK_UNKNOWN, f"{text}; {cure(standing)}", "", facts)
        if self._commit(lambda tx: self._append(tx, alarm)):
            log.warning("%s", alarm.text)
            self._known = False

    @staticmethod
    def _append(tx: Transaction, alarm: Alarm) -> None:
        tx.append(Stream.ALARM, encode_alarm(alarm))

    def _commit(self, work: Callable[[Transaction], object]) -> bool:
        try:
            self._store.transact(work)
        except DcuError as fault:
            log.warning("what is known of the time could not be stored: %s", fault)
            return False
        return True
