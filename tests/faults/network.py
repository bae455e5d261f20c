"""Rows about the network: a broker that is away for months of virtual time, links that lie, packets that get lost."""

import random
import re
import subprocess
import sys
import time
from contextlib import contextmanager, suppress

from dcu.record import Stream
from tests.broker import endpoint, running_broker
from tests.faults.report import ROOT, Line
from tests.faults.run import Run
from tests.soak import box as soak_box
from tests.soak.holdings import holdings
from tests.soak.judge import RingJudge
from tests.soak.run import BLOCK_LOAD, RINGS, truths
from tests.soak.world import Scenario, World
from tests.uplink.offers import seals_of
from tests.uplink.proxy import FaultProxy, Inside
from tests.uplink.scripted import PUBACK
from tests.uplink.world import DCU, MOST_CONNECTS_AN_HOUR, Field, HeadEnd, Uplink, connects_of_two, until

HOUR_D = 1 / 24
CHECK_EACH = 20
"""Messages of a backlog; to hold all of them against the contract takes longer than to deliver them."""


def outages(run: Run) -> list[Line]:
    """The broker is away for an hour, a week, ninety days of a box that meters on; then everything is delivered."""
    spans = ((HOUR_D, 16), (7.0, 16), (90.0, 8)) if run.full else ((0.5, 2),)
    return [_outage(run, days, meters) for days, meters in spans]


def _outage(run: Run, days: float, meters: int) -> Line:
    directory = run.scratch / f"outage-{days:.2f}"
    directory.mkdir()
    soak_box.DCU = DCU
    lived = World(directory, Scenario(run.seed, days=days + 0.1, meters=meters, period_s=900, faults=(), ring_days=35))
    lived.run()
    known = holdings(directory / "dcu.db")
    wrong = [
        mistake
        for truth, until_s in truths(lived)
        if truth.profile in RINGS
        for mistake in RingJudge(truth, known.of(truth.serial, truth.profile), until_s).judge().mistakes
    ]
    with running_broker(directory) as broker, Field(directory) as box:
        box.seal()  # as field does while the network is away
        made = _made(box)
        with HeadEnd(endpoint(broker, broker.authority.client("hes")), check_each=CHECK_EACH) as head_end:
            cursors = box.store.transact(lambda tx: tx.cursors())
            backlog = sum(last - delivered for delivered, last in cursors.values())
            began, waits = time.monotonic(), []
            with Uplink(directory, endpoint(broker, broker.authority.client(DCU)), idle_ms=1000, busy_ms=200):
                while _open(box, cursors):
                    waits.append(_alarm(box, head_end))
                seconds = time.monotonic() - began
            _await_all(box, head_end)
            rows = sum(
                len(item.record["rows"])
                for item in head_end.items
                if item.series.stream is Stream.PROFILE and item.record["profile"] == BLOCK_LOAD
            )
            ids = [item.id for item in head_end.items if item.series.stream is Stream.PROFILE]
            lost, twice = _missing(box, head_end), len(head_end.items) - len({(i.series, i.id) for i in head_end.items})
    name = f"{days * 24:g} h" if days < 1 else f"{days:g} d"
    recovery = (
        f"backlog of {backlog} records ({rows} intervals of block load, {made} records in payloads made meanwhile) "
        f"delivered in {seconds:.1f} s, "
        f"{'in order' if ids == sorted(ids) else 'OUT OF ORDER'}; "
        f"{len(waits)} live alarms meanwhile, slowest {max(waits, default=0):.2f} s"
    )
    if wrong:
        recovery = f"{wrong[0]}; {recovery}"
    injection = "no broker in virtual time; then a real one, and the real uplink"
    return Line(
        27, f"broker down {name}", injection, f"{meters} meters", lost, twice, recovery, not (lost or twice or wrong)
    )


def _made(box: Field) -> int:
    """Records that are in payloads."""
    found = (seal for stream in Stream for seal in seals_of(box.seals, box.store.epoch, stream))
    return sum(seal.last - seal.first + 1 for seal in found)


def _alarm(box: Field, head_end: HeadEnd) -> float:
    began = time.monotonic()
    last = box.append(Stream.ALARM, 1)
    until(lambda: last in head_end.ids(Stream.ALARM), 60)
    return time.monotonic() - began


