"""The law, against a machine that commands, crashes, restores, wipes and forgets everything:
at most one action a command, none without authority, and the journal never disagrees with the relay.

The model below knows authority by itself: it remembers in its own words what was signed by whom, for which lease and
journal, what is frozen, locked, waiting or taken back, and asks none of it of the box.
"""

import copy
from dataclasses import dataclass, replace

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from dcu.command import OPEN, State
from dcu.errors import DcuError
from dcu.reading import ClockState
from dcu.relay.executor import Switching
from tests.relay.world import (
    APPROVE,
    CAPS,
    DAY,
    FAR_METER,
    METER,
    NOW,
    POLICY_A,
    RANCHI,
    REQUEST,
    Killed,
    Rows,
    commissioned,
    trust,
)

METERS = st.sampled_from([METER, FAR_METER])
OPERATIONS = st.sampled_from(["disconnect", "connect", "message"])
SENT = {State.DONE, State.DONE_BY_READBACK, State.FAILED, State.IN_DOUBT, State.ARMED, State.DISPATCHED}
MUST_HAVE_SENT = {State.DONE, State.ARMED, State.FAILED}
WAIT_S = 60
HOUR = 3600


@dataclass
class Signed:
    """What the model knows of a command that was handed in."""

    op: str
    meter: str
    full: bool  # signed by everybody who has to
    process: int  # that gave its lease out
    journal: str
    since_s: float | None = None  # monotonic, when it was accepted
    dead: bool = False  # taken back or overtaken


