"""The policy as a document: what is taken, what no policy can lift, and what a new one changes, in words."""

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcu.command import CommandRefused, Profile, Refusal
from dcu.relay.envelope import POLICY, open_envelope
from dcu.relay.policy import Reconnect, compare, most_a_day, policy_in_force, read_policy, usual_caps, vet_policy
from tests.relay.world import (
    AREA,
    CAPS,
    DAY,
    DCU,
    DHANBAD,
    FAR_METER,
    ISS,
    METER,
    NOW,
    PLAIN_POLICY,
    POLICY_A,
    POLICY_B,
    RANCHI,
    REQUEST,
    World,
    trust,
)

R = Refusal
LIVE = AREA | {"prepaid_live": True, "since": NOW - DAY}
NOT_LIVE = AREA | {"prepaid_live": False, "since": 0}
MIDDAY = dict.fromkeys(("mon", "tue", "wed", "thu", "fri"), "10:00-14:00")
WIDE = {"hour": 20, "day": 50, "week": 200, "spacing_s": 120, "wait_s": 900}
TWO = {METER: RANCHI, FAR_METER: DHANBAD}


def claims(version=7, **changes):
    """Of a policy with something to widen and to narrow everywhere."""
    members = {
        "meters": TWO,
        "hours": MIDDAY,
        "closed": ["2026-11-25", "2026-11-26T12:00/2026-11-27T09:00"],
        "protected": {METER: "medical"},
        "grace": {FAR_METER: NOW + 9 * DAY},
        "emergency_h": 24,
        "caps": {"arrears": WIDE, "prepaid": WIDE},
        "no_payment_mode_register": ["model-a"],
    }
    return World().policy_claims(version, **(members | changes))


def policy(version=7, **changes):
    return read_policy(claims(version, **changes))


def vetted(above=0, now_s=NOW, keys=None, version=1, signers=(POLICY_A, POLICY_B), voices=2, **changes):
    keys = keys or trust().keys
    opened = open_envelope(World().policy(version, signers=signers, **changes), trust().keys, None, {POLICY})
    return vet_policy(opened, keys, ISS, DCU, now_s, above=above, voices=voices)


def area(**changes):
    return {"areas": {RANCHI: LIVE | changes, DHANBAD: NOT_LIVE}}


def cap(**changes):
    return {"caps": {"arrears": WIDE, "prepaid": WIDE | changes}}


# ---- its form ----


def test_a_policy_says_where_prepaid_is_live_and_since_when():
    held = vetted()
    assert held.live(RANCHI, NOW) and held.live(RANCHI, NOW - DAY) and not held.live(RANCHI, NOW - DAY - 1)
    assert not held.live(DHANBAD, NOW) and not held.live("nowhere", NOW)


def test_a_policy_says_under_which_profile_an_area_is_and_how_light_returns():
    held = policy(**area(profile="prepaid", reconnect="arm"))
    assert held.area_of(METER).profile is Profile.PREPAID and held.area_of(METER).reconnect is Reconnect.ARM
    assert held.area_of(FAR_METER).profile is Profile.ARREARS and held.area_of("GXT99999999") is None


def test_the_longer_grace_of_area_and_meter_counts():
    held = policy(**area(grace_days=30), grace={METER: NOW + 40 * DAY, FAR_METER: NOW + 9 * DAY})
    assert held.grace_until_s(METER) == NOW + 40 * DAY
    assert policy(**area(grace_days=30), grace={METER: NOW}).grace_until_s(METER) == NOW + 29 * DAY
    assert held.grace_until_s(FAR_METER) == NOW + 9 * DAY
    assert policy(grace={}).grace_until_s(METER) == 0


