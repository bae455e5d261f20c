"""`make soak` itself: two lines, each in a process of its own, and one verdict."""

import json
import subprocess
import sys
from pathlib import Path

from tests.soak import report
from tests.soak.judge import KINDS
from tests.soak.run import Outcome
from tests.soak.scenario import Scenario

ROOT = Path(__file__).parents[2]


def test_the_command_runs_a_process_a_line_and_says_what_became_of_all():
    command = [sys.executable, "-m", "tests.soak", "--days", "1", "--meters", "2", "--lines", "2", "--seed", "3"]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=110, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr[-2000:]
    assert ran.stdout.startswith("seed 3, 2 meters on 2 lines, 1 days\n")
    assert {" ".join(line.split()) for line in ran.stdout.splitlines()} >= {"unexplained 0", "wrong reason 0"}


def test_what_a_run_found_is_kept_beside_others_and_a_mistake_is_shown(tmp_path):
    outcome = Outcome(Scenario(1))
    outcome.verdict.intervals.update({"held": 999, "meter off": 1})
    outcome.happened["cable cut"] = 3
    for what in ("a year", "a day", "a year"):
        report.keep(report.begun("python -m tests.soak"), what, outcome, 12.3, tmp_path / "soak.json")
    outcome.verdict.kinds["unexplained"] = 2
    report.keep(report.begun("python -m tests.soak"), "a day", outcome, 12.3, tmp_path / "soak.json")
    kept = json.loads((tmp_path / "soak.json").read_text())
    assert [(run["what"], sum(run["mistakes"].values())) for run in kept] == [("a day", 2), ("a year", 0)]
    page = (tmp_path / "SOAK.md").read_text()
    assert page.count("## A ") == 2 and "| intervals: held | 999 | 99.9000% |" in page
    assert page.count("| unexplained | 2 |") == 1
    assert all(f"| {kind} |" in page for kind in KINDS)
