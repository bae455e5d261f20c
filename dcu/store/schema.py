"""Tables of `dcu.db` and their migrations.

A migration is applied once, in one transaction with the note that it was; it is never edited after a release, only
followed by another. All tables are STRICT. Column order: bodies last, so that reading the rest skips their pages.
"""
# ruff: noqa: S608 - the only names put into statements are those of `table`, made from the Stream enum

from contextlib import closing
from typing import Final

from sqlite_utils import Database as Utilities
from sqlite_utils.migrations import Migrations

from dcu.record import Stream

APPLICATION_ID: Final = 0x64637531
"""`PRAGMA application_id` of a store: ASCII dcu1."""

MIGRATIONS: Final = Migrations("dcu")


def table(stream: Stream) -> str:
    """Name of a stream's table."""
    return f"record_{stream.value}"


def names() -> frozenset[str]:
    """Of all migrations that this program knows."""
    with closing(Utilities(memory=True)) as nothing:
        return frozenset(migration.name for migration in MIGRATIONS.pending(nothing))


@MIGRATIONS(name="0001_identity_and_streams")
def _identity_and_streams(db: Utilities) -> None:
    """Identity of the file; one table a stream; cursors; layouts.

    AUTOINCREMENT: an emptied table must not begin at 1 again behind a cursor (reference/store-uplink.md 1.4).
    """
    db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    db.execute("CREATE TABLE identity (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID")
    for stream in Stream:
        db.execute(
            f"CREATE TABLE {table(stream)} (id INTEGER PRIMARY KEY AUTOINCREMENT, at_s INTEGER NOT NULL, "
            "crc INTEGER NOT NULL, layout BLOB, body BLOB NOT NULL) STRICT"
        )
    db.execute("CREATE TABLE cursor (stream TEXT PRIMARY KEY, delivered INTEGER NOT NULL) STRICT, WITHOUT ROWID")
    db.execute("CREATE TABLE layout (digest BLOB PRIMARY KEY, encoded BLOB NOT NULL) STRICT, WITHOUT ROWID")


@MIGRATIONS(name="0002_gap_ledger")
def _gap_ledger(db: Utilities) -> None:
    """Profiles, spans held on the grid, spans absent, and single instants off the grid."""
    db.execute(
        "CREATE TABLE profile (id INTEGER PRIMARY KEY, meter TEXT NOT NULL, ln BLOB NOT NULL, "
        "period_s INTEGER NOT NULL, since_s INTEGER, phase_s INTEGER, columns BLOB, UNIQUE (meter, ln)) STRICT"
    )
    db.execute(
        "CREATE TABLE held (profile INTEGER NOT NULL, first_s INTEGER NOT NULL, last_s INTEGER NOT NULL, "
        "PRIMARY KEY (profile, first_s)) STRICT, WITHOUT ROWID"
    )
    db.execute(
        "CREATE TABLE absent (profile INTEGER NOT NULL, first_s INTEGER NOT NULL, last_s INTEGER NOT NULL, "
        "reason TEXT NOT NULL, PRIMARY KEY (profile, first_s, last_s, reason)) STRICT, WITHOUT ROWID"
    )
    db.execute(
        "CREATE TABLE stray (profile INTEGER NOT NULL, at_s INTEGER NOT NULL, "
        "PRIMARY KEY (profile, at_s)) STRICT, WITHOUT ROWID"
    )


