"""`dcu scan`: over a real pty and TCP, and on the line of a bus that has other work to do."""

import json
import select
import socket
import termios
import threading
import tomllib
from contextlib import contextmanager, suppress

import pytest
from click.testing import CliRunner

from dcu.cli import main
from dcu.cli.scan import addresses
from dcu.cli.stanza import stanza
from dcu.config import BusConfig, load
from dcu.config.meter_models import shipped
from dcu.config.model import BusKind
from dcu.drivers.bus import BusWorker, Framing
from dcu.drivers.data_link import LineTiming
from dcu.drivers.security import client_title
from dcu.drivers.serial_link import SerialLink
from dcu.errors import BusFault, OperatorFault
from dcu.field.identity import Identity
from dcu.field.scan_errand import SCANS_AT_MOST, Scans, survey_of
from dcu.field.survey import ECHO
from dcu.mailbox import Stop
from dcu.meter import AttributeRef, Meter, Purpose
from dcu.sim import MeterConfig, running_line
from tests.config.test_config import EXAMPLE
from tests.drivers.bench import KEYS, SECRETS, ZONE, Vault
from tests.drivers.line import ScriptedLine
from tests.drivers.test_bus import NoPlan, RealClock
from tests.drivers.test_scan import meters as scripted

BAUD = 38400
METERS = [
    MeterConfig("ALONE1", 0, KEYS, address_octets=1),
    MeterConfig("GXT1", 17, KEYS, port=0, hdlc_port=0),
    MeterConfig("LATE1", 19, KEYS, turnaround_ms=2),
    MeterConfig("LATE2", 19, KEYS, turnaround_ms=45),
    MeterConfig("GXT2", 20, KEYS),
    MeterConfig("BOTH1", 21, KEYS),
    MeterConfig("BOTH2", 21, KEYS),
]


@pytest.fixture(scope="module")
def line():
    with running_line(METERS, baud=BAUD, turnaround_ms=2.0) as running:
        yield running


def dcu(*words):
    return CliRunner().invoke(main, [str(word) for word in words])


def scan(*words, code=0):
    result = dcu("scan", *words, "--json")
    assert result.exit_code == code, result.output
    return json.loads(result.stdout)


def test_who_answers_on_a_line(line):
    answer = scan("--port", line.port, "--baud", BAUD, "--addresses", "0,17-21", "--answer-ms", 400, code=4)
    found = {each["address"]: each for each in answer["found"]}
    assert {address: each["condition"] for address, each in found.items()} == {
        0: "meter",
        17: "meter",
        19: "two meters",
        20: "meter",
        21: "garbled",
    }
    assert found[17]["serials"] == ["GXT1"]
    assert found[17]["said"]["ldn"].endswith("GXT1")
    assert found[19]["serials"] == ["LATE1", "LATE2"]
    assert answer["notes"] == []


def test_an_echoing_adapter_is_named_and_does_no_harm(line):
    line.echo = True
    try:
        answer = scan("--port", line.port, "--baud", BAUD, "--addresses", "16-17", "--answer-ms", 400)
    finally:
        line.echo = False
    assert [each["serials"] for each in answer["found"]] == [["GXT1"]]
    assert answer["notes"] == [ECHO]


def test_people_are_told_in_words(line):
    result = dcu("scan", "--port", line.port, "--baud", BAUD, "--addresses", "19-20", "--answer-ms", 400)
    assert "address 19 at 38400 baud: LATE1, LATE2" in result.stdout
    assert "take one off the line" in result.stdout
    assert "[[meter]]" in result.stdout
    assert "0 of 2" not in result.stdout
    nobody = dcu("scan", "--port", line.port, "--baud", BAUD, "--addresses", "30", "--bauds", BAUD, "--answer-ms", 30)
    assert (nobody.exit_code, nobody.stdout.strip()) == (0, "nobody answers")


def speed_of(hub):
    return termios.tcgetattr(hub._slave)[5]


