"""The check table: which check applies to which operation, when it is accepted and again when it is due. Pure.

`TABLE` is the code: `check_all` walks it from top to bottom and stops at the first refusal. Every cell is written
out; no check applies or is skipped by silence. Numbers and codes are those of reference/command-authority.md 8.
Checks 1 to 8 are the envelope's (`gate`, `envelope`), 9 is `schema`; 23 and 26 to 28 are the journal's transactions
(`docket`). Not built yet, and therefore refused wherever a document names them: 13, 15, 18, 19, 21, 22, 24.

"When due" means: the bus has opened the association, read the serial and the relay's state, and is about to send.
Trust, policy, meters and time are those of that moment.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Final

from dcu.command import CommandRefused, Operation, Refusal, Why
from dcu.reading import ClockState
from dcu.relay.case import Case
from dcu.relay.policy import SKEW_S
from dcu.relay.public_key import Role
from dcu.relay.schema import UNBUILT

LONGEST_LIFE_S: Final = 4 * 3600
PREPAID: Final = 1
"""Payment mode register 0.0.94.96.20: 0 post-paid, 1 prepaid (reference/is15959.md)."""


class When(Enum):
    """At which of the two judgements a check is made."""

    NEVER = "never"
    ACCEPTED = "accepted"
    DUE = "due"
    BOTH = "both"


@dataclass(frozen=True, slots=True)
class Check:
    """One row of the table.

    Attributes:
        number: of command-authority.md 8.
        name: for people.
        codes: every refusal that the rule can raise.
        rule: raises CommandRefused, or says nothing.
        connect, disconnect, message: when it is made for each operation.
    """

    number: int
    name: str
    codes: tuple[Refusal, ...]
    rule: Callable[[Case], None]
    connect: When
    disconnect: When
    message: When

    def when(self, op: Operation) -> When:
        """The cell of that operation."""
        return {
            Operation.CONNECT: self.connect,
            Operation.DISCONNECT: self.disconnect,
            Operation.MESSAGE: self.message,
        }[op]


def check_all(case: Case, table: tuple["Check", ...] | None = None) -> None:
    """Walk the table.

    Raises:
        CommandRefused: with the code of the first check that failed.
    """
    stage = When.ACCEPTED if case.evidence is None else When.DUE
    for check in TABLE if table is None else table:
        if check.when(case.command.op) in {stage, When.BOTH}:
            check.rule(case)


def check_keys(case: Case) -> None:
    """7: every key that signed is still known, not revoked, and within its dates by a clock that is trusted enough."""
    dated = case.command.op is not Operation.CONNECT or case.clock is ClockState.TRUSTED
    for kid in case.kids:
        key = case.trust.keys.get(kid)
        if key is None:
            raise CommandRefused(Refusal.E_KID, f"{kid} is not known any more")
        if key.revoked or (dated and not key.nbf <= case.now_s < key.exp):
            raise CommandRefused(Refusal.E_KEY, f"{kid} is revoked, or not valid at this time")


def check_target(case: Case) -> None:
    """10: for this box, from its head-end."""
    command = case.command
    if command.dcu != case.dcu or command.iss != case.trust.issuer:
        raise CommandRefused(Refusal.E_TARGET, f"for {command.dcu} of {command.iss}, here is {case.dcu}")


def check_journal(case: Case) -> None:
    """10: signed for this very journal: a wiped or restored card makes all older commands void."""
    if case.command.jid != case.jid:
        raise CommandRefused(Refusal.E_JID, f"signed for journal {case.command.jid}, here is {case.jid}")


def check_id(case: Case) -> None:
    """11: one id, one command; the very same command again has been answered before it comes here."""
    if case.known is not None and case.known != case.digest:
        raise CommandRefused(Refusal.E_ID_REUSE, f"{case.command.cmd_id} was another command")


def check_one_voice(case: Case) -> None:
    """12: one key that may request or approve; nobody without such a role signs along."""
    _check_roles(case)


def check_two_persons(case: Case) -> None:
    """12: one person requests, another one approves."""
    _check_roles(case)
    keys = [case.trust.keys[kid] for kid in case.kids]
    requested = {key.person for key in keys if Role.REQUEST in key.roles}
    approved = {key.person for key in keys if Role.APPROVE in key.roles}
    if not any(a != b for a in requested for b in approved):
        raise CommandRefused(Refusal.E_QUORUM, "one person requests and another one approves")


def _check_roles(case: Case) -> None:
    keys = [case.trust.keys[kid] for kid in case.kids]
    if not keys or not all(key.roles & {Role.REQUEST, Role.APPROVE} for key in keys):
        raise CommandRefused(Refusal.E_QUORUM, "signed by a key that may neither request nor approve")


def check_life(case: Case) -> None:
    """14: no command lives longer than four hours."""
    life = case.command.exp - case.command.iat
    if not 0 < life <= LONGEST_LIFE_S:
        raise CommandRefused(Refusal.E_TTL, f"lives {life} s; more than 0 and at most {LONGEST_LIFE_S} is allowed")


def check_time(case: Case) -> None:
    """14: begun and not over, by the box's clock as it is."""
    begins = max(case.command.iat, case.command.nbf or 0)
    if begins > case.now_s + SKEW_S:
        raise CommandRefused(Refusal.E_EARLY, f"begins {begins - case.now_s} s from now")
    if case.now_s >= case.command.exp:
        raise CommandRefused(Refusal.E_EXPIRED, f"expired {case.now_s - case.command.exp} s ago")
    _check_floor(case)


