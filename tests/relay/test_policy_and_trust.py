"""Policies in a running box, trust.json and key files: what is taken, what is refused, and in which words."""

import json
import logging

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from dcu.command import CommandRefused, Refusal
from dcu.errors import ConfigFault, OperatorFault
from dcu.headend.keys import box_document, commissioning, load_box_key, make_key, trust_entry
from dcu.relay.envelope import COMMAND, POLICY, seal
from dcu.relay.key import FileSigner, load_signer
from dcu.relay.policy import policy_in_force
from dcu.relay.public_key import Role
from dcu.relay.trust import Commissioning
from tests.relay.world import (
    DAY,
    DCU,
    ISS,
    METER,
    NOW,
    PLAIN_POLICY,
    POLICY_A,
    POLICY_B,
    REQUEST,
    ROOT_A,
    ROOT_B,
    World,
    box,
    trust,
)

R = Refusal
MORNING = {"hours": {"mon": "08:00-13:00"}}  # NOW is in it
EVERY_DAY = {"hours": dict.fromkeys(("mon", "tue", "wed", "thu", "fri", "sat", "sun"), "08:00-18:00")}


@pytest.fixture
def world():
    with box() as world:
        yield world


def version(world):
    """Of the policy in force; None: there is none."""
    policy, _ = world.store.transact(world.desk._book.policy)
    return policy.version if policy is not None else None


def told(world):
    return [(r.state, r.code, r.claims.get("pol")) for r in world.receipts() if r.kind == "policy"]


def pass_time(world, seconds):
    """The relay thread looks at what waits every 20 s."""
    world.clock.pass_s(seconds)
    world.settle()


# ---- policies in the box ----


def test_without_a_policy_nothing_is_disconnected_and_no_credit_message_shown():
    with box(policy=False) as world:
        assert world.put(world.command()).code is R.E_POLICY
        assert world.put(world.command("message")).code is R.E_POLICY
        assert world.put(world.command("message", why="request", area=...)).status == "accepted"
        assert world.wall[METER].acts == ["set"]


@pytest.mark.parametrize(
    "end",
    [
        lambda w: w.clock.pass_s(30 * DAY),
        lambda w: w.renew(trust(pol_b={"revoked": True})),
        lambda w: w.renew(trust(without=("pol-b",))),
        lambda w: w.renew(trust(pol_b={"person": "chitra"})),
        lambda w: w.renew(trust(pol_b={"roles": frozenset({Role.APPROVE})})),
        lambda w: w.store.rows.documents.update(policy=(1, b"damaged")),
    ],
    ids=["expired", "key revoked", "key gone", "one person now", "role gone", "damaged"],
)
def test_a_policy_that_no_longer_holds_disconnects_nobody(end):
    with box() as world:
        world.commissioned = ()  # trust.json brings no other
        assert version(world) == 1
        end(world)
        world.settle()
        assert version(world) is None
        assert world.put(world.command()).code is R.E_POLICY
        assert world.wall[METER].acts == []


def test_a_policy_is_answered_and_replaced_by_a_higher_version_only(world):
    assert world.put(world.policy(1)).status == "duplicate"
    assert world.put(world.policy(1, exp=NOW + 5)).code is R.E_VERSION
    assert world.put(world.policy(3)).status == "accepted"
    assert world.put(world.policy(2)).code is R.E_VERSION
    assert told(world)[0] == ("accepted", "", 1) and ("accepted", "", 3) in told(world)
    assert told(world)[-1] == ("refused", "E_VERSION", None) and version(world) == 3


@pytest.mark.parametrize("signers", [(POLICY_A,), (POLICY_A, PLAIN_POLICY), (REQUEST,), (POLICY_A, REQUEST)])
def test_one_person_permits_nothing_more(world, signers):
    assert world.put(world.policy(2, signers=signers, **EVERY_DAY)).code is R.E_QUORUM
    assert version(world) == 1 and set(world.store.rows.documents) == {"policy"}


def test_what_permits_more_waits_a_day_and_says_so(world):
    assert world.put(world.policy(2, **EVERY_DAY)).status == "accepted"
    assert told(world)[-1][0] == "waiting" and version(world) == 1
    reason = world.receipts()[-1].claims["reason"]
    assert reason.startswith("takes effect in 24 hours: ") and "sat 08:00-18:00, not closed" in reason
    pass_time(world, DAY - 60)
    world.end()
    world.start()
    assert version(world) == 1
    pass_time(world, 60)
    assert version(world) == 2 and told(world)[-1] == ("in-force", "", 2)