def test_meters_at_another_speed_are_found(line, monkeypatch):
    """The pty keeps the speed that the reader sets: the meters understand nothing else."""
    hub = line._hub
    told, right = hub._tell, getattr(termios, f"B{BAUD}")
    monkeypatch.setattr(hub, "_tell", lambda heard: speed_of(hub) == right and told(heard))
    words = ["--port", line.port, "--baud", 9600, "--addresses", "17,20", "--answer-ms", 400]
    answer = scan(*words, "--bauds", f"4800,{BAUD}")
    assert [(each["baud"], each["serials"]) for each in answer["found"]] == [(BAUD, ["GXT1"]), (BAUD, ["GXT2"])]
    assert f"answers at {BAUD} baud, and the bus is at 9600" in answer["config"]
    assert scan(*words, "--bauds", "4800")["found"] == []


def test_a_meter_behind_the_wrapper(line):
    port = line.tcp["GXT1"]
    [found] = scan("--tcp", f"127.0.0.1:{port}")["found"]
    assert (found["serials"], found["host"], found["port"]) == (["GXT1"], "127.0.0.1", port)


def test_a_meter_behind_hdlc_over_tcp(line):
    port = line.hdlc_tcp["GXT1"]
    answer = scan(
        "--tcp", f"127.0.0.1:{port}", "--hdlc", "--addresses", "16-18", "--answer-ms", 400, "--area", "JH-RNC"
    )
    [found] = answer["found"]
    assert (found["serials"], found["address"], found["host"], found["port"]) == (["GXT1"], 17, "127.0.0.1", port)
    [meter] = tomllib.loads(answer["config"])["meter"]
    assert (meter["host"], meter["port"], meter["address"]) == ("127.0.0.1", port, 17)


def test_behind_tcp_hdlc_is_tried_where_nobody_speaks_the_wrapper(line):
    port = line.hdlc_tcp["GXT1"]
    answer = scan("--tcp", f"127.0.0.1:{port}", "--addresses", "16-18", "--answer-ms", 300)
    [found] = answer["found"]
    assert 'its bus is of kind "hdlc-tcp"' in answer["config"]
    assert (found["serials"], found["address"], found["host"], found["port"]) == (["GXT1"], 17, "127.0.0.1", port)


class Gateway:
    """Passes connections on to a meter's; ends one after so many octets of the meter, or where an address is called."""

    def __init__(self, port, at_most, hangs_up_at=None, *, once=False):
        self.port, self.at_most, self.connections = port, at_most, 0
        self.hangs_up_at, self.once = hangs_up_at, once
        self.listening = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        with suppress(OSError):
            while True:
                near, _ = self.listening.accept()
                self.connections += 1
                with near, socket.create_connection(("127.0.0.1", self.port)) as far, suppress(OSError):
                    self._carry(near, far, self.at_most)

    def _carry(self, near, far, left):
        while left > 0:
            for ready in select.select([near, far], [], [])[0]:
                octets = ready.recv(4096)
                if ready is near and self.hangs_up_at and self.hangs_up_at in octets:
                    if self.once:
                        self.listening.shutdown(socket.SHUT_RDWR)
                        self.listening.close()
                    return
                (far if ready is near else near).sendall(octets)
                left -= len(octets) if ready is far else 0
                if not octets:
                    return


def test_a_gateway_that_ends_its_connections_ends_no_scan(line):
    gateway = Gateway(line.hdlc_tcp["GXT1"], at_most=150)
    try:
        words = ["--hdlc", "--addresses", "16-18", "--answer-ms", 300]
        answer = scan("--tcp", f"127.0.0.1:{gateway.listening.getsockname()[1]}", *words)
    finally:
        gateway.listening.close()
    assert [each["serials"] for each in answer["found"]] == [["GXT1"]]
    assert answer["notes"] == []
    assert gateway.connections > 1