def check_time_of_connect(case: Case) -> None:
    """14, for what gives light: where the clock is not trusted, only what is certainly over is refused."""
    if case.clock is ClockState.TRUSTED:
        check_time(case)
    else:
        _check_floor(case)


def _check_floor(case: Case) -> None:
    """Whatever the clock says: no true time is before the floor, so what ended before it is over."""
    if case.command.exp <= case.floor_s:
        raise CommandRefused(Refusal.E_EXPIRED, "expired before this program was written")


def check_sequence_of_disconnect(case: Case) -> None:
    """16: above every relay operation of that meter; when due, nothing later has been accepted meanwhile."""
    _check_sequence(case, case.sequence.any)


def check_sequence_of_connect(case: Case) -> None:
    """16: above the last disconnect of that meter; when due, no later cut has been accepted meanwhile."""
    _check_sequence(case, case.sequence.disconnect)


def _check_sequence(case: Case, highest: int) -> None:
    own = 0 if case.evidence is None else 1  # its own number was consumed when it was accepted
    seq = case.command.seq
    if seq is None or seq + own <= highest:
        raise CommandRefused(Refusal.E_SEQ, f"seq {seq} is not above {highest}")


def check_meter(case: Case) -> None:
    """17: commissioned here, and not set aside."""
    if case.meter is None or case.meter.serial != case.command.meter:
        raise CommandRefused(Refusal.E_METER, f"no meter {case.command.meter} here")
    if case.set_aside:
        raise CommandRefused(Refusal.E_METER, f"{case.command.meter} is set aside: it is not what it was")


def check_identity(case: Case) -> None:
    """17: the meter that answers is the one that is meant."""
    if case.evidence is None or case.evidence.serial != case.command.meter:
        raise CommandRefused(Refusal.E_METER, "another meter answers")


def check_relay(case: Case) -> None:
    """17: it has a relay that can be read and that obeys from afar (control mode 0 never moves)."""
    if case.evidence is None or case.evidence.output is None or case.evidence.control_mode == 0:
        raise CommandRefused(Refusal.E_METER, "its relay cannot be read, or does not obey from afar")


def check_built(case: Case) -> None:
    """20: a command that names a rule which this program does not enforce is refused, never taken without it."""
    if unbuilt := UNBUILT & case.claims.keys():
        raise CommandRefused(Refusal.E_POLICY, f"names rules that are not built: {', '.join(sorted(unbuilt))}")


def check_virtual(case: Case) -> None:
    """20: until command authority is complete, only virtual meters are disconnected."""
    if case.meter is None or not case.meter.sim:
        raise CommandRefused(Refusal.E_POLICY, "until command authority is complete only virtual meters are cut")


def check_why_of_disconnect(case: Case) -> None:
    """20: the rules of notice, arrears and safety are not built, so only credit is a reason."""
    if case.command.why is not Why.CREDIT:
        raise CommandRefused(Refusal.E_POLICY, "the rules for that reason are not built")


def check_why_of_message(case: Case) -> None:
    """20: credit has its rule, a general notice needs none, the others are not built."""
    if case.command.why not in {Why.CREDIT, Why.REQUEST}:
        raise CommandRefused(Refusal.E_POLICY, "the rules for that reason are not built")


def check_policy(case: Case) -> None:
    """20: a policy is in force, and it is the one that the head-end signed under."""
    if case.policy is None:
        raise CommandRefused(Refusal.E_POLICY, case.policy_fault)
    if case.command.pol is not None and case.command.pol != case.policy.version:
        raise CommandRefused(Refusal.E_POLICY, f"signed under policy {case.command.pol}, here is {case.policy.version}")


def check_policy_of_message(case: Case) -> None:
    """20: a credit message needs a policy in force; a general notice does not."""
    if case.command.why is Why.CREDIT:
        check_policy(case)


def check_area(case: Case) -> None:
    """20, credit: command, configuration and policy name the same area."""
    if case.command.why is not Why.CREDIT:
        return
    configured = case.meter.area if case.meter else None
    signed = case.policy.meters.get(case.command.meter) if case.policy else None
    if not case.command.area == configured == signed:
        raise CommandRefused(
            Refusal.E_AREA, f"command says {case.command.area}, configuration {configured}, policy {signed}"
        )