def test_what_permits_less_holds_at_once_by_one_key(world):
    narrower = world.policy(2, signers=(POLICY_A,), hours={"tue": "10:00-12:00"})
    assert world.put(world.command()).status == "accepted"
    assert world.put(narrower).status == "accepted"
    assert version(world) == 2 and told(world)[-1] == ("accepted", "", 2)
    assert world.put(world.command(pol=2)).code is R.E_WINDOW
    assert world.put(world.command("connect")).status == "accepted"
    assert world.put(world.policy(3, signers=(POLICY_B,))).code is R.E_QUORUM  # back again is wider: two, and a day
    assert world.put(world.policy(3)).status == "accepted"
    assert version(world) == 2
    pass_time(world, DAY)
    assert version(world) == 3


def test_a_narrowing_puts_an_end_to_what_waits(world):
    """Whoever finds a wide policy waiting stops it alone."""
    world.put(world.policy(2, **EVERY_DAY))
    assert world.put(world.policy(3, signers=(POLICY_A,), **MORNING)).status == "accepted"
    pass_time(world, 2 * DAY)
    assert version(world) == 3 and "policy-waiting" not in world.store.rows.documents


def test_the_clock_alone_does_not_shorten_the_wait(world):
    world.put(world.policy(2, **EVERY_DAY))
    world.clock.epoch_s += 2 * DAY  # the uptime says that a minute has passed
    pass_time(world, 60)
    assert version(world) == 1


def test_what_waited_is_judged_again_when_it_would_take_effect(world):
    world.commissioned = ()
    world.put(world.policy(2, **EVERY_DAY))
    world.renew(trust(pol_b={"roles": frozenset({Role.APPROVE})}))
    pass_time(world, DAY)
    assert told(world)[-1][:2] == ("refused", "E_QUORUM")
    world.renew(trust())
    assert version(world) == 1


def test_a_commissioned_policy_needs_two_people_and_waits_where_one_is_held():
    world = World()
    world.commissioned = (world.policy(signers=(POLICY_A,)),)
    world.start()
    try:
        assert version(world) is None
        world.commissioned = (world.policy(1),)
        world.renew(trust())
        assert version(world) == 1
        world.commissioned = (world.policy(2, **EVERY_DAY),)
        world.renew(trust())
        assert version(world) == 1 and told(world)[-1][0] == "waiting"
    finally:
        world.end()


def test_a_command_dressed_as_a_policy_is_neither(world):
    assert world.put(seal(world.claims(), POLICY, [POLICY_A, POLICY_B])).code in {R.E_POLICY, R.E_SCHEMA}
    assert world.put(seal(world.policy_claims(2), COMMAND, [REQUEST])).code is R.E_SCHEMA
    assert version(world) == 1


def test_a_narrowing_holds_only_while_it_narrows_its_base():
    world, keys = World(), trust().keys
    base = world.policy(3, hours={"mon": "10:00-14:00"})

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
    "a member more": (members(keys=[]), "not a trust store"),
    "a member less": ({n: v for n, v in members().items() if n != "documents"}, "not a trust store"),
    "issuer": (members(issuer="x y"), "issuer"),
    "root no list": (members(root={}), "root is not a list"),
    "a root no object": (members(root=[7]), "not a key"),
    "threshold of one": (members(threshold=1), "threshold is not a number from 2 to 4"),
    "threshold true": (members(threshold=True), "threshold"),
    "more sign than there are": (members(threshold=3), "2 people hold root keys, and 3 sign"),
    "two keys of one person": (members(root=[root(), root(ROOT_B)]), "1 people hold root keys, and 2 sign"),
    "a revoked root": (first(revoked=True), "1 people hold root keys, and 2 sign"),
    "a private key in it": (first(d="AA"), "d in a key"),
    "another role": (first(roles=["request"]), "root keys have the role root"),
    "off the curve": (first(y=root()["x"]), "P-256"),
    "one kid twice": (members(root=[root(), root()]), "one kid names two keys"),
    "one key under two kids": (members(root=[*TWO_ROOTS, root(kid="other")]), "two kids"),
    "one person in two spellings": (members(root=[root(), root(ROOT_B, "Esha")]), "esha and Esha"),
    "documents no list": (members(documents={}), "documents is not a list"),
    "a document no envelope": (members(documents=["keys.jws"]), "documents are envelopes"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_in_trust_json_is_told_with_its_place(name):
    document, words = MISTAKES[name]
    with pytest.raises(ConfigFault, match=words) as fault:
        parse(document)
    assert fault.value.place == "trust.json" and "documents, issuer, root, threshold, v" in fault.value.cure


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
    path.chmod(0o644)
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
    path, key = tmp_path / "k", ec.generate_private_key(ec.SECP384R1())
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
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
    assert caplog.text
    for signer in (REQUEST, POLICY_A):
        assert str(signer._key.private_numbers().private_value) not in caplog.text
        assert "PRIVATE" not in repr(signer)