def test_a_gateway_that_hangs_up_at_one_address_is_told_and_the_others_are_found(line):
    gateway = Gateway(line.hdlc_tcp["GXT1"], at_most=10**6, hangs_up_at=b"\x02\x21")  # address 16
    try:
        words = ["--hdlc", "--addresses", "16-17", "--answer-ms", 300]
        answer = scan("--tcp", f"127.0.0.1:{gateway.listening.getsockname()[1]}", *words)
    finally:
        gateway.listening.close()
    assert [each["serials"] for each in answer["found"]] == [["GXT1"]]
    assert answer["notes"] == ["address 16: the connection ended twice: the meter closed the connection"]


def test_a_gateway_that_is_gone_in_the_middle_keeps_what_was_found(line):
    gateway = Gateway(line.hdlc_tcp["GXT1"], at_most=10**6, hangs_up_at=b"\x02\x25", once=True)  # address 18
    words = ["--hdlc", "--addresses", "17-19", "--answer-ms", 300]
    answer = scan("--tcp", f"127.0.0.1:{gateway.listening.getsockname()[1]}", *words)
    assert [each["serials"] for each in answer["found"]] == [["GXT1"]]
    [note] = answer["notes"]
    assert note.startswith("not looked at from address 18 on: ")


def test_a_host_where_nobody_is():
    [found] = scan("--tcp", "127.0.0.1:1", code=4)["found"]
    assert found["condition"] == "no connection"
    assert scan("--hosts", "127.0.0.1:1", "--hosts", "127.0.0.1:2")["found"] == []


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        ([], 2, "name a BUS"),
        (["pole", "--port", "x"], 2, "name a BUS"),
        (["--port", "x", "--addresses", "17-"], 2, "no address"),
        (["--port", "x", "--addresses", "3"], 2, "16 to 16383"),
        (["--port", "x", "--bauds", "9601"], 2, "speeds are"),
        (["--hosts", "10.0.0.0/16"], 1, "hosts"),
        (["--port", "/dev/nowhere"], 1, "by-path"),
    ],
)
def test_what_cannot_be_scanned(words, code, text):
    result = dcu("scan", *words)
    assert (result.exit_code, text in result.stderr) == (code, True), result.stderr


def test_addresses():
    assert addresses("0, 16-18,17") == [0, 16, 17, 18]


class LineClock:
    """The time of a scripted line."""

    def __init__(self, time):
        self.monotonic_s = time


@pytest.mark.parametrize(
    ("places", "condition", "serials"),
    [
        ([("A1", 17, 0.02), ("B2", 17, 0.02)], "garbled", []),
        ([("A1", 17, 0.02), ("B22", 17, 0.09)], "two meters", ["A1", "B22"]),
        ([("A1", 17, 0.02), ("B2", 18, 0.02)], "meter", ["A1"]),
    ],
)
def test_two_meters_on_a_wire_that_keeps_what_both_say(places, condition, serials):
    """UA of both at once is octet for octet the same, no garble: only what they say of themselves tells them apart."""
    line = ScriptedLine(scripted(*places))
    survey = survey_of({"addresses": [17], "answer_ms": 200}, BAUD, ZONE, LineClock(line.time))
    while survey.step(line):
        pass
    [found] = survey.found
    assert (found["condition"], found["serials"]) == (condition, serials)


def test_the_meter_behind_an_optical_head(tmp_path):
    meter = MeterConfig("OPT1", 0, KEYS, address_octets=1, mode_e_baud=9600)
    with running_line([meter], turnaround_ms=2.0) as optical:
        answer = scan("--port", optical.port, "--mode-e", "--answer-ms", 400)
        [found] = answer["found"]
        assert (found["serials"], found["address"]) == (["OPT1"], 0)
        assert tomllib.loads(answer["config"])["meter"][0]["quirks"] == ["mode-e"]
        direct = ["--port", optical.port, "--mode-e", "--client", 16, "--auth", "none"]
        result = dcu("read", *direct, "1:0.0.96.1.0/2", "--json")
        assert json.loads(result.stdout)[0]["raw"] == "OPT1", result.output


