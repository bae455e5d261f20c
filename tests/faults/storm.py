"""Row 28: a broker restarts, and a thousand uplinks come back to it, in virtual time.

The waits are the uplink's own policy (`dcu.uplink.backoff`, `dcu.uplink.rivals`, as the publisher asks them). The
broker is a queue: it takes so many a second, keeps a few waiting, loses the rest without a word, spends itself on those
who have given up meanwhile, and shuts out for long who comes too often.
"""

import heapq
import random
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field

from dcu.uplink.backoff import LONGEST_S, Backoff, to_broker
from dcu.uplink.letters import Terms
from dcu.uplink.rivals import Rivals
from tests.faults.report import Line
from tests.faults.run import Run

BOXES = 1000
WITHIN_S = 0.2
"""All sessions of a broker that stops end within that."""

CONNECT_S = Terms("").connect_s
WAITING = 100
"""Connections that a listener keeps waiting; mosquitto's backlog."""

OFTEN, OFTEN_S, SHUT_OUT_S = 10, 60.0, 600.0
"""More tries than that in that time: shut out, and each further try begins the time anew."""

LONG_AGO_S = -86_400.0
ENDS_S = 1800.0


@dataclass(slots=True)
class Box:
    """What one uplink knows of its connection."""

    backoff: Backoff
    rivals: Rivals = field(default_factory=Rivals)
    opened_s: float = LONG_AGO_S
    connected: bool = True
    tries: deque[float] = field(default_factory=lambda: deque(maxlen=OFTEN + 1))
    shut_out_until_s: float = LONG_AGO_S

    def failed(self, now_s: float) -> float:
        """Seconds to wait after a try that came to nothing."""
        self.backoff.lost(now_s)
        return self.backoff.next_s()

    def ended(self, now_s: float) -> float:
        """Seconds to wait after a session that the broker closed without a word."""
        self.connected = False
        rival = self.rivals.ended(now_s - self.opened_s, closed=True, told=False)
        self.backoff.lost(now_s)
        return self.backoff.rest_s() if rival else self.backoff.next_s()

    def opened(self, now_s: float) -> None:
        """It is connected."""
        self.connected, self.opened_s = True, now_s
        self.backoff.connected(now_s)

    def tried(self, now_s: float) -> bool:
        """Whether it is shut out at this try."""
        self.tries.append(now_s)
        if now_s < self.shut_out_until_s or (len(self.tries) > OFTEN and now_s - self.tries[0] < OFTEN_S):
            self.shut_out_until_s = now_s + SHUT_OUT_S
        return now_s < self.shut_out_until_s


@dataclass(slots=True)
class Storm:
    """What the broker saw after its last return.

    Attributes:
        back_s: when each box was connected, seconds after that return; ascending.
        tries: connects by the second.
        shut_out: boxes that were shut out at any time.
    """

    back_s: list[float] = field(default_factory=list)
    tries: Counter[int] = field(default_factory=Counter)
    shut_out: int = 0

    @property
    def peak(self) -> int:
        """Most connects in one second."""
        return max(self.tries.values(), default=0)

    def within_s(self, share: float) -> float:
        """Until that share of the boxes was back; without end when it never was."""
        count = round(share * BOXES)
        return self.back_s[count - 1] if len(self.back_s) >= count else float("inf")


class Broker:
    """A queue in front of one thread that needs `1 / a_second` for each that comes."""

    def __init__(self, downs: list[tuple[float, float]], a_second: float) -> None:
        self._downs, self._cost_s, self._free_s = downs, 1 / a_second, 0.0

    def fell(self) -> None:
        """All that waited is forgotten."""
        self._free_s = 0.0

    def takes(self, box: Box, now_s: float) -> tuple[bool, float]:
        """(whether this try ends in a session, when it ends)."""
        if box.tried(now_s):
            return False, now_s + CONNECT_S
        if any(low <= now_s < high for low, high in self._downs):
            return False, now_s
        ahead_s = max(0.0, self._free_s - now_s)
        if ahead_s >= WAITING * self._cost_s:
            return False, now_s + CONNECT_S
        self._free_s = now_s + ahead_s + self._cost_s
        taken = self._free_s - now_s <= CONNECT_S
        return taken, self._free_s if taken else now_s + CONNECT_S


