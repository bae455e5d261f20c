"""The head-end's memory of the boxes' journals: what does not descend from it is refused."""

import hashlib
import json

import cbor2
import pytest

from dcu.errors import ConfigFault, OperatorFault, ReplyMalformed
from dcu.headend.chain import GENESIS, Entry, walk
from dcu.headend.heads import MOST_HEADS, Forked, Heads
from dcu.headend.keys import box_document, make_key
from dcu.headend.receipts import verify_receipt
from dcu.headend.records import entries_of, lines_of
from dcu.reading import ClockState
from dcu.relay.canonical import canonical
from dcu.relay.public_key import public_key
from dcu.relay.receipts import Account, seal_receipt
from dcu.store.journal import link
from tests.headend.kit import DCU, ISS, JID, LEASE, METER, Kit

NOW = 1_795_417_800


class Box:
    """Its journal and its receipts."""

    def __init__(self, signer, jid=JID, salt=""):
        self.signer, self.jid, self.salt, self.entries = signer, jid, salt, []

    def decide(self, state="done", kind="command", pol=7, **more):
        n, previous = len(self.entries) + 1, self.entries[-1].digest if self.entries else GENESIS
        account = Account(kind, ISS, f"c-{n}{self.salt}", "connect", METER, b"d" * 32, (), state, pol=pol, more=more)
        body = canonical(account.claims)
        self.entries.append(Entry(n, NOW + n, kind, body, link(previous, n, NOW + n, kind, body)))
        clock = ClockState.TRUSTED
        sealed = seal_receipt(
            account, self.signer, dcu=DCU, jid=self.jid, at_s=NOW + n, clock=clock, n=n, chain=self.entries[-1].digest
        )
        keys = {self.signer.kid: public_key(self.signer.kid, self.signer.x, self.signer.y)}
        return sealed, verify_receipt(sealed, keys)


@pytest.fixture
def signer(tmp_path):
    return make_key(tmp_path / "box.pem")


@pytest.fixture
def box(signer):
    return Box(signer)


def restored(box, upto):
    """What an image of its card from back then becomes."""
    copy = Box(box.signer, box.jid, salt="-again")
    copy.entries = box.entries[:upto]
    return copy


def test_what_descends_is_taken_gaps_repetitions_and_all(box):
    heads = Heads()
    receipts = [box.decide()[1] for _ in range(6)]
    for n in (0, 1, 3, 3, 5, 1):  # steps without a receipt leave gaps; receipts come again
        heads.note(receipts[n])
    assert heads.boxes[DCU].newest == 6 and heads.boxes[DCU].pol == 7


def test_a_restored_card_is_found_at_its_first_decision(box):
    heads = Heads()
    for _ in range(4):
        heads.note(box.decide()[1])
    old = restored(box, 2)
    with pytest.raises(Forked, match="entry 3 of journal .* was another one before") as fork:
        heads.note(old.decide()[1])
    assert fork.value.place == DCU


def test_an_older_head_that_was_never_seen_is_refused(box):
    heads = Heads()
    receipts = [box.decide()[1] for _ in range(4)]
    heads.note(receipts[3])
    with pytest.raises(Forked, match="head 2 .* older than 4, and was never seen"):
        heads.note(receipts[1])


def test_another_journal_is_taken_only_when_somebody_says_so_and_never_back(box, signer):
    heads = Heads()
    heads.note(box.decide()[1])
    other = Box(signer, "fedcba9876543210")
    with pytest.raises(Forked, match="is not the one that is known"):
        heads.note(other.decide()[1])
    heads.note(other.decide()[1], new_journal=True)
    with pytest.raises(Forked, match="has left"):
        heads.note(box.decide()[1], new_journal=True)


def test_memory_survives_and_a_damaged_file_is_never_taken_for_an_empty_one(box, tmp_path):
    path, heads = tmp_path / "heads.json", Heads.load(tmp_path / "heads.json")
    heads.note(box.decide()[1])
    heads.note(box.decide("given-out", "lease", lease=LEASE)[1])
    heads.save(path)
    assert Heads.load(path).boxes == heads.boxes and heads.boxes[DCU].lease == LEASE
    for broken in ("", "[]", "{}", path.read_text()[:-40], path.read_text().replace('"heads"', '"tails"')):
        path.write_text(broken)
        with pytest.raises(ConfigFault):
            Heads.load(path)


