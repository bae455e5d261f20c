"""The box's own policy as a document: what a valid signature cannot override. Signed, versioned, dated. Pure.

    {"v":1, "typ":"policy", "iss":"hes.ranchi", "dcu":"JH-RNC-0042", "version":7, "iat":.., "nbf":.., "exp":..,
     "timezone":"Asia/Kolkata",
     "areas":{"JH-RNC":{"prepaid_live":true, "since":1790000000, "profile":"prepaid", "reconnect":"close",
                        "grace_days":30}},
     "meters":{"GXT20931188":"JH-RNC"},
     "hours":{"mon":"10:00-14:00"}, "closed":["2026-11-24"],
     "protected":{"GXT20931190":"medical"}, "grace":{"GXT20931191":1796000000}, "emergency_h":72,
     "caps":{"arrears":{"hour":2, "day":5, "week":20, "spacing_s":120, "wait_s":900}, "prepaid":{..}},
     "limit_floor_w":1000, "no_payment_mode_register":["some-model"]}

Every member is there, so that whoever signs has decided it; one that is not above names a rule that this program does
not enforce: E_POLICY, never ignored. Source: reference/command-authority.md 0 items 5, 6, 7, 10, 12, and 6.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final

from dcu.command import CommandRefused, Profile, Refusal
from dcu.relay.canonical import Json
from dcu.relay.members import check_kind, check_names, each, integer, moment, name, named, one_of, refused, truth
from dcu.relay.policy.floor import DAY_S
from dcu.relay.policy.hours import Closed, local_date, open_at, read_closed, read_hours, read_zone

_MEMBERS: Final = frozenset({
    "v", "typ", "iss", "dcu", "version", "iat", "nbf", "exp", "timezone", "areas", "meters", "hours", "closed",
    "protected", "grace", "emergency_h", "caps", "limit_floor_w", "no_payment_mode_register",
})  # fmt: skip
_AREA: Final = frozenset({"prepaid_live", "since", "profile", "reconnect", "grace_days"})
_CAPS: Final = frozenset({"hour", "day", "week", "spacing_s", "wait_s"})


class Reconnect(Enum):
    """How light returns in an area."""

    CLOSE = "close"  # a connect may close the relay with nobody at home
    ARM = "arm"  # the consumer presses the meter's button


class Shield(Enum):
    """Why a consumer is protected: never disconnected from afar, whatever is owed."""

    MEDICAL = "medical"
    ESSENTIAL = "essential"


@dataclass(frozen=True, slots=True)
class Area:
    """What holds in one area.

    Attributes:
        prepaid_live: whether prepaid is live, and `since` when (UTC seconds).
        profile: of authority, for disconnects for lack of credit; all others are under `arrears`.
        reconnect: how light returns.
        grace_days: no disconnect for lack of credit for so long after `since`.
    """

    prepaid_live: bool
    since: int
    profile: Profile
    reconnect: Reconnect
    grace_days: int


@dataclass(frozen=True, slots=True)
class Caps:
    """How many disconnects of one profile: in any hour, 24 hours, 7 days; seconds between two, and before each."""

    hour: int
    day: int
    week: int
    spacing_s: int
    wait_s: int


@dataclass(frozen=True, slots=True)
class Policy:
    """A policy after its checks of form. Times are UTC seconds.

    Attributes:
        iss, dcu: whose it is, and for which box.
        version: only goes up.
        iat, nbf, exp: issued, in force from, in force until.
        timezone: that all its hours and days are of.
        areas: by name.
        meters: area by serial.
        hours: opening and closing minute by weekday; other days are closed.
        closed: days and intervals.
        protected: by serial.
        grace: by serial, until when nobody is disconnected for lack of credit.
        emergency_h: hours of emergency credit after the consumer was told of the low one.
        caps: by profile.
        limit_floor_w: a load limit below this is a disconnect.
        no_payment_mode_register: models of meter whose payment mode cannot be read.
    """

    iss: str
    dcu: str
    version: int
    iat: int
    nbf: int
    exp: int
    timezone: str
    areas: Mapping[str, Area]
    meters: Mapping[str, str]
    hours: Mapping[str, tuple[int, int]]
    closed: tuple[Closed, ...]
    protected: Mapping[str, Shield]
    grace: Mapping[str, int]
    emergency_h: int
    caps: Mapping[Profile, Caps]
    limit_floor_w: int
    no_payment_mode_register: frozenset[str]

    def area_of(self, serial: str) -> Area | None:
        """Area that a meter stands in by this policy, or None."""
        return self.areas.get(self.meters.get(serial, ""))

    def live(self, area: str, now_s: int) -> bool:
        """Whether prepaid is live in `area` at that time."""
        found = self.areas.get(area)
        return found is not None and found.prepaid_live and found.since <= now_s

    def live_since_s(self, serial: str) -> int:
        """Since when prepaid is live where that meter stands, UTC seconds; 0: nothing is known of its area."""
        area = self.area_of(serial)
        return area.since if area is not None else 0

    def grace_until_s(self, serial: str) -> int:
        """Until when the meter's consumer is not disconnected for lack of credit, UTC seconds; 0: no grace."""
        area = self.area_of(serial)
        converted = area.since + area.grace_days * DAY_S if area is not None and area.grace_days else 0
        return max(converted, self.grace.get(serial, 0))

    def open_at(self, now_s: int) -> tuple[bool, str]:
        """Whether anybody may be disconnected at that time, and the local time in words."""
        return open_at(self.timezone, self.hours, self.closed, now_s)

    def date_at(self, now_s: int) -> str:
        """The calendar day of its timezone."""
        return local_date(self.timezone, now_s)


