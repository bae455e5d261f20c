"""What the field process tells of itself: also of a thousand meters, in frames that field.sock carries."""

import json
import re
from pathlib import Path
from types import SimpleNamespace

import cbor2
import pytest

from dcu.cli.technician import _meter_lines
from dcu.config.meter_models import shipped
from dcu.errors import MeterSilent, OperatorFault, StoreBusy, StoreDown, StoreFull
from dcu.event import Health
from dcu.field.announce import Announcer
from dcu.field.clock_watch import Look
from dcu.field.plan import BusPlan
from dcu.field.status import CONDITIONS_A_PAGE, STORE_WAIT_S, Status
from dcu.gaps import Absence
from dcu.headend.contract import SCHEMAS, Contract
from dcu.meter import Meter, MeterModel, MeterSecrets
from dcu.reading import ClockState, ProfileReading, Row, date_time, from_epoch, meter_time
from dcu.record import Stream, encode_health
from dcu.wire import encode_frame
from tests.field.conftest import BLOCK, IST, LAYOUT, SERIAL, records


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
        with pytest.raises(OperatorFault):
            status.asks()["meters"]({"from": wrong, "meter": "GXT00000001"})


def test_one_meter_is_one_page(store, clock, scene):
    status, _ = a_thousand(store, clock, scene)
    asks = status.asks()
    assert [each["serial"] for each in asks["meters"]({"from": 0, "meter": "GXT00000007"})] == ["GXT00000007"]
    assert asks["meters"]({"from": 1, "meter": "GXT00000007"}) == []
    with pytest.raises(OperatorFault, match="no meter"):
        asks["meters"]({"from": 0, "meter": "GXT7"})


def ledger(status, meter=None):
    """The answer of `dcu meters`, by profile, of the one meter that is read here."""
    [told] = status.asks()["meters"]({"meter": meter} if meter else {})
    return {profile["profile"]: profile for profile in told["profiles"]}


def one_meter(store, clock, scene):
    """A status with one meter, and its plan."""
    trust = SimpleNamespace(keys=Path("trust.json"))
    config = SimpleNamespace(dcu=SimpleNamespace(id="JH-RNC-0042", timezone=IST), trust=trust)
    meter = Meter(SERIAL, "mesh", MeterModel("test", 1, {}, (BLOCK,)), 17, "JH-RNC")
    status, plan = Status(config, store, clock, Announcer(store, clock)), None
    plan = BusPlan([meter], store, clock, Announcer(store, clock), IST, scene.poll)
    status.add_bus(Bus(), plan, {SERIAL: meter})
    return status, plan


def note(store, now_s):
    """A ledger with everything in it: 97 instants of a day, four of them off, three overwritten, two nobody knows."""
    first = now_s - 96 * 900

    def work(tx):
        tx.describe(SERIAL, BLOCK.logical_name, LAYOUT, 900, first)
        rows = [Row(meter_time(date_time(from_epoch(at), IST), IST), (1, 2)) for at in range(first, now_s + 1, 900)]
        came = [row for n, row in enumerate(rows) if n not in {0, 1, 2, 10, 11, 12, 13, 50, 60}]
        tx.admit(ProfileReading(SERIAL, BLOCK.logical_name, LAYOUT, tuple(came), from_epoch(now_s), ClockState.TRUSTED))
        tx.note_absent(SERIAL, BLOCK.logical_name, first, first + 2 * 900, "overwritten")
        tx.note_absent(SERIAL, BLOCK.logical_name, first + 10 * 900, first + 13 * 900, "meter off")

    store.transact(work)
    return first


def test_meters_tell_what_is_missing_and_why_the_rest_never_comes(store, clock, scene, now_s):
    status, _ = one_meter(store, clock, scene)
    first = note(store, now_s)
    told = ledger(status)["1.0.99.1.0.255"]
    assert told["held"] == 88 and told["missing"] == 2
    assert told["absent"] == {"overwritten": 3, "meter off": 4}
    assert "not_held" not in told
    spans = ledger(status, SERIAL)["1.0.99.1.0.255"]["not_held"]
    off = [from_epoch(first + n * 900).astimezone(IST).isoformat() for n in (10, 13)]
    assert [why for *_, why in spans] == ["overwritten", "meter off", "missing", "missing"]
    assert spans[1] == [*off, "meter off"]
    text = _meter_lines(status.asks()["meters"]({"meter": SERIAL})[0])
    assert "88 held, 2 missing, 7 absent (4 meter off, 3 overwritten)" in text
    assert f"{off[0]} to {off[1]}: meter off" in text


