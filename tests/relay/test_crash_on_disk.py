"""kill -9 of a real process over a real store, at every step of the life and again in recovery."""

import json
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from dcu.clock import SystemClock
from dcu.command import OPEN, Operation, State, Why
from dcu.headend.keys import make_key, trust_entry
from dcu.headend.signing import command_claims, policy_claims
from dcu.mailbox import Stop
from dcu.relay.canonical import from_base64url
from dcu.relay.envelope import COMMAND, POLICY, seal
from dcu.relay.public_key import Role
from dcu.store import SqliteStore
from tests.relay.world import DCU, ISS, METER, RANCHI

ROOT = Path(__file__).parents[2]
# commits: 1 recovery, 2 policy, 3 acceptance, 4 DISPATCHED, 5 the end
WHERE = [
    "in commit 3",
    "behind commit 3",
    "in commit 4",
    "behind commit 4",
    "sending",
    "acted",
    "in commit 5",
    "behind commit 5",
]


def run(directory, where):
    """Run the box until it stands at `where`, and kill it there; or until it ends. Returns the steps that came by."""
    box = subprocess.Popen(
        [sys.executable, "-m", "tests.relay.crashing_box", str(directory), where],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    steps = []
    if not (directory / "documents").exists():
        while not (directory / "epoch").exists():
            assert box.poll() is None
            time.sleep(0.01)
        write_documents(directory)
    with box.stdout:
        for line in box.stdout:
            steps.append(line.strip())
            if steps[-1] == where:
                box.kill()
    assert box.wait(20) == (-9 if where in steps else 0)
    return steps


def commission(directory):
    make_key(directory / "box.pem")
    keys = {
        "req": (Role.REQUEST, "asha"),
        "apr": (Role.APPROVE, "binod"),
        "pol-a": (Role.POLICY, "chitra"),
        "pol-b": (Role.POLICY, "deepak"),
    }
    commission.signers = {kid: make_key(directory / f"{kid}.pem", kid) for kid in keys}
    entries = [trust_entry(commission.signers[k], [role], person, 0, 2**40) for k, (role, person) in keys.items()]
    (directory / "trust.json").write_text(json.dumps({"v": 1, "issuer": ISS, "keys": entries}))
    (directory / "trust.json").chmod(0o644)


def write_documents(directory):
    now_s, signers = int(time.time()), commission.signers
    dated = {"iat": now_s, "exp": now_s + 3600}
    policy = policy_claims(
        iss=ISS,
        dcu=DCU,
        version=1,
        nbf=now_s,
        areas={RANCHI: {"prepaid_live": True, "since": 0}},
        meters={METER: RANCHI},
        **dated,
    )
    cut = command_claims(
        op=Operation.DISCONNECT,
        iss=ISS,
        dcu=DCU,
        jid=(directory / "epoch").read_text(),
        meter=METER,
        seq=1,
        why=Why.CREDIT,
        area=RANCHI,
        pol=1,
        **dated,
    )
    lines = [
        seal(policy, POLICY, [signers["pol-a"], signers["pol-b"]]),
        seal(cut, COMMAND, [signers["req"], signers["apr"]]),
    ]
    (directory / "documents.new").write_bytes(b"\n".join(lines))
    (directory / "documents.new").replace(directory / "documents")


def ended(directory):
    """The commands on disk, and how many links the journal has."""
    stop = Stop()
    store = SqliteStore.open(directory / "dcu.db", stop=stop, clock=SystemClock(), beat=lambda: None, dcu=DCU)
    writer = threading.Thread(target=store.run)
    writer.start()
    jws = json.loads((directory / "documents").read_bytes().splitlines()[1])
    cmd_id = json.loads(from_base64url(jws["payload"]))["cmd_id"]
    try:
        return store.transact(lambda tx: (tx.command(ISS, cmd_id), list(tx.open_commands())))
    finally:
        stop.set()
        writer.join(5)
        store.close()


@pytest.mark.parametrize("where", WHERE)
def test_killed_and_killed_again(where, tmp_path):
    commission(tmp_path)
    steps = run(tmp_path, where)
    assert steps[-1] == where
    again = run(tmp_path, "in commit 1")  # recovery itself is killed
    assert again[-1] == "in commit 1"
    run(tmp_path, "never")
    command, still_open = ended(tmp_path)
    acts = (tmp_path / "acts").read_bytes() if (tmp_path / "acts").exists() else b""
    assert len(acts) <= 1, "acted twice"
    assert still_open == [] and command.state not in OPEN
    expected = {
        "in commit 3": (State.DONE, b"1"),  # never accepted: the broker's second copy is the first that counts
        "behind commit 3": (State.ABANDONED, b""),
        "in commit 4": (State.ABANDONED, b""),
        "behind commit 4": (State.IN_DOUBT, b""),
        "sending": (State.IN_DOUBT, b""),
        "acted": (State.DONE_BY_READBACK, b"1"),
        "in commit 5": (State.DONE_BY_READBACK, b"1"),
        "behind commit 5": (State.DONE, b"1"),
    }
    assert (command.state, acts) == expected[where]
