"""The only code that touches SQLite: streams, gap ledger, journal, counters, migrations."""
