"""The head-end's kit, the warrant, the gate, and the replies between threads."""

import json
import threading

import pytest
from click.testing import CliRunner

from dcu.cli.headend import headend
from dcu.command import CommandRefused, Operation, OutputState, Refusal, Why
from dcu.errors import OperatorFault, StoreBusy, WarrantRequired
from dcu.headend.receipts import verify_receipt
from dcu.headend.signing import command_claims, draft, new_command_id, policy_claims, sign, told
from dcu.reading import ClockState
from dcu.relay.envelope import COMMAND, IDENTIFIER, RECEIPT, open_envelope, payload_of, seal, unsigned
from dcu.relay.executor import REMOTE_DISCONNECT, REMOTE_RECONNECT
from dcu.relay.gate import Gate, Sampler
from dcu.relay.key import load_signer
from dcu.relay.letters import Reply
from dcu.relay.public_key import public_key
from dcu.relay.receipts import Account, ReadBack, seal_receipt
from dcu.relay.warrant import OneAct
from tests.relay.world import APPROVE, BOX, DCU, ISS, JID, METER, NOW, POLICY_A, RANCHI, REQUEST, TOPIC, box, trust

BOXES = {BOX.kid: public_key(BOX.kid, BOX.x, BOX.y)}


def cut(**changes):
    members = {
        "op": Operation.DISCONNECT,
        "iss": ISS,
        "dcu": DCU,
        "jid": JID,
        "meter": METER,
        "seq": 7,
        "iat": NOW,
        "exp": NOW + 60,
        "why": Why.CREDIT,
        "area": RANCHI,
        "pol": 1,
    }
    return command_claims(**{**members, **changes})


# ---- signing ----


def test_two_people_sign_apart_in_any_order_and_the_box_obeys():
    with box() as world:
        document = sign(sign(draft(cut(expect=OutputState.CONNECTED)), REQUEST), APPROVE)
        other_way = sign(sign(draft(json.loads(payload_of(document))), APPROVE), REQUEST)
        for signed in (document, other_way):
            assert open_envelope(signed, trust().keys, NOW, {COMMAND}).kids == ("apr-1", "req-1")
        assert world.put(document).status == "accepted"
        assert world.wall[METER].acts == [1]


def test_what_the_box_would_refuse_by_its_schema_is_not_even_drafted():
    for changes in ({"pol": None}, {"seq": 0}, {"meter": "*"}, {"why": None}, {"text": "x"}):
        with pytest.raises(CommandRefused, match="E_SCHEMA"):
            cut(**changes)
    with pytest.raises(CommandRefused, match="E_SCHEMA"):
        policy_claims(iss=ISS, dcu=DCU, version=1, iat=1, nbf=1, exp=2, areas={}, meters={METER: "x"})


def test_a_person_sees_in_words_what_they_sign():
    assert told(draft(cut())) == (
        f"disconnect meter {METER} at {DCU} because of credit in {RANCHI}, seq 7, policy 1, until 2026-11-23 07:11 UTC"
    )
    shown = cut(op=Operation.MESSAGE, seq=None, pol=None, text="Balance low")
    assert f"because of credit in {RANCHI}: 'Balance low', until" in told(draft(shown))
    areas = {RANCHI: {"prepaid_live": True, "since": 0}}
    policy = policy_claims(iss=ISS, dcu=DCU, version=3, iat=1, nbf=1, exp=2, areas=areas, meters={METER: RANCHI})
    assert "models without a payment mode: old" in told(draft(policy | {"no_payment_mode_register": ["old"]}))
    assert told(draft(policy)) == f"policy 3 for {DCU}: prepaid live in {RANCHI}, 1 meters, until 1970-01-01 00:00 UTC"


def test_nothing_else_is_signed_and_nobody_signs_twice():
    with pytest.raises(OperatorFault, match="not signed here"):
        sign(unsigned({"typ": "receipt"}), REQUEST)
    with pytest.raises(CommandRefused, match="E_ORDER"):
        sign(sign(draft(cut()), REQUEST), REQUEST)
    with pytest.raises(CommandRefused, match="E_JSON"):
        sign(b"nothing", REQUEST)