class Box(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        area = {"prepaid_live": True, "since": NOW - DAY, "profile": "arrears", "reconnect": "close", "grace_days": 0}
        self.areas = {RANCHI: area, "JH-DHN": area}
        caps = CAPS | {"wait_s": WAIT_S}
        self.world = commissioned(areas=self.areas, caps={"arrears": caps, "prepaid": caps})
        self.documents = []
        self.signed = {}
        self.acted = []
        self.process = 1
        self.version = 1
        self.closed = False  # by a narrowing
        self.revoked = False
        self.frozen = set()
        self.locked = set()
        self.image = None
        for wall in self.world.wall.values():
            wall.on_sending = self.sending

    def teardown(self):
        for wall in self.world.wall.values():
            wall.silent = wall.lose_reply = wall.silent_after_act = False
        self.restart()
        for _ in range(3):
            self.world.clock.pass_s(6)
            self.world.work()
        self.world.clock.pass_s(5 * HOUR)
        self.world.settle()
        commands = self.world.store.rows.commands
        try:
            assert not [c for c in commands.values() if c.state in OPEN]
            self.journal_agrees_with_the_relay()
            self.world.receipts()
        finally:
            self.world.end()

    # ---- the law ----

    def sending(self):
        """Called at the moment in which a request leaves the box."""
        errand = self.world.bus.current
        assert isinstance(errand, Switching)
        key, meter = errand._key, errand.meter.serial
        stored = self.world.store.rows.commands[key]
        assert stored.state is State.DISPATCHED, "sent before it was on disk"
        assert key not in self.acted, "sent twice"
        signed = self.signed[key[1]]
        assert signed.full and signed.meter == meter and errand._command.op.value == signed.op
        assert signed.journal == self.world.store.epoch, "signed for another journal"
        if signed.op != "message":
            assert not self.locked & {meter, ""}, "moved under a lock"
        if signed.op == "disconnect":
            self.cut(signed, meter)
        self.acted.append(key)

    def cut(self, signed, meter):
        world = self.world
        assert not self.revoked and not self.closed and world.clock.trusted.known, "cut without authority"
        assert not self.frozen & {meter, ""}, "cut in a freeze"
        assert not signed.dead, "cut though it was taken back or overtaken"
        assert signed.process == self.process, "cut by a lease of another process"
        assert world.clock.mono_s - signed.since_s >= WAIT_S, "cut without waiting"
        assert world.wall[meter].connected
        assert world.heard, "cut before the meters' clocks were heard"

    @invariant()
    def journal_agrees_with_the_relay(self):
        for key, command in self.world.store.rows.commands.items():
            if key in self.acted:
                assert command.state in SENT, command.state
            else:
                assert command.state not in MUST_HAVE_SENT or self.signed[key[1]].op in {"freeze", "unfreeze", "cancel"}

    # ---- documents ----

    def hand_in(self, document, work=True):
        """The verdict's status, or None where the box died over it."""
        status = None
        try:
            status = self.world.put(document, work=work).status
        except (Killed, DcuError):
            self.restart()
        if self.world.fallen is not None:
            self.restart()
        return status

    @rule(really=st.integers(0, 5))
    def policy_closes(self, really):
        """One signature restricts at once; nothing opens within this story, so it is rare."""
        if really:
            return
        version = self.in_force() + 1
        caps = CAPS | {"wait_s": WAIT_S}
        changes = {"areas": self.areas, "caps": {"arrears": caps, "prepaid": caps}, "hours": {}}
        document = self.world.policy(version, signers=(POLICY_A,), **changes)
        self.hand_in(document)
        self.closed = self.closed or self.in_force() == version

    @rule(op=OPERATIONS, meter=METERS, work=st.booleans(), half=st.booleans())
    def command(self, op, meter, work, half):
        self.order(op, meter, [REQUEST] if op != "disconnect" or half else [REQUEST, APPROVE], work)

    @rule(meter=METERS, crash=st.sampled_from([None, None, None, "action", "before", "behind"]))
    def switch(self, meter, crash):
        """A fully signed command that would move the relay, and its waiting; perhaps with a kill -9 on its way."""
        op = "disconnect" if self.world.wall[meter].connected else "connect"
        self.order(op, meter, [REQUEST, APPROVE], work=op == "disconnect")
        if crash == "action":
            self.killed_in_the_action(meter)
        elif crash is not None:
            self.store_kills(1, crash == "behind")
        self.time_passes(WAIT_S + 1)

    def order(self, op, meter, signers, work):
        claims = self.world.claims(op, meter, **({"pol": self.in_force()} if op == "disconnect" else {}))
        full = len(signers) == 2 or op != "disconnect"
        name = claims["cmd_id"]
        self.signed[name] = Signed(op, meter, full, self.process, self.world.store.epoch, self.world.clock.mono_s)
        document = self.world.signed(claims, *signers)
        self.documents.append((name, document))
        if op == "connect":
            self.overtake(meter, document, work)
        else:
            self.hand_in(document, work)

    def overtake(self, meter, document, work):
        """Only what is on disk overtakes, and only what was accepted before it."""
        waiting = [n for n, s in self.signed.items() if s.op == "disconnect" and (meter in {"", s.meter})]
        if self.hand_in(document, work) == "accepted":
            for name in waiting:
                self.signed[name].dead = True

    @precondition(lambda self: self.documents)
    @rule(data=st.data(), work=st.booleans())
    def replay(self, data, work):
        name, document = data.draw(st.sampled_from(self.documents))
        signed = self.signed[name]
        if self.world.store.rows.commands.get(("hes.ranchi", name)) is None and signed.op == "disconnect":
            self.signed[name] = replace(signed, since_s=self.world.clock.mono_s)  # it may be accepted only now
        self.hand_in(document, work)

    @rule(meter=st.sampled_from([METER, FAR_METER, ...]), two=st.booleans())
    def freeze_or_unfreeze(self, meter, two):
        op = "unfreeze" if two else "freeze"
        claims = self.world.claims(op, meter)
        serial = "" if meter is ... else meter
        self.signed[claims["cmd_id"]] = Signed(op, serial, True, self.process, self.world.store.epoch)
        document = self.world.signed(claims, *([REQUEST, APPROVE] if two else [REQUEST]))
        if op == "freeze":
            self.overtake(serial, document, True)
        else:
            self.hand_in(document)
        held = {r.meter for r in self.world.store.rows.restraints.values() if r.kind == "freeze"}
        if op == "freeze" and serial in held:
            self.frozen.add(serial)
        elif op == "unfreeze" and serial not in held:
            self.frozen.discard(serial)
        assert self.frozen <= held, "a freeze was lost"

    @precondition(lambda self: any(s.op == "disconnect" for s in self.signed.values()))
    @rule(data=st.data())
    def cancel(self, data):
        name = data.draw(st.sampled_from([n for n, s in self.signed.items() if s.op == "disconnect"]))
        claims = self.world.claims("cancel", self.signed[name].meter, cancels=name)
        self.signed[claims["cmd_id"]] = Signed("cancel", "", True, self.process, self.world.store.epoch)
        if self.hand_in(self.world.signed(claims, APPROVE)) == "accepted":
            self.signed[name].dead = True

    @rule(meter=st.sampled_from([METER, FAR_METER, ""]), on=st.sampled_from([True, False, False]))
    def lock(self, meter, on):
        try:
            self.world.desk.lock(meter, "ravi", "at work", 72 * HOUR if on else 0)
        except (Killed, DcuError):
            self.restart()
        held = {r.meter for r in self.world.store.rows.restraints.values() if r.kind == "lock"}
        assert on or self.locked - {meter} <= held
        self.locked = held
        if self.world.fallen is not None:
            self.restart()

    def in_force(self):
        documents = self.world.store.rows.documents
        return max(documents[name][0] for name in ("policy", "policy-narrowed") if name in documents)

    # ---- the world ----

    @rule()
    def bus_works(self):
        try:
            self.world.work()
        except Killed:
            self.restart()
        if self.world.fallen is not None:
            self.restart()

    @rule(heard=st.sampled_from([True, True, False]))
    def begin_again(self, heard):
        """A process begins; perhaps it has not compared its clock with its meters' yet."""
        self.restart(heard=heard)

    @rule()
    def meters_are_heard(self):
        """And have nothing against the box's clock."""
        self.world.heard = True
        self.bus_works()

    def restart(self, *, heard=True):
        for wall in self.world.wall.values():
            wall.on_acted = lambda: None
        self.world.end()
        self.process += 1
        self.world.heard = heard
        self.world.start(work=False)
        try:
            self.world.work()
        except Killed:  # pragma: no cover - the hooks were taken away above
            raise AssertionError("killed twice") from None

    @rule()
    def image_is_taken(self):
        """Somebody copies the card."""
        self.image = copy.deepcopy(self.world.store.rows)

    @precondition(lambda self: self.image is not None)
    @rule()
    def image_is_restored(self):
        """The copy is put back: what happened since is forgotten by the box, not by the meters and not by the model."""
        self.world.end()
        self.world.rows = copy.deepcopy(self.image)
        self.forget_restraints()
        self.come_up()

    @rule(meter=METERS, wipe=st.booleans())
    def card_is_turned_back_and_all_is_sent_again(self, meter, wipe):
        """A cut is signed and kept back; the card is copied, or wiped; then somebody hands the cut in."""
        self.image_is_taken()
        claims = self.world.claims("disconnect", meter, pol=self.in_force())
        name = claims["cmd_id"]
        self.signed[name] = Signed("disconnect", meter, True, self.process, self.world.store.epoch)
        document = self.world.signed(claims, REQUEST, APPROVE)
        self.documents.append((name, document))
        self.card_is_wiped() if wipe else self.image_is_restored()
        self.signed[name].since_s = self.world.clock.mono_s
        self.hand_in(document)
        self.time_passes(WAIT_S + 1)

    @rule()
    def card_is_wiped(self):
        """Another journal: the box is commissioned anew."""
        self.world.end()
        self.world.rows, self.world.epoch = Rows(), f"j-wiped-{self.process}"
        self.image = None
        self.closed = False
        self.forget_restraints()
        self.come_up()
        self.hand_in(self.world.permit())

    def forget_restraints(self):
        """What the card forgot the box cannot know; the head-end sees it by the epoch and the chain."""
        held = {(r.kind, r.meter) for r in self.world.rows.restraints.values()}
        self.frozen = {meter for kind, meter in held if kind == "freeze"}
        self.locked = {meter for kind, meter in held if kind == "lock"}
        documents = self.world.rows.documents
        self.closed = self.closed and "policy-narrowed" in documents
        kept = set(self.world.rows.commands)
        self.acted = [key for key in self.acted if key in kept and self.world.rows.commands[key].state in SENT]

    def come_up(self):
        for wall in self.world.wall.values():
            wall.on_acted = lambda: None
        self.process += 1
        self.world.start(work=False)
        self.world.work()

    @rule(commits=st.integers(1, 4), behind=st.booleans())
    def store_kills(self, commits, behind):
        """kill -9 in the n-th commit from now: before it is on disk, or when it is and nobody has heard of it."""
        left = [commits]

        def killing():
            left[0] -= 1
            if left[0] == 0:
                raise Killed

        setattr(self.world.store, "after" if behind else "fault", killing)

    @rule(meter=METERS)
    def killed_in_the_action(self, meter):
        """kill -9 when the meter has moved its relay and the answer is on the line."""

        def killing():
            raise Killed

        self.world.wall[meter].on_acted = killing

    @rule(meter=METERS, silent=st.booleans(), lose=st.booleans(), sticks=st.booleans(), after=st.booleans())
    def meter_misbehaves(self, meter, silent, lose, sticks, after):
        wall = self.world.wall[meter]
        wall.silent, wall.lose_reply, wall.sticks, wall.silent_after_act = silent, lose, sticks, after

    @rule(revoked=st.sampled_from([True, False, False]))
    def keys_change(self, revoked):
        self.revoked = revoked
        self.world.trust = trust(apr_1={"revoked": True}) if revoked else trust()
        self.world.renew(self.world.trust)
        if self.world.fallen is not None:
            self.restart()

    @rule(seconds=st.sampled_from([1, 61, 901]), trusted=st.sampled_from([*ClockState, ClockState.TRUSTED]))
    def time_and_trust(self, seconds, trusted):
        self.world.clock.trusted = trusted
        self.time_passes(seconds)

    def time_passes(self, seconds):
        self.world.clock.pass_s(seconds)
        self.world.clock.epoch_s = NOW + (self.world.clock.epoch_s - NOW) % (3 * HOUR)  # it stays noon
        self.bus_works()

    @rule(meter=METERS)
    def consumer_presses_the_button(self, meter):
        wall = self.world.wall[meter]
        if wall.control == 2:
            wall.connected, wall.control = True, 1


Box.TestCase.settings = settings(
    max_examples=100, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
TestBox = Box.TestCase


def test_the_machine_does_cut_and_connect():
    """Not by refusing everything: within a plain story relays move."""
    box = Box()
    try:
        box.switch(METER, None)
        box.switch(FAR_METER, None)
        box.switch(METER, None)
        assert [box.world.wall[m].acts for m in (METER, FAR_METER)] == [[1, 2], [1]]
    finally:
        box.teardown()
