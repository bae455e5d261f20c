"""The whole story, as `dcu demo --json` reports it: the claims of the README, counted by the meters' own ledgers."""

import json
import subprocess
import sys

import pytest

REFUSALS = {
    "unsigned disconnect": "E_SHAPE",
    "forged disconnect": "E_SIG",
    "disconnect for another box": "E_TARGET",
    "expired disconnect": "E_EXPIRED",
    "disconnect signed by billing alone": "E_QUORUM",
    "disconnect for another lease": "E_LEASE",
    "credit disconnect in Dhanbad": "E_NOT_LIVE",
    "credit message to Dhanbad": "E_NOT_LIVE",
    "connect of a meter locked at the pole": "E_LOCKED",
}


@pytest.mark.broker
@pytest.mark.timeout(300)
def test_the_demo_proves_what_it_claims(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "dcu", "demo", "--json", "--keep", str(tmp_path / "demo")],
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.stdout, (done.returncode, done.stderr[-4000:])
    report = json.loads(done.stdout)
    failed = [line for line in report["proven"] if not line["held"]]
    assert not failed, (failed, (tmp_path / "demo" / "box.log").read_text()[-4000:])
    assert done.returncode == 0
    assert report["held"] is True
    assert report["intervals_expected"] == report["intervals_delivered"] >= 20
    assert report["intervals_missing"] == []
    assert (report["values_different"], report["intervals_invented"]) == (0, 0)
    assert report["duplicates_after_deduplication"] == 0
    assert report["intervals_read_late"] > 0, (
        "the kills left nothing to be refilled: the story proves less than it says"
    )
    assert report["double_actuations"] == 0
    assert sorted(acts for acts in report["actuations"].values() if acts) == [[1, 2], [1, 2]], "two off and on again"
    assert report["refusals"] == REFUSALS
    secrets = (tmp_path / "demo" / "secrets.toml").read_text()
    logs = "".join(path.read_text() for path in (tmp_path / "demo").glob("*.log"))
    for line in secrets.splitlines():
        if "=" in line:
            assert line.split('"')[1] not in logs, "a secret stands in a log"
