"""What is judged: a command, what the meter says of itself, what is known at that moment. Values only. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass

from dcu.command import Command, ControlState, Operation, OutputState, RelaySequence
from dcu.meter import Meter
from dcu.reading import ClockState
from dcu.relay.canonical import Json
from dcu.relay.policy import Policy
from dcu.relay.trust import TrustStore


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the meter said of itself in the acting association, after the intent and before the ACTION.

    Attributes:
        serial: as read in that association.
        output: physical state of the relay; None where it is not readable.
        control: logical state; None likewise.
        control_mode: class 70 attribute 4; None likewise.
        payment_mode: None where the meter has no such register.
    """

    serial: str
    output: OutputState | None = None
    control: ControlState | None = None
    control_mode: int | None = None
    payment_mode: int | None = None

    def reached(self, op: Operation) -> bool:
        """Whether the relay is where `op` would bring it. A relay that waits for its button is not disconnected."""
        if op is Operation.CONNECT:
            return self.output is OutputState.CONNECTED
        return (
            op is Operation.DISCONNECT
            and self.output is OutputState.DISCONNECTED
            and self.control is not ControlState.READY_FOR_RECONNECTION
        )


@dataclass(frozen=True, slots=True)
class Case:
    """One command and everything that is known at the moment of judging it.

    Attributes:
        command, claims: what is asked, typed and as signed.
        digest: SHA-256 of the payload.
        known: digest of the command that has this id already, or None.
        kids: keys that signed.
        trust: current.
        policy: in force now, or None.
        policy_fault: why there is none.
        dcu, jid: this box and its journal.
        now_s, clock: its time, UTC seconds, and whether that is trusted.
        floor_s: no true time is before this.
        sequence: highest consumed of that meter's relay.
        meter: as configured here, or None.
        set_aside: that meter answered as another one, or tells nonsense.
        evidence: None at acceptance.
    """

    command: Command
    claims: Mapping[str, Json]
    digest: bytes
    known: bytes | None
    kids: tuple[str, ...]
    trust: TrustStore
    policy: Policy | None
    policy_fault: str
    dcu: str
    jid: str
    now_s: int
    clock: ClockState
    floor_s: int
    sequence: RelaySequence
    meter: Meter | None
    set_aside: bool
    evidence: Evidence | None = None
