"""Commands as values: the payload of a `dcu-cmd+jws`, and what the journal keeps of one.

Source: reference/command-authority.md 0 and 11; the members of each operation are in `dcu.relay.schema`.
"""

from dataclasses import dataclass

from dcu.command.life import State
from dcu.command.operation import Change, Operation, OutputState, Profile, Why


@dataclass(frozen=True, slots=True)
class Command:
    """The payload of a command, schema v1, after all its checks of form. Times are UTC seconds.

    Attributes:
        cmd_id: unique with `iss`.
        op: what is asked.
        iss: name of the head-end that signed.
        dcu: the box it is for.
        jid: journal (store epoch) it is for.
        meter: serial; empty where the operation names none (`resend`; a `freeze` of the whole box).
        seq: of the relay operations of that meter; None where it names none.
        iat, nbf, exp: issued, not before (None: at once), expires.
        why: reason, where the operation needs one.
        area: area that the head-end believes the meter to be in.
        expect: output state that the head-end believes the relay to be in; None: any.
        pol: version of the policy that the head-end signed under.
        lease: that the box gave out.
        permit: id of the permit that it is debited to.
        case, notice: evidence of the profile `arrears`: file of the case, when the written notice was served.
        low_credit_at, ledger, ledger_at: evidence of the profile `prepaid`: when the consumer was told of the low
            credit, the ledger's entry, when the witness read that ledger itself.
        text: of a message, at most 64 printable ASCII characters.
        cancels: command id that a `cancel` takes back.
        profile, since, until: of a `read`: logical name as `1.0.99.1.0.255`, bounds by the meter's clock.
        attribute: of a `read` of one attribute: `CLASS:LOGICAL.NAME/ATTRIBUTE`, as `3:1.0.12.7.0.255/2`.
        stream, first, last: of a `resend`.
        most_s: of a `clock-set`: the clock is left alone when it is further away than this.
        recharge, recharged_at, balance: of a `balance`, in the unit of the meter's money registers.
        watts: of a `limit`.
        payment_mode, control_mode: of a `mode`: the new value.
        change, old, bus, address, model, secrets, host, port: of a `meter`.
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
    lease: str | None = None
    permit: str | None = None
    case: str | None = None
    notice: int | None = None
    low_credit_at: int | None = None
    ledger: str | None = None
    ledger_at: int | None = None
    text: str | None = None
    cancels: str | None = None
    profile: str | None = None
    since: int | None = None
    until: int | None = None
    attribute: str | None = None
    stream: str | None = None
    first: int | None = None
    last: int | None = None
    most_s: int | None = None
    recharge: int | None = None
    recharged_at: int | None = None
    balance: int | None = None
    watts: int | None = None
    payment_mode: int | None = None
    control_mode: int | None = None
    change: Change | None = None
    old: str | None = None
    bus: str | None = None
    address: int | None = None
    model: str | None = None
    secrets: str | None = None
    host: str | None = None
    port: int | None = None


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
    """Highest sequence numbers consumed for one meter's relay, over all issuers; 0 where none was.

    Attributes:
        any: of any relay operation.
        disconnect: of what was judged as a disconnect.
        safety: of a disconnect for safety that was dispatched, and that no two people have ended since.
    """

    any: int = 0
    disconnect: int = 0
    safety: int = 0


@dataclass(frozen=True, slots=True)
class Debit:
    """One disconnect that was accepted, as the caps count it. It is never taken back.

    Attributes:
        iss, cmd_id: whose it is.
        profile: of authority.
        permit: what it was debited to.
        at_s: UTC seconds by the box's clock.
        boot, boot_s: boot of the box, and seconds since that.
        sent_at_s, sent_boot_s: the same when it was dispatched, in the same boot; None before.
        total: the city's permit that `permit` is a share of; empty: of none.
    """

    iss: str
    cmd_id: str
    profile: Profile
    permit: str
    at_s: int
    boot: str
    boot_s: int
    sent_at_s: int | None = None
    sent_boot_s: int | None = None
    total: str = ""


@dataclass(frozen=True, slots=True)
class Restraint:
    """Something that forbids, until it lapses: a freeze by the head-end, or a lock by somebody at the pole.

    Attributes:
        kind: "freeze" or "lock".
        meter: serial; empty: all meters of the box.
        who, why: in words, for people.
        seconds: how long it lasts.
        until_s: UTC seconds; None: its time begins to count when the box knows what time it is.
        boot, boot_s: its time has been counted since that second of that boot of the box; an empty boot: by no uptime.
    """

    kind: str
    meter: str
    who: str
    why: str
    seconds: int
    until_s: int | None
    boot: str = ""
    boot_s: int = 0
