"""The clock matrix: a box that believes any time between ten years ago and ten years from now, and may not know it.

The state of the clock is the program's own (`timekeeping.Timekeeper`); only what it sees is made up. A disconnect is
never carried out while the clock is untrusted; light returns whatever the clock says.
"""

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime

from dcu.reading import ClockState
from dcu.timekeeping import Sighting, Standing, Timekeeper
from tests.proof.papers import (
    CUTTERS,
    DATE,
    DAY_S,
    FLOOR_S,
    HOUR_S,
    NOON,
    command_claims,
    evidence_of,
    permit_id,
    permits,
    policy_claims,
    signed,
    signed_policy,
)
from tests.proof.people import People
from tests.proof.run import Line, Run
from tests.proof.still import HandClock, StillBox, WallMeter

YEAR_S = int(365.25 * DAY_S)
DARK, BY_TRUTH, BY_BELIEF, ACCEPTED = SERIALS = tuple(f"GX{n:03}" for n in range(4))
"""To be connected; to be cut by a command dated by true time, by the box's, and by one accepted before all this."""

LATER = "started so, the meters heard later"
HOWS = ("started so", LATER, "stepped", "stepped while one waits")

AHEAD_S = [
    sign * s
    for s in (10 * YEAR_S, 5 * YEAR_S, YEAR_S, 40 * DAY_S, 7 * DAY_S, DAY_S, 12 * HOUR_S, HOUR_S, 600, 90, 30)
    for sign in (-1, 1)
] + [0]


class KeptClock(HandClock):
    """A clock whose standing the timekeeper judges from what the kernel would say."""

    def __init__(self) -> None:
        super().__init__()
        self.disciplined = True
        self.begin()

    def begin(self) -> None:
        """The machine starts."""
        self.started_s, self.boot_id = self.true_s - 60.0, f"boot-{self.true_s}"
        self._keeper = Timekeeper(FLOOR_S, self.boot_id)

    def standing(self) -> Standing:
        return self._keeper.look(Sighting(self.epoch_s, self.boottime_s(), self.disciplined))

    def state(self) -> ClockState:
        return self.standing().state

    def meters_heard(self) -> bool:
        return self.standing().heard

    def floor(self) -> datetime:
        return datetime.fromtimestamp(self._keeper.floor_s, UTC)

    def hear(self, *, meters: bool) -> None:
        """Five meters show the true time; or all were asked and none showed any."""
        self._keeper.hear_meters([self.true_s - self.boottime_s()] * 5 * meters, all_asked=True)


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell of the matrix: how the box came by its time, how far ahead that is, and who speaks against it."""

    how: str
    ahead_s: int
    disciplined: bool
    meters: bool


def cells(run: Run) -> list[Cell]:
    """The grid, and in the full share random ones between."""
    chance = run.chance("clocks")
    ahead_s = AHEAD_S if run.full else AHEAD_S[::3]
    made = [
        Cell(how, s, disciplined, meters)
        for how in HOWS
        for s in ahead_s
        for disciplined in (False, True)
        for meters in (False, True)
    ]
    made += [
        Cell(chance.choice(made).how, chance.randint(-10 * YEAR_S, 10 * YEAR_S), chance.random() < 0.3, meters)
        for meters in (False, True)
        for _ in range(run.of(5, 500))
    ]
    return [*made, Cell("not synchronised for 25 hours", 0, disciplined=False, meters=True)]


class SeenMeter(WallMeter):
    """Remembers what the box's clock was worth when the meter was told to open."""

    clock: KeptClock
    opened_in: list[Standing]

    def act(self, at_s, method):
        if method == 1:
            self.opened_in.append(self.clock.standing())
        super().act(at_s, method)


@dataclass
class Found:
    """What a cell came to."""

    state: ClockState
    opened_in: list[Standing]
    lit: bool
    codes: Counter


