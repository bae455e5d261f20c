"""What becomes of documents that are no commands: what is kept of them, what is told, and what stays as it was."""

import re

import pytest

from dcu.command import Refusal
from dcu.errors import StoreFull
from dcu.headend.receipts import digest_of
from dcu.reading import ClockState
from dcu.relay.documents import Documents
from dcu.relay.envelope import PERMIT, seal
from dcu.relay.receipts import MOST_TEXT
from dcu.relay.standing import POLICY_BASE, POLICY_NARROWED, POLICY_SEEN, POLICY_WAITING, trust_in_force
from dcu.relay.trust import Commissioning
from tests.relay.room import Room
from tests.relay.test_key_documents import ALL_NEW, document
from tests.relay.world import (
    DATE,
    DAY,
    ISS,
    NOW,
    PERMIT_ID,
    POLICY_A,
    POLICY_B,
    REQUEST,
    MemoryTransaction,
    Rows,
    trust,
)

R = Refusal
ONE, NARROW, WIDE = {"signers": (POLICY_A,)}, {"hours": {}}, {"limit_floor_w": 999}
BASE, NARROWED, WAITING, SEEN = POLICY_BASE, POLICY_NARROWED, POLICY_WAITING, POLICY_SEEN


def full():
    raise StoreFull("no room")


class Desk(Room):
    """Takes documents, and nothing else. It has policy 1."""

    def __init__(self):
        super().__init__()
        self.documents = Documents(self.book)

    def take(self, envelope):
        """A policy, over the air."""
        return self.documents.policy(self.opened(envelope), envelope, commissioning=False).verdict

    def permit_taken(self, envelope):
        return self.documents.permit(self.opened(envelope), envelope).verdict

    def commission(self, *documents, roots=None):
        self.documents.commission(Commissioning(roots or trust(), documents))

    def age(self, seconds):
        self.clock.pass_s(seconds)
        self.documents.mature()

    @property
    def held(self):
        return self.store.rows.documents

    @property
    def versions(self):
        return {typ: version for typ, (version, _) in self.held.items()}

    @property
    def told(self):
        """What the last receipt says of its document."""
        claims = self.receipts()[-1].claims
        return {name: claims[name] for name in claims.keys() - {"v", "typ", "dcu", "jid", "at", "clock", "n", "chain"}}


@pytest.fixture
def desk():
    return Desk()


@pytest.fixture
def empty():
    """Nobody has ever given it anything."""
    desk = Desk()
    desk.store.rows = Rows()
    return desk


def of(envelope, kind, state, **more):
    """All that a receipt says of a document."""
    digest = digest_of(envelope) if envelope else ""
    return {"kind": kind, "iss": ISS, "cmd_id": "", "op": kind, "meter": "", "digest": digest, "state": state} | more


# ---- what is told of each -------------------------------------------------------------------------------------------


def test_what_is_told_of_keys(desk):
    good, bad = document(3), document(4, signers=("root-a",))
    desk.documents.keys(good)
    assert desk.told == of(good, "keys", "accepted", version=3)
    desk.documents.keys(bad)
    reason = "1 of 2 roots that are trusted now have signed"
    assert desk.told == of(bad, "keys", "refused", version=4, code="E_QUORUM", reason=reason)
    assert desk.documents.keys(good).verdict.status == "duplicate"
    assert desk.told == of(good, "keys", "accepted", version=3)


def test_what_is_told_of_a_policy_that_acts_at_once(desk):
    envelope = desk.policy(2, **NARROW)
    desk.take(envelope)
    assert desk.told == of(envelope, "policy", "accepted", pol=2)


def test_what_is_told_of_a_policy_that_waits(desk):
    envelope = desk.policy(2, **WIDE)
    desk.take(envelope)
    reason = desk.told["reason"]
    assert re.fullmatch("takes effect in 24 hours: .*below 999 W, not 1000 W.*", reason)
    assert desk.told == of(envelope, "policy", "waiting", pol=2, reason=reason)
    desk.age(DAY)
    assert desk.told == of(envelope, "policy", "in-force", pol=2)


