"""Each step of an accepted command by itself: from where it may begin, what it keeps, journals, counts and tells."""

import copy

import pytest

from dcu.command import ControlState, Event, OutputState, Refusal, RelaySequence, State
from dcu.record import Stream
from dcu.relay.letters import Brought
from dcu.relay.receipts import ReadBack
from tests.relay.room import SAFETY, evidence
from tests.relay.world import APPROVE, FAR_METER, ISS, METER, NOW, REQUEST

R = Refusal
OPENED = {"output": OutputState.DISCONNECTED, "control": ControlState.DISCONNECTED}
LIGHT = {"op": "connect"}
BOTH = (REQUEST, APPROVE)
LIMIT = {"op": "limit", "watts": 100, "seq": 5, "lease": "L-1", "permit": "P-1", "pol": 1, "signers": BOTH}
READ = {"op": "read", "attribute": "1:0.0.96.1.0.255/2"}
NOBODY = (ISS, "nobody")


def last(room):
    return room.receipts()[-1]


# ---- from where a step begins ---------------------------------------------------------------------------------------

WAITING = {State.ACCEPTED, State.PENDING}
STEPS = {
    "dispatch": (lambda life, key: life.dispatch(key, evidence()), "disconnect", WAITING),
    "bring": (lambda life, key: life.bring(Brought(key, evidence())), "read", WAITING),
    "refuse": (lambda life, key: life.refuse(key, R.E_UNREACHABLE, "no answer"), "disconnect", WAITING),
    "settle": (lambda life, key: life.settle(key, Event.READ_BACK_TARGET, ""), "disconnect", {State.DISPATCHED}),
}


@pytest.mark.parametrize("step", STEPS)
def test_a_step_begins_where_it_may_and_changes_nothing_anywhere_else(room, step):
    make, op, begins = STEPS[step]
    key = room.accept(**READ) if op == "read" else room.accept(op)
    accepted = room.store.rows
    for state in set(State) - ({State.PENDING} if op == "read" else set()):  # which is of disconnects alone
        room.store.rows = copy.deepcopy(accepted)
        room.keep(key, state=state)
        before = copy.deepcopy(room.store.rows)
        found = make(room.life, key)
        assert (found is not None, room.store.rows != before) == ((state in begins,) * 2), state
    assert make(room.life, NOBODY) is None


def test_what_waits_and_what_is_kept_is_known_by_its_key(room):
    key = room.accept()
    assert room.life.stored(key).meter == METER and room.life.stored(NOBODY) is None
    assert room.life.waits(NOBODY) is False
    for state in State:
        room.keep(key, state=state)
        assert room.life.waits(key) is (state in WAITING), state
    room.keep(key, payload=b"{}")
    assert room.life.stored(key) is None, "not what was signed"


# ---- judged again ---------------------------------------------------------------------------------------------------


def test_what_is_dispatched_is_journalled_before_anything_is_sent(room):
    key, before = room.accept(), len(room.receipts())
    assert room.life.dispatch(key, evidence()).cmd_id == "c-1"
    assert room.kept(key).state is State.DISPATCHED
    assert (room.journalled()["cmd_id"], room.journalled()["state"]) == ("c-1", "dispatched")
    assert len(room.receipts()) == before, "it is told when it is at its end"


@pytest.mark.parametrize(
    ("op", "step"),
    [
        ({}, lambda life, key: life.dispatch(key, evidence(serial="GXT1"))),
        (READ, lambda life, key: life.bring(Brought(key, evidence(serial="GXT1")))),
        (READ, lambda life, key: life.refuse(key, R.E_METER, "another one")),
    ],
    ids=["dispatch", "bring", "refuse"],
)
def test_what_is_refused_when_it_is_due_is_counted_and_told(room, op, step):
    key = room.accept(**op)
    room.keep(key, repeated_at=NOW)
    assert step(room.life, key) in {None, State.REFUSED}
    assert room.store.rows.counts == {"refused.E_METER": 1}
    kept = room.kept(key)
    assert (kept.state, kept.repeated_at) == (State.REFUSED, 0), "nobody was given this receipt yet"
    assert (last(room).state, last(room).code) == ("refused", "E_METER") and last(room).claims["reason"]
    assert "cause" not in last(room).claims


def test_a_step_says_where_the_command_stands_then(room):
    assert room.life.refuse(room.accept(), R.E_UNREACHABLE, "no answer") is State.REFUSED
    assert room.life.bring(Brought(room.accept(**READ), evidence(serial="GXT1"))) is State.REFUSED
    assert room.life.bring(Brought(room.accept(**READ), evidence())) is State.DONE
    key = room.accept()
    room.life.dispatch(key, evidence())
    assert room.life.settle(key, Event.READ_BACK_OTHER, "") is State.FAILED


