"""Disconnects that were taken back before they came: a broker may deliver a cancel ahead of what it cancels.

Kept as one document of the store: `[[command id, meter, until], ..]`, canonical, at most `AT_MOST`. Each is kept for as
long as the disconnect that it means can live. Only disconnects are refused by them: whoever may cancel must not be able
to use up the ids of connects. Source: reference/command-authority.md 0 item 5, 8 (step 24).
"""

from collections.abc import Sequence
from typing import Final

from dcu.command import Command, CommandRefused, Refusal
from dcu.ports import Transaction
from dcu.relay.canonical import canonical, parse
from dcu.relay.policy.floor import LONGEST_LIFE_S

DOCUMENT: Final = "taken-back"
AT_MOST: Final = 256

Withdrawn = tuple[str, str, int]
"""Command id, meter, until when (UTC seconds by the box's clock)."""


def held(tx: Transaction, known_s: int | None) -> list[Withdrawn]:
    """Those that still mean something; all of them where the time is not known (None)."""
    document = tx.document(DOCUMENT)
    if document is None:
        return []
    try:
        listed = parse(document[1], Refusal.E_STORE)
    except CommandRefused:  # damaged: a cancel that came early is lost, and nothing else
        return []
    found: list[Withdrawn] = []
    for each in listed if isinstance(listed, list) else []:
        match each:
            case [str(cmd_id), str(meter), int(until_s)] if known_s is None or until_s > known_s:
                found.append((cmd_id, meter, until_s))
    return found


def keep(tx: Transaction, withdrawn: Sequence[Withdrawn]) -> None:
    """In the place of all that were kept."""
    tx.save_document(DOCUMENT, 0, canonical([list(each) for each in withdrawn]))


def note(tx: Transaction, cmd_id: str, cancel: Command, known_s: int | None) -> None:
    """A cancel came whose disconnect, `cmd_id`, is not known here yet. The cancel's own time is not over."""
    until_s = cancel.exp + LONGEST_LIFE_S
    keep(tx, [*held(tx, known_s), (cmd_id, cancel.meter, until_s)])


def is_taken_back(withdrawn: Sequence[Withdrawn], command: Command) -> bool:
    """Whether that disconnect was taken back before it came."""
    return any((cmd_id, meter) == (command.cmd_id, command.meter) for cmd_id, meter, _ in withdrawn)
