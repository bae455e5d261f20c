"""The way in: gate, envelope, and then the room that decides about that kind of document.

What was refused before anybody was known to have signed it (checks 1 to 8) is counted and sampled, never journalled and
never answered, so that nobody fills the disk. Source: reference/command-authority.md 0 item 2, 8.
"""

import contextlib
import logging
from collections import Counter
from typing import Final

from dcu.command import CommandRefused, Refusal
from dcu.errors import DcuError, StoreFull
from dcu.relay.alarms import Alarms
from dcu.relay.book import Book
from dcu.relay.docket import Docket
from dcu.relay.documents import Documents
from dcu.relay.envelope import COMMAND, KEYS, PERMIT, POLICY, Unforeseen, open_envelope, typ_of
from dcu.relay.gate import Gate
from dcu.relay.letters import Put, Verdict
from dcu.relay.ruling import Ruling

log = logging.getLogger(__name__)

COUNT_AT: Final = 500
"""Counts are written when so many have come together: a flood must not write to flash at its own pace."""


class Intake:
    """Decides about whatever is handed in. Called by the relay thread only."""

    def __init__(self, book: Book, documents: Documents, alarms: Alarms) -> None:
        self._book = book
        self._documents = documents
        self._docket = Docket(book)
        self._gate = Gate(f"dcu/v1/{book.dcu}/cmd")
        self._alarms = alarms
        self._uncounted: Counter[str] = Counter()

    @property
    def uncounted(self) -> int:
        """Refusals that are not in the store yet."""
        return self._uncounted.total()

    def decide(self, put: Put) -> Ruling:
        """Judge a document. What the ruling says is on disk."""
        try:
            ruling = self._decide(put)
        except DcuError:
            raise
        except Exception as fault:  # deny by default: what we have not foreseen neither passes nor ends the box
            log.exception("a document was not foreseen")
            self._uncounted["unforeseen"] += 1
            self._alarms.refused(Refusal.E_SCHEMA, f"unforeseen {type(fault).__name__}")
            ruling = Ruling(Verdict("refused", Refusal.E_SCHEMA), cause="unforeseen")
        if ruling.verdict.code in {Refusal.E_ID_REUSE, Refusal.E_STORE, Refusal.E_PROTECTED, Refusal.E_CAP}:
            self._alarms.refused(ruling.verdict.code, ruling.cause, ruling.meter)
        return ruling

    def count(self) -> None:
        """Write the counts; where there is no room, later."""
        with contextlib.suppress(StoreFull):
            self._docket.count(self._uncounted.copy())  # another thread reads it, which may be late
            self._uncounted.clear()

    def _decide(self, put: Put) -> Ruling:
        book = self._book
        try:
            self._gate.admit(put.topic, put.qos, put.retained, book.clock.monotonic_s(), connect=put.connect)
            if typ_of(put.octets) == KEYS:
                self._gate.admit_keys(book.clock.monotonic_s())
                return self._documents.keys(put.octets)
            opened = open_envelope(put.octets, book.trust.keys, book.moment().known_s, {COMMAND, POLICY, PERMIT})
        except CommandRefused as refusal:
            self._uncounted["unforeseen" if isinstance(refusal, Unforeseen) else refusal.code.value] += 1
            self._alarms.refused(refusal.code, refusal.cause)
            return Ruling(Verdict("refused", refusal.code))
        if opened.typ == POLICY:
            return self._documents.policy(opened, put.octets, commissioning=False)
        if opened.typ == PERMIT:
            return self._documents.permit(opened, put.octets)
        return self._docket.command(opened)
