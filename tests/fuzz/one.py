"""One target under atheris: `python -m tests.fuzz.one TARGET [libFuzzer options]`; exit code 0, or a finding."""

import gc
import logging
import resource
import sys
import time
from contextlib import suppress
from pathlib import Path

import atheris

# Of Python 3.11's `while True` atheris 2.3.0 makes a jump to a wrong place: the spared are run, and not instrumented.
with atheris.instrument_imports(
    include=["dcu.drivers", "dcu.reading"],
    exclude=["dcu.drivers.dialogue", "dcu.drivers.wrapper", "dcu.drivers.hdlc_poll"],
):
    from tests.fuzz.targets import TARGETS

from dcu.errors import DcuError

SLOWEST_S = 0.05
GROWTH_MB = 64
_SETTLED = 20_000  # inputs after which memory is what it stays at


class Watched:
    """A target with its three promises: no exception but ours, no input over 50 ms of CPU, no growth."""

    def __init__(self, target):
        self.target = target
        self.inputs = 0
        self.settled_mb = 0

    def __call__(self, octets):
        if self._seconds(octets) > SLOWEST_S:
            again_s = min(self._seconds(octets) for _ in range(3))  # another's pause is not the decoder's time
            assert again_s <= SLOWEST_S, f"{again_s * 1e3:.0f} ms for {len(octets)} octets"
        self.inputs += 1
        if self.inputs % _SETTLED == 0:
            self._weigh()

    def _seconds(self, octets):
        began = time.thread_time()
        with suppress(DcuError):
            self.target(octets)
        return time.thread_time() - began

    def _weigh(self):
        gc.collect()
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        now_mb = pages * resource.getpagesize() >> 20
        self.settled_mb = self.settled_mb or now_mb
        assert now_mb - self.settled_mb <= GROWTH_MB, f"grown from {self.settled_mb} MB to {now_mb} MB"


def main():
    """Run until libFuzzer's own limits end it."""
    name, *options = sys.argv[1:]
    logging.getLogger("dcu").setLevel(logging.CRITICAL)
    atheris.Setup([sys.argv[0], *options], Watched(TARGETS[name]))
    atheris.Fuzz()


if __name__ == "__main__":
    main()
