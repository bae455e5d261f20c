"""What the head-end took, in a SQLite file of its own: each record once, committed before the broker is told so.

The tables are those of `docs/head-end.md`, where their rules stand. Bodies are kept as JSON, as on the wire: an
octet-string is `{"hex": ..}`, a layout's digest plain hex. One process a file. The store of a box is another file with
other tables; nothing of it is here.
"""

import json
import os
import sqlite3
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from dcu.errors import OperatorFault, ReplyMalformed
from dcu.headend.dating import Dating
from dcu.headend.holdings import Hole, Item, Series, columns_of
from dcu.record import Batch, Stream

APPLICATION_ID: Final = 0x64637543
"""`PRAGMA application_id`: ASCII dcuC."""

TABLES: Final = """
CREATE TABLE record (
    n INTEGER PRIMARY KEY AUTOINCREMENT, dcu TEXT NOT NULL, epoch TEXT NOT NULL, stream TEXT NOT NULL,
    id INTEGER NOT NULL, body TEXT NOT NULL CHECK (json_valid(body)), UNIQUE (dcu, epoch, stream, id));
CREATE TABLE layout (dcu TEXT NOT NULL, digest TEXT NOT NULL, columns TEXT NOT NULL CHECK (json_valid(columns)),
    PRIMARY KEY (dcu, digest));
CREATE INDEX clock_said ON record (n) WHERE stream = 'alarm' AND json_extract(body, '$.kind') = 'clock-known';
CREATE TABLE state (dcu TEXT PRIMARY KEY, body TEXT NOT NULL);
CREATE TABLE outlet (name TEXT PRIMARY KEY, n INTEGER NOT NULL);
CREATE TABLE outlet_file (
    outlet TEXT NOT NULL, file TEXT NOT NULL, octets INTEGER NOT NULL, PRIMARY KEY (outlet, file));
CREATE VIEW announced AS
    SELECT dcu, json_extract(body, '$.facts.epoch') AS epoch, json_extract(body, '$.facts.stream') AS stream,
        json_extract(body, '$.facts.first') AS first, json_extract(body, '$.facts.last') AS last
    FROM record WHERE stream = 'alarm' AND json_extract(body, '$.kind') IN ('dropped', 'record-quarantined')
        AND json_type(body, '$.facts.first') = 'integer' AND json_type(body, '$.facts.last') = 'integer';
CREATE VIEW heir AS
    WITH RECURSIVE step AS (
        SELECT dcu, json_extract(body, '$.facts.stream') AS stream, json_extract(body, '$.facts.was') AS was,
            json_extract(body, '$.facts.epoch') AS epoch, json_extract(body, '$.facts.last') AS last
        FROM record WHERE stream = 'alarm' AND json_extract(body, '$.kind') = 'salvaged'
            AND json_type(body, '$.facts.last') = 'integer'),
    line AS (
        SELECT dcu, stream, was, epoch, last FROM step
        UNION SELECT line.dcu, line.stream, line.was, step.epoch, line.last FROM line JOIN step
            ON step.dcu = line.dcu AND step.stream = line.stream AND step.was = line.epoch)
    SELECT * FROM line;
CREATE VIEW moment AS
    WITH made AS (
        SELECT n, dcu, COALESCE(json_extract(body, '$.read_at'), json_extract(body, '$.at')) AS said,
            json_extract(body, '$.clock') AS clock, json_extract(body, '$.boot') AS boot,
            json_extract(body, '$.uptime_s') AS uptime_s
        FROM record WHERE stream <> 'receipt'),
    known AS (
        SELECT dcu, json_extract(body, '$.facts.boot') AS boot, json_extract(body, '$.facts.uptime_s') AS uptime_s,
            json_extract(body, '$.facts.utc') AS utc
        FROM record WHERE stream = 'alarm' AND json_extract(body, '$.kind') = 'clock-known')
    SELECT n, true_at FROM (
        SELECT made.n, CASE WHEN made.clock <> 'untrusted' THEN made.said
                ELSE known.utc + made.uptime_s - known.uptime_s END AS true_at,
            ROW_NUMBER() OVER (PARTITION BY made.n ORDER BY known.uptime_s < made.uptime_s,
                ABS(known.uptime_s - made.uptime_s)) AS choice
        FROM made LEFT JOIN known ON made.clock = 'untrusted' AND known.dcu = made.dcu AND known.boot = made.boot)
    WHERE choice = 1;
CREATE VIEW reading AS
    SELECT r.n, r.dcu, r.epoch, r.stream, r.id, row.key AS row,
        json_extract(r.body, '$.meter') AS meter, json_extract(r.body, '$.profile') AS profile,
        json_extract(row.value, '$[0]') AS captured_at,
        COALESCE((SELECT json_extract(pair.value, '$[1]') FROM json_each(r.body, '$.again') AS pair
            WHERE json_extract(pair.value, '$[0]') = row.key), 0) AS again,
        json_extract(r.body, '$.read_at') AS read_at, json_extract(r.body, '$.clock') AS clock,
        json_extract(r.body, '$.layout') AS layout, row.value AS cells
    FROM record AS r, json_each(r.body, '$.rows') AS row WHERE r.stream IN ('profile', 'billing');
"""

