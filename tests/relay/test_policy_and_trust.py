"""Policies, the trust store, key files: what is taken, what is refused, and in which words."""

import json
import logging

import pytest

from dcu.command import CommandRefused, Refusal
from dcu.errors import ConfigFault
from dcu.headend.keys import add_to_trust, box_document, load_box_key, make_key, trust_entry
from dcu.relay.envelope import POLICY, open_envelope
from dcu.relay.key import FileSigner, load_signer
from dcu.relay.policy import read_policy, vet_policy
from dcu.relay.public_key import Role
from dcu.relay.trust import TrustStore
from tests.relay.world import (
    APPROVE,
    DCU,
    ISS,
    METER,
    NOW,
    PLAIN_POLICY,
    POLICY_A,
    POLICY_B,
    RANCHI,
    REQUEST,
    World,
    box,
    trust,
)

R = Refusal


def vetted(above=0, now_s=NOW, keys=None, version=1, signers=(POLICY_A, POLICY_B), **changes):
    keys = keys or trust().keys
    opened = open_envelope(World().policy(version, signers=signers, **changes), trust().keys, None, {POLICY})
    return vet_policy(opened, keys, ISS, DCU, now_s, above)


def test_a_policy_says_where_prepaid_is_live_and_since_when():
    policy = vetted()
    assert policy.live(RANCHI, NOW) and not policy.live(RANCHI, NOW - 86401)
    assert not policy.live("JH-DHN", NOW) and not policy.live("nowhere", NOW)


