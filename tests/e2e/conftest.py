"""A box on a virtual line: the real field process, real meters' faults, no broker."""

import json
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from dcu.demo.proof import captured
from dcu.headend.keys import make_key
from dcu.headend.pki import Authority
from dcu.sim import MeterConfig, MeterKeys, running_line

KEYS = MeterKeys(guek=bytes(range(16)), gak=bytes(range(16, 32)), lls=b"password", hls=bytes(range(32, 48)))
SERIALS = ("E2E00000001", "E2E00000002", "E2E00000003")


@dataclass
class Box:
    """Its directory, its line, and its field process."""

    directory: Path
    line: object
    process: subprocess.Popen | None = None

    @property
    def config(self):
        return self.directory / "dcu.toml"

    def start(self):
        with (self.directory / "field.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "dcu", "field", "--config", str(self.config)], stdout=log, stderr=log
            )
        self.until(lambda: (self.directory / "run" / "field.sock").exists(), "field.sock")

    def stop(self):
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            assert self.process.wait(60) == 0, self.log

    def kill(self):
        self.process.kill()
        self.process.wait()
        (self.directory / "run" / "field.sock").unlink()

    @property
    def log(self):
        return (self.directory / "field.log").read_text()

    def dcu(self, *words, code=0):
        """`dcu ... --json` as a person runs it; its answer."""
        done = subprocess.run(
            [sys.executable, "-m", "dcu", *words, "--config", str(self.config), "--json"],
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == code, done.stderr + self.log
        return json.loads(done.stdout) if done.stdout else done.stderr

    def conditions(self):
        done = subprocess.run(
            [sys.executable, "-m", "dcu", "status", "--config", str(self.config), "--json"],
            capture_output=True,
            text=True,
            timeout=120,
        )
        return {m["serial"]: m["condition"] for m in json.loads(done.stdout)["meters"]}

    def held(self, serial):
        """Block load intervals held of a meter."""
        return self.held_by_meter()[serial]

    def held_by_meter(self):
        """The same of each, by one command: each is a process, and costs a loaded machine more than the box does."""
        return {
            meter["serial"]: sum(p["held"] for p in meter["profiles"] if p["profile"] == "1.0.99.1.0.255")
            for meter in self.dcu("meters")
        }

    def until(self, there, what, within_s=120):
        deadline = time.monotonic() + within_s
        while not there():
            assert time.monotonic() < deadline, f"{what}: not within {within_s} s\n{self.log}"
            assert self.process is None or self.process.poll() is None, self.log
            time.sleep(0.3)

    def truth(self, until_s):
        ledgers = self.directory / "ledger"
        return captured(((s, (ledgers / f"{s}.jsonl").read_text().splitlines()) for s in SERIALS), until_s)


RS485 = 'kind = "rs485"\nport = "{port}"\nbaud = 57600'
WRAPPER = 'kind = "wrapper"'


def write_configuration(directory, port, tcp=None):
    """A box on one line: RS-485 at `port`, or, with TCP ports by serial, the wrapper."""
    Authority(directory).client("box")
    make_key(directory / "receipt.key")
    trust = directory / "trust.json"
    trust.write_text('{"v":1,"issuer":"hes.test","threshold":2,"root":[],"documents":[]}')
    trust.chmod(0o644)
    secrets = directory / "secrets.toml"
    secrets.write_text(
        "".join(
            f'[{s}]\nguek = "{KEYS.guek.hex()}"\ngak = "{KEYS.gak.hex()}"\nlls = "password"\nhls = "{KEYS.hls.hex()}"\n'
            for s in SERIALS
        )
    )
    secrets.chmod(0o600)
    meters = "".join(
        f'[[meter]]\nserial = "{s}"\nbus = "pole"\nmodel = "is15959-1ph"\naddress = {17 + n}\narea = "X"\n'
        f'secrets = "{s}"\n' + (f'host = "127.0.0.1"\nport = {tcp[s]}\n' if tcp else "")
        for n, s in enumerate(SERIALS)
    )
    bus = WRAPPER if tcp else RS485.format(port=port)
    (directory / "dcu.toml").write_text(
        f"""version = 1
[dcu]
id = "E2E-BOX"
state_dir = "state"
run_dir = "run"
timezone = "Asia/Kolkata"
secrets = "secrets.toml"
[uplink]
broker = "mqtts://localhost:8883"
ca = "ca.pem"
certificate = "box.pem"
key = "box.key"
[trust]
keys = "trust.json"
signing_key = "receipt.key"
[bus.pole]
{bus}
{meters}"""
    )


@pytest.fixture(params=["rs485"])
def box(tmp_path, request):
    port = 0 if request.param == "wrapper" else None
    configs = [
        MeterConfig(s, address=17 + n, keys=KEYS, seed=n, capture_period_s=5, history_s=60, port=port)
        for n, s in enumerate(SERIALS)
    ]
    with running_line(configs, baud=57600, ledger=tmp_path / "ledger", link=tmp_path / "rs485") as line:
        write_configuration(tmp_path, tmp_path / "rs485", line.tcp)
        made = Box(tmp_path, line)
        yield made
        if made.process is not None and made.process.poll() is None:
            made.process.kill()
            made.process.wait()
