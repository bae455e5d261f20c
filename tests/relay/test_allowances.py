"""Nobody fills the store: not who replays what was recorded, not who holds the least of keys."""

import pytest

from dcu.command import Operation, Refusal, State
from dcu.event import AlarmKind
from dcu.record import Stream
from dcu.relay import alarms, allowance, gate
from dcu.relay.allowance import Allowances
from dcu.relay.envelope import KEYS, unsigned
from tests.relay.world import BILLING, CAPS, FAR_METER, METER, PERMITTER, PLANNER, REQUEST, WITNESS, box, commissioned

R = Refusal
DAY_S = 86_400


@pytest.fixture
def world():
    with box() as world:
        yield world


def written(world):
    rows = world.store.rows
    return (len(rows.streams[Stream.RECEIPT]), len(rows.journal), len(rows.commands), len(rows.permits))


# ---- replays, by nobody ---------------------------------------------------------------------------------------------


def test_a_command_whose_time_is_over_is_answered_no_more(world):
    document = world.command("message")
    world.put(document)
    world.clock.pass_s(61)
    before = written(world)
    assert world.put(document).status == "duplicate" and written(world)[0] == before[0] + 1
    world.clock.pass_s(3600)
    before = written(world)
    for _ in range(5):
        world.clock.pass_s(61)
        assert world.put(document).status == "duplicate"
    assert written(world) == before


def test_all_that_is_replayed_together_has_one_allowance(world, monkeypatch):
    """A recorded year of commands, handed in again and again within their time."""
    monkeypatch.setattr(allowance, "REPEATS", (3, 0.0))
    documents = [world.command("message", exp=world.clock.epoch_s + 4 * 3600) for _ in range(4)]
    for document in documents:
        world.put(document)
    policy, permit = world.commissioned[0], world.permit()
    before = written(world)
    for _ in range(4):
        world.clock.pass_s(61)
        for document in (*documents, policy, permit):
            assert world.put(document).status == "duplicate"
    assert written(world)[0] - before[0] == 3
    assert world.put(world.command("message")).status == "accepted", "what is new is not touched by that"


# ---- the least of keys ----------------------------------------------------------------------------------------------


def test_who_may_do_nothing_is_told_so_a_bounded_number_of_times(world, monkeypatch):
    monkeypatch.setattr(allowance, "REFUSALS", (3, 0.0))
    before = written(world)
    for _ in range(10):
        assert world.put(world.command(signers=[PLANNER])).code is R.E_QUORUM
    assert written(world)[0] - before[0] == written(world)[1] - before[1] == 3
    assert world.counts("E_QUORUM") == 10
    assert world.put(world.command(signers=[WITNESS])).code is R.E_QUORUM
    assert written(world)[0] - before[0] == 4, "another key has its own"


def test_a_flood_of_one_key_keeps_neither_light_nor_others_away(world, monkeypatch):
    monkeypatch.setattr(allowance, "COMMANDS", (3, 1 / 30))
    codes = [world.put(world.command("message", signers=[BILLING])).code for _ in range(5)]
    assert codes == [None, None, None, R.E_FLOOD, R.E_FLOOD]
    before = written(world)
    assert world.put(world.command("message", signers=[BILLING])).code is R.E_FLOOD and written(world) == before
    assert world.put(world.command("message", signers=[REQUEST])).status == "accepted"
    world.wall[METER].connected = False
    assert world.put(world.command("connect", signers=[BILLING])).status == "accepted" and world.wall[METER].connected
    document = world.command("message", signers=[BILLING])
    assert world.put(document).code is R.E_FLOOD
    world.clock.pass_s(30)
    assert world.put(document).status == "accepted", "what was only counted has not used its id up"


def test_permits_of_one_key_are_bounded(monkeypatch):
    monkeypatch.setattr(allowance, "PERMITS", (4, 0.0))
    with box() as world:  # which has been given one
        before = written(world)
        codes = [world.put(world.permit(f"P-{n}", signer=PERMITTER)).code for n in range(10, 16)]
        assert codes[:3] == [None] * 3 and set(codes[3:]) == {R.E_FLOOD}
        assert written(world)[3] - before[3] == 3


def test_a_key_document_of_strangers_is_read_only_so_often(world):
    strange = unsigned({"v": 1})
    assert world.put(strange).code is not None
    document = b'{"payload":"e30","signatures":[{"protected":"%s","signature":"%s"}]}'
    from dcu.relay.canonical import canonical, to_base64url

    protected = to_base64url(canonical({"alg": "ES256", "kid": "root-x", "typ": KEYS}))
    document = document % (protected.encode(), b"A" * 86)
    codes = [world.put(document, work=False).code for _ in range(gate.KEYS_BURST + 5)]
    assert set(codes[: gate.KEYS_BURST]) == {R.E_KID} and set(codes[gate.KEYS_BURST :]) == {R.E_FLOOD}


def test_alarms_of_refusals_do_not_fill_the_store(world):
    before = len(world.alarms)
    for _ in range(alarms.REFUSALS + 30):
        world.clock.pass_s(61)
        world.put(b"{", work=False)
    told = [each for each in world.alarms[before:] if each.kind is AlarmKind.COMMAND_REFUSED]
    assert alarms.REFUSALS <= len(told) <= alarms.REFUSALS + 2


