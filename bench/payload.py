"""Octets of payload for a reading, as the uplink publishes a backlog, against a JSON object for each reading."""

import tempfile
from pathlib import Path

from bench import backlog
from bench.drain import payloads, singles
from bench.figure import Figure, at_least, at_most, stated

READINGS = 96_000


def figures() -> list[Figure]:
    """In bulk (48 rows to a record), four rows to a record, and one."""
    found = []
    plain = singles()
    single = sum(len(payload) for payload, _ in plain) / len(plain)
    for rows in (48, 4, 1):
        with tempfile.TemporaryDirectory(prefix="dcu-payload-") as name:
            backlog.fill(Path(name) / "dcu.db", rows, READINGS)
            octets = sum(len(payload) for payload, _ in payloads(Path(name))) / (READINGS // rows * rows)
        what = f"payload of a reading of 8 registers, {rows} to a record"
        if rows == 48:
            found += [
                at_most(what, octets, 26, "octets"),
                at_least("payload: a plain JSON object for each reading", single / octets, 5, "its/ours"),
            ]
        else:
            found.append(stated(what, octets, "octets"))
    return [*found, stated("payload of a plain JSON object for each reading", single, "octets")]


if __name__ == "__main__":
    for figure in figures():
        print(figure)
