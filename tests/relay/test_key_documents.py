"""Who may sign what: key documents of a threshold of roots. What is taken, what is refused, and in which words."""

from dataclasses import replace

import pytest

from dcu.command import CommandRefused, Refusal
from dcu.errors import OperatorFault
from dcu.headend.keys import key_claims, revised, trust_entry
from dcu.relay.canonical import from_base64url, to_base64url
from dcu.relay.envelope import KEYS, Opened, add_signature, seal
from dcu.relay.key import FileSigner
from dcu.relay.key_document import (
    TrustStore,
    anchor_of,
    open_key_document,
    read_entry,
    read_key_document,
    read_threshold,
    vet_key_document,
)
from dcu.relay.public_key import Role, public_key
from tests.relay.world import (
    APPROVE,
    DAY,
    ISS,
    METER,
    NOW,
    REQUEST,
    ROOT_A,
    ROOT_B,
    ROOT_C,
    STRANGER,
    _signer,
    box,
    trust,
)

R = Refusal
NEW_ROOT, SECOND_ROOT = _signer("root-d"), _signer("root-e")
SIGNERS = {signer.kid: signer for signer in (ROOT_A, ROOT_B, ROOT_C, NEW_ROOT, SECOND_ROOT, REQUEST, APPROVE, STRANGER)}
HELD = trust()
PEOPLE = {"root-d": "hema", "root-e": "ivan"}


def root(signer):
    return trust_entry(signer, [Role.ROOT], PEOPLE[signer.kid], NOW - DAY, NOW + 900 * DAY)


def entries(*added, without=(), **changes):
    """Of all keys of the world; `changes` by kid with _ for -, as `trust` has them."""
    held = []
    for kid, key in HELD.keys.items():
        if kid not in without:
            held.append(
                trust_entry(key, list(key.roles), key.person, NOW - DAY, NOW + 900 * DAY, admin=key.admin)
                | changes.get(kid.replace("-", "_"), {})
            )
    return [*held, *added]


def claims(version=1, keys=None, **changes):
    base = {"v": 1, "typ": "keys", "iss": ISS, "version": version, "iat": NOW - 60, "exp": NOW + 365 * DAY}
    return base | {"threshold": 2, "keys": entries() if keys is None else keys} | changes


def document(version=1, keys=None, *, signers=("root-a", "root-b"), **changes):
    return seal(claims(version, keys, **changes), KEYS, [SIGNERS[kid] for kid in signers])


def judged(envelope, held=HELD, *, now_s=NOW, above=0):
    """The trust store that a document makes; or CommandRefused."""
    candidate, opened = open_key_document(held, envelope, now_s)
    vet_key_document(held, candidate, opened, now_s, above)
    return candidate


def code_of(*args, **kwargs):
    with pytest.raises(CommandRefused) as refusal:
        judged(*args, **kwargs)
    return refusal.value.code


# ---- a threshold of roots, old and new ----


def test_two_people_with_root_keys_say_who_may_what():
    store = judged(document(3))
    assert (store.issuer, store.version, store.threshold, store.exp) == (ISS, 3, 2, NOW + 365 * DAY)
    assert set(store.keys) == set(HELD.keys) and set(store.roots) == {"root-a", "root-b", "root-c"}
    billing = store.keys["bill-1"]
    assert (billing.roles, billing.person, billing.admin) == (frozenset({Role.BILLING}), "billing", "kiran")
    assert (billing.x, billing.nbf, billing.exp) == (HELD.keys["bill-1"].x, NOW - DAY, NOW + 900 * DAY)


ALL_NEW = entries(root(NEW_ROOT), root(SECOND_ROOT), without=("root-a", "root-b", "root-c"))
ONE_NEW = entries(root(NEW_ROOT), without=("root-c",))

