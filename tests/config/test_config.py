"""Mistakes in the configuration: each told by file, line, key, cause and cure; all of them at once."""

from pathlib import Path

import pytest

from dcu.config import ConfigMistakes, load
from dcu.errors import ConfigFault
from dcu.meter import Amount, Mechanism, Protection, Purpose, Quirk

EXAMPLE = Path(__file__).parents[2] / "config" / "dcu.example.toml"

SECRETS = """\
[GXT20931188]
guek = "000102030405060708090A0B0C0D0E0F"
gak = "D0D1D2D3D4D5D6D7D8D9DADBDCDDDEDF"
lls = "secret-password"
hls = "00112233445566778899AABBCCDDEEFF"
"""


@pytest.fixture
def box(tmp_path):
    """The printed example, with its files beside it; `write` changes one line."""
    (tmp_path / "tls").mkdir()
    for name in ("tls/ca.pem", "tls/dcu.pem", "tls/dcu.key", "trust.json", "receipt.key"):
        (tmp_path / name).write_text("x")
    secrets = tmp_path / "secrets.toml"
    secrets.write_text(SECRETS)
    secrets.chmod(0o600)
    text = EXAMPLE.read_text().replace("/etc/dcu/", "")

    def write(old="", new=""):
        assert old in text
        path = tmp_path / "dcu.toml"
        path.write_text(text.replace(old, new, 1))
        return path

    return write


def mistakes(path):
    with pytest.raises(ConfigMistakes) as caught:
        load(path)
    return caught.value.mistakes


def test_the_printed_example_is_valid(box):
    config = load(box())
    assert config.dcu.id == "JH-RNC-0042"
    assert (config.uplink.host, config.uplink.port) == ("hes.example", 8883)
    [meter] = config.meters_on("north")
    assert (meter.serial, meter.address) == ("GXT20931188", 17)
    assert meter.secrets.unicast_key == bytes(range(16))
    assert config.uplink.ca.is_file()


def test_a_serial_keeps_its_leading_zeros(box):
    assert load(box('serial = "GXT20931188"', 'serial = "00123"')).meters[0].serial == "00123"


def test_the_store_may_be_given_a_limit(box):
    assert load(box()).store.max_mb is None
    assert load(box("# [store]\n# max_mb", "[store]\nmax_mb")).store.max_mb == 512
    [mistake] = mistakes(box("# [store]\n# max_mb = 512", "[store]\nmax_mb = 8"))
    assert mistake.key == "store.max_mb" and "16" in mistake.cure


