"""Checks 17 and 25: the right meter, with a relay that can be judged, where the head-end believes it to be. Pure."""

from typing import Final

from dcu.command import CommandRefused, Refusal, State
from dcu.relay.case import Case
from dcu.relay.policy import Reconnect
from dcu.relay.withdrawals import AT_MOST

RANGES_AT_MOST: Final = 16
"""Of a `resend`: so many may wait."""

NEVER_MOVES: Final = 0
CLOSES_AT_ONCE: Final = frozenset({2, 4})
"""Control modes in which a remote reconnect needs no button (Blue Book 4.5.8, class 70)."""


def check_meter(case: Case) -> None:
    """17: commissioned here."""
    if case.meter is None or case.meter.serial != case.command.meter:
        raise CommandRefused(Refusal.E_METER, f"no meter {case.command.meter} here")


def check_set_aside(case: Case) -> None:
    """17: it answered as itself lately. A connect does not ask: the meter says its serial before anything is sent."""
    if case.set_aside:
        raise CommandRefused(Refusal.E_METER, f"{case.command.meter} is set aside: it is not what it was")


def check_meter_if_named(case: Case) -> None:
    """17: commissioned here, unless the whole box is meant."""
    if case.command.meter and case.meter is None:
        raise CommandRefused(Refusal.E_METER, f"no meter {case.command.meter} here")


def check_change(case: Case) -> None:
    """17: what is to be added can be read here, and what is to be replaced or retired is here."""
    if case.change_fault:
        raise CommandRefused(Refusal.E_METER, case.change_fault)


def check_identity(case: Case) -> None:
    """17: the meter that answers is the one that is meant."""
    if case.evidence is None or case.evidence.serial != case.command.meter:
        raise CommandRefused(Refusal.E_METER, "another meter answers")


def check_relay(case: Case) -> None:
    """17: it has a relay that can be read and that obeys from afar (control mode 0 never moves)."""
    evidence = case.evidence
    if evidence is None or evidence.output is None or evidence.control_mode == NEVER_MOVES:
        raise CommandRefused(Refusal.E_METER, "its relay cannot be read, or does not obey from afar")


def check_reconnect(case: Case) -> None:
    """17: where the policy leaves the closing to the consumer's hand, the meter does not close by itself.

    The policy that two people signed last: no narrowing by one of them, and no end of it, closes a relay.
    """
    area = case.kept.area_of(case.command.meter) if case.kept is not None else None
    mode = case.evidence.control_mode if case.evidence is not None else None
    if area is not None and area.reconnect is Reconnect.ARM and mode in CLOSES_AT_ONCE:
        raise CommandRefused(
            Refusal.E_METER, f"control mode {mode} closes at once; the policy wants the button pressed"
        )


def check_state(case: Case) -> None:
    """25: the relay is where the head-end believes it to be."""
    if case.command.expect is not None and (case.evidence is None or case.evidence.output is not case.command.expect):
        raise CommandRefused(Refusal.E_STATE, f"the relay is not {case.command.expect.value}")


def check_range(case: Case) -> None:
    """25: the records that are wanted once more were given ids, and not too many ranges wait already."""
    if case.command.last is None or case.ledger.last_id is None or case.command.last > case.ledger.last_id:
        raise CommandRefused(Refusal.E_STATE, f"the last record of {case.command.stream} is {case.ledger.last_id}")
    if case.ledger.ranges >= RANGES_AT_MOST:
        raise CommandRefused(Refusal.E_FLOOD, f"{case.ledger.ranges} ranges wait already")


def check_fit(case: Case) -> None:
    """25: this meter can take what is asked, as it is now."""
    if case.evidence is None or case.evidence.unfit:
        raise CommandRefused(Refusal.E_STATE, case.evidence.unfit if case.evidence else "the meter was not asked")


def check_cancelled(case: Case) -> None:
    """25: what is taken back is a disconnect of that meter that was not dispatched, or one that has yet to come."""
    found = case.ledger.cancels
    if found is None and case.ledger.withdrawals >= AT_MOST:
        raise CommandRefused(Refusal.E_FLOOD, f"{AT_MOST} disconnects that have not come are taken back already")
    if found is not None and (found[0] != case.command.meter or found[1] is not State.PENDING):
        raise CommandRefused(Refusal.E_STATE, f"{case.command.cancels} cannot be taken back: {found[1].value}")


def check_withdrawn(case: Case) -> None:
    """25: nobody has taken it back before it came."""
    if case.ledger.withdrawn:
        raise CommandRefused(Refusal.E_STATE, f"{case.command.cmd_id} was taken back before it came")
