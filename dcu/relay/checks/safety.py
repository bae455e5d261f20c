"""Checks 18 to 22: restraints, protected consumers, reasons and their evidence, hours, permits, caps. Pure."""

from collections.abc import Iterable
from typing import Final

from dcu.command import CommandRefused, Debit, Profile, Refusal, Why
from dcu.relay.case import Case, Moment
from dcu.relay.policy import SKEW_S, Policy, most_a_day, within_floor
from dcu.relay.policy.floor import (
    DAY_S,
    HOUR_S,
    LOW_CREDIT_MOST_S,
    NOTICE_MOST_S,
    NOTICE_S,
    WEEK_S,
    WITNESS_S,
)

PREPAID: Final = 1
"""Payment mode register 0.0.94.96.20: 0 post-paid, 1 prepaid (reference/is15959.md)."""


def check_frozen(case: Case) -> None:
    """18: no freeze holds, of the meter or of the box."""
    _check_restraint(case, "freeze", Refusal.E_FROZEN)


def check_locked(case: Case) -> None:
    """18: nobody at the pole has locked it."""
    _check_restraint(case, "lock", Refusal.E_LOCKED)


def _check_restraint(case: Case, kind: str, code: Refusal) -> None:
    for restraint in case.ledger.restraints:
        if restraint.kind == kind:
            raise CommandRefused(code, f"{kind} by {restraint.who}: {restraint.why}")


def check_carried_out(case: Case) -> None:
    """17: this program can do it; what it cannot finish it does not begin."""
    if case.command.op not in case.carried_out:
        raise CommandRefused(Refusal.E_POLICY, f"a {case.command.op.value} is not carried out here")


def check_policy(case: Case) -> None:
    """19: a policy is in force, and it is the one that the head-end signed under."""
    policy = _policy(case)
    if case.command.pol != policy.version:
        raise CommandRefused(Refusal.E_POLICY, f"signed under policy {case.command.pol}, here is {policy.version}")


def check_protected(case: Case) -> None:
    """19: the consumer is not one whom nobody may disconnect from afar."""
    shield = _policy(case).protected.get(case.command.meter)
    if shield is not None:
        raise CommandRefused(Refusal.E_PROTECTED, f"{shield.value} supply is not disconnected")


def check_area(case: Case) -> None:
    """20: configuration and policy name the same area, and so does the command where it names one."""
    _check_area(case, credit=case.command.why is Why.CREDIT)


def check_area_of_message(case: Case) -> None:
    """20: the same, of a credit message, which needs a policy in force; a general notice does not."""
    if case.command.why is Why.CREDIT:
        _check_area(case, credit=True)


def _check_area(case: Case, *, credit: bool) -> None:
    configured = case.meter.area if case.meter else None
    signed = _policy(case).meters.get(case.command.meter)
    named = case.command.area if credit or case.command.area is not None else signed
    if not named == configured == signed or signed is None:
        raise CommandRefused(
            Refusal.E_AREA, f"command says {case.command.area}, configuration {configured}, policy {signed}"
        )


def check_live(case: Case) -> None:
    """20, credit: prepaid is live where the meter stands, by the signed policy."""
    if case.command.why is not Why.CREDIT:
        return
    policy = _policy(case)
    area = policy.meters.get(case.command.meter, "")
    if not policy.live(area, case.moment.now_s):
        raise CommandRefused(Refusal.E_NOT_LIVE, f"prepaid is not live in {area}")


def check_prepaid(case: Case) -> None:
    """20, credit: the meter itself says that it is prepaid.

    One whose model the policy names as unable to say so need not; but where it does say something, that counts: the
    model is a word of the box's file or of a `meter` command, which make no post-paid consumer a prepaid one.
    """
    if case.command.why is not Why.CREDIT:
        return
    said = case.evidence.payment_mode if case.evidence is not None else None
    unable = case.meter is not None and case.meter.model.name in _policy(case).no_payment_mode_register
    if said != PREPAID and not (unable and said is None):
        raise CommandRefused(Refusal.E_NOT_PREPAID, "the meter's own payment mode does not say prepaid")


def check_notice(case: Case) -> None:
    """20: the evidence of its reason: notice and case, or message, ledger entry and the witness's own reading."""
    command, now_s = case.command, case.moment.now_s
    if command.why is None:
        raise CommandRefused(Refusal.E_NOTICE, "names no reason")
    if case.profile is Profile.PREPAID:
        if command.low_credit_at is None or command.ledger is None or command.low_credit_at > now_s:
            raise CommandRefused(Refusal.E_NOTICE, "no message of low credit, or no entry of the ledger")
        if command.low_credit_at < max(now_s - LOW_CREDIT_MOST_S, _policy(case).live_since_s(command.meter)):
            days = LOW_CREDIT_MOST_S // DAY_S
            raise CommandRefused(
                Refusal.E_NOTICE, f"told of low credit more than {days} days ago, or before prepaid was live"
            )
        if command.ledger_at is None or not now_s - WITNESS_S <= command.ledger_at <= now_s + SKEW_S:
            raise CommandRefused(Refusal.E_NOTICE, f"the witness read the ledger more than {WITNESS_S} s ago")
    elif command.why is not Why.SAFETY and command.case is None:
        raise CommandRefused(Refusal.E_NOTICE, "no case")
    elif command.why in {Why.ARREARS, Why.CREDIT} and (
        command.notice is None or not now_s - NOTICE_MOST_S <= command.notice <= now_s - NOTICE_S
    ):
        days, most = NOTICE_S // DAY_S, NOTICE_MOST_S // DAY_S
        raise CommandRefused(Refusal.E_NOTICE, f"no written notice that is {days} to {most} days old")


