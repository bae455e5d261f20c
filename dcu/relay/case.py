"""What is judged: a command, what the meter says of itself, what is known at that moment. Values only. Pure."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import tzinfo

from dcu.command import (
    Command,
    ControlState,
    Debit,
    Operation,
    OutputState,
    Profile,
    RelaySequence,
    Restraint,
    State,
    Why,
)
from dcu.meter import Meter
from dcu.reading import ClockState
from dcu.relay.canonical import Json
from dcu.relay.key_document import TrustStore
from dcu.relay.permit import Leave
from dcu.relay.policy import Policy
from dcu.relay.policy.floor import LEAST_LIMIT_W


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the meter said of itself in the acting association, after the intent and before the ACTION.

    Attributes:
        serial: as read in that association.
        output: physical state of the relay; None where it is not readable.
        control: logical state; None likewise.
        control_mode: class 70 attribute 4; None likewise.
        payment_mode: None where the meter has no such register.
        balance: of the current balance register, raw; None where it was not read.
        there: it holds already what is to be written.
        unfit: in words why it cannot do what is asked; empty: it can.
        threshold, power_scaler: of its load limiter, as it shows the one; None where they were not read.
    """

    serial: str
    output: OutputState | None = None
    control: ControlState | None = None
    control_mode: int | None = None
    payment_mode: int | None = None
    balance: int | None = None
    there: bool = False
    unfit: str = ""
    threshold: int | str | None = None
    power_scaler: int | None = None

    def reached(self, op: Operation) -> bool:
        """Whether the meter is where `op` would bring it."""
        return self.there or switched(op, self.output, self.control)


def switched(op: Operation, output: OutputState | None, control: ControlState | None) -> bool:
    """Whether a relay is where `op` would bring it. One that waits for its button is not disconnected."""
    if op is Operation.CONNECT:
        return output is OutputState.CONNECTED
    return (
        op is Operation.DISCONNECT
        and output is OutputState.DISCONNECTED
        and control is not ControlState.READY_FOR_RECONNECTION
    )


@dataclass(frozen=True, slots=True)
class Moment:
    """The time at which something is judged.

    Attributes:
        now_s: UTC seconds by the box's clock.
        clock: whether that is trusted.
        floor_s: no true time is before this.
        boot, boot_s: boot of the box, and seconds since that.
        heard: the meters' clocks could have spoken against the box's since its process began.
    """

    now_s: int
    clock: ClockState
    floor_s: int
    boot: str
    boot_s: int
    heard: bool

    @property
    def known_s(self) -> int | None:
        """`now_s` where it may be compared with the dates of documents; else None."""
        return self.now_s if self.clock.known else None


@dataclass(frozen=True, slots=True)
class Ledger:
    """What the store knows that bears on a command.

    Attributes:
        known: digest of the command that has this id already, or None.
        sequence: highest consumed of that meter's relay.
        debits: disconnects accepted in the last seven days, this command's own excepted.
        debited: whether this command's own debit is there.
        restraints: that hold for this meter now.
        leave: what permits say.
        cancels: (meter, state) of the command that a `cancel` names, or None.
        withdrawn: this very disconnect was taken back before it came.
        withdrawals: how many disconnects were, that have not come.
        safety_waits: a disconnect of this meter for safety was accepted and has not been dispatched.
        last_id: of the stream that a `resend` names, the last that was given.
        ranges: how many are waiting already to be published once more.
    """

    known: bytes | None
    sequence: RelaySequence
    debits: Collection[Debit]
    debited: bool
    restraints: Collection[Restraint]
    leave: Leave
    cancels: tuple[str, State] | None
    withdrawn: bool
    withdrawals: int
    safety_waits: bool
    last_id: int | None
    ranges: int


@dataclass(frozen=True, slots=True)
class Case:
    """One command and everything that is known at the moment of judging it.

    Attributes:
        command, claims: what is asked, typed and as signed.
        digest: SHA-256 of the payload.
        kids: keys that signed.
        trust: current.
        policy: in force now, or None.
        policy_fault: why there is none.
        kept: the policy that two people signed last, whatever its dates and keys say by now; None: there never was one.
            What spares the consumer is taken from it: it does not end with the leave to disconnect.
        dcu, jid: this box and its journal.
        moment: time.
        ledger: what the store knows.
        leases: that are good now.
        meter: as configured here, or None.
        set_aside: that meter answered as another one, or tells nonsense.
        meters: how many meters of the policy are commissioned here.
        zone: of the box, and of its meters' clocks.
        carried_out: operations that this program can carry out.
        evidence: None at acceptance.
        change_fault: why a `meter` cannot be carried out here; empty: it can.
    """

    command: Command
    claims: Mapping[str, Json]
    digest: bytes
    kids: tuple[str, ...]
    trust: TrustStore
    policy: Policy | None
    policy_fault: str
    dcu: str
    jid: str
    moment: Moment
    ledger: Ledger
    leases: Collection[str]
    meter: Meter | None
    set_aside: bool
    meters: int
    zone: tzinfo
    carried_out: Collection[Operation]
    evidence: Evidence | None = None
    change_fault: str = ""
    kept: Policy | None = None

    @property
    def profile(self) -> Profile:
        """Of authority, were it a disconnect: for lack of credit the area's by the policy, else the strict one."""
        area = self.policy.area_of(self.command.meter) if self.policy is not None else None
        return area.profile if self.command.why is Why.CREDIT and area is not None else Profile.ARREARS

    @property
    def column(self) -> Operation:
        """As what it is judged: a disconnect by another name is a disconnect.

        A command that names a lease was signed as a disconnect and is judged as one throughout; one that names none
        can pass as one neither when it comes nor when it is due.
        """
        command = self.command
        if command.op is Operation.MODE:
            return Operation.DISCONNECT
        if command.op is Operation.LIMIT:
            law = self.policy or self.kept
            floor_w = max(law.limit_floor_w, LEAST_LIMIT_W) if law is not None else None
            lowers = command.watts is None or floor_w is None or command.watts < floor_w
        elif command.op is Operation.BALANCE:
            held = self.evidence.balance if self.evidence is not None else None
            unseen = self.evidence is not None and held is None
            lowers = unseen or (held is not None and (command.balance is None or command.balance < held))
        else:
            return command.op
        return Operation.DISCONNECT if lowers or command.lease is not None else command.op
