"""What is remembered of a meter between visits: what the store holds of it, and where things stood."""

import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from dcu.errors import StoreBusy, StoreDown
from dcu.field.clock_watch import RESTART_SLACK_S, Look
from dcu.gaps import Span
from dcu.meter import Meter, ProfileKind, ProfileSpec
from dcu.obis import LogicalName
from dcu.ports import Association, Clock, Described, MeterState, ProfileState, Store, Transaction, Waiting
from dcu.reading import Value

MOST_REFUSALS: Final = 8
"""Of one profile that are remembered."""


@dataclass(frozen=True, slots=True)
class Wait:
    """What of one poll waits in the store's memory.

    Attributes:
        work: that waits.
        settled: spans of rings that are held, or known to be absent, once it is done.
    """

    work: Waiting
    settled: Mapping[LogicalName, Sequence[Span]]


@dataclass(slots=True)
class MeterBook:
    """One meter's. Used by one visit at a time.

    Attributes:
        meter: which.
        kept: what the store has of it; None before anything was read.
        states: of its profiles, as the store has them.
        loaded: whether the two above are what the store has.
        known: whether they were that once.
        waiting: what came while the store was down, and is on its way into it.
        described: rings that the meter has described and the store does not know yet.
        in_use: rows that a buffer held when it was last asked.
        look: the last look at the clock.
        ahead_s: the meter's clock minus the box's; None where that is not known.
        told_ahead_s: of that, what was alarmed.
        association: the last one in which the firmware was read; weak, since a thousand that ended are not kept.
        settled: whether the meter's place is noted.
        tails: entry of the newest row that is held, of buffers that are read by entry, oldest first.
        newest: (time, values) of the newest row that is held of a log.
        read: logs that were read since the clock was seen to be set back.
        candidates: newest row of a bill's profile: (time, values, monotonic seconds when it was first seen so).
        running: profiles whose newest row is the running period: it changes at each look.
        vain: ranges that were asked and did not come: until when (monotonic) they are not asked again.
        late: the newest interval that did not come in time, and how often it was asked.
        refused: between what faces of the meter's clock it refused a profile, each time that it did.
        unproven: (profile, first instant) of an earlier grid that could not be settled: until when (monotonic).
        suspect: profiles of which an answer could not be used: described anew before they are asked again.
        failed_polls: polls of several parts that broke off, in a row.
        statics_due_s: when the meter is described again (monotonic); None: not known yet.
        apart_until_s: until then (monotonic) each part is asked by itself, since one of them may be why.
    """

    meter: Meter
    kept: MeterState | None = None
    states: dict[LogicalName, ProfileState | None] = field(default_factory=dict)
    loaded: bool = False
    known: bool = False
    waiting: list[Wait] = field(default_factory=list)
    described: dict[LogicalName, Described] = field(default_factory=dict)
    in_use: dict[LogicalName, int] = field(default_factory=dict)
    look: Look | None = None
    ahead_s: int | None = None
    told_ahead_s: int | None = None
    association: weakref.ref[Association] | None = None
    settled: bool = False
    tails: dict[LogicalName, int] = field(default_factory=dict)
    newest: dict[LogicalName, tuple[int, tuple[Value, ...]]] = field(default_factory=dict)
    read: set[LogicalName] = field(default_factory=set)
    candidates: dict[LogicalName, tuple[int, tuple[Value, ...], float]] = field(default_factory=dict)
    running: set[LogicalName] = field(default_factory=set)
    vain: dict[LogicalName, list[tuple[Span, float]]] = field(default_factory=dict)
    late: dict[LogicalName, tuple[int, int]] = field(default_factory=dict)
    refused: dict[LogicalName, list[Span]] = field(default_factory=dict)
    unproven: dict[tuple[LogicalName, int], float] = field(default_factory=dict)
    suspect: set[LogicalName] = field(default_factory=set)
    failed_polls: int = 0
    apart_until_s: float = 0.0
    statics_due_s: float | None = None

    @property
    def serial(self) -> str:
        """The meter's."""
        return self.meter.serial

    @property
    def rings(self) -> list[ProfileSpec]:
        """Profiles of the model with a gap ledger."""
        return [spec for spec in self.meter.model.profiles if spec.kind is ProfileKind.RING]

    def is_read_in(self, association: Association) -> bool:
        """Whether the firmware was read in this very association."""
        return self.association is not None and self.association() is association

    def load(self, store: Store, clock: Clock) -> bool:
        """Read what the store has, where that is not known; whether it is known now.

        Where the store does not say, what it said before must do: the ledger lets no row in twice.

        Raises:
            StoreDown, StoreBusy: it has never said.
            StoreFault: it failed.
        """
        waiting = [each for each in self.waiting if each.work.waits]
        if len(waiting) < len(self.waiting):
            self.waiting, self.loaded = waiting, False
        if self.loaded:
            return True
        try:
            store.transact(self.reload)
        except (StoreDown, StoreBusy):
            if not self.known:
                raise
            return False
        self.loaded = self.known = True
        kept = self.kept
        if self.look is None and kept is not None and kept.ahead_s is not None and clock.state().known:
            now_s = clock.monotonic_s()
            self.look = Look(int(clock.now().timestamp()) + kept.ahead_s, now_s, now_s, RESTART_SLACK_S)
        return True

    def reload(self, tx: Transaction) -> None:
        """The same, inside a transaction."""
        self.kept = tx.meter(self.serial)
        self.states = {
            spec.logical_name: tx.profile(self.serial, spec.logical_name) for spec in self.meter.model.profiles
        }

    def reload_profile(self, tx: Transaction, profile: LogicalName) -> None:
        """What the store has of one profile."""
        self.states[profile] = tx.profile(self.serial, profile)

    def note_refused(self, profile: LogicalName | None, face_s: int | None) -> None:
        """The meter refuses a profile: for so long as nothing newer was let in of it, it is one refusal."""
        if profile is None or face_s is None:
            return
        spans, state = self.refused.setdefault(profile, []), self.states.get(profile)
        held = state.held if state is not None else ()
        if spans and not (held and held[-1][1] > spans[-1][1]):
            spans[-1] = (spans[-1][0], max(face_s, spans[-1][1]))
        else:
            spans.append((face_s, face_s))
            del spans[:-MOST_REFUSALS]

    def forget(self) -> None:
        """Nobody knows whether the last transaction was committed, or the store is down."""
        self.loaded = False

    def waits(self, profile: LogicalName) -> Sequence[Span]:
        """Spans of a ring that were brought and are not stored yet: not asked again meanwhile."""
        return [span for each in self.waiting for span in each.settled.get(profile, ())]

    def needs_describing(self, spec: ProfileSpec) -> bool:
        """Whether the meter has to be asked what the profile is."""
        if spec.logical_name in self.described:
            return False
        state = self.states.get(spec.logical_name)
        return state is None or state.layout is None or state.stale or spec.logical_name in self.suspect

    def face_s(self, monotonic_s: float) -> int | None:
        """What the meter's clock should show; None where it was never seen."""
        return None if self.look is None else self.look.face_at(monotonic_s)

    def asked_in_vain(self, profile: LogicalName, monotonic_s: float) -> Sequence[Span]:
        """Ranges that are not asked again yet."""
        kept = [each for each in self.vain.get(profile, []) if each[1] > monotonic_s]
        self.vain[profile] = kept
        return [span for span, _ in kept]