def check_grace(case: Case) -> None:
    """20, credit: grace is over, and emergency credit used up."""
    if case.command.why is not Why.CREDIT:
        return
    policy, now_s = _policy(case), case.moment.now_s
    if now_s < policy.grace_until_s(case.command.meter):
        raise CommandRefused(Refusal.E_GRACE, "its grace is not over")
    told_s = case.command.low_credit_at
    if policy.emergency_h and (told_s is None or now_s < told_s + policy.emergency_h * HOUR_S):
        raise CommandRefused(Refusal.E_GRACE, f"{policy.emergency_h} h of emergency credit are not over")


def check_window(case: Case) -> None:
    """21: within the hours of the policy and of this program, and no closed day.

    The hours of this program hold in the policy's timezone and in the box's own: a slip in the policy's moves no night.
    """
    allowed, local = _policy(case).open_at(case.moment.now_s)
    if not allowed:
        raise CommandRefused(Refusal.E_WINDOW, f"nobody is disconnected now, {local}")
    if not within_floor(case.zone, case.moment.now_s):
        raise CommandRefused(Refusal.E_WINDOW, f"nobody is disconnected now: it is {local}, but night by {case.zone}")


def check_permit(case: Case) -> None:
    """22: a permit for this box, profile and day, signed by nobody who signed the command, and not used up."""
    leave = case.ledger.leave
    permit = leave.permit
    if permit is None or permit.id != case.command.permit:
        raise CommandRefused(Refusal.E_PERMIT, f"permit {case.command.permit}: {leave.fault}")
    today = _policy(case).date_at(case.moment.now_s)
    if permit.profile is not case.profile or permit.date != today:
        told = permit.profile.value if permit.profile else "the whole city"
        raise CommandRefused(Refusal.E_PERMIT, f"permit {permit.id} is of {permit.date} and {told}; today is {today}")
    commanding = [case.trust.keys[kid] for kid in case.kids]
    if not all(signer.independent_of(key) for signer in leave.signers for key in commanding):
        raise CommandRefused(Refusal.E_PERMIT, "who signs a command does not permit it")
    if leave.used >= permit.max_n:
        raise CommandRefused(Refusal.E_PERMIT, f"permit {permit.id} is used up: {leave.used} of {permit.max_n}")
    if leave.total is not None and leave.total_used >= leave.total:
        raise CommandRefused(
            Refusal.E_PERMIT, f"the total {permit.of} is used up: {leave.total_used} of {leave.total} on this box alone"
        )


def check_caps(case: Case) -> None:
    """22: not too many in the hour, the day and the week, by the policy; and in the day, by this program."""
    floor = most_a_day(case.meters)
    if (n := _within(case.ledger.debits, case.moment, DAY_S)) >= floor:
        raise CommandRefused(Refusal.E_CAP, f"{n} in 24 hours; {floor} are the most for {case.meters} meters")
    caps = _policy(case).caps[case.profile]
    mine = [debit for debit in case.ledger.debits if debit.profile is case.profile]
    for words, window_s, most in (("hour", HOUR_S, caps.hour), ("day", DAY_S, caps.day), ("week", WEEK_S, caps.week)):
        if (n := _within(mine, case.moment, window_s)) >= most:
            raise CommandRefused(Refusal.E_CAP, f"{n} in the {words}; the policy allows {most}")


def check_spacing(case: Case) -> None:
    """22: long enough after the last one that was sent."""
    spacing_s = _policy(case).caps[case.profile].spacing_s
    left_s = spacing_left_s(case.ledger.debits, case.moment, spacing_s)
    if left_s > 0:
        raise CommandRefused(Refusal.E_CAP, f"{left_s} s too close behind the last one")


def check_debit(case: Case) -> None:
    """22: what is about to be sent was counted when it was accepted."""
    if not case.ledger.debited:
        raise CommandRefused(Refusal.E_CAP, "it was not accepted as a disconnect")


def spacing_left_s(debits: Iterable[Debit], moment: Moment, spacing_s: int) -> int:
    """Seconds until the next disconnect may be sent; 0: now. Time since the boot counts, where it is the same boot."""
    left_s = 0
    for debit in debits:
        if debit.sent_at_s is None or debit.sent_boot_s is None:
            continue
        same = debit.boot == moment.boot
        since_s = moment.boot_s - debit.sent_boot_s if same else abs(moment.now_s - debit.sent_at_s)
        left_s = max(left_s, spacing_s - since_s)
    return left_s


def _within(debits: Iterable[Debit], moment: Moment, window_s: int) -> int:
    """Debits of a window that ends now, by the box's clock or by its uptime: no step of the clock empties it."""
    return sum(
        moment.now_s - debit.at_s < window_s or (debit.boot == moment.boot and moment.boot_s - debit.boot_s < window_s)
        for debit in debits
    )


def _policy(case: Case) -> Policy:
    if case.policy is None:
        raise CommandRefused(Refusal.E_POLICY, case.policy_fault)
    return case.policy
