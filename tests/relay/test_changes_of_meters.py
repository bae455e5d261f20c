"""What is decided about a command that changes the meters of this box, and what the new one takes over from the old."""

import pytest

from dcu.command import Refusal, RelaySequence, State
from dcu.errors import StoreFull
from tests.relay.room import Room
from tests.relay.world import FAR_METER, ISS, METER, RANCHI

R = Refusal

PLACE = {"bus": "north", "address": 21, "model": "is15959-1ph", "area": RANCHI, "secrets": "m-77"}
CHANGES = {"add": PLACE, "replace": PLACE | {"old": METER}, "retire": {}}


class Fitter:
    """Whoever holds the meters of this box."""

    def __init__(self):
        self.wrong, self.kept, self.in_effect = "", [], []

    def fault(self, command):
        assert command.change is not None, "that is no change of a meter"
        return f"{self.wrong}: {command.meter}" if self.wrong else ""

    def keep(self, tx, command):
        tx.save_document("meters", 0, command.meter.encode())
        self.kept.append(command.cmd_id)

    def take_effect(self, command):
        self.in_effect.append((command.cmd_id, command.meter))


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_of_the_meters_takes_effect_when_it_is_on_disk_and_once(change):
    fitter = Fitter()
    room = Room(fitter)
    room.store.fault = lambda: fitter.in_effect and pytest.fail("before the commit")
    ruling = room.decide("meter", "GXT77", change=change, **CHANGES[change])
    assert (ruling.verdict.status, ruling.command, ruling.meter) == ("accepted", None, "GXT77")
    assert fitter.kept == ["c-1"] and fitter.in_effect == [("c-1", "GXT77")]
    assert room.store.rows.documents["meters"] == (0, b"GXT77") and room.kept((ISS, "c-1")).state is State.DONE
    room.store.fault = lambda: None
    room.accept("message")
    assert fitter.in_effect == [("c-1", "GXT77")]


def test_a_change_of_the_meters_that_could_not_be_kept_takes_no_effect_later_on():
    fitter = Fitter()
    room = Room(fitter)

    def full():
        raise StoreFull("no room")

    room.store.fault = full
    with pytest.raises(StoreFull):
        room.decide("meter", "GXT77", change="retire")
    room.store.fault = lambda: None
    room.accept("message")
    assert fitter.in_effect == [] and "meters" not in room.store.rows.documents


def test_other_commands_are_as_they_were_where_meters_can_be_changed():
    fitter = Fitter()
    room = Room(fitter)
    cut = room.accept()
    room.accept("cancel", cancels="c-1")
    room.accept("cancel", cancels="c-later")
    assert room.kept(cut).state is State.CANCELLED and "taken-back" in room.store.rows.documents
    fitter.wrong = "no such bus"
    assert room.decide("message").verdict.status == "accepted"
    assert fitter.kept == fitter.in_effect == []


@pytest.mark.parametrize("fitter", [None, Fitter()], ids=["nobody holds them", "it cannot be done"])
def test_a_change_of_the_meters_that_cannot_be_carried_out(fitter):
    room = Room(fitter)
    if fitter is not None:
        fitter.wrong = "no such bus"
    ruling = room.decide("meter", "GXT77", change="add", **PLACE)
    assert ruling.verdict.code is (R.E_METER if fitter else R.E_POLICY)
    assert ruling.cause == ("no such bus: GXT77" if fitter else "a meter is not carried out here")
    assert fitter is None or fitter.kept == fitter.in_effect == []


@pytest.mark.parametrize("change", CHANGES)
def test_what_hangs_on_the_wall_is_handed_on_to_the_meter_that_replaces_another(change):
    room = Room(Fitter())
    room.accept("freeze")
    room.accept("freeze", FAR_METER)
    room.lock()
    room.store.rows.sequences[METER] = RelaySequence(5, 5, 5)
    room.accept("meter", "GXT77", change=change, **CHANGES[change])
    new = {kind for kind, meter in room.store.rows.restraints if meter == "GXT77"}
    old = {kind for kind, meter in room.store.rows.restraints if meter == METER}
    assert new == ({"freeze", "lock"} if change == "replace" else set()) and old == {"freeze", "lock"}
    assert room.sequence("GXT77") == RelaySequence(0, 0, 5 if change == "replace" else 0)
