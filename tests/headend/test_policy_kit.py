"""Policies and permits as they are authored: what a change would allow, in words, before anybody signs it."""

import json
import time

import pytest

from dcu.command import Profile
from dcu.headend.lint import lint
from dcu.headend.signing import permit_claims, policy_claims
from dcu.relay.envelope import claims_of, payload_of
from dcu.relay.policy import read_policy
from dcu.relay.policy.floor import DAY_S
from tests.headend.kit import AREA, DCU, ISS, JID, METER, Kit

NOW = 1_795_417_800
METERS = {METER: AREA, **{f"GXT3000{n:04}": AREA for n in range(99)}}


def policy(**changes):
    members = {
        "iss": ISS, "dcu": DCU, "version": 7, "iat": NOW - 60, "nbf": NOW - 60, "exp": NOW + 300 * DAY_S,
        "areas": {AREA: {"prepaid_live": False, "since": 0}}, "meters": METERS,
        "hours": dict.fromkeys(("mon", "tue", "wed", "thu", "fri"), "10:00-14:00"), "closed": ["2026-11-24"],
        "protected": {METER: "medical"},
    }  # fmt: skip
    return read_policy(policy_claims(**(members | changes)))


BASE = policy()


def test_a_strict_policy_leaves_nothing_to_say():
    found = lint(policy(version=8), BASE, NOW)
    assert (found.faults, found.widens, found.narrows, found.doubts) == ((), (), (), ())
    assert "one policy key is enough" in found.effect


def test_what_becomes_more_permitted_is_said_and_waits():
    live = {AREA: {"prepaid_live": True, "since": NOW, "profile": "prepaid"}}
    found = lint(policy(version=8, areas=live), BASE, NOW)
    assert f"prepaid becomes live in {AREA} since 2026-11-23 07:10, with grace until 2026-12-23 07:10" in found.widens
    assert "two policy keys of two people" in found.effect and "24 h" in found.effect
    assert lint(BASE, None, NOW).widens[0].startswith("it is the first policy: 100 meters")


def test_what_becomes_less_permitted_needs_one_key_at_once():
    found = lint(policy(version=8, hours={"mon": "10:00-12:00"}), BASE, NOW)
    assert found.widens == () and "mon 10:00-12:00, not 10:00-14:00" in found.narrows
    assert "one policy key is enough, and it takes effect at once" in found.effect


CAPS = {"arrears": {"hour": 2, "day": 5, "week": 20, "spacing_s": 120, "wait_s": 900},
        "prepaid": {"hour": 2, "day": 5, "week": 10, "spacing_s": 60, "wait_s": 60}}  # fmt: skip


def caps(profile, **changes):
    return {"caps": CAPS | {profile: CAPS[profile] | changes}}


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"hours": {"mon": "07:00-14:00"}}, "nobody is disconnected before 08:00 or after 18:00"),
        ({"hours": {"sun": "10:00-18:01"}}, "before 08:00 or after 18:00"),
        (caps("prepaid", day=11, week=11), "11 a day, and 10 are the most for 100 meters"),
        (caps("arrears", hour=6), "contradict each other"),
        ({"timezone": "UTC"}, "timezone UTC is that of no place"),
        ({"timezone": "Etc/GMT-5"}, "timezone Etc/GMT-5 is that of no place"),
        ({"limit_floor_w": 499}, "a load limit below 500 W is always a disconnect"),
        ({"exp": NOW}, "it is over before it begins"),
        ({"nbf": NOW + 301 * DAY_S}, "it is over before it begins"),
        ({"version": 7}, "version 7 is not 8 to 1007: E_VERSION"),
        ({"version": 1008}, "E_VERSION"),
        ({"dcu": "JH-RNC-0043"}, "and what is in force for JH-RNC-0042"),
    ],
)
def test_what_the_floor_would_take_away_again_is_a_fault(changes, fault):
    found = lint(policy(**({"version": 8} | changes)), BASE, NOW)
    assert any(fault in clause for clause in found.faults), found.faults


def test_prepaid_that_begins_before_its_policy_is_looked_at_twice():
    """The box judges it by the policy that two people signed last, perhaps another than the one at hand."""
    found = lint(policy(version=8, areas={AREA: {"prepaid_live": True, "since": NOW - 61}}), BASE, NOW)
    assert not found.faults
    assert any(f"prepaid becomes live in {AREA} since 2026-11-23 07:08" in clause for clause in found.doubts)


