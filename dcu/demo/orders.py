"""The acts about commands: what must not be obeyed, what is obeyed once, what is taken back, and a lock at the pole."""

import time
from typing import TYPE_CHECKING, Any, Final

from dcu.command import Operation, OutputState, Refusal, State, Why
from dcu.demo.stage import DCU, DHANBAD, METERS, RANCHI
from dcu.headend.signing import draft
from dcu.relay.canonical import to_base64url
from dcu.relay.envelope import payload_of, unsigned

if TYPE_CHECKING:
    from dcu.demo.story import Story

CUT_METER: Final = METERS[1].serial
DHANBAD_METER: Final = METERS[2].serial
ARREARS_METER: Final = METERS[3].serial
AUTOMATIC: Final = ("billing", "witness")
PEOPLE: Final = ("asha-request", "binod-approve")
LOW: Final = "Your balance is low. Recharge today."


class Orders:
    """Sends documents and proves what became of them."""

    def __init__(self, story: "Story") -> None:
        self._story = story
        self._seq = 0

    def refused(self) -> None:
        """Documents that must not be obeyed."""
        story = self._story
        story.screen.chapter("5  Commands that must not be obeyed")
        cut = self._disconnect(CUT_METER, RANCHI, Why.CREDIT)
        name = cut["cmd_id"][:-1]
        self._refuse("unsigned disconnect", draft(cut), Refusal.E_SHAPE, receipt=False)
        self._refuse("forged disconnect", self._forged(cut), Refusal.E_SIG, receipt=False)
        stranger = dict(cut, dcu="JH-DEMO-0002", cmd_id=f"{name}A")
        self._refuse("disconnect for another box", self._signed(stranger, *AUTOMATIC), Refusal.E_TARGET)
        late = dict(cut, iat=int(time.time()) - 900, exp=int(time.time()) - 60, cmd_id=f"{name}B")
        self._refuse("expired disconnect", self._signed(late, *AUTOMATIC), Refusal.E_EXPIRED)
        alone = dict(cut, cmd_id=f"{name}C")
        self._refuse("disconnect signed by billing alone", self._signed(alone, "billing"), Refusal.E_QUORUM)
        old = dict(cut, lease="L-of-another-day", cmd_id=f"{name}D")
        self._refuse("disconnect for another lease", self._signed(old, *AUTOMATIC), Refusal.E_LEASE)
        dhanbad = self._disconnect(DHANBAD_METER, DHANBAD, Why.CREDIT)
        self._refuse("credit disconnect in Dhanbad", self._signed(dhanbad, *PEOPLE), Refusal.E_NOT_LIVE)
        message = self._claims(Operation.MESSAGE, DHANBAD_METER, area=DHANBAD, why=Why.CREDIT, text=LOW)
        self._refuse("credit message to Dhanbad", self._signed(message, "billing"), Refusal.E_NOT_LIVE)
        count = sum(len(story.stage.actuations(m.serial)) for m in METERS)
        story.prove("none of these moved a relay", f"{count} actuations in the ledgers", held=not count)

    def obeyed(self) -> None:
        """Both profiles of authority: for lack of credit in Ranchi, for arrears in Dhanbad; a replay; light again."""
        story = self._story
        story.screen.chapter("6  Commands that are obeyed, once")
        message = self._claims(Operation.MESSAGE, CUT_METER, area=RANCHI, why=Why.CREDIT, text=LOW)
        shown = self._end(self._signed(message, "billing"), "the display is written and read back")
        story.prove("credit message to Ranchi", f"{shown.state}, displayed", held=shown.state == State.DONE.value)
        cut = self._signed(self._disconnect(CUT_METER, RANCHI, Why.CREDIT), *AUTOMATIC)
        self._cut("prepaid disconnect in Ranchi", cut)
        self._replay(cut)
        arrears = self._signed(self._disconnect(ARREARS_METER, DHANBAD, Why.ARREARS), *PEOPLE)
        self._cut("arrears disconnect in Dhanbad", arrears)
        for meter in (CUT_METER, ARREARS_METER):
            join = self._claims(Operation.CONNECT, meter, seq=self._next_seq())
            light = self._end(self._signed(join, "binod-approve"), "one signature is enough to give light")
            moved = story.stage.actuations(meter)
            held = light.state == State.DONE.value and moved == [1, 2]
            story.prove(f"signed reconnect of {meter}", f"{light.state}, actuations {moved}", held=held)

    def restrained(self) -> None:
        """A cut that is taken back while it waits, and a lock at the pole."""
        story = self._story
        story.screen.chapter("7  Taken back, and locked")
        claims = self._disconnect(ARREARS_METER, DHANBAD, Why.ARREARS)
        waiting = self._signed(claims, *PEOPLE)
        story.head_end.send(DCU, waiting)
        story.head_end.receipt(waiting, end=False)
        back = self._claims(Operation.CANCEL, ARREARS_METER, cancels=claims["cmd_id"])
        story.head_end.send(DCU, self._signed(back, "asha-request"))
        ended = story.head_end.receipt(waiting)
        moved = story.stage.actuations(ARREARS_METER)
        held = ended.state == State.CANCELLED.value and moved == [1, 2]
        story.prove("a disconnect that waits is taken back", f"{ended.state} by one signature", held=held)
        story.lock({"ask": "lock", "meter": CUT_METER, "who": "ravi", "why": "at work on the line", "hours": 1})
        join = self._signed(self._claims(Operation.CONNECT, CUT_METER, seq=self._next_seq()), "binod-approve")
        self._refuse("connect of a meter locked at the pole", join, Refusal.E_LOCKED)
        story.lock({"ask": "unlock", "meter": CUT_METER, "who": "ravi"})

    # ---- parts ------------------------------------------------------------------------------------------------------

    def _cut(self, what: str, document: bytes) -> None:
        receipt = self._end(document, "it waits, the meter is identified and read, the checks run again")
        looks = [look.get("output") for look in receipt.claims.get("readback", [])] or ["nothing"]
        done = receipt.state == State.DONE.value and looks == [OutputState.DISCONNECTED.value] * 2
        self._story.prove(what, f"{receipt.state}, {looks[-1]} read {len(looks)}x", held=done)

    def _replay(self, cut: bytes) -> None:
        story = self._story
        receipt = story.head_end.receipt(cut)
        before = story.head_end.receipts_of(cut)
        story.head_end.send(DCU, cut)
        story.wait("the old receipt", lambda: story.head_end.receipts_of(cut) > before, 60)
        again = story.head_end.receipt(cut)
        moved = story.stage.actuations(CUT_METER)
        story.prove(
            "the same command replayed",
            f"old receipt, {len(moved)} actuation in all",
            held=again.claims == receipt.claims and moved == [1],
        )

    def _end(self, document: bytes, doing: str) -> Any:
        self._story.screen.doing(doing)
        self._story.head_end.send(DCU, document)
        return self._story.head_end.receipt(document, 60)

    def _claims(self, op: Operation, meter: str, **members: Any) -> dict[str, Any]:
        return self._story.stage.papers.claims(op, self._story.jid, meter=meter, **members)

    def _disconnect(self, meter: str, area: str, why: Why) -> dict[str, Any]:
        evidence = self._story.stage.papers.evidence(why if area == RANCHI else Why.ARREARS)
        return self._claims(
            Operation.DISCONNECT,
            meter,
            seq=self._next_seq(),
            why=why,
            area=area,
            pol=1,
            lease=self._story.head_end.lease(),
            expect=OutputState.CONNECTED,
            **evidence,
        )

    def _next_seq(self) -> int:
        self._seq += 1
        return self._seq

    def _signed(self, claims: dict[str, Any], *kids: str) -> bytes:
        return self._story.stage.papers.signed(claims, *kids)

    def _forged(self, claims: dict[str, Any]) -> bytes:
        """Genuine signatures under another meter's command: the payload was changed after signing."""
        genuine = self._signed(claims, *AUTOMATIC)
        other = dict(claims, meter=METERS[0].serial)
        mine, theirs = payload_of(genuine), payload_of(unsigned(other))
        return genuine.replace(_b64(mine), _b64(theirs))

    def _refuse(self, what: str, document: bytes, code: Refusal, *, receipt: bool = True) -> None:
        """Send what must be refused; by a signed receipt, or (before anyone is known) by the box's own count."""
        story = self._story
        before = story.refusals().get(code.value, 0)
        story.head_end.send(DCU, document)
        if receipt:
            found = story.head_end.receipt(document)
            seen, shown = found.code or found.state, "signed receipt"
        else:
            story.wait("the count", lambda: story.refusals().get(code.value, 0) > before, 30)
            seen, shown = code.value, "counted"
        story.codes[what] = seen
        story.prove(what, f"refused {seen}, {shown}", held=seen == code.value)


def _b64(octets: bytes) -> bytes:
    return to_base64url(octets).encode("ascii")
