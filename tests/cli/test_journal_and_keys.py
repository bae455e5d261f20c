"""`dcu journal` and `dcu keys`, of a running box and of its file alone: a real store, a real socket."""

import json
import sqlite3
import threading
from contextlib import contextmanager

import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives.asymmetric import ec

from dcu.cli import main
from dcu.command import Operation, Refusal, Restraint, State, StoredCommand, Why
from dcu.field.evidence import PAGE_ENTRIES, Evidence
from dcu.field.field_socket import FieldSocket
from dcu.headend.heads import Heads
from dcu.headend.keys import commissioning, key_claims, trust_entry
from dcu.headend.records import entries_of
from dcu.headend.signing import command_claims, policy_claims
from dcu.mailbox import Stop
from dcu.relay.canonical import canonical
from dcu.relay.envelope import KEYS, POLICY, seal
from dcu.relay.key import FileSigner
from dcu.relay.public_key import Role
from dcu.relay.receipts import Account
from dcu.relay.standing import POLICY_BASE, POLICY_SEEN, POLICY_WAITING
from tests.cli.conftest import DCU

ISS, METER, AREA = "hes.ranchi", "GXT20931188", "JH-RNC"
NOW = int(__import__("time").time())
DAY = 86400

SIGNERS = {
    kid: FileSigner(ec.generate_private_key(ec.SECP256R1()), kid)
    for kid in ("root-a", "root-b", "req", "app", "pol-a", "pol-b", "per")
}
PEOPLE = {
    "root-a": (Role.ROOT, "esha"), "root-b": (Role.ROOT, "farid"), "req": (Role.REQUEST, "asha"),
    "app": (Role.APPROVE, "binod"), "pol-a": (Role.POLICY, "chitra"), "pol-b": (Role.POLICY, "devi"),
    "per": (Role.PERMIT, "hari"),
}  # fmt: skip
ENTRIES = {
    kid: trust_entry(SIGNERS[kid], [role], person, NOW - DAY, NOW + 100 * DAY) for kid, (role, person) in PEOPLE.items()
}


def key_document(version=1):
    claims = key_claims(
        iss=ISS, version=version, iat=NOW, exp=NOW + 90 * DAY, threshold=2, entries=list(ENTRIES.values())
    )
    return seal(claims, KEYS, [SIGNERS["root-a"], SIGNERS["root-b"]])


def policy(version, **changes):
    members = {
        "iss": ISS, "dcu": DCU, "version": version, "iat": NOW - 60, "nbf": NOW - 60, "exp": NOW + 90 * DAY,
        "areas": {AREA: {"prepaid_live": False, "since": 0}}, "meters": {METER: AREA},
    }  # fmt: skip
    return seal(policy_claims(**(members | changes)), POLICY, [SIGNERS["pol-a"], SIGNERS["pol-b"]])


CUT = command_claims(
    op=Operation.DISCONNECT, iss=ISS, dcu=DCU, jid="j", iat=NOW, exp=NOW + 60, cmd_id="c-1", meter=METER, seq=1,
    why=Why.ARREARS, area=AREA, pol=1, case="C-1",
)  # fmt: skip


def decide(tx, cmd_id, state, **more):
    account = Account("command", ISS, cmd_id, "disconnect", METER, b"d" * 32, ("app", "req"), state.value, **more)
    body = canonical({**account.claims, "kids": ["app", "req"], "clock": "trusted"})
    tx.journal(NOW, "command", body)


def lived(tx):
    decide(tx, "c-0", State.REFUSED, code=Refusal.E_LEASE, reason="lease None is not good here")
    decide(tx, "c-1", State.PENDING, pol=1)
    decide(tx, "c-1", State.DISPATCHED)
    decide(tx, "c-1", State.DONE, pol=1)
    tx.save_command(StoredCommand(ISS, "c-1", b"d" * 32, canonical(CUT), ("app", "req"), State.DONE, b"", 0))
    for n in range(2 * PAGE_ENTRIES):
        decide(tx, f"x-{n}", State.NOOP)
    tx.save_document(POLICY_BASE, 1, policy(1))


@contextmanager
def serving(box):
    stop = Stop()
    with box.opened() as store:
        asks = Evidence(store, DCU, box.directory / "trust.json", lambda: NOW).asks()
        server = FieldSocket(box.directory / "field.sock", asks, stop, lambda: None)
        thread = threading.Thread(target=server.run)
        thread.start()
        try:
            yield store
        finally:
            stop.set()
            thread.join(10)


@pytest.fixture
def commissioned(box):
    roots = [ENTRIES["root-a"], ENTRIES["root-b"]]
    (box.directory / "trust.json").write_bytes(commissioning(ISS, 2, roots, [key_document()]))
    (box.directory / "trust.json").chmod(0o644)
    with box.opened() as store:
        store.transact(lambda tx: (tx.save_document("keys", 1, key_document()), lived(tx)))
    return box


@pytest.fixture(params=["running", "stopped"])
def box_of_old(request, commissioned):
    if request.param == "stopped":
        yield commissioned
        return
    with serving(commissioned):
        yield commissioned


def dcu(box, *words, code=0):
    args = [*words[:1], "--config", str(box.config), *map(str, words[1:])]
    result = CliRunner().invoke(main, args)
    assert result.exit_code == code, result.output
    return result.output


