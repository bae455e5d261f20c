"""A box's journal as a witness reads it: each entry chained to the one before it. Pure; shares no code with the store.

    digest(n) = SHA-256(digest(n - 1) || CBOR [n, at_s, kind, body]), digest(0) = 32 zero octets

in the deterministic encoding of RFC 8949 4.2; `body` is canonical JSON, an octet-string in the CBOR.
"""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

import cbor2

from dcu.command import CommandRefused, Refusal
from dcu.errors import ReplyMalformed
from dcu.relay.canonical import Json, parse

GENESIS: Final = bytes(32)
"""What the first entry is chained to."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a journal.

    Attributes:
        n: its number, from 1.
        at_s: UTC seconds by the box's clock.
        kind: what it is about: command, policy, permit, keys, lease, lock, freeze.
        body: canonical JSON.
        digest: of the chain up to it, as the box has kept it.
    """

    n: int
    at_s: int
    kind: str
    body: bytes
    digest: bytes

    @property
    def told(self) -> dict[str, Json]:
        """Members of its body; empty where that is not legible."""
        try:
            members = parse(self.body, Refusal.E_JSON)
        except CommandRefused:
            return {}
        return members if isinstance(members, dict) else {}

    def text(self, name: str) -> str:
        """A member that is text; empty where there is none."""
        value = self.told.get(name)
        return value if isinstance(value, str) else ""


def walk(entries: Iterable[Entry]) -> Iterator[tuple[int, bytes]]:
    """(number, digest) of each entry of a whole journal, each one checked against the one before it.

    Raises:
        ReplyMalformed: an entry is missing or is not what was written, with its number.
    """
    digest = GENESIS
    for n, entry in enumerate(entries, 1):
        digest = hashlib.sha256(
            digest + cbor2.dumps([entry.n, entry.at_s, entry.kind, entry.body], canonical=True)
        ).digest()
        if (entry.n, entry.digest) != (n, digest):
            raise ReplyMalformed("the chain is broken here", place=f"journal entry {n}")
        yield n, digest
