"""The life of a command: what its table allows, and what no walk through it can do."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcu.command import LIFE, OPEN, CommandRefused, Event, Refusal, State, after
from dcu.errors import Fate


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("event", Event)
def test_what_is_not_in_the_table_cannot_happen(state, event):
    if (state, event) in LIFE:
        assert after(state, event) is LIFE[state, event]
    else:
        with pytest.raises(ValueError, match=f"{event.value} is not legal in {state.value}"):
            after(state, event)


def test_an_end_is_an_end():
    assert not [pair for pair in LIFE if pair[0] not in OPEN]
    assert {State.ACCEPTED, State.PENDING, State.DISPATCHED} == OPEN


def test_every_state_and_event_has_its_place():
    assert {State.ACCEPTED, State.PENDING} | set(LIFE.values()) == set(State)
    assert {event for _, event in LIFE} == set(Event)


SENT = {State.DONE, State.DONE_BY_READBACK, State.ARMED, State.FAILED, State.FAILED_UNSENT, State.IN_DOUBT}


def walked(state, events):
    """States that a command comes through."""
    for event in events:
        try:
            state = after(state, event)
        except ValueError:
            continue
        yield event, state


@given(st.lists(st.sampled_from([e for e in Event if e is not Event.TAKEN_BACK]), max_size=12))
def test_no_disconnect_is_dispatched_twice_or_done_without_it(events):
    walk = [state for _, state in walked(State.PENDING, events)]
    dispatched = walk.count(State.DISPATCHED)
    assert dispatched <= 1
    assert dispatched == (bool(walk) and walk[-1] in SENT | {State.DISPATCHED})


@given(st.lists(st.sampled_from(Event), max_size=16))
def test_what_is_dispatched_again_was_surely_not_sent(events):
    walk = list(walked(State.ACCEPTED, events))
    dispatched = [state for _, state in walk].count(State.DISPATCHED)
    taken_back = [event for event, _ in walk].count(Event.TAKEN_BACK)
    assert dispatched <= taken_back + 1


def test_a_disconnect_that_was_dispatched_is_never_taken_back_into_its_waiting():
    assert {state for (_, event), state in LIFE.items() if event is Event.TAKEN_BACK} == {State.ACCEPTED}
    assert State.PENDING not in LIFE.values()


def test_a_crash_before_the_dispatch_abandons_and_after_it_never_resends():
    assert after(State.ACCEPTED, Event.CRASHED) is after(State.PENDING, Event.CRASHED) is State.ABANDONED
    assert (State.DISPATCHED, Event.CRASHED) not in LIFE
    assert (State.DISPATCHED, Event.DISPATCH) not in LIFE
    assert after(State.DISPATCHED, Event.RECOVERED_OTHER) is State.IN_DOUBT


def test_a_refusal_names_its_code_and_is_never_retried():
    refused = CommandRefused(Refusal.E_NOT_LIVE, "prepaid is not live in JH-DHN")
    assert str(refused) == "E_NOT_LIVE: prepaid is not live in JH-DHN"
    assert refused.code is Refusal.E_NOT_LIVE and refused.fate is Fate.NEVER_RETRY
    assert all(code.value == code.name for code in Refusal)
