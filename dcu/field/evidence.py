"""What was decided and who may decide, asked through `field.sock`: for `dcu journal` and `dcu keys`. Reads only.

The answers are plain data; a box that does not run gives the same from its file. Each page is one short reading between
two commits of the writer.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from dcu.command import CommandRefused, Restraint
from dcu.errors import OperatorFault
from dcu.ports import Store, Transaction
from dcu.relay.envelope import claims_of, payload_of
from dcu.relay.key_document import TrustStore
from dcu.relay.policy import policy_in_force
from dcu.relay.public_key import PublicKey, coordinate
from dcu.relay.standing import POLICY_BASE, POLICY_NARROWED, POLICY_SEEN, POLICY_WAITING, Seen, trust_in_force
from dcu.relay.trust import Commissioning

PAGE_BYTES: Final = 96 * 1024
PAGE_ENTRIES: Final = 250
"""Of one page: a frame has 256 KiB. An entry is a few hundred octets."""

_HIGHEST: Final = 2**63 - 1


class Evidence:
    """Answers.

    Args:
        store: the box's.
        dcu: id of the box.
        trust: its trust.json.
        now_s: UTC seconds by the box's clock.
    """

    def __init__(self, store: Store, dcu: str, trust: Path, now_s: Callable[[], int]) -> None:
        self._store = store
        self._dcu = dcu
        self._trust = trust
        self._now_s = now_s

    def asks(self) -> Mapping[str, Callable[[Mapping[str, Any]], Any]]:
        """What `field.sock` answers."""
        return {"journal": self._journal, "command": self._command, "authority": self._authority}

    def _journal(self, request: Mapping[str, Any]) -> dict[str, Any]:
        after = request.get("after")
        if type(after) is not int or not 0 <= after <= _HIGHEST:
            raise OperatorFault("no page of the journal", place="field", cure="use the dcu of this version")
        return self._head() | self._store.transact(lambda tx: journal_page(tx, after))

    def _command(self, request: Mapping[str, Any]) -> dict[str, Any] | None:
        iss, cmd_id = str(request.get("iss", "")), str(request.get("cmd_id", ""))
        return self._store.transact(lambda tx: plain_command(tx, iss, cmd_id))

    def _authority(self, _request: Mapping[str, Any]) -> dict[str, Any]:
        root, now_s = Commissioning.load(self._trust).root, self._now_s()
        return self._head() | self._store.transact(lambda tx: plain_authority(tx, root, self._dcu, now_s))

    def _head(self) -> dict[str, Any]:
        return {"dcu": self._dcu, "epoch": self._store.epoch}


def journal_page(tx: Transaction, after: int) -> dict[str, Any]:
    """As plain data: `{head, entries: [[n, at_s, kind, body, digest]..], more}`."""
    entries: list[list[Any]] = []
    octets = 0
    for entry in tx.journal_entries(after, PAGE_ENTRIES):
        entries.append([entry.n, entry.at_s, entry.kind, entry.body, entry.digest])
        octets += len(entry.body)
        if octets >= PAGE_BYTES:
            break
    head = tx.journal_head()[0]
    return {"head": head, "entries": entries, "more": bool(entries) and entries[-1][0] < head}


def plain_command(tx: Transaction, iss: str, cmd_id: str) -> dict[str, Any] | None:
    """What is kept of a command: `{payload, kids, state}`, or None."""
    stored = tx.command(iss, cmd_id)
    if stored is None:
        return None
    return {"payload": stored.payload, "kids": list(stored.kids), "state": stored.state.value}


def plain_authority(tx: Transaction, root: TrustStore, dcu: str, now_s: int) -> dict[str, Any]:
    """As plain data: who may sign, the policy that holds or why there is none, what waits, what restrains."""
    trust = trust_in_force(tx, root, now_s)
    base, narrowed = (found[1] if found else None for found in map(tx.document, (POLICY_BASE, POLICY_NARROWED)))
    policy, fault = b"", ""
    try:
        policy_in_force(base, narrowed, trust.keys, trust.issuer, dcu, now_s)
        policy = payload_of(narrowed or base or b"")
    except CommandRefused as refusal:
        fault = refusal.cause
    return {
        "now": now_s,
        "issuer": trust.issuer,
        "version": trust.version,
        "threshold": trust.threshold,
        "exp": trust.exp,
        "keys": [_plain_key(key) for key in trust.keys.values()],
        "policy": policy,
        "policy_fault": fault,
        "waiting": _waiting(tx),
        "restraints": [_plain_restraint(each) for each in tx.authority.restraints()],
    }


def _waiting(tx: Transaction) -> dict[str, Any] | None:
    """A policy that permits more and has to wait, with when it was seen."""
    waiting, note = tx.document(POLICY_WAITING), tx.document(POLICY_SEEN)
    if waiting is None:
        return None
    seen = Seen.of(note[1]) if note is not None else None
    try:
        payload = payload_of(waiting[1])
        claims_of(payload)
    except CommandRefused:  # damaged: it will be refused when its time comes
        payload = b""
    return {"payload": payload, "seen": seen.at_s if seen is not None and seen.known else None}


def _plain_key(key: PublicKey) -> dict[str, Any]:
    return {
        "kid": key.kid,
        "x": coordinate(key.x),
        "y": coordinate(key.y),
        "roles": sorted(role.value for role in key.roles),
        "person": key.person,
        "admin": key.admin,
        "nbf": key.nbf,
        "exp": key.exp,
        "revoked": key.revoked,
    }


def _plain_restraint(each: Restraint) -> dict[str, Any]:
    return {"kind": each.kind, "meter": each.meter, "who": each.who, "why": each.why, "until": each.until_s}