def _open(box: Field, goal) -> bool:
    now = box.store.transact(lambda tx: tx.cursors())
    return any(now[stream][0] < last for stream, (_, last) in goal.items())


def _await_all(box: Field, head_end: HeadEnd) -> None:
    """Until the head-end holds all that was confirmed; what is missing after a minute is lost, and the line says so."""
    with suppress(AssertionError):
        until(lambda: _missing(box, head_end) == 0, 60)


def _missing(box: Field, head_end: HeadEnd) -> int:
    """Records up to the cursor that the head-end does not hold."""
    cursors = box.store.transact(lambda tx: tx.cursors())
    return sum(len(set(range(1, done + 1)) - set(head_end.ids(s))) for s, (done, _) in cursors.items())


# ---- links


@contextmanager
def _linked(run: Run, name: str, *, inside: bool = False):
    directory = run.scratch / name
    directory.mkdir()
    with running_broker(directory) as broker, Field(directory) as box:
        own = broker.authority.client(DCU)
        seen = Inside(broker.authority, own) if inside else None
        with HeadEnd(endpoint(broker, broker.authority.client("hes"))) as head_end:
            with FaultProxy(broker.port, inside=seen, rng=random.Random(run.seed)) as proxy:
                yield directory, proxy.endpoint(endpoint(broker, own)), proxy, box, head_end


def _line(row: int, fault: str, injection: str, tried: str, recovery: str, box: Field, head_end: HeadEnd) -> Line:
    lost = _missing(box, head_end) + len(head_end.listener.holes())
    twice = len(head_end.items) - len({(i.series, i.id) for i in head_end.items})
    return Line(row, fault, injection, tried, lost, twice, recovery, not (lost or twice))


def half_open(run: Run) -> list[Line]:
    """Everything is swallowed both ways, and the connection stays."""
    keepalive_s, found = (10 if run.full else 2), []
    with _linked(run, "half-open") as (directory, to, proxy, box, head_end):
        with Uplink(directory, to, keepalive_s=keepalive_s):
            for turn in range(run.of(1, 5)):
                goal = box.append(Stream.PROFILE, 20)
                until(lambda goal=goal: box.delivered(Stream.PROFILE) == goal, 60)
                told = len(box.links)
                proxy.black_hole = True
                began = time.monotonic()
                goal = box.append(Stream.PROFILE, 20) if turn % 2 else goal
                until(lambda told=told: any(x.noted.value == "lost" for x in box.links[told:]), 8 * keepalive_s)
                found.append(time.monotonic() - began)
                proxy.reset()
                proxy.black_hole = False
                until(lambda goal=goal: box.delivered(Stream.PROFILE) == goal, 60)
        _await_all(box, head_end)
        recovery = (
            f"found after {max(found):.1f} s at most with a keepalive of {keepalive_s} s "
            f"({max(found) / keepalive_s:.2f} of it; paho alone: 1.9)"
        )
        line = _line(29, "half-open link", "a proxy swallows both ways", f"{len(found)} times", recovery, box, head_end)
    return [line if max(found) <= 1.5 * keepalive_s + 2 else _bad(line)]


def _bad(line: Line) -> Line:
    return Line(*(getattr(line, name) for name in Line.__slots__[:-1]), good=False)


def slow(run: Run) -> list[Line]:
    """A link of the edge of a cell; a small share of it is ten times as fast, so that it ends."""
    count, quicker = run.of(40, 600), run.of(10, 1)
    with _linked(run, "slow") as (directory, to, proxy, box, head_end):
        proxy.rate_bytes_s, proxy.delay_s, proxy.slice_bytes = 1000 * quicker, 1.5 / quicker, 500
        proxy.reset_p = run.of(3, 5) / 100
        goal, began = box.append(Stream.PROFILE, count), time.monotonic()
        with Uplink(directory, to, backoff_max_s=run.of(1, 5)):
            until(lambda: box.delivered(Stream.PROFILE) == goal, 900)
        seconds = time.monotonic() - began
        _await_all(box, head_end)
        recovery = (
            f"{seconds:.0f} s, {proxy.connections} connections; {proxy.passed[0]} octets up, "
            f"{proxy.passed[0] / count:.0f} a record with all handshakes; "
            f"{head_end.listener.repeated} records came again"
        )
        injection = (
            f"proxy: {8 * quicker} kbit/s, {3 / quicker:g} s there and back, slices of 500 B, "
            f"{100 * proxy.reset_p:.0f} % of pieces reset"
        )
        line = _line(30, "slow link that breaks", injection, f"{count} records", recovery, box, head_end)
    return [line]


