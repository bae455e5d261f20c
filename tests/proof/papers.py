"""Documents of a head-end: claims as they are signed, with one place where each default stands."""

from collections.abc import Iterable, Mapping
from typing import Any

from dcu.command import Profile
from dcu.config.meter_models import shipped
from dcu.relay.envelope import COMMAND, PERMIT, POLICY, seal
from dcu.relay.policy.floor import usual_caps
from tests.proof.people import ISS, People

NOON = 1_795_415_400
"""Monday, 23 November 2026, 12:00 in Ranchi."""

DAY_S = 86_400
HOUR_S = 3_600
LIVE, NOT_LIVE = "JH-RNC", "JH-DHN"
DATE = "2026-11-23"
FLOOR_S = NOON - 30 * DAY_S
"""No true time of a box is before this."""

MODEL = shipped()["is15959-1ph"]
HOURS = dict.fromkeys(("mon", "tue", "wed", "thu", "fri"), "10:00-17:00")


def policy_claims(dcu: str, meters: Mapping[str, str] | Iterable[str], version: int = 1, **changes: Any) -> dict:
    """A policy: prepaid live in LIVE, usual caps, open on working days from ten to five."""
    placed = dict(meters) if isinstance(meters, Mapping) else dict.fromkeys(meters, LIVE)
    claims = {
        "v": 1,
        "typ": "policy",
        "iss": ISS,
        "dcu": dcu,
        "version": version,
        "iat": NOON - 60 * DAY_S,
        "nbf": NOON - 60 * DAY_S,
        "exp": NOON + 60 * DAY_S,
        "timezone": "Asia/Kolkata",
        "areas": {
            LIVE: area(profile="prepaid"),
            NOT_LIVE: area(prepaid_live=False, since=0),
        },
        "meters": placed,
        "hours": HOURS,
        "closed": [],
        "protected": {},
        "grace": {},
        "emergency_h": 0,
        "caps": {profile.value: usual_caps(profile, len(placed)) for profile in Profile},
        "limit_floor_w": 1000,
        "no_payment_mode_register": [],
    }
    return claims | changes


def area(**changes: Any) -> dict:
    """What a policy says of an area."""
    claims = {
        "prepaid_live": True,
        "since": NOON - 50 * DAY_S,
        "profile": "arrears",
        "reconnect": "close",
        "grace_days": 0,
    }
    return claims | changes


def command_claims(op: str, dcu: str, jid: str, meter: str, cmd_id: str, at_s: int, **members: Any) -> dict:
    """A command; a member that is ... is left out."""
    claims = {
        "v": 1,
        "typ": "relay",
        "cmd_id": cmd_id,
        "op": op,
        "iss": ISS,
        "dcu": dcu,
        "jid": jid,
        "meter": meter,
        "iat": at_s,
        "exp": at_s + HOUR_S,
    }
    return {name: value for name, value in (claims | members).items() if value is not ...}


def evidence_of(profile: str, at_s: int, permit: str, lease: str) -> dict:
    """What a disconnect carries: for arrears under the strict profile, for lack of credit under the automatic one."""
    told = {"pol": 1, "lease": lease, "permit": permit}
    if profile == "prepaid":
        paid = {"low_credit_at": at_s - DAY_S, "ledger": "W-1", "ledger_at": at_s - 60}
        return told | paid | {"why": "credit", "area": LIVE}
    return told | {"why": "arrears", "case": "RNC-2026-1", "notice": at_s - 20 * DAY_S}


CUTTERS = {"arrears": ("apr-1", "req-1"), "prepaid": ("bill-1", "wit-1")}
"""Who signs a disconnect under which profile."""


def signed(people: People, claims: Mapping[str, Any], kids: Iterable[str], typ: str = COMMAND) -> bytes:
    """The envelope."""
    return seal(claims, typ, [people[kid] for kid in kids])


def signed_policy(people: People, claims: Mapping[str, Any], kids: Iterable[str] = ("pol-a", "pol-b")) -> bytes:
    """The envelope of a policy."""
    return signed(people, claims, kids, POLICY)


def permits(
    people: People, dcu: str, jid: str, profile: str, date: str, most: int, *, kid: str = "", total: int = 10**6
) -> list[bytes]:
    """The envelopes that permit so many disconnects of that day; of prepaid the city's total comes first.

    Args:
        people: who sign.
        dcu: box.
        jid: its journal.
        profile: of authority.
        date: local day.
        most: disconnects of that box.
        kid: who signs instead of those who should.
        total: of the whole city.
    """
    common = {"v": 1, "typ": "permit", "iss": ISS, "date": date}
    share = common | {"id": permit_id(profile, date), "dcu": dcu, "jid": jid}
    share |= {"profile": profile, "max_n": most}
    if profile == "arrears":
        return [signed(people, share, [kid or "per-1"], PERMIT)]
    whole = common | {"id": f"T-{date}", "total": total}
    return [
        signed(people, whole, [kid or "per-1"], PERMIT),
        signed(people, share | {"of": f"T-{date}"}, [kid or "plan-1"], PERMIT),
    ]


def permit_id(profile: str, date: str) -> str:
    """The name of a box's permit."""
    return f"P-{profile}-{date}"
