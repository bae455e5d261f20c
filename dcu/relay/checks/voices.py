"""Checks 7 to 12: whose keys signed, for which box, and whether they are those who may. Pure."""

from collections.abc import Collection
from typing import Final

from dcu.command import CommandRefused, Profile, Refusal
from dcu.relay.case import Case
from dcu.relay.policy import two_independent
from dcu.relay.public_key import PublicKey, Role

OPERATORS: Final = frozenset({Role.REQUEST, Role.APPROVE})
ASKING: Final = OPERATORS | {Role.BILLING}
RESTRAINING: Final = ASKING | {Role.WITNESS, Role.POLICY, Role.PERMIT}


def check_keys(case: Case) -> None:
    """7: every key that signed is still known and not revoked."""
    for kid in case.kids:
        key = case.trust.keys.get(kid)
        if key is None:
            raise CommandRefused(Refusal.E_KID, f"{kid} is not known any more")
        if key.revoked:
            raise CommandRefused(Refusal.E_KEY, f"{kid} is revoked")


def check_dates_of_keys(case: Case) -> None:
    """7: every key is within its dates, by a clock that may be compared with; else none that has surely ended."""
    now_s, floor_s = case.moment.known_s, case.moment.floor_s
    for key in _keys(case):
        if key.exp <= floor_s:
            raise CommandRefused(Refusal.E_KEY, f"{key.kid} ended before any time that this box can be in")
        if now_s is not None and not key.nbf <= now_s < key.exp:
            raise CommandRefused(Refusal.E_KEY, f"{key.kid} is not valid at this time")


def check_key_document(case: Case) -> None:
    """7: the key document has not run out: who it named may not be those who may today."""
    if case.moment.now_s >= case.trust.exp:
        raise CommandRefused(Refusal.E_KEY, f"key document {case.trust.version} has expired")


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
    if case.ledger.known is not None and case.ledger.known != case.digest:
        raise CommandRefused(Refusal.E_ID_REUSE, f"{case.command.cmd_id} was another command")


def check_restrainer(case: Case) -> None:
    """12: whoever has a say may take back and stop."""
    _check_roles(case, RESTRAINING)


def check_asker(case: Case) -> None:
    """12: one key that may request or approve, or the billing system's."""
    _check_roles(case, ASKING)


def check_billing(case: Case) -> None:
    """12: money comes from the billing system."""
    _check_roles(case, frozenset({Role.BILLING}))


def check_two_persons(case: Case) -> None:
    """12: one person requests, another one approves."""
    _check_pair(case, Role.REQUEST, Role.APPROVE)


def check_after_safety(case: Case) -> None:
    """12: what was cut for safety, or is about to be, is connected again by two people."""
    if case.ledger.sequence.safety or case.ledger.safety_waits:
        _check_pair(case, Role.REQUEST, Role.APPROVE)


def check_profile_quorum(case: Case) -> None:
    """12: by profile: requester and approver, or billing and the wallets' witness under separate administrators."""
    if case.profile is Profile.PREPAID:
        _check_pair(case, Role.BILLING, Role.WITNESS)
    else:
        _check_pair(case, Role.REQUEST, Role.APPROVE)


def _check_pair(case: Case, first: Role, second: Role) -> None:
    _check_roles(case, frozenset({first, second}))
    keys = _keys(case)
    pairs = [(a, b) for a in keys for b in keys if first in a.roles and second in b.roles]
    if not any(two_independent(pair) for pair in pairs):
        raise CommandRefused(
            Refusal.E_QUORUM, f"{first.value} and {second.value} are signed by two who have nobody in common"
        )


def _check_roles(case: Case, roles: Collection[Role]) -> None:
    keys = _keys(case)
    if not keys or not all(key.roles & set(roles) for key in keys):
        wanted = " or ".join(sorted(role.value for role in roles))
        raise CommandRefused(Refusal.E_QUORUM, f"signed by nobody, or by a key whose role is not {wanted}")


def _keys(case: Case) -> list[PublicKey]:
    return [case.trust.keys[kid] for kid in case.kids]