def test_what_is_told_of_a_policy_that_is_refused(desk):
    envelope = desk.policy(1, **NARROW)
    assert desk.take(envelope).code is R.E_VERSION
    reason = "version 1 is not 1 to 1000 above 1"
    assert desk.told == of(envelope, "policy", "refused", code="E_VERSION", reason=reason)
    assert desk.store.rows.commands == {}, "a document has no id to use up"


def test_how_much_more_a_policy_permits_is_told_in_full_or_counted(desk):
    desk.take(desk.policy(2, **NARROW))
    desk.take(desk.policy(3, **WIDE))
    reason = desk.told["reason"]
    assert reason.endswith("; and 1 more") and reason.count(", not closed") == 5 and len(reason) <= MOST_TEXT


def test_what_is_told_of_a_permit(desk):
    good, bad = desk.permit("P-2", max_n=7), seal({"v": 1}, PERMIT, [REQUEST])
    desk.permit_taken(good)
    assert desk.told == of(good, "permit", "accepted", cmd_id="P-2", max_n=7, date=DATE)
    desk.permit_taken(bad)
    assert desk.told == of(bad, "permit", "refused", code="E_SCHEMA", reason=desk.told["reason"])
    assert desk.permit_taken(good).status == "duplicate"
    assert desk.told == of(good, "permit", "accepted", cmd_id="P-2")


def test_what_is_told_of_a_lease(desk, empty):
    assert desk.told == of(b"", "lease", "given-out", lease="L-1", pol=1, keys=0)
    desk.documents.keys(document(3))
    for room, more in ((desk, {"pol": 1, "keys": 3}), (empty, {"keys": 0})):
        room.clock.pass_s(DAY)
        room.documents.lease()
        assert room.told == of(b"", "lease", "given-out", lease="L-1", **more)


def test_a_lease_that_could_not_be_told_is_none_and_stays_due(desk):
    """Nobody signs for what he was not told of: the head-end would be without a lease for a day."""
    desk.book.leases = desk.leases_of_its_own
    desk.documents.lease()
    first = desk.told["lease"]
    desk.clock.pass_s(DAY)
    desk.store.fault = full
    with pytest.raises(StoreFull):
        desk.documents.lease()
    assert desk.book.leases.current == first
    desk.store.fault = lambda: None
    desk.documents.lease()
    assert first != desk.told["lease"] == desk.book.leases.current


# ---- what comes again -----------------------------------------------------------------------------------------------


def test_a_policy_that_comes_again_is_told_with_the_one_in_force(empty):
    first, narrow, wide = empty.policy(1), empty.policy(2, **ONE, **NARROW), empty.policy(3, **WIDE)
    told = []
    for envelopes in ((first,), (narrow, wide)):
        for envelope in envelopes:
            assert empty.take(envelope).status == "accepted"
        for envelope in envelopes:
            assert empty.take(envelope).status == "duplicate"
            told.append((empty.told["digest"] == digest_of(envelope), empty.told["pol"]))
        empty.age(DAY)
    assert told == [(True, 0), (True, 2), (True, 2)], "what waits is not in force"


def test_what_comes_again_is_answered_once_a_minute(desk):
    permit, before = desk.permit(), len(desk.receipts())
    assert [desk.permit_taken(permit).status for _ in range(3)] == ["duplicate"] * 3
    assert len(desk.receipts()) - before == 1
    desk.clock.pass_s(60)
    desk.permit_taken(permit)
    assert len(desk.receipts()) - before == 2


# ---- policies -------------------------------------------------------------------------------------------------------

KEPT = {
    # the policies that come, one after the other: what is held then
    "a narrowing by one": ([ONE | NARROW], {BASE: 1, NARROWED: 2}),
    "a narrowing by two": ([NARROW], {BASE: 2}),
    "by one, and then by two": ([ONE | NARROW, NARROW], {BASE: 3}),
    "by one, and then by another": ([ONE | NARROW, {"signers": (POLICY_B,)} | NARROW], {BASE: 1, NARROWED: 3}),
    "more": ([WIDE], {BASE: 1, WAITING: 2, SEEN: 0}),
    "more, and then more": ([WIDE, WIDE], {BASE: 1, WAITING: 3, SEEN: 0}),
    "more after a narrowing": ([ONE | NARROW, WIDE], {BASE: 1, NARROWED: 2, WAITING: 3, SEEN: 0}),
    "more, and then a narrowing by one": ([WIDE, ONE | NARROW], {BASE: 1, NARROWED: 3}),
    "more, and then a narrowing by two": ([WIDE, NARROW], {BASE: 3}),
}


