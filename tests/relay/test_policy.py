"""Policies: what they may say, what a new one changes, when it acts; permits; the calendar."""

import copy
import struct
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, reset_tzpath

import pytest

from dcu.command import CommandRefused, Profile, Refusal
from dcu.reading import ClockState
from dcu.relay.case import Moment
from dcu.relay.envelope import PERMIT, POLICY, open_envelope
from dcu.relay.permit import read_permit, vet_permit
from dcu.relay.policy import (
    Reconnect,
    Shield,
    briefly,
    compare,
    early_since,
    most_a_day,
    policy_in_force,
    policy_kept,
    read_policy,
    usual_caps,
    vet_policy,
    within_floor,
)
from dcu.relay.policy.comparison import Comparison
from dcu.relay.policy.floor import (
    DAY_S,
    FREEZE_S,
    HOUR_S,
    LEAST_LIMIT_W,
    LOCK_S,
    LONGEST_LIFE_S,
    LOW_CREDIT_MOST_S,
    NOTICE_MOST_S,
    NOTICE_S,
    SLOW_S,
    WEEK_S,
    WITNESS_S,
)
from dcu.relay.standing import Seen
from tests.relay.world import (
    AREA,
    BILLING,
    CAPS,
    DATE,
    DAY,
    DCU,
    DHANBAD,
    FAR_METER,
    ISS,
    JID,
    METER,
    NOW,
    PERMITTER,
    PLAIN_POLICY,
    PLANNER,
    POLICY_A,
    POLICY_B,
    RANCHI,
    REQUEST,
    STRANGER,
    World,
    commissioned,
    trust,
)

R = Refusal
WORLD = World()
RANCHI_AREA = AREA | {"prepaid_live": True, "since": NOW - DAY}


def claims(**changes):
    return WORLD.policy_claims(meters={METER: RANCHI, FAR_METER: DHANBAD}) | changes


def vetted(above=0, now_s=NOW, keys=None, version=1, signers=(POLICY_A, POLICY_B), two=True, **changes):
    keys = keys or trust().keys
    opened = open_envelope(WORLD.policy(version, signers=signers, **changes), trust().keys, None, {POLICY})
    return vet_policy(opened, keys, ISS, DCU, now_s, above=above, two=two)


def test_a_policy_says_where_prepaid_is_live_and_since_when():
    policy = vetted()
    assert policy.live(RANCHI, NOW - DAY) and not policy.live(RANCHI, NOW - DAY - 1)
    assert not policy.live(DHANBAD, NOW) and not policy.live("nowhere", NOW)


def test_a_meter_that_is_not_in_it_stands_nowhere_whatever_areas_are_called():
    policy = read_policy(claims(areas=claims()["areas"] | {"X": RANCHI_AREA}))
    assert policy.area_of("GXT0") is None and policy.area_of(METER) == policy.areas[RANCHI]
    assert policy.live_since_s("GXT0") == 0 and policy.live_since_s(METER) == NOW - DAY


def test_what_a_policy_can_choose_between_is_spelled_as_its_schema_has_it():
    assert [each.value for each in Shield] == ["medical", "essential"]
    assert [each.value for each in Reconnect] == ["close", "arm"]


def caps(**changes):
    return {"arrears": CAPS | changes, "prepaid": CAPS}


def area(**changes):
    return {RANCHI: RANCHI_AREA | changes, DHANBAD: RANCHI_AREA}


def without(members, name):
    return {key: value for key, value in members.items() if key != name}


