"""What a policy would change, before anybody signs it: what it permits, what it takes, what it can never permit. Pure.

    found = lint(new, in_force, now_s)
    found.faults      a rule that this program's own floor lifts again, or that permits nothing: not to be signed
    found.widens      what becomes more permitted: two keys, and a day of waiting
    found.narrows     what becomes less permitted: one key where nothing widens, at once
    found.doubts      what is allowed and seldom meant

Source: command-authority.md 0 items 6 and 12, 6; the floor is `dcu.relay.policy.floor`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from dcu.command import Command, Operation, Profile
from dcu.headend.telling import moment
from dcu.relay.checks.freshness import LAST_CUT
from dcu.relay.policy import Policy, Reconnect, compare, early_since, most_a_day, usual_caps
from dcu.relay.policy.floor import (
    CLOSES_MIN,
    DAY_S,
    LEAST_LIMIT_W,
    LOW_CREDIT_MOST_S,
    NOTICE_MOST_S,
    NOTICE_S,
    OPENS_MIN,
    SLOW_S,
)
from dcu.relay.policy.vet import STEP

_LONG_S: Final = 400 * DAY_S
_SHORT_S: Final = 7 * DAY_S


@dataclass(frozen=True, slots=True)
class Finding:
    """What there is to say of a policy; each a clause in words."""

    faults: tuple[str, ...]
    widens: tuple[str, ...]
    narrows: tuple[str, ...]
    doubts: tuple[str, ...]

    @property
    def effect(self) -> str:
        """Who has to sign, and when it takes effect."""
        if self.widens:
            hours = SLOW_S // 3600
            return f"permits more: two policy keys of two people, and it takes effect {hours} h after the box saw it"
        if self.narrows:
            return "permits less: one policy key is enough, and it takes effect at once"
        return "permits what is permitted now: one policy key is enough"


def lint(new: Policy, in_force: Policy | None, now_s: int) -> Finding:
    """What there is to say of `new`.

    Args:
        new: to be signed.
        in_force: what the box obeys now; None: nothing, or not known here.
        now_s: UTC seconds.
    """
    found = compare(in_force, new)
    return Finding(
        (*_dates(new, in_force, now_s), *_beyond_hours(new), *_beyond_caps(new), *_beyond_limits(new), *_nowhere(new)),
        found.widens,
        found.narrows,
        (*_early(new, in_force), *_permits_nothing(new), *_unusual(new), *_gentle(new, now_s)),
    )


def lint_command(command: Command) -> tuple[str, ...]:
    """What every box would refuse of a command whatever its policy says, each a clause with its code."""
    return tuple(_numbers(command)) + tuple(_evidence(command))


def _numbers(command: Command) -> Iterator[str]:
    if command.seq is not None and command.seq > LAST_CUT and command.op is not Operation.CONNECT:
        yield f"seq {command.seq}: that of a disconnect is at most {LAST_CUT} (E_SEQ)"


def _evidence(command: Command) -> Iterator[str]:
    days = (NOTICE_S // DAY_S, NOTICE_MOST_S // DAY_S, LOW_CREDIT_MOST_S // DAY_S)
    if command.notice is not None and not command.iat - NOTICE_MOST_S <= command.notice <= command.exp - NOTICE_S:
        yield f"a notice of {moment(command.notice)}: it counts when it is {days[0]} to {days[1]} days old (E_NOTICE)"
    told_s = command.low_credit_at
    if told_s is not None and not command.iat - LOW_CREDIT_MOST_S <= told_s <= command.exp:
        yield f"told of low credit {moment(told_s)}: that counts for {days[2]} days (E_NOTICE)"


def _dates(new: Policy, in_force: Policy | None, now_s: int) -> Iterator[str]:
    if new.exp <= now_s or new.exp <= new.nbf:
        yield f"it is over before it begins: until {moment(new.exp)}"
    if in_force is not None and (new.iss, new.dcu) != (in_force.iss, in_force.dcu):
        yield f"it is for {new.dcu} of {new.iss}, and what is in force for {in_force.dcu} of {in_force.iss}"
    elif in_force is not None and not in_force.version < new.version <= in_force.version + STEP:
        yield f"version {new.version} is not {in_force.version + 1} to {in_force.version + STEP}: E_VERSION"


def _early(new: Policy, in_force: Policy | None) -> Iterator[str]:
    """What the box judges by the policy that two people signed last, which may be another than the one in force."""
    if fault := early_since(in_force, new):
        yield f"{fault}: E_POLICY, unless the policy that two signed last had it live since then"


def _beyond_hours(new: Policy) -> Iterator[str]:
    """Hours that the floor takes away again: whoever signs them believes in what never happens."""
    for day, (opens, closes) in new.hours.items():
        if opens < OPENS_MIN or closes > CLOSES_MIN:
            words = f"{_clock(opens)}-{_clock(closes)}"
            yield f"{day} {words}: nobody is disconnected before {_clock(OPENS_MIN)} or after {_clock(CLOSES_MIN)}"


def _beyond_caps(new: Policy) -> Iterator[str]:
    floor = most_a_day(len(new.meters))
    for profile, caps in new.caps.items():
        if caps.day > floor:
            yield f"{profile.value}: {caps.day} a day, and {floor} are the most for {len(new.meters)} meters"
        if caps.hour > caps.day or caps.day > caps.week:
            yield f"{profile.value}: {caps.hour} an hour, {caps.day} a day, {caps.week} a week contradict each other"


def _nowhere(new: Policy) -> Iterator[str]:
    """A zone that is of no place: the hours of UTC are night where the consumers live."""
    if "/" not in new.timezone or new.timezone.startswith("Etc/"):
        yield f"timezone {new.timezone} is that of no place: the box counts the hours where its meters stand, too"


def _beyond_limits(new: Policy) -> Iterator[str]:
    if new.limit_floor_w < LEAST_LIMIT_W:
        yield f"limit_floor_w {new.limit_floor_w}: a load limit below {LEAST_LIMIT_W} W is always a disconnect"


def _permits_nothing(new: Policy) -> Iterator[str]:
    if not new.hours:
        yield "no day is open: nothing may be disconnected"
    if not new.meters:
        yield "it names no meter: nothing may be disconnected"
    for area in sorted(new.areas.keys() - set(new.meters.values())):
        yield f"no meter stands in {area}"
    for area, what in sorted(new.areas.items()):
        if what.profile is Profile.PREPAID and not what.prepaid_live:
            yield f"{area} is under the profile prepaid, and prepaid is not live there"


def _unusual(new: Policy) -> Iterator[str]:
    for profile, caps in new.caps.items():
        usual = usual_caps(profile, len(new.meters))
        for name in ("hour", "day", "week"):
            if getattr(caps, name) > usual[name]:
                yield f"{profile.value}: {getattr(caps, name)} a {name}; {usual[name]} are usual for so many meters"
        for name, words in (("spacing_s", "between two"), ("wait_s", "to take it back")):
            if getattr(caps, name) < usual[name]:
                yield f"{profile.value}: {getattr(caps, name)} s {words}; {usual[name]} s are usual"
    if new.exp - new.nbf > _LONG_S:
        yield f"it holds for {(new.exp - new.nbf) // DAY_S} days: what is forgotten goes on so long"


def _gentle(new: Policy, now_s: int) -> Iterator[str]:
    if new.exp - now_s < _SHORT_S:
        yield f"it ends {moment(new.exp)}: from then on nothing may be disconnected until there is another"
    live = {name: area for name, area in new.areas.items() if area.prepaid_live}
    for name, area in sorted(live.items()):
        if area.since > now_s:
            yield f"prepaid is live in {name} only from {moment(area.since)}"
        if area.grace_days == 0:
            yield f"no grace in {name} after prepaid became live"
    if live and new.emergency_h == 0:
        yield "no emergency credit after the message of low credit"
    if not new.protected:
        yield "no consumer is protected, neither medical nor essential supply"
    if not new.closed:
        yield "no holiday is closed"
    for name, area in sorted(new.areas.items()):
        if area.reconnect is Reconnect.CLOSE:
            yield f"in {name} a connect closes the relay with nobody at home"


def _clock(minutes: int) -> str:
    return f"{minutes // 60:02}:{minutes % 60:02}"
