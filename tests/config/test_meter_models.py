"""Meter models: the shipped ones decode their own vectors; every mistake in a model file has its line and its cure."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from dcu.config import ConfigMistakes
from dcu.config.meter_models import load_files, load_models, shipped, shipped_directory
from dcu.config.model_tables import MECHANISMS
from dcu.drivers import axdr, profile
from dcu.errors import ConfigFault
from dcu.meter import ClassId, Mechanism, ProfileKind, Protection, Purpose
from dcu.obis import LogicalName
from dcu.reading import NO_TIME, UNTIMED, timed

ROOT = Path(__file__).parents[2]
ZONE = ZoneInfo("Asia/Kolkata")

FILES = load_files(shipped_directory())
VECTORS = [(name, vector) for name, each in FILES.items() for vector in each.vectors]
WANTED = {"is15959-1ph", "is15959-1ph-gmac", "is15959-3ph-wc", "is15959-3ph-ct", "dlms-generic", "virtual"}


# ---- what is shipped ----


def test_the_models_that_are_promised_are_there():
    assert set(shipped()) == WANTED
    assert set(load_models(ROOT / "config" / "meters")) == WANTED


def test_each_model_has_vectors():
    assert {name for name, _ in VECTORS} == WANTED


@pytest.mark.parametrize(("name", "vector"), VECTORS, ids=[f"{name}: {v.name}" for name, v in VECTORS])
def test_octets_become_the_readings_that_the_model_says(name, vector):
    model = FILES[name].model
    columns = timed(profile.columns(axdr.decode(vector.capture_objects), "x"))
    found = {}
    if vector.scaler_objects:
        objects = profile.columns(axdr.decode(vector.scaler_objects), "x")
        found = profile.scalers(objects, axdr.decode(vector.scaler_buffer), "x")
    layout = profile.with_scalers(columns, found)
    rows = profile.rows(axdr.decode(vector.buffer), layout, vector.period_s, ZONE, "x")
    shown = [_column(column) for column in layout if column != UNTIMED]
    assert shown == list(vector.columns)
    assert [(_face(row), *row.values) for row in rows] == [tuple(row) for row in vector.rows]
    codes = [at for at, column in enumerate(layout[1:]) if _is_event_code(column)]
    if codes:
        assert [model.event_codes[row.values[codes[0]]] for row in rows] == list(vector.meanings)
    else:
        assert vector.meanings == ()


def _column(column):
    text = f"{column.class_id}:{column.logical_name}/{column.attribute}"
    return text if column.scaler is None else f"{text} {column.scaler} {column.unit}"


def _face(row):
    if row.captured_at == NO_TIME:
        return ""
    return row.captured_at.at.astimezone(ZONE).replace(tzinfo=None).isoformat()


def _is_event_code(column):
    return column.class_id == ClassId.DATA and str(column.logical_name).startswith("0.0.96.11.")


def test_a_changed_octet_does_not_pass():
    [vector] = [v for n, v in VECTORS if n == "dlms-generic"]
    changed = bytes([vector.buffer[0], vector.buffer[1], 2, 5, *vector.buffer[4:]])
    assert changed != vector.buffer
    columns = timed(profile.columns(axdr.decode(vector.capture_objects), "x"))
    with pytest.raises(Exception, match=r".+"):
        profile.rows(axdr.decode(changed), profile.with_scalers(columns, {}), 900, ZONE, "x")


def test_clients_are_those_of_the_reference():
    for name in WANTED - {"dlms-generic"}:
        clients = shipped()[name].associations
        assert {p: c.client_sap for p, c in clients.items()} == {
            Purpose.IDENTIFY: 16,
            Purpose.READ: 32,
            Purpose.SWITCH: 48,
        }
        assert str(clients[Purpose.READ].invocation_counter) == "0.0.43.1.2.255"
        assert str(clients[Purpose.SWITCH].invocation_counter) == "0.0.43.1.3.255"
        assert clients[Purpose.READ].protection is Protection.BOTH
    assert shipped()["is15959-1ph"].associations[Purpose.SWITCH].mechanism is Mechanism.HLS_SECRET
    assert shipped()["is15959-1ph-gmac"].associations[Purpose.SWITCH].mechanism is Mechanism.HLS_GMAC


def test_a_meter_on_current_transformers_has_no_relay_to_ask_for():
    classes = {ref.class_id for ref in shipped()["is15959-3ph-ct"].states}
    assert classes == {ClassId.DATA}
    assert ClassId.DISCONNECT_CONTROL in {ref.class_id for ref in shipped()["is15959-3ph-wc"].states}


def test_event_logs_have_their_logical_names():
    names = [str(s.logical_name) for s in shipped()["is15959-1ph"].profiles if s.kind is ProfileKind.EVENTS]
    assert names == [f"0.0.99.98.{n}.255" for n in range(7)]


def test_a_model_takes_the_common_codes_and_mends_some():
    single, three = shipped()["is15959-1ph"].event_codes, shipped()["is15959-3ph-wc"].event_codes
    assert (single[51], three[51]) == ("current reversal: occurrence", "R phase current reversal: occurrence")
    assert single[301] == three[301] == "load switch disconnected"


def test_an_installed_wheel_brings_the_models(tmp_path):
    """Built as pip builds it, unpacked as pip unpacks it, and asked by a Python that knows no checkout."""
    build = "from setuptools import build_meta; import sys; print(build_meta.build_wheel(sys.argv[1]))"
    source = tmp_path / "source"
    source.mkdir()
    for name in ("dcu", "config", "pyproject.toml", "README.md", "LICENSE", "LICENSING.md"):
        subprocess.run(["cp", "-r", str(ROOT / name), str(source)], check=True)
    done = subprocess.run(
        [sys.executable, "-c", build, str(tmp_path)], cwd=source, check=True, capture_output=True, text=True
    )
    wheel = tmp_path / done.stdout.strip().splitlines()[-1]
    prefix = tmp_path / "prefix"
    site = prefix / "lib" / "python3" / "site-packages"
    with zipfile.ZipFile(wheel) as packed:
        packed.extractall(site)
    [data] = site.glob("*.data/data/share")
    data.rename(prefix / "share")
    ask = "from dcu.config.meter_models import shipped, shipped_directory as d; print(d(), *sorted(shipped()))"
    path = os.pathsep.join([str(site), *sys.path[1:]])
    said = subprocess.run(
        [sys.executable, "-P", "-c", ask], cwd="/", env={"PYTHONPATH": path}, check=True, capture_output=True, text=True
    )
    assert said.stdout.split() == [str(prefix / "share" / "dcu" / "meters"), *sorted(WANTED)]


# ---- mistakes ----

GOOD = """\
title = "a meter"
max_info = 128
keep_open = true
events = "own"
balance = [
    "1:0.0.94.96.20/2",
]

