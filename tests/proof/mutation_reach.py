"""Which tests can notice a change: the lines of the package that each of them runs, and where a name is used."""

import ast
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from types import FrameType

from tests.proof.mutation_sites import Site

Lines = dict[str, set[int]]
"""Line numbers by file."""


@dataclass(frozen=True)
class Reached:
    """What one test ran, in how many seconds of a processor."""

    seconds: float
    lines: Lines

    @property
    def breadth(self) -> int:
        """How many lines: the fewer, the more it asks of each."""
        return sum(len(lines) for lines in self.lines.values())


def traced(work: Callable[[], None], under: str) -> Reached:
    """Do `work`; lines of functions that were run in files whose names begin with `under`, in whichever thread."""
    lines: Lines = defaultdict(set)

    def calls(frame: FrameType, event: str, argument: object):
        file = frame.f_code.co_filename
        if not file.startswith(under):
            return None
        lines[file].add(frame.f_lineno)
        return each_line

    def each_line(frame: FrameType, event: str, argument: object):
        lines[frame.f_code.co_filename].add(frame.f_lineno)
        return each_line

    began = time.process_time()
    threading.settrace(calls)
    sys.settrace(calls)
    try:
        work()
    finally:
        sys.settrace(None)
        threading.settrace(None)
    return Reached(time.process_time() - began, dict(lines))


class Uses:
    """Where names are used in functions, through whatever else is bound to them outside of functions."""

    def __init__(self, trees: Mapping[str, ast.Module]) -> None:
        self._lines: dict[str, Lines] = defaultdict(lambda: defaultdict(set))
        self._next: dict[str, set[str]] = defaultdict(set)
        for file, tree in trees.items():
            for node in tree.body:
                self._statement(file, node, set())

    def of(self, names: Iterable[str]) -> Lines:
        """Lines that use any of these."""
        seen: set[str] = set()
        waiting = set(names)
        while waiting:
            name = waiting.pop()
            seen.add(name)
            waiting |= self._next[name] - seen
        found: Lines = defaultdict(set)
        for name in seen:
            for file, lines in self._lines[name].items():
                found[file] |= lines
        return found

    def _statement(self, file: str, node: ast.stmt, outer: set[str]) -> None:
        bound = outer | {each.id for each in ast.walk(node) if isinstance(each, ast.Name) and _is_bound(each)}
        if isinstance(node, ast.ClassDef):
            for each in node.body:
                self._statement(file, each, outer | {node.name})
            return
        inside = isinstance(node, ast.FunctionDef)
        for each in ast.walk(node):
            name = each.id if isinstance(each, ast.Name) else getattr(each, "attr", None)
            if isinstance(name, str):
                self._lines[name][file].add(each.lineno)
                self._next[name] |= set() if inside else bound


def _is_bound(name: ast.Name) -> bool:
    return isinstance(name.ctx, ast.Store)


class Choice:
    """The tests that can notice a change, the narrowest first; those that noticed its neighbours before all."""

    def __init__(self, reached: Mapping[str, Reached], uses: Uses, root: Path) -> None:
        self._reached, self._uses, self._root = reached, uses, root
        self._runs: dict[tuple[str, int], list[str]] = defaultdict(list)
        self._breadth = {test: found.breadth for test, found in reached.items()}
        for test, found in reached.items():
            for file, lines in found.lines.items():
                for line in lines:
                    self._runs[file, line].append(test)
        self._texts: dict[str, str] = {}

    def tests(self, site: Site, before: Iterable[str], within_s: float) -> list[str]:
        """For this change: as many as take that long together."""
        wanted = {site.file: set(site.lines)}
        for file, lines in self._uses.of(site.names).items():
            wanted.setdefault(file, set()).update(lines)
        found = {test for file, lines in wanted.items() for line in lines for test in self._runs.get((file, line), ())}
        if site.names:
            found |= {test for test, what in self._reached.items() if site.file in what.lines}
            found |= {test for test in self._reached if self._names_any(test, site.names)}
        first = [test for test in before if test in found]
        tests = first + sorted(found - set(first), key=lambda test: (self._breadth[test], test))
        ends = accumulate(self._reached[test].seconds for test in tests)
        return [test for test, end_s in zip(tests, ends, strict=True) if end_s <= within_s]

    def seconds(self, tests: Iterable[str]) -> float:
        """That these took."""
        return sum(self._reached[test].seconds for test in tests)

    def _names_any(self, test: str, names: Iterable[str]) -> bool:
        file = test.split("::")[0]
        text = self._texts.setdefault(file, (self._root / file).read_text())
        return any(name in text for name in names)
