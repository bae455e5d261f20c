"""The right moment to pull the plug: in the middle of an exchange on the line, and in the middle of a transaction.

A SIGKILL at a random moment mostly hits a process that waits. These find a moment that hurts, and say what they hit.
"""

import ctypes
import os
import select
import signal
import struct
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

LAST_WAIT_S: Final = 20.0
SEEN_WITHIN_S: Final = 0.3
"""A line of 9600 baud does not read all its meters in this."""
_IN_MODIFY: Final = 0x2
_WAL_HEADER_BYTES: Final = 32
_FRAME_HEADER_BYTES: Final = 24


@dataclass(frozen=True, slots=True)
class WalTail:
    """What stands at the end of a write-ahead log (SQLite file format 4).

    Attributes:
        frames: valid frames of the present generation.
        uncommitted: those after the last commit frame: a transaction that was being written.
    """

    frames: int
    uncommitted: int


def wal_tail(wal: Path) -> WalTail:
    """Count the frames of `wal`, and those that no commit frame follows."""
    content = wal.read_bytes()
    if len(content) < _WAL_HEADER_BYTES:
        return WalTail(0, 0)
    page_bytes, salts = struct.unpack_from(">I", content, 8)[0], content[16:24]
    frames = committed = 0
    step = _FRAME_HEADER_BYTES + page_bytes
    for start in range(_WAL_HEADER_BYTES, len(content) - step + 1, step):
        if content[start + 8 : start + 16] != salts:
            break  # left over from before the log was last begun anew
        frames += 1
        if struct.unpack_from(">I", content, start + 4)[0]:
            committed = frames
    return WalTail(frames, frames - committed)


class Watch:
    """Wakes when a file is written (inotify(7))."""

    def __init__(self, path: Path) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        self._fd = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self._fd < 0 or libc.inotify_add_watch(self._fd, os.fsencode(path), _IN_MODIFY) < 0:
            raise OSError(ctypes.get_errno(), "inotify", str(path))

    def wait(self, timeout_s: float) -> bool:
        """Whether it was written within `timeout_s`; earlier writes are forgotten."""
        with suppress(BlockingIOError):
            while os.read(self._fd, 4096):
                pass
        return bool(select.select([self._fd], [], [], timeout_s)[0])

    def close(self) -> None:
        """Let it go."""
        os.close(self._fd)


def kill_in_transaction(pid: Callable[[], int], wal: Path, within_s: float) -> tuple[bool, str]:
    """SIGKILL the process while it writes a transaction; whether that was hit, and what was, in words.

    At each write to the log the process is frozen and the log looked at: with frames that no commit frame follows it
    is killed there, else it goes on and the next write is waited for. When the time is up it is killed at the very
    next write, which is between that write and the return of its commit.
    """
    deadline_s = time.monotonic() + within_s
    watch, victim = Watch(wal), pid()
    own = os.sched_getaffinity(0)
    try:
        _put(victim, {min(own)}, priority=19)  # on our core, below us: our waking then interrupts its writing
        os.sched_setaffinity(0, {min(own)})
        while time.monotonic() < deadline_s:
            if not watch.wait(deadline_s - time.monotonic()):
                continue
            os.kill(victim, signal.SIGSTOP)
            tail = wal_tail(wal)
            if tail.uncommitted:
                os.kill(victim, signal.SIGKILL)
                return True, f"{tail.uncommitted} pages of a transaction written, its commit not"
            os.kill(victim, signal.SIGCONT)
        _put(victim, own, priority=0)  # where others want the core too it may hardly have run
        written = watch.wait(LAST_WAIT_S)
        os.kill(victim, signal.SIGKILL)
        return written, "at the write of a commit" if written else "nothing was written: killed while it waited"
    finally:
        os.sched_setaffinity(0, own)
        watch.close()


def _put(victim: int, cores: Collection[int], *, priority: int) -> None:
    """Put all threads of the victim on these cores, at a priority; what we may not do stays undone.

    (The process that is started in its place is an ordinary one again.)
    """
    for thread in Path(f"/proc/{victim}/task").iterdir():
        with suppress(OSError):
            os.sched_setaffinity(int(thread.name), cores)
            os.setpriority(os.PRIO_PROCESS, int(thread.name), priority)


def kill_in_exchange(pid: Callable[[], int], trace: Path, ledger: Path, within_s: float) -> tuple[bool, str]:
    """SIGKILL the process at the first request after a capture, before its answer; whether so, and what was hit.

    A capture is a write to `ledger`, a virtual meter's own. What the meters of the line captured then has not been read
    yet, so that the kill leaves something out. `trace` is the line's own record of what passes: a line `>` a request,
    `<` an answer.
    """
    deadline_s = time.monotonic() + within_s
    captures, requests = Watch(ledger), Watch(trace)
    try:
        with trace.open("rb") as tail:
            while time.monotonic() < deadline_s:
                if not captures.wait(deadline_s - time.monotonic()):
                    continue
                tail.seek(0, os.SEEK_END)
                if time.time() - ledger.stat().st_mtime > SEEN_WITHIN_S:
                    continue  # seen too late: it may have been read since
                while time.monotonic() < deadline_s:
                    requests.wait(0.05)
                    lines = tail.read().splitlines()
                    if lines and lines[-1].startswith(b">"):
                        os.kill(pid(), signal.SIGKILL)
                        return True, "a request was on the line, its answer was not"
        os.kill(pid(), signal.SIGKILL)
        return False, "no request passed in time: killed while it waited"
    finally:
        captures.close()
        requests.close()
