"""What changes a meter, on lines where others talk: sent once, into silence, or not at all."""

import pytest

from dcu import obis
from dcu.errors import BusFault, DcuError, LinkLost, ReplyLate, WrongMeter
from dcu.meter import AttributeRef, ClassId, MethodRef, Purpose
from dcu.sim import MeterConfig, VirtualMeter

from .bench import KEYS, NOW, SERIAL, Bench, TestWarrant
from .line import frame_of
from .virtual_bus import VirtualBus, Work

OUTPUT = AttributeRef(ClassId.DISCONNECT_CONTROL, obis.DISCONNECT_CONTROL, 2)
DISCONNECT = MethodRef(ClassId.DISCONNECT_CONTROL, obis.DISCONNECT_CONTROL, 1)
INT8_ZERO = b"\x0f\x00"


class Crowded(Bench):
    """A half-duplex line: what is sent while somebody talks is ruined. `talk(at_s)` says who talks behind an answer."""

    def __init__(self):
        super().__init__()
        self.talk = lambda at_s: []
        self.line.meter = self._half_duplex
        self.ruined = 0

    def _half_duplex(self, octets):
        if self.line.coming:
            self.ruined += 1
            return []
        answers = list(self._hear(octets) or [])
        return [*answers, *((0.02 + after_s, said) for after_s, said in self.talk(answers))]

    @property
    def moved(self):
        return [entry["method"] for entry in self.virtual.ledger.entries() if entry["kind"] == "relay"]


def disconnect(bench):
    warrant = TestWarrant(SERIAL, DISCONNECT, INT8_ZERO)
    with bench.associate(Purpose.SWITCH) as association:
        association.get(OUTPUT)
        association.act(DISCONNECT, INT8_ZERO, warrant)
    return warrant


@pytest.mark.parametrize(
    "talk",
    [
        lambda answers: [(0.03, octets) for _, octets in answers],
        lambda _answers: [(0.01 * n, b"\xff" * 8) for n in range(1, 20)],
    ],
    ids=["each answer twice", "noise behind each answer"],
)
def test_an_order_waits_until_the_line_is_silent(talk):
    bench = Crowded()
    bench.talk = talk
    assert disconnect(bench).spent == 1
    assert bench.moved == [1]
    assert bench.ruined > 0, "the reads were, and were asked again"


def test_a_line_that_never_falls_silent_costs_an_order_a_second_and_is_spent_once():
    bench = Crowded()
    warrant = TestWarrant(SERIAL, DISCONNECT, INT8_ZERO)
    with bench.associate(Purpose.SWITCH) as association:
        began_s = bench.line.time()
        sent = len(bench.line.sent)
        bench.line.coming = [(began_s + 0.01 * n, b"\xff") for n in range(5000)]
        with pytest.raises(DcuError):
            association.act(DISCONNECT, INT8_ZERO, warrant)
        assert len(bench.line.sent) == sent + 1
        assert frame_of(bench.line.sent[-1]).is_information
    assert warrant.spent == 1
    assert bench.moved == []


def test_a_line_that_is_lost_while_it_falls_silent_spends_nothing():
    bench = Crowded()
    warrant = TestWarrant(SERIAL, DISCONNECT, INT8_ZERO)
    with bench.associate(Purpose.SWITCH) as association:

        def gone(_deadline_s):
            raise BusFault("the port failed")

        receive, bench.line.receive = bench.line.receive, gone
        with pytest.raises(BusFault):
            association.act(DISCONNECT, INT8_ZERO, warrant)
        bench.line.receive = receive
    assert warrant.spent == 0
    assert bench.moved == []


# ---- the right meter or none, whatever was kept open and whoever hangs there now ----


def replaced(bus):
    """Another meter hangs at the place of A1, with the same keys."""
    config = MeterConfig("STRANGER", bus.meters["A1"].address, KEYS)
    bus.virtual["A1"] = VirtualMeter(config, now=lambda: NOW)
    return bus.virtual["A1"]


def acts(virtual):
    return [entry["method"] for entry in virtual.ledger.entries() if entry["kind"] == "relay"]


def reading(association):
    return association.get(OUTPUT)


def acting(warrants, before=lambda: None):
    def work(association):
        warrants.append(TestWarrant("A1", DISCONNECT, INT8_ZERO))
        before()
        association.act(DISCONNECT, INT8_ZERO, warrants[-1])

    return work


@pytest.mark.parametrize("purpose", [Purpose.READ, Purpose.SWITCH])
def test_an_order_is_not_for_the_meter_that_hangs_there_now(purpose):
    bus, warrants = VirtualBus(), []
    assert bus.do(Work(bus.meters["A1"], Purpose.READ, reading)).faults == []  # and kept open
    stranger = replaced(bus)
    errand = bus.do(Work(bus.meters["A1"], purpose, acting(warrants)), urgent=True)
    assert [type(fault) for fault in errand.faults] == [LinkLost if purpose is Purpose.READ else WrongMeter]
    assert acts(stranger) == []
    assert sum(warrant.spent for warrant in warrants) <= 1


def test_an_order_is_not_for_a_meter_that_was_hung_there_after_the_serial_was_read():
    bus, warrants, stranger = VirtualBus(), [], []
    errand = Work(bus.meters["A1"], Purpose.SWITCH, acting(warrants, before=lambda: stranger.append(replaced(bus))))
    assert [type(fault) for fault in bus.do(errand, urgent=True).faults] == [LinkLost]
    assert (warrants[0].spent, acts(stranger[0])) == (1, [])
    assert errand.runs == 1, "and is not run again by the bus"


@pytest.mark.parametrize("lost", ["the order", "its answer"])
@pytest.mark.parametrize("purpose", [Purpose.READ, Purpose.SWITCH])
def test_an_order_that_was_lost_is_sent_by_nobody_again(purpose, lost):
    bus, warrants, orders = VirtualBus(), [], []
    hear = bus._hear

    def lossy(octets):
        ours = warrants and warrants[-1].spent and frame_of(octets).is_information
        if not ours:
            return hear(octets)
        orders.append(octets)
        if lost == "its answer":
            hear(octets)
        return []

    bus.do(Work(bus.meters["A1"], Purpose.READ, reading))
    bus.line.meter = lossy
    errand = bus.do(Work(bus.meters["A1"], purpose, acting(warrants)), urgent=True)
    assert [type(fault) for fault in errand.faults] == [ReplyLate]
    bus.line.meter = hear
    bus.wait(300)
    assert (errand.runs, warrants[0].spent, len(orders)) == (1, 1, 1)
    assert acts(bus.virtual["A1"]) == ([1] if lost == "its answer" and purpose is Purpose.SWITCH else [])
