"""The rows that are tried, by their numbers in the matrix."""

from collections.abc import Callable

from tests.faults import boxes, disks, kills, network, power, storm, strained, virtual
from tests.faults.report import Line
from tests.faults.run import Run


def power_cut(run: Run) -> list[Line]:
    """First the replayer itself: bad modes must lose, good ones must not. Then the store."""
    lines = []
    rows = run.of(30, 400)
    for journal, synchronous, good, why in (
        ("WAL", "NORMAL", False, "commits are not synced"),
        ("DELETE", "FULL", False, "the journal's unlink, which commits, is not synced"),
        ("WAL", "FULL", True, ""),
        ("DELETE", "EXTRA", True, ""),
    ):
        every = run.of(4, 1 if journal == "WAL" else 4)
        found = power.of_bare(journal, synchronous, rows, seed=run.seed, every=every)
        loses = found.losing > 0
        lines.append(
            Line(
                1,
                f"the replayer itself: bare sqlite3, {journal} and {synchronous}",
                "known-bad: must lose" if not good else "known-good: must not lose",
                f"{found.points} crash points",
                found.worst,
                None,
                f"loses at {found.losing} points: {why}" if loses else f"{found.corrupt} corrupt",
                loses is not good and (found.corrupt == 0 or not good),
            )
        )
    weak = power.of_store("--commits", 60, "--weak", seed=run.seed, every=run.of(30, 5))
    lines.append(
        Line(
            1,
            "the store with synchronous=NORMAL",
            "known-bad: must lose",
            f"{weak.points} crash points",
            weak.worst,
            None,
            f"loses at {weak.losing} points",
            weak.losing > 0,
        )
    )
    lines.append(_store_cut(run))
    return lines


def _store_cut(run: Run) -> Line:
    words = ("--commits", run.of(40, 400), "--lives", 2, "--burst", run.of(100, 3000))
    found = power.of_store(*words, seed=run.seed, every=run.of(20, 1))
    return Line(
        1,
        "power cut, any instant: polls with ledger, alarms, journal, counters, cursor, close and next start",
        f"recorded by strace, cut at {'every' if run.full else 'each 20th'} write, sync and acknowledgement: "
        + ", ".join(f"{name} {count}" for name, count in found.at.items()),
        f"{found.points} crash points of {found.events} boundaries",
        found.worst,
        0 if not found.corrupt else None,
        found.first or "every image opens, is whole, and holds all that was acknowledged",
        not found.losing and not found.corrupt,
    )


def kill_9(run: Run) -> list[Line]:
    """Of the store's process, and of the uplink's."""
    of_store = kills.of_store(run.scratch, run.of(15, 1000), seed=run.seed)
    uplinks = run.scratch / "uplink"
    uplinks.mkdir()
    of_uplink = kills.of_uplink(uplinks, run.of(8, 1000), seed=run.seed)
    return [
        _killed(
            "kill -9 of the process that holds the store (store, counters and all writers; no line, no sockets)",
            of_store,
            f"next life serves: {of_store.recovery()}",
        ),
        _killed(
            "kill -9 of the uplink process between field's socket and mosquitto (mutual TLS)",
            of_uplink,
            f"delivers again: {of_uplink.recovery()}; {of_uplink.repeated} records came again, known by their id",
        ),
        *(boxes.killed(run) if run.full else []),
    ]


def _killed(fault: str, found: kills.Kills, recovery: str) -> Line:
    bad = (*found.lost, *found.doubled, *found.damaged)
    return Line(
        2,
        fault,
        "SIGKILL at a random moment under load, one in ten while it starts",
        f"{found.kills} kills, {found.told} acknowledgements before them",
        len(found.lost),
        len(found.doubled),
        "; ".join(bad[:2]) or recovery,
        not bad,
    )


def failed_sync(run: Run) -> list[Line]:
    """EIO of the N-th sync, for each N; what it was to write is gone for good."""
    lives = points = losing = corrupt = told = 0
    first = ""
    for call, numbers in (("fdatasync", range(1, run.of(6, 45))), ("fsync", range(8, run.of(9, 14)))):
        for number, found, faults in power.failed_syncs(call, numbers, seed=run.seed, every=run.of(60, 20)):
            lives, points = lives + 1, points + found.points
            losing, corrupt, told = losing + found.losing, corrupt + found.corrupt, told + (faults > 0)
            first = first or (found.first and f"{call} {number}: {found.first}")
    return [
        Line(
            4,
            "fsync fails with EIO, and what it was to write never comes",
            "strace: the N-th fdatasync or fsync, each N",
            f"{lives} lives, {points} crash points behind them",
            losing,
            0 if not corrupt else None,
            first or f"no false acknowledgement; in {told} lives works were told of the fault, the rest fell at start",
            not losing and not corrupt,
        )
    ]


def steps(run: Run) -> list[Line]:
    """The box's clock steps in ten days of faults; then every poll is compared with those of a box left in peace."""
    return [*virtual.steps(run), *network.polls_under_steps(run)]


def unplugged(run: Run) -> list[Line]:
    """The adapter of a virtual line, for a long time; then that of a whole box."""
    return [*virtual.unplugged(run), strained.unplugged(run)]


def takeover(run: Run) -> list[Line]:
    """Over a broker, and for a day in virtual time."""
    return [*network.takeover(run), network.rivals(run)]


def starved(run: Run) -> list[Line]:
    """Of memory, and of a processor."""
    return [*boxes.low_memory(run), strained.little_cpu(run)]


ROWS: dict[int, Callable[[Run], list[Line]]] = {
    1: power_cut,
    2: kill_9,
    3: disks.nth_write,
    4: failed_sync,
    5: boxes.disk_full,
    6: boxes.read_only,
    7: disks.rotten,
    8: boxes.truncated,
    9: disks.long_reader,
    10: boxes.technician,
    11: virtual.log_storm,
    12: disks.card,
    13: virtual.boots_in_1970,
    14: steps,
    15: network.days_of_change,
    16: virtual.meters_clocks,
    17: unplugged,
    27: network.outages,
    28: storm.broker_restart,
    29: network.half_open,
    30: network.slow,
    31: network.lost_pubacks,
    32: network.oversize,
    33: takeover,
    34: network.certificates,
    35: network.renewal,
    40: virtual.slopes,
    41: starved,
    42: boxes.hung,
}