def test_an_interval_that_has_just_ended_is_not_missing_yet(store, clock, scene, now_s):
    status, plan = one_meter(store, clock, scene)
    note(store, now_s)
    assert ledger(status)["1.0.99.1.0.255"]["missing"] == 2, "nobody knows the meter's time: up to the newest row"
    book = plan._scene.book(plan._meters[SERIAL])
    book.look = Look(now_s, clock.monotonic_s(), clock.monotonic_s())
    clock.advance(901)
    assert ledger(status)["1.0.99.1.0.255"]["missing"] == 2
    clock.advance(900)
    assert ledger(status)["1.0.99.1.0.255"]["missing"] == 3


COUNTS = {
    "held.1.0.99.1.0.255": 88,
    "missing.1.0.99.1.0.255": 2,
    "absent.1.0.99.1.0.255.overwritten": 3,
    "absent.1.0.99.1.0.255.meter off": 4,
}


def counts(facts):
    """Those of them that are about intervals."""
    return {name: n for name, n in facts.items() if "1.0.99" in name}


def test_the_health_record_has_counts_of_all_meters_by_profile_and_reason(store, clock, scene, now_s):
    status, _ = one_meter(store, clock, scene)
    note(store, now_s)
    facts = status.facts()
    assert counts(facts) == COUNTS
    health = Health(clock.now(), clock.state(), facts)
    Contract().check_value("record-health.json", cbor2.loads(encode_health(health)))


def test_a_store_that_has_no_time_costs_the_health_record_what_visits_do_not_know(store, clock, scene, now_s):
    status, plan = one_meter(store, clock, scene)
    note(store, now_s)
    real = store.transact

    def busy(work, *, wait_s=30.0):
        if wait_s < 30:
            raise StoreBusy("no answer in time")
        return real(work)

    store.transact = busy
    facts = status.facts()
    assert facts["meters"] == 1 and counts(facts) == {}
    plan._scene.book(plan._meters[SERIAL]).load(store, clock)  # as a visit
    assert counts(status.facts()) == COUNTS


@pytest.mark.parametrize(("turn_s", "are_known"), [(0.05, True), (0.5, False), (1.9, False), (3.0, False)])
def test_after_a_start_all_meters_together_cost_the_main_thread_as_long_as_one_answer(
    store, clock, scene, turn_s, are_known
):
    """None was heard: the store is asked for each of a thousand, and a slow disk takes its time for each page."""
    status, serials = a_thousand(store, clock, scene)
    layout, since_s = LAYOUT, int(clock.now().timestamp()) // 900 * 900 - 900
    store.transact(lambda tx: tx.describe(serials[-1], BLOCK.logical_name, layout, 900, since_s))
    real = store.transact

    def slow(work, *, wait_s=30.0):
        clock.advance(min(turn_s, wait_s))
        if turn_s > wait_s:
            raise StoreBusy("no answer in time")
        return real(work)

    store.transact, began_s = slow, clock.monotonic_s()
    facts = status.facts()
    assert clock.monotonic_s() - began_s <= 2 * STORE_WAIT_S, "counts, and intervals"
    assert bool(counts(facts)) == are_known


def test_that_the_process_is_up_keeps_no_heartbeat_waiting(store, clock):
    """The alarm waits in memory where the store has no time."""
    patience, kept = [], []

    def busy(_work, *, wait_s=30.0):
        patience.append(wait_s)
        raise StoreBusy("no answer in time")

    store.transact, store.keep = busy, lambda work, octets: kept.append(work)
    Announcer(store, clock).started("1")
    del store.transact, store.keep
    assert max(patience) <= STORE_WAIT_S
    for work in kept:
        store.transact(work)
    assert [alarm["kind"] for alarm in records(store, Stream.ALARM)] == ["started"]


def test_each_reason_is_in_the_contract():
    schema = json.loads((SCHEMAS / "record-health.json").read_text())
    [pattern] = [each for each in schema["properties"]["facts"]["patternProperties"] if each.startswith("^absent")]
    for reason in Absence:
        assert re.match(pattern, f"absent.1.0.99.1.0.255.{reason.value}")
    assert not re.match(pattern, "absent.1.0.99.1.0.255.eaten")


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