ALLOWED = {
    # what is asked for, so many at once, and then one in so many seconds
    "repetitions": (lambda each, _n, now_s: each.repeat(now_s), 60, DAY_S / 60),
    "documents again": (lambda each, n, now_s: each.document_again(b"%d" % n, now_s), 60, DAY_S / 60),
    "refusals": (lambda each, n, now_s: each.refusal(b"%d" % n, R.E_QUORUM, ["k"], now_s), 120, DAY_S / 60),
    "permits": (lambda each, _n, now_s: each.permit(["k"], now_s), 120, DAY_S / 60),
    "commands": (lambda each, _n, now_s: each.command(["k"], Operation.MESSAGE, now_s), 1000, 30),
}


@pytest.mark.parametrize("what", ALLOWED)
def test_each_allowance_is_so_many_at_once_and_then_one_in_a_time(what):
    ask, at_once, again_s = ALLOWED[what]
    allowances = Allowances()
    assert [ask(allowances, n, 0.0) for n in range(at_once + 1)] == [True] * at_once + [False]
    moments = (again_s - 1, again_s + 0.01, 2 * again_s - 1, 2 * again_s + 0.02)
    assert [ask(allowances, 2000 + n, now_s) for n, now_s in enumerate(moments)] == [False, True] * 2


@pytest.mark.parametrize(
    "ask",
    [
        lambda each, now_s: each.document_again(b"the same", now_s),
        lambda each, now_s: each.refusal(b"the same", R.E_QUORUM, ["k"], now_s),
    ],
    ids=["a document", "a refusal"],
)
def test_the_same_is_answered_once_a_minute_and_what_is_not_answered_costs_nothing(ask):
    allowances = Allowances()
    assert [now_s for now_s in range(3 * 60) if ask(allowances, float(now_s))] == [0, 60, 120]
    left = [n for n in range(130) if allowances.refusal(b"%d" % n, R.E_QUORUM, ["k"], 179.0)]
    assert len(left) + sum(allowances.repeat(179.0) for _ in range(70)) == 120 + 60 - 3


def test_every_key_that_signed_has_to_have_some_left_and_has_some_taken():
    allowances = Allowances()
    assert all(allowances.permit(["a"], 0.0) for _ in range(119))
    assert [allowances.permit(kids, 0.0) for kids in (["a", "b"], ["a", "b"], ["b", "a"])] == [True, False, False]
    assert sum(allowances.permit(["b"], 0.0) for _ in range(120)) == 117


@pytest.mark.parametrize("op", Operation)
def test_light_and_what_takes_back_have_a_lane_of_their_own(op):
    allowances = Allowances()
    while allowances.command(["k"], Operation.MESSAGE, 0.0):
        pass
    sparing = op in {Operation.CONNECT, Operation.CANCEL, Operation.FREEZE}
    assert allowances.command(["k"], op, 0.0) is sparing
    while allowances.command(["k"], Operation.CONNECT, 0.0):
        pass
    assert not allowances.command(["k"], op, 0.0) and allowances.permit(["k"], 0.0)


def test_a_year_of_the_worst_is_bounded():
    """What docs/decisions/0006 says: so many a day, whatever comes."""
    allowances, told = Allowances(), 0
    for day in range(10):
        for n in range(1000):
            told += allowances.repeat(DAY_S * (day + n / 1000))
    assert told <= 60 + 10 * 60
    asked = sum(allowances.command(["k"], Operation.MESSAGE, 10.0 * n) for n in range(8640))
    assert asked <= 1000 + 2880 + 1


# ---- who does not wait any more -------------------------------------------------------------------------------------


def test_a_lock_that_was_said_to_have_failed_is_not_made_later(world):
    from dcu.relay.letters import Lock, Reply

    reply = Reply()
    assert reply.wait(0.0) is None  # he has gone
    world.desk._letters.post(Lock(METER, "sunil", "work", 3600, reply), urgent=True)
    world.settle()
    assert world.desk.restraints() == []


def test_being_connected_again_costs_no_transaction_where_no_lease_is_due(world):
    world.settle()
    before = world.store.commits
    for _ in range(20):
        world.desk.connected()
        world.settle()
    counted = [n for n in world.store.rows.counts if n.startswith("refused")]
    assert world.store.commits - before <= 2 + len(counted), "those are the barriers'"


# ---- whose allowance it is ------------------------------------------------------------------------------------------


def test_nobody_uses_up_the_allowance_of_a_key_with_what_was_signed_for_others(world, monkeypatch):
    """Recorded at another box, or before this one's store was replaced: anybody at the broker may hand it in."""
    monkeypatch.setattr(allowance, "COMMANDS", (2, 0.0))
    for n in range(6):
        elsewhere = world.command("connect", signers=[BILLING], dcu="JH-RNC-0043", cmd_id=f"e-{n}")
        assert world.put(elsewhere).code is R.E_TARGET
        assert world.put(world.command("connect", signers=[BILLING], jid="j-old", cmd_id=f"o-{n}")).code is R.E_JID
    world.wall[METER].connected = False
    assert world.put(world.command("connect", signers=[BILLING])).status == "accepted" and world.wall[METER].connected


def test_what_takes_back_does_so_beyond_its_allowance(monkeypatch):
    monkeypatch.setattr(allowance, "COMMANDS", (1, 0.0))
    world = commissioned(caps={"arrears": CAPS | {"wait_s": 900}, "prepaid": CAPS})
    try:
        world.put(world.command())
        world.put(world.command("connect", FAR_METER, signers=[BILLING]))
        assert world.put(world.command("connect", signers=[BILLING])).code is R.E_FLOOD
        assert world.states()["c-1"] is State.VOIDED
    finally:
        world.end()
