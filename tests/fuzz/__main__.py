"""`make fuzz`: each decoder under atheris for some seconds: no exception but ours, no input over 50 ms, no growth."""

import argparse
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.fuzz.targets import SEEDS, TARGETS

_DONE = re.compile(r"Done (\d+) runs")


def fuzz(name: str, seconds: int, findings: Path) -> tuple[int, str]:
    """(inputs that were run, what went wrong or nothing)."""
    with tempfile.TemporaryDirectory() as corpus:
        for number, octets in enumerate(SEEDS[name]):
            (Path(corpus) / f"seed{number}").write_bytes(octets)
        options = [
            f"-max_total_time={seconds}",
            "-max_len=4096",
            "-rss_limit_mb=1024",
            f"-artifact_prefix={findings}/{name}-",
        ]
        command = [sys.executable, "-m", "tests.fuzz.one", name, *options, corpus]
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 120)
    runs = _DONE.search(done.stderr)
    return (int(runs[1]), "") if runs and done.returncode == 0 else (0, done.stdout[-3000:] + done.stderr[-3000:])


def main() -> int:
    """1 when a target broke a promise; the input that did it is kept."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"of {', '.join(TARGETS)}; none: all")
    parser.add_argument("--seconds", type=int, default=30, help="for each target")
    parser.add_argument(
        "--findings", type=Path, default=Path("build/fuzz"), help="where inputs that broke something go"
    )
    chosen = parser.parse_args()
    chosen.findings.mkdir(parents=True, exist_ok=True)
    broken = 0
    for name in chosen.targets or TARGETS:
        runs, fault = fuzz(name, chosen.seconds, chosen.findings)
        print(f"{name:16} {f'{runs} inputs' if not fault else 'BROKEN'}", flush=True)
        if fault:
            print(fault)
            broken += 1
    return int(broken > 0)


if __name__ == "__main__":
    sys.exit(main())
