"""Bare sqlite3 that acknowledges each row after its commit: with it the replayer itself is judged.

python -m tests.faults.bare DIRECTORY JOURNAL SYNCHRONOUS ROWS
"""

import json
import os
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

from tests.faults.trace import ACKS

FILE = "bare.db"


def main() -> int:
    """Insert, commit, tell."""
    directory, journal, synchronous, rows = Path(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4])
    acks = os.open(directory / ACKS, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    connection = sqlite3.connect(directory / FILE, isolation_level=None)
    connection.execute(f"PRAGMA journal_mode = {journal}")
    connection.execute(f"PRAGMA synchronous = {synchronous}")
    connection.execute("PRAGMA wal_autocheckpoint = 40")
    connection.execute("CREATE TABLE row (n INTEGER PRIMARY KEY, body TEXT)")
    for n in range(1, rows + 1):
        connection.execute("INSERT INTO row VALUES (?, ?)", (n, f"row {n} " * 20))
        os.write(acks, json.dumps({"row": n}).encode() + b"\n")
    os._exit(0)


def judge(image: Path, acks: list[bytes]) -> tuple[int, bool]:
    """(acknowledged rows that are not in the image, whether it is corrupt)."""
    told = {json.loads(line)["row"] for line in acks}
    try:
        with closing(sqlite3.connect(image / FILE)) as connection:
            if connection.execute("PRAGMA integrity_check").fetchone() != ("ok",):
                return len(told), True
            tables = connection.execute("SELECT count(*) FROM sqlite_master WHERE name = 'row'").fetchone()
            held = {n for (n,) in connection.execute("SELECT n FROM row")} if tables[0] else set()
    except sqlite3.DatabaseError:
        return len(told), True
    return len(told - held), False


if __name__ == "__main__":
    sys.exit(main())
