"""A consumer's relay on real parts: a store on disk, the bus worker, and a virtual meter on a pty line."""

import pytest

from tests.relay.pole import BOTH, standing


@pytest.fixture
def pole(tmp_path):
    with standing(tmp_path) as pole:
        yield pole


def cut(pole, **more):
    """The last receipt of a disconnect to which nothing is missing."""
    return pole.order("disconnect", BOTH, **pole.cut(), **more)


def test_cut_told_again_and_reconnected(pole):
    told = cut(pole, expect="connected")
    looks = [(look["output"], look["control"], look["milliamperes"]) for look in told.claims["readback"]]
    assert (told.state, looks) == ("done", [("disconnected", 0, 0)] * 2)
    assert all(look["millivolts"] > 180_000 for look in told.claims["readback"]), "the supply is there"
    assert pole.order("connect", seq=pole.n + 1).state == "done"
    assert pole.order("message", why="request", text="Thank you").claims["readback"] == [{"text": True}] * 2
    assert pole.relay_acts() == [1, 2]
    kinds = [receipt.claims["kind"] for receipt in pole.receipts()]
    assert kinds.count("command") >= 6, "at least the acceptance and the end of each"


def test_a_meter_that_is_open_already_is_told_nothing(pole):
    assert cut(pole).state == "done"
    assert cut(pole).state == "noop"
    assert pole.relay_acts() == [1]


def test_a_meter_that_loses_its_answer_is_read_back_not_told_again(pole):
    pole.meter.faults.lose_action_reply = 1
    assert cut(pole).state == "done"
    assert pole.relay_acts() == [1]


def test_a_relay_that_sticks_has_failed(pole):
    pole.meter.faults.relay_sticks = True
    assert cut(pole).state == "failed"


def test_another_meter_on_the_wall(pole):
    pole.meter.faults.serial = "GXT00000000"
    told = cut(pole)
    assert (told.state, told.code) == ("refused", "E_METER")
    assert pole.relay_acts() == []


def test_a_post_paid_meter_is_not_cut_for_credit(tmp_path):
    with standing(tmp_path, payment_mode=0) as pole:
        more = pole.cut() | {"why": "credit"}
        told = pole.order("disconnect", BOTH, **more)
        assert (told.state, told.code) == ("refused", "E_NOT_PREPAID")
        assert pole.relay_acts() == []
