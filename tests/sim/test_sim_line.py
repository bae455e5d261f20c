"""The line: pace in model time, collisions and noise by seed; then the pty and TCP in real time, with faults."""

import select
import socket
import time

import pytest
import serial

from dcu.sim import ConfigMistake, LineModel, MeterConfig, Noise, running_line
from dcu.sim.axdr import i8
from dcu.sim.description import load
from dcu.sim.hdlc import Deframer
from dcu.sim.line import MASTER
from tests.sim.sim_client import KEYS, Talk, action_apdu, frame, frames, get_apdu

RATES = [1200, 2400, 4800, 9600, 19200, 38400, 57600, 115200]
CLEAR = {"ciphered": False, "reader_mechanism": "none", "keys": KEYS}


# ---- model time -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("baud", RATES)
def test_an_octet_takes_ten_bits(baud):
    line = LineModel(baud)
    end = line.say(MASTER, 5.0, bytes(range(100)))
    assert end == pytest.approx(5.0 + 1000 / baud)
    for count in (1, 2, 50, 99, 100):
        moment = 5.0 + 10 * count / baud
        before = LineModel(baud)
        before.say(MASTER, 5.0, bytes(range(100)))
        assert sum(len(heard.octets) for heard in before.due(moment - 1e-5)) == count - 1
        (heard,) = line.due(moment)
        assert heard.octets[-1] == count - 1
        assert heard.at == pytest.approx(moment)


@pytest.mark.parametrize("baud", RATES)
def test_what_one_talker_says_comes_one_after_the_other(baud):
    line = LineModel(baud)
    line.say(1, 0.0, bytes(10))
    assert line.say(1, 0.0, bytes(5)) == pytest.approx(150 / baud)
    assert line.queued(1) == 15
    assert line.next_end() == pytest.approx(100 / baud)
    assert sum(len(heard.octets) for heard in line.due(1e9)) == 15
    assert line.next_end() is None


def test_two_talkers_garble_where_they_overlap():
    line = LineModel(9600, seed=1)
    line.say(0, 0.0, b"A" * 20)
    line.say(1, 10 * line.octet_s, b"B" * 20)
    heard = {part.talker: part.octets for part in line.due(1.0)}
    assert heard[0][:10] == b"A" * 10
    assert b"A" not in heard[0][10:]
    assert b"B" not in heard[1][:10]
    assert heard[1][10:] == b"B" * 10


def test_talkers_one_after_the_other_do_not_collide():
    line = LineModel(9600)
    end = line.say(0, 0.0, b"A" * 20)
    line.say(1, end, b"B" * 20)
    assert [part.octets for part in line.due(1.0)] == [b"A" * 20, b"B" * 20]


def test_noise_has_the_rate_that_was_asked_for_and_comes_from_the_seed():
    def worn(seed, noise):
        line = LineModel(9600, noise, seed)
        line.say(0, 0.0, bytes(20_000))
        return line.due(1e9)[0].octets

    bits = Noise(bit_error_rate=0.01)
    flipped = sum(octet.bit_count() for octet in worn(1, bits))
    assert 1_300 < flipped < 1_900  # 160,000 bits, of which 1 %
    assert worn(1, bits) == worn(1, bits)
    assert worn(1, bits) != worn(2, bits)
    assert 19_300 < len(worn(1, Noise(loss_rate=0.02))) < 19_900
    assert worn(1, Noise()) == bytes(20_000)


# ---- the pty --------------------------------------------------------------------------------------------------------


class Port:
    """The reader's side of a line."""

    def __init__(self, path, baud=9600):
        self.serial = serial.Serial(path, baud, timeout=0)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.serial.close()

    def ask(self, octets, wait_s=30.0):
        """Send; what comes until a frame is whole or `wait_s` passed."""
        self.serial.write(octets)
        got, deadline = b"", time.monotonic() + wait_s
        while (left := deadline - time.monotonic()) > 0:
            if select.select([self.serial], [], [], left)[0]:
                got += self.serial.read(4096)
            if (
                got.count(b"\x7e") >= 2
                and got.endswith(b"\x7e")
                and len(got) == int.from_bytes(got[1:3], "big") % 0x800 + 2
            ):
                break
        return got


