"""The 300,000 test: a whole city told to be dark, by signatures that are all in order.

On 12 August 2020, the eve of a holiday, the meters of more than 300,000 households of Uttar Pradesh opened on a
command that was authorised and wrong. Here the same is done to 3,000 boxes with 100 meters each, and it is the boxes'
own policy that has to stand.
"""

import itertools
from collections import Counter
from collections.abc import Iterator

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


def boxes(run: Run, at_s: int, n: int, **policy) -> Iterator[tuple[int, StillBox]]:
    """Boxes one after the other, each with its meters and a policy in force."""
    people = People(run.seed)
    trust = people.trust()
    for i in range(n):
        dcu = f"JH-RNC-{i:04}"
        box = StillBox(dcu, trust, [f"GX{i:04}{m:03}" for m in range(METERS)], clock=HandClock(at_s))
        remembering(box)
        box.commission(signed_policy(people, policy_claims(dcu, list(box.wall), **policy)))
        yield i, box


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
    people, codes, opened, n = People(run.seed), Counter(), 0, run.of(4, 3000)
    for i, box in boxes(run, EVENING, n, closed=[DATE]):
        for document in permits(people, box.dcu, profile_of(i), DATE, METERS):
            assert box.hand_in(document) == "accepted"
        for serial in box.wall:
            codes[box.hand_in(cut(people, box, serial, profile_of(i)))] += 1
        box.pass_s(2 * HOUR_S, 600)
        opened += len(box.acts)
    return [
        Line(
            "a whole city cut by signatures in order, at 19:30 on a holiday: nobody is",
            f"{sum(codes.values()):,} disconnects with permits, leases and evidence to {n:,} boxes, half a profile",
            f"{opened} relays opened; {_told(codes)}",
            opened == 0 and codes.total() == n * METERS == codes["E_WINDOW"],
            (_MADE_UP,),
        )
    ]


_MADE_UP = (
    "the boxes are whole relay desks with their journals and receipts, in virtual time, with stores in memory; the "
    "policy that holds is verified once a second instead of at each command."
)


def caps(run: Run) -> list[Line]:
    """The same inside the hours, with permits for everybody: the caps are what is left."""
    people, codes, n = People(run.seed), Counter(), run.of(2, 3000)
    opened: Counter[str] = Counter()
    told, worst = 0, {"hour": 0, "day": 0, "apart": 10**9}
    for i, box in boxes(run, OPENS, n):
        profile = profile_of(i)
        for document in permits(people, box.dcu, profile, DATE, METERS):
            assert box.hand_in(document) == "accepted"
        told += _all_day(people, box, profile, codes)
        times = [at_s for at_s, method, _ in box.acts if method == 1]
        opened[profile] += len(times)
        worst["hour"] = max(worst["hour"], *(sum(t <= u < t + HOUR_S for u in times) for t in times), 0)
        worst["day"] = max(worst["day"], len(times))
        worst["apart"] = min([worst["apart"], *(b - a for a, b in itertools.pairwise(times))])
        assert box.states[State.DONE] == len(times)
    good = worst["hour"] <= 2 and worst["day"] <= 5 and worst["apart"] >= 60
    return [
        Line(
            "the same inside the hours, with a permit for every meter: never above the caps",
            f"{told:,} disconnects of {n * METERS:,} meters on {n:,} boxes from 10:00 to 17:00",
            f"{opened.total():,} opened ({opened['prepaid']:,} prepaid, {opened['arrears']:,} arrears); of one box at "
            f"most {worst['hour']} in any hour, {worst['day']} in the day, {worst['apart']:.0f} s apart; "
            + _told(codes),
            good and opened.total() == n * 5,
            ("caps of 100 meters: 2 an hour and 5 a day under both profiles; five each box is what they allow.",),
        )
    ]


def _all_day(people: People, box: StillBox, profile: str, codes: Counter) -> int:
    """Every meter once, in a burst at ten, and three more bursts while the day lasts."""
    told = 0
    serials = list(box.wall)
    for burst in range(4):
        for serial in serials[burst * METERS // 4 : (burst + 1) * METERS // 4]:
            codes[box.hand_in(cut(people, box, serial, profile))] += 1
            told += 1
        box.pass_s(HOUR_S + 1200, 60)
    return told


def stolen(run: Run) -> list[Line]:
    """Every key that requests, approves, bills, witnesses and plans is in one hand; not the one that permits."""
    people, codes, n, opened = People(run.seed), Counter(), run.of(4, 3000), 0
    thief = ("apr-1", "bill-1", "plan-1", "req-1", "wit-1")
    for i, box in boxes(run, NOON, n):
        for kid in thief:
            for profile in CUTTERS:
                for document in permits(people, box.dcu, profile, DATE, METERS, kid=kid):
                    codes[f"permits: {box.hand_in(document)}"] += 1
        for serial in box.wall:
            codes[box.hand_in(cut(people, box, serial, profile_of(i)))] += 1
        box.pass_s(HOUR_S, 600)
        opened += len(box.acts)
    cuts = Counter({code: k for code, k in codes.items() if not code.startswith("permits")})
    return [
        Line(
            "all keys stolen but the one that permits: nobody is disconnected",
            f"{cuts.total():,} disconnects on {n:,} boxes at noon of a working day, permits signed by each stolen key",
            f"{opened} relays opened; {_told(codes)}",
            opened == 0 and cuts["E_PERMIT"] == cuts.total() == n * METERS,
            ("a planner's share is kept and opens nothing: there is no total of the city to share.",),
        )
    ]


def _told(codes: Counter) -> str:
    return ", ".join(f"{code} {n:,}" for code, n in codes.most_common())