def test_a_line_where_nobody_answers_is_tried_as_an_optical_head(monkeypatch):
    monkeypatch.setattr("dcu.cli.scan.ADDRESSES", "0,16")
    monkeypatch.setattr("dcu.cli.scan._USUAL", (4800,))
    meter = MeterConfig("OPT1", 0, KEYS, address_octets=1, mode_e_baud=9600)
    with running_line([meter], turnaround_ms=2.0) as optical:
        [found] = scan("--port", optical.port, "--answer-ms", 200)["found"]
        assert (found["serials"], found["mode_e"]) == (["OPT1"], True)
        assert scan("--port", optical.port, "--answer-ms", 200, "--addresses", "0,16")["found"] == []


# ---- what is pasted ----


@pytest.fixture
def box(tmp_path):
    """The printed example without its meters, and its files."""
    (tmp_path / "tls").mkdir()
    for name in ("tls/ca.pem", "tls/dcu.pem", "tls/dcu.key", "trust.json", "receipt.key"):
        (tmp_path / name).write_text("x")
    keys = "".join(f'{n} = "{"00" * 16}"\n' for n in ("guek", "gak", "hls")) + 'lls = "x"\n'
    secrets = tmp_path / "secrets.toml"
    secrets.write_text("".join(f"[{m.serial}]\n{keys}" for m in METERS) + f'["00123"]\n{keys}')
    secrets.chmod(0o600)
    text = EXAMPLE.read_text().replace("/etc/dcu/", "").partition("[[meter]]")[0]

    def write(more):
        path = tmp_path / "dcu.toml"
        path.write_text(text + more)
        return path

    return write


def test_what_a_scan_prints_can_be_pasted(line, box):
    words = ["--port", line.port, "--baud", BAUD, "--addresses", "0,17-18,20", "--answer-ms", 400, "--area", "JH-RNC"]
    answer = scan(*words)
    path = box(answer["config"].replace('bus = "line"', 'bus = "north"'))
    assert dcu("check", path).exit_code == 0, dcu("check", path).output
    assert [(m.serial, m.address) for m in load(path).meters] == [("ALONE1", 0), ("GXT1", 17), ("GXT2", 20)]
    assert {m.area for m in load(path).meters} == {"JH-RNC"}


def test_a_wrapper_stanza_can_be_pasted(line, box):
    answer = scan("--tcp", f"127.0.0.1:{line.tcp['GXT1']}")
    path = box('[bus.tcp]\nkind = "wrapper"\n' + answer["config"].replace('bus = "line"', 'bus = "tcp"'))
    [meter] = load(path).meters
    assert (meter.host, meter.port) == ("127.0.0.1", line.tcp["GXT1"])


def test_what_a_meter_says_cannot_break_the_configuration(box):
    evil = 'X"\n[trust]\nkeys = "y'
    found = [
        {"address": 17, "baud": 9600, "condition": "meter", "serials": ["00123"], "make": evil, "why": evil,
         "model": "is15959-1ph"},
        {"address": 18, "baud": 9600, "condition": "meter", "serials": [evil], "make": "", "why": "", "model": "x"},
        {"address": 19, "baud": 9600, "condition": "two meters", "serials": [evil, "B"], "note": evil},
    ]  # fmt: skip
    text = stanza(found, "north")
    assert [m["serial"] for m in tomllib.loads(text)["meter"]] == ["00123"]
    assert load(box(text)).meters[0].serial == "00123"


@pytest.mark.parametrize(
    ("said", "make", "model"),
    [
        ({"serial": "1", "ldn": "CRY0000SA1231166", "category": "D1"}, "Crystal", "is15959-1ph"),
        ({"serial": "1", "manufacturer": "GENUS", "type": 7}, "GENUS", "is15959-3ph-wc"),
        ({"serial": "1", "category": "d3 ", "device_id": "LNT1"}, "LNT", "is15959-3ph-ct"),
        ({"serial": "1", "reader_counter": 7}, "", "is15959-1ph"),
        ({"serial": "1", "ldn": "1234"}, "", "dlms-generic"),
    ],
)
def test_make_and_model_are_guessed_from_what_is_said(said, make, model):
    who = Identity(said)
    assert (who.make, who.model[0]) == (make, model)
    assert who.is_guess == who.model[1].startswith("a guess") == ("category" not in said and "type" not in said)
    assert who.model[0] in shipped()


