"""The box's own policy: what a valid signature cannot override. Signed, versioned, dated, bound to this box. Pure.

    {"v":1, "typ":"policy", "iss":"hes.ranchi", "dcu":"JH-RNC-0042", "version":7, "iat":.., "nbf":.., "exp":..,
     "areas":{"JH-RNC":{"prepaid_live":true, "since":1790000000}}, "meters":{"GXT20931188":"JH-RNC"},
     "no_payment_mode_register":["some-model"]}

- Two distinct persons with the role `policy` sign it, always.
- The version only goes up.
- A member that is not above names a rule that this program does not enforce: E_POLICY, never ignored.
- None, expired, unreadable, or signed by a key that is no longer good: nothing may be disconnected.

Source: reference/command-authority.md 0 items 5 and 6, 8 (checks 9 to 14 as they apply to a policy).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from dcu.command import CommandRefused, Refusal
from dcu.relay.canonical import Json
from dcu.relay.envelope import IDENTIFIER, POLICY, Opened, open_envelope
from dcu.relay.public_key import PublicKey, Role

SKEW_S: Final = 60
"""How far another's clock may be ahead of ours."""

_MEMBERS: Final = {
    "v", "typ", "iss", "dcu", "version", "iat", "nbf", "exp", "areas", "meters", "no_payment_mode_register",
}  # fmt: skip
_AREA_MEMBERS: Final = {"prepaid_live", "since"}


@dataclass(frozen=True, slots=True)
class Area:
    """What holds in one area: whether prepaid is live, and since when (UTC seconds)."""

    prepaid_live: bool
    since: int


@dataclass(frozen=True, slots=True)
class Policy:
    """A policy after its checks of form. Times are UTC seconds.

    Attributes:
        iss, dcu: whose it is, and for which box.
        version: only goes up.
        iat, nbf, exp: issued, in force from, in force until.
        areas: by name.
        meters: area by serial.
        no_payment_mode_register: models of meter whose payment mode cannot be read.
    """

    iss: str
    dcu: str
    version: int
    iat: int
    nbf: int
    exp: int
    areas: Mapping[str, Area]
    meters: Mapping[str, str]
    no_payment_mode_register: frozenset[str]

    def live(self, area: str, now_s: int) -> bool:
        """Whether prepaid is live in `area` at that time."""
        found = self.areas.get(area)
        return found is not None and found.prepaid_live and found.since <= now_s


def read_policy(claims: Mapping[str, Json]) -> Policy:
    """The policy that the claims spell.

    Raises:
        CommandRefused: E_POLICY: it names a rule that is not built; E_SCHEMA: anything else that is wrong.
    """
    _known(claims, _MEMBERS)
    if claims["v"] != 1 or claims["v"] is True or claims["typ"] != "policy":
        raise CommandRefused(Refusal.E_SCHEMA, "not a policy of version 1")
    areas = {name: _area(name, area) for name, area in _object(claims["areas"], "areas").items()}
    meters = {serial: _name(area, "area") for serial, area in _object(claims["meters"], "meters").items()}
    if not areas.keys() >= set(meters.values()):
        raise CommandRefused(Refusal.E_SCHEMA, "a meter stands in an area that the policy does not describe")
    models = claims["no_payment_mode_register"]
    if not isinstance(models, list):
        raise CommandRefused(Refusal.E_SCHEMA, "no_payment_mode_register is not a list")
    return Policy(
        _name(claims["iss"], "iss"),
        _name(claims["dcu"], "dcu"),
        _integer(claims["version"], "version"),
        _integer(claims["iat"], "iat"),
        _integer(claims["nbf"], "nbf"),
        _integer(claims["exp"], "exp"),
        areas,
        meters,
        frozenset(_name(model, "model") for model in models),
    )


