"""What a policy permits more or less, in words; trust.json and key files: what is taken and what is refused."""

import base64
import contextlib
import json
import logging
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given
from hypothesis import strategies as st

from dcu.command import CommandRefused, Refusal
from dcu.errors import ConfigFault, OperatorFault
from dcu.headend.keys import box_document, commissioning, load_box_key, make_key, trust_entry
from dcu.relay.envelope import COMMAND, POLICY, seal
from dcu.relay.key import FileSigner, load_signer
from dcu.relay.policy import compare, read_policy
from dcu.relay.public_key import Role
from dcu.relay.trust import Commissioning
from tests.relay.world import (
    AREA,
    DAY,
    DHANBAD,
    FAR_METER,
    ISS,
    METER,
    NOW,
    POLICY_A,
    POLICY_B,
    RANCHI,
    REQUEST,
    ROOT_A,
    ROOT_B,
    World,
    box,
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


def area(**changes):
    return {"areas": {RANCHI: LIVE | changes, DHANBAD: NOT_LIVE}}


def cap(**changes):
    return {"caps": {"arrears": WIDE, "prepaid": WIDE | changes}}


# ---- policies ----


@pytest.fixture
def world():
    with box() as world:
        yield world


def test_a_command_dressed_as_a_policy_is_neither(world):
    assert world.put(seal(world.claims(), POLICY, [POLICY_A, POLICY_B])).code in {R.E_POLICY, R.E_SCHEMA}
    assert world.put(seal(world.policy_claims(2), COMMAND, [REQUEST])).code is R.E_SCHEMA
    assert world.store.rows.documents["policy"][0] == 1


@pytest.mark.parametrize("member", sorted(claims()))
def test_whoever_signs_a_policy_has_decided_every_member(member):
    with pytest.raises(CommandRefused) as refusal:
        policy(**{member: ...})
    assert refusal.value.code is R.E_SCHEMA


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
    "the light by the button": (area(reconnect="arm"), f"in {RANCHI} a connect leaves it to the button"),
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
    found = compare(policy(), policy(8, iat=NOW))
    assert found.widens == found.narrows == ()
    assert compare(None, policy()).widens == (f"it is the first policy: 2 meters, prepaid live in {RANCHI}",)


TOGETHER = [c for name, (c, _) in (WIDENS | NARROWS).items() if name != "a meter less"]  # it may be named elsewhere
CHANGES = st.lists(st.sampled_from(TOGETHER), max_size=4)


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
    assert all(new.areas[name].reconnect is old.areas[name].reconnect for name in new.areas)
    assert all(new.grace_until_s(serial) >= old.grace_until_s(serial) for serial in new.meters)
    for profile, caps in new.caps.items():
        was = old.caps[profile]
        assert caps.hour <= was.hour and caps.day <= was.day and caps.week <= was.week
        assert caps.spacing_s >= was.spacing_s and caps.wait_s >= was.wait_s


# ---- trust.json ----


def root(signer=ROOT_A, person="esha", **changes):
    return trust_entry(signer, [Role.ROOT], person, 1, 2) | changes


TWO_ROOTS = [root(), root(ROOT_B, "farid")]


def parse(document):
    octets = document if isinstance(document, bytes) else json.dumps(document).encode()
    return Commissioning.parse(octets, "trust.json")


def members(**changes):
    return {"v": 1, "issuer": ISS, "threshold": 2, "root": TWO_ROOTS, "documents": []} | changes


def first(**changes):
    return members(root=[root(**changes), TWO_ROOTS[1]])


MISTAKES = {
    "no JSON": (b"{", "strict JSON"),
    "garbage": (bytes(range(128, 256)), "not UTF-8"),
    "too large": (b" " * (1 << 19), "octets"),
    "a name twice": (json.dumps(members()).replace('"v": 1,', '"v": 1, "v": 1,').encode(), "twice"),
    "another version": (members(v=2), "not a trust store"),
    "a list": ([], "not a trust store of version 1"),
    "v true": (members(v=True), "not a trust store of version 1"),
    "a member more": (members(keys=[]), "not a trust store"),
    "a member less": ({n: v for n, v in members().items() if n != "documents"}, "not a trust store"),
    "issuer": (members(issuer="x y"), "issuer"),
    "a root no object": (members(root=[7]), "not a key"),
    "threshold of one": (members(threshold=1), "threshold is not a number from 2 to 4"),
    "two keys of one person": (members(root=[root(), root(ROOT_B)]), "1 people hold root keys, and 2 sign"),
    "a revoked root": (first(revoked=True), "1 people hold root keys, and 2 sign"),
    "a private key in it": (first(d="AA"), "d in a key"),
    "another role": (first(roles=["request"]), "root keys have the role root"),
    "off the curve": (first(y=root()["x"]), "P-256"),
    "one kid twice": (members(root=[root(), root()]), "one kid names two keys"),
    "one key under two kids": (members(root=[*TWO_ROOTS, root(kid="other")]), "two kids"),
    "one person in two spellings": (members(root=[root(), root(ROOT_B, "Esha")]), "esha and Esha"),
    "a document no envelope": (members(documents=["keys.jws"]), "documents are envelopes"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_in_trust_json_is_told_with_its_place(name):
    document, words = MISTAKES[name]
    with pytest.raises(ConfigFault, match=words) as fault:
        parse(document)
    assert fault.value.place == "trust.json" and "documents, issuer, root, threshold, v" in fault.value.cure


@pytest.mark.parametrize("member", sorted(members().keys() - {"v"}))
def test_what_is_wrong_with_a_member_of_trust_json_names_it(member):
    with pytest.raises(ConfigFault, match=f"^trust.json: {member} is not "):
        parse(members(**{member: None}))


@pytest.mark.parametrize(("member", "words"), [("root", "root: not a key"), ("documents", "documents are envelopes")])
def test_what_stands_in_the_place_of_a_key_or_an_envelope_is_told_by_the_list(member, words):
    with pytest.raises(ConfigFault, match=f"^trust.json: {words}"):
        parse(members(**{member: ["x"]}))


@pytest.mark.parametrize("text", ["\u00e4", "\n"])
def test_an_envelope_in_trust_json_is_of_what_can_be_signed(text):
    with pytest.raises(ConfigFault, match="^trust.json: documents: text that is not printable ASCII"):
        parse(members(documents=[{"payload": text}]))


def test_an_envelope_in_trust_json_is_as_deep_as_any_and_no_deeper():
    assert parse(members(documents=[{"a": [[[]]]}])).documents == (b'{"a":[[[]]]}',)
    with pytest.raises(ConfigFault, match="more than 6 levels deep"):
        parse(members(documents=[{"a": [[[[]]]]}]))


@pytest.mark.parametrize(("octets", "words"), [(4 * 65536, None), (4 * 65536 + 1, "more than 262144 octets")])
def test_a_trust_json_has_room_for_four_documents_of_the_largest(tmp_path, octets, words):
    path = tmp_path / "trust.json"
    path.write_bytes(commissioning(ISS, 2, TWO_ROOTS, []).strip().rjust(octets))
    with contextlib.nullcontext() if words is None else pytest.raises(ConfigFault, match=words):
        assert Commissioning.load(path).root.issuer == ISS


def test_trust_json_is_read_back_as_it_was_made(tmp_path):
    policy = World().policy()
    path = tmp_path / "trust.json"
    with pytest.raises(ConfigFault, match="No such file"):
        Commissioning.load(path)
    path.write_bytes(commissioning(ISS, 2, TWO_ROOTS, [policy]))
    held = Commissioning.load(path)
    assert (held.root.issuer, held.root.threshold, held.root.version) == (ISS, 2, 0)
    assert held.documents == (policy,) and set(held.root.keys) == {"root-a", "root-b"}
    assert held.root.keys["root-a"].person == "esha" and held.root.keys["root-a"].x == ROOT_A.x
    with pytest.raises(ConfigFault, match="1 people"):
        commissioning(ISS, 2, TWO_ROOTS[:1], [])


@pytest.mark.parametrize("mode", [0o646, 0o664, 0o602])
def test_a_trust_json_that_others_may_write_is_nobodys_word(tmp_path, mode):
    path = tmp_path / "trust.json"
    path.write_bytes(commissioning(ISS, 2, TWO_ROOTS, []))
    for harmless in (0o644, 0o755):
        path.chmod(harmless)
        assert Commissioning.load(path).root.issuer == ISS
    path.chmod(mode)
    with pytest.raises(ConfigFault, match="others may write") as fault:
        Commissioning.load(path)
    assert fault.value.place == str(path) and fault.value.cure == f"chmod go-w {path}"


# ---- key files ----


def test_a_key_is_made_once_and_for_its_owner(tmp_path):
    path = tmp_path / "a.pem"
    signer = make_key(path, "req-1")
    assert path.stat().st_mode & 0o777 == 0o600 and FileSigner.load(path, "req-1").x == signer.x
    with pytest.raises(OperatorFault, match="exists already"):
        make_key(path, "req-2")
    with pytest.raises(CommandRefused, match="who administers"):
        trust_entry(signer, [Role.BILLING], "billing", 1, 2)


def test_the_receipt_key_is_read_only_from_its_owners_file(tmp_path):
    path = tmp_path / "receipt.key"
    signer = make_key(path)
    assert load_signer(path).kid == signer.kid and signer.kid.startswith("box-")
    for mode in (0o640, 0o620, 0o610, 0o604, 0o602, 0o601):
        path.chmod(mode)
        with pytest.raises(ConfigFault, match="others may") as fault:
            load_signer(path)
        assert "chmod 600" in fault.value.cure
    path.chmod(0o600)
    secret = path.read_text().splitlines()[1]
    path.write_text(path.read_text().replace("PRIVATE", "PRIVAT"))
    with pytest.raises(ConfigFault, match="not an unencrypted PEM") as fault:
        load_signer(path)
    assert secret not in repr(fault.value) and fault.value.__cause__ is None
    (tmp_path / "directory").mkdir(0o700)
    for name in ("none", "directory"):
        with pytest.raises(ConfigFault, match="cannot be read") as fault:
            load_signer(tmp_path / name)
        assert fault.value.place == str(tmp_path / name)


def private(key):
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def of_curve(identifier):
    """A P-256 key that says that it is on another curve."""
    key = ec.generate_private_key(ec.SECP256R1())
    octets = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    other = octets.replace(bytes.fromhex("2a8648ce3d030107"), bytes.fromhex(identifier))
    return b"-----BEGIN PRIVATE KEY-----\n" + base64.encodebytes(other) + b"-----END PRIVATE KEY-----\n"


FOREIGN = "not a P-256 key"
NO_RECEIPT_KEYS = {
    "another curve": (private(ec.generate_private_key(ec.SECP384R1())), FOREIGN),
    "of Edwards": (private(ed25519.Ed25519PrivateKey.generate()), FOREIGN),
    "a curve that the library does not know": (of_curve("2a8648ce3d030001"), "not an unencrypted PEM private key"),
}


@pytest.mark.parametrize("name", NO_RECEIPT_KEYS)
def test_what_is_no_receipt_key(tmp_path, name):
    path, (pem, words) = tmp_path / "k", NO_RECEIPT_KEYS[name]
    path.write_bytes(pem)
    path.chmod(0o600)
    with pytest.raises(ConfigFault, match=words) as fault:
        FileSigner.load(path)
    assert fault.value.place == str(path) and fault.value.cure


@pytest.mark.parametrize(("octets", "whole"), [(65536, True), (65537, False)])
def test_a_key_file_is_read_up_to_64_kib(tmp_path, octets, whole):
    path, signer = tmp_path / "k", make_key(tmp_path / "made")
    pem = (tmp_path / "made").read_bytes().rstrip()
    path.write_bytes(b"of the box".ljust(octets - len(pem) - 1) + b"\n" + pem)
    path.chmod(0o600)
    with contextlib.nullcontext() if whole else pytest.raises(ConfigFault, match="PEM"):
        assert FileSigner.load(path).x == signer.x


def test_the_public_half_of_a_box(tmp_path):
    signer = make_key(tmp_path / "k")
    path = tmp_path / "box.json"
    path.write_text(json.dumps(box_document(signer)))
    assert (load_box_key(path).x, load_box_key(path).kid) == (signer.x, signer.kid)
    for wrong in ("{}", "[]", "{", json.dumps(box_document(signer) | {"x": "AAAA"})):
        path.write_text(wrong)
        with pytest.raises(ConfigFault):
            load_box_key(path)


def test_no_key_is_ever_logged(tmp_path, caplog):
    with caplog.at_level(logging.DEBUG), box() as world:
        world.put(world.command())
    assert caplog.text
    for signer in (REQUEST, POLICY_A):
        assert str(signer._key.private_numbers().private_value) not in caplog.text
        assert "PRIVATE" not in repr(signer)
