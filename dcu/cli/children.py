"""The two processes as children, started again when they fall."""

import logging
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import FrameType

log = logging.getLogger(__name__)

RESTART_AFTER_S = 1.0
END_WITHIN_S = 15.0
LOOK_EVERY_S = 0.2


@dataclass(slots=True)
class _Child:
    name: str
    command: Sequence[str]
    process: subprocess.Popen[bytes]
    restart_at_s: float = 0.0


def run_children(commands: Mapping[str, Sequence[str]]) -> int:
    """Run the commands until this process is told to stop; one that falls is started again after a second.

    Returns:
        0 when told to stop; a child's own exit code when it says 3 (its configuration is invalid).
    """
    told: list[int] = []

    def end(number: int, _frame: FrameType | None) -> None:
        told.append(number)

    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, end)
    children = [_Child(name, command, subprocess.Popen(command)) for name, command in commands.items()]
    code = 0
    while not told:
        time.sleep(LOOK_EVERY_S)
        for child in children:
            code = code or _look_after(child)
        if code:
            break
    log.info("ending: %s", ", ".join(signal.Signals(number).name for number in told) or "a child's own fault")
    _end(children)
    return code


def _look_after(child: _Child) -> int:
    fallen = child.process.poll()
    now_s = time.monotonic()
    if fallen is None:
        return 0
    if fallen == 3:
        log.error("%s: its configuration is invalid", child.name)
        return fallen
    if not child.restart_at_s:
        log.warning("%s fell (exit %d); it is started again", child.name, fallen)
        child.restart_at_s = now_s + RESTART_AFTER_S
    elif now_s >= child.restart_at_s:
        child.restart_at_s = 0.0
        child.process = subprocess.Popen(child.command)
    return 0


def _end(children: Sequence[_Child]) -> None:
    for child in children:
        if child.process.poll() is None:
            child.process.terminate()
    for child in children:
        try:
            child.process.wait(END_WITHIN_S)
        except subprocess.TimeoutExpired:
            log.warning("%s did not end; killed", child.name)
            child.process.kill()
            child.process.wait()