def test_command_ids_are_names_and_differ():
    ids = {new_command_id() for _ in range(100)}
    assert len(ids) == 100 and all(IDENTIFIER.fullmatch(i) for i in ids)


# ---- receipts ----


def receipt(**changes):
    account = Account("command", ISS, "c-1", "disconnect", METER, b"d" * 32, ("req-1",), "done", **changes)
    return seal_receipt(
        account, BOX, dcu=DCU, jid=JID, at_s=NOW, clock=ClockState.TRUSTED, n=4, chain=b"c" * 32
    )  # fmt: skip


def test_a_receipt_is_verified_against_the_box_that_signed_it():
    held = verify_receipt(receipt(readback=[ReadBack(OutputState.DISCONNECTED, None, None)], cause="unproven"), BOXES)
    assert (held.state, held.n, held.chain, held.digest) == ("done", 4, b"c" * 32, b"d" * 32)
    assert held.claims["readback"] == [{"output": "disconnected"}] and held.claims["cause"] == "unproven"


def test_a_receipt_of_another_box_or_another_kind_is_none():
    with pytest.raises(CommandRefused, match="E_KID"):
        verify_receipt(receipt(), {"box-x": public_key("box-x", REQUEST.x, REQUEST.y)})
    with pytest.raises(CommandRefused, match="E_SIG"):
        verify_receipt(receipt(), {BOX.kid: public_key(BOX.kid, REQUEST.x, REQUEST.y)})
    with pytest.raises(CommandRefused, match="E_HDR"):
        verify_receipt(seal(cut(), COMMAND, [BOX]), BOXES)
    with pytest.raises(CommandRefused, match="E_SCHEMA"):
        verify_receipt(seal({"typ": "receipt", "v": 1}, RECEIPT, [BOX]), BOXES)
    good = json.loads(payload_of(receipt()))
    for broken in ({"v": 2}, {"typ": "x"}, {"n": "4"}, {"at": True}, {"chain": "*"}, {"state": 1}):
        with pytest.raises(CommandRefused, match="E_SCHEMA"):
            verify_receipt(seal(good | broken, RECEIPT, [BOX]), BOXES)


def test_words_of_the_world_do_not_break_a_receipt():
    held = verify_receipt(receipt(reason="Zähler\n" + "x" * 500, code=Refusal.E_UNREACHABLE), BOXES)
    assert held.claims["reason"].startswith("Z?hler?") and len(held.claims["reason"]) == 200
    assert held.code == "E_UNREACHABLE"


def test_a_receipt_commands_nothing():
    with box() as world:
        world.put(world.command())
        assert world.put(receipt()).code is Refusal.E_HDR


# ---- the warrant ----


def warrant(until_s=10.0):
    return OneAct(METER, REMOTE_DISCONNECT, b"\x0f\x00", until_s)


def test_a_warrant_opens_exactly_one_thing_once_in_time():
    leave = warrant()
    leave.spend(METER, REMOTE_DISCONNECT, b"\x0f\x00", 9.9)
    assert leave.spent and not leave.void()
    with pytest.raises(WarrantRequired, match="spent"):
        leave.spend(METER, REMOTE_DISCONNECT, b"\x0f\x00", 9.9)


@pytest.mark.parametrize(
    "use",
    [
        ("OTHER", REMOTE_DISCONNECT, b"\x0f\x00", 0.0),
        (METER, REMOTE_RECONNECT, b"\x0f\x00", 0.0),
        (METER, REMOTE_DISCONNECT, b"\x0f\x01", 0.0),
        (METER, REMOTE_DISCONNECT, b"\x0f\x00", 10.0),
    ],
    ids=["meter", "target", "data", "late"],
)
def test_a_warrant_tried_on_anything_else_is_gone(use):
    leave = warrant()
    with pytest.raises(WarrantRequired):
        leave.spend(*use)
    assert not leave.spent and leave.void()
    with pytest.raises(WarrantRequired):
        leave.spend(METER, REMOTE_DISCONNECT, b"\x0f\x00", 0.0)