def read_policy(claims: Mapping[str, Json]) -> Policy:
    """The policy that the claims spell.

    Raises:
        CommandRefused: E_POLICY: it names a rule that is not enforced here; E_SCHEMA: anything else that is wrong.
    """
    _check_rules(claims, _MEMBERS)
    check_kind(claims, "policy")
    areas = {area: _area(area, members) for area, members in named(claims["areas"], "areas").items()}
    meters = {serial: name(area, "area") for serial, area in named(claims["meters"], "meters").items()}
    if not areas.keys() >= set(meters.values()):
        raise refused("a meter stands in an area that the policy does not describe")
    return Policy(
        iss=name(claims["iss"], "iss"),
        dcu=name(claims["dcu"], "dcu"),
        version=integer(claims["version"], "version", 1),
        iat=moment(claims["iat"], "iat"),
        nbf=moment(claims["nbf"], "nbf"),
        exp=moment(claims["exp"], "exp"),
        timezone=read_zone(claims["timezone"]),
        areas=areas,
        meters=meters,
        hours=read_hours(claims["hours"]),
        closed=each(claims["closed"], "closed", read_closed),
        protected={serial: one_of(Shield, why, "protected") for serial, why in _meters(claims, "protected", meters)},
        grace={serial: moment(until, "grace") for serial, until in _meters(claims, "grace", meters)},
        emergency_h=integer(claims["emergency_h"], "emergency_h", 0, 24 * 31),
        caps=_caps(claims["caps"]),
        limit_floor_w=integer(claims["limit_floor_w"], "limit_floor_w", 0, 10**7),
        no_payment_mode_register=frozenset(
            each(claims["no_payment_mode_register"], "no_payment_mode_register", name),
        ),
    )


def _area(area: str, value: Json) -> Area:
    members = named(value, f"area {area}")
    _check_rules(members, _AREA)
    return Area(
        truth(members["prepaid_live"], "prepaid_live"),
        moment(members["since"], "since"),
        one_of(Profile, members["profile"], "profile"),
        one_of(Reconnect, members["reconnect"], "reconnect"),
        integer(members["grace_days"], "grace_days", 0, 366),
    )


def _caps(value: Json) -> dict[Profile, Caps]:
    caps = {}
    for profile, members in named(value, "caps").items():
        numbers = named(members, f"caps of {profile}")
        _check_rules(numbers, _CAPS)
        caps[one_of(Profile, profile, "caps")] = Caps(
            integer(numbers["hour"], "hour", 0, 10_000),
            integer(numbers["day"], "day", 0, 10_000),
            integer(numbers["week"], "week", 0, 10_000),
            integer(numbers["spacing_s"], "spacing_s", 0, DAY_S),
            integer(numbers["wait_s"], "wait_s", 0, DAY_S),
        )
    if caps.keys() != set(Profile):
        raise refused(f"caps are of {' and '.join(profile.value for profile in Profile)}")
    return caps


def _meters(claims: Mapping[str, Json], what: str, meters: Mapping[str, str]) -> list[tuple[str, Json]]:
    """Members by serial; each names a meter of the policy, so that a slip of the pen protects nobody else."""
    members = named(claims[what], what)
    if strange := members.keys() - meters.keys():
        raise refused(f"{what}: {', '.join(sorted(strange))[:80]} is no meter of this policy")
    return list(members.items())


def _check_rules(members: Mapping[str, Json], names: frozenset[str]) -> None:
    if extra := members.keys() - names:
        cause = f"names rules that are not enforced here: {', '.join(sorted(extra))[:80]}"
        raise CommandRefused(Refusal.E_POLICY, cause)
    check_names(members, names, (), "policy")
