"""The stage: one directory with all that a box, its meters and its head-end need, and the processes that play them.

Everything is the real thing: `dcu sim` for the meters, mosquitto for the broker, `dcu run` for the box. Only the
meters and their wires are virtual.
"""

import json
import os
import secrets
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from dcu.demo.papers import Papers
from dcu.errors import OperatorFault, SocketFault
from dcu.headend.broker import Broker
from dcu.headend.keys import box_document, load_box_key, make_key
from dcu.headend.pki import HEAD_END, Authority
from dcu.relay.public_key import PublicKey
from dcu.wire import connect

DCU: Final = "JH-DEMO-0001"
ISSUER: Final = "hes.jharkhand"
RANCHI: Final = "JH-RNC"
DHANBAD: Final = "JH-DHN"
CAPTURE_PERIOD_S: Final = 10
BAUD: Final = 9600
READY_WITHIN_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class DemoMeter:
    """One meter of the story: who it is, where it hangs, and whether it says prepaid itself."""

    serial: str
    address: int
    area: str
    payment_mode: int
    balance_paise: int


METERS: Final = (
    DemoMeter("DEM00000001", 17, RANCHI, 1, 48_250),
    DemoMeter("DEM00000002", 18, RANCHI, 1, -1_175),
    DemoMeter("DEM00000003", 19, DHANBAD, 1, -310),
    DemoMeter("DEM00000004", 20, DHANBAD, 0, 0),
)