@pytest.mark.parametrize(
    ("changes", "doubt"),
    [
        ({"hours": {}}, "no day is open: nothing may be disconnected"),
        ({"meters": {}, "protected": {}}, "it names no meter"),
        (
            {"areas": {AREA: {"prepaid_live": False, "since": 0}, "X": {"prepaid_live": False, "since": 0}}},
            "stands in X",
        ),
        ({"areas": {AREA: {"prepaid_live": False, "since": 0, "profile": "prepaid"}}}, "prepaid is not live there"),
        ({"areas": {AREA: {"prepaid_live": True, "since": NOW, "grace_days": 0}}}, "no grace in"),
        ({"areas": {AREA: {"prepaid_live": True, "since": NOW + 9}}}, "only from"),
        ({"areas": {AREA: {"prepaid_live": True, "since": NOW}}, "emergency_h": 0}, "no emergency credit"),
        ({"areas": {AREA: {"prepaid_live": False, "since": 0, "reconnect": "close"}}}, "nobody at home"),
        ({"protected": {}}, "no consumer is protected"),
        ({"closed": []}, "no holiday is closed"),
        ({"exp": NOW + DAY_S}, "from then on nothing may be disconnected"),
        ({"exp": NOW + 500 * DAY_S}, "what is forgotten goes on so long"),
        (caps("arrears", day=6, week=42), "6 a day; 5 are usual"),
        (caps("arrears", wait_s=0), "0 s to take it back; 900 s are usual"),
        (caps("prepaid", spacing_s=1), "1 s between two; 60 s are usual"),
    ],
)
def test_what_is_seldom_meant_is_doubted(changes, doubt):
    found = lint(policy(version=8, **changes), BASE, NOW)
    assert found.faults == ()
    assert any(doubt in clause for clause in found.doubts), found.doubts


@pytest.fixture
def kit(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return Kit(tmp_path)


def template(kit, version=1, out="p.json", **changes):
    kit("policy-template", "--iss", ISS, "--dcu", DCU, "--version", version, "--area", AREA, "--meter", METER,
        "--meter", f"GXT2={AREA}", "--out", out)  # fmt: skip
    members = json.loads(kit.read(out))
    (kit.directory / out).write_text(json.dumps(members | changes))
    return members


def test_a_policy_from_its_template_to_its_change(kit):
    assert template(kit)["areas"][AREA]["prepaid_live"] is False
    said = kit("policy", "p.json", "--out", "p-1.jws")
    assert f"policy 1 for {DCU}: prepaid live in no area, 2 meters" in said and "not signed yet" in said
    assert "look twice: no consumer is protected" in said and "two policy keys" in said
    kit.sign("p-1.jws", "pol-a", "pol-b")
    kit.key_document()
    assert kit.json("verify", "p-1.jws", "--trust", "keys.jws")["kids"] == ["pol-a", "pol-b"]

    live = {AREA: {"prepaid_live": True, "since": int(time.time()) + 9, "profile": "prepaid"}}
    template(kit, 2, "p2.json", areas=live)
    found = kit.json("policy", "p2.json", "--against", "p-1.jws")
    assert any(f"prepaid becomes live in {AREA} since" in clause for clause in found["permits"])
    assert "24 h" in found["effect"][0]
    template(kit, 2, "p2.json", hours={"mon": "10:00-12:00"})
    found = kit.json("policy", "p2.json", "--against", "p.json", "--out", "p-2.jws")
    assert "mon 10:00-12:00, not 10:00-14:00" in found["no longer permits"]
    assert claims_of(payload_of(kit.read("p-2.jws")))["version"] == 2


def test_a_policy_that_cannot_be_is_not_drafted(kit):
    for changes in ({"hours": {"mon": "06:00-14:00"}}, {"weather": 1}, {"areas": 5}, {"meters": ["x"]}, {"v": 2}):
        template(kit, **changes)
        kit("policy", "p.json", "--out", "p.jws", code=5)
    (kit.directory / "p.json").write_text("[]")
    kit("policy", "p.json", "--out", "p.jws", code=1)
    kit("policy", "nowhere.json", "--out", "p.jws", code=1)
    assert not (kit.directory / "p.jws").exists()


def test_permits_of_a_box_of_the_city_and_shares(kit):
    day = ("--iss", ISS, "--date", "2026-11-23", "--max", 5, "--out", "permit.jws")
    box = ("--dcu", DCU, "--jid", JID)
    said = kit("permit", "P-1", *day, *box, "--profile", "arrears")
    assert claims_of(payload_of(kit.read("permit.jws")))["jid"] == JID
    assert f"permit P-1 for {DCU}: at most 5 disconnects on 2026-11-23 under the profile arrears" in said
    assert "at most 5 prepaid disconnects in the whole city" in kit("permit", "T-1", *day)
    assert "a share of T-1" in kit("permit", "S-1", *day, *box, "--profile", "prepaid", "--of", "T-1")
    kit("permit", "S-1", *day, *box, "--profile", "prepaid", code=5)
    kit("permit", "P-1", *day, "--dcu", DCU, "--profile", "arrears", code=2)  # no journal
    kit("permit", "T-1", *day, "--jid", JID, code=2)
    kit("permit", "P-1", *day, "--dcu", DCU, code=2)
    kit("permit", "P-1", "--iss", ISS, "--date", "tomorrow", "--max", 5, "--out", "x", code=5)
    kit.sign("permit.jws", "per")
    kit.key_document()
    assert kit.json("verify", "permit.jws", "--trust", "keys.jws")["kids"] == ["per"]
    arrears = {"dcu": DCU, "jid": JID, "profile": Profile.ARREARS}
    assert permit_claims(permit_id="P", iss=ISS, date="2026-11-23", max_n=1, **arrears)["max_n"] == 1