# ---- borrowed from a bus that has other work ----


class Job:
    """An errand that reads a clock."""

    def __init__(self, serial, address):
        self.meter = Meter(serial, "pole", shipped()["virtual"], address, "X", SECRETS)
        self.done = threading.Event()
        self.fault = None

    def run(self, line):
        with line.associate(self.meter, Purpose.READ) as association:
            self.said = association.get(AttributeRef.of("8:0.0.1.0.0/2"))
        self.done.set()

    def failed(self, fault):
        self.fault = fault
        self.done.set()


@contextmanager
def running_bus(port, plan=None):
    stop = Stop()
    worker = BusWorker(
        "pole",
        lambda _meter: SerialLink(str(port), BAUD),
        Framing.HDLC,
        Vault(),
        plan or NoPlan(),
        RealClock(),
        stop,
        ZONE,
        system_title=client_title("X"),
        timing=LineTiming.at_baud(BAUD, first_octet_s=10.0),
    )
    thread = threading.Thread(target=worker.run, daemon=True)
    thread.start()
    try:
        yield worker
    finally:
        stop.set()
        thread.join(15)


class Box:
    """As much of a configuration as a scan looks at."""

    class dcu:  # noqa: N801
        timezone = ZONE

    def __init__(self, port):
        self.buses = [BusConfig("pole", BusKind.RS485, str(port), BAUD, 1), BusConfig("tcp", BusKind.WRAPPER, "", 0, 1)]


REQUEST = {"bus": "pole", "addresses": [16, 17, 18, 20], "bauds": [9600], "all_bauds": True, "answer_ms": 300}


def whole(scans, request):
    key = scans.begin(request)["scan"]
    while not (answer := scans.go_on({"scan": key}))["over"]:
        pass
    return answer


def test_a_scan_borrows_the_line_and_gives_it_back_at_its_speed(line):
    with running_bus(line.port) as bus:
        scans = Scans(Box(line.port), {"pole": bus, "tcp": bus}, RealClock())
        answer = whole(scans, REQUEST)
        assert {each["serials"][0] for each in answer["found"]} == {"GXT1", "GXT2"}
        job = Job("GXT1", 17)
        bus.post(job, urgent=False)
        assert job.done.wait(60)
        assert job.fault is None
        with pytest.raises(OperatorFault, match="is over"):
            scans.go_on({"scan": "x"})


def test_a_relay_errand_goes_before_the_next_knock(line):
    """Posted while a scan has the line: it runs before the scan's slice is over, and the scan loses no address."""
    with running_bus(line.port) as bus:
        scans = Scans(Box(line.port), {"pole": bus, "tcp": bus}, RealClock())
        job, order = Job("GXT2", 20), []
        key = scans.begin(REQUEST | {"addresses": [*range(30, 40), 17], "all_bauds": False})["scan"]
        survey = scans._scans[key][0]
        step = survey.step

        def stepping(link, give_way):
            place = survey.sweep.next()
            if place and place[1] == 33 and "posted" not in order:
                order.append("posted")
                bus.post(job, urgent=True)
            went_on = step(link, give_way)
            order.append("done" if job.done.is_set() else place and place[1])
            return went_on

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(type(survey), "step", lambda _self, link, give_way: stepping(link, give_way))
            while not (answer := scans.go_on({"scan": key}))["over"]:
                pass
        assert job.fault is None
        assert order[order.index("posted") + 1] == "done", order
        assert [each["serials"] for each in answer["found"]] == [["GXT1"]]
        assert answer["progress"]["done"] == 11