ROTATIONS = {
    "one root for another, by two that stay": (ONE_NEW, ("root-a", "root-b"), None),
    "all, by old and new": (ALL_NEW, ("root-a", "root-b", "root-d", "root-e"), None),
    "all, by the old alone": (ALL_NEW, ("root-a", "root-b"), R.E_QUORUM),
    "all, by the new alone": (ALL_NEW, ("root-d", "root-e"), R.E_KID),
    "all, by two old and one new": (ALL_NEW, ("root-a", "root-b", "root-d"), R.E_QUORUM),
    "all, by one old and two new": (ALL_NEW, ("root-a", "root-d", "root-e"), R.E_QUORUM),
    "one, by the one that leaves and one that stays": (ONE_NEW, ("root-a", "root-c"), R.E_QUORUM),
    "one, by an old and the new one": (ONE_NEW, ("root-a", "root-d"), R.E_QUORUM),
    "one, by all": (ONE_NEW, ("root-a", "root-b", "root-c", "root-d"), None),
    "none, by one": (None, ("root-a",), R.E_QUORUM),
    "none, by three": (None, ("root-a", "root-b", "root-c"), None),
    "none, by those who request and approve": (None, ("apr-1", "req-1"), R.E_KID),
    "none, by two roots and one who is none": (None, ("req-1", "root-a", "root-b"), R.E_KID),
    "none, by a stranger": (None, ("stranger",), R.E_KID),
}


@pytest.mark.parametrize("name", ROTATIONS)
def test_roots_change_when_old_and_new_roots_sign(name):
    keys, signers, code = ROTATIONS[name]
    envelope = document(keys=keys, signers=signers)
    if code is not None:
        assert code_of(envelope) is code
        return
    store = judged(envelope)
    assert set(store.roots) == {e["kid"] for e in (keys or entries()) if e["roles"] == ["root"]}


def test_two_root_keys_of_one_person_are_one_voice():
    one_person = trust(root_b={"person": "esha"})
    plain = document(keys=entries(root_b={"person": "esha"}))
    assert code_of(plain, one_person) is R.E_QUORUM
    assert code_of(document(), one_person) is R.E_QUORUM  # a document cannot make two people of one
    assert code_of(plain) is R.E_QUORUM  # nor one be left who could sign the next alone
    assert judged(document(keys=entries(root_b={"person": "esha"}), signers=("root-a", "root-b", "root-c")))


@pytest.mark.parametrize("number", [3, 4])
def test_a_higher_threshold_holds_for_what_comes_next(number):
    more = entries(root(NEW_ROOT))
    names = ("root-a", "root-b", "root-c", "root-d")
    assert code_of(document(keys=more, threshold=number, signers=names[: number - 1])) is R.E_QUORUM
    store = judged(document(keys=more, threshold=number, signers=names[:number]))
    assert store.threshold == number
    assert code_of(document(2, more, signers=names[: number - 1]), store) is R.E_QUORUM
    assert judged(document(2, more, signers=names[:number]), store).threshold == 2


def test_a_revoked_root_has_no_voice_any_more():
    gone = {"root_b": {"revoked": True}}
    assert code_of(document(keys=entries(**gone))) is R.E_QUORUM  # nor one that a document itself revokes
    store = judged(document(keys=entries(**gone), signers=("root-a", "root-c")))
    assert code_of(document(2), store) is R.E_KEY  # though it says that it is not revoked
    assert judged(document(2, signers=("root-a", "root-c")), store).version == 2


def test_the_dates_of_roots_are_those_of_the_trust_in_force():
    old = replace(HELD, keys=trust(root_b={"exp": NOW}).keys)
    assert code_of(document(), old) is R.E_KEY
    assert judged(document(), old, now_s=NOW - 1)
    assert judged(document(), old, now_s=None)  # no clock that is trusted: light and keys go on


def test_a_root_cannot_give_its_name_to_another_key():
    point = trust_entry(STRANGER, [Role.ROOT], "esha", 1, 2)
    envelope = document(keys=entries(root_a={"x": point["x"], "y": point["y"]}), signers=("root-b", "root-c"))
    assert code_of(envelope) is R.E_SCHEMA


