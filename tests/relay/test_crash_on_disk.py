"""kill -9 of a real process over a real store, at every step of the life and again in recovery."""

import json
import subprocess
import sys
import threading
import time
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from dcu.clock import SystemClock
from dcu.command import OPEN, Operation, Profile, State, Why
from dcu.headend.keys import commissioning, key_claims, make_key, trust_entry
from dcu.headend.signing import command_claims, permit_claims, policy_claims
from dcu.mailbox import Stop
from dcu.relay.canonical import from_base64url
from dcu.relay.envelope import COMMAND, KEYS, PERMIT, POLICY, seal
from dcu.relay.public_key import Role
from dcu.store import SqliteStore
from tests.relay.pole import noon_zone
from tests.relay.world import DCU, ISS, METER, RANCHI

ROOT = Path(__file__).parents[2]
WHERE = [
    "in pending",
    "behind pending",
    "in dispatched",
    "behind dispatched",
    "sending",
    "acted",
    "in done",
    "behind done",
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
        while not (directory / "lease").exists():
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


PEOPLE = {
    "root-a": (Role.ROOT, "esha"),
    "root-b": (Role.ROOT, "farid"),
    "req": (Role.REQUEST, "asha"),
    "apr": (Role.APPROVE, "binod"),
    "pol-a": (Role.POLICY, "chitra"),
    "pol-b": (Role.POLICY, "deepak"),
    "per": (Role.PERMIT, "indu"),
}


def commission(directory):
    make_key(directory / "box.pem")
    signers = {kid: make_key(directory / f"{kid}.pem", kid) for kid in PEOPLE}
    entries = [trust_entry(signers[kid], [role], person, 0, 1 << 40) for kid, (role, person) in PEOPLE.items()]
    now_s = int(time.time())
    dated = {"iat": now_s - 60, "exp": now_s + 3600}
    keys = key_claims(iss=ISS, version=1, threshold=2, entries=entries, **dated)
    nothing = {"hour": 9, "day": 9, "week": 9, "spacing_s": 0, "wait_s": 0}
    policy = policy_claims(
        iss=ISS,
        dcu=DCU,
        version=1,
        nbf=now_s - 60,
        areas={RANCHI: {"prepaid_live": False, "since": 0}},
        meters={METER: RANCHI},
        timezone=noon_zone(),
        hours=dict.fromkeys(("mon", "tue", "wed", "thu", "fri", "sat", "sun"), "08:00-18:00"),
        caps={"arrears": nothing, "prepaid": nothing},
        **dated,
    )
    documents = [
        seal(keys, KEYS, [signers["root-a"], signers["root-b"]]),
        seal(policy, POLICY, [signers["pol-a"], signers["pol-b"]]),
    ]
    (directory / "trust.json").write_bytes(commissioning(ISS, 2, entries[:2], documents))
    (directory / "trust.json").chmod(0o644)
    commission.signers = signers


def write_documents(directory):
    now_s, signers = int(time.time()), commission.signers
    epoch, lease = json.loads((directory / "lease").read_text())
    today = datetime.now(ZoneInfo(noon_zone())).date().isoformat()
    permit = permit_claims(permit_id="P-1", iss=ISS, date=today, max_n=3, dcu=DCU, jid=epoch, profile=Profile.ARREARS)
    cut = command_claims(
        op=Operation.DISCONNECT,
        iss=ISS,
        dcu=DCU,
        jid=epoch,
        meter=METER,
        seq=1,
        why=Why.ARREARS,
        area=RANCHI,
        pol=1,
        lease=lease,
        permit="P-1",
        case="RNC-1",
        notice=now_s - 16 * 86400,
        iat=now_s,
        exp=now_s + 3600,
    )
    lines = [
        seal(permit, PERMIT, [signers["per"]]),
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
    again = run(tmp_path, "in recovery")  # recovery itself is killed, where there is something to recover
    assert ("in recovery" in again) == (where not in {"in pending", "behind done"})
    run(tmp_path, "never")
    command, still_open = ended(tmp_path)
    acts = (tmp_path / "acts").read_bytes() if (tmp_path / "acts").exists() else b""
    assert len(acts) <= 1, "acted twice"
    assert still_open == [] and command.state not in OPEN
    expected = {
        "in pending": (State.REFUSED, b""),  # never accepted, and the broker's copy names the lease of who died
        "behind pending": (State.ABANDONED, b""),
        "in dispatched": (State.ABANDONED, b""),
        "behind dispatched": (State.IN_DOUBT, b""),
        "sending": (State.IN_DOUBT, b""),
        "acted": (State.DONE_BY_READBACK, b"1"),
        "in done": (State.DONE_BY_READBACK, b"1"),
        "behind done": (State.DONE, b"1"),
    }
    assert (command.state, acts) == expected[where]
