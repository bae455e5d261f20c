"""Key documents that come to a running box: in force at once and after a restart, never older than before."""

from dataclasses import replace

from dcu.command import OutputState, Refusal
from tests.relay.running import key_document, last, running
from tests.relay.world import BOX, METER, NOW, POLICY_A, ROOT_A, ROOT_B, ROOT_C, STRANGER, trust

R = Refusal
world = running()


def test_a_key_document_over_the_air_is_in_force_at_once_and_after_a_restart(world):
    world.put(world.command(), work=False)
    assert world.put(key_document(drop=("apr-1",)), work=False).status == "accepted"
    world.work()
    assert last(world).code == "E_KID" and world.wall[METER].acts == []
    assert world.put(world.command()).code is R.E_KID
    world.end()
    world.start()
    assert world.put(world.command()).code is R.E_KID
    assert world.put(key_document(drop=("apr-1",))).status == "duplicate"
    assert world.put(key_document(1)).code is R.E_VERSION
    assert world.put(key_document(3)).status == "accepted"
    assert world.put(world.command()).status == "accepted"


def test_a_key_document_of_too_few_roots_changes_nothing(world):
    n = len(world.store.rows.journal)
    assert world.put(key_document(signers=(ROOT_A,))).code is R.E_QUORUM
    assert len(world.store.rows.journal) == n + 1, "one root is known: it is answered"
    own = ((STRANGER, "mallory"), (BOX, "trent"))
    assert world.put(key_document(signers=(STRANGER, BOX), roots=own)).code is R.E_KID
    assert len(world.store.rows.journal) == n + 1, "nobody is known: it is counted"
    assert world.put(key_document(signers=(ROOT_A, STRANGER), roots=own)).code is R.E_QUORUM
    assert world.put(world.command()).status == "accepted"


def test_roots_rotate_by_old_and_new(world):
    new = ((ROOT_C, "gita"), (STRANGER, "hari"))
    assert world.put(key_document(2, (ROOT_C, STRANGER), roots=new)).code is R.E_QUORUM
    assert world.put(key_document(2, (ROOT_A, ROOT_B), roots=new)).code is R.E_QUORUM
    assert world.put(key_document(2, (ROOT_A, ROOT_B, ROOT_C, STRANGER), roots=new)).status == "accepted"
    assert world.put(key_document(3, (ROOT_A, ROOT_B))).code in {R.E_KID, R.E_QUORUM}
    assert world.put(key_document(3, (ROOT_C, STRANGER), roots=new)).status == "accepted"


def test_other_roots_in_trust_json_end_what_was_taken_on_the_word_of_the_old(world):
    world.put(key_document(2))
    world.renew(replace(trust(without=("root-a", "root-b", "apr-1")), version=0))
    assert world.put(world.command()).code is R.E_KID
    assert world.put(key_document(2, (ROOT_C, STRANGER), roots=((ROOT_C, "gita"), (STRANGER, "hari")))).code in {
        R.E_VERSION,
        R.E_QUORUM,
    }, "and its version never goes back"


def test_an_expired_key_document_cuts_nobody_and_connects(world):
    world.put(key_document(2, exp=NOW + 60))
    world.clock.pass_s(60)
    assert world.put(world.command()).code is R.E_KEY
    world.wall[METER].connected = False
    assert world.put(world.command("connect")).status == "accepted"
    assert world.wall[METER].connected and last(world).claims["readback"][0]["output"] == OutputState.CONNECTED.value


def test_a_root_key_commands_nothing(world):
    assert world.put(world.command("connect", signers=[ROOT_A])).code is R.E_QUORUM
    assert world.put(world.policy(2, signers=(ROOT_A, ROOT_B))).code is R.E_QUORUM


def test_documents_of_trust_json_that_are_older_than_what_came_since_are_not_answered_again(world):
    world.commissioned = (key_document(1), *world.commissioned)
    world.put(key_document(3))
    world.put(world.policy(2, signers=(POLICY_A,), hours={}))
    before = [r for r in world.receipts() if r.kind in {"keys", "policy"}]
    world.end()
    world.start()
    assert [r for r in world.receipts() if r.kind in {"keys", "policy"}] == before
    assert world.put(world.command(pol=2)).code is R.E_WINDOW
