"""The checks of every command, and the table that says which apply. Pure.

`table` is the table and walks it; `voices`, `freshness`, `meters` and `safety` hold the rules.
"""

from dcu.relay.checks.table import COLUMNS, MEANT, TABLE, UNCONSUMED, Check, When, check_all

__all__ = ["COLUMNS", "MEANT", "TABLE", "UNCONSUMED", "Check", "When", "check_all"]
