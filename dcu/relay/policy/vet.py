"""Whether a policy may come into force, and whether the one that is held still holds. Pure.

Two documents are held. The `base` was signed by two independent people. A `narrowed` one above it may be signed by one:
it holds only while it permits nothing that the base does not. With a base or a narrowing that does not hold any more
(expired, key revoked, damaged) nothing may be disconnected. Source: reference/command-authority.md 0 item 6.
"""

from collections.abc import Collection, Mapping
from itertools import combinations
from typing import Final

from dcu.command import CommandRefused, Refusal
from dcu.relay.envelope import POLICY, Opened, claims_of, open_envelope, payload_of
from dcu.relay.policy.comparison import compare
from dcu.relay.policy.document import Policy, read_policy
from dcu.relay.public_key import PublicKey, Role

SKEW_S: Final = 60
"""How far another's clock may be ahead of ours."""

STEP: Final = 1000
"""How far a version may be above the last one: one key alone must not use all versions up."""


def vet_policy(
    opened: Opened,
    keys: Mapping[str, PublicKey],
    issuer: str,
    dcu: str,
    now_s: int | None,
    *,
    above: int | None,
    two: bool = False,
) -> Policy:
    """The policy of a verified envelope, if its own words do not forbid it here and now.

    Args:
        opened: the envelope, verified on current trust.
        keys: current trust.
        issuer: whose policies are obeyed.
        dcu: this box.
        now_s: UTC seconds; None: nobody knows, and no date is judged.
        above: the version must be higher than this; None: it was taken already.
        two: whether two independent people must have signed it.

    Raises:
        CommandRefused: E_SCHEMA, E_POLICY, E_TARGET, E_QUORUM, E_KEY, E_EARLY, E_EXPIRED, E_VERSION.
    """
    policy = read_policy(opened.claims)
    if policy.iss != issuer or policy.dcu != dcu:
        raise CommandRefused(Refusal.E_TARGET, f"for {policy.dcu} of {policy.iss}; here is {dcu} of {issuer}")
    _check_voices([keys[kid] for kid in opened.kids], now_s, two=two)
    if now_s is not None and max(policy.iat, policy.nbf) > now_s + SKEW_S:
        raise CommandRefused(Refusal.E_EARLY, "the policy is not in force yet")
    if now_s is not None and now_s >= policy.exp:
        raise CommandRefused(Refusal.E_EXPIRED, "the policy has expired")
    if above is not None and not above < policy.version <= above + STEP:
        raise CommandRefused(Refusal.E_VERSION, f"version {policy.version} is not 1 to {STEP} above {above}")
    return policy


def two_independent(keys: Collection[PublicKey]) -> bool:
    """Whether two of the keys have nobody in common."""
    return any(a.independent_of(b) for a, b in combinations(keys, 2))


def policy_in_force(
    base: bytes | None,
    narrowed: bytes | None,
    keys: Mapping[str, PublicKey],
    issuer: str,
    dcu: str,
    now_s: int,
) -> Policy:
    """The policy that holds, verified again on current trust and time.

    Args:
        base: envelope that two signed, or None.
        narrowed: envelope above it, or None.
        keys: current trust.
        issuer: whose policies are obeyed.
        dcu: this box.
        now_s: UTC seconds.

    Raises:
        CommandRefused: E_POLICY: there is none that holds.
    """
    if base is None:
        raise CommandRefused(Refusal.E_POLICY, "no policy: nothing may be disconnected")
    try:
        policy = _held(base, keys, issuer, dcu, now_s, two=True)
        if narrowed is None:
            return policy
        stricter = _held(narrowed, keys, issuer, dcu, now_s, two=False)
    except CommandRefused as fault:
        raise CommandRefused(Refusal.E_POLICY, f"the policy does not hold now: {fault}") from None
    if stricter.version <= policy.version or compare(policy, stricter).widens:
        raise CommandRefused(Refusal.E_POLICY, f"policy {stricter.version} is no narrowing of {policy.version}")
    return stricter


def policy_kept(base: bytes | None) -> Policy | None:
    """The policy that two people signed and this box took, whatever its dates and its keys say by now; None: none.

    It permits nothing. What it spares consumers goes on: the button of an arming area, the floor of load limits.
    """
    if base is None:
        return None
    try:
        return read_policy(claims_of(payload_of(base)))
    except CommandRefused:  # damaged
        return None


def _held(envelope: bytes, keys: Mapping[str, PublicKey], issuer: str, dcu: str, now_s: int, *, two: bool) -> Policy:
    opened = open_envelope(envelope, keys, now_s, {POLICY})
    return vet_policy(opened, keys, issuer, dcu, now_s, above=None, two=two)


def _check_voices(signing: Collection[PublicKey], now_s: int | None, *, two: bool) -> None:
    """Every key in its role and its dates, and as many independent people as are needed."""
    if now_s is not None and not all(key.nbf <= now_s < key.exp for key in signing):
        raise CommandRefused(Refusal.E_KEY, "a key that signed the policy is not valid at this time")
    if not signing or not all(Role.POLICY in key.roles for key in signing):
        raise CommandRefused(Refusal.E_QUORUM, "a policy is signed by people with the role policy alone")
    if two and not two_independent(signing):
        raise CommandRefused(Refusal.E_QUORUM, "a policy that permits more is signed by two people")
