"""The field process on a line: what a technician sees, and what one bad meter costs the others."""

import subprocess
import sys

import cbor2
import pytest

from dcu.demo.proof import compare
from dcu.record import Stream
from tests.e2e.conftest import SERIALS
from tests.store.running_store import running

GOOD, BAD, OTHER = SERIALS

UPLINK_LOADS = """
import sys
from pathlib import Path
from dcu.config import load
assert all(m.secrets.unicast_key == b"" for m in load(Path(sys.argv[1]), with_keys=False).meters)
"""

pytestmark = pytest.mark.timeout(400)


def records(box, stream):
    """What the stopped box's store holds of a stream."""
    with running(box.directory / "state" / "dcu.db", dcu="E2E-BOX") as it:
        store = it.store
        found = []
        after = dict.fromkeys(Stream, 10**9) | {stream: 0}
        while batch := store.transact(lambda tx: tx.next_batch(after, 10**6)):
            found += [cbor2.loads(body) for body in batch.bodies]
            after[stream] = batch.first + len(batch.bodies) - 1
    return found


def test_a_technician_at_the_pole(box):
    box.start()
    box.until(lambda: all(c == "ok" for c in box.conditions().values()), "all meters")
    [row] = box.dcu("read", GOOD)
    voltage = next(v for v in row["values"] if v["ln"] == "1.0.12.7.0.255")
    assert voltage["unit"] == "V"
    assert 180 < float(voltage["value"]) < 280
    relay = {entry["attr"]: entry["raw"] for entry in box.dcu("read", GOOD, "relay")}
    assert relay[2] is True
    [serial] = box.dcu("read", GOOD, "1:0.0.96.1.0/2")
    assert serial["raw"] == GOOD
    assert len(box.dcu("read", GOOD, "load")) > 1
    assert "no meter" in box.dcu("read", "00000000000", code=1)
    assert "nothing that can be read" in box.dcu("read", GOOD, "everything", code=1)
    [told] = box.dcu("meters", GOOD)
    assert all({"held", "missing", "absent", "not_held"} <= profile.keys() for profile in told["profiles"])
    status = box.dcu("status")
    assert [bus["condition"] for bus in status["buses"]] == ["ok"]
    assert status["streams"]["profile"]["last"] > 0
    assert all(abs(meter["ahead_s"] or 0) < 300 for meter in status["meters"])
    box.until(lambda: box.dcu("clock")["meters"] == 3, "all meters' clocks")
    time = box.dcu("clock")
    assert (time["state"], time["boot"]) == (status["clock"], status["time"]["boot"])
    assert "only be lowered" in box.dcu("clock", "--floor", "2099-01-01", code=1)
    assert box.dcu("journal", "--verify")["ok"] and box.dcu("journal")[0]["kind"] == "lease"
    assert "no policy" in box.dcu("keys")["policy_fault"]
    assert "and --why" in box.dcu("lock", GOOD, code=2)
    locked = box.dcu("lock", GOOD, "--who", "ravi", "--why", "fuse", "--hours", "2")
    assert (locked["kind"], locked["meter"], locked["who"], locked["why"]) == ("lock", GOOD, "ravi", "fuse")
    assert box.dcu("lock", "--list") == [locked]
    assert box.dcu("unlock", GOOD, "--who", "ravi")["meter"] == GOOD
    assert box.dcu("lock", "--list") == []
    assert "not locked" in box.dcu("unlock", GOOD, code=1)
    box.stop()
    assert "password" not in box.log
    assert box.dcu("journal", "--verify")["last"] >= 1
    presents = [record["values"] for record in records(box, Stream.CREDIT) if record["meter"] == GOOD]
    assert presents and all(any(value is True for value in values) for values in presents), "its relay among them"


def test_when_field_does_not_run_the_cli_says_so_and_needs_no_keys_for_it(box):
    (box.directory / "secrets.toml").write_text("not even TOML")
    assert "is `dcu field` running?" in box.dcu("status", code=75)


