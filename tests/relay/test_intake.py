"""The way in: which room decides, what is counted of what nobody signed, and which refusals are told at once."""

import pytest

from dcu.command import CommandRefused, Refusal
from dcu.errors import StoreDamaged, StoreFull
from dcu.relay import envelope, intake
from dcu.relay.alarms import Alarms
from dcu.relay.documents import Documents
from dcu.relay.gate import KEYS_BURST
from dcu.relay.intake import Intake
from dcu.relay.letters import Put, Reply, Verdict
from dcu.relay.ruling import Ruling
from dcu.relay.standing import POLICY_BASE, POLICY_WAITING
from tests.relay.room import Room
from tests.relay.test_key_documents import document
from tests.relay.world import METER, TOPIC

R = Refusal
BUG = ZeroDivisionError("our bug")


class Door(Room):
    """Documents are handed in as they come by MQTT."""

    def __init__(self):
        super().__init__()
        self.intake = Intake(self.book, Documents(self.book), Alarms(self.clock, self.alarms.append))

    def put(self, octets, topic=TOPIC):
        return self.intake.decide(Put(octets, topic, 1, False, False, Reply()))

    def counted(self):
        self.intake.count()
        return self.store.rows.counts

    def told(self):
        """Alarms: code, meter, and how the cause ends."""
        return [(each.facts["code"], each.meter, each.text.partition("): ")[2]) for each in self.alarms]


@pytest.fixture
def door():
    return Door()


def falling(fault):
    def fall(*_args, **_more):
        raise fault

    return fall


def full():
    raise StoreFull("no room")


# ---- whose word it is -----------------------------------------------------------------------------------------------


def test_each_document_goes_to_the_room_that_decides_about_it(door):
    assert door.put(door.command("connect")).command.cmd_id == "c-1"
    assert door.put(door.permit("P-2")).verdict == Verdict("accepted") and len(door.store.rows.permits) == 2
    assert door.put(document(3)).verdict == Verdict("accepted") and door.book.trust.version == 3
    assert door.put(door.policy(2, hours={})).verdict == Verdict("accepted")
    assert door.store.rows.documents[POLICY_BASE][0] == 2


def test_a_first_policy_that_comes_over_the_air_waits_like_any_that_permits_more(door):
    door.store.rows.documents.clear()
    assert door.put(door.policy(2)).verdict == Verdict("accepted")
    assert POLICY_BASE not in door.store.rows.documents and door.store.rows.documents[POLICY_WAITING][0] == 2


def test_key_documents_have_an_allowance_of_their_own_within_that_of_all(door):
    for _ in range(KEYS_BURST):
        assert door.put(document(3)).verdict.code is None
    assert door.put(document(3)) == Ruling(Verdict("refused", R.E_FLOOD))
    assert door.put(b"{").verdict.code is R.E_JSON


# ---- what nobody signed ---------------------------------------------------------------------------------------------


def test_what_nobody_signed_is_counted_by_its_code_and_kept_nowhere(door):
    before = len(door.store.rows.journal), len(door.receipts())
    assert door.put(b"{") == Ruling(Verdict("refused", R.E_JSON))
    assert door.put(b"{", topic="barrier") == Ruling(Verdict("refused", R.E_TOPIC))
    assert door.put(b"{").verdict.code is R.E_JSON
    assert door.intake.uncounted == 3 and door.store.rows.counts == {}
    assert door.counted() == {"refused.E_JSON": 2, "refused.E_TOPIC": 1} and door.intake.uncounted == 0
    assert [code for code, _, _ in door.told()] == ["E_JSON", "E_TOPIC"], "each once a minute"
    assert (len(door.store.rows.journal), len(door.receipts())) == before


def test_counts_that_find_no_room_are_written_later(door):
    door.put(b"{")
    door.store.fault = full
    assert door.counted() == {} and door.intake.uncounted == 1
    door.put(b"{")
    door.store.fault = lambda: None
    assert door.counted() == {"refused.E_JSON": 2} and door.counted() == {"refused.E_JSON": 2}


# ---- what nobody has foreseen ---------------------------------------------------------------------------------------


def test_a_fault_of_ours_in_a_room_refuses_and_is_told(door, monkeypatch):
    monkeypatch.setattr(intake.Docket, "command", falling(BUG))
    assert door.put(door.command()) == Ruling(Verdict("refused", R.E_SCHEMA), cause="unforeseen")
    assert door.told() == [("E_SCHEMA", "", "unforeseen ZeroDivisionError")]
    assert door.counted() == {"refused.unforeseen": 1}


def test_a_fault_of_ours_in_the_verifier_is_counted_as_one(door, monkeypatch):
    refusal = envelope.Unforeseen(R.E_SHAPE, "unforeseen ZeroDivisionError")
    monkeypatch.setattr(intake, "open_envelope", falling(refusal))
    assert door.put(door.command()) == Ruling(Verdict("refused", R.E_SHAPE))
    assert door.told() == [("E_SHAPE", "", "unforeseen ZeroDivisionError")]
    assert door.counted() == {"refused.unforeseen": 1}


@pytest.mark.parametrize("fault", [StoreFull("no room"), StoreDamaged("not a database")], ids=repr)
def test_a_fault_of_the_store_refuses_nothing(door, monkeypatch, fault):
    monkeypatch.setattr(intake.Docket, "command", falling(fault))
    with pytest.raises(type(fault)):
        door.put(door.command())
    assert door.intake.uncounted == 0 and door.alarms == []


# ---- what is told at once -------------------------------------------------------------------------------------------

TOLD = {R.E_ID_REUSE, R.E_STORE, R.E_PROTECTED, R.E_CAP}


@pytest.mark.parametrize("code", [None, *Refusal], ids=str)
def test_what_somebody_signed_and_should_not_have_is_told_at_once(door, monkeypatch, code):
    ruling = Ruling(Verdict("refused", code), cause="why", meter=METER)
    monkeypatch.setattr(intake.Docket, "command", lambda *_args: ruling)
    assert door.put(door.command()) == ruling
    assert door.told() == ([(code.value, METER, "why")] if code in TOLD else [])


def test_a_decision_that_says_no_more_hands_nothing_on_and_names_nothing():
    said = {"command": None, "wait_s": 0, "spacing_s": 0, "cuts": False, "cause": "", "meter": ""}
    assert Ruling(Verdict("accepted")) == Ruling(Verdict("accepted"), **said)


def test_a_refusal_that_a_room_raises_was_signed_by_nobody_whom_the_box_knows(door, monkeypatch):
    monkeypatch.setattr(Documents, "keys", falling(CommandRefused(R.E_KEY, "by nobody")))
    assert door.put(document(3)) == Ruling(Verdict("refused", R.E_KEY))
    assert door.told() == [("E_KEY", "", "by nobody")] and door.counted() == {"refused.E_KEY": 1}
