"""Commands: their vocabulary, their life, and the warrant that lets one act on a meter. Values only; no I/O.

Source: reference/command-authority.md sections 0, 5, 8 and 11. Refusal codes are a contract with the head-end.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from enum import Enum

from dcu.errors import DcuError, Fate
from dcu.meter import AttributeRef, MethodRef


class Operation(Enum):
    """What a command asks for."""

    CONNECT = "connect"
    DISCONNECT = "disconnect"
    MESSAGE = "message"  # text on the consumer's display


class Why(Enum):
    """The reason that a disconnect or a message gives; each has its own rules."""

    CREDIT = "credit"
    ARREARS = "arrears"
    SAFETY = "safety"
    REQUEST = "request"


class Refusal(Enum):
    """Why a document was refused (check table of command-authority.md 8), in the order of the checks."""

    E_TOPIC = "E_TOPIC"  # 1 not the command topic, or not QoS 1
    E_RETAINED = "E_RETAINED"  # 1
    E_SIZE = "E_SIZE"  # 2 more than 8 KiB
    E_FLOOD = "E_FLOOD"  # 2 more documents a minute than anyone needs
    E_JSON = "E_JSON"  # 3
    E_SHAPE = "E_SHAPE"  # 4
    E_CANON = "E_CANON"  # 4
    E_B64 = "E_B64"  # 5
    E_HDR = "E_HDR"  # 6
    E_KID = "E_KID"  # 6
    E_ORDER = "E_ORDER"  # 6 kids not ascending, or one twice
    E_KEY = "E_KEY"  # 7 revoked, expired, or one key under two names
    E_ALG = "E_ALG"  # 7
    E_SIG = "E_SIG"  # 8
    E_SCHEMA = "E_SCHEMA"  # 9
    E_TARGET = "E_TARGET"  # 10 another box, or another head-end
    E_JID = "E_JID"  # 10 signed for another journal
    E_ID_REUSE = "E_ID_REUSE"  # 11 a command id with other bytes
    E_QUORUM = "E_QUORUM"  # 12
    E_CLOCK = "E_CLOCK"  # 13
    E_EARLY = "E_EARLY"  # 14
    E_EXPIRED = "E_EXPIRED"  # 14
    E_TTL = "E_TTL"  # 14
    E_LEASE = "E_LEASE"  # 15
    E_SEQ = "E_SEQ"  # 16
    E_METER = "E_METER"  # 17 not here, set aside, or not the meter that answers
    E_FROZEN = "E_FROZEN"  # 18
    E_LOCKED = "E_LOCKED"  # 18
    E_PROTECTED = "E_PROTECTED"  # 19
    E_NOTICE = "E_NOTICE"  # 20
    E_NOT_LIVE = "E_NOT_LIVE"  # 20 prepaid is not live in that area
    E_NOT_PREPAID = "E_NOT_PREPAID"  # 20 the meter's own payment mode says post-paid
    E_AREA = "E_AREA"  # 20 command, configuration and policy name different areas
    E_POLICY = "E_POLICY"  # no policy, an expired one, another version, or a rule that is not built
    E_WINDOW = "E_WINDOW"  # 21
    E_PERMIT = "E_PERMIT"  # 22
    E_CAP = "E_CAP"  # 22
    E_STORE = "E_STORE"  # 23 cannot be journalled
    E_STATE = "E_STATE"  # 25 the relay is not in the state that the command expects
    E_UNREACHABLE = "E_UNREACHABLE"  # 25


class CommandRefused(DcuError):
    """A document that is not carried out, with the code of the first check that it failed. Never retried by the box."""

    fate = Fate.NEVER_RETRY

    def __init__(self, code: Refusal, cause: str) -> None:
        super().__init__(cause, place=code.value)
        self.code = code


class State(Enum):
    """Where a command stands in its life; the journal holds nothing else."""

    ACCEPTED = "accepted"  # journalled: sequence consumed, receipt signed
    DISPATCHED = "dispatched"  # committed to disk immediately before the one ACTION
    # the ends:
    REFUSED = "refused"
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

    RECHECK_FAILED = "recheck-failed"
    ALREADY_THERE = "already-there"
    DISPATCH = "dispatch"
    CRASHED = "crashed"
    UNSENT = "unsent"
    READ_BACK_TARGET = "read-back-target"
    READ_BACK_ARMED = "read-back-armed"
    READ_BACK_OTHER = "read-back-other"
    READ_BACK_NOTHING = "read-back-nothing"
    RECOVERED_TARGET = "recovered-target"
    RECOVERED_OTHER = "recovered-other"


LIFE: dict[tuple[State, Event], State] = {
    (State.ACCEPTED, Event.RECHECK_FAILED): State.REFUSED,
    (State.ACCEPTED, Event.ALREADY_THERE): State.NOOP,
    (State.ACCEPTED, Event.DISPATCH): State.DISPATCHED,
    (State.ACCEPTED, Event.CRASHED): State.ABANDONED,
    (State.DISPATCHED, Event.UNSENT): State.FAILED_UNSENT,
    (State.DISPATCHED, Event.READ_BACK_TARGET): State.DONE,
    (State.DISPATCHED, Event.READ_BACK_ARMED): State.ARMED,
    (State.DISPATCHED, Event.READ_BACK_OTHER): State.FAILED,
    (State.DISPATCHED, Event.READ_BACK_NOTHING): State.IN_DOUBT,
    (State.DISPATCHED, Event.RECOVERED_TARGET): State.DONE_BY_READBACK,
    (State.DISPATCHED, Event.RECOVERED_OTHER): State.IN_DOUBT,
}
"""The whole life of a command. What is not here cannot happen."""

OPEN = frozenset({State.ACCEPTED, State.DISPATCHED})
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


class OutputState(Enum):
    """Physical state of a meter's relay (class 70 attribute 2)."""

    CONNECTED = "connected"
    DISCONNECTED = "disconnected"