def config(serial="A1", address=17, **changes):
    return MeterConfig(**({"serial": serial, "address": address, **CLEAR} | changes))


def test_only_the_meter_that_is_meant_answers():
    with running_line([config(), config("A2", 18)], baud=115200) as line, Port(line.port) as port:
        for lower, octets in ((17, b"\x02\x23"), (18, b"\x02\x25")):
            (answer,) = frames([port.ask(frame(0x93, destination=octets))])
            assert answer.source == bytes([2, lower << 1 | 1])
        assert port.ask(frame(0x93, destination=b"\x02\x27"), 0.2) == b""


def test_an_exchange_takes_its_time_on_the_wire():
    """22 octets of a clear SNRM exchange at 1200 baud and 40 ms of turnaround: never shorter than the wire takes."""
    with running_line([config(turnaround_ms=40)], baud=1200) as line, Port(line.port) as port:
        start = time.monotonic()
        answer = port.ask(frame(0x93))
        took = time.monotonic() - start
    wire = (10 + len(answer)) * 10 / 1200 + 0.040
    assert took >= wire


def test_a_killed_reader_may_come_again():
    with running_line([config()], baud=115200) as line:
        for _ in range(3):
            with Port(line.port) as port:
                found, deadline = [], time.monotonic() + 30
                while 0x73 not in found and time.monotonic() < deadline:  # behind an answer to the one before
                    found += [answer.control for answer in Deframer().feed(port.ask(frame(0x93), 0.3))]
                assert 0x73 in found
                port.serial.write(frame(0x11))  # and does not wait for the answer


def test_unplugged_and_plugged_again_under_the_same_link(tmp_path):
    with running_line([config()], baud=115200, link=tmp_path / "rs485") as line:
        with Port(line.port) as port:
            assert port.ask(frame(0x93))
            line.unplug()
            assert not (tmp_path / "rs485").exists()
            with pytest.raises((OSError, serial.SerialException)):
                for _ in range(50):
                    port.ask(frame(0x93), 0.02)
        line.replug()
        with Port(line.port) as port:
            assert frames([port.ask(frame(0x93))])[0].control == 0x73
    assert not (tmp_path / "rs485").is_symlink()


def test_two_meters_at_one_address_garble_each_other():
    with running_line([config(), config("A2", seed=2)], baud=115200, seed=3) as line, Port(line.port) as port:
        answer = port.ask(frame(0x93), 0.2)
        assert answer
        assert answer.count(b"\x7e\xa0\x1f") != 2


@pytest.mark.parametrize("noise", [Noise(silence_rate=1.0, silence_s=60.0), Noise(loss_rate=1.0)])
def test_silence_and_loss_by_the_line(noise):
    with running_line([config()], baud=115200, noise=noise) as line, Port(line.port) as port:
        assert port.ask(frame(0x93), 0.2) == b""
        line.noise.silence_rate = line.noise.loss_rate = 0.0
        expected = b"" if noise.silence_s == 60.0 else None
        assert (port.ask(frame(0x93), 0.2) == b"") is (expected == b"")


def test_an_adapter_that_hears_itself():
    with running_line([config()], baud=115200) as line, Port(line.port) as port:
        line.echo = True
        request = frame(0x93)
        assert port.ask(request, 0.3).startswith(request)


def test_fault_silent_then_well_again():
    with running_line([config()], baud=115200) as line, Port(line.port) as port:
        faults = line.meters["A1"].faults
        faults.silent = True
        assert port.ask(frame(0x93), 0.15) == b""
        faults.silent = False
        assert port.ask(frame(0x93))


def test_fault_answers_as_another_and_late():
    with running_line([config()], baud=115200) as line, Port(line.port) as port:
        faults = line.meters["A1"].faults
        faults.answer_as, faults.delay_s = 18, 0.2
        start = time.monotonic()
        (answer,) = frames([port.ask(frame(0x93))])
        assert answer.source == b"\x02\x25"
        assert time.monotonic() - start > 0.2


