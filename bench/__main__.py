"""`make bench`: every figure with its target, and `bench/RESULTS.md` and `bench/results.json` written by the run."""

import json
import platform
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from bench import backfill_line_use, client_cpu, durable_insert, line_pacing, poll_line_time, tcp_meters

HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured figure."""

    name: str
    value: float
    unit: str
    target: str
    ok: bool
    command: str


def pacing() -> list[Figure]:
    """Wall time of the virtual line over wire time."""
    figures = []
    for baud in line_pacing.RATES:
        ratio = line_pacing.pacing_ratio(baud)
        ok = abs(ratio - 1) <= 0.02
        figures.append(Figure(f"line pacing at {baud}", round(ratio, 4), "wall/wire", "0.98 to 1.02", ok, COMMAND))
    return figures


def inserting() -> list[Figure]:
    """Rows a second into the durable store over bare sqlite3 with the same rows and commits."""
    ratio = durable_insert.ratio()
    return [Figure("durable insert", round(ratio, 2), "ours/bare sqlite3", "stated", True, COMMAND)]


def polling() -> list[Figure]:
    """Line time of a poll every 15 minutes against a session of stock gurux, and its octets against the least."""
    figures = []
    for each in poll_line_time.compare():
        name = f"line time of a poll, {each.name}"
        ratio, over = round(each.ratio, 2), round(each.over_least, 3)
        target = f">= {each.least_ratio:g}"
        figures.append(Figure(name, ratio, "naive/ours", target, each.ratio >= each.least_ratio, COMMAND))
        figures.append(Figure(f"{name}: octets", over, "ours/least", "<= 1.15", each.over_least <= 1.15, COMMAND))
    return figures


def backfilling() -> list[Figure]:
    """Use of the wire by a backfill of 30 days at 9600 baud and 50 ms turnaround, in the line's own time."""
    figures = []
    for info, window, least in ((2030, 1, 0.90), (342, 7, 0.90), (128, 7, 0.90), (128, 1, 0.0)):
        use = backfill_line_use.backfill(info, window, turnaround_ms=50.0)
        name = f"backfill of 30 days, info {info}, window {window}: use of the wire"
        target = f">= {least:.2f}" if least else "stated"
        ok = use.rows == 2880 and use.ratio >= least
        figures.append(Figure(name, round(use.ratio, 3), "octet time/line time", target, ok, COMMAND))
        name = f"backfill, info {info}, window {window}: longest wait of a relay errand for the line"
        figures.append(Figure(name, round(use.wait_s, 2), "s", "<= 3", use.wait_s <= 3, COMMAND))
    return figures


def computing() -> list[Figure]:
    """CPU time of stock gurux over ours, for the same answers of a meter."""
    return [
        Figure(f"client CPU, {what}", round(ratio, 1), "gurux/ours", f">= {least}", ratio >= least, COMMAND)
        for what, ratio, least in client_cpu.figures()
    ]


def reading_tcp() -> list[Figure]:
    """A thousand TCP meters with round trips of two seconds, and the field process's memory; takes many minutes."""
    read = tcp_meters.read_all()
    name = f"{read.meters} TCP meters, round trip {tcp_meters.ROUND_TRIP_S:g} s"
    all_read = read.read == read.meters
    return [
        Figure(
            f"{name}: read within 15 minutes of a cold start", read.read, "meters", f"{read.meters}", all_read, COMMAND
        ),
        Figure(f"{name}: until the last is read", round(read.seconds), "s", "<= 900", all_read, COMMAND),
        Figure(
            f"{name}: resident memory, at most", round(read.peak_mb, 1), "MB", "aim < 96", read.peak_mb < 96, COMMAND
        ),
    ]


COMMAND = "make bench"
BENCHES: tuple[Callable[[], list[Figure]], ...] = (pacing, inserting, polling, backfilling, computing, reading_tcp)


def main() -> int:
    """Run all; 1 when a target is missed."""
    figures = [figure for bench in BENCHES for figure in bench()]
    lines = [
        "# Figures",
        "",
        f"Made by `{COMMAND}` on {platform.machine()}, Python {platform.python_version()}, virtual meters and line.",
        "Ratios within one run; absolute speeds of that machine say nothing about a box.",
        "",
        "| figure | value | unit | target | ok |",
        "|---|---|---|---|---|",
        *(f"| {f.name} | {f.value} | {f.unit} | {f.target} | {'yes' if f.ok else 'NO'} |" for f in figures),
        "",
    ]
    (HERE / "RESULTS.md").write_text("\n".join(lines))
    (HERE / "results.json").write_text(json.dumps([asdict(f) for f in figures], indent=1) + "\n")
    print("\n".join(lines))
    return int(not all(f.ok for f in figures))


if __name__ == "__main__":
    sys.exit(main())
