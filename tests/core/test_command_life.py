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
    assert {State.ACCEPTED, State.DISPATCHED} == OPEN


def test_every_state_and_event_has_its_place():
    assert {State.ACCEPTED} | set(LIFE.values()) == set(State)
    assert {event for _, event in LIFE} == set(Event)


@given(st.lists(st.sampled_from(Event), max_size=12))
def test_no_walk_dispatches_twice_or_is_done_without_it(events):
    state, dispatched = State.ACCEPTED, 0
    for event in events:
        try:
            state = after(state, event)
        except ValueError:
            continue
        dispatched += state is State.DISPATCHED
    assert dispatched <= 1
    sent = {State.DONE, State.DONE_BY_READBACK, State.ARMED, State.FAILED, State.FAILED_UNSENT, State.IN_DOUBT}
    assert dispatched == (state in sent | {State.DISPATCHED})


def test_a_crash_before_the_dispatch_abandons_and_after_it_never_resends():
    assert after(State.ACCEPTED, Event.CRASHED) is State.ABANDONED
    assert (State.DISPATCHED, Event.CRASHED) not in LIFE
    assert (State.DISPATCHED, Event.DISPATCH) not in LIFE
    assert after(State.DISPATCHED, Event.RECOVERED_OTHER) is State.IN_DOUBT


def test_a_refusal_names_its_code_and_is_never_retried():
    refused = CommandRefused(Refusal.E_NOT_LIVE, "prepaid is not live in JH-DHN")
    assert str(refused) == "E_NOT_LIVE: prepaid is not live in JH-DHN"
    assert refused.code is Refusal.E_NOT_LIVE and refused.fate is Fate.NEVER_RETRY
    assert all(code.value == code.name for code in Refusal)
