"""What the field process tells of itself: also of a thousand meters, in frames that field.sock carries."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from dcu.config.meter_models import shipped
from dcu.errors import MeterSilent, OperatorFault, StoreBusy, StoreDown, StoreFull
from dcu.field.announce import Announcer
from dcu.field.plan import BusPlan
from dcu.field.status import CONDITIONS_A_PAGE, Status
from dcu.meter import Meter, MeterSecrets
from dcu.wire import encode_frame
from tests.field.conftest import IST


class Bus:
    name = "mesh"

    def post(self, errand, *, urgent):
        raise AssertionError("nobody posts here")


def a_thousand(store, clock, scene):
    meters = [
        Meter(f"GXT{n:08}", "mesh", shipped()["is15959-1ph"], 17, "JH-RNC", MeterSecrets(), host=f"10.0.{n // 250}.{n}")
        for n in range(1000)
    ]
    trust = SimpleNamespace(keys=Path("trust.json"))
    config = SimpleNamespace(dcu=SimpleNamespace(id="JH-RNC-0042", timezone=IST), trust=trust)
    announcer = Announcer(store, clock)
    status = Status(config, store, clock, announcer)
    plan = BusPlan(meters, store, clock, announcer, IST, scene.poll)
    status.add_bus(Bus(), plan, {meter.serial: meter for meter in meters})
    for meter in meters:
        plan.condition[meter.serial] = "10.0.0.1:4059: no connection: " + "timed out; " * 400
    return status, [meter.serial for meter in meters]


def pages(ask, held):
    """As the CLI asks."""
    while page := ask({"from": len(held)}):
        encode_frame({"answer": page})
        held = [*held, *page]
    return [entry["serial"] for entry in held]


def test_a_thousand_meters_are_told_page_by_page(store, clock, scene):
    status, serials = a_thousand(store, clock, scene)
    asks = status.asks()
    assert pages(asks["meters"], []) == serials
    first = asks["status"]({})
    encode_frame({"answer": first})
    assert pages(asks["conditions"], first["meters"]) == serials


def test_all_are_asked_when_none_is_left_whatever_came_of_it(store, clock, scene):
    status, _ = a_thousand(store, clock, scene)
    [plan] = status._plans
    assert status.all_asked()
    plan.admit(Meter("GXT9", "mesh", shipped()["is15959-1ph"], 17, "JH-RNC", MeterSecrets(), host="10.9.9.9"))
    assert not status.all_asked()
    plan.failed(plan._meters["GXT9"], MeterSilent("no answer", place="GXT9"))
    assert status.all_asked()


def test_a_page_that_is_no_number_is_refused(store, clock, scene):
    status, _ = a_thousand(store, clock, scene)
    for wrong in (-1, "0", None, [1]):
        with pytest.raises(OperatorFault):
            status.asks()["meters"]({"from": wrong})


def test_an_unknown_meter_is_answered_with_a_few_that_are_known(store, clock, scene):
    status, serials = a_thousand(store, clock, scene)
    with pytest.raises(OperatorFault) as refused:
        status.asks()["read"]({"meter": "GXT0000100", "what": "clock"})
    assert any(serial in refused.value.cure for serial in serials)
    assert len(refused.value.cure) < 200


@pytest.mark.parametrize("fault", [StoreDown("SQLITE_READONLY"), StoreBusy("no answer"), StoreFull("no room")])
def test_a_store_that_does_not_answer_is_told_and_ends_nobody(store, clock, scene, fault):
    status, _ = a_thousand(store, clock, scene)
    patience = []

    def refuse(_work, *, wait_s=30.0):
        patience.append(wait_s)
        raise fault

    store.transact = refuse
    try:
        assert status.facts() == {"meters": 1000, "meters_not_ok": 1000, "store": str(fault)}
        told = status.asks()["status"]({})
        assert told["store"] == str(fault) and len(told["meters"]) == CONDITIONS_A_PAGE
    finally:
        del store.transact
    assert max(patience) <= 5, "the main thread, which asks, feeds the watchdog"
