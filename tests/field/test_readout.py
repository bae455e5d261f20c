"""What `dcu read` answers: every name, against a virtual meter; codes with their meanings, money with its unit."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from dcu.config.meter_models import shipped
from dcu.errors import OperatorFault
from dcu.field.object_names import in_words
from dcu.field.readout import NEWEST_ROWS, Question
from dcu.field.shown import shown_attribute, shown_rows, shown_value
from dcu.meter import Amount, AttributeRef, Meter, MeterSecrets, ProfileKind
from dcu.obis import LogicalName
from dcu.reading import UNTIMED, Column, Row, meter_time
from tests.drivers.bench import NOW, SECRETS, SERIAL, ZONE, Bench

MODELS = shipped()
MODEL = MODELS["is15959-1ph"]
METER = Meter(SERIAL, "north", MODEL, 17, "JH-RNC", SECRETS)
BOX = datetime.fromtimestamp(NOW, UTC) - timedelta(seconds=7)


def question(what, meter=METER):
    return Question(meter, what, ZONE, lambda: BOX)


@pytest.fixture(scope="module")
def read():
    bench = Bench()
    bench.meter = METER
    with bench.associate() as association:
        yield lambda what: question(what).ask(association)


def test_a_snapshot_has_its_time_and_scaled_values(read):
    [row] = read("instant")
    assert row == read("instantaneous")[0]
    voltage = next(v for v in row["values"] if v["ln"] == "1.0.12.7.0.255")
    assert voltage["unit"] == "V"
    assert 180 < float(voltage["value"]) < 280
    assert row["captured_at"].startswith("2026-11-18T")


@pytest.mark.parametrize("what", ["load", "block-load"])
def test_the_newest_intervals(read, what):
    rows = read(what)
    assert len(rows) == NEWEST_ROWS
    assert sorted(r["captured_at"] for r in rows) == [r["captured_at"] for r in rows]


def test_a_clock_stands_beside_the_boxs(read):
    [clock] = read("clock")
    assert clock["ahead_s"] == 7
    assert clock["box"].startswith(BOX.astimezone(ZONE).isoformat()[:19])
    assert clock["time"] == datetime.fromtimestamp(NOW, ZONE).isoformat()


def test_identity_tells_what_a_meter_refuses_too(read):
    said = {entry["ln"]: entry for entry in read("identity")}
    assert said["0.0.96.1.0.255"]["raw"] == SERIAL
    assert all("raw" in entry or "denied" in entry for entry in said.values())


def test_the_relay_says_what_its_states_mean(read):
    states = {entry["attr"]: entry for entry in read("relay")}
    assert (states[2]["raw"], states[2]["meaning"]) == (True, "connected")
    assert states[3]["meaning"] == "connected"


def test_balance_has_its_unit_and_its_time(read):
    said = {entry["ln"]: entry for entry in read("balance")}
    money = said["0.0.94.96.24.255"]
    assert (money["unit"], money["counted_in"]) == ("rupee", "paise")
    assert money["value"] == f"{money['raw'] / 100:.2f}"
    assert said["0.0.94.96.20.255"]["meaning"] == "prepaid"


def test_one_attribute(read):
    assert read("1:0.0.96.1.0/2") == [{"ln": "0.0.96.1.0.255", "attr": 2, "name": "serial", "raw": SERIAL}]


@pytest.mark.parametrize("what", ["", "everything", "3:1.0.12.7.0.255", "3:1.0.12.7.0.999/2", "x:1.0.12.7.0.255/2"])
def test_what_cannot_be_read_is_told_with_what_can(what):
    with pytest.raises(OperatorFault) as caught:
        question(what)
    for name in ("instant", "events", "clock", "nameplate", "billing", "events-power", "limiter"):
        assert name in caught.value.cure


@pytest.mark.parametrize(("model", "what"), [("is15959-3ph-ct", "relay"), ("dlms-generic", "events"),
                                             ("dlms-generic", "balance"), ("dlms-generic", "instant")])  # fmt: skip
def test_what_a_model_does_not_have(model, what):
    with pytest.raises(OperatorFault, match=f"model {model} has no"):
        question(what, Meter("X", "b", MODELS[model], 17, "A", MeterSecrets()))


def test_every_profile_of_every_model_can_be_asked_by_name():
    for model in MODELS.values():
        for spec in model.profiles:
            question(spec.name, Meter("X", "b", model, 17, "A", MeterSecrets()))


# ---- values ----

AT = meter_time(bytes.fromhex("07EA0B12FF0A000000800000"), ZONE)


def test_an_event_says_its_code_and_its_meaning():
    code = Column(1, AttributeRef.of("1:0.0.96.11.2/2").logical_name, 2)
    [row] = shown_rows((Column(8, METER.model.profiles[0].logical_name, 2), code), [Row(AT, (101,))], MODEL, ZONE)
    assert (row["values"][0]["raw"], row["values"][0]["meaning"]) == (101, "power failure: occurrence")
    assert "does not know" in shown_value(code, 888, MODEL, ZONE)["meaning"]


def test_a_float_is_scaled_exactly():
    energy = Column(3, AttributeRef.of("3:1.0.1.8.0/2").logical_name, 2, 3, 30)
    assert shown_value(energy, "1234.5", MODEL, ZONE)["value"] == "1234500"
    assert shown_value(energy, 7, MODEL, ZONE)["value"] == "7000"
    assert "value" not in shown_value(energy, "nan-ish", MODEL, ZONE)


def test_a_row_without_time_says_none():
    serial = Column(1, AttributeRef.of("1:0.0.96.1.0/2").logical_name, 2)
    [row] = shown_rows((UNTIMED, serial), [Row(AT, (b"X1",))], MODEL, ZONE)
    assert list(row) == ["values"]


def test_money_in_rupees_is_not_divided():
    ref = AttributeRef.of("1:0.0.94.96.24/2")
    assert shown_attribute(ref, 150, replace(MODEL, amount=Amount.RUPEE), ZONE) == {
        "ln": "0.0.94.96.24.255",
        "attr": 2,
        "name": "balance",
        "raw": 150,
        "unit": "rupee",
    }


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("1.0.12.7.0", "voltage"),
        ("1.0.1.7.0", "active import power"),
        ("1.0.1.8.3", "active import energy, zone 3"),
        ("1.0.9.29.0", "apparent import energy of the interval"),
        ("1.0.51.27.0", "Y current average"),
        ("1.0.9.6.0", "apparent import power maximum demand"),
        ("0.0.96.11.2", "event"),
        ("1.0.12.7.0.1", ""),
        ("1.0.99.99.0", ""),
        ("1.0.1.99.0", ""),
    ],
)
def test_names_in_words(name, words):
    assert in_words(LogicalName.of(name)) == words


class Refusing:
    """An association whose second log is refused."""

    def __init__(self, refused):
        self._refused = refused

    def layout(self, name, scalers):
        if name == self._refused:
            from dcu.errors import AttributeDenied

            raise AttributeDenied("no right")
        return (Column(8, AttributeRef.of("8:0.0.1.0.0/2").logical_name, 2),)

    def last_rows(self, name, layout, count):
        return [Row(AT, ())]


def test_one_refused_log_does_not_hide_the_others():
    logs = [spec for spec in MODEL.profiles if spec.kind is ProfileKind.EVENTS]
    rows = question("events").ask(Refusing(logs[1].logical_name))
    assert [row["profile"] for row in rows] == [spec.name for spec in logs]
    assert ["denied" in row for row in rows] == [at == 1 for at in range(len(logs))]