def test_signatures_are_added_one_by_one_and_all_count():
    envelope = document(signers=("root-a",))
    assert code_of(envelope) is R.E_QUORUM
    assert judged(add_signature(envelope, KEYS, ROOT_C)).version == 1
    forger = FileSigner(STRANGER._key, "root-b")
    assert code_of(add_signature(envelope, KEYS, forger)) is R.E_SIG


# ---- what a document says ----

POINT = trust_entry(STRANGER, [Role.REQUEST], "usha", 1, 2)
LONG_X = to_base64url(bytes(1) + from_base64url(POINT["x"]))  # the same number
ONE_REVOKED = {"threshold": 3, "keys": entries(root_c={"revoked": True})}


def admits(**changes):
    return {"keys": entries(POINT | changes)}


REFUSED = {
    "another head-end": ({"iss": "hes.other"}, R.E_TARGET, "here hes.ranchi is obeyed"),
    "expired": ({"exp": NOW}, R.E_EXPIRED, "expired"),
    "issued at no time": ({"iat": "now"}, R.E_SCHEMA, "iat"),
    "version 0": ({"version": 0}, R.E_SCHEMA, "version"),
    "version true": ({"version": True}, R.E_SCHEMA, "version"),
    "threshold of one": ({"threshold": 1}, R.E_SCHEMA, "threshold"),
    "threshold above the people": ({"threshold": 4}, R.E_SCHEMA, "3 people hold root keys, and 4 sign"),
    "people that are revoked": (ONE_REVOKED, R.E_SCHEMA, "2 people hold root keys, and 3 sign"),
    "no root": ({"keys": [POINT]}, R.E_SCHEMA, "names the roots"),
    "another v": ({"v": 2}, R.E_SCHEMA, "version 1"),
    "v true": ({"v": True}, R.E_SCHEMA, "version 1"),
    "another typ": ({"typ": "policy"}, R.E_SCHEMA, "not a keys"),
    "keys an object": ({"keys": {}}, R.E_SCHEMA, "keys is not a list"),
    "a key no object": ({"keys": [7]}, R.E_SCHEMA, "not a key"),
    "a kid that is a path": (admits(kid="../x"), R.E_SCHEMA, "kid"),
    "a role that nobody knows": (admits(roles=["king"]), R.E_SCHEMA, "roles"),
    "a box's receipt key": (admits(roles=["receipt"]), R.E_SCHEMA, "roles"),
    "no role": (admits(roles=[]), R.E_SCHEMA, "no role"),
    "a root with another role": ({"keys": entries(root_c={"roles": ["request", "root"]})}, R.E_SCHEMA, "no other role"),
    "off the curve": (admits(y=POINT["x"]), R.E_SCHEMA, "no point of P-256"),
    "a short x": (admits(x="AAAA"), R.E_SCHEMA, "no point of P-256"),
    "an x of 33 octets": (admits(x=LONG_X), R.E_SCHEMA, "no point of P-256"),
    "x no text": (admits(x=1), R.E_SCHEMA, "no point of P-256"),
    "x not base64url": (admits(x="+"), R.E_SCHEMA, "base64url"),
    "ends before it begins": (admits(nbf=2), R.E_SCHEMA, "ends before it begins"),
    "revoked a number": (admits(revoked=0), R.E_SCHEMA, "revoked"),
    "no person": (admits(person=""), R.E_SCHEMA, "person"),
    "a system without admin": ({"keys": entries(bill_1={"admin": ""})}, R.E_SCHEMA, "who administers"),
    "a planner without admin": ({"keys": entries(plan_1={"admin": ""})}, R.E_SCHEMA, "who administers"),
    "a witness without admin": ({"keys": entries(wit_1={"admin": ""})}, R.E_SCHEMA, "who administers"),
    "one kid twice": (admits(kid="req-1"), R.E_SCHEMA, "one kid names two keys"),
    "one key under two kids": ({"keys": entries(POINT, POINT | {"kid": "o"})}, R.E_SCHEMA, "one key has two kids: o"),
    "one person in two spellings": (admits(person="Asha"), R.E_SCHEMA, "asha and Asha: one person or two"),
    "an admin in another spelling": (admits(roles=["witness"], person="w", admin="ASHA"), R.E_SCHEMA, "asha and ASHA"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_key_document_that_is_refused(name):
    changes, code, words = REFUSED[name]
    with pytest.raises(CommandRefused) as refusal:
        judged(document(**changes))
    assert refusal.value.code is code and words in refusal.value.cause


def cause_of(document):
    with pytest.raises(CommandRefused, match="E_SCHEMA") as refusal:
        read_key_document(document)
    return refusal.value.cause


@pytest.mark.parametrize("member", sorted(claims().keys() - {"v", "typ"}))
def test_what_is_wrong_with_a_member_names_it(member):
    assert cause_of(claims() | {member: None}).startswith(f"{member} is not ")


@pytest.mark.parametrize("member", sorted(POINT.keys() - {"x", "y"}))
def test_what_is_wrong_with_a_key_names_its_member(member):
    assert cause_of(claims() | admits(**{member: None})).startswith(f"{member} is not ")


def test_what_no_document_of_keys_has_is_named():
    assert cause_of(claims() | {"weather": "hot"}) == "weather in a key document"
    assert cause_of(claims() | admits(d="AA")) == "d in a key"  # a private one


def test_no_more_roots_sign_than_an_envelope_has_room_for():
    assert [read_threshold(number, ()) for number in (2, 3, 4)] == [2, 3, 4]
    for number in (1, 5):
        with pytest.raises(CommandRefused, match="threshold"):
            read_threshold(number, ())


@pytest.mark.parametrize("member", sorted(claims()))
def test_a_key_document_has_every_member(member):
    short = {name: value for name, value in claims().items() if name != member}
    assert code_of(seal(short, KEYS, [ROOT_A, ROOT_B])) is R.E_SCHEMA


def test_a_role_that_is_a_list():
    with pytest.raises(CommandRefused, match="roles are of"):  # trust.json has not the depth of a document
        read_entry(POINT | {"roles": [["root"]]}, "root")


@pytest.mark.parametrize("member", sorted(POINT))
def test_a_key_has_every_member(member):
    short = {name: value for name, value in POINT.items() if name != member}
    assert code_of(document(keys=entries(short))) is R.E_SCHEMA


def test_the_version_never_comes_back():
    for version in (3, 4):
        assert code_of(document(version), above=4) is R.E_VERSION
    assert judged(document(5), above=4).version == 5


def test_what_a_box_was_commissioned_with_is_below_every_key_document():
    roots, opened = TrustStore(ISS, HELD.roots), Opened(KEYS, b"", ("root-a", "root-b"))
    vet_key_document(roots, replace(roots, version=1), opened, NOW, roots.version)
    with pytest.raises(CommandRefused, match="E_VERSION"):
        vet_key_document(roots, roots, opened, NOW, roots.version)


def test_an_expired_document_is_judged_only_by_a_clock_that_is_trusted():
    assert judged(document(exp=NOW), now_s=None).exp == NOW
    assert judged(document(exp=NOW + 1)).exp == NOW + 1


def test_the_head_end_drafts_what_a_box_takes():
    first = key_claims(iss=ISS, version=1, iat=NOW, exp=NOW + DAY, threshold=2, entries=entries(without=("req-1",)))
    store = judged(seal(first, KEYS, [ROOT_A, ROOT_B]))
    assert "req-1" not in store.keys
    second = revised(first, iat=NOW, exp=NOW + 2 * DAY, add=[POINT], revoke=("apr-1",))
    store = judged(seal(second, KEYS, [ROOT_B, ROOT_C]), store, above=1)
    assert store.version == 2 and store.keys["apr-1"].revoked and store.keys["stranger"].person == "usha"
    with pytest.raises(CommandRefused, match="one kid"):  # a revoked name is nobody else's
        revised(second, iat=NOW, exp=NOW + DAY, add=[POINT | {"kid": "apr-1"}])
    with pytest.raises(OperatorFault, match="nobody is not in it"):
        revised(second, iat=NOW, exp=NOW + DAY, revoke=("nobody",))
    with pytest.raises(CommandRefused, match="threshold"):
        revised(second, iat=NOW, exp=NOW + DAY, threshold=1)


def test_what_was_taken_falls_with_the_roots_that_it_was_taken_on():
    anchors = [
        HELD,
        replace(HELD, issuer="hes.other"),
        replace(HELD, threshold=3),
        trust(without=("root-c",)),
        replace(HELD, keys=HELD.keys | {"root-c": public_key("root-c", STRANGER.x, STRANGER.y, roles={Role.ROOT})}),
    ]
    assert len({anchor_of(store) for store in anchors}) == len(anchors)
    assert anchor_of(trust(without=("req-1",))) == anchor_of(HELD)  # roots alone


# ---- in the box ----


@pytest.fixture
def world():
    with box() as world:
        yield world


def in_force(world):
    return world.desk._book.trust


def test_a_key_document_is_answered_and_in_force_from_then_on(world):
    assert world.put(world.command()).status == "accepted"
    envelope = document(3, entries(req_1={"revoked": True}))
    assert world.put(envelope).status == "accepted"
    assert in_force(world) == read_key_document(claims(3, entries(req_1={"revoked": True})))
    assert world.put(world.command()).code is R.E_KEY
    told = [r for r in world.receipts() if r.kind == "keys"]
    assert [(r.state, r.claims["version"]) for r in told] == [("accepted", 3)]
    assert world.put(envelope).status == "duplicate"


def test_a_key_is_admitted_and_an_old_one_let_go(world):
    new = _signer("req-2")
    asked = world.signed(world.claims("connect"), new)
    assert world.put(asked).code is R.E_KID
    added = trust_entry(new, [Role.REQUEST], "usha", NOW - DAY, NOW + DAY)
    assert world.put(document(1, entries(added, without=("req-1",)))).status == "accepted"
    assert world.put(asked).status == "accepted"
    assert world.put(world.command("connect")).code is R.E_KID  # req-1 is not in it any more


def test_no_version_comes_back_in_the_box(world):
    assert world.put(document(2)).status == "accepted"
    before = in_force(world)
    for old in (document(1), document(2, entries(without=("pol-b",)))):
        assert world.put(old).code is R.E_VERSION
    assert world.put(document(3, signers=("root-a",))).code is R.E_QUORUM
    assert in_force(world) == before
    world.end()
    world.start()
    assert in_force(world) == before
    assert world.put(document(1)).code is R.E_VERSION


def test_a_key_document_by_nobody_is_counted_and_not_answered(world):
    receipts = len(world.receipts())
    assert world.put(document(2, signers=("apr-1", "req-1"))).code is R.E_KID
    world.settle()
    assert len(world.receipts()) == receipts and in_force(world).version == 0


def test_rotated_roots_are_the_ones_that_count_after_a_restart(world):
    rotation = document(1, ALL_NEW, signers=("root-a", "root-b", "root-d", "root-e"))
    assert world.put(rotation).status == "accepted"
    world.end()
    world.start()
    assert set(in_force(world).roots) == {"root-d", "root-e"}
    assert world.put(document(2)).code is R.E_KID  # by the roots of before
    assert world.put(document(2, ALL_NEW, signers=("root-d", "root-e"))).status == "accepted"


def test_a_box_that_is_commissioned_anew_forgets_what_the_old_roots_said(world):
    assert world.put(document(1, ALL_NEW, signers=("root-a", "root-b", "root-d", "root-e"))).status == "accepted"
    world.renew(trust(without=("root-a",)))
    assert in_force(world).version == 0 and set(in_force(world).roots) == {"root-b", "root-c"}


def test_an_expired_key_document_disconnects_nobody_and_connects(world):
    assert world.put(document(1, exp=NOW + 60)).status == "accepted"
    world.clock.pass_s(60)
    assert world.put(world.command()).code is R.E_KEY
    assert "key document" in world.receipts()[-1].claims["reason"]
    assert world.put(world.command("connect")).status == "accepted"
    assert 1 not in world.wall[METER].acts