class EagerPlan:
    """Something is always due."""

    def __init__(self):
        self.visits = []

    def due(self, monotonic_s):
        job = Job("GXT1", 17)
        self.visits.append(job)
        return job

    def is_due(self, monotonic_s):
        return True

    def idle_s(self, monotonic_s):
        return 0.0


def test_polling_goes_on_between_two_slices(line, monkeypatch):
    monkeypatch.setattr("dcu.field.scan_errand.SLICE_S", 0.05)
    plan = EagerPlan()
    with running_bus(line.port, plan) as bus:
        scans = Scans(Box(line.port), {"pole": bus, "tcp": bus}, RealClock())
        key = scans.begin(REQUEST | {"addresses": list(range(40, 46)), "bauds": []})["scan"]
        visits = []
        while not scans.go_on({"scan": key})["over"]:
            visits.append(sum(job.done.is_set() for job in plan.visits))
        assert len(visits) >= 3
        assert visits[-1] > visits[0]
    assert [job.fault for job in plan.visits if job.done.is_set()] == [None] * sum(j.done.is_set() for j in plan.visits)


def test_a_bus_without_a_line_of_its_own_lends_none(line):
    with running_bus(line.port) as bus:
        scans = Scans(Box(line.port), {"pole": bus, "tcp": bus}, RealClock())
        with pytest.raises(OperatorFault, match="share no line"):
            scans.begin(REQUEST | {"bus": "tcp"})
        with pytest.raises(OperatorFault, match="known here: pole, tcp"):
            scans.begin(REQUEST | {"bus": "south"})


def test_scans_that_were_left_make_room(line):
    with running_bus(line.port) as bus:
        scans = Scans(Box(line.port), {"pole": bus}, RealClock())
        keys = [scans.begin(REQUEST)["scan"] for _ in range(SCANS_AT_MOST + 1)]
        with pytest.raises(OperatorFault, match="is over"):
            scans.go_on({"scan": keys[0]})


def test_a_technician_who_is_killed_in_the_middle_leaves_the_line_as_it_was(line, monkeypatch):
    """He asks for no more slices: the last one ends by itself, at the line's own speed, and the meters are read."""
    monkeypatch.setattr("dcu.field.scan_errand.SLICE_S", 0.05)
    with running_bus(line.port) as bus:
        scans = Scans(Box(line.port), {"pole": bus}, RealClock())
        key = scans.begin(REQUEST | {"addresses": [17, 40], "bauds": [9600, 4800]})["scan"]
        for _ in range(3):
            scans.go_on({"scan": key})
        assert scans._scans[key][0].progress()["baud"] == 4800, "the last slice was at 9600"
        job = Job("GXT1", 17)
        bus.post(job, urgent=False)
        assert job.done.wait(60)
        assert job.fault is None
        assert speed_of(line._hub) == getattr(termios, f"B{BAUD}")


def test_a_pulled_adapter_ends_the_scan_with_its_reason(tmp_path, monkeypatch):
    monkeypatch.setattr("dcu.field.scan_errand.SLICE_S", 0.05)
    with running_line([METERS[1]], baud=BAUD, link=tmp_path / "tty") as pulled, running_bus(pulled.port) as bus:
        scans = Scans(Box(pulled.port), {"pole": bus}, RealClock())
        key = scans.begin(REQUEST | {"addresses": list(range(40, 200))})["scan"]
        scans.go_on({"scan": key})
        pulled.unplug()
        with pytest.raises(BusFault):
            scans.go_on({"scan": key})


@pytest.mark.parametrize(
    "wrong",
    [{"addresses": []}, {"addresses": [3]}, {"addresses": "17"}, {"addresses": [True]}, {"bauds": ["x"]},
     {"server_sap": 0}, {"answer_ms": 1}, {"answer_ms": "fast"}, {"bauds": 9600}],
)  # fmt: skip
def test_requests_are_checked(wrong):
    with pytest.raises(OperatorFault):
        survey_of(REQUEST | wrong, BAUD, ZONE, RealClock())
