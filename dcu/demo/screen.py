"""The screen of the demo: what was done, what is being done, and the counters; plain lines without a terminal."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

MARKS = {True: ("✓", "bold green"), False: ("✗", "bold red")}


@dataclass(slots=True)
class Line:
    """One line of the final table: a claim, what showed it, and whether it held."""

    claim: str
    shown: str
    held: bool


@dataclass
class Screen:
    """Told by the story; draws itself on `console`, or stays silent when `quiet`."""

    console: Console
    quiet: bool = False
    _done: list[Text] = field(default_factory=list)
    _now: str = ""
    _counters: str = ""
    _live: Live | None = None
    _began: float = field(default_factory=time.monotonic)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Draw while the story runs."""
        if self.quiet or not self.console.is_terminal:
            yield
            return
        with Live(console=self.console, refresh_per_second=8, get_renderable=self._draw) as self._live:
            yield
        self._live = None

    def chapter(self, title: str) -> None:
        """A heading."""
        self._append(Text(f"\n{title}", style="bold cyan"))

    def doing(self, what: str) -> None:
        """What is happening now."""
        self._now = what

    def counters(self, text: str) -> None:
        """The figures at the foot."""
        self._counters = text

    def did(self, text: str, *, held: bool = True) -> None:
        """Something happened, and whether it was as it should be."""
        mark, style = MARKS[held]
        self._append(Text.assemble((f"  {mark} ", style), text))

    def table(self, lines: list[Line]) -> None:
        """What was proven."""
        if self.quiet:
            return
        table = Table(
            title="What was proven", title_style="bold", title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0)
        )
        table.add_column("")
        table.add_column("claim")
        table.add_column("shown by")
        for line in lines:
            mark, style = MARKS[line.held]
            table.add_row(Text(mark, style=style), line.claim, line.shown)
        self.console.print()
        self.console.print(table)

    def _append(self, text: Text) -> None:
        self._done.append(text)
        if not self.quiet and self._live is None:
            self.console.print(text)

    def _draw(self) -> Group:
        room = max(8, self.console.height - 6)
        seconds = time.monotonic() - self._began
        foot = Text(f"  {seconds:4.0f} s   {self._counters}", style="dim")
        return Group(*self._done[-room:], Spinner("dots", Text(f" {self._now}", style="yellow")), foot)
