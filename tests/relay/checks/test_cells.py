"""Which check applies to which operation, written down a second time: by operation, as the law reads.

The cases beside this follow the table's own cells, so a cell that is weakened takes its cases with it. Here it has to
be weakened twice. Source: reference/command-authority.md 0 items 2, 3, 7, 8, 10 and 12; 8.
"""

import pytest

from dcu.command import Operation
from dcu.relay.checks import COLUMNS, MEANT, TABLE, UNCONSUMED, When

LAW = {
    Operation.CONNECT: {
        When.BOTH: (
            "keys, dates of keys, target, journal, asker, after safety, life, time where known, sequence of "
            "connect, meter, carried out, locked"
        ),
        When.ACCEPTED: ("id"),
        When.DUE: ("identity, relay, reconnect, state"),
    },
    Operation.DISCONNECT: {
        When.BOTH: (
            "keys, dates of keys, key document, target, journal, profile, clock, life, time, lease, sequence, "
            "meter, set aside, carried out, frozen, locked, policy, protected, area, live, notice, grace, window, "
            "permit, caps, withdrawn"
        ),
        When.ACCEPTED: ("id"),
        When.DUE: ("meters heard, identity, relay, prepaid, spacing, debit, state, fit"),
    },
    Operation.CANCEL: {
        When.ACCEPTED: (
            "keys, dates of keys, target, journal, id, restrainer, life, time where known, carried out, cancelled"
        ),
    },
    Operation.FREEZE: {
        When.ACCEPTED: (
            "keys, dates of keys, target, journal, id, restrainer, life, time where known, meter if named, carried out"
        ),
    },
    Operation.UNFREEZE: {
        When.ACCEPTED: (
            "keys, dates of keys, key document, target, journal, id, two persons, clock, life, time, meter if "
            "named, carried out"
        ),
    },
    Operation.READ: {
        When.BOTH: (
            "keys, dates of keys, target, journal, asker, life, time where known, meter, set aside, carried out"
        ),
        When.ACCEPTED: ("id"),
        When.DUE: ("identity"),
    },
    Operation.RESEND: {
        When.ACCEPTED: ("keys, dates of keys, target, journal, id, asker, life, time where known, carried out, range"),
    },
    Operation.CLOCK_SET: {
        When.BOTH: (
            "keys, dates of keys, target, journal, asker, exact clock, life, time, meter, set aside, carried out"
        ),
        When.ACCEPTED: ("id"),
        When.DUE: ("identity, fit"),
    },
    Operation.BALANCE: {
        When.BOTH: (
            "keys, dates of keys, key document, target, journal, billing, life, time where known, meter, set "
            "aside, carried out"
        ),
        When.ACCEPTED: ("id"),
        When.DUE: ("identity, fit"),
    },
    Operation.MESSAGE: {
        When.BOTH: (
            "keys, dates of keys, target, journal, asker, life, time where known, meter, set aside, carried out, "
            "area of message, live"
        ),
        When.ACCEPTED: ("id"),
        When.DUE: ("identity"),
    },
    Operation.LIMIT: {
        When.BOTH: (
            "keys, dates of keys, target, journal, asker, life, time where known, meter, set aside, carried out, locked"
        ),
        When.ACCEPTED: ("id"),
        When.DUE: ("identity, fit"),
    },
    Operation.METER: {
        When.ACCEPTED: (
            "keys, dates of keys, key document, target, journal, id, two persons, clock, life, time, change, "
            "carried out"
        ),
    },
}
"""By operation: the checks of each stage, in the table's order; whatever is not named does not apply."""


@pytest.mark.parametrize("op", COLUMNS)
def test_an_operation_passes_these_checks_and_no_others(op):
    found = {when: ", ".join(c.name for c in TABLE if c.when(op) is when) for when in When if when is not When.NEVER}
    assert found == dict.fromkeys(found, "") | LAW[op]


NUMBERS = {
    7: "keys, dates of keys, key document",
    10: "target, journal",
    11: "id",
    12: "restrainer, asker, billing, two persons, after safety, profile",
    13: "clock, meters heard, exact clock",
    14: "life, time, time where known",
    15: "lease",
    16: "sequence, sequence of connect",
    17: "meter, set aside, meter if named, change, identity, relay, reconnect, carried out",
    18: "frozen, locked",
    19: "policy, protected",
    20: "area, area of message, live, prepaid, notice, grace",
    21: "window",
    22: "permit, caps, spacing, debit",
    25: "state, range, fit, cancelled, withdrawn",
}
"""By number of the reference: 7 to 16 show that it is meant, and what takes back is heard behind them."""


def test_each_check_has_the_number_of_the_reference():
    found = {number: ", ".join(c.name for c in TABLE if c.number == number) for number in {c.number for c in TABLE}}
    assert found == NUMBERS
    assert {check.number for check in MEANT} == {number for number in NUMBERS if number <= 16}


def test_who_may_not_sign_and_what_finds_no_room_uses_no_id_up():
    codes = {code.value for code in UNCONSUMED}
    assert codes == {"E_KID", "E_KEY", "E_TARGET", "E_JID", "E_ID_REUSE", "E_QUORUM", "E_FLOOD"}


def test_every_operation_has_its_law():
    assert set(LAW) == set(COLUMNS) == set(Operation) - {Operation.MODE}, "a mode is judged as a disconnect"


def test_nobody_is_disconnected_without_these():
    """What stands between two signatures and a relay: at both judgements, none of it skipped at either."""
    both = LAW[Operation.DISCONNECT][When.BOTH].split(", ")
    assert {"profile", "clock", "lease", "sequence", "frozen", "locked", "protected", "area", "live"} <= set(both)
    assert {"policy", "notice", "grace", "window", "permit", "caps", "time", "journal", "target", "keys"} <= set(both)


def test_light_needs_no_lease_permit_policy_window_or_trusted_clock():
    named = ", ".join(LAW[Operation.CONNECT].values()).split(", ")
    assert not {"lease", "permit", "caps", "policy", "window", "clock", "meters heard", "frozen", "set aside"} & set(
        named
    )
