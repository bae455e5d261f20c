"""`dcu read --port` and `--tcp`: a meter of which nothing is configured, ours or a stranger's."""

import fcntl
import json
import os
import threading
import tty
from pathlib import Path

import pytest
from click.testing import CliRunner

from dcu.cli import main
from dcu.cli.direct import Wire, meter_of
from dcu.meter import Mechanism, Purpose
from dcu.sim import MeterConfig, MeterKeys, running_line

KEYS = MeterKeys(guek=bytes(range(16)), gak=bytes(range(16, 32)), lls=b"reader-pass", hls=bytes(range(32, 48)))
SERIAL = "GXT20931188"
SECRETS = f"""\
[{SERIAL}]
guek = "{KEYS.guek.hex()}"
gak = "{KEYS.gak.hex()}"
lls = "reader-pass"
hls = "{KEYS.hls.hex()}"
"""


def dcu(*words):
    return CliRunner().invoke(main, [str(word) for word in words])


def answer(*words):
    result = dcu(*words, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


@pytest.fixture(scope="module")
def secrets(tmp_path_factory):
    path = tmp_path_factory.mktemp("secrets") / "secrets.toml"
    path.write_text(SECRETS)
    path.chmod(0o600)
    return path


@pytest.fixture(scope="module")
def line():
    plain = MeterConfig("PLAIN1", 18, KEYS, ciphered=False, reader_mechanism="none", history_s=7200)
    meters = [MeterConfig(SERIAL, 17, KEYS, history_s=7200, port=0, hdlc_port=0), plain]
    with running_line(meters, baud=115200, turnaround_ms=2.0) as running:
        yield running


# ---- virtual meters ----


def test_a_ciphered_meter_by_address_client_and_secrets(line, secrets):
    direct = ["--port", line.port, "--baud", 115200, "--address", 17, "--client", 32, "--secrets", secrets]
    assert answer("read", *direct, "1:0.0.96.1.0/2")[0]["raw"] == SERIAL
    assert len(answer("read", *direct, "load")) > 3
    text = dcu("read", *direct, "clock").stdout
    assert "the box's" in text


def test_the_utility_setting_client_proves_itself(line, secrets):
    direct = ["--port", line.port, "--baud", 115200, "--address", 17, "--client", 48, "--secrets", secrets]
    assert answer("read", *direct, "relay")[0]["meaning"] == "connected"


def test_the_public_client_needs_no_proof(line, secrets):
    direct = ["--port", line.port, "--baud", 115200, "--address", 17, "--client", 16, "--secrets", secrets]
    assert answer("read", *direct, "1:0.0.96.1.0/2")[0]["raw"] == SERIAL


def test_secrets_without_a_password_prove_themselves_by_the_other(tmp_path):
    path = tmp_path / "secrets.toml"
    path.write_text("\n".join(text for text in SECRETS.splitlines() if not text.startswith("lls")))
    path.chmod(0o600)
    options = {"client": 100, "auth": None, "protection": None, "counter": None, "model": None, "models": None}
    options |= {"secrets_file": path, "entry": None, "serial": "", "address": 17, "server_sap": None, "mode_e": False}
    reader = meter_of(options, Wire(port="x")).model.associations[Purpose.READ]
    assert (reader.client_sap, reader.mechanism) == (100, Mechanism.HLS_SECRET)
    firmware = meter_of(options | {"client": 80}, Wire(port="x")).model.associations[Purpose.READ]
    assert (firmware.mechanism, str(firmware.invocation_counter)) == (Mechanism.HLS_SECRET, "0.0.43.1.5.255")


def test_a_meter_behind_the_wrapper(line, secrets):
    direct = ["--tcp", f"127.0.0.1:{line.tcp[SERIAL]}", "--client", 32, "--secrets", secrets]
    assert answer("read", *direct, "identity")[0]["raw"] == SERIAL


def test_a_meter_behind_hdlc_over_tcp(line, secrets):
    """Addressed as on a line: nobody answers for an address that is not there, and each client proves itself."""
    direct = ["--tcp", f"127.0.0.1:{line.hdlc_tcp[SERIAL]}", "--hdlc", "--secrets", secrets]
    assert answer("read", *direct, "--address", 17, "--client", 32, "identity")[0]["raw"] == SERIAL
    assert len(answer("read", *direct, "--address", 17, "--client", 32, "load")) > 3
    setting = ["--address", 17, "--client", 48]
    assert answer("read", *direct, *setting, "relay")[0]["meaning"] == "connected"
    nobody = dcu("read", *direct, "--address", 18, "--reply-s", 0.3, "clock")
    assert (nobody.exit_code, "no answer" in nobody.stderr) == (1, True), nobody.stderr


@pytest.mark.parametrize("wrong", ["--hdlc", ""])
def test_the_wrong_framing_on_tcp_is_a_fault_and_no_hang(line, wrong):
    port = (line.tcp if wrong else line.hdlc_tcp)[SERIAL]
    result = dcu("read", "--tcp", f"127.0.0.1:{port}", *wrong.split(), "--reply-s", 0.3, "--client", 32, "clock")
    assert result.exit_code == 1
    assert "closed the connection" in result.stderr or "no answer" in result.stderr, result.stderr


def test_a_meter_without_password_or_keys(line):
    direct = ["--port", line.port, "--baud", 115200, "--address", 18, "--client", 32]
    assert answer("read", *direct, "1:0.0.96.1.0/2")[0]["raw"] == "PLAIN1"
    assert "model dlms-generic has no" in dcu("read", *direct).stderr


def test_a_serial_that_is_asked_for_must_be_the_meters(line, secrets):
    direct = ["--port", line.port, "--baud", 115200, "--address", 17, "--secrets", secrets, "--entry", SERIAL]
    result = dcu("read", *direct, "--serial", "OTHER", "clock")
    assert result.exit_code == 1
    assert f"it is '{SERIAL}'" in result.stderr


def test_a_port_that_is_held_is_named(line):
    with Path(line.pty).open("rb", buffering=0) as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        result = dcu("read", "--port", line.pty, "--address", 18, "clock")
    assert result.exit_code == 1
    assert "another program holds it" in result.stderr


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        ([], 2, "write METER"),
        (["--port", "x", "--tcp", "y", "clock"], 2, "not both"),
        (["--port", "x", "METER", "clock"], 2, "only [WHAT]"),
        (["--tcp", "host:x", "clock"], 2, "no endpoint"),
        (["--port", "x", "--model", "none", "clock"], 1, "no model 'none'"),
        (["--port", "x", "--timezone", "Asia/Ranchi", "clock"], 2, "no time zone"),
        (["--port", "x", "--secrets", "/nowhere", "clock"], 3, "no such file"),
        (["--port", "x", "--protection", "none", "--auth", "hls-gmac", "clock"], 1, "hls-gmac needs ciphering"),
        (["--port", "/dev/nowhere", "clock"], 1, "by-path"),
    ],
)
def test_what_cannot_be_asked(words, code, text):
    result = dcu("read", *words)
    assert (result.exit_code, text in result.stderr) == (code, True), result.stderr


