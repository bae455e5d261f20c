"""A relay desk without its thread: every turn of it is made by the test, and every wait is only noted."""

from dcu.mailbox import Mailbox, Stop
from dcu.relay import desk
from dcu.relay.letters import Reply
from tests.relay.world import FakeBus, MemoryStore, World


class Letters(Mailbox):
    """Notes how long it would have waited; `then` is done behind each letter."""

    def __init__(self, stop, capacity):
        super().__init__(stop, capacity)
        self.waits, self.then = [], lambda: None

    def post(self, letter, *, urgent=False):
        posted = super().post(letter, urgent=urgent)
        self.then()
        return posted

    def take(self, timeout_s):
        self.waits.append(timeout_s)
        return super().take(0.0)


class Turning(World):
    """A box that has its policy; its desk makes a turn behind each letter, until it is told to `lie` still."""

    def __init__(self, monkeypatch, **more):
        super().__init__()
        self.waits = waits = []

        class Noted(Reply):
            def wait(self, timeout_s):
                waits.append(timeout_s)
                return super().wait(0.0)

        monkeypatch.setattr(desk, "Mailbox", Letters)
        monkeypatch.setattr(desk, "Reply", Noted)
        self.reply = Noted
        self.commissioned = (self.policy(),)
        self.beats = 0
        self.begin(**more)

    def begin(self, **more):
        """As a process that has just started; it has not turned yet."""
        self.stop = Stop()
        self.store = MemoryStore(self.rows)
        self.bus = FakeBus(self.clock, self.wall)
        self.desk = self.new_desk(beat=self.beat, **more)
        self.letters = self.desk._letters
        self.letters.then = self.turn

    def beat(self):
        self.beats += 1

    def turn(self, times=1, timeout_s=1.0):
        for _ in range(times):
            self.desk.turn(timeout_s)

    def lie(self):
        """Nobody reads a letter from now on."""
        self.letters.then = lambda: None

    def close(self):
        """The process stops, and the thread ends."""
        self.lie()
        self.stop.set()
        self.desk.run()

    def codes(self):
        return [alarm.facts.get("code") for alarm in self.alarms]
