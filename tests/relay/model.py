"""What a model knows of a box's relays by itself, and the law that it holds the box to: at most one action a command,
none without authority, and a journal that never disagrees with the relays.

It remembers in its own words what was signed by whom, for which lease and journal, what is frozen, locked, set aside,
ordered for safety or taken back. Of the box it believes what its journal and its receipts tell the head-end.
"""

import json
from dataclasses import dataclass, replace

from hypothesis.stateful import RuleBasedStateMachine, invariant

from dcu.command import OPEN, Refusal, State
from dcu.errors import DcuError
from dcu.relay.executor import Switching
from tests.relay.world import CAPS, DAY, ISS, NOW, RANCHI, Killed, commissioned, trust

SENT = {State.DONE, State.DONE_BY_READBACK, State.FAILED, State.IN_DOUBT, State.ARMED, State.DISPATCHED}
MUST_HAVE_SENT = {State.DONE, State.ARMED, State.FAILED}
TAKEN_BACK = {State.CANCELLED, State.VOIDED}
AT_ONCE = {"freeze", "unfreeze", "cancel"}
WAIT_S = 60
HOUR = 3600


@dataclass
class Signed:
    """What the model knows of a command that was signed."""

    op: str
    meter: str
    n: int  # of all that were signed
    full: bool  # signed by everybody who has to
    two: bool  # by two people
    process: int  # that gave its lease out
    journal: str
    safety: bool = False
    since_s: float | None = None  # monotonic, when it was accepted
    dead: bool = False  # taken back or overtaken
    may_end: bool = False  # somebody who may has tried to


@dataclass(frozen=True)
class Padlock:
    """A lock at the pole: it holds at least until that second of the clock, and as long as that."""

    until_s: int
    end_s: float  # of the story
    sure: bool = True  # False: nobody knows whether it holds

    def over(self, clock, passed_s):
        return clock.trusted.known and clock.epoch_s >= self.until_s and passed_s >= self.end_s


