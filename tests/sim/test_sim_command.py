"""`dcu sim` as a person starts it: up, ended, and told where a description is wrong."""

import json
import signal
import subprocess
import sys

import pytest
import serial
from click.testing import CliRunner

from dcu.cli.sim import sim
from dcu.sim import read_ledger
from dcu.sim.description import EXAMPLE, load
from dcu.sim.hdlc import parse
from tests.sim.sim_client import frame

SECRETS = """
[GXT20931188]
guek = "000102030405060708090a0b0c0d0e0f"
gak = "d0d1d2d3d4d5d6d7d8d9dadbdcdddedf"
lls = "reader01"
hls = "30313233343536373839616263646566"
"""


@pytest.fixture
def described(tmp_path):
    """A function that writes a description, its secrets beside it."""

    def write(text=EXAMPLE, secrets=SECRETS, mode=0o600):
        (tmp_path / "sim.toml").write_text(text)
        (tmp_path / "sim-secrets.toml").write_text(secrets)
        (tmp_path / "sim-secrets.toml").chmod(mode)
        return tmp_path / "sim.toml"

    return write


def test_the_example_is_a_description(described):
    what = load(described())
    assert [meter.serial for meter in what.meters] == ["GXT20931188"]
    assert what.meters[0].keys.guek == bytes(range(16))
    assert (what.baud, what.turnaround_ms, what.meters[0].history_s) == (9600, 20.0, 172_800)
    assert CliRunner().invoke(sim, ["--example"]).output == EXAMPLE


def test_up_spoken_to_and_ended(described, tmp_path):
    text = EXAMPLE.replace("# port = 0 ", "port = 0 ").replace("baud = 9600", "baud = 115200")
    path = described(text)
    command = [sys.executable, "-c", "from dcu.cli.sim import sim; sim()", str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        up = json.loads(running.stdout.readline())
        assert up["ready"] is True
        assert up["link"] == str(tmp_path / "rs485")
        assert up["tcp"].keys() == {"GXT20931188"}
        with serial.Serial(up["link"], 115_200, timeout=30) as port:
            port.write(frame(0x93))
            assert parse(port.read(33)[1:-1]).control == 0x73
        running.send_signal(signal.SIGTERM)
        out, err = running.communicate(timeout=60)
    assert (running.returncode, out, err) == (0, "", "")
    assert not (tmp_path / "rs485").is_symlink()
    assert len(read_ledger(tmp_path / "ledger" / "GXT20931188.jsonl")) >= 192


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("baud = 9600", "baud = 9600\nbuad = 1", ["[line] buad", "no such key"]),
        ("baud = 9600", 'baud = "9600"', ["[line] baud", "int expected"]),
        ("baud = 9600", "baud = 5", ["baud", "300"]),
        ("baud = 9600", "baud = true", ["baud", "bool"]),
        ("bit_error_rate = 0.0", "bit_error_rate = 2", ["bit_error_rate", "0 to 1"]),
        ("address = 17", "address = 200", ["[[meter]] 1", "200"]),
        ("capture_period_s = 900", "capture_period_s = 7", ["capture_period_s", "divisor"]),
        ('serial = "GXT20931188"', "serial = 20931188", ["serial", "str expected"]),
        ('serial = "GXT20931188"', 'serial = "UNKNOWN"', ["UNKNOWN", "guek"]),
        ('serial = "GXT20931188"', "", ["[[meter]] 1 serial", "missing"]),
        ("[[meter]]", "[meter]", ["meter", "list expected"]),
        ('mechanism = "secret"', 'mechanism = "md5"', ["mechanism"]),
        ("[line]", "[line", ["not TOML", "line"]),
    ],
)
def test_mistakes_are_told_in_one_line(described, old, new, words):
    assert old in EXAMPLE
    path = described(EXAMPLE.replace(old, new))
    result = CliRunner().invoke(sim, [str(path)])
    assert result.exit_code == 3
    assert result.output.count("\n") == 1
    assert str(path) in result.output
    for word in words:
        assert word in result.output


@pytest.mark.parametrize(
    ("secrets", "mode", "words"),
    [
        (SECRETS, 0o644, ["chmod 600"]),
        (SECRETS.replace('guek = "00', 'guek = "xy'), 0o600, ["GXT20931188", "hex"]),
        (SECRETS.replace("guek", "gukk"), 0o600, ["gukk", "no such key"]),
        (SECRETS.replace("30313233", ""), 0o600, ["hls", "16 octets"]),
    ],
)
def test_mistakes_in_the_secrets_show_no_secret(described, secrets, mode, words):
    result = CliRunner().invoke(sim, [str(described(secrets=secrets, mode=mode))])
    assert result.exit_code == 3
    assert result.output.count("\n") == 1
    for word in words:
        assert word in result.output
    for secret in ("0102030405", "d0d1d2", "reader01", "3435363738"):
        assert secret not in result.output


def test_no_file_and_no_argument(tmp_path):
    result = CliRunner().invoke(sim, [str(tmp_path / "none.toml")])
    assert (result.exit_code, "cannot be read" in result.output) == (3, True)
    assert CliRunner().invoke(sim, []).exit_code == 2


def test_a_serial_twice(described):
    meter = EXAMPLE[EXAMPLE.index("[[meter]]") :]
    result = CliRunner().invoke(sim, [str(described(EXAMPLE + meter))])
    assert (result.exit_code, "twice" in result.output) == (3, True)
