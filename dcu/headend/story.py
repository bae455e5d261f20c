"""The story of one command in plain sentences, from the journal's entries about it. Pure.

    for sentence in story(entries, payload, who): ..

Nothing is told that the journal or the signed payload does not say.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from dcu.command import CommandRefused, State
from dcu.headend.chain import Entry
from dcu.headend.receipts import Receipt
from dcu.headend.refusals import cure, meaning
from dcu.headend.telling import told_command
from dcu.relay.canonical import Json
from dcu.relay.envelope import claims_of
from dcu.relay.receipts import UNPROVEN
from dcu.relay.schema import read_command

STATES: Final[Mapping[str, str]] = {
    State.ACCEPTED.value: "the box accepted it: its id and sequence number were used up",
    State.PENDING.value: "the box accepted it and let it wait: it could still be taken back",
    State.DISPATCHED.value: "every check was made again on what the meter said, and that it would be sent was put on "
    "the disk; from here on it is never sent a second time",
    State.REFUSED.value: "the box refused it",
    State.CANCELLED.value: "it was taken back before anything was sent",
    State.VOIDED.value: "it was overtaken before anything was sent",
    State.DONE.value: "it was carried out",
    State.DONE_BY_READBACK.value: "after a restart the meter was found as it had been asked to be",
    State.NOOP.value: "the meter was so already; nothing was sent",
    State.ARMED.value: "it was carried out; the meter waits for its button",
    State.FAILED.value: "it was sent, and the meter did not do it",
    State.FAILED_UNSENT.value: "the moment had passed; nothing was sent",
    State.IN_DOUBT.value: "it was sent, and nobody can say what the meter did: look at it",
    State.ABANDONED.value: "the box restarted before anything was sent, and did not take it up again",
    "waiting": "the box keeps it, and it takes effect when it has waited",
    "in-force": "it took effect",
    "given-out": "the box gave a lease out",
    "locked": "somebody at the pole locked it",
    "unlocked": "somebody at the pole unlocked it",
    "lapsed": "its time was over, and it lapsed",
}
"""What each state of the journal says."""

Who = Callable[[str], str]
"""The person behind a kid, in words."""


def story(entries: Sequence[Entry], payload: bytes, who: Who) -> Iterator[str]:
    """Sentences, in the order of what happened.

    Args:
        entries: of the journal, that name this document, ascending.
        payload: as signed; empty where it is not kept (it was refused before its id was used up).
        who: names people.
    """
    if not entries:
        return
    yield _asked(entries[0], payload, who)
    earlier: str | None = None
    for entry in entries:
        state = entry.text("state")
        if state == State.ACCEPTED.value and earlier == State.DISPATCHED.value:
            yield f"{_when(entry)} surely nothing had been sent, and it waited again{_because(entry)}{_entry(entry)}."
        else:
            yield f"{_when(entry)} {STATES.get(state, state)}{_because(entry)}{_entry(entry)}."
        yield from _seen(entry)
        earlier = state


def told_entry(entry: Entry) -> str:
    """One line of the journal."""
    told = entry.told
    about = " ".join(str(told.get(name, "")) for name in ("op", "meter") if told.get(name))
    name = f" {told['cmd_id']}" if told.get("cmd_id") else ""
    code = f" {told['code']}" if told.get("code") else ""
    reason = f": {told['reason']}" if told.get("reason") else ""
    return f"{entry.n:>7}  {_time(entry.at_s)}  {entry.kind} {about or '-'}{name}: {entry.text('state')}{code}{reason}"


def told_receipt(receipt: Receipt) -> str:
    """A receipt in one sentence."""
    words = " ".join(filter(None, (receipt.op, receipt.meter))) + f": {receipt.state}"
    words += f" {receipt.code} ({meaning(receipt.code)})" if receipt.code else ""
    reason = receipt.claims.get("reason")
    looks = _looks(receipt.claims)
    words += f", {reason}" if reason else ""
    words += f"; read back {looks}" if looks else ""
    words += f"; policy {receipt.claims['pol']}" if "pol" in receipt.claims else ""
    return words


def _asked(first: Entry, payload: bytes, who: Who) -> str:
    kids = first.told.get("kids")
    signed = [who(str(kid)) for kid in kids] if isinstance(kids, list) else []
    by = " and ".join(signed) or "nobody"
    iss = first.text("iss") or "somebody"
    try:
        asked = told_command(read_command(claims_of(payload)))
    except CommandRefused:
        asked = " ".join(filter(None, (first.text("op") or first.kind, first.text("meter"))))
    return f"{iss} asked to {asked}, signed by {by}."


def _because(entry: Entry) -> str:
    code, reason = entry.text("code"), entry.text("reason")
    words = f" with {code}: {meaning(code)}" if code else ""
    words += f" ({reason})" if reason else ""
    if code and cure(code):
        words += f"; look at: {cure(code)}"
    if entry.text("cause") == UNPROVEN:
        words += "; who brought that about is not proven"
    return words


def _seen(entry: Entry) -> Iterator[str]:
    looks = _looks(entry.told)
    if looks:
        yield f"The meter was read back: {looks}."
    pol = entry.told.get("pol")
    if pol is not None:
        yield f"Policy {pol} was in force then."


def _looks(told: Mapping[str, Any]) -> str:
    """Read-backs in words; each look that could not be made is told too."""
    looks = told.get("readback")
    if not isinstance(looks, list):
        return ""
    return ", then ".join(_look(look) for look in looks if isinstance(look, dict))


def _look(look: Mapping[str, Json]) -> str:
    return ", ".join(f"{name} {str(value).lower()}" for name, value in look.items()) or "could not be read"


def _when(entry: Entry) -> str:
    clock = entry.text("clock")
    doubt = "" if clock == "trusted" else f" (the clock was {clock})" if clock else ""
    return f"{_time(entry.at_s)}{doubt}:"


def _entry(entry: Entry) -> str:
    return f" [entry {entry.n}]"


def _time(seconds: int) -> str:
    try:
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S} UTC"
    except (ValueError, OverflowError, OSError):
        return f"{seconds} s"
