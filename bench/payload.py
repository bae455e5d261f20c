"""Octets of payload for a reading, as the uplink publishes a backlog, against a JSON object for each reading."""

import tempfile
from pathlib import Path

from bench import backlog
from bench.drain import singles
from bench.figure import Figure, at_least, at_most, stated
from dcu.record import QUICK, THOROUGH, Stream, encode_batch
from dcu.uplink.dials import Dials
from dcu.uplink.encoding import encode
from tests.store.running_store import running

READINGS = 96_000
LEVELS = {"a slow link": THOROUGH, "a fast link": QUICK}


def batches(directory: Path) -> list[bytes]:
    """What field offers of the store there, before it is deflated."""
    with running(directory / "dcu.db", dcu=backlog.DCU) as it:
        store, after, made = it.store, dict[Stream, int](), []
        while batch := store.transact(lambda tx: tx.next_batch(dict(after), Dials().max_bytes)):
            after[batch.stream] = batch.first + len(batch.bodies) - 1
            made.append(encode_batch(backlog.DCU, store.epoch, batch.stream, batch.first, batch.layouts, batch.bodies))
        return made


def figures() -> list[Figure]:
    """In bulk (48 rows to a record), four rows to a record, and one."""
    found = []
    plain = singles()
    single = sum(map(len, plain)) / len(plain)
    for rows in (48, 4, 1):
        with tempfile.TemporaryDirectory(prefix="dcu-payload-") as name:
            backlog.fill(Path(name) / "dcu.db", rows, READINGS)
            made = batches(Path(name))
        for link, level in LEVELS.items():
            octets = sum(len(encode(batch, "cbor", level)[0]) for batch in made) / (READINGS // rows * rows)
            what = f"payload of a reading of 8 registers, {rows} to a record, deflated for {link}"
            found.append(at_most(what, octets, 26, "octets") if rows == 48 else stated(what, octets, "octets"))
            if (rows, level) == (48, THOROUGH):
                found.append(at_least("payload: a plain JSON object for each reading", single / octets, 5, "its/ours"))
    return [*found, stated("payload of a plain JSON object for each reading", single, "octets")]


if __name__ == "__main__":
    for figure in figures():
        print(figure)