@pytest.mark.parametrize(
    ("fault", "value", "condition"),
    [
        ("silent", True, "no answer"),
        ("serial", "SWAPPED0001", "SWAPPED0001"),
        ("bad_tag", True, "tag"),
        ("clear_answer", True, "not ciphered"),
    ],
)
def test_a_bad_meter_is_told_and_the_others_keep_their_cadence(box, fault, value, condition):
    setattr(box.line.meters[BAD].faults, fault, value)
    box.start()
    box.until(lambda: condition in box.conditions()[BAD], f"the fault of {BAD}")
    before = {s: box.held(s) for s in (GOOD, OTHER)}
    box.until(lambda: all(box.held_by_meter()[s] > before[s] for s in before), "the others")
    assert box.held(BAD) == 0, "nothing of it is stored as good"
    setattr(box.line.meters[BAD].faults, fault, None if fault == "serial" else False)
    box.stop()
    [alarm] = [a for a in records(box, Stream.ALARM) if a.get("meter") == BAD]
    assert (
        alarm["kind"]
        == {
            "silent": "meter-silent",
            "serial": "meter-set-aside",
            "bad_tag": "meter-paused",
            "clear_answer": "meter-paused",
        }[fault]
    )


def test_noise_and_lost_octets_cost_time_and_never_a_value(box):
    box.line.noise.bit_error_rate = 1e-4
    box.line.noise.loss_rate = 5e-4
    box.start()
    box.until(lambda: min(box.held_by_meter().values()) >= 12, "readings through the noise", within_s=240)
    box.stop()
    rings = {"1.0.99.1.0.255", "1.0.99.2.0.255"}
    got = [r for r in records(box, Stream.PROFILE) if r["profile"] in rings]
    newest = max(at for r in got for at, *_ in r["rows"])
    proof = compare(box.truth(newest), got, newest)
    assert (proof.different, proof.invented, proof.twice) == ((), (), ())
    assert proof.delivered >= 36


def test_an_adapter_that_is_pulled_comes_back(box):
    box.start()
    box.until(lambda: box.held(GOOD) > 0, "readings")
    box.line.unplug()
    box.until(lambda: "is down" in box.log, "the fault of the bus")
    assert "rs485" in box.dcu("status", code=4)["buses"][0]["condition"]
    box.line.replug()
    before = box.held(GOOD)
    box.until(lambda: box.held(GOOD) > before, "readings again")
    box.stop()
    kinds = [a["kind"] for a in records(box, Stream.ALARM)]
    assert kinds.count("bus-down") == 1
    assert kinds.count("bus-returned") == 1
    assert "meter-silent" not in kinds, "no meter is blamed for the adapter"


@pytest.mark.parametrize("box", ["wrapper"], indirect=True)
def test_meters_on_tcp_are_read_and_one_that_is_gone_holds_up_nobody(box):
    box.line.meters[BAD].faults.silent = True
    box.start()
    box.until(lambda: sum(n >= 12 for n in box.held_by_meter().values()) >= 2, "readings over the wrapper")
    assert box.held(BAD) == 0
    box.line.meters[BAD].faults.silent = False
    [row] = box.dcu("read", GOOD)
    assert row["values"][0]["unit"] == "V"
    box.until(lambda: box.held(BAD) >= 12, "the meter that came back")
    box.stop()
    kinds = [a["kind"] for a in records(box, Stream.ALARM) if a.get("meter") == BAD]
    assert kinds == ["meter-silent", "meter-returned"]


def test_kill_9_again_and_again_loses_and_doubles_nothing(box):
    for life in range(4):
        box.start()
        box.until(lambda n=life: sum(box.held_by_meter().values()) > 12 * n, f"readings in life {life}")
        box.kill()
    box.start()
    box.until(lambda: min(box.held_by_meter().values()) >= 20, "the whole history")
    box.stop()
    rings = {"1.0.99.1.0.255", "1.0.99.2.0.255"}
    got = [r for r in records(box, Stream.PROFILE) if r["profile"] in rings]
    oldest_newest = min(
        max(at for r in got if r["meter"] == s and r["profile"] == "1.0.99.1.0.255" for at, *_ in r["rows"])
        for s in SERIALS
    )
    proof = compare(box.truth(oldest_newest), got, oldest_newest)
    assert proof.holds, proof


def test_a_configuration_with_a_mistake_starts_nothing(box):
    box.config.write_text(box.config.read_text().replace("baud = 57600", "baud = 57601"))
    for command in (["field", "--config"], ["uplink", "--config"], ["run", "--config"], ["check"]):
        done = subprocess.run(
            [sys.executable, "-m", "dcu", *command, str(box.config)], capture_output=True, text=True, timeout=30
        )
        assert done.returncode == 3
        assert f"{box.config}:" in done.stderr
        assert "bus.pole.baud: 57601 is not allowed; allowed: 1200" in done.stderr


def test_the_uplink_process_never_reads_the_meters_keys(box):
    (box.directory / "secrets.toml").chmod(0o000)
    done = subprocess.run(
        [sys.executable, "-c", UPLINK_LOADS, str(box.config)],
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode == 0, done.stderr