def test_only_what_is_sent_to_disconnect_is_noted_as_sent(room):
    def sent():
        return [(debit.cmd_id, debit.sent_at_s, debit.sent_boot_s) for debit in room.store.rows.debits]

    late = room.accept()
    room.life.dispatch(late, evidence(**OPENED))
    assert room.kept(late).state is State.NOOP and sent() == [("c-1", None, None)], "it was there already"
    light, cut = room.accept("connect", meter=FAR_METER), room.accept()
    room.clock.pass_s(5)
    assert room.life.dispatch(light, evidence(serial=FAR_METER, **OPENED))
    assert sent() == [("c-1", None, None), ("c-3", None, None)]
    assert room.life.dispatch(cut, evidence())
    assert sent() == [("c-1", None, None), ("c-3", NOW + 5, 1005)]


MARKS = {
    # command, mark before, what the meter says, mark after
    "a cut for safety": (SAFETY, 0, {}, 1),
    "and where the relay is open already": (SAFETY, 0, OPENED, 1),
    "a cut for credit": ({}, 0, {}, 0),
    "a cut for credit of what is open for safety": ({}, 9, {}, 9),
    "a limit for safety": (LIMIT | SAFETY, 0, {}, 5),
    "light by one": (LIGHT, 0, OPENED, 0),
    "light by two": (LIGHT | {"signers": BOTH}, 9, OPENED, 0),
    "light by two for safety": (LIGHT | {"signers": BOTH, "why": "safety"}, 9, OPENED, 0),
    "a message by two": ({"op": "message", "signers": BOTH}, 9, {}, 9),
}


@pytest.mark.parametrize("name", MARKS)
def test_what_is_open_for_safety_is_marked_until_two_people_give_light(room, name):
    changes, before, shown, after = MARKS[name]
    key = room.accept(**changes)
    held = room.store.rows.sequences.get(METER, RelaySequence())
    room.store.rows.sequences[METER] = RelaySequence(held.any, held.disconnect, before)
    room.life.dispatch(key, evidence(**shown))
    assert room.kept(key).state in {State.DISPATCHED, State.NOOP}
    assert room.store.rows.sequences[METER].safety == after


# ---- how it ends ----------------------------------------------------------------------------------------------------


def test_a_connect_of_which_nothing_was_sent_waits_again_and_only_a_connect(room):
    light, cut = room.accept("connect", meter=FAR_METER), room.accept()
    room.life.dispatch(light, evidence(serial=FAR_METER, **OPENED))
    room.life.dispatch(cut, evidence())
    before = len(room.receipts())
    assert room.life.settle(light, Event.UNSENT, "too late") is State.ACCEPTED is room.kept(light).state
    assert [room.journalled()[name] for name in ("cmd_id", "state", "reason")] == ["c-1", "accepted", "too late"]
    assert len(room.receipts()) == before
    assert room.life.settle(cut, Event.UNSENT, "too late") is State.FAILED_UNSENT is room.kept(cut).state
    assert last(room).state == "failed-unsent" and last(room).claims["reason"] == "too late"
    room.life.dispatch(light, evidence(serial=FAR_METER, **OPENED))
    assert room.life.settle(light, Event.READ_BACK_TARGET, "") is State.DONE


@pytest.mark.parametrize("event", [Event.READ_BACK_TARGET, Event.RECOVERED_TARGET, Event.RECOVERED_OTHER])
def test_what_nobody_saw_happen_is_told_as_unproven(room, event):
    key = room.accept()
    room.life.dispatch(key, evidence())
    room.life.settle(key, event, "", readback=[ReadBack(OutputState.DISCONNECTED)])
    assert last(room).claims["readback"] == [{"output": "disconnected"}]
    assert "reason" not in last(room).claims, "nobody gave one"
    assert last(room).claims.get("cause") == ("unproven" if event is Event.RECOVERED_TARGET else None)


@pytest.mark.parametrize(
    ("bodies", "where"), [([], {}), ([b"a", b"b", b"c"], {"stream": "profile", "first": 3, "last": 5})]
)
def test_what_a_read_brought_is_on_its_stream_and_told_with_its_place(room, bodies, where):
    profile = room.store.rows.streams[Stream.PROFILE]
    profile += [b"of before"] * 2
    key = room.accept(**READ)
    brought = Brought(key, evidence(), tuple((body, None) for body in bodies), {"rows": 7})
    assert room.life.bring(brought) is State.DONE
    assert room.store.rows.streams[Stream.PROFILE][2:] == bodies
    assert (last(room).state, last(room).claims["readback"]) == ("done", [{"rows": 7} | where])
    assert "reason" not in last(room).claims


def test_a_start_goes_through_all_that_is_open_whatever_of_it_cannot_be_read(room):
    keys = [room.accept() for _ in range(3)] + [room.accept("connect", meter=FAR_METER)]
    sent = [room.accept("message") for _ in range(2)]
    for key in sent:
        room.life.dispatch(key, evidence())
    for key in (keys[0], sent[0]):
        room.keep(key, payload=b"{}")
    found = room.life.recover()
    assert [command.cmd_id for command in found.resumed] == ["c-4"]
    assert [command.cmd_id for command in found.inspected] == ["c-6"]
    ends = [State.ABANDONED] * 3 + [State.ACCEPTED, State.IN_DOUBT, State.DISPATCHED]
    assert [room.kept(key).state for key in keys + sent] == ends