@MIGRATIONS(name="0003_commands_journal_counters")
def _commands_journal_counters(db: Utilities) -> None:
    """Commands and what they consumed, the journal, invocation counters, counts."""
    db.execute(
        "CREATE TABLE command (id INTEGER PRIMARY KEY AUTOINCREMENT, iss TEXT NOT NULL, cmd_id TEXT NOT NULL, "
        "state TEXT NOT NULL, repeated_at INTEGER NOT NULL, digest BLOB NOT NULL, kids TEXT NOT NULL, "
        "payload BLOB NOT NULL, receipt BLOB NOT NULL, UNIQUE (iss, cmd_id)) STRICT"
    )
    db.execute("CREATE INDEX command_open ON command (id) WHERE state IN ('accepted', 'dispatched')")
    db.execute(
        "CREATE TABLE relay_sequence (meter TEXT PRIMARY KEY, highest INTEGER NOT NULL, "
        "disconnect INTEGER NOT NULL) STRICT, WITHOUT ROWID"
    )
    db.execute(
        "CREATE TABLE document (typ TEXT PRIMARY KEY, version INTEGER NOT NULL, envelope BLOB NOT NULL) "
        "STRICT, WITHOUT ROWID"
    )
    db.execute(
        "CREATE TABLE journal (n INTEGER PRIMARY KEY AUTOINCREMENT, at_s INTEGER NOT NULL, kind TEXT NOT NULL, "
        "digest BLOB NOT NULL, body BLOB NOT NULL) STRICT"
    )
    db.execute(
        "CREATE TABLE invocation (meter TEXT NOT NULL, client_sap INTEGER NOT NULL, next INTEGER NOT NULL, "
        "PRIMARY KEY (meter, client_sap)) STRICT, WITHOUT ROWID"
    )
    db.execute("CREATE TABLE tally (name TEXT PRIMARY KEY, n INTEGER NOT NULL) STRICT, WITHOUT ROWID")


@MIGRATIONS(name="0004_meters_and_marks")
def _meters_and_marks(db: Utilities) -> None:
    """Extent of profiles and whether what is cached is stale; rows known by their values; meters and their places.

    What an older program cached was not read under a known firmware: the first look at the firmware makes it stale.
    """
    for column in ("entries", "newest_first", "stale"):
        db.execute(f"ALTER TABLE profile ADD COLUMN {column} INTEGER NOT NULL DEFAULT 0")
    db.execute(
        "CREATE TABLE mark (profile INTEGER NOT NULL, at_s INTEGER NOT NULL, n INTEGER NOT NULL, "
        "digest BLOB NOT NULL, PRIMARY KEY (profile, at_s, n)) STRICT, WITHOUT ROWID"
    )
    db.execute(
        "CREATE TABLE meter (serial TEXT PRIMARY KEY, firmware BLOB NOT NULL, ahead_s INTEGER, "
        "described_s INTEGER NOT NULL) STRICT, WITHOUT ROWID"
    )
    db.execute(
        "CREATE TABLE happening (id INTEGER PRIMARY KEY, meter TEXT NOT NULL, kind TEXT NOT NULL, "
        "first_s INTEGER NOT NULL, last_s INTEGER NOT NULL, skipped_s INTEGER NOT NULL, "
        "UNIQUE (meter, kind, first_s, last_s)) STRICT"
    )
    db.execute(
        "CREATE TABLE place (id INTEGER PRIMARY KEY, place TEXT NOT NULL, meter TEXT NOT NULL, "
        "since_s INTEGER NOT NULL) STRICT"
    )
    db.execute("CREATE INDEX place_newest ON place (place, id)")


@MIGRATIONS(name="0005_retention")
def _retention(db: Utilities) -> None:
    """What each stream has given up, how much it was given by when, and how long the store has lived.

    Ages are told by seconds that the store was open, never by the box's clock, which may lie. What an older program
    stored counts as stored now.
    """
    db.execute(
        "CREATE TABLE account (stream TEXT PRIMARY KEY, floor INTEGER NOT NULL, holes INTEGER NOT NULL, "
        "octets INTEGER NOT NULL) STRICT, WITHOUT ROWID"
    )
    db.execute(
        "CREATE TABLE milestone (stream TEXT NOT NULL, lived_s INTEGER NOT NULL, last INTEGER NOT NULL, "
        "octets INTEGER NOT NULL, PRIMARY KEY (stream, lived_s)) STRICT, WITHOUT ROWID"
    )
    db.execute("CREATE TABLE upkeep (name TEXT PRIMARY KEY, n INTEGER NOT NULL) STRICT, WITHOUT ROWID")
    db.execute("INSERT INTO upkeep (name, n) VALUES ('lived_s', 0)")
    for stream in Stream:
        db.execute(
            "INSERT INTO account (stream, floor, holes, octets) "
            "SELECT ?, coalesce(min(id), 1) - 1, coalesce(max(id) - min(id) + 1, 0) - count(*), "
            f"coalesce(sum(length(body)), 0) FROM {table(stream)}",
            (stream.value,),
        )
    db.execute("INSERT INTO milestone SELECT stream, -1, floor, 0 FROM account")
    db.execute(
        "INSERT INTO milestone SELECT a.stream, 0, coalesce(s.seq, 0), a.octets "
        "FROM account AS a LEFT JOIN sqlite_sequence AS s ON s.name = 'record_' || a.stream"
    )