class ControlState(Enum):
    """Logical state of a meter's relay (class 70 attribute 3)."""

    DISCONNECTED = 0
    CONNECTED = 1
    READY_FOR_RECONNECTION = 2


@dataclass(frozen=True, slots=True)
class Command:
    """The payload of a `dcu-cmd+jws`, schema v1, after all its checks of form. Times are UTC seconds.

    Attributes:
        cmd_id: unique with `iss`.
        op: what is asked.
        iss: name of the head-end that signed.
        dcu: the box it is for.
        jid: journal (store epoch) it is for.
        meter: serial.
        seq: of the relay operations of that meter; None where the operation uses none.
        iat, nbf, exp: issued, not before (None: at once), expires.
        why: reason, where the operation needs one.
        area: area that the head-end believes the meter to be in; with a disconnect or a credit message.
        expect: output state that the head-end believes the relay to be in; None: any.
        pol: version of the policy that the head-end signed under; with a disconnect.
        text: of a message, at most 64 printable ASCII characters.
    """

    cmd_id: str
    op: Operation
    iss: str
    dcu: str
    jid: str
    meter: str
    seq: int | None
    iat: int
    nbf: int | None
    exp: int
    why: Why | None = None
    area: str | None = None
    expect: OutputState | None = None
    pol: int | None = None
    text: str | None = None


@dataclass(frozen=True, slots=True)
class StoredCommand:
    """A command as the journal keeps it.

    Attributes:
        iss, cmd_id: its key.
        digest: SHA-256 of the payload: the same id with another digest is another command.
        payload: canonical JSON, for the re-check when due and for recovery.
        kids: keys that signed, for the re-check on current trust.
        state: where it stands.
        receipt: the latest signed receipt, as sealed.
        repeated_at: when that was last given out again to a repetition, UTC seconds by the box's clock; 0 never.
    """

    iss: str
    cmd_id: str
    digest: bytes
    payload: bytes
    kids: tuple[str, ...]
    state: State
    receipt: bytes
    repeated_at: int


@dataclass(frozen=True, slots=True)
class RelaySequence:
    """Highest sequence numbers consumed for one meter's relay, over all issuers; 0 where none was."""

    any: int = 0
    disconnect: int = 0


class Warrant(ABC):
    """Leave to send exactly one SET or ACTION to exactly one meter, once, until a moment.

    Drivers send nothing that changes a meter without one. Only `dcu.relay.warrant` can define the class that is
    constructed: a subclass anywhere else is refused when it is defined.
    """

    def __init_subclass__(cls) -> None:
        if cls.__module__ != "dcu.relay.warrant":
            raise TypeError("warrants are made in dcu.relay.warrant only")

    @abstractmethod
    def spend(self, serial: str, target: AttributeRef | MethodRef, data: bytes, monotonic_s: float) -> None:
        """Use the warrant up, immediately before the request is sent.

        Args:
            serial: the meter's, as read from it in this association.
            target: the attribute to set or the method to invoke.
            data: its A-XDR encoded value or parameter.
            monotonic_s: now.

        Raises:
            WarrantRequired: spent already, too late, or for another meter, target or value.
        """
