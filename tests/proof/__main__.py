"""`make proof`: each claim of command authority tried, with its seed.

python -m tests.proof [--share small|full] [--seed N] [part ..]

The full share writes docs/SAFETY.md, part by part, and prints the whole table in the end; the small one only says what
it found. Two runs of different parts may go on at once. Exit code 1 when a claim does not hold.
"""

import argparse
import logging
import sys
import time

from tests.faults.power import memory
from tests.proof import report
from tests.proof.parts import WHERE, part
from tests.proof.run import Run


def main() -> int:
    """Run the parts that are asked for."""
    parser = argparse.ArgumentParser(prog="proof", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--share", choices=("small", "full"), default="full")
    parser.add_argument("parts", nargs="*", default=list(WHERE), metavar="part", help=", ".join(WHERE))
    args = parser.parse_args()
    if unknown := set(args.parts) - WHERE.keys():
        parser.error(f"no part {', '.join(sorted(unknown))}; there are {', '.join(WHERE)}")
    logging.disable(logging.CRITICAL)
    at = report.commit()
    print(f"seed {args.seed}, {args.share} share, commit {at}", flush=True)
    bad, known = 0, []
    for name in args.parts:
        began = time.monotonic()
        with memory() as scratch:
            lines = part(name)(Run(args.seed, args.share == "full", scratch))
        seconds = time.monotonic() - began
        for line in lines:
            print(f"{report.shown(line)}\n        {name}, {seconds:.0f} s", flush=True)
        bad += sum(not line.good for line in lines)
        if args.share == "full":
            known = report.keep(name, lines, order=list(WHERE), seed=args.seed, seconds=seconds, at=at)
    print(report.table(known), flush=True)
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main())