def test_memory_is_bounded(box):
    heads = Heads()
    heads.note(box.decide()[1])
    known = heads.boxes[DCU]
    known.heads = {n: bytes(32) for n in range(2, MOST_HEADS + 2)}
    known.heads[1] = box.entries[0].digest
    heads.note(box.decide()[1].__class__(**{**_members(box.decide()[1]), "n": MOST_HEADS + 9}))
    assert len(known.heads) == MOST_HEADS and 1 not in known.heads


def _members(receipt):
    return {name: getattr(receipt, name) for name in receipt.__slots__}


# ---- the whole journal ----


def test_a_journal_on_which_all_known_heads_lie_is_proven(box, tmp_path):
    heads = Heads()
    receipts = [box.decide()[1] for _ in range(5)]
    heads.note(receipts[1])
    heads.note(receipts[3])
    file = tmp_path / "j.jsonl"
    file.write_text("".join(f"{line}\n" for line in lines_of(DCU, JID, box.entries)))
    jid, entries = entries_of(file)
    assert heads.trace(DCU, jid, entries) == (5, 2)
    heads.note(receipts[4])  # the trace knows the newest


@pytest.mark.parametrize("damage", ["changed", "taken out", "put in", "cut off", "rewritten", "other journal"])
def test_a_journal_that_was_touched_is_not(box, damage):
    heads = Heads()
    for _ in range(4):
        heads.note(box.decide()[1])
    entries, jid = list(box.entries), JID
    if damage == "changed":
        entries[1] = Entry(2, NOW, "command", b"{}", entries[1].digest)
    elif damage == "taken out":
        del entries[1]
    elif damage == "put in":
        entries.insert(2, entries[1])
    elif damage == "cut off":
        del entries[3]
    elif damage == "rewritten":  # a whole chain of its own
        other = Box(box.signer, salt="-forged")
        entries = [other.decide() for _ in range(4)] and other.entries
    else:
        jid = "fedcba9876543210"
    with pytest.raises((Forked, ReplyMalformed)):
        heads.trace(DCU, jid, entries)


def test_the_witness_computes_the_chain_as_it_is_published_not_by_the_boxs_code(box):
    for _ in range(3):
        box.decide()
    digest = bytes(32)
    for entry, (n, found) in zip(box.entries, walk(box.entries), strict=True):
        digest = hashlib.sha256(
            digest + cbor2.dumps([entry.n, entry.at_s, entry.kind, entry.body], canonical=True)
        ).digest()
        assert (n, found) == (entry.n, digest)


def test_a_file_that_is_no_journal_is_said_to_be_none(tmp_path):
    file = tmp_path / "j.jsonl"
    for text in ("", "x\n", '{"jid":"a"}\n{"n":1}\n', '{"jid":"a"}\n[]\n', '{"jid":"a"}\nä\n'):
        file.write_text(text)
        with pytest.raises(OperatorFault):
            list(entries_of(file)[1])
    with pytest.raises(OperatorFault):
        entries_of(tmp_path / "nowhere")


# ---- on the command line ----


@pytest.fixture
def kit(tmp_path, monkeypatch, signer):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "box.json").write_text(json.dumps(box_document(signer)))
    return Kit(tmp_path)


