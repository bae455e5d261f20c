"""A mosquitto of our own for the demo, tests and benches: its configuration, its access list, and its process.

Mutual TLS only; the common name of a client's certificate is its user name, and the access list goes by that. A box
may read its own `cmd` and write its own `up/+` and `state`; only the head-end may write a `cmd`.
Source: reference/command-authority.md section 4.
"""

import getpass
import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from dcu.errors import OperatorFault
from dcu.headend.pki import HEAD_END, Authority, Identity
from dcu.uplink.topics import ROOT

ACCESS_LIST: Final = f"""\
user {HEAD_END}
topic write {ROOT}/+/cmd
topic read {ROOT}/+/up/+
topic read {ROOT}/+/state

pattern read {ROOT}/%u/cmd
pattern write {ROOT}/%u/up/+
pattern write {ROOT}/%u/state
"""

_CONFIGURATION: Final = """\
listener {port} 127.0.0.1
cafile {ca}
certfile {certificate}
keyfile {key}
require_certificate true
use_identity_as_username true
allow_anonymous false
acl_file {acl}
persistence false
# a head-end that is away for a while loses nothing that was acknowledged
max_queued_messages 0
log_dest file {log}
log_type error
log_type warning
log_type notice
user {user}
"""

_READY_S: Final = 10.0
_STOP_S: Final = 5.0


class Broker:
    """A mosquitto on 127.0.0.1. As a context manager it is started on entry and stopped on exit.

    Args:
        directory: holds configuration, access list, log and the broker's certificate; made if it is missing.
        authority: signs the broker's certificate; clients' certificates must come from it too.
        port: TCP port; a free one when 0.
        hosts: names and addresses that the broker's certificate is for.
        access_list: mosquitto ACL text.
    """

    def __init__(
        self,
        directory: Path,
        authority: Authority,
        *,
        port: int = 0,
        hosts: tuple[str, ...] = ("localhost", "127.0.0.1"),
        access_list: str = ACCESS_LIST,
    ) -> None:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.authority = authority
        self.host = "localhost"
        self.port = port or _free_port()
        self.log = directory / "mosquitto.log"
        self._acl = directory / "acl"
        self._configuration = directory / "mosquitto.conf"
        self._process: subprocess.Popen[bytes] | None = None
        self._write(authority.server("broker", hosts), access_list)

    @property
    def pid(self) -> int:
        """Process id of the running broker."""
        if self._process is None:
            raise OperatorFault("the broker does not run")
        return self._process.pid

    def start(self) -> None:
        """Start it and return when it accepts connections.

        Raises:
            OperatorFault: mosquitto is not installed, or did not start.
        """
        program = shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
        if program is None:
            raise OperatorFault("mosquitto is not installed", cure="apt-get install mosquitto")
        self._process = subprocess.Popen(
            [program, "-c", str(self._configuration)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + _READY_S
        while not self._accepts():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise OperatorFault(f"mosquitto did not start: {self._last_line()}", place=str(self._configuration))
            time.sleep(0.02)

    def stop(self) -> None:
        """Stop it; idempotent. One that is suspended is killed."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(_STOP_S)

    def set_access_list(self, text: str) -> None:
        """Replace the access list of the running broker."""
        self._acl.write_text(text)
        self._acl.chmod(0o600)
        if self._process is not None:
            self._process.send_signal(signal.SIGHUP)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _accepts(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1.0):
                return True
        except OSError:
            return False

    def _last_line(self) -> str:
        lines = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        return lines[-1] if lines else "it wrote no log"

    def _write(self, own: Identity, access_list: str) -> None:
        self.set_access_list(access_list)
        self._configuration.write_text(
            _CONFIGURATION.format(
                port=self.port,
                ca=self.authority.certificate_file,
                certificate=own.certificate,
                key=own.key,
                acl=self._acl,
                log=self.log,
                user=getpass.getuser(),
            )
        )


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])