@pytest.mark.parametrize("name", KEPT)
def test_what_is_held_of_policies(desk, name):
    coming, held = KEPT[name]
    envelopes = {version: desk.policy(version, **changes) for version, changes in enumerate(coming, 2)}
    for envelope in envelopes.values():
        assert desk.take(envelope).status == "accepted"
    assert desk.versions == held
    assert all(desk.held[typ][1] == envelopes[n] for typ, n in held.items() if n > 1)


@pytest.mark.parametrize("name", ["by one, and then by another", "more after a narrowing"])
def test_a_version_is_above_all_that_is_held(desk, name):
    for version, changes in zip((2, 5), KEPT[name][0], strict=True):
        desk.take(desk.policy(version, **changes))
    held = dict(desk.held)
    for version in (3, 4, 5):
        assert desk.take(desk.policy(version, **NARROW, exp=NOW + DAY)).code is R.E_VERSION
    assert desk.held == held


def test_a_first_policy_over_the_air_waits_too(empty):
    envelope = empty.policy(1)
    empty.take(envelope)
    assert empty.versions == {WAITING: 1, SEEN: 0} and empty.told["state"] == "waiting"
    empty.age(DAY - 1)
    assert BASE not in empty.held
    empty.age(1)
    assert empty.held == {BASE: (1, envelope)}


def test_what_has_waited_takes_the_place_of_all_others(desk):
    envelope = desk.policy(3, **WIDE)
    desk.take(desk.policy(2, **ONE, **NARROW))
    desk.take(envelope)
    desk.age(DAY)
    assert desk.held == {BASE: (3, envelope)}


@pytest.mark.parametrize("note", [None, b"damaged"], ids=["none", "damaged"])
def test_what_waits_since_nobody_knows_when_waits_from_now_on(desk, note):
    desk.take(desk.policy(2, **WIDE))
    desk.held.pop(SEEN)
    if note is not None:
        desk.held[SEEN] = (0, note)
    desk.age(DAY)
    assert desk.versions == {BASE: 1, WAITING: 2, SEEN: 0}
    desk.age(DAY - 1)
    assert desk.versions == {BASE: 1, WAITING: 2, SEEN: 0}
    desk.age(1)
    assert desk.versions == {BASE: 2}


def test_where_nothing_waits_the_day_brings_nothing(desk):
    before = desk.store.rows
    desk.age(2 * DAY)
    assert desk.store.rows == before


FALLS = {
    "its key is revoked": (lambda desk, _: setattr(desk.book, "trust", trust(pol_b={"revoked": True})), "E_KEY"),
    "its two are one": (lambda desk, _: setattr(desk.book, "trust", trust(pol_b={"person": "chitra"})), "E_QUORUM"),
    "it has expired": (lambda desk, _: desk.clock.pass_s(29 * DAY), "E_EXPIRED"),
    "it is damaged": (lambda desk, _: desk.held.update({WAITING: (5, b"damaged")}), "E_JSON"),
    "it is another one": (lambda desk, older: desk.held.update({WAITING: (5, older)}), "E_VERSION"),
}


@pytest.mark.parametrize("name", FALLS)
def test_what_does_not_hold_any_more_when_it_has_waited_falls(desk, name):
    fault, code = FALLS[name]
    desk.take(desk.policy(2, **ONE, **NARROW))
    envelope, older = desk.policy(5, **WIDE), desk.policy(4, **WIDE)
    desk.take(envelope)
    fault(desk, older)
    desk.age(DAY)
    assert desk.versions == {BASE: 1, NARROWED: 2}
    known = {"E_KEY": b"", "E_JSON": b"", "E_VERSION": older}.get(code, envelope)
    assert desk.told == of(known, "policy", "refused", code=code, pol=5, reason=desk.told["reason"])
    assert desk.store.rows.counts == {f"refused.{code}": 1}


# ---- permits --------------------------------------------------------------------------------------------------------


def test_a_permit_whose_copy_is_damaged_is_not_known_to_be_the_same(desk):
    desk.store.rows.permits[ISS, PERMIT_ID] = b"damaged"
    assert desk.permit_taken(desk.permit()).code is R.E_ID_REUSE
    assert desk.store.rows.permits[ISS, PERMIT_ID] == b"damaged"


