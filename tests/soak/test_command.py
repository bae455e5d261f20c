"""`make soak` itself: two lines, each in a process of its own, and one verdict."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_command_runs_a_process_a_line_and_says_what_became_of_all():
    command = [sys.executable, "-m", "tests.soak", "--days", "1", "--meters", "2", "--lines", "2", "--seed", "3"]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=110, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr[-2000:]
    assert ran.stdout.startswith("seed 3, 2 meters on 2 lines, 1 days\n")
    assert {" ".join(line.split()) for line in ran.stdout.splitlines()} >= {"unexplained 0", "wrong reason 0"}
