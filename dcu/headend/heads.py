"""The heads of the boxes' journals as the head-end knows them: its memory against a box whose past was rewritten.

Every receipt and lease carries number and digest of the journal's head at that decision. A head that does not descend
from those that are known shows that a card was restored, copied, or written to: what such a box says is refused.

    heads.note(receipt)        Forked: the same number has another digest, or a number below the last one was never seen
    heads.trace(entries)       the journal itself, from its first entry: every known head lies on it, or Forked

A box that begins a new journal says so by another id (`jid`); that is taken once somebody has said that it is right.
What it obeys may be older then than what it once obeyed (`Known.behind`): it is sent the newest before any disconnect.
Kept in a file of the head-end, replaced in one step. Source: command-authority.md 5 (jid + lease; fork detection).
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from dcu.command import CommandRefused, Refusal
from dcu.errors import ConfigFault, DcuError, Fate
from dcu.headend.chain import Entry, walk
from dcu.headend.keys import write_public
from dcu.headend.receipts import Receipt
from dcu.relay.canonical import from_base64url, to_base64url

GIVEN_OUT: Final = "given-out"
"""State of a lease's receipt."""

_IN_FORCE: Final = frozenset({"accepted", "in-force"})
"""States in which a policy's or a key document's receipt says that it is obeyed from then on; one that waits is not."""

BEHIND: Final = "send it its newest key document and policy first, and verify their receipts with --state"
"""What helps a box that is behind."""

MOST_HEADS: Final = 5000
"""Of one journal; the oldest are forgotten, and what is older than all that is known counts as not known."""


class Forked(DcuError):
    """A box's journal does not descend from what was known of it: its card may have been restored, copied, written to.

    Nothing that this box says is believed until somebody has looked.
    """

    fate = Fate.ANSWER


@dataclass
class Known:
    """What is known of one box.

    Attributes:
        jid: its journal.
        heads: digest by number.
        lease: the last one that it gave out.
        pol: version of the policy in force then; None: none was.
        keys: version of its key document then; 0: none but the roots of its commissioning.
        most_pol, most_keys: the highest that were ever in force at that box, in whichever journal: what it once obeyed
            was made to be obeyed, and an older one is what a wiped card comes back with.
        at: of the newest head, UTC seconds by the box's clock.
        before: journals that it has left.
    """

    jid: str
    heads: dict[int, bytes] = field(default_factory=dict)
    lease: str = ""
    pol: int | None = None
    at: int = 0
    before: list[str] = field(default_factory=list)
    keys: int = 0
    most_pol: int = 0
    most_keys: int = 0

    @property
    def behind(self) -> str:
        """In words what has to be sent to the box before anybody is disconnected there; empty: nothing."""
        found = []
        if self.keys < self.most_keys:
            found.append(f"key document {self.keys}, and had {self.most_keys}: keys that were revoked may count there")
        if (self.pol or 0) < self.most_pol:
            found.append(f"{f'policy {self.pol}' if self.pol else 'no policy'}, and had {self.most_pol}")
        return f"it obeys {' and '.join(found)}" if found else ""

    @property
    def newest(self) -> int:
        """Number of the newest head; 0 before the first."""
        return max(self.heads, default=0)


