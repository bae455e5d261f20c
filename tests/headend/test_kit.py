"""The head-end's kit on the command line: keys, documents, commands, signatures by files and by other tools."""

import hashlib
import json
import shlex
import subprocess
import time

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from dcu.cli.headend_command import SAYS
from dcu.command import CommandRefused, Operation
from dcu.errors import ConfigFault, OperatorFault
from dcu.headend.external import ExternalSigner, readings
from dcu.headend.keys import make_key, public_half
from dcu.headend.signing import draft, new_command_id, sign, signing_input
from dcu.headend.telling import told
from dcu.reading import ClockState
from dcu.relay.canonical import to_base64url
from dcu.relay.envelope import COMMAND, IDENTIFIER, claims_of, kids_of, open_envelope, payload_of, unsigned
from dcu.relay.key import load_signer
from dcu.relay.policy.floor import DAY_S
from dcu.relay.public_key import ORDER, public_key
from dcu.relay.receipts import Account, seal_receipt
from dcu.relay.schema import OPERATIONS
from dcu.relay.trust import Commissioning
from tests.headend.kit import AREA, DCU, ISS, JID, LEASE, METER, Kit

MEMBERS = {
    Operation.CONNECT: f"{METER} --seq 9",
    Operation.DISCONNECT: f"{METER} --seq 9 --why arrears --area {AREA} --pol 7 --lease {LEASE} --permit P-1 "
    "--case C-1 --notice 2026-11-01T00:00+05:30 --expect connected",
    Operation.CANCEL: f"{METER} --cancels c-1",
    Operation.FREEZE: "",
    Operation.UNFREEZE: METER,
    Operation.READ: f"{METER} --profile 1.0.99.1.0.255 --since 2026-11-22 --until 2026-11-23",
    Operation.RESEND: "--stream profile --first 1 --last 100",
    Operation.CLOCK_SET: f"{METER} --most-s 600",
    Operation.BALANCE: f"{METER} --recharge 500 --recharged-at 1795417800 --balance -20",
    Operation.MESSAGE: f"{METER} --why credit --area {AREA} --text 'Balance low'",
    Operation.LIMIT: f"{METER} --watts 5000",
    Operation.METER: f"{METER} --change replace --old GXT1 --bus north --address 17 --model is15959-1ph --area {AREA} "
    "--secrets GXT20931188",
    Operation.MODE: f"{METER} --seq 9 --why request --pol 7 --payment-mode 1",
}
TOLD = {
    Operation.CONNECT: f"connect meter {METER} at {DCU}, seq 9",
    Operation.DISCONNECT: f"disconnect meter {METER} at {DCU}, because of arrears, in {AREA}, if it is connected, "
    f"case C-1, notice of 2026-10-31 18:30 UTC, permit P-1, lease {LEASE}, seq 9, policy 7",
    Operation.CANCEL: f"take back command c-1 of meter {METER}",
    Operation.FREEZE: f"freeze all disconnects at {DCU}",
    Operation.UNFREEZE: f"unfreeze disconnects of meter {METER}",
    Operation.READ: f"read 1.0.99.1.0.255 of meter {METER} from 2026-11-22 00:00 UTC to 2026-11-23 00:00 UTC",
    Operation.RESEND: "send records 1 to 100 of profile again",
    Operation.CLOCK_SET: f"set the clock of meter {METER} where it is at most 600 s away",
    Operation.BALANCE: f"write to meter {METER} a recharge of 500 of 2026-11-23 07:10 UTC and a balance of -20",
    Operation.MESSAGE: f"show on meter {METER} 'Balance low' at {DCU}, because of credit, in {AREA}",
    Operation.LIMIT: f"limit meter {METER} to 5000 W",
    Operation.METER: f"put meter {METER} in the place of GXT1, on bus north, address 17, model is15959-1ph",
    Operation.MODE: f"set the payment mode of meter {METER} to 1 (judged as a disconnect)",
}