class Trial:
    """One cell tried."""

    def __init__(self, people: People, cell: Cell) -> None:
        self.people, self.cell = people, cell
        self.clock = KeptClock()
        self.clock.hear(meters=False)
        self.box = StillBox("JH-RNC-0042", people.trust(), SERIALS, clock=self.clock)
        always = {"iat": NOON - 20 * YEAR_S, "nbf": NOON - 20 * YEAR_S, "exp": NOON + 20 * YEAR_S}
        self.box.commission(signed_policy(people, policy_claims(self.box.dcu, list(SERIALS), **always)))
        for document in permits(people, self.box.dcu, self.box.store.epoch, "prepaid", DATE, 50):
            assert self.box.hand_in(document) == "accepted"
        self.opened_in: list[Standing] = []
        for serial in SERIALS:
            wall = self.box.wall[serial] = SeenMeter(serial, connected=serial != DARK)
            wall.clock, wall.opened_in = self.clock, self.opened_in

    def run(self) -> Found:
        codes: Counter[str] = Counter()
        if self.cell.how == "stepped while one waits":
            codes[self._cut(ACCEPTED, self.clock.true_s)] += 1
            self.box.pass_s(20)
        self._lose()
        if self.cell.how != LATER:
            self.clock.hear(meters=self.cell.meters)
        codes[self._cut(BY_TRUTH, self.clock.true_s)] += 1
        codes[self._cut(BY_BELIEF, self.clock.epoch_s)] += 1
        if self.cell.how == LATER:
            self.box.pass_s(200)
            self.clock.hear(meters=self.cell.meters)
        state = self.clock.state()
        told = self.box.hand_in(self._command("connect", DARK, self.clock.true_s, ["bill-1"]))
        self.box.pass_s(200)
        assert told == "accepted" or state.known
        return Found(state, self.opened_in, self.box.wall[DARK].connected, codes)

    def _lose(self) -> None:
        """The clock goes wrong."""
        cell, clock = self.cell, self.clock
        if cell.how.startswith("not"):
            clock.disciplined = False
            self.box.pass_s(25 * HOUR_S, HOUR_S)
        clock.disciplined = cell.disciplined
        clock.ahead_s = float(cell.ahead_s)
        if cell.how.startswith("started"):
            clock.begin()
            self.box.start()

    def _cut(self, serial: str, at_s: float) -> str:
        told = evidence_of("prepaid", int(at_s), permit_id("prepaid", DATE), self.box.desk.lease)
        return self.box.hand_in(self._command("disconnect", serial, at_s, CUTTERS["prepaid"], **told))

    def _command(self, op: str, serial: str, at_s: float, kids, **told) -> bytes:
        claims = command_claims(op, self.box.dcu, self.box.store.epoch, serial, f"c-{serial}", int(at_s), seq=1, **told)
        return signed(self.people, claims, kids)


def matrix(run: Run) -> list[Line]:
    """Every cell."""
    people, states, codes = People(run.seed), Counter(), Counter()
    wrong = unheard = opened = served = 0
    made = cells(run)
    for cell in made:
        found = Trial(people, cell).run()
        states[found.state] += 1
        wrong += sum(not standing.state.known for standing in found.opened_in)
        unheard += sum(not standing.heard for standing in found.opened_in)
        opened += len(found.opened_in)
        if found.state is ClockState.UNTRUSTED:
            served += found.lit
            codes.update(found.codes)
    untrusted = states[ClockState.UNTRUSTED]
    told = ", ".join(f"{state.value} {n}" for state, n in states.most_common())
    return [
        Line(
            "a box that does not know the time disconnects nobody, and gives light back",
            f"{len(made)} cells: a box's clock 10 years behind to 10 years ahead since its start, stepped "
            f"there, or stepped while a disconnect waits; disciplined or not, meters against it, at once or later, "
            f"or silent ({told})",
            f"{wrong} disconnects in an untrusted state, {unheard} before the meters were heard ({opened} others); "
            f"{served} of {untrusted} connects served in it; answers to disconnects there: "
            + ", ".join(f"{code} {n}" for code, n in codes.most_common()),
            wrong == unheard == 0 and served == untrusted > len(made) // 2 and opened > 0,
            (
                "disconnects dated by true time, and by the box's own belief, as a thief of all keys would date them.",
                "the policy holds for forty years, so that its dates refuse nobody in the clock's place.",
                (
                    "where a false time service disciplines the clock and no meter speaks against it, it is believed: "
                    "what is then dated by that time is judged by it."
                ),
            ),
        )
    ]