class Listening:
    """What a meter hears, in the place of one."""

    def __init__(self, meter):
        self.heard, self.receive = b"", meter.receive
        meter.receive = self.hear

    def hear(self, octets, at):
        self.heard += octets
        return self.receive(octets, at)


def test_meters_hear_each_other_and_not_themselves():
    with running_line([config(), config("A2", 18)], baud=115200) as line, Port(line.port) as port:
        talking, other = (Listening(line.meters[serial]) for serial in ("A1", "A2"))
        request = frame(0x93)
        answer = port.ask(request)
        deadline = time.monotonic() + 30
        while other.heard != request + answer and time.monotonic() < deadline:
            select.select([], [], [], 0.01)
        assert other.heard == request + answer
        assert talking.heard == request


def test_a_meter_that_holds_the_line_garbles_the_others():
    with running_line([config(), config("A2", 18)], baud=115200) as line, Port(line.port) as port:
        line.meters["A2"].faults.link.hold = 0x7E
        got = port.ask(frame(0x93), 0.3)
        assert len(got) > 500
        assert Deframer().feed(got) == []
        line.meters["A2"].faults.link.hold = None
        port.ask(b"", 0.1)
        assert frames([port.ask(frame(0x93))])[0].control == 0x73


def test_a_meter_that_talks_unasked():
    with running_line([config()], baud=115200) as line, Port(line.port) as port:
        line.meters["A1"].faults.link.babble_s = 0.05
        got = port.ask(b"", 0.4)
        assert got.count(b"\x7e\xa0\x64") >= 2
        line.meters["A1"].faults.link.babble_s = 0.0
        port.ask(b"", 0.1)
        assert frames([port.ask(frame(0x93))])[0].control == 0x73


