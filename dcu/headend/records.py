"""A box's journal in a file of JSON lines, as `dcu journal --jsonl` writes it and `dcu headend trace` reads it.

{"dcu":"JH-RNC-0042", "jid":"3bc5135d110ca306"}                                     the first line
{"n":1, "at":1795417800, "kind":"lease", "body":"{..}", "digest":"<b64url>"}        one entry a line, from the first
"""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from dcu.command import CommandRefused, Refusal
from dcu.errors import OperatorFault
from dcu.headend.chain import Entry
from dcu.relay.canonical import from_base64url, to_base64url


def lines_of(dcu: str, jid: str, entries: Iterable[Entry]) -> Iterator[str]:
    """The lines of such a file."""
    yield json.dumps({"dcu": dcu, "jid": jid})
    for entry in entries:
        members = {"n": entry.n, "at": entry.at_s, "kind": entry.kind, "body": entry.body.decode("ascii", "replace")}
        yield json.dumps(members | {"digest": to_base64url(entry.digest)})


def entries_of(path: Path) -> tuple[str, Iterator[Entry]]:
    """(id of the journal, its entries). Raises OperatorFault here, or where a line is none."""
    try:
        lines = path.read_text(encoding="ascii").splitlines()
    except (OSError, ValueError) as fault:
        raise OperatorFault(f"cannot be read: {fault}", place=str(path)) from fault
    head = _members(path, 1, lines[0] if lines else "")
    return str(head.get("jid", "")), (_entry(path, n, line) for n, line in enumerate(lines[1:], 2))


def _entry(path: Path, n: int, line: str) -> Entry:
    members = _members(path, n, line)
    try:
        digest = from_base64url(str(members["digest"]), Refusal.E_SCHEMA)
        return Entry(int(members["n"]), int(members["at"]), str(members["kind"]), str(members["body"]).encode(), digest)
    except (KeyError, ValueError, TypeError, CommandRefused):
        raise OperatorFault("not an entry of a journal", place=f"{path}:{n}") from None


def _members(path: Path, n: int, line: str) -> dict[str, Any]:
    try:
        members = json.loads(line)
    except ValueError:
        members = None
    if not isinstance(members, dict):
        raise OperatorFault("not a line of a journal", place=f"{path}:{n}", cure="`dcu journal --jsonl` writes it")
    return members