def check_live(case: Case) -> None:
    """20, credit: prepaid is live where the meter stands, by the signed policy."""
    if case.command.why is not Why.CREDIT:
        return
    area = case.policy.meters.get(case.command.meter, "") if case.policy else ""
    if case.policy is None or not case.policy.live(area, case.now_s):
        raise CommandRefused(Refusal.E_NOT_LIVE, f"prepaid is not live in {area}")


def check_prepaid(case: Case) -> None:
    """20, credit: the meter itself says that it is prepaid, unless the policy names its model as unable to say."""
    unable = case.policy.no_payment_mode_register if case.policy else frozenset()
    exempt = case.meter is not None and case.meter.model.name in unable
    if not exempt and (case.evidence is None or case.evidence.payment_mode != PREPAID):
        raise CommandRefused(Refusal.E_NOT_PREPAID, "the meter's own payment mode does not say prepaid")


def check_state(case: Case) -> None:
    """25: the relay is where the head-end believes it to be."""
    if case.command.expect is not None and (case.evidence is None or case.evidence.output is not case.command.expect):
        raise CommandRefused(Refusal.E_STATE, f"the relay is not {case.command.expect.value}")


UNCONSUMED: Final = frozenset(
    {
        Refusal.E_SCHEMA,
        Refusal.E_KID,
        Refusal.E_KEY,
        Refusal.E_TARGET,
        Refusal.E_JID,
        Refusal.E_ID_REUSE,
        Refusal.E_QUORUM,
    }
)
"""Refusals up to the quorum: they leave the id free, so that one stolen key cannot use up the ids of others."""

_NO, _BOTH, _DUE = When.NEVER, When.BOTH, When.DUE
_R = Refusal

TABLE: Final[tuple[Check, ...]] = (
    #     number, name, codes, rule,                                                     connect  disconnect  message
    Check(7, "keys", (_R.E_KID, _R.E_KEY), check_keys, _BOTH, _BOTH, _BOTH),
    Check(10, "target", (_R.E_TARGET,), check_target, _BOTH, _BOTH, _BOTH),
    Check(10, "journal", (_R.E_JID,), check_journal, _BOTH, _BOTH, _BOTH),
    Check(11, "id", (_R.E_ID_REUSE,), check_id, When.ACCEPTED, When.ACCEPTED, When.ACCEPTED),
    Check(12, "one voice", (_R.E_QUORUM,), check_one_voice, _BOTH, _NO, _BOTH),
    Check(12, "two persons", (_R.E_QUORUM,), check_two_persons, _NO, _BOTH, _NO),
    Check(14, "life", (_R.E_TTL,), check_life, _BOTH, _BOTH, _BOTH),
    Check(14, "time", (_R.E_EARLY, _R.E_EXPIRED), check_time, _NO, _BOTH, _BOTH),
    Check(14, "time of connect", (_R.E_EARLY, _R.E_EXPIRED), check_time_of_connect, _BOTH, _NO, _NO),
    Check(16, "sequence", (_R.E_SEQ,), check_sequence_of_disconnect, _NO, _BOTH, _NO),
    Check(16, "sequence of connect", (_R.E_SEQ,), check_sequence_of_connect, _BOTH, _NO, _NO),
    Check(17, "meter", (_R.E_METER,), check_meter, _BOTH, _BOTH, _BOTH),
    Check(17, "identity", (_R.E_METER,), check_identity, _DUE, _DUE, _DUE),
    Check(17, "relay", (_R.E_METER,), check_relay, _DUE, _DUE, _NO),
    Check(20, "built", (_R.E_POLICY,), check_built, _BOTH, _BOTH, _BOTH),
    Check(20, "virtual", (_R.E_POLICY,), check_virtual, _NO, _BOTH, _NO),
    Check(20, "reason", (_R.E_POLICY,), check_why_of_disconnect, _NO, _BOTH, _NO),
    Check(20, "reason of message", (_R.E_POLICY,), check_why_of_message, _NO, _NO, _BOTH),
    Check(20, "policy", (_R.E_POLICY,), check_policy, _NO, _BOTH, _NO),
    Check(20, "policy of message", (_R.E_POLICY,), check_policy_of_message, _NO, _NO, _BOTH),
    Check(20, "area", (_R.E_AREA,), check_area, _NO, _BOTH, _BOTH),
    Check(20, "live", (_R.E_NOT_LIVE,), check_live, _NO, _BOTH, _BOTH),
    Check(20, "prepaid", (_R.E_NOT_PREPAID,), check_prepaid, _NO, _DUE, _NO),
    Check(25, "state", (_R.E_STATE,), check_state, _DUE, _DUE, _NO),
)
