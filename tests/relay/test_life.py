"""The life of a command against a meter, from the document to the receipt."""

import contextlib
import time

import pytest

from dcu.command import LIFE, OPEN, Event, Refusal, State, after
from dcu.errors import StoreFull
from dcu.event import AlarmKind
from dcu.reading import ClockState
from dcu.record import Stream
from dcu.relay.desk import UPKEEP_S, RelayDesk
from dcu.store.errand import Errand
from tests.relay.world import APPROVE, FAR_METER, METER, NOW, POLICY_A, REQUEST, box, commissioned, trust


@pytest.fixture
def world():
    with box() as world:
        yield world


def last(world):
    return world.receipts()[-1]


def test_a_signed_disconnect_opens_the_relay_once_and_is_receipted(world):
    document = world.command()
    assert world.put(document).status == "accepted"
    assert world.wall[METER].acts == [1] and not world.wall[METER].connected
    told = last(world)
    assert (told.state, told.op, told.meter, told.code) == ("done", "disconnect", METER, "")
    assert told.answers(document)
    assert told.claims["readback"] == [{"output": "disconnected", "control": 0}] * 2
    states = [r.state for r in world.receipts() if r.kind == "command"]
    assert states == ["pending", "done"]
    assert told.n == len(world.store.rows.journal)
    numbers = [r.n for r in world.receipts()]
    assert numbers[-1] == numbers[-2] + 2  # between them DISPATCHED: journalled, not receipted


def test_reconnect_needs_one_key_and_no_policy():
    with box(policy=False) as world:
        world.wall[METER].connected, world.wall[METER].control = False, 0
        assert world.put(world.command("connect", signers=[APPROVE])).status == "accepted"
        assert world.wall[METER].connected and last(world).state == "done"


def test_a_message_is_displayed_and_read_back(world):
    world.put(world.command("message", text="Recharge before Friday"))
    assert world.wall[METER].text == b"Recharge before Friday"
    assert last(world).state == "done" and last(world).claims["readback"] == [{"text": True}] * 2


def test_a_general_notice_goes_everywhere_a_credit_message_only_where_prepaid_is_live(world):
    assert world.put(world.command("message", FAR_METER)).code is Refusal.E_NOT_LIVE
    assert world.wall[FAR_METER].acts == []
    assert world.put(world.command("message", FAR_METER, why="request", area=...)).status == "accepted"
    assert world.wall[FAR_METER].text == b"Balance low"


def test_the_same_command_again_gets_its_old_receipt_once_a_minute_and_no_second_action(world):
    document = world.command()
    world.put(document)
    receipts = list(world.store.rows.streams[Stream.RECEIPT])
    for minute in range(1, 3):
        for _ in range(5):
            assert world.put(document).status == "duplicate"
        assert world.store.rows.streams[Stream.RECEIPT] == [*receipts, *[receipts[-1]] * minute]
        world.clock.pass_s(60)
    assert world.wall[METER].acts == [1]


def test_the_same_id_with_other_bytes_is_refused_and_alarmed(world):
    world.put(world.command(cmd_id="c-x"))
    assert world.put(world.command(cmd_id="c-x")).code is Refusal.E_ID_REUSE
    assert world.alarms[-1].facts["code"] == "E_ID_REUSE"
    assert world.states()["c-x"] is State.DONE


REFUSED = [
    ({"dcu": "JH-RNC-0043"}, [REQUEST], Refusal.E_TARGET, True),
    ({"jid": "j-older"}, [REQUEST], Refusal.E_JID, True),
    ({}, [POLICY_A], Refusal.E_QUORUM, True),
    ({"exp": NOW}, [REQUEST], Refusal.E_TTL, False),
    ({"iat": NOW + 61}, [REQUEST], Refusal.E_EARLY, False),
    ({"meter": "GXT0"}, [REQUEST], Refusal.E_METER, False),
]


@pytest.mark.parametrize(("changes", "signers", "code", "free"), REFUSED, ids=lambda each: getattr(each, "value", ""))
def test_an_id_is_used_up_by_whoever_may_sign_and_by_nobody_else(world, changes, signers, code, free):
    assert world.put(world.command("connect", cmd_id="c-x", signers=signers, **changes)).code is code
    again = world.put(world.command("connect", cmd_id="c-x"))
    assert (again.status, again.code) == (("accepted", None) if free else ("refused", Refusal.E_ID_REUSE))


