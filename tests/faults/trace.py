"""What a process did to its files, recorded by strace: every write, sync, truncation, rename and unlink, in order.

A line of another thread may stand between the beginning and the end of a call. A write counts from its beginning, a
sync only from its end, an acknowledgement from its beginning: whatever is in doubt is held against the store.
"""

import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

CALLS = (
    "openat,close,write,pwrite64,fsync,fdatasync,ftruncate,fallocate,rename,renameat,renameat2,unlink,unlinkat,lseek"
)
ACKS = "acks"
"""Name of the file into which a recorded process writes what it has been told is done, a line each."""

_WHOLE = re.compile(r"^(\d+) +(\w+)\((.*)\) += (-?\d+|\?)(.*)$", re.DOTALL)
_BEGUN = re.compile(r"^(\d+) +(\w+)\((.*) <unfinished \.\.\.>$", re.DOTALL)
_ENDED = re.compile(r"^(\d+) +<\.\.\. (\w+) resumed>(.*)\) += (-?\d+|\?)(.*)$", re.DOTALL)
_TEXT = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')


@dataclass(frozen=True, slots=True)
class Opened:
    """A file got a descriptor; it was made or emptied where the flags say so."""

    fd: int
    name: str
    create: bool
    truncate: bool
    append: bool


@dataclass(frozen=True, slots=True)
class Closed:
    fd: int


@dataclass(frozen=True, slots=True)
class Written:
    """At that offset; None: where the descriptor stands."""

    fd: int
    octets: bytes
    offset: int | None


@dataclass(frozen=True, slots=True)
class Moved:
    fd: int
    offset: int


@dataclass(frozen=True, slots=True)
class Synced:
    """`good` is False when it failed: what was to be written is then given up by the kernel, and never tried again."""

    fd: int
    good: bool


@dataclass(frozen=True, slots=True)
class Resized:
    """To that length; `grow`: never shorter than it is."""

    fd: int
    length: int
    grow: bool = False


@dataclass(frozen=True, slots=True)
class Renamed:
    name: str
    to: str


@dataclass(frozen=True, slots=True)
class Unlinked:
    name: str


Event = Opened | Closed | Written | Moved | Synced | Resized | Renamed | Unlinked


def there() -> str:
    """Why nothing can be recorded here; empty when it can."""
    if shutil.which("strace") is None:
        return "strace is not installed: apt-get install strace"
    done = subprocess.run(["strace", "-o", "/dev/null", "true"], capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else f"strace cannot trace here: {done.stderr.strip()[:200]}"


def strace(*options: str, output: Path, command: list[str], calls: str = CALLS, quick: bool = True) -> list[str]:
    """The command that runs another one under strace; a quick one injects no signals."""
    return [
        "strace", "-f", *(["--seccomp-bpf"] if quick else []), "-xx", "-s", "2000000", "-o", str(output),
        "-e", f"trace={calls}", "-e", "signal=none", *options, *command,
    ]  # fmt: skip


def python(module: str, *words: object) -> list[str]:
    """The command of one of our modules."""
    return [sys.executable, "-m", module, *map(str, words)]


def read(path: Path) -> list[Event]:
    """All that was done, in the order in which it took effect."""
    events: list[Event] = []
    begun: dict[str, str] = {}
    for line in path.read_text(errors="replace").splitlines():
        if found := _BEGUN.match(line):
            pid, call, words = found.groups()
            begun[pid] = words
            if call in {"write", "pwrite64"}:
                events += _event(call, words, None)
        elif found := _ENDED.match(line):
            pid, call, words, result, more = found.groups()
            if call not in {"write", "pwrite64"}:
                events += _event(call, begun.pop(pid) + words, _number(result, more))
        elif found := _WHOLE.match(line):
            _, call, words, result, more = found.groups()
            events += _event(call, words, _number(result, more))
    return events


def _number(result: str, _more: str) -> int | None:
    return None if result == "?" else int(result)


def _text(words: str) -> list[bytes]:
    return [bytes.fromhex(found.replace("\\x", "")) for found in _TEXT.findall(words)]


def _event(call: str, words: str, result: int | None) -> list[Event]:
    failed = result is not None and result < 0
    if call in {"fsync", "fdatasync"}:
        return [] if result is None else [Synced(int(words), not failed)]
    if failed:
        return []
    if call == "openat":
        name = _text(words)[0].decode()
        return [Opened(result or 0, name, "O_CREAT" in words, "O_TRUNC" in words, "O_APPEND" in words)]
    if call in {"rename", "renameat", "renameat2"}:
        old, new = (each.decode() for each in _text(words))
        return [Renamed(old, new)]
    if call in {"unlink", "unlinkat"}:
        return [Unlinked(_text(words)[0].decode())]
    return _of_descriptor(call, words, result)


def _of_descriptor(call: str, words: str, result: int | None) -> list[Event]:
    fd = int(words.split(",", 1)[0])
    match call:
        case "close":
            return [Closed(fd)]
        case "write":
            octets = _text(words)[0]
            return [Written(fd, octets[: result if result is not None else len(octets)], None)]
        case "pwrite64":
            octets = _text(words)[0]
            cut = result if result is not None else len(octets)
            return [Written(fd, octets[:cut], int(words.rsplit(",", 1)[1]))]
        case "ftruncate":
            return [Resized(fd, int(words.split(",")[1]))]
        case "fallocate":
            _, _, offset, length = words.split(",")
            return [Resized(fd, int(offset) + int(length), grow=True)]
        case "lseek":
            return [Moved(fd, result or 0)]
    raise ValueError(call)
