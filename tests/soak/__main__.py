"""`make soak`: a year of a line in virtual time, or storms of four days.

`python -m tests.soak --seed 1 --days 365 --meters 32`; `python -m tests.soak --storms 300`.
"""

import argparse
import multiprocessing
import sys
import time
from collections.abc import Iterable

from tests.soak import report
from tests.soak.run import Outcome, run_line, speak, table
from tests.soak.scenario import Scenario
from tests.soak.storm import storm

SHOWN = 20


def main() -> int:
    """Run it; 1 when the ledger leaves anything unexplained or says anything that is not so."""
    args = _arguments()
    speak(args.log)
    began, run = time.monotonic(), report.begun(f"python -m tests.soak {' '.join(sys.argv[1:])}".strip())
    if args.storms:
        scenarios = [storm(seed) for seed in range(args.seed, args.seed + args.storms)]
        what = f"{args.storms} storms from seed {args.seed}"
    else:
        share = args.meters // args.lines
        scenarios = [
            Scenario(args.seed, line, args.days, share, args.baud, ring_days=args.ring_days)
            for line in range(args.lines)
        ]
        what = f"seed {args.seed}, {args.meters} meters on {args.lines} lines, {args.days:g} days"
    whole = _joined(scenarios, args.lines, args.log)
    print(what)
    print(table(whole))
    print(f"{'seconds':<28}{time.monotonic() - began:>10.0f}")
    if args.keep:
        report.keep(run, what, whole, time.monotonic() - began)
    for mistake in whole.verdict.mistakes[:SHOWN]:
        print(mistake)
    return int(bool(whole.verdict.mistakes))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="soak", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--days", type=float, default=365.0)
    parser.add_argument("--meters", type=int, default=32, help="on all lines together")
    parser.add_argument("--lines", type=int, default=2, help="each with a box and a process of its own")
    parser.add_argument("--baud", type=int, default=9600)
    parser.add_argument("--ring-days", type=int, default=35, help="of the meters' block load rings")
    parser.add_argument("--storms", type=int, default=0, help="so many storms instead, seed by seed; --lines at a time")
    parser.add_argument("--keep", action="store_true", help="write what it found into docs/SOAK.md")
    parser.add_argument("--log", default="CRITICAL", help="what the boxes say of themselves, e.g. WARNING")
    return parser.parse_args()


def _joined(scenarios: list[Scenario], processes: int, log: str) -> Outcome:
    """What became of all of them; whoever made a mistake is named as soon as it is known."""
    whole = Outcome(scenarios[0])
    if processes == 1:
        return _add(whole, map(run_line, scenarios))
    with multiprocessing.get_context("spawn").Pool(processes, speak, (log,)) as pool:
        return _add(whole, pool.imap(run_line, scenarios, chunksize=1))


def _add(whole: Outcome, outcomes: Iterable[Outcome]) -> Outcome:
    for outcome in outcomes:
        if outcome.verdict.mistakes:
            scenario = outcome.scenario
            where = f"seed {scenario.seed}, line {scenario.line}"
            print(f"{where}: {len(outcome.verdict.mistakes)} mistakes", file=sys.stderr, flush=True)
        whole.verdict.add(outcome.verdict)
        whole.happened += outcome.happened
        whole.alarms += outcome.alarms
        whole.starts += outcome.starts
    return whole


if __name__ == "__main__":
    sys.exit(main())
