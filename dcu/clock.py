"""The box's clock: the one place that asks the operating system for the time."""

import ctypes
import threading
import time
import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from dcu.event import Alarm, AlarmKind, Fact
from dcu.ports import Clock
from dcu.reading import ClockState, Uptime
from dcu.timekeeping import KeptTime, Sighting, Standing, Timekeeper

BUILT: Final = datetime(2026, 11, 1, tzinfo=UTC)
"""No true time is before this program was written."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
_TIME_ERROR: Final = 5  # adjtimex(2): the kernel's clock is not synchronized
_CLOSE_S: Final = 0.01  # two clocks that are read within this time are read at once
_TRIES: Final = 4


class SystemClock:
    """The kernel's clocks, and what is known of them (`dcu.timekeeping`). Any thread.

    Args:
        assumed: take the kernel's clock for disciplined though it does not say so: a bench without a time service.

    Attributes:
        boot_id: as the kernel names this start of the machine (random(4)).
        assumed: as given.
    """

    def __init__(self, *, assumed: bool = False) -> None:
        self.boot_id = _boot_id()
        self._adjtimex = getattr(ctypes.CDLL(None), "adjtimex", None)
        self.assumed = assumed
        self._lock = threading.Lock()
        self._keeper = Timekeeper(BUILT.timestamp(), self.boot_id)

    def now(self) -> datetime:
        """Aware UTC."""
        return datetime.now(UTC)

    def state(self) -> ClockState:
        """Whether `now` can be trusted."""
        return self.standing().state

    def standing(self) -> Standing:
        """The same, with the reason."""
        with self._lock:
            return self._keeper.look(self._sighting())

    def floor(self) -> datetime:
        """No true time is before this: the program's own date, or the highest that was kept on disk."""
        with self._lock:
            return _EPOCH + timedelta(seconds=self._keeper.floor_s)

    def monotonic_s(self) -> float:
        """CLOCK_MONOTONIC, seconds."""
        return time.monotonic()

    def boottime_s(self) -> float:
        """CLOCK_BOOTTIME, seconds."""
        return time.clock_gettime(time.CLOCK_BOOTTIME)

    # ---- what the field process tells it ----

    def remember(self, kept: KeptTime | None) -> None:
        """What the store has kept; before anybody asks for the state."""
        with self._lock:
            self._keeper.remember(kept)

    def keep(self) -> KeptTime | None:
        """What the store should keep; None unless the clock is TRUSTED."""
        with self._lock:
            self._keeper.look(self._sighting())
            return self._keeper.keep()

    def hear_meters(self, faces_s: Sequence[float], *, all_asked: bool = False) -> None:
        """What meters' clocks show: seconds since 1970 minus `boottime_s`, of those that were asked lately.

        `all_asked`: there is none that was not asked since the process began.
        """
        with self._lock:
            self._keeper.hear_meters(faces_s, all_asked=all_asked)

    def meters_heard(self) -> bool:
        """Whether the meters' clocks could have spoken against this one since the process began."""
        return self.standing().heard

    def lower_floor(self, floor: datetime) -> None:
        """Somebody at the box says that the floor is wrong; it is never lower than `BUILT`."""
        with self._lock:
            self._keeper.lower_floor(max(floor, BUILT).timestamp())

    def _sighting(self) -> Sighting:
        """The two clocks, read as nearly at once as a busy machine allows."""
        wall_s = boot_s = apart_s = 0.0
        for _ in range(_TRIES):
            before_s = self.boottime_s()
            wall_s = time.time()
            after_s = self.boottime_s()
            boot_s, apart_s = (before_s + after_s) / 2, after_s - before_s
            if apart_s < _CLOSE_S:
                break
        return Sighting(wall_s, boot_s, self.assumed or self._disciplined(), apart_s)

    def _disciplined(self) -> bool:
        if self._adjtimex is None:
            return False
        timex = ctypes.create_string_buffer(512)  # struct timex with modes = 0: only asks
        return int(self._adjtimex(timex)) not in {_TIME_ERROR, -1}


def uptime(clock: Clock, state: ClockState) -> Uptime | None:
    """What a record carries beside a time that was not known: since when the machine runs. None where it was known."""
    return None if state.known else Uptime(clock.boot_id, int(clock.boottime_s()))


def alarm_now(
    clock: Clock, kind: AlarmKind, text: str, meter: str = "", facts: Mapping[str, Fact] | None = None
) -> Alarm:
    """An alarm of this moment."""
    state = clock.state()
    return Alarm(kind, clock.now(), state, text, meter, facts or {}, uptime(clock, state))


def _boot_id() -> str:
    """The kernel's; where it has none, one of this process's own."""
    try:
        return _BOOT_ID.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return str(uuid.uuid4())