TABLE = [
    ('id = "JH-RNC-0042"', 'id = "box 42"', "dcu.id", "no id", "A-Z"),
    ('id = "JH-RNC-0042"', "id = 42", "dcu.id", "not a string", "quotes"),
    ("encoding =", "encodign =", "uplink.encodign", "unknown key", "did you mean 'encoding'"),
    ('encoding = "cbor"', 'encoding = "cbro"', "uplink.encoding", "not allowed", "did you mean 'cbor'"),
    ('"mqtts://hes.example:8883"', '"mqtt://hes.example:1883"', "uplink.broker", "mutual TLS", "mqtts://"),
    ('"mqtts://hes.example:8883"', '"mqtts://hes.example:x"', "uplink.broker", "no broker address", "mqtts://"),
    ('timezone = "Asia/Kolkata"', 'timezone = "Asia/Ranchi"', "dcu.timezone", "no time zone", "IANA"),
    ("baud = 9600", "baud = 9601", "bus.north.baud", "not allowed", "9600"),
    ("baud = 9600", 'baud = "9600"', "bus.north.baud", "not allowed", "9600"),
    ('kind = "rs485"', 'kind = "rs458"', "bus.north.kind", "not allowed", "did you mean 'rs485'"),
    ('bus = "north"', 'bus = "nroth"', "meter[0].bus", "no bus", "did you mean 'north'"),
    ('model = "is15959-1ph"', 'model = "is15959"', "meter[0].model", "not allowed", "is15959-1ph"),
    ('serial = "GXT20931188"', "serial = 20931188", "meter[0].serial", "not a string", "quotes"),
    ("address = 17", "address = 3", "meter[0].address", "reserved", "16"),
    ("address = 17", "address = 99999", "meter[0].address", "out of range", "16383"),
    ("address = 17", "address = 17\naddress_octets = 1", "meter[0].address", "does not fit into 1 octets", "alone"),
    ("address = 17", "address = 128\naddress_octets = 2", "meter[0].address", "does not fit into 2 octets", "4 beyond"),
    ('secrets = "GXT20931188"', 'secrets = "GXT20931189"', "meter[0].secrets", "no entry", "GXT20931188"),
    ('secrets = "GXT20931188"', "", "meter[0].secrets", "needs keys", "guek"),
    ('ca = "tls/ca.pem"', 'ca = "tls/cb.pem"', "uplink.ca", "no file", "correct the path"),
    ('ca = "tls/ca.pem"', "", "uplink.ca", "is missing", "[uplink]"),
    ("version = 1", "version = 2", "version", "is 2", "version = 1"),
    ("[bus.north]", "[buss.north]", "buss", "unknown key", "did you mean 'bus'"),
    ("health_s = 300", "health_s = 1.5", "poll.health_s", "not a whole number", "10"),
    ("health_s = 300", "health_s = 1", "poll.health_s", "out of range", "10"),
    ("# general = true ", "general = 1 # ", "meter[0].general", "true or false", "without quotes"),
    ("# general = true ", "sim = true # ", "meter[0].sim", "means nothing any more", "leave the line out"),
    ("# client = 32 ", "client = 320 # ", "meter[0].client", "out of range", "1 to 127"),
    ('# mechanism = "lls" ', 'mechanism = "low" # ', "meter[0].mechanism", "not allowed", "lls"),
    ('# protection = "both" ', 'protection = "all" # ', "meter[0].protection", "not allowed", "both"),
    ('# counter = "0.0.43.1.2" ', "counter = true # ", "meter[0].counter", "is true", "false for none"),
    ("# window = 1 ", "window = 8 # ", "meter[0].window", "out of range", "1 to 7"),
    ("# max_info = 128 ", "max_info = 16 # ", "meter[0].max_info", "out of range", "32 to 2030"),
    ("# inactivity_s = 120 ", 'inactivity_s = "2m" # ', "meter[0].inactivity_s", "not a whole number", "0 to"),
    ('# amount = "rupee" ', 'amount = "rupees" # ', "meter[0].amount", "not allowed", "did you mean 'rupee'"),
    ('# quirks = ["no-get-with-list"]', 'quirks = ["no-list"]', "meter[0].quirks", "not allowed", "no-get-with-list"),
    ('# quirks = ["no-get-with-list"]', 'quirks = "mode-e"', "meter[0].quirks", "not a list", "brackets"),
    (
        "# profiles.billing = false ",
        "profiles.biling = false # ",
        "meter[0].profiles.biling",
        "no such profile",
        "did you mean 'billing'",
    ),
    (
        "# profiles.billing = false ",
        "profiles.billing = true # ",
        "meter[0].profiles.billing",
        "not allowed",
        "false, or a table",
    ),
    (
        "# profiles.block-load.every_s = 1800",
        "profiles.block-load.every = 1800",
        "meter[0].profiles.block-load.every",
        "unknown key",
        "every_s",
    ),
    (
        '# profiles.daily-load.ln = "1.0.98.2.0"',
        'profiles.daily-load.ln = "1.0.99.1.0"',
        "meter[0].profiles.daily-load",
        "has the logical name of",
        "its own ln",
    ),
    (
        '# profiles.hourly = { ln = "1.0.99.3.0", kind',
        "profiles.hourly = { kind",
        "meter[0].profiles.hourly",
        "no such profile",
        "needs ln and kind",
    ),
    ('# models = "meters" ', 'models = "meters" # ', "dcu.models", "no directory", "correct the path"),
]


