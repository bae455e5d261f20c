"""The relay desk from other threads: how long each waits for it, what goes first, and what who waits is told."""

import pytest

from dcu.command import Event, Refusal
from dcu.errors import StoreBusy, StoreDamaged, StoreFull
from dcu.relay.letters import Answer, Lock, NewTrust, Outcome, Put, Ready, Verdict
from dcu.relay.trust import Commissioning
from tests.relay.room import evidence
from tests.relay.turning import Turning
from tests.relay.world import FAR_METER, ISS, METER, TOPIC, Killed, trust

KEY = (ISS, "c-1")
LOCK = (METER, "ravi", "work", 3600)


@pytest.fixture
def box(monkeypatch):
    return Turning(monkeypatch)


def put(box, document=b"{"):
    return box.desk.put(document, TOPIC, 1, False)


def ready(box):
    return Ready(KEY, evidence(), box.reply())


# ---- how long each waits --------------------------------------------------------------------------------------------


def test_nobody_waits_without_end(box):
    """A document half a minute, somebody at the pole as long; an errand, which keeps its line, ten seconds."""
    box.lie()
    for asks in (lambda: put(box), lambda: box.desk.lock(*LOCK)):
        with pytest.raises(StoreBusy, match="no decision in time"):
            asks()
    assert box.desk._ask(ready(box)) is None
    assert box.waits == [30.0, 30.0, 10.0]


def test_nobody_waits_for_a_thread_that_has_ended(box):
    box.close()
    box.waits.clear()
    with pytest.raises(StoreBusy, match="^relay: the relay thread has ended$"):
        put(box)
    with pytest.raises(StoreBusy):
        box.desk.lock(*LOCK)
    assert box.desk._ask(ready(box)) is None
    assert box.waits == [0.0, 0.0]


# ---- what goes first ------------------------------------------------------------------------------------------------


def test_what_the_box_itself_has_to_say_goes_ahead_of_documents(box):
    box.lie()
    with pytest.raises(StoreBusy):
        put(box)
    asked = ready(box)
    box.desk.renew_trust(root := Commissioning(box.trust, ()))
    box.desk._ask(asked)
    with pytest.raises(StoreBusy):
        box.desk.lock(*LOCK)
    first, second, third = (box.letters.take(0.0) for _ in range(3))
    assert (first, second) == (NewTrust(root), asked)
    assert isinstance(third, Lock) and isinstance(box.letters.take(0.0), Put)


def test_a_mailbox_that_is_full_takes_no_document_but_what_gives_light(box):
    box.lie()
    light = box.command("connect")
    for _ in range(256):
        with pytest.raises(StoreBusy):
            put(box)
    assert put(box) == Verdict("refused", Refusal.E_FLOOD)
    with pytest.raises(StoreBusy):
        put(box, light)
    assert len(box.letters) == 257 and box.letters.take(0.0).octets == light


# ---- what it says of itself -----------------------------------------------------------------------------------------


def test_it_says_which_meters_it_has_and_which_lease_is_given_out(box):
    assert box.desk.meters is box.meters and box.desk.lease == ""
    box.turn()
    [told] = [receipt for receipt in box.receipts() if receipt.kind == "lease"]
    assert box.desk.lease == told.claims["lease"] != ""


def test_other_roots_are_in_force_with_the_next_document(box):
    box.turn()
    box.desk.renew_trust(Commissioning(trust(req_1={"revoked": True}), box.commissioned))
    assert put(box, box.command("connect")).code is Refusal.E_KEY


def test_a_lock_is_told_and_held_until_it_is_ended(box):
    made = box.desk.lock(*LOCK)
    assert (made.meter, made.who, made.why, made.seconds) == LOCK
    assert box.desk.restraints() == [made]
    assert box.desk.lock(METER, "sunil", "", 0) == made and box.desk.restraints() == []
    assert box.desk.lock(FAR_METER, "sunil", "", 0) is None, "there was none"
    told = [(alarm.kind.value, alarm.meter, alarm.facts["who"]) for alarm in box.alarms]
    assert told == [("locked", METER, "ravi"), ("unlocked", METER, "sunil")]


# ---- when the thread falls ------------------------------------------------------------------------------------------

DAMAGED, BUG, KILLED = StoreDamaged("not a database"), ZeroDivisionError("our bug"), Killed()


def falling(fault):
    def fall(*_args):
        raise fault

    return fall


@pytest.mark.parametrize("fault", [DAMAGED, BUG, KILLED], ids=repr)
@pytest.mark.parametrize("kind", ["put", "ready", "lock", "outcome"])
def test_who_waits_learns_at_once_why_the_thread_ends(box, monkeypatch, kind, fault):
    box.turn()
    letters = {
        "put": lambda: Put(b"{", TOPIC, 1, False, False, box.reply()),
        "ready": lambda: ready(box),
        "lock": lambda: Lock(*LOCK, box.reply()),
        "outcome": lambda: Outcome(KEY, Event.UNSENT),
    }
    letter = letters[kind]()
    monkeypatch.setattr(box.desk, "_read", falling(fault))
    box.lie()
    box.letters.post(letter, urgent=True)
    with pytest.raises(type(fault)) as fell:
        box.turn()
    assert fell.value is fault
    if kind != "outcome":
        with pytest.raises(StoreBusy if fault is KILLED else type(fault)) as told:
            letter.reply.wait(0.0)
        assert told.value is fault or str(told.value) == "relay: the relay thread has ended"


def test_who_waits_when_the_process_stops_learns_that_it_does(box):
    box.lie()
    letters = [
        Put(b"{", TOPIC, 1, False, False, box.reply()),
        ready(box),
        Lock(*LOCK, box.reply()),
        Outcome(KEY, Event.UNSENT),
    ]
    for letter in letters:
        box.letters.post(letter, urgent=True)
    box.close()
    assert len(box.letters) == 0 and set(box.letters.waits) == {0.0}, "it looks, and waits for nothing more"
    assert letters[1].reply.wait(0.0) == Answer()
    for letter in (letters[0], letters[2]):
        with pytest.raises(StoreBusy, match="^relay: the relay thread has ended$"):
            letter.reply.wait(0.0)


def test_what_came_when_it_had_looked_for_the_last_time_is_told_so_too(box):
    """It closes its door before it looks: one of the two has seen the other."""
    seen = []
    take = box.letters.take
    box.letters.take = lambda timeout_s: (seen.append(box.desk._closed), take(timeout_s))[1]
    box.close()
    assert seen == [True]


# ---- the store has no room ------------------------------------------------------------------------------------------


def full(*_args):
    raise StoreFull("no room")


def test_who_asks_while_there_is_no_room_is_told_so(box):
    box.turn()
    box.store.fault = full
    assert put(box, box.command("connect")) == Verdict("refused", Refusal.E_STORE)
    with pytest.raises(StoreFull, match="no room"):
        box.desk.lock(*LOCK)
    assert box.desk._ask(ready(box)) == Answer()
    assert box.codes() == ["E_STORE"] and "no room" in box.alarms[0].text
