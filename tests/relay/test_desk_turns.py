"""One turn of the relay thread after the other: what it waits for, counts, keeps for later, takes up, and keeps up."""

import pytest

from dcu.command import ControlState, OutputState, Refusal, State
from dcu.errors import StoreFull
from dcu.mailbox import Stop
from dcu.relay.documents import Documents
from dcu.relay.letters import Answer, Put, Ready
from dcu.relay.locks import Locks
from dcu.relay.timetable import AGAIN_S
from tests.relay.room import evidence
from tests.relay.turning import Turning
from tests.relay.world import ISS, METER, TOPIC


@pytest.fixture
def box(monkeypatch):
    return Turning(monkeypatch)


def put(box, document=b"{"):
    return box.desk.put(document, TOPIC, 1, False)


def full(*_args):
    raise StoreFull("no room")


def leases(box):
    return [receipt.claims["lease"] for receipt in box.receipts() if receipt.kind == "lease"]


# ---- the loop -------------------------------------------------------------------------------------------------------


def test_it_turns_until_the_process_stops_and_waits_a_second_at_most_each_time(box):
    beat = box.beat

    def beats():
        beat()
        if box.beats == 3:
            box.stop.set()

    box.desk._beat = beats
    box.desk.run()
    assert box.beats == 3 and box.letters.waits == [1.0] * 3 + [0.0]


# ---- refusals that are counted --------------------------------------------------------------------------------------


def test_refusals_are_counted_when_it_has_been_quiet_for_a_moment(box):
    box.turn()
    put(box)
    assert box.counts("E_JSON") == 0
    box.letters.waits.clear()
    box.turn()
    assert box.counts("E_JSON") == 1
    box.turn()
    put(box)
    box.turn(timeout_s=0.01)
    assert box.letters.waits == [0.05, 1.0, 1.0, 0.01]


def test_quiet_turns_cost_no_transaction(box):
    box.turn()
    before = box.store.commits
    box.turn(10)
    assert box.store.commits == before


def test_a_flood_is_counted_before_it_has_ended(box):
    box.turn()
    before = box.store.commits
    for _ in range(499):
        put(box)
    assert box.store.commits == before
    put(box)
    assert box.store.commits == before + 1
    assert sum(box.counts(code) for code in ("E_JSON", "E_FLOOD")) == 500


# ---- no room --------------------------------------------------------------------------------------------------------


OPENED = {"output": OutputState.DISCONNECTED, "control": ControlState.DISCONNECTED}


def asks(box, key):
    """An errand stands before a meter without light: what it is answered."""
    return box.desk._ask(Ready(key, evidence(**OPENED), box.reply()))


def test_what_is_kept_for_later_waits_until_nothing_else_does(box):
    box.turn()
    box.wall[METER].connected = False
    put(box, box.command("connect"))
    [errand] = box.bus.queue
    box.store.fault = full
    assert asks(box, (ISS, "c-1")) == Answer()
    box.store.fault = lambda: None
    box.lie()
    for _ in range(2):
        box.letters.post(Put(b"{", TOPIC, 1, False, False, box.reply()))
    box.letters.post(last := Put(b"{", TOPIC, 1, False, False, box.reply()))
    box.turn(3)
    assert last.reply.wait(0.0).code is Refusal.E_JSON
    box.clock.pass_s(AGAIN_S)
    box.bus.queue.clear()
    box.turn()
    assert box.states() == {"c-1": State.ACCEPTED} and box.bus.queue == [], "it fell just now"
    box.clock.pass_s(AGAIN_S)
    box.turn()
    assert [each.meter for each in box.bus.queue] == [errand.meter], "light is tried again"


def test_what_is_kept_for_later_is_kept_until_there_is_room(box):
    box.turn()
    put(box, box.command("message"))
    box.store.fault = full
    box.bus.meters[METER].silent = True
    box.bus.work()
    box.turn(3)
    assert box.states() == {"c-1": State.ACCEPTED}
    box.store.fault = lambda: None
    box.turn()
    assert box.states() == {"c-1": State.REFUSED}


# ---- the start ------------------------------------------------------------------------------------------------------


