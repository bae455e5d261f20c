"""The story, act by act. Each act returns the lines that it proved; nothing is told that was not seen."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from dcu.command import Operation, OutputState, Refusal, State, Why
from dcu.demo.head_end import HeadEnd
from dcu.demo.moment import kill_in_exchange, kill_in_transaction
from dcu.demo.proof import Completeness, captured, compare
from dcu.demo.screen import Line, Screen
from dcu.demo.stage import BAUD, CAPTURE_PERIOD_S, DCU, DHANBAD, ISSUER, METERS, RANCHI, Stage
from dcu.errors import DcuError
from dcu.headend.signing import command_claims, draft, policy_claims, sign
from dcu.record import Stream
from dcu.relay.canonical import to_base64url
from dcu.relay.envelope import payload_of, unsigned

FLOWING_ROWS: Final = 2
SECOND_KILL_S: Final = 7.0
OUTAGE_S: Final = 26.0
DRAIN_WITHIN_S: Final = 120.0
BLOCK_LOAD: Final = "1.0.99.1.0.255"
CUT_METER: Final = METERS[1].serial
DHANBAD_METER: Final = METERS[2].serial


@dataclass
class Story:
    """What the acts share."""

    stage: Stage
    screen: Screen
    refusals: Callable[[], dict[str, int]]
    head_end: HeadEnd = field(init=False)
    lines: list[Line] = field(default_factory=list)
    completeness: Completeness | None = None
    codes: dict[str, str] = field(default_factory=dict)
    _seq: int = 0
    _outage_from_s: int = 0
    _killed_at: tuple[float, ...] = ()

    def prove(self, claim: str, shown: str, *, held: bool) -> None:
        """One line of the final table."""
        self.lines.append(Line(claim, shown, held))
        self.screen.did(f"{claim}: {shown}", held=held)

    def tick(self) -> None:
        """Figures at the foot of the screen."""
        rows = sum(len(record["rows"]) for record in self._loads())
        records, receipts = self.head_end.listener.count(), len(self.head_end.receipts)
        self.screen.counters(f"{records} records, {rows} intervals, {receipts} receipts arrived")

    def _loads(self) -> list[Mapping[str, Any]]:
        return [r for r in self.head_end.records(Stream.PROFILE) if r["profile"] == BLOCK_LOAD]

    # ---- acts -------------------------------------------------------------------------------------------------------

    def commissioning(self) -> None:
        """Processes start, the policy is signed by two people, and each meter is identified by its own serial."""
        self.screen.chapter(f"1  Commissioning: {len(METERS)} meters in two areas on one line of {BAUD} baud")
        self.screen.doing("making keys and certificates")
        self.stage.set_up()
        self.stage.start_meters()
        self.stage.broker.start()
        self.head_end = HeadEnd(self.stage)
        self.head_end.start()
        self.stage.start_box()
        self.screen.doing("the box starts and shows its certificate to the broker")
        state = self.head_end.wait("presence", lambda: self.head_end.state(DCU).get("online"), 60)
        self.screen.did(f"{DCU} is online over mutual TLS, journal {self.jid}", held=bool(state))
        policy = self._policy()
        self.head_end.send(DCU, policy)
        receipt = self.head_end.receipt(policy, end=False)
        self.prove(
            "policy signed by two is in force",
            f"{receipt.state}: Ranchi live, Dhanbad not",
            held=receipt.state == State.ACCEPTED.value,
        )

    def readings(self) -> None:
        """Intervals flow from every meter."""
        self.screen.chapter("2  Readings flow: block load every 10 s, as the meters capture it")
        self.screen.doing("first visits: serial, capture objects, scalers, then the rows")
        self._wait("readings of all meters", lambda: all(self._rows_of(m.serial) >= FLOWING_ROWS for m in METERS), 60)
        self.screen.did(f"all {len(METERS)} meters answered with the serial of the configuration, and deliver")

    def outage(self) -> None:
        """The broker is away; the field process is killed twice at bad moments; nothing is lost."""
        self.screen.chapter("3  The network goes, and the box is killed twice")
        self.stage.broker.stop()
        self.screen.did("broker stopped: the box meters on")
        began_s, self._outage_from_s = time.monotonic(), int(time.time())
        self.screen.doing("waiting for a request on the line, to kill the field process before its answer")
        pid = self.stage.wait_for_field()
        hit, words = kill_in_exchange(self.stage.field_pid, self.stage.trace, 15)
        self._killed_at = (time.time(),)
        self.prove("kill -9 in the middle of an exchange", words, held=hit)
        pid = self.stage.wait_for_field(other_than=pid)
        self._until(began_s + SECOND_KILL_S, "the box is up again by itself and reads on")
        self.screen.doing("waiting for a transaction, to kill the field process inside it")
        hit, words = kill_in_transaction(self.stage.field_pid, self.stage.wal, 8)
        self._killed_at = (*self._killed_at, time.time())
        self.prove("kill -9 in the middle of a transaction", words, held=hit)
        self.stage.wait_for_field(other_than=pid)
        self._until(began_s + OUTAGE_S, "the box is up again by itself; the meters capture on")

    def drain(self) -> None:
        """The broker returns; the backlog and what the kills left out arrive; the count is right."""
        self.screen.chapter("4  The network returns: backlog, backfill, proof")
        self.stage.broker.start()
        until_s = int(time.time())
        self.screen.doing("the backlog drains, and the meters are asked again for what the kills left out")

        def complete() -> bool:
            self.completeness = self._compare(until_s)
            return not self.completeness.missing and self._rows_of(CUT_METER) > FLOWING_ROWS

        try:
            self._wait("completeness", complete, DRAIN_WITHIN_S)
        except DcuError:
            self.screen.did("not everything arrived in time", held=False)
        proof = self.completeness = self._compare(until_s)
        count = f"{proof.delivered} of {proof.expected}, by meters' ledgers"
        self.prove("no interval is missing", count, held=proof.expected > 0 and not proof.missing)
        self.prove("what the kills left out was refilled", f"{proof.late} intervals read late", held=proof.late > 0)
        self.prove(
            "values are those captured",
            f"{len(proof.different)} different, {len(proof.invented)} invented",
            held=proof.delivered > 0 and not proof.different and not proof.invented,
        )
        repeated = f"{proof.repeated_records} records known by id"
        self.prove(
            "no interval counts twice",
            f"{len(proof.twice)} twice, {repeated}",
            held=proof.delivered > 0 and not proof.twice,
        )
        holes = self.head_end.listener.holes()
        records = self.head_end.listener.count()
        self.prove(
            "record ids have no hole", f"{len(holes)} holes in {records} records", held=records > 0 and not holes
        )

    def refused(self) -> None:
        """Six documents that must not be obeyed."""
        self.screen.chapter("5  Commands that must not be obeyed")
        cut = self._disconnect(CUT_METER, RANCHI)
        asha, binod = self.stage.signers["asha-request"], self.stage.signers["binod-approve"]
        self._refuse("unsigned disconnect", draft(cut), Refusal.E_SHAPE, receipt=False)
        self._refuse("forged disconnect", self._forged(cut), Refusal.E_SIG, receipt=False)
        stranger = dict(cut, dcu="JH-DEMO-0002", cmd_id=f"{cut['cmd_id'][:-1]}A")
        self._refuse("disconnect for another box", self._signed(stranger), Refusal.E_TARGET)
        late = dict(cut, iat=int(time.time()) - 900, exp=int(time.time()) - 60, cmd_id=f"{cut['cmd_id'][:-1]}B")
        self._refuse("expired disconnect", self._signed(late), Refusal.E_EXPIRED)
        alone = sign(draft(dict(cut, cmd_id=f"{cut['cmd_id'][:-1]}C")), asha)
        self._refuse("disconnect signed by one person", alone, Refusal.E_QUORUM)
        self._refuse(
            "credit disconnect in Dhanbad", self._signed(self._disconnect(DHANBAD_METER, DHANBAD)), Refusal.E_NOT_LIVE
        )
        message = self._claims(
            Operation.MESSAGE, DHANBAD_METER, area=DHANBAD, why=Why.CREDIT, text="Your balance is low. Recharge today."
        )
        self._refuse("credit message to Dhanbad", sign(draft(message), binod), Refusal.E_NOT_LIVE)
        touched = {m.serial: self.stage.actuations(m.serial) for m in METERS}
        count = sum(len(methods) for methods in touched.values())
        self.prove("none of these moved a relay", f"{count} actuations in the ledgers", held=not count)

    def obeyed(self) -> None:
        """A disconnect in Ranchi, its replay, and the reconnect."""
        self.screen.chapter("6  A command that is obeyed, once")
        cut = self._signed(self._disconnect(CUT_METER, RANCHI))
        self.screen.doing("the meter is identified, its relay and payment mode read, the checks run again")
        self.head_end.send(DCU, cut)
        receipt = self.head_end.receipt(cut)
        looks = [look.get("output") for look in receipt.claims.get("readback", [])] or ["nothing"]
        done = receipt.state == State.DONE.value and looks == [OutputState.DISCONNECTED.value] * 2
        self.prove("signed disconnect in Ranchi", f"{receipt.state}, {looks[-1]} read {len(looks)}x", held=done)
        before = self.head_end.receipts_of(cut)
        self.head_end.send(DCU, cut)
        self._wait("the old receipt", lambda: self.head_end.receipts_of(cut) > before, 60)
        again = self.head_end.receipt(cut)
        moved = self.stage.actuations(CUT_METER)
        self.prove(
            "the same command replayed",
            f"old receipt, {len(moved)} actuation in all",
            held=again.claims == receipt.claims and moved == [1],
        )
        join = self._claims(Operation.CONNECT, CUT_METER, seq=self._next_seq())
        light = sign(draft(join), self.stage.signers["binod-approve"])
        self.screen.doing("one signature is enough to give light")
        self.head_end.send(DCU, light)
        receipt = self.head_end.receipt(light)
        moved = self.stage.actuations(CUT_METER)
        others = sum(len(self.stage.actuations(m.serial)) for m in METERS if m.serial != CUT_METER)
        self.prove(
            "signed reconnect",
            f"{receipt.state}, actuations {moved}, of the others {others}",
            held=receipt.state == State.DONE.value and moved == [1, 2] and not others,
        )
        self.prove(
            "every receipt verifies",
            f"{len(self.head_end.receipts)} verified, {self.head_end.unverified} not",
            held=bool(self.head_end.receipts) and not self.head_end.unverified,
        )
        if self.head_end.knows_the_contract:
            wrong = self.head_end.listener.malformed
            shown = f"{self.head_end.messages} messages against docs/schemas, {wrong} wrong"
            if wrong:
                shown += f": {self.head_end.listener.complaints[-1][:300]}"
            self.prove("every message is as published", shown, held=not wrong)

    def _until(self, moment_s: float, what: str) -> None:
        """Let the story run until a monotonic moment."""
        self.screen.doing(what)
        while time.monotonic() < moment_s:
            time.sleep(0.1)
            self.tick()

    # ---- parts ------------------------------------------------------------------------------------------------------

    @property
    def jid(self) -> str:
        """The journal that commands are signed for: the store's epoch, as the box tells it."""
        return str(self.head_end.state(DCU).get("epoch", ""))

    def _wait(self, what: str, there: Callable[[], object], within_s: float) -> None:
        def look() -> object:
            self.tick()
            return there()

        self.head_end.wait(what, look, within_s)

    def _rows_of(self, serial: str) -> int:
        return sum(len(r["rows"]) for r in self._loads() if r["meter"] == serial)

    def _compare(self, until_s: int) -> Completeness:
        truth = captured(((m.serial, self.stage.ledger(m.serial)) for m in METERS), until_s)
        rings = {profile for _, profile, _ in truth} | {BLOCK_LOAD}
        records = [r for r in self.head_end.records(Stream.PROFILE) if r["profile"] in rings]
        repeated = self.head_end.listener.repeated
        since_s, kills = self._outage_from_s, self._killed_at
        return compare(truth, records, until_s, repeated, CAPTURE_PERIOD_S, late_from_s=since_s, killed_at=kills)

    def _policy(self) -> bytes:
        now_s = int(time.time())
        areas = {RANCHI: {"prepaid_live": True, "since": now_s - 86_400}, DHANBAD: {"prepaid_live": False, "since": 0}}
        meters = {m.serial: m.area for m in METERS}
        claims = policy_claims(
            iss=ISSUER, dcu=DCU, version=1, areas=areas, meters=meters, iat=now_s, nbf=now_s, exp=now_s + 86_400
        )
        return sign(sign(draft(claims), self.stage.signers["chitra-policy"]), self.stage.signers["devi-policy"])

    def _claims(self, op: Operation, meter: str, **members: Any) -> dict[str, Any]:
        now_s = int(time.time())
        return command_claims(
            op=op, iss=ISSUER, dcu=DCU, jid=self.jid, meter=meter, iat=now_s, exp=now_s + 600, **members
        )

    def _disconnect(self, meter: str, area: str) -> dict[str, Any]:
        return self._claims(
            Operation.DISCONNECT,
            meter,
            seq=self._next_seq(),
            why=Why.CREDIT,
            area=area,
            pol=1,
            expect=OutputState.CONNECTED,
        )

    def _next_seq(self) -> int:
        self._seq += 1
        return self._seq

    def _signed(self, claims: dict[str, Any]) -> bytes:
        once = sign(draft(claims), self.stage.signers["asha-request"])
        return sign(once, self.stage.signers["binod-approve"])

    def _forged(self, claims: dict[str, Any]) -> bytes:
        """Genuine signatures under another meter's command: the payload was changed after signing."""
        genuine = self._signed(claims)
        other = dict(claims, meter=METERS[0].serial)
        mine, theirs = payload_of(genuine), payload_of(unsigned(other))
        return genuine.replace(_b64(mine), _b64(theirs))

    def _refuse(self, what: str, document: bytes, code: Refusal, *, receipt: bool = True) -> None:
        """Send what must be refused; by a signed receipt, or (before anyone is known) by the box's own count."""
        before = self.refusals().get(code.value, 0)
        self.head_end.send(DCU, document)
        if receipt:
            found = self.head_end.receipt(document)
            seen, shown = found.code or found.state, "signed receipt"
        else:
            self._wait("the count", lambda: self.refusals().get(code.value, 0) > before, 60)
            seen, shown = code.value, "counted"
        self.codes[what] = seen
        self.prove(what, f"refused {seen}, {shown}", held=seen == code.value)


def _b64(octets: bytes) -> bytes:
    return to_base64url(octets).encode("ascii")