def test_verify_remembers_and_refuses_and_the_next_command_knows_lease_and_policy(kit, box):
    def put(made, name="r.jws"):
        (kit.directory / name).write_bytes(made[0])
        return ("verify", name, "--box", "box.json", "--state", "heads.json")

    assert "connect GXT20931188: done; policy 7 (journal" in kit(*put(box.decide()))
    kit(*put(box.decide("given-out", "lease", lease=LEASE)))
    words = ("--dcu", DCU, "--iss", ISS, "--state", "heads.json", "--out", "cut.jws")
    kit("command", "disconnect", METER, "--seq", 9, "--why", "safety", *words)
    claims = kit.json("show", "cut.jws")["claims"]
    assert (claims["jid"], claims["lease"], claims["pol"]) == (JID, LEASE, 7)
    kit("command", "connect", METER, "--seq", 9, *words)
    assert not {"lease", "pol"} & kit.json("show", "cut.jws")["claims"].keys()
    kit("command", "limit", METER, "--watts", 3000, *words)  # what names a lease is judged as a disconnect
    assert not {"lease", "pol"} & kit.json("show", "cut.jws")["claims"].keys()
    kit("command", "limit", METER, "--watts", 0, "--seq", 9, *words)
    assert kit.json("show", "cut.jws")["claims"]["lease"] == LEASE
    kit("command", "connect", METER, "--seq", 9, "--dcu", "other", *words[2:], code=1)

    fork = restored(box, 1)
    before = kit.read("heads.json")
    assert "was another one before" in kit(*put(fork.decide()), code=5)
    assert kit.read("heads.json") == before
    (kit.directory / "j.jsonl").write_text("\n".join(lines_of(DCU, JID, box.entries)))
    assert "2 entries, one chain; all 2 known heads" in kit("trace", "j.jsonl", "--dcu", DCU, "--state", "heads.json")
    (kit.directory / "j.jsonl").write_text("\n".join(lines_of(DCU, JID, fork.entries)))
    kit("trace", "j.jsonl", "--dcu", DCU, "--state", "heads.json", code=5)


def test_a_box_that_came_back_with_older_law_is_cut_at_by_nobody(kit, box, signer):
    """A wiped card, with the policy and the keys that its trust.json brings."""

    def verify(made, *more, code=0):
        (kit.directory / "r.jws").write_bytes(made[0])
        return kit("verify", "r.jws", "--box", "box.json", "--state", "heads.json", *more, code=code)

    words = ("--dcu", DCU, "--iss", ISS, "--state", "heads.json", "--out", "cut.jws")
    cut = ("command", "disconnect", METER, "--seq", 9, "--why", "safety", *words)
    verify(box.decide("given-out", "lease", lease=LEASE, keys=3))
    kit(*cut)
    wiped = Box(signer, "fedcba9876543210")
    said = verify(wiped.decide("given-out", "lease", pol=1, lease=LEASE, keys=2), "--new-journal", code=5)
    assert "it obeys key document 2, and had 3" in said and "policy 1, and had 7" in said and "send it" in said
    assert "policy 1, and had 7" in kit(*cut, code=1)
    kit("command", "connect", METER, "--seq", 9, *words)
    verify(wiped.decide("accepted", "keys", pol=None, version=3))
    assert "keys" not in kit(*cut, code=1)
    verify(wiped.decide("waiting", "policy", pol=7))
    kit(*cut, code=1)
    verify(wiped.decide("in-force", "policy", pol=7))
    kit(*cut)
    claims = kit.json("show", "cut.jws")["claims"]
    assert (claims["jid"], claims["pol"]) == ("fedcba9876543210", 7)


def test_a_permit_is_for_the_journal_that_is_known(kit, box):
    (kit.directory / "r.jws").write_bytes(box.decide()[0])
    kit("verify", "r.jws", "--box", "box.json", "--state", "heads.json")
    day = ("--iss", ISS, "--date", "2026-11-23", "--max", 5, "--state", "heads.json", "--out", "permit.jws")
    kit("permit", "P-1", *day, "--dcu", DCU, "--profile", "arrears")
    assert kit.json("show", "permit.jws")["claims"]["jid"] == JID
    kit("permit", "T-1", *day)
    assert "jid" not in kit.json("show", "permit.jws")["claims"]
    kit("permit", "P-1", *day, "--dcu", "other", "--profile", "arrears", code=1)


def test_a_file_of_before_knows_its_policy_as_the_highest(box, tmp_path):
    path, heads = tmp_path / "heads.json", Heads()
    heads.note(box.decide("given-out", "lease", lease=LEASE, keys=3)[1])
    heads.save(path)
    document = json.loads(path.read_text())
    for name in ("keys", "most"):
        del document["boxes"][DCU][name]
    path.write_text(json.dumps(document))
    known = Heads.load(path).boxes[DCU]
    assert (known.pol, known.most_pol, known.keys, known.most_keys, known.behind) == (7, 7, 0, 0, "")
