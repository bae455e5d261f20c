"""A warrant opens one thing once, for as long as it holds."""

import pytest

from dcu import obis
from dcu.errors import WarrantRequired
from dcu.meter import ClassId, MethodRef
from dcu.relay.warrant import VALID_S, OneAct

OPEN, CLOSE = (MethodRef(ClassId.DISCONNECT_CONTROL, obis.DISCONNECT_CONTROL, n) for n in (1, 2))
THIS = ("M", OPEN, b"\x0f\x00")


def warrant():
    return OneAct(*THIS, 100.0)


def test_it_says_what_it_is_for_and_is_spent_by_the_first_use():
    made = warrant()
    assert (made.target, made.data, made.spent) == (OPEN, b"\x0f\x00", False)
    made.spend(*THIS, 99.9)
    assert made.spent and not made.void(), "it may have been sent"
    with pytest.raises(WarrantRequired, match="spent"):
        made.spend(*THIS, 99.9)


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ((*THIS, 100.0), "time has passed"),
        (("N", *THIS[1:], 0.0), "not for"),
        (("M", CLOSE, THIS[2], 0.0), "not for"),
        ((*THIS[:2], b"\x0f\x01", 0.0), "not for"),
    ],
)
def test_what_it_is_not_for_uses_it_up_and_sends_nothing(asked, words):
    made = warrant()
    with pytest.raises(WarrantRequired, match=words):
        made.spend(*asked)
    with pytest.raises(WarrantRequired, match="spent"):
        made.spend(*THIS, 0.0)
    assert not made.spent and made.void()


def test_one_that_is_void_opens_nothing():
    made = warrant()
    assert made.void() and made.void()
    with pytest.raises(WarrantRequired, match="spent"):
        made.spend(*THIS, 0.0)
    assert not made.spent


def test_it_holds_for_two_seconds():
    assert VALID_S == 2
