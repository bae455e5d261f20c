"""What a new policy changes, in words: what becomes more permitted, and what less. Pure.

    compare(old, new).widens == ("prepaid becomes live in JH-DHN since .., with grace until ..", "GXT1 may be ..")

Whatever is not surely a narrowing counts as a widening: it needs two keys and waits (`floor.SLOW_S`).
Source: reference/command-authority.md 0 item 6.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from dcu.relay.policy.document import Area, Policy, Reconnect
from dcu.relay.policy.floor import DAY_S
from dcu.relay.policy.hours import DAYS

Found = Iterator[tuple[bool, str]]
"""(whether it widens, in words)."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """What becomes more permitted, and what less; each in one clause."""

    widens: tuple[str, ...]
    narrows: tuple[str, ...]


def compare(old: Policy | None, new: Policy) -> Comparison:
    """What `new` changes against `old`; None: nothing was in force, and so nothing permitted."""
    if old is None:
        return Comparison(_first(new), ())
    found = [change for part in _PARTS for change in part(old, new)]
    return Comparison(tuple(words for wide, words in found if wide), tuple(words for wide, words in found if not wide))


def _first(new: Policy) -> tuple[str, ...]:
    live = ", ".join(sorted(area for area, what in new.areas.items() if what.prepaid_live))
    return (f"it is the first policy: {len(new.meters)} meters, prepaid live in {live or 'no area'}",)


def _bounds(old: Policy, new: Policy) -> Found:
    if (old.iss, old.dcu) != (new.iss, new.dcu):
        yield True, f"it is for {new.dcu} of {new.iss}"
    if old.timezone != new.timezone:
        yield True, f"its hours are of {new.timezone}, not {old.timezone}"
    if new.nbf < old.nbf:
        yield True, f"it holds from {_day(new.nbf)}, not from {_day(old.nbf)}"
    if new.nbf > old.nbf and new.nbf > new.iat:
        yield False, f"it holds from {_day(new.nbf)} only"
    yield from _more(old.exp, new.exp, f"it holds until {_day(new.exp)}, not until {_day(old.exp)}")


def _areas(old: Policy, new: Policy) -> Found:
    for area in sorted(old.areas.keys() | new.areas.keys()):
        was, now = old.areas.get(area), new.areas.get(area)
        if now is None:
            yield False, f"{area} is not in it any more"
        elif was is None:
            yield True, f"{area} is new in it" + (f", prepaid live {_since(now)}" if now.prepaid_live else "")
        else:
            yield from _area(area, was, now)


def _area(area: str, was: Area, now: Area) -> Found:
    if now.prepaid_live and not was.prepaid_live:
        yield True, f"prepaid becomes live in {area} {_since(now)}"
    elif was.prepaid_live and not now.prepaid_live:
        yield False, f"prepaid is not live any more in {area}"
    if was.prepaid_live and now.prepaid_live:
        words = f"prepaid is live in {area} since {_day(now.since)}, not {_day(was.since)}"
        yield from _less(was.since, now.since, words)
    if was.profile is not now.profile:
        yield now.profile.value == "prepaid", f"{area} is under the profile {now.profile.value}"
    if was.reconnect is not now.reconnect:
        # both ways: a relay that closes by itself is a hazard, and "arm" is darkness where meters have no button
        closes = now.reconnect is Reconnect.CLOSE
        yield True, f"in {area} a connect {'may close the relay' if closes else 'leaves it to the button'}"
    words = f"{now.grace_days} days of grace in {area}, not {was.grace_days}"
    yield from _less(was.grace_days, now.grace_days, words)


def briefly(clauses: Sequence[str], most: int) -> str:
    """The clauses in so many characters; what does not fit is counted, never left out in silence."""
    for told in reversed(range(len(clauses) + 1)):
        left = len(clauses) - told
        words = "; ".join([*clauses[:told], *([f"and {left} more"] if left else [])])
        if len(words) <= most:
            return words
    return f"{len(clauses)} changes"


def early_since(old: Policy | None, new: Policy) -> str:
    """Where prepaid goes live in the past, in words; empty: nowhere. Its grace would be over before anybody knew of it.

    An area that is new in a policy may be live since long: its meters came from elsewhere.
    """
    for area, now in sorted(new.areas.items()):
        was = old.areas.get(area) if old is not None else None
        if was is not None and now.prepaid_live and not was.prepaid_live and now.since < new.iat:
            return f"prepaid becomes live in {area} {_since(now)}, before the policy was issued ({_day(new.iat)})"
    return ""


def _since(area: Area) -> str:
    """Since when prepaid is live, and until when nobody is disconnected for lack of credit."""
    grace = f"with grace until {_day(area.since + area.grace_days * DAY_S)}" if area.grace_days else "without grace"
    return f"since {_day(area.since)}, {grace}"


def _meters(old: Policy, new: Policy) -> Found:
    added = sorted(new.meters.keys() - old.meters.keys())
    gone = sorted(old.meters.keys() - new.meters.keys())
    moved = sorted(s for s in old.meters.keys() & new.meters.keys() if old.meters[s] != new.meters[s])
    if added:
        yield True, f"{_some(added)} may be disconnected"
    if moved:
        yield True, f"{_some(moved)} in another area"
    if gone:
        yield False, f"{_some(gone)} not in it any more"


def _hours(old: Policy, new: Policy) -> Found:
    for day in DAYS:
        was, now = old.hours.get(day, (0, 0)), new.hours.get(day, (0, 0))
        if was != now:
            inside = now == (0, 0) or (was[0] <= now[0] and now[1] <= was[1])
            yield not inside, f"{day} {_span(now)}, not {_span(was)}"
    for span in sorted(set(old.closed) ^ set(new.closed), key=lambda s: s.begins):
        opened = span not in new.closed
        yield opened, f"{span.begins:%Y-%m-%d %H:%M} to {span.ends:%Y-%m-%d %H:%M} is {'open' if opened else 'closed'}"


def _spared(old: Policy, new: Policy) -> Found:
    for serial in sorted(old.protected.keys() ^ new.protected.keys()):
        loses = serial not in new.protected
        yield loses, f"{serial} is {'protected no more' if loses else 'protected'}"
    for serial in sorted(old.grace.keys() | new.grace.keys()):
        was, now = old.grace.get(serial, 0), new.grace.get(serial, 0)
        words = f"{serial} has grace until {_day(now)}, not {_day(was)}" if now else f"{serial}: no grace"
        yield from _less(was, now, words)
    words = f"{new.emergency_h} h of emergency credit, not {old.emergency_h}"
    yield from _less(old.emergency_h, new.emergency_h, words)


def _caps(old: Policy, new: Policy) -> Found:
    for profile, now in new.caps.items():
        was = old.caps[profile]
        for window in ("hour", "day", "week"):
            before, after = getattr(was, window), getattr(now, window)
            yield from _more(before, after, f"{profile.value}: {after} a {window}, not {before}")
        for pause, words in (("spacing_s", "between two"), ("wait_s", "before each")):
            before, after = getattr(was, pause), getattr(now, pause)
            yield from _less(before, after, f"{profile.value}: {after} s {words}, not {before}")


def _meter_rules(old: Policy, new: Policy) -> Found:
    words = f"a load limit counts as a disconnect below {new.limit_floor_w} W, not {old.limit_floor_w} W"
    yield from _less(old.limit_floor_w, new.limit_floor_w, words)
    for model in sorted(old.no_payment_mode_register ^ new.no_payment_mode_register):
        added = model in new.no_payment_mode_register
        yield added, f"meters of {model} {'need not' if added else 'must'} say prepaid themselves"


_PARTS: tuple[Callable[[Policy, Policy], Found], ...] = (
    _bounds,
    _areas,
    _meters,
    _hours,
    _spared,
    _caps,
    _meter_rules,
)


def _more(was: int, now: int, words: str) -> Found:
    """A number of which more is a widening."""
    if now > was:
        yield True, words
    elif now < was:
        yield False, words


def _less(was: int, now: int, words: str) -> Found:
    """A number of which less is a widening."""
    yield from _more(now, was, words)


def _some(serials: list[str]) -> str:
    if len(serials) <= 3:
        return ", ".join(serials)
    return f"{len(serials)} meters ({', '.join(serials[:3])}, ..)"


def _span(minutes: tuple[int, int]) -> str:
    opens, closes = minutes
    return f"{opens // 60:02}:{opens % 60:02}-{closes // 60:02}:{closes % 60:02}" if closes else "closed"


def _day(seconds: int) -> str:
    try:
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M}"
    except (ValueError, OverflowError, OSError):
        return f"{seconds} s"
