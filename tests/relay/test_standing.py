"""Whose keys a box obeys after a start: those of the document that is kept, while it stands on trust.json's roots."""

import pytest

from dcu.relay.key_document import anchor_of, read_key_document
from dcu.relay.standing import (
    KEY_ANCHOR,
    KEY_DOCUMENT,
    POLICIES,
    POLICY_BASE,
    POLICY_NARROWED,
    POLICY_SEEN,
    POLICY_WAITING,
    keep_keys,
    least_version,
    trust_in_force,
)
from tests.relay.test_key_documents import claims, document
from tests.relay.world import DAY, ISS, NOW, MemoryTransaction, Rows, trust

ROOT, OTHER_ROOT = trust(), trust(without=("root-a",))
BY_OTHERS = ("root-c", "root-d")


@pytest.fixture
def tx():
    return MemoryTransaction(Rows())


def kept(tx, envelope, version=1, root=ROOT):
    keep_keys(tx, root, envelope, version)
    return tx


def test_without_a_key_document_the_roots_are_all_that_is_obeyed(tx):
    assert trust_in_force(tx, ROOT, NOW) is ROOT and least_version(tx, ISS) == 0


def test_what_was_taken_on_the_word_of_these_roots_is_not_judged_again(tx):
    """The roots have been exchanged since, step by step: those in trust.json could not have signed the last one."""
    envelope = document(3, signers=BY_OTHERS, exp=NOW)
    assert trust_in_force(kept(tx, envelope), ROOT, NOW + DAY) == read_key_document(claims(3, exp=NOW))
    assert tx.document(KEY_DOCUMENT) == (1, envelope)


NOTED = {
    "nothing": None,
    "on the word of other roots": (0, anchor_of(OTHER_ROOT)),
    "of another document": (0, anchor_of(ROOT) + bytes(32)),
}


@pytest.mark.parametrize("noted", NOTED)
def test_what_is_not_known_to_stand_on_these_roots_is_judged_anew(tx, noted):
    kept(tx, document(), 1)
    if NOTED[noted] is None:
        tx.rows.documents.pop(KEY_ANCHOR)
    else:
        tx.rows.documents[KEY_ANCHOR] = NOTED[noted]
    assert trust_in_force(tx, ROOT, NOW) == read_key_document(claims())
    assert trust_in_force(tx, ROOT, None) == read_key_document(claims()), "nobody knows the time"
    for wrong in (document(signers=("root-a",)), document(signers=BY_OTHERS), document(exp=NOW), b"damaged"):
        tx.rows.documents[KEY_DOCUMENT] = (1, wrong)
        assert trust_in_force(tx, ROOT, NOW) is ROOT


def test_other_roots_end_what_was_taken_on_the_word_of_the_old(tx):
    kept(tx, document(), 1)
    assert trust_in_force(tx, OTHER_ROOT, NOW) is OTHER_ROOT, "root-b alone is too few"


@pytest.mark.parametrize(
    ("envelope", "least"),
    [(document(7), 9), (document(7, iss="hes.other"), 0), (b"damaged", 9)],
    ids=["of this head-end", "of another", "damaged"],
)
def test_versions_of_this_head_end_never_go_back(tx, envelope, least):
    assert least_version(kept(tx, envelope, 9), ISS) == least


def test_a_box_with_a_newer_program_finds_what_it_has_kept():
    assert (POLICY_BASE, POLICY_NARROWED) == ("policy", "policy-narrowed")
    assert (POLICY_WAITING, POLICY_SEEN) == ("policy-waiting", "policy-seen")
    assert POLICIES == (POLICY_BASE, POLICY_NARROWED, POLICY_WAITING)
    assert (KEY_DOCUMENT, KEY_ANCHOR) == ("keys", "keys-anchor")
