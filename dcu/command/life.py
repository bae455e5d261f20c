"""The life of a command as one table of states and events. Values only.

Source: reference/command-authority.md 0 items 3 and 4, 5.
"""

from enum import Enum


class State(Enum):
    """Where a command stands in its life; the journal holds nothing else."""

    ACCEPTED = "accepted"  # journalled: id and sequence consumed, receipt signed
    PENDING = "pending"  # the same, of what is judged as a disconnect: it waits, and can still be taken back
    DISPATCHED = "dispatched"  # committed to disk immediately before the one ACTION
    # the ends:
    REFUSED = "refused"
    CANCELLED = "cancelled"  # taken back by a `cancel`
    VOIDED = "voided"  # overtaken by a connect, a payment or a freeze
    DONE = "done"  # read back twice
    DONE_BY_READBACK = "done-by-readback"  # after a crash in DISPATCHED the state matched; the cause is unproven
    NOOP = "noop"  # already in that state; nothing sent
    ARMED = "armed"  # the meter waits for its button
    FAILED = "failed"  # sent, and both read-backs show the old state, or the meter refused
    FAILED_UNSENT = "failed-unsent"  # the moment passed before it could be sent
    IN_DOUBT = "in-doubt"  # sent, and the state cannot be read
    ABANDONED = "abandoned"  # a crash before DISPATCHED: a disconnect is not taken up again


class Event(Enum):
    """What moves a command from one state to the next."""

    CANCEL = "cancel"
    VOID = "void"
    RECHECK_FAILED = "recheck-failed"
    ALREADY_THERE = "already-there"
    CARRIED_OUT = "carried-out"  # nothing was changed at a meter: by the box itself, or by reading
    DISPATCH = "dispatch"
    CRASHED = "crashed"
    UNSENT = "unsent"
    TAKEN_BACK = "taken-back"  # surely nothing was sent, and a connect may be tried again
    READ_BACK_TARGET = "read-back-target"
    READ_BACK_ARMED = "read-back-armed"
    READ_BACK_OTHER = "read-back-other"
    READ_BACK_NOTHING = "read-back-nothing"
    RECOVERED_TARGET = "recovered-target"
    RECOVERED_OTHER = "recovered-other"


LIFE: dict[tuple[State, Event], State] = {
    (State.ACCEPTED, Event.RECHECK_FAILED): State.REFUSED,
    (State.ACCEPTED, Event.ALREADY_THERE): State.NOOP,
    (State.ACCEPTED, Event.CARRIED_OUT): State.DONE,
    (State.ACCEPTED, Event.DISPATCH): State.DISPATCHED,
    (State.ACCEPTED, Event.CRASHED): State.ABANDONED,
    (State.PENDING, Event.CANCEL): State.CANCELLED,
    (State.PENDING, Event.VOID): State.VOIDED,
    (State.PENDING, Event.RECHECK_FAILED): State.REFUSED,
    (State.PENDING, Event.ALREADY_THERE): State.NOOP,
    (State.PENDING, Event.DISPATCH): State.DISPATCHED,
    (State.PENDING, Event.CRASHED): State.ABANDONED,
    (State.DISPATCHED, Event.UNSENT): State.FAILED_UNSENT,
    (State.DISPATCHED, Event.TAKEN_BACK): State.ACCEPTED,
    (State.DISPATCHED, Event.READ_BACK_TARGET): State.DONE,
    (State.DISPATCHED, Event.READ_BACK_ARMED): State.ARMED,
    (State.DISPATCHED, Event.READ_BACK_OTHER): State.FAILED,
    (State.DISPATCHED, Event.READ_BACK_NOTHING): State.IN_DOUBT,
    (State.DISPATCHED, Event.RECOVERED_TARGET): State.DONE_BY_READBACK,
    (State.DISPATCHED, Event.RECOVERED_OTHER): State.IN_DOUBT,
}
"""The whole life of a command. What is not here cannot happen.

TAKEN_BACK is for connects alone: what is judged as a disconnect is never dispatched a second time.
"""

WAITING = frozenset({State.ACCEPTED, State.PENDING})
"""States before the dispatch."""

OPEN = WAITING | {State.DISPATCHED}
"""States that are not an end."""


def after(state: State, event: Event) -> State:
    """The next state.

    Raises:
        ValueError: the event is not legal in that state: our bug.
    """
    try:
        return LIFE[state, event]
    except KeyError:
        raise ValueError(f"{event.value} is not legal in {state.value}") from None