@pytest.mark.parametrize("day", ["2020-01-01", "2030-01-01"])
def test_no_permit_is_of_a_far_day_where_nobody_knows_the_day(desk, day):
    desk.clock.trusted = ClockState.UNTRUSTED
    assert desk.permit_taken(desk.permit("P-2", date=day)).status == "accepted"


# ---- what stands in trust.json --------------------------------------------------------------------------------------

COMMISSIONED = {
    # what came over the air, documents of trust.json: versions then, of the policy and of the keys
    "newer ones of both": ([5], 5, lambda d: [document(6), d.policy(6, **NARROW)], (6, 6)),
    "the same ones": ([5], 5, lambda d: [document(5), d.policy(5, **NARROW)], (5, 5)),
    "older ones": ([5], 5, lambda d: [document(4), d.policy(4, **NARROW)], (5, 5)),
    "keys above older policies": ([2], 5, lambda d: [document(4), d.policy(3, **NARROW)], (3, 5)),
    "policies above older keys": ([5], 2, lambda d: [document(3), d.policy(4, **NARROW)], (5, 3)),
    "an older one, and a newer": ([5], 5, lambda d: [document(4), document(6)], (5, 6)),
    "damaged, and a newer": ([5], 5, lambda d: [b"{}", document(6)], (5, 6)),
    "one without a version, and a newer": ([5], 5, lambda d: [d.policy(version=...), document(6)], (5, 6)),
    "a version in words, and a newer": ([5], 5, lambda d: [d.policy("6"), document(6)], (5, 6)),
    "a permit, and a newer": ([5], 5, lambda d: [d.permit(), document(6)], (5, 6)),
    "older than what waits": ([3, WIDE], 5, lambda d: [d.policy(4, **NARROW)], (3, 5)),
}


@pytest.mark.parametrize("name", COMMISSIONED)
def test_what_trust_json_brings_is_what_is_newer(desk, name):
    (version, *wider), keys, documents, (policy, taken) = COMMISSIONED[name]
    desk.take(desk.policy(version, **NARROW))
    desk.documents.keys(document(keys))
    for changes in wider:
        desk.take(desk.policy(version + 2, **changes))
    before = len(desk.receipts())
    desk.commission(*documents(desk))
    assert (desk.versions[BASE], desk.book.trust.version) == (policy, taken)
    assert len(desk.receipts()) - before == (policy != version) + (taken != keys), "of the others nothing is told"


def test_a_first_policy_of_trust_json_acts_at_once_and_needs_two(empty):
    empty.commission(empty.policy(1, **ONE))
    assert empty.held == {} and empty.told["code"] == "E_QUORUM"
    envelope = empty.policy(1)
    empty.commission(envelope)
    assert empty.held == {BASE: (1, envelope)} and empty.told == of(envelope, "policy", "accepted", pol=1)


def test_a_later_policy_of_trust_json_that_permits_more_waits(desk):
    desk.commission(desk.policy(2, **WIDE))
    assert desk.versions == {BASE: 1, WAITING: 2, SEEN: 0} and desk.told["state"] == "waiting"


def test_keys_stand_on_the_roots_that_trust_json_names_now(desk):
    roots = trust(without=("root-c",))
    desk.commission(roots=roots)
    assert desk.documents.keys(document(1, ALL_NEW, signers=("root-a", "root-b", "root-d", "root-e"))).verdict
    assert desk.documents.keys(document(2, ALL_NEW, signers=("root-d", "root-e"))).verdict.status == "accepted"
    assert trust_in_force(MemoryTransaction(desk.store.rows), roots, NOW).version == 2


def test_no_version_of_keys_comes_back_with_other_roots(desk):
    desk.documents.keys(document(5))
    desk.commission(roots=trust(without=("root-a",)))
    assert desk.book.trust.version == 0
    signers = ("root-b", "root-c")
    assert desk.documents.keys(document(5, exp=NOW + DAY, signers=signers)).verdict.code is R.E_VERSION
    assert desk.documents.keys(document(6, signers=signers)).verdict.status == "accepted"
    assert desk.book.trust.version == 6