REFUSED = {
    "another box": ({"dcu": "JH-RNC-0043"}, R.E_TARGET),
    "another head-end": ({"iss": "hes.other"}, R.E_TARGET),
    "one signature": ({"signers": (POLICY_A,)}, R.E_QUORUM),
    "two keys of one person": ({"signers": (POLICY_A, PLAIN_POLICY)}, R.E_QUORUM),
    "a key without the role": ({"signers": (POLICY_A, POLICY_B, REQUEST)}, R.E_QUORUM),
    "not in force yet": ({"nbf": NOW + 61}, R.E_EARLY),
    "issued in the future": ({"iat": NOW + 61}, R.E_EARLY),
    "expired": ({"exp": NOW}, R.E_EXPIRED),
    "the same version": ({"above": 1}, R.E_POLICY),
    "an older version": ({"above": 2}, R.E_POLICY),
    "version 0": ({"version": 0}, R.E_POLICY),
    "a rule that is not built": ({"caps": {"hour": 2}}, R.E_POLICY),
    "a rule within an area": ({"areas": {RANCHI: {"prepaid_live": True, "since": 0, "hours": "8-18"}}}, R.E_POLICY),
    "an area without since": ({"areas": {RANCHI: {"prepaid_live": True}}}, R.E_SCHEMA),
    "live as a number": ({"areas": {RANCHI: {"prepaid_live": 1, "since": 0}}}, R.E_SCHEMA),
    "an area that is no name": ({"areas": {"*": {"prepaid_live": True, "since": 0}}}, R.E_SCHEMA),
    "areas as a list": ({"areas": []}, R.E_SCHEMA),
    "a meter without area": ({"meters": {METER: "JH-BKR"}}, R.E_SCHEMA),
    "a meter's area no text": ({"meters": {METER: 7}}, R.E_SCHEMA),
    "models no list": ({"no_payment_mode_register": {}}, R.E_SCHEMA),
    "a model no name": ({"no_payment_mode_register": ["a b"]}, R.E_SCHEMA),
    "no meters": ({"meters": ...}, R.E_SCHEMA),
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


def test_a_policy_whose_key_is_out_of_date_does_not_hold():
    with pytest.raises(CommandRefused, match="E_KEY"):
        vetted(keys=trust(pol_a={"exp": NOW}).keys)


def test_no_rule_hides_anywhere_in_a_policy():
    claims = World().policy_claims()
    read_policy(claims)
    for place in (claims, claims["areas"][RANCHI]):
        place["x"] = 1
        with pytest.raises(CommandRefused, match="not built"):
            read_policy(claims)
        del place["x"]


# ---- in the box ----


@pytest.fixture
def world():
    with box() as world:
        yield world


def test_without_a_policy_nothing_is_disconnected_and_no_credit_message_shown():
    with box(policy=False) as world:
        assert world.put(world.command()).code is R.E_POLICY
        assert world.put(world.command("message")).code is R.E_POLICY
        assert world.put(world.command("message", why="request", area=...)).status == "accepted"
        assert world.wall[METER].acts == ["set"]


@pytest.mark.parametrize(
    "end",
    [
        lambda w: setattr(w.clock, "epoch_s", NOW + 30 * 86400),
        lambda w: w.desk.renew_trust(trust(pol_b={"revoked": True})),
        lambda w: w.desk.renew_trust(trust(without=("pol-b",))),
        lambda w: w.desk.renew_trust(trust(pol_b={"person": "chitra"})),
        lambda w: w.store.rows.documents.update(policy=(1, b"damaged")),
        lambda w: w.store.rows.documents.update(policy=(2, w.policy(1))),
    ],
    ids=["expired", "key revoked", "key gone", "one person now", "damaged", "another version"],
)
def test_a_policy_that_no_longer_holds_disconnects_nobody(world, end):
    end(world)
    world.settle()
    assert world.put(world.command()).code is R.E_POLICY
    assert world.wall[METER].acts == []


def test_a_policy_is_answered_and_replaced_by_a_higher_version_only(world):
    assert world.put(world.policy(1)).status == "duplicate"
    assert world.put(world.policy(1, exp=NOW + 5)).code is R.E_POLICY
    assert world.put(world.policy(3)).status == "accepted"
    assert world.put(world.policy(2)).code is R.E_POLICY
    told = [(r.kind, r.state, r.code, r.claims.get("pol")) for r in world.receipts()]
    assert told[0] == ("policy", "accepted", "", 1) and ("policy", "accepted", "", 3) in told
    assert told[-1] == ("policy", "refused", "E_POLICY", None)
    assert world.store.rows.documents["policy"][0] == 3


def test_a_policy_of_one_person_changes_nothing(world):
    assert world.put(world.policy(2, signers=(POLICY_A,))).code is R.E_QUORUM
    assert world.put(world.policy(2, signers=(POLICY_A, PLAIN_POLICY))).code is R.E_QUORUM
    assert world.store.rows.documents["policy"][0] == 1


def test_a_command_dressed_as_a_policy_is_neither(world):
    from dcu.relay.envelope import COMMAND, seal

    assert world.put(seal(world.claims(), POLICY, [POLICY_A, POLICY_B])).code in {R.E_POLICY, R.E_SCHEMA}
    assert world.put(seal(world.policy_claims(2), COMMAND, [REQUEST])).code is R.E_SCHEMA


# ---- files ----


def entry(**changes):
    return trust_entry(REQUEST, [Role.REQUEST], "asha", 1, 2) | changes


def parse(document):
    octets = document if isinstance(document, bytes) else json.dumps(document).encode()
    return TrustStore.parse(octets, "trust.json")


MISTAKES = {
    "no JSON": (b"{", "strict JSON"),
    "a name twice": (b'{"v":1,"v":1,"issuer":"x","keys":[]}', "twice"),
    "another version": ({"v": 2, "issuer": "x", "keys": []}, "not a trust store"),
    "a list": ([], "not a trust store"),
    "issuer": ({"v": 1, "issuer": "x y", "keys": []}, "issuer"),
    "keys": ({"v": 1, "issuer": "x", "keys": {}}, "keys"),
    "a private key in it": ({"v": 1, "issuer": "x", "keys": [entry(d="AA")]}, r"keys\[0\]"),
    "kid": ({"v": 1, "issuer": "x", "keys": [entry(kid="../x")]}, "name"),
    "role": ({"v": 1, "issuer": "x", "keys": [entry(roles=["permit"])]}, "roles"),
    "no role": ({"v": 1, "issuer": "x", "keys": [entry(roles=[])]}, "roles"),
    "off the curve": ({"v": 1, "issuer": "x", "keys": [entry(y=entry()["x"])]}, "P-256"),
    "short x": ({"v": 1, "issuer": "x", "keys": [entry(x="AAAA")]}, "P-256"),
    "x no text": ({"v": 1, "issuer": "x", "keys": [entry(x=1)]}, "P-256"),
    "x not base64url": ({"v": 1, "issuer": "x", "keys": [entry(x="ä")]}, "P-256"),
    "dates": ({"v": 1, "issuer": "x", "keys": [entry(exp=1)]}, "nbf"),
    "revoked": ({"v": 1, "issuer": "x", "keys": [entry(revoked=0)]}, "revoked"),
    "one kid twice": ({"v": 1, "issuer": "x", "keys": [entry(), entry()]}, "kid"),
    "one person under two spellings": (
        {"v": 1, "issuer": "x", "keys": [entry(), trust_entry(APPROVE, [Role.APPROVE], "Asha", 1, 2)]},
        "asha and Asha",
    ),
    "one key under two kids": ({"v": 1, "issuer": "x", "keys": [entry(), entry(kid="other")]}, "two kids"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_in_the_trust_store_is_told_with_its_place(name):
    document, words = MISTAKES[name]
    with pytest.raises(ConfigFault, match=words) as fault:
        parse(document)
    assert fault.value.place.startswith("trust.json") and fault.value.cure


def test_a_trust_store_that_is_missing(tmp_path):
    with pytest.raises(ConfigFault, match="No such file"):
        TrustStore.load(tmp_path / "trust.json")


@pytest.mark.parametrize("mode", [0o646, 0o664])
def test_a_trust_store_that_others_may_write_is_nobodys_word(tmp_path, mode):
    path = tmp_path / "trust.json"
    add_to_trust(path, ISS, entry())
    path.chmod(mode)
    with pytest.raises(ConfigFault, match="others may write") as fault:
        TrustStore.load(path)
    assert fault.value.place == str(path) and fault.value.cure == f"chmod go-w {path}"


def test_keys_are_made_added_and_read_back(tmp_path):
    signer = make_key(tmp_path / "a.pem", "req-1")
    assert (tmp_path / "a.pem").stat().st_mode & 0o777 == 0o600
    path = tmp_path / "trust.json"
    add_to_trust(path, ISS, trust_entry(signer, [Role.REQUEST], "asha", 1, 2))
    add_to_trust(path, ISS, trust_entry(make_key(tmp_path / "b.pem", "apr-1"), [Role.APPROVE], "binod", 1, 2))
    held = TrustStore.load(path)
    assert held.issuer == ISS and set(held.keys) == {"req-1", "apr-1"}
    assert held.keys["req-1"].person == "asha" and held.keys["req-1"].x == signer.x
    with pytest.raises(ConfigFault, match="trust store of"):
        add_to_trust(path, "hes.other", entry())
    with pytest.raises(ConfigFault, match="one kid"):
        add_to_trust(path, ISS, entry())
    assert TrustStore.load(path) == held


def test_the_receipt_key_is_read_only_from_its_owners_file(tmp_path):
    path = tmp_path / "receipt.key"
    signer = make_key(path)
    assert load_signer(path).kid == signer.kid and signer.kid.startswith("box-")
    for mode in (0o640, 0o604, 0o620):
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
    with pytest.raises(ConfigFault, match="cannot be read"):
        load_signer(tmp_path / "none")


def test_another_curve_is_no_receipt_key(tmp_path):
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    path = tmp_path / "k"
    pem = ec.generate_private_key(ec.SECP384R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path.write_bytes(pem)
    path.chmod(0o600)
    with pytest.raises(ConfigFault, match="P-256"):
        FileSigner.load(path)


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
    for signer in (REQUEST, POLICY_A):
        assert str(signer._key.private_numbers().private_value) not in caplog.text
        assert "PRIVATE" not in repr(signer)