def vet_policy(opened: Opened, keys: Mapping[str, PublicKey], issuer: str, dcu: str, now_s: int, above: int) -> Policy:
    """The policy of a verified envelope, if it may come into force here and now.

    Args:
        opened: the envelope, verified on current trust.
        keys: current trust.
        issuer: whose policies are obeyed.
        dcu: this box.
        now_s: UTC seconds.
        above: the version must be higher than this.

    Raises:
        CommandRefused: E_SCHEMA, E_POLICY, E_TARGET, E_QUORUM, E_KEY, E_EARLY, E_EXPIRED.
    """
    policy = read_policy(opened.claims)
    if policy.iss != issuer or policy.dcu != dcu:
        raise CommandRefused(Refusal.E_TARGET, f"for {policy.dcu} of {policy.iss}; here is {dcu} of {issuer}")
    _check_quorum(opened, keys, now_s)
    if max(policy.iat, policy.nbf) > now_s + SKEW_S:
        raise CommandRefused(Refusal.E_EARLY, "the policy is not in force yet")
    if now_s >= policy.exp:
        raise CommandRefused(Refusal.E_EXPIRED, "the policy has expired")
    if policy.version <= above:
        raise CommandRefused(Refusal.E_POLICY, f"version {policy.version} is not above {above}")
    return policy


def policy_in_force(
    document: tuple[int, bytes] | None, keys: Mapping[str, PublicKey], issuer: str, dcu: str, now_s: int
) -> Policy:
    """The stored policy, verified again on current trust and time.

    Raises:
        CommandRefused: E_POLICY: there is none that holds.
    """
    if document is None:
        raise CommandRefused(Refusal.E_POLICY, "no policy: nothing may be disconnected")
    version, envelope = document
    try:
        opened = open_envelope(envelope, keys, now_s, {POLICY})
        return vet_policy(opened, keys, issuer, dcu, now_s, above=version - 1)
    except CommandRefused as fault:
        raise CommandRefused(Refusal.E_POLICY, f"policy {version} does not hold now: {fault}") from None


def _check_quorum(opened: Opened, keys: Mapping[str, PublicKey], now_s: int) -> None:
    """Two distinct persons, every key in its role and its dates."""
    signing = [keys[kid] for kid in opened.kids]
    if not all(key.nbf <= now_s < key.exp for key in signing):
        raise CommandRefused(Refusal.E_KEY, "a key that signed the policy is not valid at this time")
    if not all(Role.POLICY in key.roles for key in signing) or len({key.person for key in signing}) < 2:
        raise CommandRefused(Refusal.E_QUORUM, "a policy is signed by two persons, each with the role policy")


def _area(name: str, value: Json) -> Area:
    _name(name, "area")
    area = _object(value, "area")
    _known(area, _AREA_MEMBERS)
    if not isinstance(area["prepaid_live"], bool):
        raise CommandRefused(Refusal.E_SCHEMA, "prepaid_live is not true or false")
    return Area(area["prepaid_live"], _integer(area["since"], "since"))


def _known(members: Mapping[str, Json], names: set[str]) -> None:
    if extra := members.keys() - names:
        raise CommandRefused(Refusal.E_POLICY, f"names rules that are not built: {', '.join(sorted(extra))[:80]}")
    if missing := names - members.keys():
        raise CommandRefused(Refusal.E_SCHEMA, f"{', '.join(sorted(missing))} missing")


def _object(value: Json, what: str) -> dict[str, Json]:
    if not isinstance(value, dict) or not all(IDENTIFIER.fullmatch(name) for name in value):
        raise CommandRefused(Refusal.E_SCHEMA, f"{what} is not an object of names")
    return value


def _name(value: Json, what: str) -> str:
    if not isinstance(value, str) or not IDENTIFIER.fullmatch(value):
        raise CommandRefused(Refusal.E_SCHEMA, f"{what} is no name")
    return value


def _integer(value: Json, what: str) -> int:
    if type(value) is not int or value < 0:
        raise CommandRefused(Refusal.E_SCHEMA, f"{what} is not a number from 0 up")
    return value
