"""Checks 7 to 12: whose keys signed, for which box, and whether they are those who may."""

from dataclasses import replace

import pytest

from dcu.command import Operation, Refusal, RelaySequence
from dcu.reading import ClockState
from dcu.relay.checks import When
from dcu.relay.public_key import Role
from tests.relay.checks.cases import (
    STAGES,
    TRUST,
    arrears,
    command,
    each_passes,
    each_refuses,
    good,
    ledger,
    moment,
    of,
    outcome,
    strict,
    with_,
)
from tests.relay.world import DAY, NOW, trust


def first_kid(**changes):
    """Something is the matter with the first key that signed."""

    def tamper(case):
        kid = case.kids[0].replace("-", "_")
        return replace(case, trust=trust(**{kid: changes}))

    return tamper


def with_role(key, role):
    return with_(trust=trust(**{key: {"roles": frozenset({role})}}))


def without_first_kid(case):
    return replace(case, trust=trust(without=case.kids[:1]))


R = Refusal
TAMPERED = [
    ("keys", R.E_KID, without_first_kid),
    ("keys", R.E_KEY, first_kid(revoked=True)),
    ("dates of keys", R.E_KEY, first_kid(exp=NOW)),
    ("dates of keys", R.E_KEY, first_kid(nbf=NOW + 1)),
    ("dates of keys", R.E_KEY, of(first_kid(exp=NOW - 9 * DAY), moment(clock=ClockState.UNTRUSTED, heard=False))),
    ("key document", R.E_KEY, with_(trust=replace(TRUST, exp=NOW))),
    ("target", R.E_TARGET, command(dcu="JH-RNC-0043")),
    ("target", R.E_TARGET, command(iss="hes.other")),
    ("journal", R.E_JID, command(jid="j-older")),
    ("id", R.E_ID_REUSE, ledger(known=b"e" * 32)),
    ("restrainer", R.E_QUORUM, with_(kids=("plan-1",))),
    ("restrainer", R.E_QUORUM, with_(kids=())),
    ("asker", R.E_QUORUM, with_(kids=("pol-a",))),
    ("asker", R.E_QUORUM, with_(kids=("pol-a", "req-1"))),
    ("asker", R.E_QUORUM, with_(kids=())),
    ("asker", R.E_QUORUM, with_(kids=("root-a",))),
    ("billing", R.E_QUORUM, with_(kids=("apr-1", "req-1"))),
    ("billing", R.E_QUORUM, with_(kids=("bill-1", "req-1"))),
    ("two persons", R.E_QUORUM, with_(kids=("req-1",))),
    ("two persons", R.E_QUORUM, with_(kids=("apr-1",))),
    ("two persons", R.E_QUORUM, with_(kids=("apr-asha", "req-1"))),
    ("two persons", R.E_QUORUM, with_(kids=("bill-1", "wit-1"))),
    ("two persons", R.E_QUORUM, with_(kids=("apr-1", "apr-asha"))),
    ("two persons", R.E_QUORUM, of(with_(kids=("apr-1", "req-1")), with_role("apr_1", Role.REQUEST))),
    ("after safety", R.E_QUORUM, ledger(sequence=RelaySequence(4, 4, 3))),
    ("after safety", R.E_QUORUM, ledger(safety_waits=True)),
    ("profile", R.E_QUORUM, with_(kids=("bill-1",))),
    ("profile", R.E_QUORUM, with_(kids=("wit-1",))),
    ("profile", R.E_QUORUM, with_(kids=("apr-1", "req-1"))),
    ("profile", R.E_QUORUM, with_(kids=("bill-1", "req-1", "wit-1"))),
    ("profile", R.E_QUORUM, with_(trust=trust(wit_1={"admin": "KIRAN"}))),
    ("profile", R.E_QUORUM, with_(trust=trust(wit_1={"admin": "billing"}))),
    ("profile", R.E_QUORUM, with_role("wit_1", Role.BILLING)),
    ("profile", R.E_QUORUM, with_role("bill_1", Role.WITNESS)),
    ("profile", R.E_QUORUM, of(strict, with_(kids=("req-1",)))),
    ("profile", R.E_QUORUM, of(strict, with_(kids=("apr-asha", "req-1")))),
    ("profile", R.E_QUORUM, of(strict, with_(kids=("apr-1", "pol-a", "req-1")))),
    ("profile", R.E_QUORUM, of(arrears, with_(kids=("bill-1", "wit-1")))),
]  # fmt: skip
STUMBLES = {("keys", R.E_KID): {KeyError}, ("dates of keys", R.E_KEY): {R.E_CLOCK}}  # of a clock that nobody knows
AT_THE_EDGE = {
    "a key of this second": first_kid(nbf=NOW),
    "a key in its last second": first_kid(exp=NOW + 1),
    "a key document in its last second": with_(trust=replace(TRUST, exp=NOW + 1)),
}  # fmt: skip

test_a_check_refuses_and_nothing_else_would = each_refuses(TAMPERED, STUMBLES)
test_what_is_just_in_order_passes = each_passes(AT_THE_EDGE)


@pytest.mark.parametrize(("clock", "known_s"), [*zip(ClockState, (NOW, NOW, None), strict=True)])
def test_dates_of_documents_are_judged_by_a_clock_that_was_right_within_a_day(clock, known_s):
    case = moment(clock=clock)(good(Operation.CONNECT, When.ACCEPTED))
    assert case.moment.known_s == known_s
    assert outcome(first_kid(exp=NOW)(case)) == ("accepted" if known_s is None else R.E_KEY)


@pytest.mark.parametrize("op", [Operation.FREEZE, Operation.CANCEL])
@pytest.mark.parametrize("kid", ["req-1", "apr-1", "bill-1", "wit-1", "pol-a", "per-1"])
def test_whoever_has_a_say_may_take_back_and_stop(op, kid):
    assert outcome(with_(kids=(kid,))(good(op, When.ACCEPTED))) == "accepted"


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("kid", ["req-1", "apr-1", "bill-1"])
def test_one_who_asks_is_enough_for_light(kid, stage):
    assert outcome(with_(kids=(kid,))(good(Operation.CONNECT, stage))) == "accepted"


def test_the_same_command_once_more_is_no_other():
    known = good(Operation.CONNECT, When.ACCEPTED)
    assert outcome(ledger(known=known.digest)(known)) == "accepted"


def test_after_a_cut_for_safety_two_people_connect():
    case = ledger(sequence=RelaySequence(4, 4, 3))(good(Operation.CONNECT, When.ACCEPTED))
    assert outcome(with_(kids=("apr-1", "req-1"))(case)) == "accepted"
    assert outcome(with_(kids=("bill-1", "wit-1"))(case)) is R.E_QUORUM