def test_a_start_that_finds_no_room_judges_nothing_and_tries_again_with_each_turn(box):
    box.store.fault = full
    assert put(box, box.command("connect")).code is Refusal.E_STORE
    assert box.codes() == ["E_STORE"] and box.desk.lease == "", "and keeps nothing up before it has begun"
    box.store.fault = lambda: None
    assert put(box, box.command("connect")).status == "accepted"
    assert box.store.rows.documents["policy"][0] == 1 and box.desk.lease


def test_until_it_knows_what_the_last_start_left_open_it_judges_nothing(box, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(Documents, "commission", full)
        assert put(box, box.command("connect")).code is Refusal.E_STORE
    assert box.states() == {}


class Roster:
    """Of meters that were added by a signed command before."""

    def __init__(self):
        self.recalled = []

    def recall(self, store):
        self.recalled.append(store)


def test_a_start_recalls_the_meters_that_were_added_once(monkeypatch):
    roster = Roster()
    box = Turning(monkeypatch, roster=roster)
    box.turn(2)
    assert roster.recalled == [box.store]


# ---- what the passing of time brings --------------------------------------------------------------------------------


def test_every_twenty_seconds_it_looks_at_what_lapses(box):
    box.turn()
    box.desk.lock(METER, "ravi", "work", 1)
    held = len(box.store.rows.restraints)
    box.clock.pass_s(19.9)
    box.turn()
    assert len(box.store.rows.restraints) == held == 1
    box.clock.pass_s(0.1)
    box.turn()
    assert box.store.rows.restraints == {}
    box.desk.lock(METER, "ravi", "work", 1)
    box.clock.pass_s(19.9)
    box.turn()
    assert len(box.store.rows.restraints) == 1, "from one look to the next"


def test_a_return_of_the_connection_gives_one_lease_and_at_once(box):
    box.turn()
    box.clock.pass_s(65)
    box.turn()
    assert len(leases(box)) == 1
    box.desk.connected()
    box.turn()
    assert len(leases(box)) == 2
    box.clock.pass_s(65)
    box.turn(2)
    assert len(leases(box)) == 2


def test_a_lease_is_given_out_daily(box):
    box.turn()
    box.clock.pass_s(86_400)
    box.turn()
    assert len(set(leases(box))) == 2 and box.desk.lease == leases(box)[-1]


@pytest.mark.parametrize(
    ("part", "work"), [(Locks, "pass_time"), (Documents, "mature"), (Documents, "lease"), (Documents, "commission")]
)
def test_no_room_for_what_time_brings_is_told_and_ends_nothing(box, monkeypatch, part, work):
    with monkeypatch.context() as patch:
        patch.setattr(part, work, full)
        box.turn()
    assert box.codes() == ["E_STORE"] and "no room" in box.alarms[0].text
    box.clock.pass_s(20)
    box.turn()
    assert box.desk.lease and box.codes() == ["E_STORE"]


# ---- what nobody sets otherwise -------------------------------------------------------------------------------------


def test_between_two_looks_at_a_meter_it_waits_a_second_and_ends_early_when_the_process_stops(box, monkeypatch):
    pauses = []
    monkeypatch.setattr(Stop, "wait", lambda _stop, seconds: pauses.append(seconds))
    box.begin()
    box.turn()
    box.wall[METER].connected, box.wall[METER].control = False, 0
    put(box, box.command("connect"))
    box.turn()
    box.bus.work()
    assert box.wall[METER].acts == [2] and box.states() == {"c-1": State.DONE}
    assert pauses == [1.0]


def test_a_meter_that_could_not_be_read_after_a_crash_is_tried_again_after_half_a_minute(box):
    put(box, box.command("connect"))
    assert len(asks(box, (ISS, "c-1")).warrants) == 1
    box.rows = box.store.rows
    box.begin()
    box.turn()
    box.wall[METER].silent = True
    box.bus.work()
    box.clock.pass_s(29)
    box.turn()
    assert box.bus.queue == [] and box.states() == {"c-1": State.DISPATCHED}
    box.clock.pass_s(1)
    box.turn()
    assert len(box.bus.queue) == 1
