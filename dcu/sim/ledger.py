"""What a virtual meter truly captured and did, written at that moment: the truth that tests count against.

One JSON object a line, times in seconds since 1970, `at` in real time:

    {"kind":"row","profile","captured_at","values"}     a row of any profile but snapshots, by the meter's clock
    {"kind":"relay","method","at"}                      a method of the disconnect control
    {"kind":"set","class","ln","attr","value_hex","at"} a SET that was accepted
    {"kind":"power","on","at"}                          the mains have failed or come back
    {"kind":"clock","ahead_s","at"}                     its clock was set: ahead of real time from then on
    {"kind":"period","profile","period_s","since","at"} another capture period since a moment of the meter's clock
    {"kind":"upgrade","firmware","columns","cleared","at"} another firmware, and the profiles that it emptied

It is also the meter's non-volatile memory: a meter that starts on its old ledger finds its rows again, and misses those
of the time in which it was off.
"""

import json
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

Entry = dict[str, Any]


class Ledger:
    """Appends entries, each flushed before the next thing happens; in memory where no directory is given.

    Args:
        directory: where `<serial>.jsonl` lives; made if it is not there.
        serial: whose it is.
    """

    def __init__(self, directory: Path | None, serial: str) -> None:
        self._memory: list[str] = []
        self._path = directory / f"{serial}.jsonl" if directory else None
        self._file = None
        if self._path:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            torn = self._path.exists() and self._path.read_bytes()[-1:] not in {b"", b"\n"}
            self._file = self._path.open("a", encoding="utf-8")
            if torn:
                self._file.write("\n")

    def append(self, entry: Entry) -> None:
        """Write one entry."""
        self._append(json.dumps(entry, separators=(",", ":")))

    def append_row(self, profile: str, captured_at: int, values: Iterable[int]) -> None:
        """Write a captured row: what nearly all entries are."""
        listed = ",".join(map(str, values))
        self._append(f'{{"kind":"row","profile":"{profile}","captured_at":{captured_at},"values":[{listed}]}}')

    def _append(self, line: str) -> None:
        if self._file is None:
            self._memory.append(line)
            return
        self._file.write(line + "\n")
        self._file.flush()

    def entries(self) -> list[Entry]:
        """All of them, oldest first."""
        return read_ledger(self._path) if self._path else [json.loads(line) for line in self._memory]

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, fault: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def read_ledger(path: Path) -> list[Entry]:
    """Entries of a ledger file; a line torn by a killed writer is left out."""
    found = []
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            try:
                found.append(json.loads(line))
            except json.JSONDecodeError:
                continue
    return found