def test_zeros_before_an_answer_an_answer_twice_and_half_of_one():
    with running_line([config()], baud=115200) as line, Port(line.port) as port:
        faults = line.meters["A1"].faults.link
        whole = port.ask(frame(0x93))
        faults.leading_zeros = 3
        assert port.ask(frame(0x93), 0.2) == bytes(3) + whole
        faults.leading_zeros, faults.repeat = 0, True
        assert port.ask(frame(0x93), 0.2).count(whole) >= 1
        assert port.ask(b"", 0.1) in (b"", whole)
        faults.repeat, faults.half_frame = False, True
        assert port.ask(frame(0x93), 0.2) == whole[: len(whole) // 2]


# ---- TCP ------------------------------------------------------------------------------------------------------------


def wrapped(apdu, client=48, device=1):
    return b"\x00\x01" + client.to_bytes(2, "big") + device.to_bytes(2, "big") + len(apdu).to_bytes(2, "big") + apdu


def test_a_reply_lost_after_the_relay_acted():
    """Over TCP: the relay has moved once, nothing came back, and a second look says so."""
    with running_line([config(port=0)]) as line:
        meter = line.meters["A1"]
        talk = Talk(meter, 48).open()
        meter.faults.lose_action_reply = 1
        assert talk.raw(action_apdu(70, "0.0.96.3.10", 1, i8(0))) is None
        assert talk.raw(get_apdu(70, "0.0.96.3.10", 2)).hex() == "c401810003" + "00"
        assert [entry["method"] for entry in meter.ledger.entries() if entry["kind"] == "relay"] == [1]
        meter.faults.silent_after_action = True
        assert talk.raw(action_apdu(70, "0.0.96.3.10", 2, i8(0))) is None
        assert meter.relay.output_state
        assert talk.raw(get_apdu(70, "0.0.96.3.10", 2)) is None


@pytest.mark.parametrize("step", [1, 3, 1000])
def test_the_wrapper_however_it_is_cut(step):
    with running_line([config(port=0)]) as line, socket.create_connection(("127.0.0.1", line.tcp["A1"]), 5) as peer:
        peer.settimeout(30)
        message = wrapped(get_apdu(1, "0.0.96.1.0", 2), device=9) + wrapped(get_apdu(1, "0.0.96.1.0", 2))
        for at in range(0, len(message), step):
            peer.sendall(message[at : at + step])
        assert peer.recv(100) == bytes.fromhex("0001000100300003d80101")  # device 9 is nobody


def test_what_is_no_wrapper_ends_the_connection():
    with running_line([config(port=0)]) as line:
        with socket.create_connection(("127.0.0.1", line.tcp["A1"]), 5) as peer:
            peer.settimeout(30)
            peer.sendall(b"GET / HTTP/1.1\r\n\r\n")
            assert peer.recv(100) == b""
        with socket.create_connection(("127.0.0.1", line.tcp["A1"]), 5) as peer:
            peer.settimeout(30)
            peer.sendall(wrapped(b"\xc0"))
            assert peer.recv(100)[8:] == bytes.fromhex("d80101")


def test_captures_go_on_while_nobody_speaks(tmp_path):
    with running_line([config(capture_period_s=1)], ledger=tmp_path) as line:
        deadline = time.monotonic() + 30
        while not line.meters["A1"].rows("1.0.99.1.0.255") and time.monotonic() < deadline:
            select.select([], [], [], 0.05)
        captured = line.meters["A1"].rows("1.0.99.1.0.255")[0][0]
        assert abs(captured - time.time()) < 60
    assert [path.name for path in tmp_path.iterdir()] == ["A1.jsonl"]


def ask_tcp(port, octets):
    with socket.create_connection(("127.0.0.1", port), 5) as peer:
        peer.settimeout(30)
        peer.sendall(octets)
        return peer.recv(4096)


def test_hdlc_over_tcp_beside_the_wrapper():
    """Each connection has a link of its own."""
    with running_line([config(port=0, hdlc_port=0)]) as line:
        assert set(line.tcp) == set(line.hdlc_tcp) == {"A1"}
        (answer,) = frames([ask_tcp(line.hdlc_tcp["A1"], frame(0x93))])
        assert (answer.control, answer.source) == (0x73, b"\x02\x23")
        (answer,) = frames([ask_tcp(line.hdlc_tcp["A1"], frame(0x11))])
        assert answer.control == 0x1F
        assert ask_tcp(line.tcp["A1"], wrapped(b"\xc0"))[8:] == bytes.fromhex("d80101")


def test_the_round_trip_of_a_radio_mesh():
    with running_line([config(port=0)], round_trip_ms=300) as line:
        began = time.monotonic()
        assert ask_tcp(line.tcp["A1"], wrapped(b"\xc0"))
        assert time.monotonic() - began >= 0.3
        line.round_trip_s = 0.0
        assert ask_tcp(line.tcp["A1"], wrapped(b"\xc0"))


def described(tmp_path, rest=""):
    (tmp_path / "keys.toml").write_text(f'[A1]\nguek = "{bytes(16).hex()}"\ngak = "{bytes(16).hex()}"\nlls = "x"\n')
    (tmp_path / "keys.toml").chmod(0o600)
    text = 'secrets = "keys.toml"\n[line]\necho = true\nround_trip_ms = 2000\n[[meter]]\nserial = "A1"\n'
    (tmp_path / "sim.toml").write_text(text + 'mechanism = "gmac"\n' + rest)
    return load(tmp_path / "sim.toml")


def test_a_line_as_its_description_has_it(tmp_path):
    what = described(tmp_path, "[meter.link_faults]\nhold = 0\nbabble_s = 2\nrepeat = true\n")
    assert (what.echo, what.round_trip_ms) == (True, 2000.0)
    assert what.link_faults == {"A1": {"hold": 0, "babble_s": 2, "repeat": True}}
    assert described(tmp_path).link_faults == {"A1": {}}


@pytest.mark.parametrize(
    ("rest", "word"),
    [
        ("[meter.link_faults]\nhold = 256\n", "octet"),
        ("[meter.link_faults]\nhum = 1\n", "hum"),
        ("link_faults = 1", "dict"),
    ],
)
def test_link_faults_that_cannot_be(tmp_path, rest, word):
    with pytest.raises(ConfigMistake, match=word):
        described(tmp_path, rest)