@pytest.mark.parametrize(("old", "new", "key", "cause", "cure"), TABLE, ids=[f"{t[2]}: {t[3]}" for t in TABLE])
def test_a_mistake_is_told_with_its_line_and_its_cure(box, old, new, key, cause, cure):
    path = box(old, new)
    found = [m for m in mistakes(path) if m.key == key]
    assert found, f"no mistake told at {key}: {mistakes(path)}"
    [mistake] = found
    assert cause in mistake.cause
    assert cure in mistake.cure
    lines = path.read_text().splitlines()
    if "missing" not in cause and new and not key.startswith("buss"):
        assert new.split("=")[0].strip() in lines[mistake.line - 1]
    assert str(mistake).startswith(f"{path}:{mistake.line}: {key}: ")


def test_all_mistakes_are_told_at_once_in_the_order_of_the_file(box):
    path = box('id = "JH-RNC-0042"', 'id = ""')
    path.write_text(path.read_text().replace("baud = 9600", "baud = 1").replace("address = 17", "address = 1"))
    assert [m.key for m in mistakes(path)] == ["dcu.id", "bus.north.baud", "meter[0].address"]


OVERRIDES = [
    '# mechanism = "lls"',
    "# max_info = 128",
    "# window = 1",
    "# keep_open = false",
    "# inactivity_s = 120",
    '# amount = "rupee"',
    "# quirks =",
    "# profiles.billing = false",
    "# profiles.block-load.every_s = 1800",
    "# profiles.daily-load.ln",
    "# profiles.hourly",
    "# general = true",
]


def test_what_a_meter_has_otherwise_than_its_model(box):
    path = box()
    text = path.read_text()
    for each in OVERRIDES:
        assert text.count(each) == 1
        text = text.replace(each, each.removeprefix("# "))
    path.write_text(text)
    [meter] = load(path).meters
    model, shipped = meter.model, load(box()).meters[0].model
    assert (model.max_info_bytes, model.window, model.keep_open, model.amount) == (128, 1, False, Amount.RUPEE)
    assert model.quirks == {Quirk.NO_LIST}
    named = {spec.name: spec for spec in model.profiles}
    assert "billing" not in named
    assert named["block-load"].every_s == 1800
    assert named["block-load"].scalers == next(s for s in shipped.profiles if s.name == "block-load").scalers
    assert str(named["daily-load"].logical_name) == "1.0.98.2.0.255"
    assert model.profiles[-1].name == "hourly"
    assert [c.general for c in model.associations.values()] == [False, True, True]
    assert shipped.max_info_bytes == 2030  # nobody else's model has changed


def test_replies_without_proof_are_the_readers_alone(box):
    # The client that switches is told by its read-back whether a relay moved: a model must say so of it by name.
    path = box("# encrypted_only_replies = true", "encrypted_only_replies = true")
    [meter] = load(path).meters
    lax = {purpose.value for purpose, client in meter.model.associations.items() if client.encrypted_only_replies}
    assert lax == {"read"}


def test_a_meter_without_ciphering_has_no_counter_and_needs_no_keys(box):
    path = box('model = "is15959-1ph" ', 'model = "dlms-generic"\nmechanism = "none"\nclient = 16 #')
    path.write_text(path.read_text().replace('secrets = "GXT20931188" ', "#"))
    [meter] = load(path).meters
    reader = meter.model.associations[Purpose.READ]
    assert (reader.client_sap, reader.mechanism, reader.protection) == (16, Mechanism.NONE, Protection.NONE)


def test_a_meter_with_a_password_needs_one(box, tmp_path):
    path = box('model = "is15959-1ph" ', 'model = "dlms-generic" #')
    (tmp_path / "secrets.toml").write_text('[GXT20931188]\nguek = "000102030405060708090A0B0C0D0E0F"\n')
    [mistake] = mistakes(path)
    assert (mistake.key, mistake.cause) == ("meter[0].secrets", "model dlms-generic needs a password")


