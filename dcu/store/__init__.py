"""The only code that touches SQLite: streams, gap ledger, journal, counters, migrations.

One file, one connection, one thread. Who needs the store calls `transact` with a piece of work from any other thread
and has the result when it is on the disk.
"""

from dcu.store.archive import Archive
from dcu.store.counters import Counters
from dcu.store.sealed import SealedFile
from dcu.store.sqlite_store import SqliteStore

__all__ = ["Archive", "Counters", "SealedFile", "SqliteStore"]
