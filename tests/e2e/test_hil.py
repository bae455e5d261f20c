"""The hardware-in-loop suite passes on a pair of ptys, so that it is right on the day that adapters are there."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.timeout(180)
def test_the_loopback_suite_passes_on_ptys():
    ptys = {name: value for name, value in os.environ.items() if not name.startswith("DCU_HIL_")}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "hil"],
        cwd=ROOT,
        env=ptys,
        capture_output=True,
        text=True,
        timeout=170,
    )
    assert done.returncode == 0, done.stdout[-4000:]
    assert "skipped" not in done.stdout.splitlines()[-1]
