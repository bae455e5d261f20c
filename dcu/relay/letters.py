"""Letters to the relay thread, and the reply that their senders wait for. A wait has a deadline, always."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Generic, Literal, TypeVar

from dcu.command import Event, Refusal, Restraint
from dcu.reading import Layout
from dcu.relay.case import Evidence
from dcu.relay.receipts import ReadBack
from dcu.relay.trust import Commissioning
from dcu.relay.warrant import OneAct

T = TypeVar("T")

Key = tuple[str, str]
"""(iss, cmd_id) of a command."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a document: `code` with "refused" only."""

    status: Literal["accepted", "refused", "duplicate"]
    code: Refusal | None = None


class Reply(Generic[T]):
    """A place for one answer. Who has stopped waiting gets none, and the answerer learns of it."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._answer: T | None = None
        self._fault: BaseException | None = None
        self._done = False
        self._gone = False

    @property
    def awaited(self) -> bool:
        """Whether someone still waits."""
        with self._condition:
            return not self._gone

    def give(self, answer: T) -> bool:
        """Answer; False when nobody waits any more."""
        with self._condition:
            if self._gone:
                return False
            self._answer, self._done = answer, True
            self._condition.notify_all()
            return True

    def fail(self, fault: BaseException) -> None:
        """Raise `fault` at who waits."""
        with self._condition:
            self._fault, self._done = fault, True
            self._condition.notify_all()

    def wait(self, timeout_s: float) -> T | None:
        """The answer, or None when the time passed: from then on none is accepted. Raises what `fail` was given."""
        with self._condition:
            self._condition.wait_for(lambda: self._done, timeout_s)
            self._gone = not self._done
            if self._fault is not None:
                raise self._fault
            return self._answer


@dataclass(frozen=True, slots=True)
class Put:
    """A document came by MQTT; `connect`: in the lane of connects."""

    octets: bytes
    topic: str
    qos: int
    retained: bool
    connect: bool
    reply: Reply[Verdict]


@dataclass(frozen=True, slots=True)
class Answer:
    """Leave to act, one warrant a step; none: the command is at its end and the errand goes home."""

    warrants: tuple[OneAct, ...] = ()


@dataclass(frozen=True, slots=True)
class Ready:
    """An errand stands before its meter and asks for leave."""

    key: Key
    evidence: Evidence
    reply: Reply[Answer]


@dataclass(frozen=True, slots=True)
class Fell:
    """An errand ended before it could ask for leave, or gave up waiting for it."""

    key: Key
    code: Refusal
    reason: str


@dataclass(frozen=True, slots=True)
class Brought:
    """What a `read` brought: the meter's own word on who it is, records with their layouts, and what is told of it."""

    key: Key
    evidence: Evidence
    records: tuple[tuple[bytes, Layout], ...] = ()
    said: Mapping[str, int | str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a dispatched command."""

    key: Key
    event: Event
    readback: tuple[ReadBack, ...] = ()
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Unseen:
    """After a crash the meter could not be read this time."""

    key: Key
    reason: str


@dataclass(frozen=True, slots=True)
class NewTrust:
    """Another commissioning root is in force from now on."""

    commissioning: Commissioning


@dataclass(frozen=True, slots=True)
class Lock:
    """Somebody at the pole locks a meter, or all (empty serial); or with no seconds unlocks it."""

    meter: str
    who: str
    why: str
    seconds: int
    reply: Reply[Restraint | Literal["none"]]


Letter = Put | Ready | Fell | Brought | Outcome | Unseen | NewTrust | Lock
