"""The policy as a document: what is taken, what no policy can lift, and what a new one changes, in words."""

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcu.command import CommandRefused, Profile, Refusal
from dcu.relay.envelope import POLICY, open_envelope
from dcu.relay.policy import Reconnect, compare, most_a_day, read_policy, usual_caps, vet_policy
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
    found, words = policy().open_at(at(when))
    assert found is allowed
    assert words.endswith(f"{when.replace('T', ' ')} Asia/Kolkata")


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


# ---- what a new policy changes ----

DATED = "2026-12-02 07:10"  # NOW + 9 days, UTC

WIDENS = {
    "more hours of a day": ({"hours": MIDDAY | {"mon": "09:59-14:00"}}, "mon 09:59-14:00, not 10:00-14:00"),
    "other hours of a day": ({"hours": MIDDAY | {"mon": "13:00-15:00"}}, "mon 13:00-15:00, not 10:00-14:00"),
    "a day more": ({"hours": MIDDAY | {"sat": "10:00-14:00"}}, "sat 10:00-14:00, not closed"),
    "a holiday less": ({"closed": ["2026-11-25"]}, "2026-11-26 12:00 to 2026-11-27 09:00 is open"),
    "another timezone": ({"timezone": "Asia/Dhaka"}, "its hours are of Asia/Dhaka, not Asia/Kolkata"),
    "a longer life": ({"exp": NOW + 31 * DAY}, "not until"),
    "an earlier beginning": ({"nbf": NOW - 120}, "it holds from"),
    "prepaid in another area": (
        {"areas": {RANCHI: LIVE, DHANBAD: NOT_LIVE | {"prepaid_live": True}}},
        f"prepaid becomes live in {DHANBAD}",
    ),
    "prepaid since before": (area(since=NOW - 2 * DAY), f"prepaid is live in {RANCHI} since"),
    "an area more": ({"areas": {RANCHI: LIVE, DHANBAD: NOT_LIVE, "JH-BKR": LIVE}}, "JH-BKR is new in it"),
    "the quick profile": (area(profile="prepaid"), f"{RANCHI} is under the profile prepaid"),
    "a meter more": ({"meters": TWO | {"GXT20931190": RANCHI}}, "GXT20931190 may be disconnected"),
    "a meter elsewhere": ({"meters": TWO | {FAR_METER: RANCHI}}, f"{FAR_METER} in another area"),
    "nobody protected": ({"protected": {}}, f"{METER} is protected no more"),
    "no grace of a meter": ({"grace": {}}, f"{FAR_METER}: no grace"),
    "less grace of a meter": ({"grace": {FAR_METER: NOW}}, f"{FAR_METER} has grace until"),
    "less emergency credit": ({"emergency_h": 23}, "23 h of emergency credit, not 24"),
    "more an hour": (cap(hour=21), "prepaid: 21 a hour, not 20"),
    "more a day": (cap(day=51), "prepaid: 51 a day, not 50"),
    "more a week": (cap(week=201), "prepaid: 201 a week, not 200"),
    "closer together": (cap(spacing_s=119), "prepaid: 119 s between two, not 120"),
    "a shorter wait": (cap(wait_s=899), "prepaid: 899 s before each, not 900"),
    "smaller limits at once": ({"limit_floor_w": 999}, "below 999 W, not 1000 W"),
    "a model more": ({"no_payment_mode_register": ["model-a", "b"]}, "meters of b need not say prepaid themselves"),
}
NARROWS = {
    "fewer hours": ({"hours": MIDDAY | {"mon": "10:30-13:00"}}, "mon 10:30-13:00, not 10:00-14:00"),
    "a day less": ({"hours": {"mon": "10:00-14:00"}}, "fri closed, not 10:00-14:00"),
    "a holiday more": (
        {"closed": [*claims()["closed"], "2026-12-25"]},
        "2026-12-25 00:00 to 2026-12-26 00:00 is closed",
    ),
    "a shorter life": ({"exp": NOW + 9 * DAY}, f"it holds until {DATED}"),
    "prepaid nowhere": (area(prepaid_live=False), f"prepaid is not live any more in {RANCHI}"),
    "the light by the button": (area(reconnect="arm"), f"in {RANCHI} a connect leaves it to the button"),
    "days of grace": (area(grace_days=30), f"30 days of grace in {RANCHI}, not 0"),
    "a meter less": ({"meters": {METER: RANCHI}, "grace": {}}, f"{FAR_METER} not in it any more"),
    "somebody protected": ({"protected": {METER: "medical", FAR_METER: "essential"}}, f"{FAR_METER} is protected"),
    "longer grace": ({"grace": {FAR_METER: NOW + 99 * DAY}}, f"{FAR_METER} has grace until"),
    "more emergency credit": ({"emergency_h": 25}, "25 h of emergency credit, not 24"),
    "fewer a day": (cap(day=49), "prepaid: 49 a day, not 50"),
    "further apart": (cap(spacing_s=121), "prepaid: 121 s between two, not 120"),
    "more limits count": ({"limit_floor_w": 1001}, "below 1001 W, not 1000 W"),
    "a model less": ({"no_payment_mode_register": []}, "meters of model-a must say prepaid themselves"),
}


@pytest.mark.parametrize("name", WIDENS)
def test_what_becomes_more_permitted_is_said(name):
    changes, words = WIDENS[name]
    found = compare(policy(), policy(8, **changes))
    assert any(words in clause for clause in found.widens), found
    assert len(found.widens) == 1 and found.narrows == ()


@pytest.mark.parametrize("name", NARROWS)
def test_what_becomes_less_permitted_is_said(name):
    changes, words = NARROWS[name]
    old = policy(grace={}) if changes.get("grace") == {} else policy()
    found = compare(old, policy(8, **changes))
    assert any(words in clause for clause in found.narrows), found
    assert found.widens == ()


def test_the_same_again_changes_nothing_and_the_first_permits_everything():
    assert compare(policy(), policy(8, iat=NOW)) == compare(policy(), policy())
    assert compare(policy(), policy()).widens == compare(policy(), policy()).narrows == ()
    assert compare(None, policy()).widens == (f"it is the first policy: 2 meters, prepaid live in {RANCHI}",)


CHANGES = st.lists(st.sampled_from([changes for changes, _ in [*WIDENS.values(), *NARROWS.values()]]), max_size=4)


@given(before=CHANGES, after=CHANGES)
def test_what_is_called_a_narrowing_permits_nothing_more(before, after):
    old, new = (
        policy(**{name: value for change in some for name, value in change.items()}) for some in (before, after)
    )
    if compare(old, new).widens:
        return
    assert old.nbf <= new.nbf and new.exp <= old.exp and new.meters.items() <= old.meters.items()
    assert old.protected.keys() <= new.protected.keys() and new.limit_floor_w >= old.limit_floor_w
    for now_s in range(NOW, NOW + 14 * DAY, 1800):
        assert old.open_at(now_s)[0] or not new.open_at(now_s)[0]
        assert all(old.live(name, now_s) or not new.live(name, now_s) for name in new.areas)
    assert all(new.grace_until_s(serial) >= old.grace_until_s(serial) for serial in new.meters)
    for profile, caps in new.caps.items():
        was = old.caps[profile]
        assert caps.hour <= was.hour and caps.day <= was.day and caps.week <= was.week
        assert caps.spacing_s >= was.spacing_s and caps.wait_s >= was.wait_s