def test_secrets_with_several_entries_want_a_name(tmp_path):
    path = tmp_path / "secrets.toml"
    path.write_text('[a]\nlls = "x"\n[b]\nlls = "y"\n')
    path.chmod(0o600)
    assert "there are: a, b" in dcu("read", "--port", "x", "--secrets", path, "clock").stderr
    path.chmod(0o644)
    result = dcu("read", "--port", "x", "--secrets", path, "--entry", "a", "clock")
    assert (result.exit_code, "chmod 600" in result.stderr) == (3, True)


# ---- a stranger: frames of a real meter, and around them what any meter says ----

AARE = bytes.fromhex("6129A109060760857405080101A203020100A305A103020100BE10040E0800065F1F040000101900800007")
CLOCK = bytes.fromhex("C4018100090C07E60810FF0F211BFF800000")  # SECURE Saral, gurux.fi/node/20118
SERIAL_SAID = bytes.fromhex("C401810009084E50313233343536")


class Stranger:
    """A scripted meter that shares no code with anything here: fixed answers by the kind of request."""

    def __init__(self):
        self.master, slave = os.openpty()
        tty.setraw(slave)
        self.path, self._slave = os.ttyname(slave), slave
        self.heard = []
        self.answers = 0
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self):
        pending = b""
        while True:
            try:
                pending += os.read(self.master, 4096)
            except OSError:
                return
            while (frame := self._take(pending)) is not None:
                pending = pending[len(frame) :]
                self.heard.append(frame)
                reply = self._reply(frame)
                if reply:
                    os.write(self.master, reply)

    @staticmethod
    def _take(octets):
        if len(octets) < 3:
            return None
        length = ((octets[1] & 7) << 8 | octets[2]) + 2
        return octets[:length] if len(octets) >= length else None

    def _reply(self, frame):
        assert frame[3:5] == b"\x03\x41", "logical device 1 alone, client 32"
        control = frame[5]
        if control == 0x93:
            self.answers = 0
            return frame_of(0x73)
        if control == 0x53:
            return frame_of(0x73)
        if control & 1:
            return None
        apdu = frame[11:-3]
        if apdu[0] == 0x60:
            said = AARE
        elif apdu[0] == 0x62:
            said = bytes.fromhex("6303800100")
        elif apdu[:2] == b"\xc0\x01":
            said = CLOCK if apdu[3:5] == b"\x00\x08" else SERIAL_SAID
            said = said[:2] + apdu[2:3] + said[3:]
        else:
            said = bytes.fromhex("D80102")
        sent, self.answers = self.answers, self.answers + 1
        return frame_of((sent + 1) % 8 << 5 | 0x10 | sent % 8 << 1, b"\xe6\xe7\x00" + said)

    def close(self):
        os.close(self._slave)
        os.close(self.master)


def frame_of(control, information=b""):
    """An HDLC frame from logical device 1 to client 32, made by hand."""
    head = bytes([0x41, 0x03, control])
    length = 2 + len(head) + 2 + (len(information) + 2 if information else 0)
    octets = bytes([0xA0 | length >> 8, length & 0xFF]) + head
    if information:
        octets += crc(octets) + information
    return b"\x7e" + octets + crc(octets) + b"\x7e"


def crc(octets):
    """CRC-16/X.25, bit by bit."""
    value = 0xFFFF
    for octet in octets:
        value ^= octet
        for _ in range(8):
            value = value >> 1 ^ (0x8408 if value & 1 else 0)
    return (value ^ 0xFFFF).to_bytes(2, "little")


def test_the_scripted_frames_are_those_of_a_real_meter():
    real = bytes.fromhex("7EA01E410352054FE6E700C4018100090C07E60810FF0F211BFF800000C71A7E")
    assert frame_of(0x52, b"\xe6\xe7\x00" + CLOCK) == real


def test_a_strangers_clock_with_weekday_ff_and_no_deviation():
    stranger = Stranger()
    try:
        direct = ["--port", stranger.path, "--client", 32]
        [clock] = answer("read", *direct, "clock")
        assert clock["time"] == "2022-08-16T15:33:27+05:30"
        assert clock["ahead_s"] < 0
        [serial] = answer("read", *direct, "1:0.0.96.1.0/2")
        assert serial["raw"] == "NP123456"
    finally:
        stranger.close()