def lost_pubacks(run: Run) -> list[Line]:
    """Three of ten acknowledgements never come."""
    count, dice = run.of(30, 400), random.Random(run.seed)
    with _linked(run, "pubacks", inside=True) as (directory, to, proxy, box, head_end):
        proxy.drop = lambda kind, up: kind == PUBACK and not up and dice.random() < 0.3
        goal, began = box.append(Stream.PROFILE, count), time.monotonic()
        with Uplink(directory, to, max_bytes=4000, answer_s=0.5, in_flight=8):
            until(lambda: box.delivered(Stream.PROFILE) == goal, 300)
        seconds = time.monotonic() - began
        _await_all(box, head_end)
        recovery = f"{seconds:.0f} s; {head_end.listener.repeated} records came again under their own ids"
        injection = f"proxy inside TLS drops PUBACK with p = 0.3: {proxy.dropped} dropped"
        line = _line(31, "PUBACK lost", injection, f"{count} records", recovery, box, head_end)
    return [line]


def rivals(run: Run) -> Line:
    """Two boxes with one identity, for a day: each takes the session from the other as soon as it connects."""
    hours = [len(connects_of_two(random.Random(f"rivals/{run.seed}/{n}"), 86_400)) / 24 for n in range(run.of(2, 100))]
    return Line(
        33,
        "client id taken over by a copy, for a day",
        "virtual time, both with the uplink's back-off; a broker that says nothing",
        f"{len(hours)} days",
        None,
        None,
        f"{max(hours):.0f} connects an hour of both together, at most",
        max(hours) < MOST_CONNECTS_AN_HOUR,
    )


# ---- what has tests of its own


def tests_of(row: int, fault: str, injection: str, *words: str):
    """A row that is tried by the tests of its room: run here, counted, and stated as such."""

    def row_of(run: Run) -> list[Line]:
        if not run.full:
            return []
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *words]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=900, check=False)
        last = done.stdout.strip().splitlines()[-1] if done.stdout.strip() else done.stderr[-200:]
        passed = int(found.group(1)) if (found := re.search(r"(\d+) passed", last)) else 0
        cases = f"{passed} cases of the suite"
        shown = f"pytest {' '.join(words)}"
        return [
            Line(row, fault, injection, cases, None, None, f"`{shown}`: {last}", done.returncode == 0 and passed > 0)
        ]

    return row_of


oversize = tests_of(
    32, "limit lowered below a batch; poison record", "mosquitto max_packet_size; a scripted broker that refuses",
    "tests/uplink/test_quarantine.py", "tests/uplink/test_end_to_end.py",
    "-k", "quarantine or poison or set_aside or takes_less or packet",
)  # fmt: skip
takeover = tests_of(
    33, "client id taken over by a copy", "two uplinks with one identity; 0x8E; a day in virtual time",
    "tests/uplink/test_networks.py", "tests/uplink/test_hostile_broker.py", "-k", "identity or rival or taken_over",
)  # fmt: skip
certificates = tests_of(
    34, "certificates expired, not yet valid, unknown CA, wrong name, refused", "a generated PKI, TLS 1.2 and 1.3",
    "tests/uplink/test_tls.py", "tests/uplink/test_refusals.py",
)  # fmt: skip
renewal = tests_of(
    35, "certificate and key replaced while running", "files replaced, also by halves",
    "tests/uplink/test_networks.py", "-k", "certificate",
)  # fmt: skip
days_of_change = tests_of(
    15, "days on which clocks change", "zones x dates by the meters' clocks",
    "tests/field/test_ring_clock.py", "tests/field/test_local_time.py",
)  # fmt: skip
polls_under_steps = tests_of(
    14, "the box's clock steps and is believed", "by 1 s to 10 years, 40 times in 12 h; no poll is moved by a second",
    "tests/soak/test_clock_steps.py",
)  # fmt: skip
