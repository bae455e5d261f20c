"""How well a virtual line keeps its pace in wall time: measured over wire time, per baud rate.

A pty's reader takes the moments at which octets come, the first of a long answer to the last. 1.00 is the pace of the
wire, the aim is within 2 %.
"""

import os
import select
import threading
import time
import tty

from bench.figure import Figure
from dcu.sim.line import LineModel
from dcu.sim.pty_hub import PtyHub

RATES = (1200, 2400, 4800, 9600, 19200, 38400, 57600, 115200)


def pacing_ratio(baud: int, seconds: float = 2.0) -> float:
    """Wall time over wire time for `seconds` of octets of one talker, as the reader of the pty sees them."""
    count = max(20, int(seconds * baud / 10))
    model = LineModel(baud)
    hub = PtyHub([], model, 0.0, None)
    reader = os.open(hub.path, os.O_RDWR | os.O_NOCTTY)
    tty.setraw(reader)
    arrived: list[tuple[int, float]] = []

    def read() -> None:
        got = 0
        while got < count and select.select([reader], [], [], 5.0)[0]:
            got += len(os.read(reader, 4096))
            arrived.append((got, time.monotonic()))

    thread = threading.Thread(target=read)
    thread.start()
    start = time.monotonic() + 0.01
    model.say(0, start, bytes(count))
    while (again := hub.run(time.monotonic())) is not None:
        time.sleep(max(0.0, again - time.monotonic()))
    thread.join()
    os.close(reader)
    hub.unplug()
    if not arrived or arrived[-1][0] != count:
        raise RuntimeError(f"{arrived[-1:]} of {count} octets came")
    return (arrived[-1][1] - start) / (count * 10 / baud)


def figures() -> list[Figure]:
    """Wall time of the virtual line over wire time, at each rate."""
    ratios = {baud: pacing_ratio(baud) for baud in RATES}
    return [
        Figure(f"line pacing at {baud}", round(ratio, 4), "wall/wire", "0.98 to 1.02", abs(ratio - 1) <= 0.02)
        for baud, ratio in ratios.items()
    ]
