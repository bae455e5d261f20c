"""Receipts: what the box answers, signed by its own key, with the head of its journal in each.

    {"v":1, "typ":"receipt", "dcu", "jid", "iss", "cmd_id", "digest":"<b64url of SHA-256 of the payload>",
     "kind":"command"|"policy"|"permit"|"keys"|"lease"|"lock", "op", "meter", "state", "code"?, "reason"?, "at",
     "clock", "n", "chain":"<b64url>", "pol"?, "lease"?, "version"?, "who"?, "why"?, "until"?,
     "readback"?:[{"output":"connected","control":1} | {"text":true} | {}, ..], "cause"?}

`n` is the journal's number of the decision and `chain` the digest of the journal's head with it: who keeps receipts
can prove that the journal was not rewritten. Source: reference/command-authority.md 5 (audit), 8 (step 28).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from dcu.command import ControlState, OutputState, Refusal
from dcu.reading import ClockState
from dcu.relay.canonical import MAX_INTEGER, to_base64url
from dcu.relay.envelope import RECEIPT, Signer, seal

MOST_TEXT: Final = 200
"""Characters of a reason; what may be longer says itself how much it leaves out."""

LONGEST_VALUE: Final = 4096
"""Characters of the value of a `read`, as JSON spells them: a receipt tells it whole, or it is refused."""

UNPROVEN: Final = "unproven"
"""Cause of a state that matched after a crash: nobody saw who brought it about."""


@dataclass(frozen=True, slots=True)
class ReadBack:
    """One look at a meter after the ACTION or SET; what could not be read is None.

    Attributes:
        output: physical state of the relay.
        control: its logical state.
        text: for a message: whether the display's object holds it.
        holds: for whatever writes values: whether the meter holds all of them.
        said: what it showed, by name: watts, balance, ..; of a `read` its value.
    """

    output: OutputState | None = None
    control: ControlState | None = None
    text: bool | None = None
    holds: bool | None = None
    said: Mapping[str, int | str] = field(default_factory=dict)

    @property
    def claims(self) -> dict[str, Any]:
        """As a receipt tells it."""
        told: dict[str, Any] = {}
        if self.output is not None:
            told["output"] = self.output.value
        if self.control is not None:
            told["control"] = self.control.value
        if self.text is not None:
            told["text"] = self.text
        elif self.holds is not None:
            told["holds"] = self.holds
        most = {"value": LONGEST_VALUE}
        return {**told, **{name: _told(value, most.get(name, MOST_TEXT)) for name, value in self.said.items()}}


@dataclass(frozen=True, slots=True)
class Account:
    """What there is to tell of one decision.

    Attributes:
        kind: what it is about: a command, a policy, a permit, keys, a lease, a lock.
        iss, cmd_id, op, meter: as claimed; empty where the payload is not legible.
        digest: SHA-256 of the payload.
        kids: keys that signed; told to the journal only.
        state: where it stands now.
        code, reason: why it was refused, or in words why it ended so.
        pol: version of the policy that was in force.
        readback: looks at the meter.
        cause: UNPROVEN, or empty.
        more: of other kinds than a command: the lease; who locked, why and until when; what a policy changes.
    """

    kind: str
    iss: str
    cmd_id: str
    op: str
    meter: str
    digest: bytes
    kids: tuple[str, ...]
    state: str
    code: Refusal | None = None
    reason: str = ""
    pol: int | None = None
    readback: Sequence[ReadBack] = ()
    cause: str = ""
    more: Mapping[str, str | int] = field(default_factory=dict)

    @property
    def claims(self) -> dict[str, Any]:
        """As receipt and journal tell it."""
        told: dict[str, Any] = {
            "kind": self.kind,
            "iss": self.iss,
            "cmd_id": self.cmd_id,
            "op": self.op,
            "meter": self.meter,
            "digest": to_base64url(self.digest),
            "state": self.state,
        }
        if self.code is not None:
            told["code"] = self.code.value
        if self.reason:
            told["reason"] = _plain(self.reason)
        if self.pol is not None:
            told["pol"] = self.pol
        if self.readback:
            told["readback"] = [look.claims for look in self.readback]
        if self.cause:
            told["cause"] = self.cause
        return {**{name: _plain(v) if isinstance(v, str) else v for name, v in self.more.items()}, **told}


def seal_receipt(
    account: Account, signer: Signer, *, dcu: str, jid: str, at_s: int, clock: ClockState, n: int, chain: bytes
) -> bytes:
    """The signed receipt. `at_s` is the box's clock in UTC seconds; `n` and `chain` are the journal's head."""
    claims: Mapping[str, Any] = {
        **account.claims,
        "v": 1,
        "typ": "receipt",
        "dcu": dcu,
        "jid": jid,
        "at": at_s,
        "clock": clock.value,
        "n": n,
        "chain": to_base64url(chain),
    }
    return seal(claims, RECEIPT, [signer])


def _told(value: int | str, most: int) -> int | str:
    """A number that a receipt can carry, else its digits: what a meter says is not ours to bound."""
    if isinstance(value, int):
        return value if abs(value) <= MAX_INTEGER else _plain(str(value))
    return _plain(value, most)


def _plain(text: str, most: int = MOST_TEXT) -> str:
    """At most so many characters of printable ASCII."""
    return "".join(c if " " <= c <= "~" else "?" for c in text[:most])
