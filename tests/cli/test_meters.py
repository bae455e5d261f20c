"""`dcu meters`: all of them page by page, or one with its spans."""

import json
import threading

import pytest
from click.testing import CliRunner

from dcu.cli.technician import meters
from dcu.field.field_socket import FieldSocket
from dcu.mailbox import Stop
from tests.cli.conftest import Box

RING = {"profile": "1.0.99.1.0.255", "period_s": 900, "held": 88, "missing": 2, "absent": {"meter off": 4}}
LOG = {"profile": "0.0.99.98.2.255", "period_s": 0, "held": 0, "missing": 0, "absent": {}, "until": None}
SPAN = ["2026-11-20T10:00:00+05:30", "2026-11-20T10:45:00+05:30", "meter off"]


@pytest.fixture
def box(tmp_path):
    """A box whose field process knows two meters."""
    stop, box = Stop(), Box(tmp_path)
    box.asked = []

    def answer(request):
        box.asked.append(request)
        one = "meter" in request
        ring = RING | {"until": "2026-11-22T12:00:00+05:30"} | ({"not_held": [SPAN]} if one else {})
        names = [request["meter"]] if one else ["A", "B"]
        told = {"bus": "north", "address": 17, "area": "JH-RNC", "profiles": [ring, LOG]}
        return [told | {"serial": name} for name in names][request["from"] :]

    server = FieldSocket(tmp_path / "field.sock", {"meters": answer}, stop, lambda: None)
    thread = threading.Thread(target=server.run)
    thread.start()
    yield box
    stop.set()
    thread.join(10)


def run(box, *words):
    result = CliRunner().invoke(meters, ["--config", str(box.config), *words])
    assert result.exit_code == 0, result.output
    return result.output


def test_all_meters_with_their_counts(box):
    lines = run(box).splitlines()
    assert lines[0] == "A  bus north  address 17  area JH-RNC"
    assert lines[1].split(maxsplit=1) == [
        "1.0.99.1.0.255",
        "every 900 s: 88 held, 2 missing, 4 absent (4 meter off); newest: 2026-11-22T12:00:00+05:30",
    ]
    assert lines[2].split(maxsplit=1) == ["0.0.99.98.2.255", "no intervals; newest row: nothing yet"]
    assert lines[3].startswith("B  ")
    assert [each["serial"] for each in json.loads(run(box, "--json"))] == ["A", "B"]


def test_one_meter_with_each_span_that_is_not_held(box):
    assert "    2026-11-20T10:00:00+05:30 to 2026-11-20T10:45:00+05:30: meter off" in run(box, "B").splitlines()
    assert {request["meter"] for request in box.asked} == {"B"}
