"""Checks 13 to 16: clock, dates, lease, sequence: that it is meant now, and for the first time. Pure."""

from typing import Final

from dcu.command import CommandRefused, Refusal
from dcu.reading import ClockState
from dcu.relay.canonical import MAX_INTEGER
from dcu.relay.case import Case
from dcu.relay.policy import SKEW_S
from dcu.relay.policy.floor import LONGEST_LIFE_S

__all__ = ["LONGEST_LIFE_S"]

FREE_NUMBERS: Final = 1 << 42
"""Up to here any sequence number may follow: head-ends number by ones, or by milliseconds of UTC (until 2109)."""

STEP: Final = 1 << 32
"""From one number to the next beyond that: no one key uses all numbers up."""

LAST_CUT: Final = 1 << 52
"""A disconnect's number is at most this, so that there always is a greater one for the connect after it."""

_UNKNOWN: Final = "the box does not know what time it is"


def check_clock(case: Case) -> None:
    """13: the box knows the time: its clock is disciplined, or was within a day, and the meters do not disagree."""
    if not case.moment.clock.known:
        raise CommandRefused(Refusal.E_CLOCK, _UNKNOWN)


def check_heard(case: Case) -> None:
    """13: the meters' own clocks, which alone can speak against a disciplined one, have had their say."""
    if not case.moment.heard:
        raise CommandRefused(Refusal.E_CLOCK, "the box has just started and has not compared its clock with its meters")


def check_exact_clock(case: Case) -> None:
    """13: the box's clock is disciplined now: only then it is set into meters."""
    if case.moment.clock is not ClockState.TRUSTED:
        raise CommandRefused(Refusal.E_CLOCK, _UNKNOWN)


def check_life(case: Case) -> None:
    """14: no command lives longer than four hours."""
    life = case.command.exp - case.command.iat
    if not 0 < life <= LONGEST_LIFE_S:
        raise CommandRefused(Refusal.E_TTL, f"lives {life} s; more than 0 and at most {LONGEST_LIFE_S} is allowed")


def check_time(case: Case) -> None:
    """14: begun and not over, by the box's clock as it is."""
    now_s = case.moment.now_s
    begins = max(case.command.iat, case.command.nbf or case.command.iat)
    if begins > now_s + SKEW_S:
        raise CommandRefused(Refusal.E_EARLY, f"begins {begins - now_s} s from now")
    if now_s >= case.command.exp:
        raise CommandRefused(Refusal.E_EXPIRED, f"expired {now_s - case.command.exp} s ago")
    _check_floor(case)


def check_time_where_known(case: Case) -> None:
    """14, of what gives light, only restricts or cuts nobody: where the time is unknown, only what is surely over.

    A payment is written, a limit and a text are set on a box that does not know the time: by a clock of 1970 all of
    them would be early, and by one that runs ahead over.
    """
    if case.moment.clock.known:
        check_time(case)
    else:
        _check_floor(case)


def _check_floor(case: Case) -> None:
    """Whatever the clock says: no true time is before the floor, so what ended before it is over."""
    if case.command.exp <= case.moment.floor_s:
        raise CommandRefused(Refusal.E_EXPIRED, "expired before any time that this box can be in")


def check_lease(case: Case) -> None:
    """15: signed for a lease that this very process gave out a day ago at most: no restored card replays a cut."""
    if case.command.lease is None or case.command.lease not in case.leases:
        raise CommandRefused(Refusal.E_LEASE, f"lease {case.command.lease} is not good here; the box publishes its own")


def check_sequence_of_disconnect(case: Case) -> None:
    """16: above every relay operation of that meter; when due, nothing later has been accepted meanwhile."""
    _check_sequence(case, case.ledger.sequence.any, LAST_CUT)


def check_sequence_of_connect(case: Case) -> None:
    """16: above the last disconnect of that meter; when due, no later cut has been accepted meanwhile."""
    _check_sequence(case, case.ledger.sequence.disconnect, MAX_INTEGER)


def _check_sequence(case: Case, highest: int, most: int) -> None:
    own = 0 if case.evidence is None else 1  # its own number was consumed when it was accepted
    seq = case.command.seq
    if seq is None or seq + own <= highest:
        raise CommandRefused(Refusal.E_SEQ, f"seq {seq} is not above {highest}")
    most = min(most, max(FREE_NUMBERS, case.ledger.sequence.any + STEP))
    if seq > most:
        raise CommandRefused(Refusal.E_SEQ, f"seq {seq} is too far ahead: at most {most}")
