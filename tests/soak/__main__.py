"""`make soak`: a year of a line in virtual time. `python -m tests.soak --seed 1 --days 365 --meters 32`."""

import argparse
import multiprocessing
import sys
import time

from tests.soak.run import Outcome, run_line, speak, table
from tests.soak.scenario import Scenario

SHOWN = 20


def main() -> int:
    """Run it; 1 when the ledger leaves anything unexplained or says anything that is not so."""
    parser = argparse.ArgumentParser(prog="soak", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--days", type=float, default=365.0)
    parser.add_argument("--meters", type=int, default=32, help="on all lines together")
    parser.add_argument("--lines", type=int, default=2, help="each with a box and a process of its own")
    parser.add_argument("--baud", type=int, default=9600)
    parser.add_argument("--ring-days", type=int, default=35, help="of the meters' block load rings")
    parser.add_argument("--log", default="CRITICAL", help="what the boxes say of themselves, e.g. WARNING")
    args = parser.parse_args()
    speak(args.log)
    began = time.monotonic()
    share = args.meters // args.lines
    scenarios = [
        Scenario(args.seed, line, args.days, share, args.baud, ring_days=args.ring_days) for line in range(args.lines)
    ]
    if args.lines == 1:
        outcomes = [run_line(scenarios[0])]
    else:
        with multiprocessing.get_context("spawn").Pool(args.lines, speak, (args.log,)) as pool:
            outcomes = pool.map(run_line, scenarios, chunksize=1)
    whole = Outcome(scenarios[0])
    for outcome in outcomes:
        whole.verdict.add(outcome.verdict)
        whole.happened += outcome.happened
        whole.alarms += outcome.alarms
        whole.starts += outcome.starts
    print(f"seed {args.seed}, {args.meters} meters on {args.lines} lines, {args.days:g} days")
    print(table(whole))
    print(f"{'seconds':<28}{time.monotonic() - began:>10.0f}")
    for mistake in whole.verdict.mistakes[:SHOWN]:
        print(mistake)
    return int(bool(whole.verdict.mistakes))


if __name__ == "__main__":
    sys.exit(main())