[client.identify]
sap = 16
mechanism = "none"

[client.read]
sap = 32
mechanism = "lls"
protection = "both"
counter = "0.0.43.1.2"

[client.switch]
sap = 48
mechanism = "hls-secret"
protection = "both"

[[profile]]
name = "block-load"
ln = "1.0.99.1.0"
kind = "ring"

[[profile]]
name = "daily-load"
ln = "1.0.99.2.0"
kind = "ring"
every_s = 3600

[event_codes]
51 = "mine"

[[vector]]
name = "none"
source = "hand"
profile = "daily-load"
capture_objects = "0100"
buffer = "01 00"
columns = ["8:0.0.1.0.0.255/2"]
rows = [
    ["2026-11-18T00:00:00", 1]
]
"""


@pytest.fixture
def room(tmp_path):
    """A directory with one model; `write` changes one line of it."""
    (tmp_path / "events").mkdir()
    (tmp_path / "events" / "own.toml").write_text('[codes]\n51 = "common"\n101 = "power"\n')

    def write(old="", new="", name="mine.toml"):
        assert old in GOOD
        path = tmp_path / name
        path.write_text(GOOD.replace(old, new, 1))
        return path

    return write


def mistakes(path):
    with pytest.raises(ConfigMistakes) as caught:
        load_models(path.parent)
    return caught.value.mistakes


def test_a_good_model(room):
    model = load_models(room().parent)["mine"]
    assert (model.name, model.title, model.keep_open, model.window) == ("mine", "a meter", True, 1)
    assert model.event_codes == {51: "mine", 101: "power"}
    assert model.profiles[1].every_s == 3600
    assert model.profiles[1].logical_name == LogicalName.of("1.0.99.2.0")


TABLE = [
    ("max_info = 128", "max_info = 4096", "max_info", "out of range", "32 to 2030"),
    ("max_info = 128", "max_inof = 128", "max_inof", "unknown key", "did you mean 'max_info'"),
    ('title = "a meter"', "", "title", "is missing", "on top"),
    ("keep_open = true", 'keep_open = "yes"', "keep_open", "not true or false", "without quotes"),
    ('events = "own"', 'events = "theirs"', "events", "no table of event codes", "events/theirs.toml"),
    ("[client.read]", "[client.raed]", "client.raed", "unknown client", "did you mean 'read'"),
    ("[client.switch]", "[client.swatch]", "client.swatch", "unknown client", "did you mean 'switch'"),
    ("sap = 32", "sap = 200", "client.read.sap", "out of range", "1 to 127"),
    ('mechanism = "lls"', 'mechanism = "low"', "client.read.mechanism", "not allowed", "lls"),
    ('counter = "0.0.43.1.2"', 'counter = "0.0.43"', "client.read.counter", "no logical name", "groups"),
    ('protection = "both"', "", "client.read.counter", "has no counter", "set a protection"),
    ('mechanism = "none"', 'mechanism = "lls"', "client.identify.mechanism", "neither secret", '"none"'),
    ('mechanism = "hls-secret"', 'mechanism = "lls"', "client.switch.mechanism", "a relay is not", "hls-secret"),
    ('ln = "1.0.99.2.0"', 'ln = "1.0.99.1.0"', "profile[1].ln", "the same as of profile[0]", "its own ln"),
    ('name = "daily-load"', 'name = "block-load"', "profile[1].name", "the same as of profile[0]", "its own name"),
    ('ln = "1.0.99.1.0"', 'ln = "1.0.99.1"', "profile[0].ln", "no logical name", "1.0.99.1.0"),
    ("every_s = 3600", "every_s = 1.5", "profile[1].every_s", "not a whole number", "0 to"),
    ('kind = "ring"', 'kind = "rings"', "profile[0].kind", "not allowed", "did you mean 'ring'"),
    ('51 = "mine"', 'fifty = "mine"', "event_codes.fifty", "no event code", "0 to 65535"),
    ('51 = "mine"', "51 = 7", "event_codes.51", "not a string", "quotes"),
    ('profile = "daily-load"', 'profile = "daily"', "vector[0].profile", "no profile 'daily'", "daily-load"),
    ('buffer = "01 00"', 'buffer = "01 0"', "vector[0].buffer", "not hexadecimal", "pairs"),
]


@pytest.mark.parametrize(("old", "new", "key", "cause", "cure"), TABLE, ids=[f"{t[2]}: {t[3]}" for t in TABLE])
def test_a_mistake_in_a_model_has_its_line_and_its_cure(room, old, new, key, cause, cure):
    path = room(old, new)
    found = [m for m in mistakes(path) if m.key == key]
    assert found, f"no mistake told at {key}: {mistakes(path)}"
    assert cause in found[0].cause
    assert cure in found[0].cure
    assert str(found[0]).startswith(f"{path}:{found[0].line}: {key}: ")
    lines = path.read_text().splitlines()
    if new and key != "client.read.counter":
        assert lines[found[0].line - 1] in (new, f"    {new}")


@pytest.mark.parametrize("protection", ['protection = "encryption"', 'protection = "none"', ""])
def test_a_relay_is_not_moved_by_requests_that_bear_no_tag(room, protection):
    # Counter mode without a tag: whoever flips one bit of the method makes a connect of a disconnect.
    switch = 'mechanism = "hls-secret"\nprotection = '
    path = room(switch + '"both"', f'mechanism = "hls-secret"\n{protection}')
    [mistake] = mistakes(path)
    assert mistake.key == "client.switch.protection"
    assert "authentication" in mistake.cure
    assert load_models(room(switch + '"both"', switch + '"authentication"').parent)["mine"]


def test_a_relay_is_not_moved_by_a_client_whose_read_backs_need_no_tag(room):
    # They are what a receipt says of the relay: whoever is on the line could write them.
    switch = "sap = 48\n"
    path = room(switch, f"{switch}encrypted_only_replies = true\n")
    [mistake] = mistakes(path)
    assert mistake.key == "client.switch.encrypted_only_replies"
    assert "[client.read]" in mistake.cure
    assert load_models(room("sap = 32\n", "sap = 32\nencrypted_only_replies = true\n").parent)["mine"]


def test_a_mistake_in_a_list_of_several_lines_is_told_at_its_key(room):
    path = room('    "1:0.0.94.96.20/2",', '    "1:0.0.94.96.20",')
    [mistake] = mistakes(path)
    assert (mistake.key, mistake.line) == ("balance", 5)
    assert "'1:0.0.94.96.20' is no attribute" in mistake.cause


def test_a_row_of_a_vector_is_no_table(room):
    path = room('    ["2026-11-18T00:00:00", 1]\n]', '    ["2026-11-18T00:00:00", 1]\n]\nperiods = 3')
    [mistake] = mistakes(path)
    assert (mistake.key, path.read_text().splitlines()[mistake.line - 1]) == ("vector[0].periods", "periods = 3")


def test_mistakes_of_all_files_are_told_at_once(room):
    first, second = room("sap = 32", "sap = 0", "a.toml"), room("kind =", "knid =", "b.toml")
    assert {m.file for m in mistakes(first)} == {first, second}


def test_a_mistake_in_a_table_of_codes_is_told_in_that_file(room, tmp_path):
    path = room()
    (tmp_path / "events" / "own.toml").write_text('[codes]\n\n99999 = "x"\n')
    [mistake] = mistakes(path)
    assert (mistake.file, mistake.line) == (tmp_path / "events" / "own.toml", 3)


def test_syntax_and_encoding(room):
    path = room('title = "a meter"', 'title = "a meter')
    assert [(m.key, m.line) for m in mistakes(path)] == [("syntax", 1)]
    path.write_bytes(b"\xff\xfe")
    assert [m.cause for m in mistakes(path)] == ["is not UTF-8 text"]


def test_a_name_that_no_configuration_could_say(room):
    [mistake] = mistakes(room(name="my meter.toml"))
    assert "no name of a model" in mistake.cause


def test_a_directory_that_is_not_there(tmp_path):
    with pytest.raises(ConfigFault, match="No such file"):
        load_models(tmp_path / "none")


def test_every_mechanism_has_a_word():
    assert set(MECHANISMS.values()) == set(Mechanism)