@MIGRATIONS(name="0006_kept_time")
def _kept_time(db: Utilities) -> None:
    """When the box last knew the time, and the moment before which no true time is."""
    db.execute(
        "CREATE TABLE kept_time (one INTEGER PRIMARY KEY CHECK (one = 1), boot TEXT NOT NULL, "
        "floor_ms INTEGER NOT NULL, boot_ms INTEGER NOT NULL, wall_ms INTEGER NOT NULL) STRICT"
    )


@MIGRATIONS(name="0007_command_authority")
def _command_authority(db: Utilities) -> None:
    """Disconnects as the caps count them, permits, freezes and locks; commands that wait are open too."""
    db.execute("ALTER TABLE relay_sequence ADD COLUMN safety INTEGER NOT NULL DEFAULT 0")
    db.execute("DROP INDEX command_open")
    db.execute("CREATE INDEX command_open ON command (id) WHERE state IN ('accepted', 'pending', 'dispatched')")
    db.execute(
        "CREATE TABLE debit (id INTEGER PRIMARY KEY AUTOINCREMENT, iss TEXT NOT NULL, cmd_id TEXT NOT NULL, "
        "profile TEXT NOT NULL, permit TEXT NOT NULL, at_s INTEGER NOT NULL, boot TEXT NOT NULL, "
        "boot_s INTEGER NOT NULL, sent_at_s INTEGER, sent_boot_s INTEGER, UNIQUE (iss, cmd_id)) STRICT"
    )
    db.execute("CREATE INDEX debit_permit ON debit (iss, permit)")
    db.execute("CREATE INDEX debit_at ON debit (at_s)")
    db.execute(
        "CREATE TABLE permit (iss TEXT NOT NULL, name TEXT NOT NULL, envelope BLOB NOT NULL, "
        "PRIMARY KEY (iss, name)) STRICT, WITHOUT ROWID"
    )
    db.execute(
        "CREATE TABLE restraint (kind TEXT NOT NULL, meter TEXT NOT NULL, who TEXT NOT NULL, why TEXT NOT NULL, "
        "seconds INTEGER NOT NULL, until_s INTEGER, PRIMARY KEY (kind, meter)) STRICT, WITHOUT ROWID"
    )


@MIGRATIONS(name="0008_restraints_by_uptime_and_totals")
def _restraints_by_uptime_and_totals(db: Utilities) -> None:
    """Since which uptime a restraint holds, so that no step of the clock ends it; the city's total of a debit.

    What an older program restrained is of no boot: it lapses by the clock alone until its time is counted on.
    """
    db.execute("ALTER TABLE restraint ADD COLUMN boot TEXT NOT NULL DEFAULT ''")
    db.execute("ALTER TABLE restraint ADD COLUMN boot_s INTEGER NOT NULL DEFAULT 0")
    db.execute("ALTER TABLE debit ADD COLUMN total TEXT NOT NULL DEFAULT ''")
    db.execute("CREATE INDEX debit_total ON debit (iss, total) WHERE total != ''")


@MIGRATIONS(name="0009_earlier_grids")
def _earlier_grids(db: Utilities) -> None:
    """Grids that were in force before a capture period was found changed, as far as they are not settled."""
    db.execute(
        "CREATE TABLE earlier_grid (id INTEGER PRIMARY KEY, profile INTEGER NOT NULL, period_s INTEGER NOT NULL, "
        "from_s INTEGER NOT NULL, until_s INTEGER NOT NULL) STRICT"
    )
    db.execute("CREATE INDEX earlier_grid_profile ON earlier_grid (profile, id)")
