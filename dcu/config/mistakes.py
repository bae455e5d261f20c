"""Mistakes in a TOML file, with the line where each stands.

`tomllib` gives lines for syntax only, so a small scan of the text finds where each key was written.
"""

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path

from dcu.errors import ConfigFault

Where = tuple[str | int, ...]
"""A key's place in the parsed file: ("meter", 0, "serial")."""

_TABLE = re.compile(r"^\s*(\[\[?)\s*([^\]]+?)\s*\]\]?\s*(#.*)?$")
_KEY = re.compile(r"^\s*((?:\"[^\"]*\"|'[^']*'|[A-Za-z0-9_-]+)(?:\s*\.\s*(?:\"[^\"]*\"|'[^']*'|[A-Za-z0-9_-]+))*)\s*=")
_MARK = re.compile(r"\"{3}|'{3}|\"(?:[^\"\\]|\\.)*\"|'[^']*'|[\[\]{}#]")
_PART = re.compile(r"\"([^\"]*)\"|'([^']*)'|([A-Za-z0-9_-]+)")


@dataclass(frozen=True, slots=True)
class Mistake:
    """One mistake: where it stands, what is wrong, and how to mend it."""

    file: Path
    line: int
    key: str
    cause: str
    cure: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.key}: {self.cause}; {self.cure}"


class ConfigMistakes(ConfigFault):
    """All mistakes of a configuration at once. Exit code 3; nothing was started."""

    def __init__(self, mistakes: list[Mistake]) -> None:
        super().__init__("\n".join(str(m) for m in mistakes))
        self.mistakes = mistakes


def syntax_mistake(file: Path, fault: tomllib.TOMLDecodeError) -> Mistake:
    """Where TOML itself is broken, as far as the parser says."""
    line = int(str(fault).rpartition("at line ")[2].partition(",")[0]) if "at line " in str(fault) else 1
    return Mistake(file, line, "syntax", str(fault).partition(" (")[0], "mend the TOML syntax there")


def key_lines(text: str) -> dict[Where, int]:
    """Line number of every table and key of a TOML text, by its place."""
    lines: dict[Where, int] = {}
    table: Where = ()
    members: dict[Where, int] = {}
    depth, quoted = 0, ""
    for number, line in enumerate(text.splitlines(), start=1):
        inside = depth > 0 or quoted
        depth, quoted = _left_open(line, depth, quoted)
        if inside:
            continue  # of a value that goes over several lines
        if header := _TABLE.match(line):
            table = _inside(_parts(header[2]), members)
            if header[1] == "[[":
                members[table] = members.get(table, -1) + 1
                table = (*table, members[table])
            lines.setdefault(table, number)
        elif key := _KEY.match(line):
            parts = _parts(key[1])
            for length in range(1, len(parts) + 1):
                lines.setdefault((*table, *parts[:length]), number)
    return lines


def _left_open(line: str, depth: int, quoted: str) -> tuple[int, str]:
    """(brackets still open, quotes still open) behind a line."""
    for found in _MARK.finditer(line):
        mark = found[0]
        if quoted:
            quoted = "" if mark == quoted else quoted
        elif mark[0] in "\"'":
            quoted = mark if len(mark) == 3 else quoted
        elif mark[0] == "#":
            break
        else:
            depth += 1 if mark in "[{" else -1
    return max(0, depth), quoted


def _inside(table: Where, members: dict[Where, int]) -> Where:
    """A table's place: `[meter.profiles]` behind the third `[[meter]]` is part of that one."""
    for length in range(1, len(table)):
        if (outer := table[:length]) in members:
            return (*outer, members[outer], *table[length:])
    return table


def line_of(lines: dict[Where, int], where: Where) -> int:
    """Line of a key, or of the nearest table that encloses it; 1 when there is none."""
    while where:
        if where in lines:
            return lines[where]
        where = where[:-1]
    return 1


def spelled(where: Where) -> str:
    """A place as a person writes it: `meter[0].serial`."""
    text = ""
    for part in where:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def _parts(dotted: str) -> Where:
    return tuple(a or b or c for a, b, c in _PART.findall(dotted))