CLOCKS: Final = "SELECT dcu, body FROM record WHERE stream = 'alarm' AND json_extract(body, '$.kind') = 'clock-known'"

HOLES: Final = """
WITH own AS (
    SELECT dcu, epoch, stream, id AS first, id AS last FROM record
    UNION ALL SELECT dcu, epoch, stream, first, last FROM announced),
known AS (
    SELECT * FROM own
    UNION ALL SELECT own.dcu, heir.epoch, own.stream, own.first, own.last FROM heir JOIN own
        ON own.dcu = heir.dcu AND own.stream = heir.stream AND own.epoch = heir.was AND own.first <= heir.last),
reached AS (
    SELECT *, COALESCE(MAX(last) OVER (PARTITION BY dcu, epoch, stream ORDER BY first, last
        ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) AS before FROM known)
SELECT dcu, epoch, stream, before + 1 AS first, first - 1 AS last FROM reached
WHERE first > before + 1 AND NOT EXISTS (SELECT 1 FROM heir
    WHERE heir.dcu = reached.dcu AND heir.stream = reached.stream AND heir.was = reached.epoch)
ORDER BY 1, 2, 3, 4;
"""


class Collection:
    """The file. Any thread; one at a time.

    Args:
        path: made (0600) when it is missing.

    Raises:
        OperatorFault: not a collection, in use by another process, or it cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self.repeated = 0
        self._connection = self._open()

    def take(self, batch: Batch) -> list[Item]:
        """The records of a batch that were not held; they are from now on, on the disk.

        Raises:
            OperatorFault: the disk does not take them: nothing may be acknowledged.
            ReplyMalformed: bodies that JSON cannot hold (NaN, nested without end): nothing is taken.
        """
        series = Series(batch.dcu, batch.epoch, batch.stream)
        items = []
        try:
            layouts = [(batch.dcu, digest.hex(), _text(columns)) for digest, columns in batch.layouts.items()]
            bodies = [_text(_named(record)) for record in batch.records]
        except (ValueError, TypeError, AttributeError, RecursionError) as fault:
            raise ReplyMalformed(f"a record that JSON cannot hold: {fault}") from fault
        with self._transaction() as run:
            for row in layouts:
                run("INSERT INTO layout VALUES (?, ?, ?) ON CONFLICT DO NOTHING", row)
            for n, (record, body) in enumerate(zip(batch.records, bodies, strict=True), start=batch.first):
                done = run(
                    "INSERT INTO record (dcu, epoch, stream, id, body) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
                    (batch.dcu, batch.epoch, batch.stream.value, n, body),
                )
                if done.rowcount:
                    items.append(Item(series, n, record, columns_of(record, batch)))
        self.repeated += len(batch.records) - len(items)
        return items

    def note_state(self, dcu: str, state: Mapping[str, Any]) -> None:
        """The presence of a box, as last heard. Raises OperatorFault."""
        with self._transaction() as run:
            run(
                "INSERT INTO state VALUES (?, ?) ON CONFLICT (dcu) DO UPDATE SET body = excluded.body",
                (dcu, _text(state)),
            )

    def holes(self) -> list[Hole]:
        """Ids that a later one shows to exist, and that are neither held nor announced as dropped."""
        with self._reading() as run:
            names = {stream.value for stream in Stream}
            return [
                Hole(Series(dcu, epoch, Stream(name)), *span) for dcu, epoch, name, *span in run(HOLES) if name in names
            ]

    def count(self) -> int:
        """Records held."""
        with self._reading() as run:
            return int(run("SELECT COUNT(*) FROM record").fetchone()[0])

    def dating(self) -> Dating:
        """What the boxes have said of the time."""
        found = Dating()
        with self._reading() as run:
            for dcu, body in run(CLOCKS):
                found.hear(dcu, json.loads(body))
        return found

    def after(self, n: int, limit: int) -> list[tuple[int, Item]]:
        """(number, record) in the order of their arrival, from beyond number `n`."""
        with self._reading() as run:
            found = run(
                "SELECT n, r.dcu, epoch, stream, id, body, columns FROM record r LEFT JOIN layout l "
                "ON l.dcu = r.dcu AND l.digest = json_extract(body, '$.layout') WHERE n > ? ORDER BY n LIMIT ?",
                (n, limit),
            ).fetchall()
        return [(number, _item(*row)) for number, *row in found]

    # ---- how far what is written elsewhere has come -----------------------------------------------------------------

    def outlet(self, name: str) -> tuple[int, dict[str, int]]:
        """(number of the last record written there, octets by file)."""
        with self._reading() as run:
            found = run("SELECT n FROM outlet WHERE name = ?", (name,)).fetchone()
            files = dict(run("SELECT file, octets FROM outlet_file WHERE outlet = ?", (name,)).fetchall())
        return (found[0] if found else 0), files

    def note_outlet(self, name: str, n: int, files: Mapping[str, int]) -> None:
        """So far has it come: those files have those octets. Raises OperatorFault."""
        with self._transaction() as run:
            run("INSERT INTO outlet VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET n = excluded.n", (name, n))
            for file, octets in files.items():
                run(
                    "INSERT INTO outlet_file VALUES (?, ?, ?) "
                    "ON CONFLICT (outlet, file) DO UPDATE SET octets = excluded.octets",
                    (name, file, octets),
                )

    def close(self) -> None:
        """Idempotent."""
        with self._lock:
            self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # ---- SQLite -----------------------------------------------------------------------------------------------------

    def _open(self) -> sqlite3.Connection:
        try:
            os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            connection = sqlite3.connect(self._path, timeout=2.0, isolation_level=None, check_same_thread=False)
        except (OSError, sqlite3.Error) as fault:
            raise OperatorFault(f"cannot be opened: {fault}", place=str(self._path)) from fault
        try:
            self._prepare(connection)
        except sqlite3.Error as fault:
            connection.close()
            raise self._fault(fault) from fault
        except OperatorFault:
            connection.close()
            raise
        return connection

    def _prepare(self, connection: sqlite3.Connection) -> None:
        run = connection.execute
        run("PRAGMA locking_mode = EXCLUSIVE")
        if run("SELECT COUNT(*) FROM sqlite_master").fetchone()[0]:
            if run("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
                raise OperatorFault("a database, but no collection", place=str(self._path), cure="name another file")
            run("PRAGMA journal_mode = WAL")
            run("PRAGMA synchronous = FULL")
        else:
            run("PRAGMA journal_mode = WAL")
            run("PRAGMA synchronous = FULL")
            connection.executescript(f"BEGIN; PRAGMA application_id = {APPLICATION_ID}; {TABLES} COMMIT;")
        run("BEGIN IMMEDIATE")  # takes the lock now
        run("COMMIT")

    @contextmanager
    def _transaction(self) -> Iterator[Any]:
        with self._reading() as run:
            run("BEGIN IMMEDIATE")
            try:
                yield run
                run("COMMIT")
            finally:
                if self._connection.in_transaction:
                    run("ROLLBACK")

    @contextmanager
    def _reading(self) -> Iterator[Any]:
        with self._lock:
            try:
                yield self._connection.execute
            except sqlite3.IntegrityError as fault:
                raise ReplyMalformed(f"a record that JSON cannot hold: {fault}") from fault
            except sqlite3.Error as fault:
                raise self._fault(fault) from fault

    def _fault(self, fault: sqlite3.Error) -> OperatorFault:
        name = getattr(fault, "sqlite_errorname", type(fault).__name__)
        cures = {
            "SQLITE_BUSY": "another process has it open: stop that one",
            "SQLITE_FULL": "free space on the disk; what was not kept was not acknowledged and comes again",
            "SQLITE_NOTADB": "name another file",
        }
        return OperatorFault(f"{name}: {fault}", place=str(self._path), cure=cures.get(name, ""))


def line(item: Item) -> bytes:
    """One record as a JSON line: `{dcu, epoch, stream, id, record, columns?}`, octet-strings as `{"hex": ..}`."""
    entry: dict[str, Any] = {
        "dcu": item.series.dcu,
        "epoch": item.series.epoch,
        "stream": item.series.stream.value,
        "id": item.id,
        "record": _named(item.record),
    }
    if item.columns is not None:
        entry["columns"] = item.columns
    return _text(entry).encode() + b"\n"


def _named(record: Mapping[str, Any]) -> dict[str, Any]:
    digest = record.get("layout")
    return {**record, "layout": digest.hex()} if isinstance(digest, bytes) else dict(record)


def _text(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False, default=_hex)


def _hex(value: object) -> object:
    return {"hex": value.hex()} if isinstance(value, bytes) else str(value)


def _restored(value: dict[str, Any]) -> Any:
    return bytes.fromhex(value["hex"]) if value.keys() == {"hex"} else value


def _item(dcu: str, epoch: str, stream: str, number: int, body: str, columns: str | None) -> Item:
    record = json.loads(body, object_hook=_restored)
    if isinstance(digest := record.get("layout"), str):
        record["layout"] = bytes.fromhex(digest)
    return Item(
        Series(dcu, epoch, Stream(stream)), number, record, None if columns is None else list(json.loads(columns))
    )
