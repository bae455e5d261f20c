"""The law, against machines that command, crash, restore, wipe and forget everything.

The law and what is known without asking the box are in `model`; orders and what restrains them in `restraining`, which
is a machine of its own too: beside everything else that can happen, what takes a cut back would come too seldom.
"""

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from dcu.reading import ClockState
from tests.relay.model import SENT, WAIT_S
from tests.relay.restraining import BOTH, METERS, WHY, Restraining
from tests.relay.world import FAR_METER, METER, POLICY_A, REQUEST, Rows

OPERATIONS = st.sampled_from(["disconnect", "connect", "message"])


class Box(Restraining):
    def __init__(self):
        super().__init__()
        self.image = None

    # ---- what is signed ----

    @rule(really=st.integers(0, 5))
    def policy_closes(self, really):
        """One signature restricts at once; nothing opens within this story, so it is rare."""
        if really:
            return
        version = self.in_force() + 1
        self.hand_in(self.world.policy(version, signers=(POLICY_A,), **self.law | {"hours": {}}))
        self.closed = self.closed or self.in_force() == version

    @rule(op=OPERATIONS, meter=METERS, why=WHY, work=st.booleans(), half=st.booleans())
    def command(self, op, meter, why, work, half):
        self.order(op, meter, [REQUEST] if half else BOTH, why, work)

    @precondition(lambda self: self.documents)
    @rule(data=st.data(), work=st.booleans())
    def replay(self, data, work):
        name, document = data.draw(st.sampled_from(self.documents))
        signed = self.signed[name]
        if signed.op == "connect":
            self.give_light(name, document, work)
            return
        if self.state(name) is None:
            signed.since_s = self.world.clock.mono_s  # it may be accepted only now
        self.hand_in(document, work, name)

    @precondition(lambda self: any(s.op == "disconnect" for s in self.signed.values()))
    @rule(data=st.data())
    def cancel(self, data):
        self.take_back_by_name(data.draw(st.sampled_from([n for n, s in self.signed.items() if s.op == "disconnect"])))

    # ---- the pole ----

    @rule(meter=METERS)
    def consumer_presses_the_button(self, meter):
        wall = self.world.wall[meter]
        if wall.control == 2:
            wall.connected, wall.control = True, 1

    @rule(meter=METERS, silent=st.booleans(), lose=st.booleans(), sticks=st.booleans(), after=st.booleans())
    def meter_misbehaves(self, meter, silent, lose, sticks, after):
        wall = self.world.wall[meter]
        wall.silent, wall.lose_reply, wall.sticks, wall.silent_after_act = silent, lose, sticks, after

    # ---- the box ----

    @rule()
    def bus_works(self):
        self.work()

    @rule()
    def meters_are_heard(self):
        """And have nothing against the box's clock."""
        self.world.heard = True
        self.work()

    @rule()
    def image_is_taken(self):
        """Somebody copies the card."""
        self.image = self.world.store.rows.copy(), dict(self.locks)

    @precondition(lambda self: self.image is not None)
    @rule()
    def image_is_restored(self):
        """The copy is put back: what happened since is forgotten by the box, not by the meters and not by the model."""
        self.world.end()
        rows, locks = self.image
        self.world.rows, self.locks = rows.copy(), dict(locks)
        self.locks_lapse()
        self.forget_restraints()
        self.come_up()

    @rule(meter=METERS, wipe=st.booleans())
    def card_is_turned_back_and_all_is_sent_again(self, meter, wipe):
        """A cut is signed and kept back; the card is copied, or wiped; then somebody hands the cut in."""
        self.image_is_taken()
        name, document = self.sign("disconnect", meter, BOTH)
        self.documents.append((name, document))
        self.card_is_wiped() if wipe else self.image_is_restored()
        self.signed[name].since_s = self.world.clock.mono_s
        self.hand_in(document, True, name)
        self.time_passes(WAIT_S + 1)

    @rule()
    def card_is_wiped(self):
        """Another journal: the box is commissioned anew."""
        self.world.end()
        self.world.rows, self.world.epoch = Rows(), f"j-wiped-{self.process}"
        self.image, self.locks = None, {}
        self.closed = False
        self.forget_restraints()
        self.come_up()
        self.hand_in(self.world.permit())

    def forget_restraints(self):
        """What the card forgot the box cannot know; the head-end sees it by the epoch and the chain."""
        self.frozen = {r.meter for r in self.world.rows.restraints.values() if r.kind == "freeze"}
        self.closed = self.closed and "policy-narrowed" in self.world.rows.documents
        kept = self.world.rows.commands
        self.acted = [key for key in self.acted if key in kept and kept[key].state in SENT]

    @rule(commits=st.integers(1, 4), behind=st.booleans())
    def store_kills(self, commits, behind):
        self.kill_in_the_store(commits, behind)

    @rule(meter=METERS)
    def killed_in_the_action(self, meter):
        self.kill_in_the_action(meter)

    @rule(revoked=st.sampled_from([True, False, False]))
    def keys_change(self, revoked):
        self.renew_keys(revoked=revoked)

    @rule(seconds=st.sampled_from([1, 61, 901]), trusted=st.sampled_from([*ClockState, ClockState.TRUSTED]))
    def time_and_trust(self, seconds, trusted):
        self.world.clock.trusted = trusted
        self.locks_lapse()
        self.time_passes(seconds)


plain = settings(deadline=None, suppress_health_check=list(HealthCheck))
Box.TestCase.settings = settings(plain, max_examples=30, stateful_step_count=40)
Restraining.TestCase.settings = settings(plain, max_examples=30, stateful_step_count=20)
TestBox, TestRestraining = Box.TestCase, Restraining.TestCase


def test_the_machine_does_cut_and_connect():
    """Not by refusing everything: within a plain story relays move."""
    box = Box()
    try:
        for meter in (METER, FAR_METER, METER):
            box.switch(meter, {}, mend=False, crash=None)
        assert [box.world.wall[m].acts for m in (METER, FAR_METER)] == [[1, 2], [1]]
    finally:
        box.teardown()