def test_a_void_warrant_opens_nothing():
    leave = warrant()
    assert leave.void()
    with pytest.raises(WarrantRequired):
        leave.spend(METER, REMOTE_DISCONNECT, b"\x0f\x00", 0.0)


def test_of_many_who_spend_one_warrant_one_succeeds():
    leave, taken = warrant(), []
    start = threading.Barrier(8)

    def spend():
        start.wait()
        try:
            leave.spend(METER, REMOTE_DISCONNECT, b"\x0f\x00", 0.0)
            taken.append(1)
        except WarrantRequired:
            pass

    threads = [threading.Thread(target=spend) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert taken == [1]


# ---- the gate and the replies ----


@pytest.mark.parametrize(
    ("topic", "qos", "retained", "code"),
    [
        ("cmd", 1, False, Refusal.E_TOPIC),
        ("dcu/v1/x/cmd/y", 1, False, Refusal.E_TOPIC),
        ("dcu/v1/x/cmd", 0, False, Refusal.E_TOPIC),
        ("dcu/v1/x/cmd", 2, False, Refusal.E_TOPIC),
        ("dcu/v1/x/cmd", 1, True, Refusal.E_RETAINED),
    ],
)
def test_only_what_comes_the_right_way_is_looked_at(topic, qos, retained, code):
    gate = Gate("dcu/v1/x/cmd")
    with pytest.raises(CommandRefused) as refusal:
        gate.admit(topic, qos, retained, 0.0)
    assert refusal.value.code is code
    gate.admit("dcu/v1/x/cmd", 1, False, 0.0)


def test_the_bucket_empties_and_fills():
    gate = Gate("t", burst=3, refill_per_s=1.0)
    for _ in range(3):
        gate.admit("t", 1, False, 100.0)
    with pytest.raises(CommandRefused, match="E_FLOOD"):
        gate.admit("t", 1, False, 100.9)
    gate.admit("t", 1, False, 101.1)
    with pytest.raises(CommandRefused, match="E_FLOOD"):
        gate.admit("t", 1, False, 50.0)  # a clock that went back fills nothing


def test_a_sampler_forgets_the_oldest():
    sampler = Sampler(60.0, capacity=2)
    assert [sampler.due(k, 0.0) for k in "aabc"] == [True, False, True, True]
    assert sampler.due("a", 1.0) and not sampler.due("c", 1.0) and sampler.due("c", 60.0)


def test_who_has_stopped_waiting_gets_no_answer():
    reply = Reply()
    assert reply.awaited and reply.wait(0.0) is None
    assert not reply.awaited and not reply.give("late")
    assert Reply().give("in time")


def test_put_on_a_desk_that_has_ended_says_so():
    with box() as world:
        desk = world.desk
        world.stop.set()
        world.thread.join(5)
        with pytest.raises(StoreBusy, match="has ended"):
            desk.put(b"{", TOPIC, 1, False)


# ---- the command line ----


@pytest.fixture
def kit(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def run(*words, code=0):
        result = CliRunner().invoke(headend, list(words))
        assert result.exit_code == code, result.output
        return result.output

    for name, roles, person in (
        ("req", ["request", "policy"], "asha"),
        ("apr", ["approve", "policy"], "binod"),
    ):
        named = [word for role in roles for word in ("--role", role)]
        made = ["keys", "new", f"{name}.pem", "--kid", name, *named, "--person", person]
        run(*made, "--issuer", ISS, "--trust", "trust.json")
    return run


CUT = ["command", "disconnect", METER, "--iss", ISS, "--dcu", DCU, "--jid", JID, "--seq", "1", "--why", "credit"]


def test_the_whole_way_on_the_command_line(kit, tmp_path):
    assert "asha may policy and request with req (valid)" in kit("keys", "show", "trust.json")
    kit(*CUT, "--area", RANCHI, "--pol", "1", "--out", "cut.jws")
    kit("verify", "cut.jws", "--trust", "trust.json", code=5)
    assert f"because of credit in {RANCHI}, seq 1" in (shown := kit("show", "cut.jws"))
    assert "nobody has signed it" in shown
    assert "disconnect meter" in kit("sign", "cut.jws", "--key", "req.pem", "--kid", "req")
    kit("sign", "cut.jws", "--key", "apr.pem", "--kid", "apr")
    assert "it bears the names apr, req; nothing of that is verified here" in kit("show", "cut.jws")
    assert json.loads(kit("show", "cut.jws", "--json"))["claims"]["seq"] == 1
    answer = json.loads(kit("verify", "cut.jws", "--trust", "trust.json", "--json"))
    assert answer["kids"] == ["apr", "req"] and answer["claims"]["op"] == "disconnect"
    kit("sign", "cut.jws", "--key", "apr.pem", "--kid", "apr", code=5)


def test_a_policy_on_the_command_line(kit, tmp_path):
    members = {"iss": ISS, "dcu": DCU, "version": 1, "iat": 1, "nbf": 1, "exp": 2**40}
    members |= {"areas": {RANCHI: {"prepaid_live": True, "since": 1}}, "meters": {METER: RANCHI}}
    (tmp_path / "p.json").write_text(json.dumps(members))
    assert f"prepaid live in {RANCHI}" in kit("policy", "p.json", "--out", "p.jws")
    kit("sign", "p.jws", "--key", "req.pem", "--kid", "req")
    assert json.loads(kit("verify", "p.jws", "--trust", "trust.json", "--json"))["kids"] == ["req"]
    for wrong in ({"caps": 1}, {"areas": 5}, {"meters": ["x"]}):
        (tmp_path / "p.json").write_text(json.dumps(members | wrong))
        kit("policy", "p.json", "--out", "p.jws", code=5)
    (tmp_path / "p.json").write_text("[]")
    kit("policy", "p.json", "--out", "p.jws", code=1)


def test_a_receipt_on_the_command_line(kit, tmp_path):
    kit("keys", "box", "box.pem", "--public", "box.json")
    signer = load_signer(tmp_path / "box.pem")
    account = Account("command", ISS, "c-1", "connect", METER, b"d" * 32, (), "done")
    made = seal_receipt(account, signer, dcu=DCU, jid=JID, at_s=1, clock=ClockState.TRUSTED, n=1, chain=b"c" * 32)
    (tmp_path / "r.jws").write_bytes(made)
    assert f"connect {METER}: done" in kit("verify", "r.jws", "--box", "box.json")
    kit(*CUT, "--area", RANCHI, "--pol", "1", "--out", "cut.jws")
    kit("verify", "r.jws", "--box", "box.json", "--of", "cut.jws", code=1)
    (tmp_path / "r.jws").write_bytes(receipt())
    assert "E_KID" in kit("verify", "r.jws", "--box", "box.json", code=5)
    kit("verify", "r.jws", code=2)


def test_mistakes_are_answered_in_one_line_with_the_exit_code_of_their_kind(kit, tmp_path):
    (tmp_path / "req.pem").chmod(0o644)
    kit(*CUT, "--area", RANCHI, "--pol", "1", "--out", "cut.jws")
    output = kit("sign", "cut.jws", "--key", "req.pem", "--kid", "req", code=3)
    assert "others may read" in output and "chmod 600" in output
    kit(*CUT, "--out", "cut.jws", code=5)  # no area, no policy version
    kit("sign", "nothing.jws", "--key", "apr.pem", "--kid", "apr", code=1)
    kit("keys", "show", "nothing.json", code=3)
    again = ["--role", "request", "--person", "asha", "--issuer", ISS, "--trust", "trust.json"]
    kit("keys", "new", "other.pem", "--kid", "req", *again, code=3)
    assert not (tmp_path / "other.pem").exists()
    kit("keys", "new", "req.pem", "--kid", "req2", *again, code=1)
    assert POLICY_A.kid not in (tmp_path / "trust.json").read_text()


def test_a_key_that_could_not_be_added_to_the_trust_store_is_not_left_behind(kit, tmp_path):
    named = ["--kid", "new", "--role", "request", "--person", "esha", "--issuer", ISS, "--trust", "nowhere/trust.json"]
    assert "cannot be written" in kit("keys", "new", "new.pem", *named, code=1)
    assert not (tmp_path / "new.pem").exists()