@pytest.fixture
def kit(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return Kit(tmp_path)


@pytest.mark.parametrize("op", Operation, ids=lambda op: op.value)
def test_every_operation_is_a_command_that_makes_its_payload_and_says_it_in_words(op, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = Kit.__call__
    words = shlex.split(MEMBERS[op])
    common = ["--iss", ISS, "--dcu", DCU, "--jid", JID, "--out", "cmd.jws"]
    answer = json.loads(run(None, "command", op.value, *words, *common, "--json"))
    claims = claims_of(payload_of((tmp_path / "cmd.jws").read_bytes()))
    assert claims == answer["claims"] and claims["op"] == op.value
    assert TOLD[op] in answer["told"]
    named = {word.removeprefix("--").replace("-", "_") for word in words if word.startswith("--")}
    assert named <= claims.keys() <= named | {"meter", "v", "typ", "cmd_id", "op", "iss", "dcu", "jid", "iat", "exp"}
    helped = run(None, "command", op.value, "--help")
    for member in set.union(*map(set, OPERATIONS[op])) - {"meter"}:
        assert f"--{member.replace('_', '-')}" in helped
    assert SAYS[op].split(".")[0] in helped


def test_what_the_box_would_refuse_by_its_form_is_not_even_drafted(kit):
    kit.command("connect", METER, "--seq", 0, code=5)
    kit.command("connect", METER, code=2)
    kit.command("message", METER, "--why", "credit", "--text", "low", code=5)  # no area
    kit.command("disconnect", METER, "--seq", 1, "--why", "arrears", code=5)  # no policy version
    kit.command("read", METER, "--profile", "1.0.99.1.0.255", "--since", "soon", code=2)
    kit("command", "connect", METER, "--iss", ISS, "--dcu", DCU, "--seq", 1, "--out", "x", code=2)  # no journal
    assert not (kit.directory / "cmd.jws").exists()


def test_what_every_box_would_refuse_is_said_before_anybody_signs(kit):
    now_s = int(time.time())
    cut = ("disconnect", METER, "--why", "arrears", "--pol", 7, "--case", "C-1")
    prepaid = (
        "disconnect",
        METER,
        "--why",
        "credit",
        "--area",
        AREA,
        "--pol",
        7,
        "--seq",
        9,
        "--ledger",
        "W-1",
        "--ledger-at",
        now_s,
    )
    for words, code in (
        ((*cut, "--seq", 9, "--notice", now_s - 20 * DAY_S), ""),
        ((*cut, "--seq", 9, "--notice", now_s - 14 * DAY_S), "E_NOTICE"),
        ((*cut, "--seq", 9, "--notice", 0), "E_NOTICE"),
        ((*cut, "--seq", 1 << 53, "--notice", now_s - 20 * DAY_S), "E_SEQ"),
        ((*prepaid, "--low-credit-at", now_s - 4 * DAY_S), ""),
        ((*prepaid, "--low-credit-at", now_s - 61 * DAY_S), "E_NOTICE"),
        (("connect", METER, "--seq", 1 << 53), ""),
    ):
        said = kit.command(*words)
        assert (code in said and "the box will refuse it" in said) if code else "refuse" not in said, said


def test_two_signatures_are_two_acts(kit):
    kit.key_document()
    kit.command("disconnect", *shlex.split(MEMBERS[Operation.DISCONNECT]), out="cut.jws")
    assert "nobody has signed it" in kit("show", "cut.jws")
    kit("verify", "cut.jws", "--trust", "keys.jws", code=5)
    assert "req signs: disconnect meter" in kit("sign", "cut.jws", "--key", "req.pem", "--kid", "req")
    kit("sign", "cut.jws", "--key", "req.pem", "--kid", "req", code=5)
    kit.sign("cut.jws", "app")
    assert "bears the names app, req; nothing of that is verified here" in kit("show", "cut.jws")
    answer = kit.json("verify", "cut.jws", "--trust", "keys.jws")
    assert answer["kids"] == ["app", "req"] and answer["claims"]["op"] == "disconnect"
    kit("sign", "cut.jws", "--key", "app.pem", code=2)
    kit("sign", "cut.jws", code=2)


# ---- keys ----


def test_keys_from_the_first_document_to_the_box_and_on(kit):
    kit.key_document()
    assert "any 2 of the roots esha, farid" in kit("show", "keys.jws")
    trusted = ("keys", "commission", "trust.json", "--iss", ISS, "--root", "root-a.json", "--root", "root-b.json")
    assert "key document 1 signed by root-a, root-b" in kit(*trusted, "--document", "keys.jws")
    assert Commissioning.load(kit.directory / "trust.json").root.threshold == 2
    shown = kit("keys", "show", "trust.json")
    assert "asha (req) may until" in shown and "request operations" in shown
    assert "version 1" in kit("keys", "show", "keys.jws")
    assert "binod (app) may until" in kit("keys", "show", "app.json")

    kit.new("app2", "approve", "petra")
    kit("keys", "rotate", "keys.jws", "--add", "app2.json", "--out", "keys-2.jws")
    kit("keys", "revoke", "keys-2.jws", "req", "--out", "keys-3.jws")
    kit.sign("keys-3.jws", "root-a")
    assert kit.json("verify", "keys-3.jws", "--trust", "trust.json")["kids"] == ["root-a"]
    shown = kit("show", "keys-3.jws")
    assert "key document 3" in shown and "petra approve" in shown and "revoked req" in shown
    assert "asha (req) may nothing any more: revoked" in kit("keys", "show", "keys-3.jws")
    kit("keys", "revoke", "keys-3.jws", "nobody", "--out", "keys-4.jws", code=1)
    kit("keys", "commission", "other.json", "--iss", ISS, "--root", "root-a.json", "--root", "root-b.json",
        "--document", "keys-3.jws", code=5)  # signed by one root alone  # fmt: skip
    assert not (kit.directory / "other.json").exists()


def test_no_key_is_left_behind_that_nobody_could_admit(kit):
    assert "admin says who" in kit.new("bil", "billing", "billing", code=5)
    assert not (kit.directory / "bil.pem").exists()
    kit.new("bil", "billing", "billing", "--admin", "kamal")
    assert (kit.directory / "bil.pem").stat().st_mode & 0o777 == 0o600
    kit.new("req", "request", "asha", code=1)  # never over another
    kit("keys", "document", "--iss", ISS, "--add", "root-a.json", "--add", "root-a.json", "--out", "k", code=5)
    kit("keys", "document", "--iss", ISS, "--add", "req.json", "--out", "k", code=5)  # no roots
    kit("keys", "document", "--iss", ISS, "--add", "root-a.pem", "--out", "k", code=3)
    kit("keys", "show", "root-a.pem", code=3)


# ---- signing by another's tool ----


@pytest.fixture
def tool(kit):
    """A key that openssl made, and only openssl uses."""
    subprocess.run(
        shlex.split("openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out hsm.pem"), check=True
    )
    subprocess.run(shlex.split("openssl pkey -in hsm.pem -pubout -out hsm-public.pem"), check=True)
    named = ("--kid", "hsm-1", "--role", "request", "--person", "sita", "--public", "hsm.json")
    assert "sita (hsm-1) may until" in kit("keys", "admit", "hsm-public.pem", *named)
    kit.command("connect", METER, "--seq", 1, out="c.jws")
    return kit


@pytest.mark.parametrize(
    ("command", "gets"),
    [
        ("openssl pkeyutl -sign -inkey hsm.pem", "digest"),
        ("openssl pkeyutl -sign -inkey hsm.pem -in {input} -out {output}", "digest"),
        ("openssl dgst -sha256 -sign hsm.pem", "message"),
        ("openssl dgst -sha256 -sign hsm.pem -hex {input}", "message"),
        ("sh -c 'openssl pkeyutl -sign -inkey hsm.pem | openssl base64'", "digest"),
    ],
)
def test_any_command_that_signs_serves_for_a_key(tool, command, gets):
    if "-hex" in command:  # openssl says whose digest it is in front of the hex: not a signature
        tool("sign", "c.jws", "--public", "hsm.json", "--signer", command, "--signer-gets", gets, code=1)
        return
    for _ in range(6):  # the tool gives a high s every second time; ours never is
        tool.command("connect", METER, "--seq", 1, out="c.jws")
        said = tool("sign", "c.jws", "--public", "hsm.json", "--signer", command, "--signer-gets", gets)
        assert "hsm-1 signs: connect meter" in said
        key = json.loads(tool.read("hsm.json"))
        point = public_half(tool.read("hsm-public.pem"), "hsm-1")
        assert to_base64url(point.x.to_bytes(32, "big")) == key["x"]
        assert open_envelope(tool.read("c.jws"), {"hsm-1": point}, None, {COMMAND}).kids == ("hsm-1",)


@pytest.mark.parametrize(
    ("command", "cause"),
    [
        ("openssl pkeyutl -sign -inkey req.pem", "no signature of hsm-1"),
        ("openssl dgst -sha256 -sign hsm.pem", "no signature of hsm-1"),  # it digested the digest
        ("cat", "no signature of hsm-1"),
        ("true", "(0 octets) is no signature"),
        ("false", "ended with 1"),
        ("/nowhere/tool", "cannot be run"),
        ("unclosed 'quote", "no command"),
        ("", "no command"),
    ],
)
def test_what_is_no_signature_of_that_key_is_not_taken(tool, command, cause):
    before = tool.read("c.jws")
    assert cause in tool("sign", "c.jws", "--public", "hsm.json", "--signer", command, code=1)
    assert tool.read("c.jws") == before


def test_a_tool_needs_the_public_half_and_signs_alone(tool):
    for words in (
        ("--signer", "cat"),
        ("--signer", "cat", "--public", "hsm.json", "--key", "req.pem"),
        ("--signer", "cat", "--public", "hsm.json", "--kid", "req"),
    ):
        tool("sign", "c.jws", *words, code=2)
    tool("keys", "admit", "hsm.pem", "--kid", "x", "--role", "request", "--person", "y", "--public", "z", code=3)


def test_r_and_s_are_read_in_every_spelling_that_tools_have(tmp_path):
    key, message = make_key(tmp_path / "k.pem", "k"), signing_input(draft_of_connect(), "k")
    digest = hashlib.sha256(message).digest()
    r, s = key.sign_digest(digest)
    pair = r.to_bytes(32, "big") + s.to_bytes(32, "big")
    for given in (pair, pair.hex().encode(), pair.hex().upper().encode() + b"\n"):
        assert (r, s) in list(readings(given))
    signer = ExternalSigner("k", f"printf {pair.hex()}", public_key("k", key.x, key.y), message)
    assert signer.sign_digest(digest) == (r, min(s, ORDER - s))
    with pytest.raises(OperatorFault, match="another message"):
        signer.sign_digest(bytes(32))


def draft_of_connect():
    now = int(time.time())
    claims = {
        "v": 1,
        "typ": "relay",
        "cmd_id": "c",
        "op": "connect",
        "iss": ISS,
        "dcu": DCU,
        "jid": JID,
        "meter": METER,
    }
    return draft(claims | {"seq": 1, "iat": now, "exp": now + 60})


def test_only_known_documents_are_told_and_other_curves_are_no_keys():
    with pytest.raises(CommandRefused, match="no document that is signed"):
        told(unsigned({"typ": "receipt"}))
    with pytest.raises(ConfigFault, match="not a PEM"):
        public_half(b"no", "k")
    other = ec.generate_private_key(ec.SECP384R1()).public_key()
    with pytest.raises(ConfigFault, match="not a P-256"):
        public_half(other.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo), "k")


# ---- the library below ----


def test_nothing_else_is_signed_and_nobody_signs_twice(tmp_path):
    asha, binod = make_key(tmp_path / "a.pem", "asha"), make_key(tmp_path / "b.pem", "binod")
    with pytest.raises(OperatorFault, match="not signed here"):
        sign(unsigned({"typ": "receipt"}), asha)
    with pytest.raises(CommandRefused, match="E_SCHEMA"):
        sign(unsigned({"typ": "relay"}), asha)  # the box would refuse it whoever signed
    with pytest.raises(CommandRefused, match="E_ORDER"):
        sign(sign(draft_of_connect(), asha), asha)
    with pytest.raises(CommandRefused, match="E_JSON"):
        sign(b"nothing", asha)
    document = draft_of_connect()
    assert kids_of(sign(sign(document, binod), asha)) == kids_of(sign(sign(document, asha), binod)) == ("asha", "binod")


def test_command_ids_are_names_and_differ():
    ids = {new_command_id() for _ in range(100)}
    assert len(ids) == 100 and all(IDENTIFIER.fullmatch(i) for i in ids)


def test_a_key_that_others_may_read_does_not_sign(kit):
    (kit.directory / "req.pem").chmod(0o644)
    kit.command("connect", METER, "--seq", 1, out="c.jws")
    said = kit("sign", "c.jws", "--key", "req.pem", "--kid", "req", code=3)
    assert "others may read" in said and "chmod 600" in said
    kit("sign", "nothing.jws", "--key", "app.pem", "--kid", "app", code=1)


def test_a_receipt_is_of_that_box_and_of_that_document(kit):
    kit("keys", "box", "box.pem", "--public", "box.json")
    kit.command("connect", METER, "--seq", 1, out="c.jws")
    digest = hashlib.sha256(payload_of(kit.read("c.jws"))).digest()
    account = Account("command", ISS, "c-1", "connect", METER, digest, (), "done")
    signer = load_signer(kit.directory / "box.pem")
    made = seal_receipt(account, signer, dcu=DCU, jid=JID, at_s=1, clock=ClockState.TRUSTED, n=1, chain=b"c" * 32)
    (kit.directory / "r.jws").write_bytes(made)
    assert f"connect {METER}: done" in kit("verify", "r.jws", "--box", "box.json", "--of", "c.jws")
    kit.command("connect", METER, "--seq", 2, out="c.jws")
    kit("verify", "r.jws", "--box", "box.json", "--of", "c.jws", code=1)
    kit("keys", "box", "other.pem", "--public", "other.json")
    assert "E_KID" in kit("verify", "r.jws", "--box", "other.json", code=5)
    kit("verify", "r.jws", code=2)
