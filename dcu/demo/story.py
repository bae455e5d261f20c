"""The story, act by act. Each act returns the lines that it proved; nothing is told that was not seen."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from dcu.command import State
from dcu.demo.head_end import HeadEnd
from dcu.demo.moment import kill_in_exchange, kill_in_transaction
from dcu.demo.orders import CUT_METER
from dcu.demo.proof import Completeness, captured, compare
from dcu.demo.screen import Line, Screen
from dcu.demo.stage import BAUD, CAPTURE_PERIOD_S, DCU, METERS, Stage
from dcu.errors import DcuError
from dcu.record import Stream

FLOWING_ROWS: Final = 2
EXCHANGE_WITHIN_S: Final = 25.0
BETWEEN_KILLS_S: Final = 5.0
OUTAGE_S: Final = 26.0
DRAIN_WITHIN_S: Final = 120.0
BLOCK_LOAD: Final = "1.0.99.1.0.255"


@dataclass
class Story:
    """What the acts share."""

    stage: Stage
    screen: Screen
    refusals: Callable[[], dict[str, int]]
    lock: Callable[[dict[str, Any]], Any]
    head_end: HeadEnd = field(init=False)
    lines: list[Line] = field(default_factory=list)
    completeness: Completeness | None = None
    codes: dict[str, str] = field(default_factory=dict)
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
        policy = self.stage.papers.policy
        receipt = self.head_end.receipt(policy, 60, end=False)
        self.prove(
            "policy signed by two is in force",
            f"{receipt.state}: Ranchi live, Dhanbad not",
            held=receipt.state == State.ACCEPTED.value,
        )
        self._wait("a lease", self.head_end.lease, 60)
        for permit in self.stage.papers.permits(self.jid):
            self.head_end.send(DCU, permit)
            receipt = self.head_end.receipt(permit, 60, end=False)
            self.screen.did(f"permit {receipt.cmd_id}: {receipt.state}", held=receipt.state == State.ACCEPTED.value)

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
        self.screen.doing("waiting for the request after a capture, to kill the field process before its answer")
        pid = self.stage.wait_for_field()
        ledger = self.stage.ledger_file(METERS[-1].serial)
        hit, words = kill_in_exchange(self.stage.field_pid, self.stage.trace, ledger, EXCHANGE_WITHIN_S)
        killed_s, self._killed_at = time.monotonic(), (time.time(),)
        self.prove("kill -9 in the middle of an exchange", words, held=hit)
        pid = self.stage.wait_for_field(other_than=pid)
        self._until(killed_s + BETWEEN_KILLS_S, "the box is up again by itself and reads on")
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

    def verified(self) -> None:
        """All that arrived was signed by the box, and spelled as published."""
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

    def wait(self, what: str, there: Callable[[], object], within_s: float) -> None:
        """Until `there` is true. Raises OperatorFault: not in time."""
        self._wait(what, there, within_s)