class Watched(RuleBasedStateMachine):
    """A box under the law. What happens to it are the rules of the machine that inherits."""

    def __init__(self):
        super().__init__()
        area = {"prepaid_live": True, "since": NOW - DAY, "profile": "arrears", "reconnect": "close", "grace_days": 0}
        caps = CAPS | {"wait_s": WAIT_S}
        self.law = {"areas": {RANCHI: area, "JH-DHN": area}, "caps": {"arrears": caps, "prepaid": caps}}
        self.world = commissioned(**self.law)
        self.documents = []
        self.signed = {}
        self.acted = []
        self.process = 1
        self.passed_s = 0
        self.closed = False  # by a narrowing
        self.revoked = False
        self.frozen = set()
        self.locks = {}
        self.early = {}  # cancels that came first: what they name, and whether they surely hold
        for wall in self.world.wall.values():
            wall.on_sending = self.sending

    def teardown(self):
        for wall in self.world.wall.values():
            wall.silent = wall.lose_reply = wall.silent_after_act = False
        self.restart()
        for _ in range(3):
            self.clock_runs(6)
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
            assert not self.is_locked(meter, sure=True), "moved under a lock"
        if signed.op != "connect":
            assert meter not in self.world.aside, "sent to a meter that is set aside"
        if signed.op == "disconnect":
            self.cut(signed, meter)
        elif signed.op == "connect":
            self.given_light(signed, meter)
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

    def given_light(self, signed, meter):
        assert signed.two or not self.is_dark_for_safety(meter), "one key ended an order for safety"
        later = [n for n, s in self.signed.items() if s.op == "disconnect" and s.meter == meter and s.n > signed.n]
        states = [self.state(name) for name in later]
        assert not {*states} & (SENT | {State.PENDING}), "a later cut was accepted"

    @invariant()
    def journal_agrees_with_the_relay(self):
        for key, command in self.world.store.rows.commands.items():
            signed = self.signed[key[1]]
            if key in self.acted:
                assert command.state in SENT, command.state
            else:
                assert command.state not in MUST_HAVE_SENT or signed.op in AT_ONCE
            assert command.state not in TAKEN_BACK or signed.may_end, "given up for nobody who may"

    def blame(self, signed, verdict):
        """What is refused for a restraint is refused while there is one: whatever is lifted is lifted."""
        code, meter = verdict.code, signed.meter
        if code is Refusal.E_LOCKED:
            assert self.is_locked(meter, sure=False), "a lock that was lifted holds"
        elif code is Refusal.E_METER:
            assert signed.op != "connect" and meter in self.world.aside, "a meter that came back is set aside"
        elif code is Refusal.E_FROZEN:
            assert self.frozen & {meter, ""}, "a freeze that was lifted holds"
        elif code is Refusal.E_STATE and signed.op == "disconnect":
            assert signed.may_end, "nobody had taken it back"

    # ---- what the model knows ----

    def is_locked(self, meter, *, sure):
        return any(lock.sure or not sure for of, lock in self.locks.items() if of in {"", meter})

    def is_dark_for_safety(self, meter):
        """Whether an order for safety waits, or stands: no two people have ended it since it went to its meter."""
        stands = False
        for _, kind, body in self.world.store.rows.journal:
            if kind == "command" and (b'"dispatched"' in body or b'"noop"' in body):
                signed = self.signed[json.loads(body)["cmd_id"]]
                if signed.meter == meter and signed.op == "disconnect" and signed.safety:
                    stands = True
                elif signed.meter == meter and signed.op == "connect" and signed.two:
                    stands = False
        return stands or any(self.signed[name].safety for name in self.waiting(meter))

    def state(self, name):
        stored = self.world.store.rows.commands.get((ISS, name))
        return stored.state if stored is not None else None

    def waiting(self, meter):
        """Names of the disconnects that wait there, by what the box told of them; with an empty serial all of them."""
        commands = self.world.store.rows.commands
        names = [name for (_, name), c in commands.items() if c.state is State.PENDING]
        return [name for name in names if meter in {"", self.signed[name].meter}]

    def in_force(self):
        documents = self.world.store.rows.documents
        return max(documents[name][0] for name in ("policy", "policy-narrowed") if name in documents)

    # ---- what is signed and handed in ----

    def sign(self, op, meter, signers, **changes):
        """(its name, the document) of a command by the model's book."""
        if op == "disconnect":
            changes = {"pol": self.in_force()} | changes
        claims = self.world.claims(op, meter, **changes)
        name, two = claims["cmd_id"], len(signers) == 2
        full = two or op not in {"disconnect", "unfreeze"}
        box = (self.process, self.world.store.epoch, claims.get("why") == "safety", self.world.clock.mono_s)
        signed = Signed(op, "" if meter is ... else meter, self.world.seq, full, two, *box)
        self.signed[name] = replace(signed, dead=self.early.get(name, False), may_end=name in self.early)
        return name, self.world.signed(claims, *signers)

    def hand_in(self, document, work=True, name=None):
        """The verdict, or None where the box died over it."""
        verdict = None
        try:
            verdict = self.world.put(document, work=work)
        except (Killed, DcuError):
            self.restart()
        if self.world.fallen is not None:
            self.restart()
        if verdict is not None and name is not None:
            self.blame(self.signed[name], verdict)
        return verdict

    def take_back(self, name, document, meant, work=True):
        """Hand in what makes others void, those of `meant` that are ready for it. Returns the verdict."""
        for other in meant:
            self.signed[other].may_end = True
        verdict = self.hand_in(document, work, name)
        if verdict is not None and (
            verdict.status == "accepted" or verdict.code in {Refusal.E_LOCKED, Refusal.E_METER}
        ):
            for other in meant:
                self.signed[other].dead = True
        return verdict

    # ---- processes and time ----

    def restart(self, *, heard=True, reboot=False):
        for wall in self.world.wall.values():
            wall.on_acted = lambda: None
        self.world.end()
        if reboot:
            self.world.clock.boot_id, self.world.clock.mono_s = f"boot-{self.process}", 30.0
        self.world.heard = heard
        self.come_up()

    def come_up(self):
        for wall in self.world.wall.values():
            wall.on_acted = lambda: None
        self.process += 1
        self.world.start(work=False)
        try:
            self.world.work()
        except Killed:  # pragma: no cover - the hooks were taken away above
            raise AssertionError("killed twice") from None

    def work(self):
        try:
            self.world.work()
        except Killed:
            self.restart()
        if self.world.fallen is not None:
            self.restart()

    def time_passes(self, seconds):
        self.clock_runs(seconds)
        self.work()

    def kill_in_the_store(self, commits, behind):
        """kill -9 in the n-th commit from now: before it is on disk, or when it is and nobody has heard of it."""
        left = [commits]

        def killing():
            left[0] -= 1
            if left[0] == 0:
                raise Killed

        setattr(self.world.store, "after" if behind else "fault", killing)

    def kill_in_the_action(self, meter):
        """kill -9 when the meter has moved its relay and the answer is on the line."""

        def killing():
            raise Killed

        self.world.wall[meter].on_acted = killing

    def renew_keys(self, *, revoked):
        self.revoked = revoked
        self.world.trust = trust(apr_1={"revoked": True}) if revoked else trust()
        self.world.renew(self.world.trust)
        if self.world.fallen is not None:
            self.restart()

    def clock_runs(self, seconds):
        """It stays noon; the uptime goes on."""
        clock = self.world.clock
        self.passed_s += seconds
        clock.epoch_s = NOW + (clock.epoch_s + seconds - NOW) % (3 * HOUR)
        clock.mono_s += seconds
        self.locks_lapse()

    def locks_lapse(self):
        """From then on nobody knows whether they hold: the box looks when it has the time."""
        clock = self.world.clock
        self.locks = {of: replace(k, sure=k.sure and not k.over(clock, self.passed_s)) for of, k in self.locks.items()}
