"""The law, against a machine that commands, crashes, wipes nothing and forgets everything:
at most one action a command, none without authority, and the journal never disagrees with the relay."""

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from dcu.command import OPEN, State
from dcu.errors import DcuError
from dcu.reading import ClockState
from dcu.relay.executor import Switching
from tests.relay.world import APPROVE, FAR_METER, METER, REQUEST, Killed, World, trust

METERS = st.sampled_from([METER, FAR_METER])
OPERATIONS = st.sampled_from(["disconnect", "connect", "message"])
SENT = {State.DONE, State.DONE_BY_READBACK, State.FAILED, State.IN_DOUBT, State.ARMED, State.DISPATCHED}
MUST_HAVE_SENT = {State.DONE, State.ARMED, State.FAILED}


class Box(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.world = World()
        self.documents = []
        self.authorised = {}  # key: (op, meter) of what was fully signed
        self.acted = []
        self.live = {METER: False, FAR_METER: False}
        self.version = 0
        self.revoked = False
        for wall in self.world.wall.values():
            wall.on_sending = self.sending
        self.world.start()
        self.policy(live=True, far=True)

    def teardown(self):
        for wall in self.world.wall.values():
            wall.silent = wall.lose_reply = wall.silent_after_act = False
        self.restart()
        for _ in range(3):
            self.world.clock.pass_s(6)
            self.world.settle()
            self.world.work()
        self.world.clock.pass_s(5 * 3600)
        self.world.settle()
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
        op, named = self.authorised[key[1]]
        assert named == meter and errand._command.op.value == op
        if op == "disconnect":
            assert self.live[meter] and not self.revoked, "cut without authority"
            assert self.world.wall[meter].connected
        self.acted.append(key)

    @invariant()
    def journal_agrees_with_the_relay(self):
        for key, command in self.world.store.rows.commands.items():
            if key in self.acted:
                assert command.state in SENT, command.state
            else:
                assert command.state not in MUST_HAVE_SENT, command.state

    # ---- documents ----

    def hand_in(self, document, work):
        try:
            self.world.put(document, work=work)
        except (Killed, DcuError):
            self.restart()
        if self.world.fallen is not None:
            self.restart()

    @rule(live=st.booleans(), far=st.booleans())
    def policy(self, live, far):
        self.version += 1
        claims = self.world.policy_claims()["areas"]
        for area, on in zip(claims.values(), (live, far), strict=True):
            area["prepaid_live"] = on
        self.hand_in(self.world.policy(self.version, areas=claims), True)
        if self.in_force() == self.version:
            self.live = {METER: live, FAR_METER: far}

    @rule(meter=METERS, work=st.booleans(), crash=st.sampled_from([None, None, "action", "before", "behind"]))
    def switch(self, meter, work, crash):
        """A fully signed command that would move the relay; perhaps with a kill -9 on its way."""
        op = "disconnect" if self.world.wall[meter].connected else "connect"
        if crash == "action":
            self.killed_in_the_action(meter)
        elif crash is not None:
            self.store_kills(2, crash == "behind")
        self.order(op, meter, [REQUEST, APPROVE], work)

    @rule(op=OPERATIONS, meter=METERS, work=st.booleans(), half=st.booleans())
    def command(self, op, meter, work, half):
        self.order(op, meter, [REQUEST] if op != "disconnect" or half else [REQUEST, APPROVE], work)

    def order(self, op, meter, signers, work):
        changes = {"pol": self.in_force()} if op == "disconnect" else {}
        claims = self.world.claims(op, meter, **changes)
        if len(signers) == 2 or op != "disconnect":
            self.authorised[claims["cmd_id"]] = (op, meter)
        document = self.world.signed(claims, *signers)
        self.documents.append(document)
        self.hand_in(document, work)

    def in_force(self):
        return self.world.store.rows.documents.get("policy", (0,))[0]

    @precondition(lambda self: self.documents)
    @rule(data=st.data(), work=st.booleans())
    def replay(self, data, work):
        self.hand_in(data.draw(st.sampled_from(self.documents)), work)

    # ---- the world ----

    @rule()
    def bus_works(self):
        try:
            self.world.work()
        except Killed:
            self.restart()
        if self.world.fallen is not None:
            self.restart()

    @rule()
    def restart(self):
        for wall in self.world.wall.values():
            wall.on_acted = lambda: None
        self.world.end()
        self.world.start(work=False)
        try:
            self.world.work()
        except Killed:  # pragma: no cover - the hooks were taken away above
            raise AssertionError("killed twice") from None

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

    @rule(revoked=st.booleans())
    def keys_change(self, revoked):
        self.revoked = revoked
        self.world.trust = trust(apr_1={"revoked": True}) if revoked else trust()
        self.world.desk.renew_trust(self.world.trust)
        self.world.settle()

    @rule(seconds=st.sampled_from([1, 61, 3600]), trusted=st.booleans())
    def time_passes(self, seconds, trusted):
        self.world.clock.pass_s(seconds)
        self.world.clock.trusted = ClockState.TRUSTED if trusted else ClockState.UNTRUSTED
        self.world.settle()
        if self.world.fallen is not None:
            self.restart()

    @rule(meter=METERS)
    def consumer_presses_the_button(self, meter):
        wall = self.world.wall[meter]
        if wall.control == 2:
            wall.connected, wall.control = True, 1


Box.TestCase.settings = settings(
    max_examples=100, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
TestBox = Box.TestCase
