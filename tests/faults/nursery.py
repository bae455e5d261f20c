"""Processes forked from one that has imported everything: a thousand kills are not to be a thousand imports."""

import multiprocessing
import os
import sys
from collections.abc import Sequence
from multiprocessing.context import ForkServerProcess
from pathlib import Path

NURSERY = multiprocessing.get_context("forkserver")
NURSERY.set_forkserver_preload(["tests.faults.kills", "tests.faults.nursery", "dcu.cli.work", "dcu.field.main"])


class Field:
    """What `WholeBox` needs of `subprocess.Popen`, of a `dcu field` that is forked.

    Args:
        words: of the command line, without the interpreter and `-m dcu`.
        log: its output goes to the end of that.
    """

    def __init__(self, words: Sequence[str], log: Path) -> None:
        self._process: ForkServerProcess = NURSERY.Process(target=_field, args=(list(words), log), daemon=True)
        self._process.start()

    def wait(self) -> int:
        """Its exit code; negative: the signal."""
        self._process.join()
        return self._process.exitcode or 0

    def terminate(self) -> None:
        """SIGTERM."""
        self._process.terminate()

    def kill(self) -> None:
        """SIGKILL."""
        self._process.kill()


def _field(words: list[str], log: Path) -> None:
    fd = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(fd, 1)
    os.dup2(fd, 2)
    sys.argv[1:] = words
    from dcu.cli import main

    main()
