"""Reading a profile ring by its gap ledger: what is missing is asked by range, and what never comes is explained."""

from datetime import timedelta
from typing import Final, Protocol

from dcu import gaps
from dcu.config import PollConfig
from dcu.meter import ProfileSpec
from dcu.obis import LogicalName
from dcu.ports import Association, Clock, ProfileState, Store, Transaction
from dcu.reading import Layout, MeterTime, ProfileReading, from_epoch

BITE_ROWS: Final = 24
"""Rows asked in one range: about a second of line time at 9600 baud."""

VISIT_S: Final = 8.0
"""After this long at one meter the others have their turn, and the rest of a backlog waits."""

CAPTURE_GRACE_S: Final = 0.7
"""A meter needs a moment after the end of an interval before its row can be read."""

LOOK_AT_LEAST_EVERY_S: Final = 3600.0
"""Also where the capture period is a day: a clock that was set is noticed."""


CLOCK_SET_S: Final = 5
"""A meter's clock that falls behind ours by more than this between two visits was set back."""


class Scene(Protocol):
    """What a ring is read with."""

    @property
    def store(self) -> Store:
        """Where rows go."""
        ...

    @property
    def clock(self) -> Clock:
        """The box's."""
        ...

    @property
    def looks(self) -> dict[tuple[str, LogicalName], tuple[int, float]]:
        """Each meter's clock when its ring was last read: (that clock, monotonic seconds)."""
        ...

    @property
    def poll(self) -> PollConfig:
        """How far back the first visit reaches."""
        ...


def read_ring(association: Association, spec: ProfileSpec, layout: Layout, now: MeterTime, scene: Scene) -> float:
    """Bring what is missing up to `now` by the meter's clock, newest first, then the backlog from its oldest end.

    Returns:
        When to come again, monotonic seconds: at once where a backlog remains.
    """
    began_s = scene.clock.monotonic_s()
    state = _known(association, spec.logical_name, layout, now, scene)
    state = _look_at_clock(association.serial, spec.logical_name, state, now, scene)
    newest_first = True
    barren: set[bool] = set()
    while wanted := gaps.next_range(
        gaps.missing(state, now.epoch_s), state.period_s, BITE_ROWS, newest_first=newest_first
    ):
        before = state
        state = _bite(association, spec.logical_name, layout, state, wanted, now, scene)
        if state == before:
            barren.add(newest_first)  # not captured yet, or nothing explains it: asked again next time
        if len(barren) == 2:
            break
        newest_first = False in barren
        if scene.clock.monotonic_s() - began_s > VISIT_S:
            return scene.clock.monotonic_s()
    return began_s + _until_next(state, now)


def _until_next(state: ProfileState, now: MeterTime) -> float:
    """Seconds from `now` to the next row's moment, by the meter's clock."""
    if state.period_s <= 0:
        return LOOK_AT_LEAST_EVERY_S
    to_boundary = state.period_s - (now.epoch_s - state.since_s) % state.period_s
    return min(to_boundary + CAPTURE_GRACE_S, LOOK_AT_LEAST_EVERY_S)


def _known(
    association: Association, profile: LogicalName, layout: Layout, now: MeterTime, scene: Scene
) -> ProfileState:
    """The ledger's state, after the first visit to this profile has said from when on intervals are expected."""
    serial = association.serial
    state = scene.store.transact(lambda tx: tx.profile(serial, profile))
    period_s = association.capture_period_s(profile)  # at each visit: rows captured at another one would not be asked
    if state is not None and (state.layout, state.period_s) == (layout, period_s):
        return state
    since_s = state.since_s if state else _since(association, profile, layout, period_s, now, scene)

    def describe(tx: Transaction) -> ProfileState | None:
        tx.describe(serial, profile, layout, period_s, since_s)
        return tx.profile(serial, profile)

    return scene.store.transact(describe) or ProfileState(period_s, since_s, (), (), layout)


def _look_at_clock(
    serial: str, profile: LogicalName, state: ProfileState, now: MeterTime, scene: Scene
) -> ProfileState:
    """Where the meter's clock was set back, what it passes for the second time is no longer absent: it captures it now.

    That the box was away meanwhile is seen only by absences that lie before the meter.
    """
    uptime_s = scene.clock.monotonic_s()
    before_s, at_s = scene.looks.get((serial, profile), (now.epoch_s, uptime_s))
    scene.looks[serial, profile] = (now.epoch_s, uptime_s)
    passed_from_s = now.epoch_s - int(uptime_s - at_s)
    after_s = passed_from_s if passed_from_s < before_s - CLOCK_SET_S else now.epoch_s
    if not any(last > after_s for _, last, _ in state.absent):
        return state

    def forget(tx: Transaction) -> ProfileState | None:
        tx.forget_absent(serial, profile, after_s)
        return tx.profile(serial, profile)

    return scene.store.transact(forget) or state


def _since(
    association: Association, profile: LogicalName, layout: Layout, period_s: int, now: MeterTime, scene: Scene
) -> int:
    """The oldest interval that is expected: what the ring still holds, within the history that is wanted."""
    oldest = association.oldest_row(profile, layout)
    midnight = now.at.replace(hour=0, minute=0, second=0, microsecond=0)
    horizon_s = int((now.at - timedelta(days=scene.poll.history_days)).timestamp())
    if oldest is None:
        phase = gaps.phase_of([], period_s, int(midnight.timestamp())) if period_s > 0 else 0
        return _ceil(now.epoch_s + 1, phase, period_s)
    oldest_s = oldest.captured_at.epoch_s
    within_s = _ceil(horizon_s, oldest_s, period_s)
    return within_s if oldest_s > now.epoch_s else max(oldest_s, within_s)  # a clock that was ahead says nothing


def _ceil(at_s: int, phase: int, period_s: int) -> int:
    return at_s + (phase - at_s) % period_s if period_s > 0 else at_s


def _bite(
    association: Association,
    profile: LogicalName,
    layout: Layout,
    state: ProfileState,
    wanted: gaps.Span,
    now: MeterTime,
    scene: Scene,
) -> ProfileState:
    """Ask one range; store what came and note what never will, in one transaction.

    Rows prove only what lies between them, since an answer may be cut short; that nothing came proves the whole range.
    Rows of a time that the meter's clock has not reached (it was ahead once) prove nothing.
    """
    serial = association.serial
    rows = association.rows(profile, layout, from_epoch(wanted[0]), from_epoch(wanted[1]))
    reading = ProfileReading(serial, profile, layout, tuple(rows), scene.clock.now(), scene.clock.state())
    newest = floor = None
    if not rows:
        oldest = association.oldest_row(profile, layout)
        floor = oldest.captured_at.epoch_s if oldest and oldest.captured_at.epoch_s <= now.epoch_s else None
        newest = max((min(last, now.epoch_s) for first, last in state.held if first <= now.epoch_s), default=None)

    def admit(tx: Transaction) -> ProfileState | None:
        tx.admit(reading)
        times = [row.captured_at.epoch_s for row in rows]
        for first_s, last_s, reason in gaps.absences(
            wanted, times, phase=state.since_s, period=state.period_s, oldest=floor, newest=newest
        ):
            tx.note_absent(serial, profile, first_s, last_s, reason)
        return tx.profile(serial, profile)

    return scene.store.transact(admit) or state
