"""When disconnects are allowed at all: hours of a weekday, closed days and intervals, by the policy's timezone. Pure.

    "hours":  {"mon":"10:00-14:00", "fri":"10:00-12:00"}      a day that is not named is closed
    "closed": ["2026-11-24", "2026-11-26T12:00/2026-11-27T09:00"]   days, and intervals of local time

Source: reference/command-authority.md 0 item 12, 6 (hours and holidays), 8 (check 21).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta, tzinfo
from typing import Final
from zoneinfo import ZoneInfo

from dcu.relay.canonical import Json
from dcu.relay.members import named, refused
from dcu.relay.policy.floor import CLOSES_MIN, OPENS_MIN

DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_HOURS: Final = re.compile(r"([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-4]):([0-5]\d)", re.ASCII)
_ZONE: Final = re.compile(r"[A-Za-z0-9_+/-]{1,40}", re.ASCII)
_LOCAL: Final = re.compile(r"\d{4}-\d\d-\d\d(T\d\d:\d\d)?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Closed:
    """A closed time, both ends local; the end is not in it any more."""

    begins: datetime
    ends: datetime


def read_zone(value: Json) -> str:
    """The name of a timezone that this machine knows. Raises CommandRefused: E_SCHEMA."""
    if isinstance(value, str) and _ZONE.fullmatch(value):
        try:
            return ZoneInfo(value).key
        except (OSError, ValueError, LookupError):
            pass
    raise refused("timezone is none that is known here")


def read_hours(value: Json) -> dict[str, tuple[int, int]]:
    """Opening and closing minute of each day that is open. Raises CommandRefused: E_SCHEMA."""
    hours = {}
    for day, text in named(value, "hours").items():
        found = _HOURS.fullmatch(text) if isinstance(text, str) else None
        if day not in DAYS or found is None:
            raise refused("hours are as mon: 10:00-14:00")
        opens, closes = (int(found[n]) * 60 + int(found[n + 1]) for n in (1, 3))
        if not opens < closes <= 24 * 60:
            raise refused(f"{day} closes before it opens")
        hours[day] = (opens, closes)
    return hours


def read_closed(value: Json, what: str) -> Closed:
    """A closed day or interval. Raises CommandRefused: E_SCHEMA."""
    first, slash, last = str(value).partition("/")  # what is no text is spelled as no time is
    try:
        begins = _local(first)
        ends = _local(last) if slash else begins + timedelta(days=1)
    except (ValueError, OverflowError):
        raise refused(f"{what} has days as 2026-11-24, or two local times with / between") from None
    if not begins < ends or (not slash and begins.time() != time()):
        raise refused(f"{what}: {value} has no length")
    return Closed(begins, ends)


def open_at(
    zone: str, hours: Mapping[str, tuple[int, int]], closed: tuple[Closed, ...], now_s: int
) -> tuple[bool, str]:
    """Whether disconnects are allowed at that time, and the local time in words. The compiled hours hold as well."""
    local = datetime.fromtimestamp(now_s, UTC).astimezone(ZoneInfo(zone)).replace(tzinfo=None)
    minute = local.hour * 60 + local.minute
    opens, closes = hours.get(DAYS[local.weekday()], (0, 0))
    allowed = max(opens, OPENS_MIN) <= minute < min(closes, CLOSES_MIN)
    shut = any(span.begins <= local < span.ends for span in closed)
    return allowed and not shut, f"{DAYS[local.weekday()]} {local:%Y-%m-%d %H:%M} {zone}"


def within_floor(zone: tzinfo, now_s: int) -> bool:
    """Whether it is by day in that zone: within the compiled hours, which no policy lifts."""
    local = datetime.fromtimestamp(now_s, UTC).astimezone(zone)
    return OPENS_MIN <= local.hour * 60 + local.minute < CLOSES_MIN


def local_date(zone: str, now_s: int) -> str:
    """The calendar day there, as 2026-11-24."""
    return datetime.fromtimestamp(now_s, UTC).astimezone(ZoneInfo(zone)).date().isoformat()


def _local(text: str) -> datetime:
    if not _LOCAL.fullmatch(text):  # Python reads weeks, zones and spaces as well
        raise ValueError(text)
    return datetime.fromisoformat(text)
