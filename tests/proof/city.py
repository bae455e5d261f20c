"""The 300,000 test: a whole city told to be dark, by signatures that are all in order.

On 12 August 2020, the eve of a holiday, the meters of more than 300,000 households of Uttar Pradesh opened on a
command that was authorised and wrong. Here the same is done to 3,000 boxes with 100 meters each, and it is the boxes'
own policy that has to stand.
"""

import itertools
import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from dcu.command import State
from dcu.relay.standing import POLICY_BASE, POLICY_NARROWED
from tests.proof.papers import (
    CUTTERS,
    DATE,
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
from tests.proof.still import HandClock, StillBox

METERS = 100
EVENING = NOON + 7 * HOUR_S + 1800
"""19:30 on the day of DATE."""

OPENS, SHUTS = NOON - 2 * HOUR_S, NOON + 5 * HOUR_S
"""The hours of the policy on that day, 10:00 to 17:00."""


def remembering(box: StillBox) -> None:
    """The policy that holds is a function of what is kept, of trust and of the second: asked once for each of those."""
    book = box.desk._book
    asked, held = book.policy, {}

    def policy(tx):
        key = (tx.document(POLICY_BASE), tx.document(POLICY_NARROWED), book.now_s(), id(book.trust))
        if key not in held:
            held.clear()
            held[key] = asked(tx)
        return held[key]

    book.policy = policy


@dataclass
class Found:
    """What came of one box, or of several.

    Attributes:
        codes: answers to disconnects; `others`: to all else.
        opened: relays, by profile of authority.
        hour, day: disconnects of one box in any hour, and in the day, at most.
        apart_s: between two disconnects of one box, at least.
    """

    codes: Counter = field(default_factory=Counter)
    others: Counter = field(default_factory=Counter)
    opened: Counter = field(default_factory=Counter)
    hour: int = 0
    day: int = 0
    apart_s: float = math.inf

    def add(self, other: "Found") -> None:
        """What came of another one."""
        self.codes.update(other.codes)
        self.others.update(other.others)
        self.opened.update(other.opened)
        self.hour, self.day = max(self.hour, other.hour), max(self.day, other.day)
        self.apart_s = min(self.apart_s, other.apart_s)


def whole(run: Run, one: Callable[[Run, int], Found], n: int) -> Found:
    """What came of all boxes."""
    found = Found()
    for each in run.over(one, n):
        found.add(each)
    return found


def standing(people: People, i: int, at_s: int, **policy) -> StillBox:
    """A box with its meters and a policy in force."""
    dcu = f"JH-RNC-{i:04}"
    box = StillBox(dcu, people.trust(), [f"GX{i:04}{m:03}" for m in range(METERS)], clock=HandClock(at_s))
    remembering(box)
    box.commission(signed_policy(people, policy_claims(dcu, list(box.wall), **policy)))
    return box


def cut(people: People, box: StillBox, serial: str, profile: str, seq: int = 1, **changes) -> bytes:
    """A disconnect that is in order now."""
    now_s = int(box.clock.epoch_s)
    told = evidence_of(profile, now_s, permit_id(profile, DATE), box.desk.lease) | changes
    kids = told.pop("kids", CUTTERS[profile])
    claims = command_claims("disconnect", box.dcu, box.store.epoch, serial, f"c-{serial}-{seq}", now_s, seq=seq, **told)
    return signed(people, claims, kids)


def profile_of(i: int) -> str:
    """Half the boxes are told under the one profile, half under the other."""
    return ("prepaid", "arrears")[i % 2]


def holiday(run: Run) -> list[Line]:
    """Everything is in order, permits for everybody included, but the hour and the day."""
    n = run.of(4, 3000)
    found = whole(run, dark_holiday, n)
    opened, told = found.opened.total(), found.codes.total()
    return [
        Line(
            "a whole city cut by signatures in order, at 19:30 on a holiday: nobody is",
            f"{told:,} disconnects with permits, leases and evidence to {n:,} boxes, half a profile",
            f"{opened} relays opened; {_told(found.codes)}",
            opened == 0 and told == n * METERS == found.codes["E_WINDOW"],
            (_MADE_UP,),
        )
    ]


def dark_holiday(run: Run, i: int) -> Found:
    """One box of it."""
    people, found, profile = People(run.seed), Found(), profile_of(i)
    box = standing(people, i, EVENING, closed=[DATE])
    for document in permits(people, box.dcu, box.store.epoch, profile, DATE, METERS):
        assert box.hand_in(document) == "accepted"
    for serial in box.wall:
        found.codes[box.hand_in(cut(people, box, serial, profile))] += 1
    box.pass_s(2 * HOUR_S, 600)
    found.opened[profile] += len(box.acts)
    return found


_MADE_UP = (
    "the boxes are whole relay desks with their journals and receipts, in virtual time, with stores in memory; the "
    "policy that holds is verified once a second instead of at each command."
)


def caps(run: Run) -> list[Line]:
    """The same inside the hours, with permits for everybody: the caps are what is left."""
    n = run.of(2, 3000)
    found = whole(run, all_day, n)
    opened = found.opened
    good = found.hour <= 2 and found.day <= 5 and found.apart_s >= 60
    return [
        Line(
            "the same inside the hours, with a permit for every meter: never above the caps",
            f"{found.codes.total():,} disconnects of {n * METERS:,} meters on {n:,} boxes from 10:00 to 17:00",
            f"{opened.total():,} opened ({opened['prepaid']:,} prepaid, {opened['arrears']:,} arrears); of one box at "
            f"most {found.hour} in any hour, {found.day} in the day, {found.apart_s:.0f} s apart; {_told(found.codes)}",
            good and opened.total() == n * 5 and found.codes.total() == n * METERS,
            ("caps of 100 meters: 2 an hour and 5 a day under both profiles; five each box is what they allow.",),
        )
    ]


def all_day(run: Run, i: int) -> Found:
    """One box of it: every meter once, in a burst at ten, and three more bursts while the day lasts."""
    people, found, profile = People(run.seed), Found(), profile_of(i)
    box = standing(people, i, OPENS)
    for document in permits(people, box.dcu, box.store.epoch, profile, DATE, METERS):
        assert box.hand_in(document) == "accepted"
    serials = list(box.wall)
    for burst in range(4):
        for serial in serials[burst * METERS // 4 : (burst + 1) * METERS // 4]:
            found.codes[box.hand_in(cut(people, box, serial, profile))] += 1
        box.pass_s(HOUR_S + 1200, 60)
    times = [at_s for at_s, method, _ in box.acts if method == 1]
    found.opened[profile] += len(times)
    found.hour = max((sum(t <= u < t + HOUR_S for u in times) for t in times), default=0)
    found.day = len(times)
    found.apart_s = min((b - a for a, b in itertools.pairwise(times)), default=math.inf)
    assert box.states[State.DONE] == len(times)
    return found


THIEF = ("apr-1", "bill-1", "plan-1", "req-1", "wit-1")


def stolen(run: Run) -> list[Line]:
    """Every key that requests, approves, bills, witnesses and plans is in one hand; not the one that permits."""
    n = run.of(4, 3000)
    found = whole(run, thief, n)
    opened, told = found.opened.total(), found.codes.total()
    return [
        Line(
            "all keys stolen but the one that permits: nobody is disconnected",
            f"{told:,} disconnects on {n:,} boxes at noon of a working day, permits signed by each stolen key",
            f"{opened} relays opened; {_told(found.codes)}; permits: {_told(found.others)}",
            opened == 0 and found.codes["E_PERMIT"] == told == n * METERS,
            ("a planner's share is kept and opens nothing: there is no total of the city to share.",),
        )
    ]


def thief(run: Run, i: int) -> Found:
    """At one box."""
    people, found = People(run.seed), Found()
    box = standing(people, i, NOON)
    for kid in THIEF:
        for profile in CUTTERS:
            for document in permits(people, box.dcu, box.store.epoch, profile, DATE, METERS, kid=kid):
                found.others[box.hand_in(document)] += 1
    for serial in box.wall:
        found.codes[box.hand_in(cut(people, box, serial, profile_of(i)))] += 1
    box.pass_s(HOUR_S, 600)
    found.opened[profile_of(i)] += len(box.acts)
    return found


def _told(codes: Counter) -> str:
    return ", ".join(f"{code} {n:,}" for code, n in codes.most_common())
