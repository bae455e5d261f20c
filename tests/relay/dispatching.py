"""A box that sends commands out: its errands are only posted, and the letters of errands are given by hand."""

from dataclasses import replace

from dcu.errors import OperatorFault, StoreFull
from dcu.mailbox import Mailbox, Stop
from dcu.relay.alarms import Alarms
from dcu.relay.dispatch import Dispatch
from dcu.relay.executor import Place
from dcu.relay.letters import Ready, Reply
from tests.relay.room import Room, evidence
from tests.relay.world import CAPS, FAR_METER, METER, RANCHI

READ = {"op": "read", "attribute": "1:0.0.96.1.0.255/2"}
SPACING_S = 120
SWITCHING, FAR_SWITCHING = ("Switching", METER), ("Switching", FAR_METER)


class Bus:
    """Keeps what was posted to it: the errand's kind, its meter, whether it is urgent."""

    def __init__(self, name):
        self.name, self.posted, self.full = name, [], False

    def post(self, errand, *, urgent):
        if self.full:
            raise OperatorFault("too many errands wait for this bus", place=self.name)
        self.posted.append((type(errand).__name__, errand.meter.serial, urgent))


class Dispatching(Room):
    """Two meters, each on a bus of its own; their errands are posted, and their letters given by hand."""

    def __init__(self):
        caps = CAPS | {"spacing_s": SPACING_S}
        super().__init__(meters={METER: RANCHI, FAR_METER: RANCHI}, caps={"arrears": caps, "prepaid": caps})
        self.meters[FAR_METER] = replace(self.meters[FAR_METER], bus="south", area=RANCHI)
        self.book.meters[FAR_METER] = self.meters[FAR_METER]
        self.buses = {name: Bus(name) for name in ("north", "south")}
        self.begin()

    def begin(self):
        """As a process that has just started."""
        self.letters = Mailbox(Stop())
        self.place = Place(self.letters, self.clock, self.zone)
        alarms = Alarms(self.clock, self.alarms.append)
        given = {"ask": lambda _ready: None, "pause": lambda _s: None, "settle_s": 0.0, "inspect_again_s": 5.0}
        self.dispatch = Dispatch(self.book, alarms, self.buses, self.place, **given)

    def plan(self, op="disconnect", meter=METER, **changes):
        """A command is accepted, and goes its way; its key."""
        ruling = self.decide(op, meter, **changes)
        assert ruling.verdict.status == "accepted", ruling
        self.dispatch.plan(ruling.command, ruling)
        return ruling.command.iss, ruling.command.cmd_id

    def posted(self):
        """What is posted as time passes, one bus after the other."""
        self.dispatch.pass_time()
        found = [(kind, serial) for bus in self.buses.values() for kind, serial, _ in bus.posted]
        for bus in self.buses.values():
            bus.posted.clear()
        return found

    def told(self):
        """Letters that wait for the relay thread, each urgent: what the box itself says goes ahead of what comes."""
        found = []
        while (letter := self.letters.take_urgent()) is not None:
            found.append(letter)
        assert len(self.letters) == 0
        return found

    def ready(self, key, meter=METER, **shown):
        """Its errand stands before the meter and asks: (what it is answered, its reply)."""
        reply = Reply()
        self.dispatch.read(Ready(key, evidence(serial=meter, **shown), reply))
        return reply.wait(0.0)

    def send(self, key, meter=METER, **shown):
        """It goes out, and has leave."""
        assert self.posted() == [("Switching", meter)]
        assert len(self.ready(key, meter, **shown).warrants) == 1


def full(*_args, **_more):
    raise StoreFull("no room")


def stumble(*_args, **_more):
    raise ZeroDivisionError("our bug")
