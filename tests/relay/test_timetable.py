"""Which command goes to its bus when: lanes, spacing, tries of a connect. No box, no line."""

from dataclasses import replace

import pytest

from dcu.command import Command, Operation
from dcu.relay.timetable import Entry, Timetable

CUT, LIGHT, READ, OTHER = Operation.DISCONNECT, Operation.CONNECT, Operation.READ, Operation.MESSAGE


def entry(op=OTHER, due_s=0.0, *, bus="north", until_s=3600.0, spacing_s=120):
    command = Command("c", op, "i", "d", "j", "M", None, 0, None, 3600)
    return Entry(command, bus, due_s, until_s, op is CUT, spacing_s if op is CUT else 0)


def table(**entries):
    made = Timetable()
    for key, each in entries.items():
        made.add(key, each)
    return made


def due(made, now_s, **cuts):
    return [key for key, _ in made.due(now_s, **cuts)]


def sent(op, now_s=0.0, **more):
    """A table of which one is on its way to the meter."""
    made = table(first=entry(op, now_s, **more))
    assert due(made, now_s) == ["first"] and made.send("first", now_s).op is op
    return made


def test_each_goes_when_it_is_due_and_once():
    made = table(a=entry(due_s=10.0))
    assert due(made, 9.9) == [] and due(made, 10.0) == ["a"] and due(made, 11.0) == []


def test_connects_go_first_and_the_others_in_the_order_in_which_they_are_due():
    made = table(
        late=entry(due_s=2.0, bus="b"), early=entry(due_s=1.0, bus="c"), light=entry(LIGHT, 3.0), next=entry(LIGHT, 4.0)
    )
    assert due(made, 5.0) == ["light", "next", "early", "late"]


GOES = [
    # what is there, what comes, whether it goes
    (OTHER, OTHER, False),
    (OTHER, LIGHT, True),
    (OTHER, READ, True),
    (OTHER, CUT, False),
    (LIGHT, LIGHT, True),
    (LIGHT, OTHER, True),
    (LIGHT, READ, True),
    (LIGHT, CUT, False),
    (READ, READ, False),
    (READ, LIGHT, True),
    (READ, OTHER, True),
    (READ, CUT, True),
    (CUT, LIGHT, True),
    (CUT, OTHER, False),
    (CUT, CUT, False),
]


@pytest.mark.parametrize(("there", "comes", "goes"), GOES)
def test_one_of_its_kind_at_a_time_before_a_bus(there, comes, goes):
    out = table(first=entry(there))
    assert due(out, 0.0) == ["first"]
    for made in (out, sent(there)):
        made.add("next", entry(comes, 500.0))
        assert due(made, 500.0) == (["next"] if goes else [])


@pytest.mark.parametrize("there", [OTHER, READ])
def test_another_bus_is_free(there):
    made = sent(there)
    made.add("next", entry(there, bus="south"))
    assert due(made, 0.0) == ["next"]


def test_disconnects_can_be_held_back_and_nothing_else_is():
    made = table(cut=entry(CUT), other=entry(bus="south"), light=entry(LIGHT))
    assert due(made, 0.0, cuts=False) == ["light", "other"]
    made.forget("light")
    assert due(made, 0.0) == ["cut"]
    alone = table(cut=entry(CUT))
    assert due(alone, 0.0, cuts=False) == [] and due(alone, 0.0) == ["cut"]


def test_a_disconnect_keeps_its_distance_from_the_last_one_that_was_sent():
    made = sent(CUT, 1000.0)
    assert made.forget("first").op is CUT
    made.add("next", entry(CUT, 1000.0))
    assert due(made, 1119.9) == [] and due(made, 1120.0) == ["next"]


def test_what_is_no_disconnect_keeps_no_distance_and_makes_none():
    made = sent(OTHER, 1000.0)
    made.forget("first")
    made.add("cut", entry(CUT, 1000.0))
    assert due(made, 1000.0) == ["cut"]
    made.send("cut", 1000.0)
    made.forget("cut")
    made.add("other", entry(OTHER, 1000.0))
    assert due(made, 1000.0) == ["other"] and made.early("other", 1000.0) is False
    made.forget("other")
    made.add("spaced", replace(entry(OTHER, 1000.0), spacing_s=120))
    assert due(made, 1000.0) == ["spaced"] and made.early("spaced", 1000.0) is False


def test_a_disconnect_that_stands_before_its_meter_too_soon_waits_again():
    made = table(a=entry(CUT), b=entry(CUT, bus="south"))
    assert due(made, 1000.0) == ["a", "b"]
    assert not made.early("a", 1000.0) and made.send("a", 1000.0)
    assert made.early("b", 1119.9) and made.send("b", 1119.9) is None
    assert [at.due_s for _, at in made.unsent()] == [1120.0]
    assert due(made, 1119.9) == [] and due(made, 1120.0) == ["b"]
    assert not made.early("b", 1120.0) and not made.early("nobody", 0.0)


def test_what_is_not_out_is_not_sent():
    made = table(a=entry(due_s=10.0))
    assert made.send("a", 0.0) is None and made.send("nobody", 0.0) is None


@pytest.mark.parametrize("is_sent", [False, True])
def test_a_connect_is_tried_again_after_half_a_minute_while_its_time_holds(is_sent):
    made = sent(LIGHT, 0.0, until_s=100.0) if is_sent else table(first=entry(LIGHT, until_s=100.0))
    due(made, 0.0)
    assert made.again("first", 50.0)
    assert due(made, 79.9) == [] and due(made, 80.0) == ["first"]
    assert not made.again("first", 70.0), "it would be over by then"
    assert made.again("first", 69.9)


def test_a_connect_that_waits_for_its_next_try_stands_in_nobodys_way():
    made = sent(LIGHT)
    made.add("cut", entry(CUT))
    assert due(made, 0.0) == [] and made.again("first", 0.0)
    assert due(made, 0.0) == ["cut"]


def test_nothing_else_is_tried_again():
    for op in (CUT, OTHER, READ):
        assert sent(op).again("first", 0.0) is False
    assert not Timetable().again("nobody", 0.0) and not table(a=entry(CUT, 9.0)).again("a", 0.0)


def test_a_connect_that_waits_again_already_is_told_so_and_keeps_its_moment():
    """An errand that waits no longer and a leave that came too late both ask for another try."""
    waiting = table(a=entry(LIGHT, 9.0))
    assert waiting.again("a", 0.0)
    assert [at.due_s for _, at in waiting.unsent()] == [9.0]


def test_it_is_known_wherever_it_stands():
    made = table(waits=entry(due_s=9.0), goes=entry(bus="south"))
    assert [made.knows(key) for key in ("waits", "goes", "nobody")] == [True, True, False]
    assert due(made, 0.0) == ["goes"] and made.knows("goes")
    made.send("goes", 0.0)
    assert made.knows("goes")
    made.forget("goes")
    assert not made.knows("goes")


def test_what_is_forgotten_is_gone_wherever_it_stood():
    waiting, out, gone = table(first=entry()), table(first=entry()), sent(OTHER)
    due(out, 0.0)
    assert [[key for key, _ in made.unsent()] for made in (waiting, out, gone)] == [["first"], ["first"], []]
    for made in (waiting, out, gone):
        assert made.forget("first").op is OTHER and made.forget("first") is None
        assert list(made.unsent()) == [] and due(made, 9e9) == []
        made.add("next", entry())
        assert due(made, 0.0) == ["next"]