OWN_MODEL = """\
title = "ours"
[client.read]
sap = 1
mechanism = "none"
[[profile]]
name = "block-load"
ln = "1.0.99.1.0"
kind = "ring"
"""


def test_a_box_has_models_of_its_own_before_the_shipped_ones(box, tmp_path):
    (tmp_path / "meters").mkdir()
    (tmp_path / "meters" / "is15959-1ph.toml").write_text(OWN_MODEL)
    path = box("# models =", "models =")
    path.write_text(path.read_text().replace('secrets = "GXT20931188" ', "#"))
    [meter] = load(path).meters
    assert meter.model.title == "ours"


def test_mistakes_of_its_own_models_are_told_with_its_other_mistakes(box, tmp_path):
    (tmp_path / "meters").mkdir()
    own = tmp_path / "meters" / "ours.toml"
    own.write_text(OWN_MODEL.replace("sap = 1", "sap = 0"))
    path = box("# models =", "models =")
    path.write_text(
        path.read_text().replace('model = "is15959-1ph"', 'model = "ours"').replace("baud = 9600", "baud = 7")
    )
    assert [(m.file, m.line, m.key) for m in mistakes(path)] == [
        (path, path.read_text().splitlines().index("baud = 7") + 1, "bus.north.baud"),
        (own, 3, "client.read.sap"),
    ]


def test_a_directory_of_models_that_is_not_there_blames_no_meter(box):
    path = box("# models =", "models =")
    path.write_text(path.read_text().replace('model = "is15959-1ph"', 'model = "ours"'))
    assert [m.key for m in mistakes(path)] == ["dcu.models"]


def test_a_table_of_profiles_below_a_meter_has_its_lines(box):
    path = box()
    path.write_text(path.read_text() + "\n[meter.profiles.billing]\nevery_s = -1\n")
    [mistake] = mistakes(path)
    assert (mistake.key, mistake.line) == ("meter[0].profiles.billing.every_s", len(path.read_text().splitlines()))


def test_two_meters_do_not_share_a_serial_or_an_address(box):
    path = box()
    path.write_text(path.read_text() + "\n[[meter]]" + path.read_text().split("[[meter]]")[1])
    assert {m.key for m in mistakes(path)} == {"meter[1].serial", "meter[1].address"}


def test_a_syntax_error_has_its_line(box):
    path = box('id = "JH-RNC-0042"', 'id = "JH-RNC-0042')
    [mistake] = mistakes(path)
    assert mistake.key == "syntax"
    assert 'id = "JH-RNC-0042' in path.read_text().splitlines()[mistake.line - 1]


def test_secrets_that_others_can_read_are_refused(box, tmp_path):
    (tmp_path / "secrets.toml").chmod(0o640)
    found = mistakes(box())
    assert "readable by others (mode 640)" in found[0].cause
    assert "chmod 600" in found[0].cure


def test_no_secret_stands_in_a_message(box, tmp_path):
    (tmp_path / "secrets.toml").write_text(SECRETS.replace('gak = "D0D1', 'gak = "ZZD1').replace('lls = "', 'lls = "é'))
    text = "\n".join(map(str, mistakes(box())))
    assert "gak" in text
    assert "D2D3" not in text
    assert "secret-password" not in text
    assert "secrets.toml:3" in text


def test_no_secret_stands_in_a_syntax_error(box, tmp_path):
    (tmp_path / "secrets.toml").write_text(SECRETS.replace('DEDF"', "DEDF"))
    assert "D2D3" not in "\n".join(map(str, mistakes(box())))


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(ConfigFault, match="No such file"):
        load(tmp_path / "none.toml")


def test_a_file_that_is_not_text(tmp_path):
    (tmp_path / "dcu.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigFault, match="UTF-8"):
        load(tmp_path / "dcu.toml")
