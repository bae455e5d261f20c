"""Commands that a crash left in DISPATCHED: which meters are read when, how often, and what is said in the end."""

import pytest

from dcu.command import Command, Event, Operation
from dcu.config.meter_models import shipped
from dcu.mailbox import Mailbox, Stop
from dcu.meter import Meter
from dcu.relay.executor import Inspection, Place
from dcu.relay.inspections import Inspections
from dcu.relay.letters import Outcome
from tests.relay.world import HandClock

AGAIN_S = 30.0
NOT_HERE = "its meter is not here any more"


def command(cmd_id="c-1", meter="M1"):
    return Command(cmd_id, Operation.DISCONNECT, "hes", "d", "j", meter, 1, 0, None, 1)


class Bus:
    """Keeps what is posted: the serials to be read since the last look."""

    def __init__(self):
        self._posted = []

    def post(self, errand, *, urgent):
        assert isinstance(errand, Inspection) and urgent
        self._posted.append(errand.meter.serial)

    @property
    def posted(self):
        posted, self._posted = self._posted, []
        return posted


class Site:
    def __init__(self):
        self.letters, self.bus = Mailbox(Stop()), Bus()
        model = shipped()["is15959-1ph"]
        self.meters = {serial: Meter(serial, "north", model, n, "a") for n, serial in enumerate(("M1", "M2"), 16)}
        self.meters["M3"] = Meter("M3", "gone", model, 18, "a")
        place = Place(self.letters, HandClock(), None)
        self.inspections = Inspections(self.meters, {"north": self.bus}, place, AGAIN_S)

    @property
    def said(self):
        """The urgent letter that waits, if one does."""
        return self.letters.take_urgent()


@pytest.fixture
def site():
    return Site()


def test_a_meter_is_read_at_once_and_again_when_its_time_has_come(site):
    site.inspections.begin(command())
    assert site.bus.posted == ["M1"]
    site.inspections.unseen(("hes", "c-1"), "no answer", 100.0)
    for now_s in (100.0, 129.9):
        site.inspections.pass_time(now_s)
        assert site.bus.posted == []
    site.inspections.pass_time(130.0)
    assert site.bus.posted == ["M1"]
    site.inspections.pass_time(1e9)
    assert site.bus.posted == [], "nothing is due until it was not seen once more"
    assert site.said is None


def test_each_has_a_time_of_its_own(site):
    site.inspections.begin(command())
    site.inspections.begin(command("c-2", "M2"))
    assert site.bus.posted == ["M1", "M2"]
    site.inspections.unseen(("hes", "c-2"), "no answer", 10.0)
    site.inspections.unseen(("hes", "c-1"), "no answer", 20.0)
    site.inspections.pass_time(40.0)
    assert site.bus.posted == ["M2"]
    site.inspections.pass_time(50.0)
    assert site.bus.posted == ["M1"]


def test_a_meter_that_is_never_seen_leaves_its_command_in_doubt_after_twenty_tries(site):
    site.inspections.begin(command())
    tries = len(site.bus.posted)
    while (said := site.said) is None:
        site.inspections.unseen(("hes", "c-1"), f"no answer to {tries}", tries * AGAIN_S)
        site.inspections.pass_time((tries + 1) * AGAIN_S)
        tries += len(site.bus.posted)
    assert tries == 20
    assert said == Outcome(("hes", "c-1"), Event.RECOVERED_OTHER, reason="no answer to 20")
    assert site.said is None
    assert site.inspections.ended(("hes", "c-1")) == command()


def test_what_is_at_its_end_is_not_read_again_and_is_told_once(site):
    site.inspections.begin(command())
    site.inspections.begin(command("c-2", "M2"))
    site.inspections.unseen(("hes", "c-1"), "no answer", 0.0)
    assert site.bus.posted == ["M1", "M2"]
    assert site.inspections.ended(("hes", "c-1")) == command()
    assert site.inspections.ended(("hes", "c-1")) is None
    site.inspections.pass_time(1e9)
    assert site.bus.posted == []
    assert site.inspections.ended(("hes", "c-2")) == command("c-2", "M2")


def test_what_nobody_inspects_is_in_doubt(site):
    site.inspections.unseen(("hes", "c-9"), "no answer", 0.0)
    assert site.said == Outcome(("hes", "c-9"), Event.RECOVERED_OTHER, reason="no answer")
    site.inspections.pass_time(1e9)
    assert site.bus.posted == []


@pytest.mark.parametrize("meter", ["M3", "M9"], ids=["its bus is gone", "the meter is gone"])
def test_where_there_is_no_way_to_the_meter_it_is_in_doubt_at_once(site, meter):
    site.inspections.begin(command("c-1", meter))
    assert site.said == Outcome(("hes", "c-1"), Event.RECOVERED_OTHER, reason=NOT_HERE)
    assert site.bus.posted == []
    assert site.inspections.ended(("hes", "c-1")) == command("c-1", meter)


def test_a_meter_that_goes_between_two_tries_is_told_then(site):
    site.inspections.begin(command())
    site.inspections.unseen(("hes", "c-1"), "no answer", 0.0)
    del site.meters["M1"]
    site.inspections.pass_time(AGAIN_S)
    assert site.said == Outcome(("hes", "c-1"), Event.RECOVERED_OTHER, reason=NOT_HERE)
