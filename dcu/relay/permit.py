"""Permits: how many disconnects of one day the utility allows, signed by somebody who signs no disconnect. Pure.

    {"v":1, "typ":"permit", "id":"P-2026-11-23", "iss":"hes.ranchi", "dcu":"JH-RNC-0042", "date":"2026-11-23",
     "jid":"3bc5135d110ca306", "profile":"arrears", "max_n":5}        of a box, signed by the role permit

    {"v":1, "typ":"permit", "id":"T-2026-11-23", "iss":"hes.ranchi", "date":"2026-11-23", "total":6000}
                                                                      of the whole city, signed by the role permit

    {.., "id":"P-2026-11-23b", "dcu":"JH-RNC-0042", "profile":"prepaid", "max_n":12, "of":"T-2026-11-23"}
                                                                      a box's share of it, signed by the role planner

What is for a box is for one journal of it: with another card the debits are gone, and so are the permits that they were
counted against. `date` is a calendar day of the policy's timezone. A permit is stored when it comes and debited by the
transaction that accepts a command; it is judged again, on current trust, whenever it is used.
Source: reference/command-authority.md 0 item 12, 6 (permit), 8 (check 22).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Final

from dcu.command import CommandRefused, Profile, Refusal
from dcu.relay.canonical import Json
from dcu.relay.envelope import PERMIT, Opened, open_envelope
from dcu.relay.members import check_kind, check_names, integer, name, one_of, refused
from dcu.relay.public_key import PublicKey, Role

MOST: Final = 10**6

_OF_BOX: Final = ("v", "typ", "id", "iss", "dcu", "jid", "date", "profile", "max_n")
_OF_CITY: Final = ("v", "typ", "id", "iss", "date", "total")


@dataclass(frozen=True, slots=True)
class Permit:
    """A permit after its checks of form.

    Attributes:
        id: its name, unique with `iss`.
        iss: head-end.
        dcu: box; empty: of the whole city.
        date: calendar day, as 2026-11-23.
        profile: of authority; None for the whole city.
        max_n: disconnects; of the whole city its total.
        of: the city's permit that it is a share of; empty for none.
        jid: journal of the box; empty: of the whole city.
    """

    id: str
    iss: str
    dcu: str
    date: str
    profile: Profile | None
    max_n: int
    of: str
    jid: str

    @property
    def role(self) -> Role:
        """Who signs it."""
        return Role.PLANNER if self.profile is Profile.PREPAID else Role.PERMIT


@dataclass(frozen=True, slots=True)
class Leave:
    """What permits say of a command at the moment of judging it.

    Attributes:
        permit: that the command names, verified on current trust; None: there is none that holds.
        fault: why.
        signers: of that permit and of what it is a share of.
        used: disconnects debited to it, this command's own excepted.
        total: of the city's permit that it is a share of; None: of none. `total_used`: debited to all its shares here.
    """

    permit: Permit | None = None
    fault: str = "no permit"
    signers: tuple[PublicKey, ...] = ()
    used: int = 0
    total: int | None = None
    total_used: int = 0


def read_permit(claims: Mapping[str, Json]) -> Permit:
    """The permit that the claims spell.

    Raises:
        CommandRefused: E_SCHEMA.
    """
    whole = "total" in claims
    number = "total" if whole else "max_n"
    check_names(claims, _OF_CITY if whole else _OF_BOX, () if whole else ("of",), "permit")
    check_kind(claims, "permit")
    profile = None if whole else one_of(Profile, claims["profile"], "profile")
    if (profile is Profile.PREPAID) != ("of" in claims):
        raise refused("a permit of the profile prepaid is a share `of` the city's total, and no other is")
    return Permit(
        id=name(claims["id"], "id"),
        iss=name(claims["iss"], "iss"),
        dcu="" if whole else name(claims["dcu"], "dcu"),
        date=_day(claims["date"]),
        profile=profile,
        max_n=integer(claims[number], number, 0, MOST),
        of=name(claims["of"], "of") if "of" in claims else "",
        jid="" if whole else name(claims["jid"], "jid"),
    )


def vet_permit(opened: Opened, keys: Mapping[str, PublicKey], issuer: str, dcu: str, jid: str) -> Permit:
    """The permit of a verified envelope, if it is for this box and its journal, and signed by one key of its role.

    Raises:
        CommandRefused: E_SCHEMA, E_TARGET, E_JID, E_QUORUM.
    """
    permit = read_permit(opened.claims)
    if permit.iss != issuer or permit.dcu not in {"", dcu}:
        raise CommandRefused(Refusal.E_TARGET, f"for {permit.dcu} of {permit.iss}; here is {dcu} of {issuer}")
    if permit.jid not in {"", jid}:
        raise CommandRefused(Refusal.E_JID, f"permitted for journal {permit.jid}, here is {jid}")
    if len(opened.kids) != 1 or permit.role not in keys[opened.kids[0]].roles:
        raise CommandRefused(Refusal.E_QUORUM, f"this permit is signed by one key with the role {permit.role.value}")
    return permit


def held_permit(
    envelope: bytes, keys: Mapping[str, PublicKey], issuer: str, dcu: str, jid: str, now_s: int
) -> tuple[Permit, PublicKey]:
    """A permit that was stored, and who signed it, verified again on current trust and time.

    Raises:
        CommandRefused: with the code of the first check that failed.
    """
    opened = open_envelope(envelope, keys, now_s, {PERMIT})
    return vet_permit(opened, keys, issuer, dcu, jid), keys[opened.kids[0]]


def _day(value: Json) -> str:
    try:
        if isinstance(value, str) and date.fromisoformat(value).isoformat() == value:
            return value
    except ValueError:
        pass
    raise refused("date is a day, as 2026-11-23")
