"""`make faults`: each row of the fault matrix tried for real, with its seed.

python -m tests.faults [--seed N] [--rows 1,2,..] [--share small|full]

The full share writes docs/RELIABILITY.md, row by row; the small one only prints. Exit code 1 when a row does not hold.
"""

import argparse
import logging
import sys
import time

from tests.faults import report
from tests.faults.power import memory
from tests.faults.rows import ROWS
from tests.faults.run import Run


def main() -> int:
    """Run the rows that are asked for."""
    parser = argparse.ArgumentParser(prog="faults", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rows", default=",".join(map(str, ROWS)), help="numbers of the matrix, with commas")
    parser.add_argument("--share", choices=("small", "full"), default="full")
    args = parser.parse_args()
    logging.disable(logging.CRITICAL)
    wanted = [int(word) for word in args.rows.split(",")]
    of_commit = report.commit()
    print(f"seed {args.seed}, {args.share} share, commit {of_commit}", flush=True)
    bad = 0
    for row in wanted:
        began = time.monotonic()
        with memory() as scratch:
            lines = ROWS[row](Run(args.seed, args.share == "full", scratch))
        for line in lines:
            print(report.shown(line), flush=True)
        bad += sum(not line.good for line in lines)
        if args.share == "full":
            command = f"python -m tests.faults --seed {args.seed} --rows {row}"
            seconds = time.monotonic() - began
            report.keep(row, lines, seed=args.seed, command=command, of_commit=of_commit, seconds=seconds)
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main())