def storm(
    downs: list[tuple[float, float]], a_second: float, new_backoff: Callable[[], Backoff], rng: random.Random
) -> Storm:
    """The broker is down in these spans (from, until; seconds), and takes `a_second` boxes when it is up.

    Ends when all are connected, or `ENDS_S` after the last return.
    """
    boxes, broker, found = [Box(new_backoff()) for _ in range(BOXES)], Broker(downs, a_second), Storm()
    falls, back_s = deque(downs), downs[-1][1]
    due: list[tuple[float, int]] = []  # tries that will begin
    ends: list[tuple[float, int]] = []  # sessions that will be open, if the broker is still there
    while falls or ((due or ends) and min(due[:1] + ends[:1])[0] < back_s + 7200):
        now_s, n = min([*due[:1], *ends[:1], *((low, -1) for low, _ in list(falls)[:1])])
        if n < 0:
            falls.popleft()
            broker.fell()
            on_their_way = {number for _, number in ends}
            ends.clear()
            for number, box in enumerate(boxes):
                if box.connected or number in on_their_way:
                    at_s = now_s + rng.uniform(0, WITHIN_S)
                    wait_s = box.ended(at_s) if box.connected else box.failed(at_s)
                    heapq.heappush(due, (at_s + wait_s, number))
        elif ends and ends[0] == (now_s, n):
            heapq.heappop(ends)
            boxes[n].opened(now_s)
            if now_s >= back_s:
                found.back_s.append(now_s - back_s)
        else:
            heapq.heappop(due)
            if now_s >= back_s:
                found.tries[int(now_s - back_s)] += 1
            taken, at_s = broker.takes(boxes[n], now_s)
            if taken:
                heapq.heappush(ends, (at_s, n))
            else:
                heapq.heappush(due, (at_s + boxes[n].failed(at_s), n))
    found.shut_out = sum(box.shut_out_until_s > LONG_AGO_S for box in boxes)
    return found


# ---- the row


@dataclass(frozen=True, slots=True)
class Case:
    """How the broker is away, and how many it takes a second afterwards."""

    name: str
    downs: tuple[tuple[float, float], ...]
    a_second: float = 50.0


RESTART = Case("restart of 1 s", ((0.0, 1.0),))
OUTAGE = Case("away 10 min", ((0.0, 600.0),))
CASES = (
    RESTART,
    Case("restart of 5 s", ((0.0, 5.0),)),
    OUTAGE,
    Case("away 1 h", ((0.0, 3600.0),)),
    Case("restart of 5 s, then weak", ((0.0, 5.0),), 8.0),
    Case("falls once a minute, 20 times", tuple((60.0 * n, 60.0 * n + 5) for n in range(20))),
)


def broker_restart(run: Run) -> list[Line]:
    """First waits that are known to be bad; then the uplink's own."""
    paho, eager = (lambda _rng: Backoff(120.0, _most)), (lambda _rng: Backoff(5.0, _most))
    return [
        _bad(run, RESTART, "doubled up to 2 min without jitter, as paho's own", "crowd", paho),
        _bad(run, OUTAGE, "of 5 s each", "be shut out", eager),
        *(_case(run, case) for case in (CASES if run.full else (RESTART, OUTAGE))),
    ]


def _most(_low: float, high: float) -> float:
    return high


def _storms(run: Run, case: Case, policy: Callable[[random.Random], Backoff]) -> list[Storm]:
    found = []
    for number in range(run.of(1, 20)):
        rng = random.Random(f"storm/{run.seed}/{number}")
        found.append(storm(list(case.downs), case.a_second, lambda rng=rng: policy(rng), rng))
    return found


def _holds(case: Case, found: Storm) -> bool:
    """No second in which a third of them comes, nobody shut out, and 99 % back before two of the longest waits end."""
    in_time_s = 2 * LONGEST_S + BOXES / case.a_second
    return 3 * found.peak <= BOXES and not found.shut_out and found.within_s(0.99) <= in_time_s


def _bad(run: Run, case: Case, name: str, must: str, policy: Callable[[random.Random], Backoff]) -> Line:
    found = _storms(run, case, policy)
    caught = not any(_holds(case, each) for each in found)
    return _line(case, f"the storm itself: {case.name}, waits {name}", f"known-bad: must {must}", found, good=caught)


def _case(run: Run, case: Case) -> Line:
    found = _storms(run, case, lambda rng: to_broker(draw=rng.uniform))
    injection = (
        f"virtual time, the uplink's back-off; a broker that takes {case.a_second:g} a second, keeps {WAITING} waiting"
    )
    return _line(case, f"broker: {case.name}", injection, found, good=all(_holds(case, each) for each in found))


def _line(case: Case, fault: str, injection: str, found: list[Storm], *, good: bool) -> Line:
    recovery = (
        f"peak {max(each.peak for each in found)} connects/s, 99 % back after {_s(found, 0.99)} s, all after "
        f"{_s(found, 1.0)} s (the broker alone needs {BOXES / case.a_second:.0f} s); "
        f"{max(each.shut_out for each in found)} shut out for trying too often; worst of all seeds"
    )
    return Line(28, fault, injection, f"{len(found)} times {BOXES} uplinks", None, None, recovery, good)


def _s(found: list[Storm], share: float) -> str:
    worst_s = max(each.within_s(share) for each in found)
    return f"{worst_s:.0f}" if worst_s < ENDS_S else f"more than {ENDS_S:.0f}"