class Heads:
    """What is known of all boxes.

    Args:
        boxes: by id.
    """

    def __init__(self, boxes: Mapping[str, Known] | None = None) -> None:
        self.boxes = dict(boxes or {})

    @classmethod
    def load(cls, path: Path) -> "Heads":
        """From its file; nothing is known where there is none.

        Raises:
            ConfigFault: the file is not what was written: what is lost there cannot be compared with any more.
        """
        try:
            document = json.loads(path.read_bytes())
            return cls({dcu: _known(members) for dcu, members in document["boxes"].items()})
        except FileNotFoundError:
            return cls()
        except OSError as fault:
            raise ConfigFault(f"cannot be read: {fault.strerror}", place=str(path)) from fault
        except (ValueError, KeyError, TypeError, AttributeError, CommandRefused):
            raise ConfigFault("not the heads of boxes", place=str(path), cure="restore it from its copy") from None

    def save(self, path: Path) -> None:
        """Into its file. Raises OperatorFault."""
        boxes = {dcu: _members(known) for dcu, known in sorted(self.boxes.items())}
        write_public(path, json.dumps({"v": 1, "boxes": boxes}, indent=1).encode("ascii") + b"\n")

    def note(self, receipt: Receipt, *, new_journal: bool = False) -> None:
        """Take the head of a verified receipt.

        Args:
            receipt: verified.
            new_journal: another journal than the known one is taken: the box was replaced, or its store salvaged.

        Raises:
            Forked: it does not descend from what is known.
        """
        known = self._known(receipt, new_journal=new_journal)
        digest = known.heads.get(receipt.n)
        if digest is not None and digest != receipt.chain:
            raise Forked(
                f"entry {receipt.n} of journal {receipt.jid} was another one before",
                place=receipt.dcu,
                cure="freeze the box; fetch its journal with `dcu journal --jsonl`, and look at its card",
            )
        if digest is None and receipt.n < known.newest:
            raise Forked(
                f"head {receipt.n} of journal {receipt.jid} is older than {known.newest}, and was never seen",
                place=receipt.dcu,
                cure="give receipts in their order; or prove it with the box's journal: `dcu headend trace`",
            )
        self._take(known, receipt)

    def trace(self, dcu: str, jid: str, entries: Iterable[Entry]) -> tuple[int, int]:
        """Walk a journal from its first entry, and find every known head on it.

        Returns:
            (number of its newest entry, how many known heads lie on it).

        Raises:
            Forked: a known head does not lie on it.
            ReplyMalformed: it is not a chain.
        """
        known = self.boxes.setdefault(dcu, Known(jid))
        if known.jid != jid:
            raise Forked(f"journal {jid}, known is {known.jid}", place=dcu, cure="`dcu headend verify --new-journal`")
        last, digest, met = 0, b"", 0
        for last, digest in walk(entries):
            expected = known.heads.get(last)
            if expected is not None and expected != digest:
                raise Forked(f"entry {last} of journal {jid} is not the one that the box's receipt named", place=dcu)
            met += expected is not None
        if met < len(known.heads):
            raise Forked(f"it ends at {last}; the box has told of {known.newest}", place=dcu)
        if last:
            known.heads[last] = digest
        return last, met

    def _known(self, receipt: Receipt, *, new_journal: bool) -> Known:
        known = self.boxes.get(receipt.dcu)
        if known is not None and known.jid == receipt.jid:
            return known
        if known is not None and (receipt.jid in known.before or not new_journal):
            told = "has left" if receipt.jid in known.before else "is not the one that is known"
            raise Forked(
                f"journal {receipt.jid} {told}; that is {known.jid}",
                place=receipt.dcu,
                cure="where its store was replaced or salvaged: --new-journal",
            )
        self.boxes[receipt.dcu] = Known(receipt.jid)
        if known is not None:
            self.boxes[receipt.dcu] = Known(
                receipt.jid,
                before=[*known.before, known.jid],
                most_pol=max(known.most_pol, known.pol or 0),
                most_keys=max(known.most_keys, known.keys),
            )
        return self.boxes[receipt.dcu]

    def _take(self, known: Known, receipt: Receipt) -> None:
        if receipt.n >= known.newest:
            pol, keys = _version(receipt, "pol"), _version(receipt, "keys")
            known.at = receipt.at
            if pol is not None and (receipt.kind != "policy" or receipt.state in _IN_FORCE):
                known.pol = pol
            if receipt.kind == "lease" and receipt.state == GIVEN_OUT:
                known.lease, known.pol = str(receipt.claims.get("lease", "")), pol
            if receipt.kind == "keys" and receipt.state in _IN_FORCE:
                keys = _version(receipt, "version")
            known.keys = known.keys if keys is None else keys
            known.most_pol, known.most_keys = max(known.most_pol, known.pol or 0), max(known.most_keys, known.keys)
        known.heads[receipt.n] = receipt.chain
        while len(known.heads) > MOST_HEADS:
            del known.heads[min(known.heads)]


def _version(receipt: Receipt, name: str) -> int | None:
    value = receipt.claims.get(name)
    return value if type(value) is int else None


def _members(known: Known) -> dict[str, Any]:
    return {
        "jid": known.jid,
        "lease": known.lease,
        "pol": known.pol,
        "at": known.at,
        "before": known.before,
        "keys": known.keys,
        "most": {"pol": known.most_pol, "keys": known.most_keys},
        "heads": {str(n): to_base64url(digest) for n, digest in sorted(known.heads.items())},
    }


def _known(members: Mapping[str, Any]) -> Known:
    heads = {int(n): from_base64url(text, Refusal.E_SCHEMA) for n, text in members["heads"].items()}
    pol = members["pol"]
    return Known(
        str(members["jid"]),
        heads,
        str(members["lease"]),
        int(pol) if pol is not None else None,
        int(members["at"]),
        [str(jid) for jid in members["before"]],
        int(members.get("keys", 0)),  # a file of before has neither
        int(members.get("most", {}).get("pol", pol or 0)),
        int(members.get("most", {}).get("keys", 0)),
    )