def test_a_key_that_ended_before_any_time_uses_up_no_id(world):
    world.clock.trusted = ClockState.UNTRUSTED
    document = world.command("connect", cmd_id="c-x")
    world.renew(trust(req_1={"exp": world.clock.floor_s}))
    assert world.put(document).code is Refusal.E_KEY
    world.renew(trust())
    assert world.put(document).status == "accepted"


def test_already_there_sends_nothing(world):
    world.wall[METER].connected, world.wall[METER].control = False, 0
    world.put(world.command())
    assert last(world).state == "noop" and world.wall[METER].acts == []


def test_a_mode_that_the_meter_has_already_is_not_written(world):
    world.put(world.command("mode", payment_mode=1))
    assert last(world).state == "noop" and world.wall[METER].acts == []


def test_a_relay_that_waits_for_its_button_is_not_disconnected_yet(world):
    world.wall[METER].connected, world.wall[METER].control = False, 2
    world.put(world.command())
    assert world.wall[METER].acts == [1] and world.wall[METER].control == 0 and last(world).state == "done"


def test_another_state_than_expected_is_refused_before_anything_is_sent(world):
    world.put(world.command(expect="disconnected"))
    assert last(world).code == "E_STATE" and world.wall[METER].acts == []


def test_a_meter_that_only_arms_is_receipted_as_armed(world):
    wall = world.wall[METER]
    wall.connected, wall.control, wall.arms = False, 0, True
    world.put(world.command("connect"))
    assert last(world).state == "armed" and wall.acts == [2]


def test_a_relay_that_sticks_is_failed_not_repeated(world):
    world.wall[METER].sticks = True
    world.put(world.command())
    assert last(world).state == "failed" and world.wall[METER].acts == [1]


@pytest.mark.parametrize(
    ("flows", "state"),
    [(0, "done"), (250, "done"), (251, "in-doubt"), (-4000, "in-doubt"), ("much", "done"), (None, "done")],
)
def test_a_relay_that_says_it_is_open_while_current_flows_is_not_believed(world, flows, state):
    world.wall[METER].flows = flows
    world.put(world.command())
    assert last(world).state == state and world.wall[METER].acts == [1]
    if state == "in-doubt":
        assert last(world).claims["readback"][-1]["milliamperes"] == flows
        assert last(world).claims["reason"] == "current flows behind a relay that says it is open"
        assert world.alarms[-1].kind is AlarmKind.COMMAND_IN_DOUBT


def test_a_box_that_has_just_started_cuts_nobody_before_it_has_heard_the_meters_clocks(world):
    world.end()
    world.heard = False
    world.start()
    assert world.put(world.command()).status == "accepted"
    assert world.put(world.command("connect", FAR_METER)).status == "accepted"
    for _ in range(20):
        world.clock.pass_s(60)
        world.work()
    assert world.wall[METER].acts == [] and last(world).op == "connect", "it waits, and nothing is said against it"
    world.heard = True
    world.clock.pass_s(1)
    world.work()
    assert world.wall[METER].acts == [1] and last(world).state == "done"


def test_the_meters_that_have_not_been_heard_stop_a_disconnect_that_stands_before_its_meter(world):
    """Whatever the timetable thought: the check is made where it counts."""
    world.wall[METER].on_associate = lambda: setattr(world, "heard", False)
    world.put(world.command())
    assert world.wall[METER].acts == [] and (last(world).state, last(world).code) == ("refused", "E_CLOCK")


def test_a_lost_answer_is_settled_by_reading_back_never_by_sending_again(world):
    world.wall[METER].lose_reply = True
    world.put(world.command())
    assert last(world).state == "done" and world.wall[METER].acts == [1]
    assert len(last(world).claims["readback"]) == 2


def test_a_meter_silent_after_the_action_is_in_doubt_and_alarmed(world):
    world.wall[METER].silent_after_act = True
    world.put(world.command())
    assert last(world).state == "in-doubt" and world.wall[METER].acts == [1]
    (alarm,) = (a for a in world.alarms if a.kind is AlarmKind.COMMAND_IN_DOUBT)
    assert alarm.meter == METER


def test_a_silent_meter_is_refused_before_dispatch(world):
    world.wall[METER].silent = True
    assert world.put(world.command()).status == "accepted"
    assert last(world).code == "E_UNREACHABLE" and last(world).state == "refused"


def test_another_meter_on_the_wall_is_refused(world):
    world.wall[METER].answers_as = "OTHER"
    world.put(world.command())
    assert last(world).code == "E_METER" and world.wall[METER].acts == []


