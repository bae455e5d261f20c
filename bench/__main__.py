"""`make bench`: every figure with its target, and `bench/RESULTS.md` and `bench/results.json` written by the run.

`make bench BENCH="polling soak"` runs those alone and replaces only their figures in both files.
"""

import importlib
import json
import platform
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Final

from bench.figure import Figure

HERE: Final = Path(__file__).parent

BENCHES: Final = {
    "pacing": "line_pacing",
    "insert": "durable_insert",
    "flash": "flash_bytes",
    "polling": "poll_line_time",
    "backfill": "backfill_line_use",
    "cpu": "client_cpu",
    "soak": "soak_figures",
    "tcp": "tcp_meters",
    "drain": "drain",
    "payload": "payload",
    "peers": "peers",
    "memory": "memory",
}
"""By the name that the command takes: a module of this directory with `figures() -> list[Figure]`; in their order."""


def main(names: list[str]) -> int:
    """Run those named, or all; 1 when a target of theirs is missed, 2 where a name is unknown."""
    if unknown := set(names) - BENCHES.keys():
        print(f"no bench {', '.join(sorted(unknown))}; there are {', '.join(BENCHES)}", file=sys.stderr)
        return 2
    missed = 0
    for name in BENCHES:
        if names and name not in names:
            continue
        made = _made()
        figures: list[Figure] = importlib.import_module(f"bench.{BENCHES[name]}").figures()
        for figure in figures:
            print(f"{'ok  ' if figure.ok else 'MISS'} {figure.name}: {figure.value} {figure.unit} ({figure.target})")
        missed += sum(not figure.ok for figure in figures)
        _keep(name, [asdict(figure) | {"command": _command(name), "made": made} for figure in figures])
    return int(missed > 0)


def _keep(name: str, figures: list[dict[str, object]]) -> None:
    """Put them into both files in place of those that this part made before."""
    path = HERE / "results.json"
    kept: list[dict[str, object]] = json.loads(path.read_text()) if path.exists() else []
    kept = [one for one in kept if one["command"] != _command(name)] + figures
    kept.sort(key=lambda one: [_command(each) for each in BENCHES].index(str(one["command"])))
    path.write_text(json.dumps(kept, indent=1) + "\n")
    (HERE / "RESULTS.md").write_text(_table(kept))


def _command(name: str) -> str:
    return f'make bench BENCH="{name}"'


def _made() -> str:
    """Which program is about to make a figure: its commit, and whether it was changed since."""
    told = _git("describe", "--always")
    written = (f":(exclude,top){HERE.name}/{name}" for name in ("RESULTS.md", "results.json"))
    changed = _git("status", "--porcelain", "--", ":(top)", *written)
    return f"{told}, changed" if changed else told or "unknown"


def _git(*words: str) -> str:
    return subprocess.run(["git", *words], capture_output=True, text=True, check=False, cwd=HERE).stdout.strip()


def _table(figures: list[dict[str, object]]) -> str:
    lines = [
        "# Figures",
        "",
        f"Made by `make bench` on {platform.machine()}, Python {platform.python_version()}, virtual meters and line.",
        "Ratios within one run; absolute speeds of that machine say nothing about a box. The last column names the",
        "part of the bench (`make bench BENCH=...`) and the commit that made the figure.",
        "",
        "| figure | value | unit | target | ok | made by |",
        "|---|---|---|---|---|---|",
    ]
    for one in figures:
        part = str(one["command"]).split('"')[1]
        ok = "yes" if one["ok"] else "NO"
        lines.append(
            f"| {one['name']} | {one['value']} | {one['unit']} | {one['target']} | {ok} | {part}, {one['made']} |"
        )
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
