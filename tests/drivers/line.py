"""A scripted line with its own time: what is sent goes to a meter's function, whose answers come back later."""

from dcu.drivers.hdlc import FrameReader


class FakeTime:
    """Monotonic seconds that pass only when somebody waits."""

    def __init__(self):
        self.now_s = 1000.0

    def __call__(self):
        return self.now_s


class ScriptedLine:
    """A ByteLink. `meter(octets)` returns an iterable of (delay_s, octets), or None for silence."""

    def __init__(self, meter, time=None):
        self.meter = meter
        self.time = time or FakeTime()
        self.sent = []
        self.coming = []
        self.closed = 0

    def send(self, octets):
        self.sent.append(octets)
        for delay_s, answer in self.meter(octets) or ():
            self.coming.append((self.time.now_s + delay_s, answer))
        self.coming.sort(key=lambda item: item[0])

    def receive(self, deadline_s):
        if self.coming and self.coming[0][0] <= deadline_s:
            at, octets = self.coming.pop(0)
            self.time.now_s = max(self.time.now_s, at)
            return octets
        self.time.now_s = max(self.time.now_s, deadline_s)
        return b""

    def flush_input(self):
        self.coming = [(at, octets) for at, octets in self.coming if at > self.time.now_s]

    def close(self):
        self.closed += 1


def frame_of(octets):
    """The one frame in `octets`."""
    reader = FrameReader()
    reader.feed(octets)
    return reader.next_frame()