REFUSED = {
    "another box": ({"dcu": "JH-RNC-0043"}, R.E_TARGET),
    "another head-end": ({"iss": "hes.other"}, R.E_TARGET),
    "one signature": ({"signers": (POLICY_A,)}, R.E_QUORUM),
    "two keys of one person": ({"signers": (POLICY_A, PLAIN_POLICY)}, R.E_QUORUM),
    "a key without the role": ({"signers": (POLICY_A, POLICY_B, REQUEST)}, R.E_QUORUM),
    "not in force yet": ({"nbf": NOW + 61}, R.E_EARLY),
    "issued in the future": ({"iat": NOW + 61}, R.E_EARLY),
    "expired": ({"exp": NOW}, R.E_EXPIRED),
    "the same version": ({"above": 1}, R.E_VERSION),
    "an older version": ({"above": 2}, R.E_VERSION),
    "a version that leaves none to others": ({"version": 1001}, R.E_VERSION),
    "version 0": ({"version": 0}, R.E_SCHEMA),
    "a rule that is not enforced": ({"weather": {}}, R.E_POLICY),
    "a rule within an area": ({"areas": area(weather=1)}, R.E_POLICY),
    "a rule within the caps": ({"caps": caps(minute=1)}, R.E_POLICY),
    "an area without since": ({"areas": {RANCHI: without(RANCHI_AREA, "since")}}, R.E_SCHEMA),
    "live as a number": ({"areas": area(prepaid_live=1)}, R.E_SCHEMA),
    "a profile that is none": ({"areas": area(profile="lenient")}, R.E_SCHEMA),
    "a way to reconnect that is none": ({"areas": area(reconnect="toggle")}, R.E_SCHEMA),
    "grace below nothing": ({"areas": area(grace_days=-1)}, R.E_SCHEMA),
    "an area that is no name": ({"areas": {"*": RANCHI_AREA}}, R.E_SCHEMA),
    "areas as a list": ({"areas": []}, R.E_SCHEMA),
    "a meter without area": ({"meters": {METER: "JH-BKR"}}, R.E_SCHEMA),
    "a meter's area no text": ({"meters": {METER: 7}}, R.E_SCHEMA),
    "models no list": ({"no_payment_mode_register": {}}, R.E_SCHEMA),
    "a model no name": ({"no_payment_mode_register": ["a b"]}, R.E_SCHEMA),
    "no meters": ({"meters": ...}, R.E_SCHEMA),
    "no caps": ({"caps": ...}, R.E_SCHEMA),
    "caps of one profile": ({"caps": {"arrears": CAPS}}, R.E_SCHEMA),
    "caps of another profile": ({"caps": {"arrears": CAPS, "prepaid": CAPS, "lenient": CAPS}}, R.E_SCHEMA),
    "a cap below nothing": ({"caps": caps(day=-1)}, R.E_SCHEMA),
    "no hours": ({"hours": ...}, R.E_SCHEMA),
    "an eighth day": ({"hours": {"day": "10:00-14:00"}}, R.E_SCHEMA),
    "hours that end before": ({"hours": {"mon": "14:00-10:00"}}, R.E_SCHEMA),
    "hours of no length": ({"hours": {"mon": "14:00-14:00"}}, R.E_SCHEMA),
    "hour 25": ({"hours": {"mon": "10:00-25:00"}}, R.E_SCHEMA),
    "hours beyond the day": ({"hours": {"mon": "10:00-24:01"}}, R.E_SCHEMA),
    "hours as numbers": ({"hours": {"mon": 10}}, R.E_SCHEMA),
    "a closed day that is none": ({"closed": ["2026-02-30"]}, R.E_SCHEMA),
    "a closed time of no length": ({"closed": ["2026-11-24T10:00/2026-11-24T10:00"]}, R.E_SCHEMA),
    "a closed day that is a number": ({"closed": [20261124]}, R.E_SCHEMA),
    "a closed day without hyphens": ({"closed": ["20261124"]}, R.E_SCHEMA),
    "a closed day of a week": ({"closed": ["2026-W48-2"]}, R.E_SCHEMA),
    "a closed day with a blank": ({"closed": ["2026-11- 4T10:00/2026-11-24T12:00"]}, R.E_SCHEMA),
    "a closed time in small letters": ({"closed": ["2026-11-24t10:00/2026-11-24t12:00"]}, R.E_SCHEMA),
    "a closed time to the second": ({"closed": ["2026-11-24T10:00:00/2026-11-24T12:00"]}, R.E_SCHEMA),
    "a closed time at hour 24": ({"closed": ["2026-11-24T10:00/2026-11-24T24:00"]}, R.E_SCHEMA),
    "the last day of all": ({"closed": ["9999-12-31"]}, R.E_SCHEMA),
    "a closed moment": ({"closed": ["2026-11-24T10:00"]}, R.E_SCHEMA),
    "a closed time with a zone": ({"closed": ["2026-11-24T10:00+05:30/2026-11-25"]}, R.E_SCHEMA),
    "closed no list": ({"closed": "2026-11-24"}, R.E_SCHEMA),
    "a timezone that is a number": ({"timezone": 5}, R.E_SCHEMA),
    "a timezone of nowhere": ({"timezone": "Asia/Ranchi"}, R.E_SCHEMA),
    "a timezone that is a path": ({"timezone": "../../etc/passwd"}, R.E_SCHEMA),
    "protected for no reason": ({"protected": {METER: "friend"}}, R.E_SCHEMA),
    "a stranger is protected": ({"protected": {"GXT1": "medical"}}, R.E_SCHEMA),
    "a stranger has grace": ({"grace": {"GXT1": NOW}}, R.E_SCHEMA),
    "grace that is no time": ({"grace": {METER: "soon"}}, R.E_SCHEMA),
    "emergency credit for years": ({"emergency_h": 10_000}, R.E_SCHEMA),
    "a floor below nothing": ({"limit_floor_w": -1}, R.E_SCHEMA),
    "another v": ({"v": 2}, R.E_SCHEMA),
    "v true": ({"v": True}, R.E_SCHEMA),
    "another typ": ({"typ": "relay"}, R.E_SCHEMA),
    "version true": ({"version": True}, R.E_SCHEMA),
    "negative exp": ({"exp": -1}, R.E_SCHEMA),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_policy_that_is_refused(name):
    changes, code = REFUSED[name]
    with pytest.raises(CommandRefused) as refusal:
        vetted(**changes)
    assert refusal.value.code is code


BOUNDS = {
    "version": (1, 2**53),
    **dict.fromkeys(("iat", "nbf", "exp", f"areas/{RANCHI}/since", f"grace/{METER}"), (0, 2**40)),
    f"areas/{RANCHI}/grace_days": (0, 366),
    "emergency_h": (0, 744),
    "limit_floor_w": (0, 10**7),
    **{f"caps/arrears/{window}": (0, 10_000) for window in ("hour", "day", "week")},
    **{f"caps/prepaid/{pause}": (0, DAY) for pause in ("spacing_s", "wait_s")},
}


@pytest.mark.parametrize("place", BOUNDS)
def test_each_number_of_a_policy_has_its_bounds(place):
    *above, last = place.split("/")

    def taken(number):
        document = copy.deepcopy(claims(grace={METER: NOW}))
        found = document
        for step in above:
            found = found[step]
        found[last] = number
        try:
            read_policy(document)
        except CommandRefused as refusal:
            return refusal.code
        return "taken"

    least, most = BOUNDS[place]
    assert [taken(n) for n in (least - 1, least, most, most + 1)] == [R.E_SCHEMA, "taken", "taken", R.E_SCHEMA]


NO_NUMBER = "is not a number from"
NO_NAMES = "is not an object of names"
IN_ITS_WORDS = {
    **dict.fromkeys(("areas", "meters", "hours", "protected", "grace", "caps"), NO_NAMES),
    **dict.fromkeys(("iss", "dcu"), "is not 1 to 40 of"),
    **dict.fromkeys(("closed", "no_payment_mode_register"), "is not a list"),
    **dict.fromkeys(BOUNDS, NO_NUMBER),
    **{f"caps/arrears/{number}": NO_NUMBER for number in ("hour", "day", "week", "spacing_s", "wait_s")},
    f"areas/{RANCHI}/prepaid_live": "is not true or false",
    f"areas/{RANCHI}/profile": "is none of arrears, prepaid",
    f"areas/{RANCHI}/reconnect": "is none of close, arm",
}
BY_ANOTHER_NAME = {
    "timezone": "timezone is none that is known here",
    f"areas/{RANCHI}": f"area {RANCHI} {NO_NAMES}",
    f"meters/{METER}": "area is not 1 to 40 of",
    "hours/mon": "hours are as mon: 10:00-14:00",
    "closed/0": "closed has days as 2026-11-24",
    f"protected/{METER}": "protected is none of medical, essential",
    f"grace/{METER}": f"grace {NO_NUMBER}",
    "caps/prepaid": f"caps of prepaid {NO_NAMES}",
    "no_payment_mode_register/0": "no_payment_mode_register is not 1 to 40 of",
}
FAULTS = {place: f"{place.split('/')[-1]} {words}" for place, words in IN_ITS_WORDS.items()} | BY_ANOTHER_NAME


@pytest.mark.parametrize("place", FAULTS)
def test_what_is_wrong_with_a_policy_is_said_with_its_place(place):
    document = copy.deepcopy(
        claims(protected={METER: "medical"}, grace={METER: 1}, closed=["2026-11-24"], no_payment_mode_register=["m"])
    )
    *above, last = place.split("/")
    found = document
    for step in above:
        found = found[step]
    found[int(last) if isinstance(found, list) else last] = None
    with pytest.raises(CommandRefused, match="E_SCHEMA") as refusal:
        read_policy(document)
    assert refusal.value.cause.startswith(FAULTS[place])


def test_caps_of_a_profile_that_is_none_are_said_to_be():
    with pytest.raises(CommandRefused, match="caps is none of arrears, prepaid"):
        read_policy(claims(caps={"lenient": CAPS}))


@pytest.mark.parametrize("changes", [{"nbf": NOW + 60}, {"iat": NOW + 60}, {"exp": NOW + 1}, {"version": 1000}])
def test_a_policy_that_just_holds(changes):
    assert vetted(**changes)


def test_a_policy_whose_key_is_out_of_date_does_not_hold():
    assert vetted(keys=trust(pol_a={"nbf": NOW, "exp": NOW + 1}).keys)
    for dates in ({"exp": NOW}, {"nbf": NOW + 1}):
        with pytest.raises(CommandRefused, match="E_KEY"):
            vetted(keys=trust(pol_a=dates).keys)


def test_a_policy_that_nobody_signed_does_not_hold():
    opened = open_envelope(WORLD.policy(), trust().keys, NOW, {POLICY})
    with pytest.raises(CommandRefused, match="E_QUORUM"):
        vet_policy(replace(opened, kids=()), trust().keys, ISS, DCU, NOW, above=0)


def test_grace_ends_when_the_last_reason_for_it_does():
    def grace(days=0, **until):
        return read_policy(claims(areas=area(since=NOW, grace_days=days), **until)).grace_until_s(METER)

    assert [grace(), grace(30), grace(grace={METER: NOW + 9})] == [0, NOW + 30 * DAY, NOW + 9]
    assert grace(30, grace={METER: NOW + 40 * DAY}) == NOW + 40 * DAY
    assert grace(30, grace={METER: NOW + 1}) == NOW + 30 * DAY
    assert read_policy(claims()).grace_until_s("GXT0") == 0, "of another box"


def test_what_only_restricts_may_be_signed_by_one_and_without_knowing_the_time():
    assert vetted(signers=(POLICY_A,), two=False).version == 1
    assert vetted(now_s=None, exp=1, iat=0, nbf=0).version == 1


def test_no_rule_hides_anywhere_in_a_policy():
    document = claims()
    read_policy(document)
    for place in (document, document["areas"][RANCHI], document["caps"]["arrears"]):
        place["x"] = 1
        with pytest.raises(CommandRefused, match="not enforced"):
            read_policy(document)
        del place["x"]


@pytest.mark.parametrize("member", ["areas", "meters"])
def test_areas_and_meters_have_names(member):
    one_more = {"areas": RANCHI_AREA, "meters": RANCHI}[member]
    assert read_policy(claims() | {member: claims()[member] | {"A-1": one_more}})
    with pytest.raises(CommandRefused, match=f"{member} is not an object of names"):
        read_policy(claims() | {member: claims()[member] | {"A 1": one_more}})


def test_a_policy_of_a_thousand_meters_fits():
    meters = {f"GXT2093{n:05}": RANCHI for n in range(1000)}
    assert len(vetted(meters=meters).meters) == 1000


# ---- the calendar ---------------------------------------------------------------------------------------------------


def at(text):
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


CALENDAR = [
    # UTC, zone, open?
    ("2026-11-23T04:30", "Asia/Kolkata", {"mon": "10:00-14:00"}, [], True),
    ("2026-11-23T04:29", "Asia/Kolkata", {"mon": "10:00-14:00"}, [], False),
    ("2026-11-23T08:29", "Asia/Kolkata", {"mon": "10:00-14:00"}, [], True),
    ("2026-11-23T08:30", "Asia/Kolkata", {"mon": "10:00-14:00"}, [], False),
    ("2026-11-24T05:00", "Asia/Kolkata", {"mon": "10:00-14:00"}, [], False),  # a Tuesday
    ("2026-11-23T05:00", "Asia/Kolkata", {"mon": "10:00-14:00"}, ["2026-11-23"], False),
    ("2026-11-23T05:00", "Asia/Kolkata", {"mon": "10:00-14:00"}, ["2026-11-22"], True),
    ("2026-11-23T05:00", "Asia/Kolkata", {"mon": "10:00-14:00"}, ["2026-11-23T10:30/2026-11-23T11:00"], False),
    ("2026-11-23T05:30", "Asia/Kolkata", {"mon": "10:00-14:00"}, ["2026-11-23T10:30/2026-11-23T11:00"], True),
    ("2026-11-23T20:00", "Asia/Kolkata", {"tue": "00:00-24:00"}, [], False),  # 01:30 there: the compiled hours
    ("2026-11-23T14:00", "Asia/Kolkata", {"mon": "00:00-24:00"}, [], False),  # 19:30 there
    ("2026-11-23T02:29", "Asia/Kolkata", {"mon": "00:00-24:00"}, [], False),  # a minute before the compiled hours
    ("2026-11-23T02:30", "Asia/Kolkata", {"mon": "00:00-24:00"}, [], True),
    ("2026-11-23T12:29", "Asia/Kolkata", {"mon": "00:00-24:00"}, [], True),
    ("2026-11-23T12:30", "Asia/Kolkata", {"mon": "00:00-24:00"}, [], False),
    ("2026-03-29T06:30", "Europe/Berlin", {"sun": "08:00-18:00"}, [], True),  # summer time since this night
    ("2026-03-22T06:30", "Europe/Berlin", {"sun": "08:00-18:00"}, [], False),
    ("2028-02-29T05:00", "Asia/Kolkata", {"tue": "10:00-14:00"}, ["2028-02-29"], False),
]


@pytest.mark.parametrize(("utc", "zone", "hours", "closed", "expected"), CALENDAR)
def test_the_calendar_is_of_the_policys_own_zone(utc, zone, hours, closed, expected):
    policy = read_policy(claims(timezone=zone, hours=hours, closed=closed))
    assert policy.open_at(at(utc))[0] is expected


@pytest.mark.parametrize(
    ("local", "by_day"),
    [("07:59", False), ("08:00", True), ("08:01", True), ("17:59", True), ("18:00", False), ("18:01", False)],
)
def test_by_day_is_from_eight_to_six_wherever_the_box_stands(local, by_day):
    for zone in ("Asia/Kolkata", "Europe/Berlin"):
        now = datetime.fromisoformat(f"2026-11-23T{local}").replace(tzinfo=ZoneInfo(zone))
        assert within_floor(ZoneInfo(zone), int(now.timestamp())) is by_day


NO_OFFSET = b"TZif" + bytes(16) + struct.pack(">6l", 0, 0, 0, 0, 1, 4) + bytes(6) + b"UTC\0"  # RFC 8536
ZONE_NAMES = {"A": True, "Far_away+1/B-2": True, "x" * 40: True, "x" * 41: False, "a.b": False, "a b": False}


def test_a_zone_has_a_short_and_plain_name_whatever_files_lie_beside_the_zones(tmp_path):
    reset_tzpath([tmp_path])
    try:
        for name, known in ZONE_NAMES.items():
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_bytes(NO_OFFSET)
            assert ZoneInfo.no_cache(name).utcoffset(datetime(2026, 11, 23)) == timedelta(0)
            if known:
                assert read_policy(claims(timezone=name)).timezone == name
            else:
                with pytest.raises(CommandRefused, match="timezone is none that is known here"):
                    read_policy(claims(timezone=name))
    finally:
        reset_tzpath()


def test_a_permits_day_is_the_policys_day():
    assert read_policy(claims()).date_at(at("2026-11-22T18:29")) == "2026-11-22"
    assert read_policy(claims()).date_at(at("2026-11-22T18:30")) == "2026-11-23"


def test_what_no_policy_can_lift():
    assert [most_a_day(n) for n in (1, 4, 39, 40, 100, 1000)] == [3, 3, 3, 4, 10, 100]
    assert usual_caps(Profile.ARREARS, 4) == {"hour": 1, "day": 1, "week": 7, "spacing_s": 120, "wait_s": 900}
    assert usual_caps(Profile.ARREARS, 250)["day"] == 5
    assert usual_caps(Profile.PREPAID, 100) == {"hour": 2, "day": 5, "week": 10, "spacing_s": 60, "wait_s": 60}
    windows = ("hour", "day", "week")
    usual = {
        n: [[usual_caps(profile, n)[window] for window in windows] for profile in Profile]
        for n in (20, 39, 60, 99, 149, 1000)
    }
    assert usual == {
        20: [[1, 1, 7], [2, 3, 3]],
        39: [[1, 1, 7], [2, 3, 3]],
        60: [[2, 3, 21], [2, 3, 6]],
        99: [[2, 4, 28], [2, 4, 9]],
        149: [[2, 5, 35], [2, 7, 14]],
        1000: [[2, 5, 35], [20, 50, 100]],
    }


def test_the_floor_is_as_the_reference_and_the_law_have_it():
    assert (HOUR_S, DAY_S, WEEK_S, LONGEST_LIFE_S, WITNESS_S) == (3600, 86_400, 604_800, 14_400, 3600)
    assert (NOTICE_S, NOTICE_MOST_S, LOW_CREDIT_MOST_S) == (15 * 86_400, 731 * 86_400, 60 * 86_400)
    assert (SLOW_S, FREEZE_S, LOCK_S) == (86_400, 86_400, 3 * 86_400)
    assert LEAST_LIMIT_W == 500


# ---- what a new one changes -----------------------------------------------------------------------------------------

BASE = {"closed": ["2026-11-24"], "protected": {METER: "medical"}, "grace": {METER: NOW + DAY}, "emergency_h": 72}
CHANGES = {
    "prepaid becomes live in JH-DHN": {"areas": area()},
    "an area is new": {"areas": {**claims()["areas"], "JH-BKR": AREA | {"prepaid_live": False, "since": 0}}},
    "live since earlier": {"areas": claims()["areas"] | {RANCHI: RANCHI_AREA | {"since": NOW - 2 * DAY}}},
    "the profile": {"areas": claims()["areas"] | {RANCHI: RANCHI_AREA | {"profile": "prepaid"}}},
    "another zone": {"timezone": "Europe/Berlin"},
    "a meter more": {"meters": {METER: RANCHI, FAR_METER: DHANBAD, "GXT1": RANCHI}},
    "a meter in another area": {"meters": {METER: DHANBAD, FAR_METER: DHANBAD}},
    "longer in force": {"exp": NOW + 31 * DAY},
    "earlier in force": {"nbf": NOW - 61},
    "a day opens": {"hours": claims()["hours"] | {"sun": "10:00-11:00"}},
    "a minute later": {"hours": claims()["hours"] | {"mon": "08:00-18:01"}},
    "a minute earlier": {"hours": claims()["hours"] | {"mon": "07:59-18:00"}},
    "another box": {"dcu": "JH-RNC-0043"},
    "a holiday less": {"closed": []},
    "a shorter holiday": {"closed": ["2026-11-24T00:00/2026-11-24T12:00"]},
    "nobody is protected": {"protected": {}},
    "less grace": {"grace": {METER: NOW}},
    "no grace": {"grace": {}},
    "less emergency credit": {"emergency_h": 71},
    "more an hour": {"caps": caps(hour=1001)},
    "more a day": {"caps": caps(day=1001)},
    "more a week": {"caps": caps(week=1001)},
    "a lower floor": {"limit_floor_w": 999},
    "a model that need not say so": {"no_payment_mode_register": ["old"]},
}


@pytest.mark.parametrize("name", CHANGES)
def test_each_thing_that_permits_more_is_a_widening_and_its_reverse_is_none(name):
    old, new = read_policy(claims(**BASE)), read_policy(claims(**BASE) | CHANGES[name])
    assert compare(old, new).widens, name
    back = compare(new, old)
    if name not in {"another zone", "another box", "a meter in another area", "a shorter holiday", "earlier in force"}:
        assert back.narrows and not back.widens, name


def of_area(name, **changes):
    areas = claims()["areas"]
    return {"areas": areas | {name: areas[name] | changes}}


def more_meters(*serials):
    return {"meters": claims()["meters"] | dict.fromkeys(serials, RANCHI)}


def on_monday(hours):
    return {"hours": {"mon": hours} if hours else {}}


IN_WORDS = [
    # before, after, what after permits more in words, what before permits less
    ({"iat": NOW, "nbf": NOW + 5}, {"iat": NOW, "nbf": NOW + 5}, [], []),
    (of_area(DHANBAD, since=1), of_area(DHANBAD, since=2), [], []),
    (
        of_area(DHANBAD, since=1),
        of_area(DHANBAD, since=2, prepaid_live=True),
        ["prepaid becomes live in JH-DHN since 1970-01-01 00:00, without grace"],
        ["prepaid is not live any more in JH-DHN"],
    ),
    (
        of_area(RANCHI, grace_days=5),
        of_area(RANCHI, grace_days=4),
        ["4 days of grace in JH-RNC, not 5"],
        ["5 days of grace in JH-RNC, not 4"],
    ),
    (
        {"grace": {METER: 1}},
        {},
        [f"{METER}: no grace"],
        [f"{METER} has grace until 1970-01-01 00:00, not 1970-01-01 00:00"],
    ),
    (
        on_monday("08:05-17:45"),
        on_monday("08:00-18:00"),
        ["mon 08:00-18:00, not 08:05-17:45"],
        ["mon 08:05-17:45, not 08:00-18:00"],
    ),
    (on_monday(""), on_monday("10:00-11:00"), ["mon 10:00-11:00, not closed"], ["mon closed, not 10:00-11:00"]),
    ({}, more_meters("A", "B", "C"), ["A, B, C may be disconnected"], ["A, B, C not in it any more"]),
    (
        {},
        more_meters("A", "B", "C", "D"),
        ["4 meters (A, B, C, ..) may be disconnected"],
        ["4 meters (A, B, C, ..) not in it any more"],
    ),
]


@pytest.mark.parametrize(("before", "after", "widens", "narrows"), IN_WORDS)
def test_what_a_change_permits_and_what_its_reverse_takes_back(before, after, widens, narrows):
    old, new = read_policy(claims(**before)), read_policy(claims(**after))
    assert compare(old, new) == Comparison(tuple(widens), ())
    assert compare(new, old) == Comparison((), tuple(narrows))


def test_a_number_in_the_place_of_a_date_is_told_as_it_is():
    far = read_policy(claims(exp=2**40))
    (words,) = compare(read_policy(claims()), far).widens
    assert words == "it holds until 1099511627776 s, not until 2026-12-23 07:10"


def test_prepaid_goes_live_early_only_where_people_live_already_and_had_not_got_it():
    was = read_policy(claims())

    def early(before=was, **changes):
        return early_since(before, read_policy(claims(areas=claims()["areas"] | {DHANBAD: AREA | changes})))

    live = {"prepaid_live": True, "since": NOW - 61}
    assert early(**live) == (
        "prepaid becomes live in JH-DHN since 2026-11-23 07:08, without grace, "
        "before the policy was issued (2026-11-23 07:09)"
    )
    goes_on = replace(was, areas=was.areas | {DHANBAD: replace(was.areas[DHANBAD], prepaid_live=True)})
    elsewhere = replace(was, areas={RANCHI: was.areas[RANCHI]})
    assert [early(before, **live) for before in (None, goes_on, elsewhere)] == [""] * 3
    assert [early(**live | change) for change in ({"prepaid_live": False}, {"since": NOW - 60})] == [""] * 2


def test_a_later_beginning_narrows_only_where_it_is_still_to_come():
    assert compare(read_policy(claims()), read_policy(claims(nbf=NOW - 59))).narrows == (
        "it holds from 2026-11-23 07:09 only",
    )
    assert compare(read_policy(claims()), read_policy(claims(iat=NOW, nbf=NOW))) == compare(
        *[read_policy(claims())] * 2
    )


def test_a_pause_that_is_shortened_and_a_button_that_is_spared_are_widenings():
    slow = claims(
        caps=caps(spacing_s=60, wait_s=900), areas=claims()["areas"] | {RANCHI: RANCHI_AREA | {"reconnect": "arm"}}
    )
    found = compare(read_policy(slow), read_policy(claims()))
    assert len(found.widens) == 3 and not found.narrows
    back = compare(read_policy(claims()), read_policy(slow))
    assert back.widens == (f"in {RANCHI} a connect leaves it to the button",) and len(back.narrows) == 2


def test_what_is_the_same_changes_nothing_and_the_first_permits_all_that_it_says():
    policy = read_policy(claims())
    same = replace(policy, version=2, iat=NOW)
    assert compare(policy, same) == compare(policy, policy) == Comparison((), ())
    assert compare(None, policy).widens == ("it is the first policy: 2 meters, prepaid live in JH-RNC",)


def test_changes_are_told_in_words():
    found = compare(read_policy(claims(**BASE)), read_policy(claims(**BASE) | {"areas": area(), "emergency_h": 80}))
    assert "prepaid becomes live in JH-DHN since 2026-11-22 07:10, without grace" in found.widens
    assert found.narrows == ("80 h of emergency credit, not 72",)


def test_what_does_not_fit_is_counted():
    clauses = ("prepaid becomes live", "an hour more", "a day more")
    assert briefly(clauses, 200) == "prepaid becomes live; an hour more; a day more"
    assert briefly(clauses, 46) == "prepaid becomes live; an hour more; a day more"
    assert briefly(clauses, 45) == "prepaid becomes live; and 2 more"
    assert briefly(clauses, 20) == "and 3 more" and briefly(clauses, 9) == "3 changes"
    assert briefly((), 9) == ""


# ---- which holds ----------------------------------------------------------------------------------------------------


def test_the_policy_that_was_kept_is_read_whatever_its_dates_and_its_keys_say():
    for kept in (WORLD.policy(7, exp=1), WORLD.policy(7, signers=(STRANGER,)), WORLD.policy(7, dcu="elsewhere")):
        assert policy_kept(kept).version == 7
    assert policy_kept(None) is policy_kept(b"damaged") is policy_kept(WORLD.policy(0)) is None


def test_where_there_is_no_policy_that_is_said():
    with pytest.raises(CommandRefused, match="E_POLICY: no policy: nothing may be disconnected"):
        policy_in_force(None, None, {}, ISS, DCU, NOW)


def held(base, narrowed=None, keys=None, now_s=NOW):
    return policy_in_force(base, narrowed, (keys or trust()).keys, ISS, DCU, now_s).version


def test_the_policy_that_holds_is_the_narrowing_above_its_base():
    base, narrow = WORLD.policy(1), WORLD.policy(2, signers=(POLICY_A,), hours={})
    assert held(base) == 1 and held(base, narrow) == 2
    for wrong in (
        (None, None),
        (narrow, None),  # one signature is no base
        (base, WORLD.policy(2, signers=(POLICY_A,), limit_floor_w=0)),  # permits more
        (base, WORLD.policy(1, signers=(POLICY_A,), hours={})),
        (base, b"damaged"),
        (b"damaged", narrow),
    ):
        with pytest.raises(CommandRefused, match="E_POLICY"):
            held(*wrong)
    for keys in (trust(pol_b={"revoked": True}), trust(without=("pol-b",)), trust(pol_b={"person": "chitra"})):
        with pytest.raises(CommandRefused, match="E_POLICY"):
            held(base, None, keys)
    with pytest.raises(CommandRefused, match="E_POLICY"):
        held(base, narrow, trust(pol_a={"revoked": True}))
    with pytest.raises(CommandRefused, match="E_POLICY"):
        held(base, now_s=NOW + 30 * DAY)


# ---- waiting --------------------------------------------------------------------------------------------------------


def moment(now_s=NOW, boot_s=1000, boot="a", clock=ClockState.TRUSTED):
    return Moment(now_s, clock, 0, boot, boot_s, heard=True)


LOST = ClockState.UNTRUSTED
WAITED = [
    (
        moment(),
        moment(now_s=NOW + SLOW_S, boot_s=1000),
        False,
    ),  # the clock was put forward, the box is as old as it was
    (moment(), moment(now_s=NOW, boot_s=1000 + SLOW_S), True),
    (moment(), moment(now_s=NOW, boot_s=1000 + SLOW_S - 1), False),
    (moment(clock=LOST), moment(boot_s=1000 + SLOW_S, clock=LOST), True),
    (moment(), moment(now_s=NOW + SLOW_S, boot="b", boot_s=1), True),
    (moment(), moment(now_s=NOW + SLOW_S - 1, boot="b", boot_s=1), False),
    (moment(clock=LOST), moment(now_s=NOW + SLOW_S, boot="b", boot_s=1), None),
    (moment(), moment(now_s=NOW + SLOW_S, boot="b", boot_s=1, clock=LOST), None),
]


@pytest.mark.parametrize(("then", "now", "expected"), WAITED)
def test_what_permits_more_waits_for_a_day_that_nobody_can_shorten(then, now, expected):
    seen = Seen.of(Seen.at(then).octets)
    assert seen.waited(now) is expected


def test_a_damaged_note_is_none():
    for octets in (b"", b"[]", b'["a",1,2,3]', b"\xff", b"[1,true,2,3]"):
        assert Seen.of(octets) is None


# ---- permits --------------------------------------------------------------------------------------------------------


def permit_claims(**changes):
    members = {
        "v": 1,
        "typ": "permit",
        "id": "P-1",
        "iss": ISS,
        "dcu": DCU,
        "jid": JID,
        "date": DATE,
        "profile": "arrears",
        "max_n": 5,
    }
    return {name: value for name, value in (members | changes).items() if value is not ...}


CITY = {"dcu": ..., "jid": ..., "profile": ..., "max_n": ..., "total": 6000}
PERMITS_REFUSED = {
    "another day": {"date": "2026-13-01"},
    "a day spelled otherwise": {"date": "20261123"},
    "no day": {"date": 1},
    "a profile that is none": {"profile": "lenient"},
    "a share of nothing": {"profile": "prepaid"},
    "a share under the strict profile": {"of": "T-1"},
    "below nothing": {"max_n": -1},
    "too many": {"max_n": 10**6 + 1},
    "number true": {"max_n": True},
    "no name": {"id": "P 1"},
    "another v": {"v": 2},
    "another typ": {"typ": "policy"},
    "a member more": {"meters": ["GXT1"]},
    "a total and a box": {"total": 6000},
}


@pytest.mark.parametrize("name", PERMITS_REFUSED)
def test_a_permit_that_has_not_the_schema(name):
    with pytest.raises(CommandRefused) as refusal:
        read_permit(permit_claims(**PERMITS_REFUSED[name]))
    assert refusal.value.code is R.E_SCHEMA


def test_permits_and_who_signs_them():
    for changes, signer in (
        ({}, PERMITTER),
        (CITY, PERMITTER),
        ({"profile": "prepaid", "of": "T-1"}, PLANNER),
    ):
        for other in (PERMITTER, PLANNER, BILLING, REQUEST, POLICY_A):
            opened = open_envelope(WORLD.permit(signer=other, **changes), trust().keys, NOW, {PERMIT})
            if other is signer:
                assert vet_permit(opened, trust().keys, ISS, DCU, JID)
            else:
                with pytest.raises(CommandRefused, match="E_QUORUM"):
                    vet_permit(opened, trust().keys, ISS, DCU, JID)
    for elsewhere in ({"dcu": "JH-RNC-0043"}, {"iss": "hes.other"}):
        opened = open_envelope(WORLD.permit(**elsewhere), trust().keys, NOW, {PERMIT})
        with pytest.raises(CommandRefused, match="E_TARGET"):
            vet_permit(opened, trust().keys, ISS, DCU, JID)


# ---- in the box -----------------------------------------------------------------------------------------------------


@pytest.fixture
def world():
    world = commissioned()
    yield world
    world.end()
    assert world.fallen is None


def last(world):
    return world.receipts()[-1]


def versions(world):
    return {typ: found[0] for typ, found in world.store.rows.documents.items() if typ.startswith("policy")}


def age(world, seconds):
    """Time passes; the box is looked after every 20 s."""
    world.clock.pass_s(seconds)
    world.settle()


def test_a_policy_that_only_restricts_acts_at_once_by_one_signature(world):
    assert world.put(world.policy(2, signers=(POLICY_A,), hours={})).status == "accepted"
    assert last(world).claims["pol"] == 2 and last(world).state == "accepted"
    assert world.put(world.command(pol=2)).code is R.E_WINDOW
    assert world.put(world.policy(3, signers=(POLICY_A,))).code is R.E_QUORUM, "and it cannot take that back"
    assert versions(world) == {"policy": 1, "policy-narrowed": 2}


def test_a_policy_that_permits_more_needs_two_and_a_day(world):
    wider = {"limit_floor_w": 0}
    assert world.put(world.policy(2, signers=(POLICY_A,), **wider)).code is R.E_QUORUM
    assert world.put(world.policy(2, signers=(POLICY_A, PLAIN_POLICY), **wider)).code is R.E_QUORUM
    assert world.put(world.policy(2, **wider)).status == "accepted"
    assert last(world).state == "waiting" and "0 W" in last(world).claims["reason"]
    age(world, DAY - 60)
    assert versions(world)["policy"] == 1
    age(world, 61)
    assert versions(world) == {"policy": 2}
    assert [r.state for r in world.receipts() if r.kind == "policy"][-1] == "in-force"


def test_a_clock_that_jumps_does_not_shorten_the_day(world):
    world.put(world.policy(2, limit_floor_w=0))
    world.clock.epoch_s += DAY + 1
    world.clock.mono_s += 21
    world.settle()
    assert versions(world)["policy"] == 1


def test_what_waits_survives_a_restart_and_falls_with_its_keys(world):
    world.put(world.policy(2, limit_floor_w=0))
    world.end()
    world.clock.boot_id, world.clock.mono_s = "boot-2", 5.0
    world.clock.epoch_s += DAY - 1
    world.start()
    assert versions(world)["policy"] == 1
    world.renew(trust(pol_b={"revoked": True}))
    age(world, 30)
    assert versions(world) == {"policy": 1}
    assert last(world).code == "E_KEY"


def test_a_narrowing_that_comes_meanwhile_takes_its_place(world):
    world.put(world.policy(2, limit_floor_w=0))
    assert world.put(world.policy(3, signers=(POLICY_B,), hours={})).status == "accepted"
    age(world, DAY + 60)
    assert versions(world) == {"policy": 1, "policy-narrowed": 3}


def test_a_policy_is_answered_and_replaced_by_a_higher_version_only(world):
    assert world.put(world.policy(1)).status == "duplicate"
    assert world.put(world.policy(1, exp=NOW + 5)).code is R.E_VERSION
    assert world.put(world.policy(3)).status == "accepted"
    assert world.put(world.policy(2)).code is R.E_VERSION
    assert versions(world) == {"policy": 3}


def test_without_a_policy_nothing_is_disconnected_and_no_credit_message_shown():
    world = commissioned(policy=False)
    assert world.put(world.command()).code is R.E_POLICY
    assert world.put(world.command("message")).code is R.E_POLICY
    assert world.put(world.command("message", why="request", area=...)).status == "accepted"
    assert world.wall[METER].acts == ["set"]
    assert world.put(world.policy()).status == "accepted" and last(world).state == "waiting", "over the air it waits"
    assert world.put(world.command()).code is R.E_POLICY
    world.end()


def test_a_policy_in_trust_json_is_for_a_box_that_never_had_one(world):
    world.commissioned = (world.policy(2, limit_floor_w=0),)
    world.renew(world.trust)
    assert versions(world)["policy"] == 1 and versions(world)["policy-waiting"] == 2


@pytest.mark.parametrize(
    "end",
    [
        lambda w: setattr(w.clock, "epoch_s", NOW + 30 * DAY),
        lambda w: w.renew(trust(pol_b={"revoked": True})),
        lambda w: w.renew(trust(without=("pol-b",))),
        lambda w: w.store.rows.documents.update(policy=(1, b"damaged")),
    ],
    ids=["expired", "key revoked", "key gone", "damaged"],
)
def test_a_policy_that_no_longer_holds_disconnects_nobody(world, end):
    end(world)
    assert world.put(world.command(iat=world.clock.epoch_s, exp=world.clock.epoch_s + 60)).code is R.E_POLICY
    assert world.wall[METER].acts == []
