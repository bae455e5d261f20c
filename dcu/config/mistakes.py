"""Mistakes in a TOML file, with the line where each stands.

`tomllib` gives lines for syntax only, so a small scan of the text finds where each key was written.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from dcu.errors import ConfigFault

Where = tuple[str | int, ...]
"""A key's place in the parsed file: ("meter", 0, "serial")."""

_TABLE = re.compile(r"^\s*(\[\[?)\s*([^\]]+?)\s*\]\]?\s*(#.*)?$")
_KEY = re.compile(r"^\s*((?:\"[^\"]*\"|'[^']*'|[A-Za-z0-9_-]+)(?:\s*\.\s*(?:\"[^\"]*\"|'[^']*'|[A-Za-z0-9_-]+))*)\s*=")
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


def key_lines(text: str) -> dict[Where, int]:
    """Line number of every table and key of a TOML text, by its place."""
    lines: dict[Where, int] = {}
    table: Where = ()
    members: dict[Where, int] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if header := _TABLE.match(line):
            table = _parts(header[2])
            if header[1] == "[[":
                members[table] = members.get(table, -1) + 1
                table = (*table, members[table])
            lines.setdefault(table, number)
        elif key := _KEY.match(line):
            lines.setdefault((*table, *_parts(key[1])), number)
    return lines


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