REFUSED = {
    "another box": ({"dcu": "JH-RNC-0043"}, R.E_TARGET),
    "another head-end": ({"iss": "hes.other"}, R.E_TARGET),
    "one signature": ({"signers": (POLICY_A,)}, R.E_QUORUM),
    "two keys of one person": ({"signers": (POLICY_A, PLAIN_POLICY)}, R.E_QUORUM),
    "a key without the role": ({"signers": (POLICY_A, POLICY_B, REQUEST)}, R.E_QUORUM),
    "one voice, without the role": ({"signers": (REQUEST,), "voices": 1}, R.E_QUORUM),
    "not in force yet": ({"nbf": NOW + 61}, R.E_EARLY),
    "issued in the future": ({"iat": NOW + 61}, R.E_EARLY),
    "expired": ({"exp": NOW}, R.E_EXPIRED),
    "the same version": ({"above": 1}, R.E_VERSION),
    "an older version": ({"above": 2}, R.E_VERSION),
    "a version that uses all others up": ({"version": 1001}, R.E_VERSION),
    "version 0": ({"version": 0}, R.E_SCHEMA),
    "version true": ({"version": True}, R.E_SCHEMA),
    "a rule that is not enforced": ({"weather": "hot"}, R.E_POLICY),
    "such a rule in an area": ({"areas": {RANCHI: LIVE | {"hours": "8-18"}, DHANBAD: NOT_LIVE}}, R.E_POLICY),
    "such a cap": ({"caps": {"arrears": CAPS | {"month": 9}, "prepaid": CAPS}}, R.E_POLICY),
    "an area without since": ({"areas": {RANCHI: AREA | {"prepaid_live": True}, DHANBAD: NOT_LIVE}}, R.E_SCHEMA),
    "live as a number": (area(prepaid_live=1), R.E_SCHEMA),
    "a profile that nobody knows": (area(profile="any"), R.E_SCHEMA),
    "a return that nobody knows": (area(reconnect="maybe"), R.E_SCHEMA),
    "grace of more than a year": (area(grace_days=367), R.E_SCHEMA),
    "an area that is no name": ({"areas": {"*": LIVE, RANCHI: LIVE, DHANBAD: NOT_LIVE}}, R.E_SCHEMA),
    "areas as a list": ({"areas": []}, R.E_SCHEMA),
    "a meter in no area of it": ({"meters": {METER: "JH-BKR"}}, R.E_SCHEMA),
    "a meter's area no text": ({"meters": {METER: 7}}, R.E_SCHEMA),
    "models no list": ({"no_payment_mode_register": {}}, R.E_SCHEMA),
    "a model no name": ({"no_payment_mode_register": ["a b"]}, R.E_SCHEMA),
    "a timezone that is none": ({"timezone": "Mars/Olympus"}, R.E_SCHEMA),
    "a timezone that is a path": ({"timezone": "../../etc/localtime"}, R.E_SCHEMA),
    "a timezone that is a number": ({"timezone": 5}, R.E_SCHEMA),
    "hours that close before they open": ({"hours": {"mon": "14:00-10:00"}}, R.E_SCHEMA),
    "hours without length": ({"hours": {"mon": "10:00-10:00"}}, R.E_SCHEMA),
    "hours beyond the day": ({"hours": {"mon": "10:00-24:01"}}, R.E_SCHEMA),
    "hours of no weekday": ({"hours": {"monday": "10:00-14:00"}}, R.E_SCHEMA),
    "hours as a number": ({"hours": {"mon": 10}}, R.E_SCHEMA),
    "a closed day of ours": ({"closed": ["24.11.2026"]}, R.E_SCHEMA),
    "a closed day that is none": ({"closed": ["2026-11-31"]}, R.E_SCHEMA),
    "a closed time without length": ({"closed": ["2026-11-24T12:00/2026-11-24T12:00"]}, R.E_SCHEMA),
    "a closed time without end": ({"closed": ["2026-11-24T12:00"]}, R.E_SCHEMA),
    "a closed time in seconds": ({"closed": [NOW]}, R.E_SCHEMA),
    "somebody else's meter is protected": ({"protected": {"GXT20939999": "medical"}}, R.E_SCHEMA),
    "protected for being rich": ({"protected": {METER: "rich"}}, R.E_SCHEMA),
    "grace of somebody else's meter": ({"grace": {"GXT20939999": NOW}}, R.E_SCHEMA),
    "emergency credit for less than no time": ({"emergency_h": -1}, R.E_SCHEMA),
    "caps of one profile": ({"caps": {"arrears": CAPS}}, R.E_SCHEMA),
    "caps of a third profile": ({"caps": {"arrears": CAPS, "prepaid": CAPS, "any": CAPS}}, R.E_SCHEMA),
    "a cap that is no number": ({"caps": {"arrears": CAPS | {"day": "all"}, "prepaid": CAPS}}, R.E_SCHEMA),
    "another v": ({"v": 2}, R.E_SCHEMA),
    "v true": ({"v": True}, R.E_SCHEMA),
    "another typ": ({"typ": "relay"}, R.E_SCHEMA),
    "negative exp": ({"exp": -1}, R.E_SCHEMA),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_policy_that_is_refused(name):
    changes, code = REFUSED[name]
    with pytest.raises(CommandRefused) as refusal:
        vetted(**changes)
    assert refusal.value.code is code


def test_what_is_just_within_its_bounds_is_taken():
    assert vetted(version=1000).version == 1000
    assert vetted(nbf=NOW + 60, iat=NOW + 60, exp=NOW + 61).exp == NOW + 61
    assert vetted(signers=(POLICY_A,), voices=1).version == 1
    assert vetted(exp=NOW, now_s=None).exp == NOW  # no clock that is trusted: no date is judged


@pytest.mark.parametrize("member", sorted(claims()))
def test_whoever_signs_a_policy_has_decided_every_member(member):
    with pytest.raises(CommandRefused) as refusal:
        policy(**{member: ...})
    assert refusal.value.code is R.E_SCHEMA


def test_no_rule_hides_anywhere_in_a_policy():
    document = claims()
    read_policy(document)
    for place in (document, document["areas"][RANCHI], document["caps"]["arrears"]):
        place["x"] = 1
        with pytest.raises(CommandRefused, match="not enforced here: x"):
            read_policy(document)
        del place["x"]


def test_a_policy_whose_key_is_out_of_date_does_not_hold():
    with pytest.raises(CommandRefused, match="E_KEY"):
        vetted(keys=trust(pol_a={"exp": NOW}).keys)


def test_a_narrowing_holds_only_while_it_narrows_its_base():
    world, keys = World(), trust().keys
    base = world.policy(3, hours=MIDDAY)

    def held(narrowed, keys=keys):
        return policy_in_force(base, narrowed, keys, ISS, DCU, NOW).version

    narrower = {"hours": {"mon": "10:00-12:00"}}
    assert held(None) == 3 and held(world.policy(4, signers=(POLICY_A,), **narrower)) == 4
    for narrowed in (
        world.policy(3, signers=(POLICY_A,), **narrower),  # not above it
        world.policy(4, signers=(POLICY_A, POLICY_B), hours={"mon": "09:00-12:00"}),
        world.policy(4, signers=(REQUEST,), **narrower),
        world.policy(4, signers=(POLICY_A,), exp=NOW, **narrower),
        b"damaged",
    ):
        with pytest.raises(CommandRefused) as refusal:
            held(narrowed)
        assert refusal.value.code is R.E_POLICY
    with pytest.raises(CommandRefused, match="E_KEY"):  # the base falls, and its narrowing with it
        held(world.policy(4, signers=(POLICY_A,), **narrower), trust(pol_b={"revoked": True}).keys)


# ---- hours, holidays, the floor ----


def at(text, zone="Asia/Kolkata"):
    return int(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp())


HOURS = [
    ("2026-11-23T09:59", False),  # a Monday
    ("2026-11-23T10:00", True),
    ("2026-11-23T13:59", True),
    ("2026-11-23T14:00", False),
    ("2026-11-22T12:00", False),  # a Sunday, which is not named
    ("2026-11-25T12:00", False),  # a closed day, and the minutes around an interval
    ("2026-11-26T11:59", True),
    ("2026-11-26T12:00", False),
    ("2026-11-27T08:59", False),
    ("2026-11-27T10:00", True),
]


@pytest.mark.parametrize(("when", "allowed"), HOURS)
def test_nobody_is_disconnected_outside_the_hours_of_the_policy(when, allowed):
    assert policy().open_at(at(when)) == (allowed, f"{policy().open_at(at(when))[1]}")
    assert policy().open_at(at(when))[1].endswith(f"{when.replace('T', ' ')} Asia/Kolkata")


ALWAYS = dict.fromkeys(("mon", "tue", "wed", "thu", "fri", "sat", "sun"), "00:00-24:00")


@pytest.mark.parametrize("zone", ["Asia/Kolkata", "Europe/Berlin", "America/New_York", "UTC"])
@given(minute=st.integers(0, 60 * 24 * 365))
def test_no_policy_opens_the_night(zone, minute):
    """By its own timezone, through both changes of the clock."""
    now_s = NOW + 60 * minute
    local = datetime.fromtimestamp(now_s, ZoneInfo(zone))
    always = policy(timezone=zone, hours=ALWAYS, closed=[])
    assert always.open_at(now_s)[0] == (8 <= local.hour < 18)
    assert always.date_at(now_s) == local.date().isoformat()


@pytest.mark.parametrize(("meters", "most"), [(1, 3), (30, 3), (39, 3), (40, 4), (100, 10), (1000, 100)])
def test_the_most_a_day_is_of_the_meters_and_of_no_policy(meters, most):
    assert most_a_day(meters) == most


@pytest.mark.parametrize("meters", [1, 20, 100, 1000])
@pytest.mark.parametrize("profile", Profile)
def test_the_usual_caps_stay_below_the_floor(profile, meters):
    caps = usual_caps(profile, meters)
    assert caps["hour"] <= caps["day"] <= most_a_day(meters) and caps["day"] <= caps["week"]
    assert policy(caps={"arrears": caps, "prepaid": caps}).caps[profile].day == caps["day"]
