"""Rules of a machine that orders, restrains and takes back: locks and set-aside meters at the pole, freezes, cancels
that come first, payments, orders for safety; and processes that are killed over it.
"""

from hypothesis import strategies as st
from hypothesis.stateful import rule

from dcu.command import Refusal
from dcu.errors import DcuError
from dcu.reading import ClockState
from tests.relay.model import HOUR, WAIT_S, Padlock, Watched
from tests.relay.world import APPROVE, BILLING, FAR_METER, METER, NOW, REQUEST, Killed

METERS = st.sampled_from([METER, FAR_METER])
BOTH = [REQUEST, APPROVE]
SAFETY = {"why": "safety", "notice": ..., "case": ...}
WHY = st.sampled_from([{}, SAFETY])
LOCK_S = st.sampled_from([300, 72 * HOUR])
SELDOM = st.sampled_from([False, False, False, True])
BETWEEN = st.sampled_from(
    3 * ["lock", "aside", "connect", "unheard"] + ["lock all", "freeze", "cancel", "payment", "two connect"],
)
PAID = {"recharge": 500, "recharged_at": NOW, "balance": 900}


class Restraining(Watched):
    """Orders, and what comes between them and their meters."""

    # ---- what is signed ----

    @rule(
        meter=METERS, why=WHY, mend=st.booleans(), crash=st.sampled_from([None, None, None, "action", "on", "behind"])
    )
    def switch(self, meter, why, mend, crash):
        """A fully signed command that would move the relay, and its waiting; perhaps with a kill -9 on its way."""
        if mend:
            self.all_is_well()
        op = "disconnect" if self.world.wall[meter].connected else "connect"
        self.order(op, meter, BOTH, why, work=op == "disconnect")
        if crash == "action":
            self.kill_in_the_action(meter)
        elif crash is not None:
            self.kill_in_the_store(1, crash == "behind")
        self.time_passes(WAIT_S + 1)

    @rule(meter=METERS, why=WHY, dark=st.booleans(), what=BETWEEN, before=SELDOM, lifted=SELDOM)
    def something_comes_between(self, meter, why, dark, what, before, lifted):
        """Before a relay is to move, or while that waits; perhaps it is over in time. A connect waits for its bus."""
        self.all_is_well()
        wall = self.world.wall[meter]
        wall.connected, wall.control = not dark, int(not dark)  # by hand
        if before:
            self.comes_between(what, meter)
        name = self.order("connect" if dark else "disconnect", meter, BOTH, why, work=not dark)
        if not before:
            self.comes_between(what, meter, name)
        self.order("message", meter, [REQUEST], {}, work=not dark)
        if lifted:
            self.all_is_well()
        self.time_passes(WAIT_S + 1)

    def comes_between(self, what, meter, name=None):
        if what in {"lock", "lock all"}:
            self.lock(meter if what == "lock" else "", True, WAIT_S + 30)
        elif what == "aside":
            self.meter_is_set_aside(meter, True)
        elif what == "freeze":
            self.freeze_or_unfreeze(meter, False)
        elif what == "cancel":
            if name is not None:
                self.take_back_by_name(name)
        elif what == "payment":
            self.payment(meter)
        elif what == "unheard":
            self.world.heard = False
        else:
            self.order("connect", meter, BOTH if what == "two connect" else [REQUEST], {}, True)

    @rule(meter=METERS, why=WHY, there=SELDOM, again=SELDOM, two=st.booleans())
    def light_after_dark(self, meter, why, there, again, two):
        """A cut, also of a relay that is open already, and perhaps another process; then a connect."""
        self.all_is_well()
        if there:
            self.order("disconnect", meter, BOTH, {})
            self.time_passes(WAIT_S + 1)
        self.order("disconnect", meter, BOTH, why)
        self.time_passes(WAIT_S + 1)
        if again:
            self.restart()
        self.order("connect", meter, BOTH if two else [REQUEST], {})

    def order(self, op, meter, signers, why, work=True):
        """Sign a command, and hand it in. Returns its name."""
        if op != "disconnect":
            signers, why = signers if op == "connect" else [REQUEST], {}
        name, document = self.sign(op, meter, signers, **why)
        self.documents.append((name, document))
        if op == "connect":
            self.give_light(name, document, work)
        else:
            self.hand_in(document, work, name)
        return name

    def give_light(self, name, document, work=True):
        """A connect makes void all that was signed before it; one key neither ends nor gives up what is for safety."""
        signed = self.signed[name]
        barred = not signed.two and self.is_dark_for_safety(signed.meter)
        earlier = [
            n for n, s in self.signed.items() if s.op == "disconnect" and s.meter == signed.meter and s.n < signed.n
        ]
        verdict = self.take_back(name, document, [] if barred else earlier, work)
        if verdict is not None and verdict.code is Refusal.E_QUORUM:
            assert barred, "two people had ended the order for safety"
        assert not barred or verdict is None or verdict.status != "accepted", "one key may end an order for safety"

    @rule(meter=st.sampled_from([METER, FAR_METER, ...]), two=st.booleans())
    def freeze_or_unfreeze(self, meter, two):
        op = "unfreeze" if two else "freeze"
        name, document = self.sign(op, meter, BOTH if two else [REQUEST])
        serial = self.signed[name].meter
        self.take_back(name, document, [] if two else self.waiting(serial))
        held = {r.meter for r in self.world.store.rows.restraints.values() if r.kind == "freeze"}
        if op == "freeze" and serial in held:
            self.frozen.add(serial)
        elif op == "unfreeze" and serial not in held:
            self.frozen.discard(serial)
        assert self.frozen <= held, "a freeze was lost"

    def take_back_by_name(self, name):
        cancel, document = self.sign("cancel", self.signed[name].meter, [APPROVE], cancels=name)
        self.take_back(cancel, document, [name])

    @rule(
        meter=METERS,
        why=WHY,
        late=st.booleans(),
        between=st.sampled_from([None, "begin again", "reboot", "an hour", "other cut", "other cancel"]),
    )
    def cancel_comes_first(self, meter, why, late, between):
        """What it takes back is signed already, or bears a name that somebody has yet to sign it under."""
        self.all_is_well()
        taken = f"x-{self.world.seq}"
        if not late:
            _, document = self.sign("disconnect", meter, BOTH, cmd_id=taken, **why)
        self.cancel_early(taken, meter)
        if between in {"begin again", "reboot"}:
            self.restart(reboot=between == "reboot")
        elif between == "an hour":
            self.time_passes(HOUR + 1)
        elif between == "other cut":
            self.order("disconnect", meter, BOTH, {})
        elif between == "other cancel":
            self.cancel_early(f"y-{self.world.seq}", meter)
        if late:
            _, document = self.sign("disconnect", meter, BOTH, cmd_id=taken, **why)
        self.signed[taken].since_s = self.world.clock.mono_s
        self.documents.append((taken, document))
        self.hand_in(document, True, taken)
        self.time_passes(WAIT_S + 1)

    def cancel_early(self, taken, meter):
        name, document = self.sign("cancel", meter, [APPROVE], cancels=taken)
        verdict = self.take_back(name, document, [taken] if taken in self.signed else [])
        self.early[taken] = verdict is not None and verdict.status == "accepted"

    @rule(meter=METERS)
    def payment(self, meter):
        """It is not for the payer to give up what was ordered for safety. (These meters cannot be written to.)"""
        name, document = self.sign("balance", meter, [BILLING], **PAID)
        self.take_back(name, document, [n for n in self.waiting(meter) if not self.signed[n].safety])

    # ---- the pole ----

    @rule(meter=st.sampled_from([METER, FAR_METER, ""]), on=st.booleans(), seconds=LOCK_S)
    def lock(self, meter, on, seconds):
        """Locked, or lifted again. Where the box died over it nobody knows."""
        clock = self.world.clock
        until_s = clock.epoch_s + seconds if clock.trusted.known else 0
        padlock = Padlock(until_s, self.passed_s + seconds)
        held = self.locks.get(meter)
        try:
            found = self.world.desk.lock(meter, "ravi", "at work", seconds if on else 0)
            assert on or found is not None or held is None or not held.sure, "a lock was lost"
            self.locks.pop(meter, None)
            if on:
                self.locks[meter] = padlock
        except (Killed, DcuError):
            if on or held is not None:
                self.locks[meter] = Padlock(0, 0, sure=False)
            self.restart()
        if self.world.fallen is not None:
            self.restart()

    @rule(meter=METERS, aside=st.booleans())
    def meter_is_set_aside(self, meter, aside):
        """Another serial answered there once, or it told nonsense; then the right one answers again."""
        (self.world.aside.add if aside else self.world.aside.discard)(meter)

    def all_is_well(self):
        """Every trouble is mended, and nothing is held back but what waits."""
        self.world.clock.trusted, self.world.heard = ClockState.TRUSTED, True
        self.locks_lapse()
        self.world.aside.clear()
        for wall in self.world.wall.values():
            wall.silent = wall.lose_reply = wall.sticks = wall.silent_after_act = False
        if self.revoked:
            self.renew_keys(revoked=False)
        for meter in [*self.locks]:
            self.lock(meter, False, 0)
        for meter in [*self.frozen]:
            self.freeze_or_unfreeze(meter or ..., True)

    # ---- the process ----

    @rule(heard=st.sampled_from([True, True, False]), reboot=st.booleans())
    def begin_again(self, heard, reboot):
        """A process begins; perhaps it has not compared its clock with its meters' yet."""
        self.restart(heard=heard, reboot=reboot)