def test_a_warrant_that_comes_too_late_sends_nothing(world):
    real = world.bus.associate

    @contextlib.contextmanager
    def slow(meter, purpose):
        with real(meter, purpose) as association:
            act = association.act

            def late(*args):
                world.clock.mono_s += 2.0
                act(*args)

            association.act = late
            yield association

    world.bus.associate = slow
    world.put(world.command())
    assert last(world).state == "failed-unsent" and world.wall[METER].acts == []


def test_a_fault_of_ours_after_the_action_is_in_doubt(world, monkeypatch):
    from dcu.relay.executor import Switching

    def stumble(self, association):
        raise RuntimeError("our bug")

    monkeypatch.setattr(Switching, "_look_twice", stumble)
    world.put(world.command())
    assert last(world).state == "in-doubt" and world.wall[METER].acts == [1]


def test_revocation_between_acceptance_and_dispatch_stops_it(world):
    world.put(world.command(), work=False)
    world.renew(trust(apr_1={"revoked": True}))
    world.work()
    assert last(world).code == "E_KEY" and world.wall[METER].acts == []


def test_expiry_between_acceptance_and_dispatch_stops_it(world):
    world.put(world.command(), work=False)
    world.clock.epoch_s += 3600
    world.work()
    assert last(world).code == "E_EXPIRED" and world.wall[METER].acts == []


def test_a_command_whose_bus_never_comes_is_ended_when_its_time_is_over(world):
    world.put(world.command(), work=False)
    world.clock.pass_s(3600)
    world.settle()
    world.settle()
    assert last(world).code == "E_EXPIRED"
    world.work()  # the errand comes at last: no leave
    assert world.wall[METER].acts == []


def test_a_policy_that_ends_prepaid_stops_what_was_accepted_before(world):
    world.put(world.command(), work=False)
    areas = world.policy_claims()["areas"]
    areas["JH-RNC"]["prepaid_live"] = False
    assert world.put(world.policy(2, areas=areas), work=False).status == "accepted"
    world.work()
    assert last(world).code in {"E_POLICY", "E_NOT_LIVE"} and world.wall[METER].acts == []


def test_a_connect_voids_a_disconnect_that_waits(world):
    world.put(world.command(), work=False)
    world.put(world.command("connect"), work=False)
    world.work()
    assert world.wall[METER].acts == [] and world.wall[METER].connected
    assert world.states() == {"c-1": State.VOIDED, "c-2": State.NOOP}


def test_a_connect_released_after_a_later_cut_does_not_undo_it(world):
    connect = world.command("connect")
    world.put(world.command())
    assert world.put(connect).code is Refusal.E_SEQ
    assert not world.wall[METER].connected


def test_an_untrusted_clock_does_not_stop_light(world):
    world.wall[METER].connected, world.wall[METER].control = False, 0
    late = world.command("connect")
    world.clock.trusted = ClockState.UNTRUSTED
    world.clock.epoch_s += 10 * 365 * 86400
    assert world.put(late).status == "accepted" and world.wall[METER].connected
    assert last(world).clock == "untrusted"


def test_unauthenticated_refusals_are_counted_and_sampled_neither_journalled_nor_receipted(world):
    before = len(world.store.rows.journal), len(world.receipts())
    for _ in range(20):
        assert world.put(b"{", work=False).code is Refusal.E_JSON
    for _ in range(40):
        if world.counts("E_JSON") == 20:
            break
        world.stop.wait(0.05)
    assert world.counts("E_JSON") == 20
    assert (len(world.store.rows.journal), len(world.receipts())) == before
    assert [a.facts["code"] for a in world.alarms].count("E_JSON") == 1
    world.clock.pass_s(60)
    world.put(b"{", work=False)
    assert [a.facts["code"] for a in world.alarms].count("E_JSON") == 2


def test_a_flood_is_refused_before_any_cryptography(world):
    codes = [world.put(b"{", work=False).code for _ in range(200)]
    assert codes[0] is Refusal.E_JSON and codes[-1] is Refusal.E_FLOOD
    world.clock.pass_s(60)
    assert world.put(b"{", work=False).code is Refusal.E_JSON


def test_the_same_authenticated_refusal_is_receipted_once_a_minute(world):
    half = world.command(signers=[REQUEST])
    before = len(world.receipts())
    for _ in range(5):
        assert world.put(half).code is Refusal.E_QUORUM
    assert len(world.receipts()) == before + 1
    world.clock.pass_s(60)
    world.put(half)
    assert len(world.receipts()) == before + 2


def test_a_lone_key_cannot_use_up_an_id_that_two_would_use(world):
    claims = world.claims()
    assert world.put(world.signed(claims, REQUEST)).code is Refusal.E_QUORUM
    assert world.put(world.signed(claims, REQUEST, APPROVE)).status == "accepted"
    assert world.wall[METER].acts == [1]