@dataclass
class Stage:
    """Files and processes below one directory; ended by `close`, whatever happened."""

    directory: Path
    _processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def set_up(self) -> None:
        """Make keys, certificates and configurations."""
        os.umask(0o077)
        self.directory.mkdir(parents=True, exist_ok=True)
        self._keys()
        self.authority = Authority(self.directory / "tls")
        self.broker = Broker(self.directory / "broker", self.authority)
        self.box_identity = self.authority.client(DCU)
        self.head_end_identity = self.authority.client(HEAD_END)
        self._meters()
        (self.directory / "dcu.toml").write_text(self._box_configuration())

    @property
    def config(self) -> Path:
        """The box's configuration."""
        return self.directory / "dcu.toml"

    @property
    def trace(self) -> Path:
        """What passes on the line."""
        return self.directory / "line.trace"

    @property
    def wal(self) -> Path:
        """The write-ahead log of the box's store."""
        return self.directory / "state" / "dcu.db-wal"

    @property
    def receipt_key(self) -> PublicKey:
        """The box's public receipt key, as the head-end keeps it."""
        return load_box_key(self.directory / "box-receipt.json")

    def ledger_file(self, serial: str) -> Path:
        """A virtual meter's own ledger: written at the moment of each capture."""
        return self.directory / "ledger" / f"{serial}.jsonl"

    def ledger(self, serial: str) -> list[str]:
        """Its lines."""
        text = self.ledger_file(serial).read_text()
        return text[: text.rfind("\n") + 1].splitlines()  # the last one may be half written

    def actuations(self, serial: str) -> list[int]:
        """Methods of its relay that a meter was made to carry out: 1 disconnect, 2 reconnect."""
        entries = [json.loads(line) for line in self.ledger(serial)]
        return [entry["method"] for entry in entries if entry["kind"] == "relay"]

    def start_meters(self) -> None:
        """Start the virtual line and wait until it is there."""
        process = self._start("meters", "sim", str(self.directory / "sim.toml"), stdout=subprocess.PIPE)
        assert process.stdout is not None  # noqa: S101 - PIPE was asked for
        line = process.stdout.readline()
        if not line or not json.loads(line).get("ready"):
            raise OperatorFault("the virtual meters did not start", cure=f"see {self.directory}/meters.log")

    def start_box(self) -> None:
        """Start both processes of the box."""
        self._box = self._start("box", "run", "--config", str(self.config))

    def field_pid(self) -> int:
        """Process id of the field process, which changes when it is started again.

        Raises:
            OperatorFault: it does not run at the moment.
        """
        try:
            children = Path(f"/proc/{self._box.pid}/task/{self._box.pid}/children").read_text().split()
        except OSError as fault:
            raise OperatorFault("the box does not run") from fault
        for child in children:
            try:
                words = Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if b"field" in words:
                return int(child)
        raise OperatorFault("the field process does not run")

    def wait_for_field(self, other_than: int = 0) -> int:
        """The field process's id as soon as another one than `other_than` runs and answers."""
        deadline_s = time.monotonic() + READY_WITHIN_S
        while time.monotonic() < deadline_s:
            try:
                pid = self.field_pid()
                if pid != other_than:  # and not only the socket that a killed one left behind
                    connect(self.directory / "run" / "field.sock").close()
                    return pid
            except (OperatorFault, SocketFault):
                pass
            time.sleep(0.05)
        raise OperatorFault("the field process did not start", cure=f"see {self.directory}/box.log")

    def close(self) -> None:
        """End all processes, the box first."""
        for process in reversed(self._processes):
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            if process.stdout is not None:
                process.stdout.close()
        if hasattr(self, "broker"):
            self.broker.stop()

    def _start(self, log: str, *words: str, stdout: int | None = None) -> subprocess.Popen[bytes]:
        with (self.directory / f"{log}.log").open("ab") as file:
            process = subprocess.Popen([sys.executable, "-m", "dcu", *words], stdout=stdout or file, stderr=file)
        self._processes.append(process)
        return process

    def _keys(self) -> None:
        self.papers = Papers(self.directory, ISSUER, DCU, {m.serial: m.area for m in METERS}, frozenset({RANCHI}))
        self.papers.write(self.directory / "trust.json")
        receipt = make_key(self.directory / "receipt.key")
        (self.directory / "box-receipt.json").write_text(json.dumps(box_document(receipt)))

    def _meters(self) -> None:
        entries, tables = [], []
        for n, meter in enumerate(METERS):
            entries.append(
                f'[{meter.serial}]\nguek = "{secrets.token_hex(16)}"\ngak = "{secrets.token_hex(16)}"\n'
                f'lls = "{secrets.token_urlsafe(9)}"\nhls = "{secrets.token_hex(16)}"\n'
            )
            tables.append(
                f'[[meter]]\nserial = "{meter.serial}"\naddress = {meter.address}\nseed = {n + 1}\n'
                f"capture_period_s = {CAPTURE_PERIOD_S}\npayment_mode = {meter.payment_mode}\n"
                f"utc_offset_min = {self.papers.utc_offset_min}\n"
                f'balance_paise = {meter.balance_paise}\nmechanism = "secret"\n'
            )
        (self.directory / "secrets.toml").write_text("\n".join(entries))
        head = (
            f'secrets = "{self.directory}/secrets.toml"\nledger = "{self.directory}/ledger"\n\n'
            f'[line]\nlink = "{self.directory}/rs485"\nbaud = {BAUD}\nseed = 7\ntrace = "{self.trace}"\n\n'
        )
        (self.directory / "sim.toml").write_text(head + "\n".join(tables))

    def _box_configuration(self) -> str:
        head = f"""\
version = 1

[dcu]
id = "{DCU}"
state_dir = "state"
run_dir = "run"
timezone = "{self.papers.zone}"
clock = "assumed"
secrets = "secrets.toml"

[uplink]
broker = "mqtts://{self.broker.host}:{self.broker.port}"
ca = "{self.authority.certificate_file}"
certificate = "{self.box_identity.certificate}"
key = "{self.box_identity.key}"
backoff_max_s = 2

[trust]
keys = "trust.json"
signing_key = "receipt.key"

[bus.pole]
kind = "rs485"
port = "{self.directory}/rs485"
baud = {BAUD}
"""
        tables = [
            f'[[meter]]\nserial = "{m.serial}"\nbus = "pole"\nmodel = "is15959-1ph"\naddress = {m.address}\n'
            f'area = "{m.area}"\nsecrets = "{m.serial}"\n'
            for m in METERS
        ]
        return "\n".join([head, *tables])
