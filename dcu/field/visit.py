"""One visit to one meter: all that is due there, in as few exchanges as the meter allows.

Where the meter is known, one poll asks for its clock and for everything that is due, each range predicted from the gap
ledger and from the last look at the clock. What came is committed in one transaction with the ledger's advance; a visit
that is cut short, by a relay errand or by kill -9, loses nothing that it had brought home, and repeats nothing of it.
Where the answer is not as predicted (the clock was set, a row is missing, the firmware is another) further polls of the
same visit look into it.
"""

from collections.abc import Sequence

from dcu.field.course import Course
from dcu.field.scene import VisitReport, VisitScene
from dcu.meter import Meter, Purpose
from dcu.ports import Line
from dcu.schedule import Task

__all__ = ["MeterVisit", "VisitReport", "VisitScene"]


class MeterVisit:
    """The errand of one visit (`ports.VisitErrand`).

    Attributes:
        meter: that is visited.
        spare: nothing is due: only some of the backlog is brought.
        probe: the meter did not answer the last time.
    """

    def __init__(
        self,
        meter: Meter,
        tasks: Sequence[Task],
        report: VisitReport,
        scene: VisitScene,
        *,
        spare: bool = False,
        probe: bool = False,
    ) -> None:
        self.meter = meter
        self.spare = spare
        self.probe = probe
        self._report = report
        self._scene = scene
        self._left = list(tasks)  # of which nothing was reported yet

    def run(self, line: Line) -> None:
        """Open the association, do what is left of the tasks, release it.

        While nothing can be stored a backlog stays in its meter: what memory there is is for what is due. The next due
        visit that can store again tells of it anew.
        """
        is_known = self._scene.book(self.meter).load(self._scene.store, self._scene.clock)
        if self.spare and not is_known:
            for task in self._left:
                self._report.backlog(task, remains=False)
            return
        with line.associate(self.meter, Purpose.READ) as association:
            Course(self.meter, association, self._scene, self._report, self._left, spare=self.spare).run()
        self._report.visited(self.meter)

    def failed(self, fault: Exception) -> None:
        """Tell the plan."""
        self._scene.book(self.meter).forget()
        self._report.failed(self.meter, fault)