def test_the_chain_is_walked_to_its_end(box_of_old):
    assert f"of {DCU}: {2 * PAGE_ENTRIES + 4} entries, one unbroken chain" in dcu(box_of_old, "journal", "--verify")
    answer = json.loads(dcu(box_of_old, "journal", "--verify", "--json"))
    assert answer["ok"] and answer["last"] == 2 * PAGE_ENTRIES + 4


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE journal SET body = CAST(replace(CAST(body AS TEXT), 'done', 'noop') AS BLOB) WHERE n = 4",
        "UPDATE journal SET at_s = at_s + 1 WHERE n = 2",
        "DELETE FROM journal WHERE n = 300",
        "UPDATE journal SET digest = zeroblob(32) WHERE n = 503",
    ],
)
def test_whoever_writes_to_the_card_is_found(commissioned, damage):
    with sqlite3.connect(commissioned.directory / "state" / "dcu.db") as connection:
        assert connection.execute(damage).rowcount == 1
    connection.close()
    assert "BROKEN: journal entry" in dcu(commissioned, "journal", "--verify", code=1)
    answer = json.loads(dcu(commissioned, "journal", "--verify", "--json", code=1))
    assert answer["ok"] is False and "the chain is broken here" in answer["fault"]


def test_an_empty_journal_is_whole(box):
    (box.directory / "trust.json").write_bytes(commissioning(ISS, 2, [ENTRIES["root-a"], ENTRIES["root-b"]], []))
    with box.opened():
        pass
    assert "0 entries" in dcu(box, "journal", "--verify")
    assert "nothing was decided yet" in dcu(box, "journal")


def test_the_story_of_one_command(box_of_old):
    told = dcu(box_of_old, "journal", "explain", "c-1").splitlines()
    assert told[0].startswith(
        f"{ISS} asked to disconnect meter {METER} at {DCU}, because of arrears, in {AREA}, case C-1"
    )
    assert told[0].endswith("signed by binod (app) and asha (req).")
    assert "it was carried out [entry 4]" in told[-2] and told[-1] == "Policy 1 was in force then."
    refused = json.loads(dcu(box_of_old, "journal", "explain", "c-0", "--json"))
    assert "with E_LEASE: it does not name a lease that the box gives out now" in refused["story"][0][1]
    assert refused["entries"][0]["code"] == "E_LEASE"
    dcu(box_of_old, "journal", "explain", "c-none", code=1)


def test_the_newest_entries_are_shown(box_of_old):
    shown = json.loads(dcu(box_of_old, "journal", "--last", 3, "--json"))
    assert [entry["cmd_id"] for entry in shown] == [f"x-{2 * PAGE_ENTRIES - back}" for back in (3, 2, 1)]
    assert len(dcu(box_of_old, "journal").splitlines()) == 20


def test_the_whole_journal_in_a_file_is_what_the_head_end_traces(box_of_old):
    file = box_of_old.directory / "j.jsonl"
    assert f"{2 * PAGE_ENTRIES + 4} entries" in dcu(box_of_old, "journal", "--jsonl", file)
    jid, entries = entries_of(file)
    assert Heads().trace(DCU, jid, entries) == (2 * PAGE_ENTRIES + 4, 0)
    dcu(box_of_old, "journal", "--jsonl", "/nowhere/j", code=1)


def test_who_may_do_what_in_words(box_of_old):
    told = dcu(box_of_old, "keys")
    assert f"head-end {ISS}: key document 1, until" in told
    assert "  asha (req) may until" in told and "request operations, and connect" in told
    assert f"in force: policy 1 for {DCU}: prepaid live in no area, 1 meters" in told
    assert "no two independent people can ask for a prepaid disconnect" in told
    answer = json.loads(dcu(box_of_old, "keys", "--json"))
    assert answer["policy"]["version"] == 1 and len(answer["keys"]) == len(PEOPLE)
    assert "nobody can share the city's permit out" in answer["cannot"][-1]


def test_what_waits_what_restrains_and_why_nothing_may_be_disconnected(commissioned):
    wider = policy(2, areas={AREA: {"prepaid_live": True, "since": NOW}})

    def work(tx):
        tx.save_document(POLICY_WAITING, 2, wider)
        tx.save_document(POLICY_SEEN, 0, canonical([NOW, True, "boot", 5]))
        tx.authority.restrain(Restraint("lock", METER, "gopal", "works on the line", 3600, NOW + 3600))
        tx.authority.restrain(Restraint("freeze", "", "asha", "storm", 3600, None))
        tx.authority.forget_document(POLICY_BASE)

    with commissioned.opened() as store:
        store.transact(work)
    told = dcu(commissioned, "keys")
    assert "nothing may be disconnected: no policy: nothing may be disconnected" in told
    assert f"policy 2 for {DCU}: prepaid live in {AREA}" in told and "waits until" in told
    assert f"lock of {METER} by gopal until" in told and "works on the line" in told
    assert "freeze of all meters by asha until a day on which the time is known: storm" in told


def test_a_trust_json_that_cannot_be_read_is_said_so(commissioned):
    (commissioned.directory / "trust.json").write_text("{}")
    assert "not a trust store of version 1" in dcu(commissioned, "keys", code=3)