def test_a_refusal_behind_the_quorum_uses_the_id_up(world):
    document = world.command(meter=METER, area="JH-DHN")
    assert world.put(document).code is Refusal.E_AREA
    assert world.put(document).status == "duplicate"
    assert world.states() == {"c-1": State.REFUSED}


def test_a_full_store_refuses_what_it_cannot_journal(world):
    world.store.fault = full
    assert world.put(world.command()).code is Refusal.E_STORE
    world.store.fault = lambda: None
    assert world.wall[METER].acts == []


def in_vain():
    """A work that waits in line behind one for which the disk does not answer, until its caller gives up."""
    Errand(lambda _tx: None).wait(0.0)


def test_a_disk_that_does_not_answer_refuses_commands_and_ends_nothing(world):
    world.store.fault = in_vain
    document = world.command()
    assert world.put(document).code is Refusal.E_STORE
    world.clock.pass_s(UPKEEP_S)
    world.settle()
    assert world.fallen is None and world.wall[METER].acts == []
    world.store.fault = lambda: None
    assert world.put(document).status == "accepted"
    assert world.wall[METER].acts == [1]


def full():
    raise StoreFull("no room")


def until(there):
    deadline = time.monotonic() + 5
    while not there():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_what_cannot_be_journalled_is_not_sent_and_ends_when_there_is_room(world):
    world.wall[METER].on_associate = lambda: setattr(world.store, "fault", full)
    assert world.put(world.command()).status == "accepted"
    assert world.wall[METER].acts == [] and world.states() == {"c-1": State.PENDING}
    assert world.fallen is None
    world.store.fault = lambda: None
    until(lambda: world.states() == {"c-1": State.REFUSED})
    assert last(world).code == "E_STORE"


def test_an_end_that_cannot_be_journalled_is_kept_until_it_can(world):
    world.wall[METER].on_acted = lambda: setattr(world.store, "fault", full)
    assert world.put(world.command()).status == "accepted"
    assert world.wall[METER].acts == [1] and world.states() == {"c-1": State.DISPATCHED}
    assert world.put(world.command("connect")).code is Refusal.E_STORE
    world.store.fault = lambda: None
    until(lambda: world.states()["c-1"] is State.DONE)
    assert world.wall[METER].acts == [1] and world.fallen is None


def test_a_start_with_a_full_store_goes_on_and_recovers_when_there_is_room():
    world = commissioned()
    world.put(world.command(), work=False)
    world.end()
    original = RelayDesk.run

    def run_with_a_full_store(desk):
        world.store.fault = full
        original(desk)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RelayDesk, "run", run_with_a_full_store)
        world.start()
    assert world.put(world.command("connect")).code is Refusal.E_STORE
    assert world.fallen is None and world.states() == {"c-1": State.PENDING}
    world.store.fault = lambda: None
    until(lambda: world.states() == {"c-1": State.ABANDONED})
    assert world.wall[METER].acts == []
    world.end()


def test_life_has_no_way_back_and_no_way_out_of_an_end():
    for (state, event), then in LIFE.items():
        assert state in OPEN and (then is not State.ACCEPTED or event is Event.TAKEN_BACK)
        assert after(state, event) is then
    for state in State:
        for event in Event:
            if (state, event) not in LIFE:
                with pytest.raises(ValueError, match="not legal"):
                    after(state, event)


def test_recovery_by_state():
    world = commissioned()
    world.put(world.command(), work=False)
    world.put(world.command("connect", FAR_METER), work=False)
    world.wall[FAR_METER].connected = False
    world.put(world.command("message"), work=False)
    world.end()
    world.start()
    assert world.states() == {"c-1": State.ABANDONED, "c-2": State.DONE, "c-3": State.ABANDONED}
    assert world.wall[METER].acts == [] and world.wall[FAR_METER].acts == [2]
    world.end()
    assert world.fallen is None


def test_a_stop_while_an_errand_is_on_its_way_leaves_nobody_waiting():
    world = commissioned()
    world.put(world.command(), work=False)

    def stop():
        world.stop.set()
        world.thread.join(5)

    world.wall[METER].on_associate = stop
    began = time.monotonic()
    world.bus.work()
    assert time.monotonic() - began < 3.0 and world.wall[METER].acts == []
    world.wall[METER].on_associate = None
    world.end()
    world.start()
    assert world.states() == {"c-1": State.ABANDONED}
    world.end()
