"""What decides, keeps and tells, without the thread that does it, and without a bus: each step is called by itself."""

import json
from dataclasses import replace

from dcu.command import ControlState, OutputState, RelaySequence
from dcu.relay.book import Book
from dcu.relay.case import Evidence
from dcu.relay.docket import Docket
from dcu.relay.documents import Documents
from dcu.relay.envelope import COMMAND, PERMIT, POLICY, open_envelope
from dcu.relay.leases import Leases
from dcu.relay.letters import Key
from dcu.relay.life import Life
from dcu.relay.locks import Locks
from dcu.relay.ruling import Ruling
from dcu.relay.trust import Commissioning
from tests.relay.world import (
    APPROVE,
    BILLING,
    BOX,
    DAY,
    DCU,
    DHANBAD,
    FAR_METER,
    ISS,
    METER,
    NOW,
    PERMIT_ID,
    RANCHI,
    REQUEST,
    MemoryStore,
    World,
    trust,
)

# Members of a command, or what is changed of it.
PAID = {"op": "balance", "signers": [BILLING], "recharge": 500, "recharged_at": NOW, "balance": 900}
SAFETY = {"why": "safety", "case": ..., "notice": ...}
CUT = {"pol": 1, "lease": "L-1", "permit": PERMIT_ID, "signers": [REQUEST, APPROVE]}

AREA = {"prepaid_live": True, "since": NOW - DAY, "profile": "prepaid", "reconnect": "close", "grace_days": 0}
"""An area of a policy in which what is prepaid may be cut."""


class Room(World):
    """A box of two meters whose policy, permit and lease are there; nothing runs."""

    def __init__(self, roster=None, **policy):
        super().__init__()
        self.store = MemoryStore(self.rows)
        self.book = Book(
            dcu=DCU,
            store=self.store,
            clock=self.clock,
            commissioning=Commissioning(trust()),
            meters={serial: self.meters[serial] for serial in (METER, FAR_METER)},
            signer=BOX,
            zone=self.zone,
            set_aside=self.aside.__contains__,
            meters_heard=lambda: self.heard,
            roster=roster,
        )
        self.leases_of_its_own = self.book.leases
        self.book.leases = Leases(lambda: "L-1")
        self.docket, self.life, self.locks = Docket(self.book), Life(self.book), Locks(self.book)
        documents, policy, permit = Documents(self.book), self.policy(**policy), self.permit()
        documents.policy(self.opened(policy), policy, commissioning=True)
        documents.permit(self.opened(permit), permit)
        documents.lease()

    def policy_claims(self, version=1, **changes):
        return super().policy_claims(version, **{"meters": {METER: RANCHI, FAR_METER: DHANBAD}} | changes)

    def opened(self, envelope):
        return open_envelope(envelope, self.book.trust.keys, None, {COMMAND, POLICY, PERMIT})

    def hand_in(self, document) -> Ruling:
        """What is decided about a command."""
        return self.docket.command(self.opened(document))

    def decide(self, op="disconnect", meter=METER, **changes) -> Ruling:
        """The same, of a new one."""
        return self.hand_in(self.command(op, meter, **changes))

    def accept(self, op="disconnect", meter=METER, **changes) -> Key:
        """A command is accepted; its key."""
        ruling = self.decide(op, meter, **changes)
        assert ruling.verdict.status == "accepted", ruling
        return ISS, changes.get("cmd_id", f"c-{self.seq}")

    def give(self, permit):
        """A permit is taken."""
        assert Documents(self.book).permit(self.opened(permit), permit).verdict.status == "accepted"

    def sequence(self, meter=METER) -> RelaySequence:
        """Numbers of that meter's relay."""
        return self.store.rows.sequences.get(meter, RelaySequence())

    def lock(self, meter=METER):
        """Somebody at the pole locks it."""
        self.locks.lock(meter, "sunil", "at the terminals", 3600)

    def kept(self, key: Key):
        return self.store.rows.commands[key]

    def journalled(self):
        """What was journalled last."""
        return json.loads(self.store.rows.journal[-1][2])

    def keep(self, key: Key, **changes):
        """It stands otherwise on disk."""
        self.store.rows.commands[key] = replace(self.kept(key), **changes)


def evidence(**changes):
    """What a meter whose relay is closed says."""
    usual = {"output": OutputState.CONNECTED, "control": ControlState.CONNECTED, "control_mode": 4, "payment_mode": 1}
    return Evidence(**{"serial": METER} | usual | changes)
