"""Seam to what the store keeps of authority: debits, permits, restraints. No code."""

from collections.abc import Sequence
from typing import Protocol

from dcu.command import Debit, Restraint


class Authority(Protocol):
    """Part of a transaction. What restricts is never lost; a debit is never taken back."""

    def debit(self, debit: Debit) -> None:
        """Count an accepted disconnect."""
        ...

    def debits(self, since_s: int, boot: str) -> Sequence[Debit]:
        """Debits since that time (UTC seconds by the box's clock), and all of that boot of the box."""
        ...

    def note_sent(self, iss: str, cmd_id: str, at_s: int, boot_s: int) -> None:
        """What was debited is being sent: UTC seconds by the box's clock, seconds since its boot."""
        ...

    def permit(self, iss: str, permit_id: str) -> bytes | None:
        """The envelope of a permit, or None."""
        ...

    def save_permit(self, iss: str, permit_id: str, envelope: bytes) -> None:
        """Keep a permit."""
        ...

    def permit_uses(self, iss: str, permit_id: str) -> int:
        """Debits to a permit, and to all that are shares of it."""
        ...

    def restraints(self) -> Sequence[Restraint]:
        """All freezes and locks that were not lifted, lapsed ones among them."""
        ...

    def restrain(self, restraint: Restraint) -> None:
        """Begin or renew one; there is one of a kind for each meter, and one for the box."""
        ...

    def lift(self, kind: str, meter: str) -> None:
        """End one."""
        ...

    def note_safety(self, serial: str, seq: int) -> None:
        """A disconnect for safety was dispatched with that sequence number; 0: two people have ended it."""
        ...

    def forget_document(self, typ: str) -> None:
        """A signed document is not in force any more."""
        ...
