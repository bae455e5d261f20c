"""Whoever knows what a box decided: the running field process through `field.sock`, of a stopped one its file."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from dcu.cli.answers import EXIT_TRY_AGAIN, give_up
from dcu.cli.technician import answer_of
from dcu.config import Config, load
from dcu.errors import SocketFault, StoreFault
from dcu.field.evidence import journal_page, plain_authority, plain_command
from dcu.headend.chain import Entry
from dcu.relay.trust import Commissioning
from dcu.wire import Wire, connect


class Known(Protocol):
    """Who answers; see `dcu.field.evidence` for what."""

    def journal(self, after: int) -> dict[str, Any]:
        """A page, with `dcu` and `epoch`."""
        ...

    def command(self, iss: str, cmd_id: str) -> dict[str, Any] | None:
        """What is kept of a command."""
        ...

    def authority(self) -> dict[str, Any]:
        """Who may do what, with `dcu` and `epoch`."""
        ...


class Running:
    """The field process. Raises OperatorFault; exits 75 where it ends meanwhile."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    def journal(self, after: int) -> dict[str, Any]:
        """As `Known`."""
        page: dict[str, Any] = answer_of(self._wire, {"ask": "journal", "after": after})
        return page

    def command(self, iss: str, cmd_id: str) -> dict[str, Any] | None:
        """As `Known`."""
        found: dict[str, Any] | None = answer_of(self._wire, {"ask": "command", "iss": iss, "cmd_id": cmd_id})
        return found

    def authority(self) -> dict[str, Any]:
        """As `Known`."""
        found: dict[str, Any] = answer_of(self._wire, {"ask": "authority"})
        return found


class Stopped:
    """The file of a box that does not run. Raises StoreFault."""

    def __init__(self, config: Config) -> None:
        from dcu.store import Archive

        self._trust = config.trust.keys
        self._archive = Archive(config.dcu.store_file)
        self._dcu, epoch = self._archive.identity
        self._head = {"dcu": self._dcu, "epoch": epoch}

    def journal(self, after: int) -> dict[str, Any]:
        """As `Known`."""
        return self._head | self._archive.look(lambda tx: journal_page(tx, after))

    def command(self, iss: str, cmd_id: str) -> dict[str, Any] | None:
        """As `Known`."""
        return self._archive.look(lambda tx: plain_command(tx, iss, cmd_id))

    def authority(self) -> dict[str, Any]:
        """As `Known`."""
        root, now_s = Commissioning.load(self._trust).root, int(time.time())
        return self._head | self._archive.look(lambda tx: plain_authority(tx, root, self._dcu, now_s))


@contextmanager
def known_of(config_file: Path) -> Iterator[Known]:
    """Whoever knows it for that configuration. Raises StoreFault: nobody runs, and the file cannot be read."""
    config = load(config_file, with_keys=False)
    try:
        wire = connect(config.dcu.run_dir / "field.sock")
    except SocketFault as nobody:
        yield _stopped(config, nobody)
        return
    try:
        yield Running(wire)
    finally:
        wire.close()


def _stopped(config: Config, nobody: SocketFault) -> Stopped:
    try:
        return Stopped(config)
    except StoreFault as fault:
        if "box runs" in fault.cause:  # between its start and its socket, or at its end
            give_up(nobody, EXIT_TRY_AGAIN)
        raise


def entries(known: Known) -> Iterator[Entry]:
    """The whole journal, page by page."""
    after, more = 0, True
    while more:
        page = known.journal(after)
        for row in page["entries"]:
            yield Entry(*row)
            after = row[0]
        more = page["more"]
