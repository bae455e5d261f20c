"""Profiles that a meter refuses though its model names them: told once, said in its condition, and asked again."""

from dataclasses import dataclass
from typing import Final

from dcu.errors import AttributeDenied, Fate
from dcu.schedule import Task

LASTING_AGAIN_S: Final = 86_400.0
"""When an object is asked again that the meter refuses for a reason that may last."""

PASSING_AGAIN_S: Final = 900.0
"""The same for a reason that may pass; one that has not passed within a day is told too."""


@dataclass(slots=True)
class _Refusal:
    since_s: float
    cause: str = ""
    told: bool = False


def again_s(fault: AttributeDenied) -> float:
    """After how many seconds the object is asked again."""
    return LASTING_AGAIN_S if fault.fate is Fate.DROP_OBJECT else PASSING_AGAIN_S


class Refusals:
    """What the meters of one bus refuse now. One thread at a time."""

    def __init__(self) -> None:
        self._refusals: dict[Task, _Refusal] = {}

    def note(self, task: Task, fault: AttributeDenied, now_s: float) -> bool:
        """The meter refused it (monotonic seconds); whether that is to be told now."""
        refusal = self._refusals.setdefault(task, _Refusal(now_s))
        refusal.cause = str(fault)
        lasts = fault.fate is Fate.DROP_OBJECT or now_s - refusal.since_s >= LASTING_AGAIN_S
        tell, refusal.told = lasts and not refusal.told, lasts or refusal.told
        return tell

    def given(self, task: Task) -> bool:
        """The meter gave it; whether its refusal was told, so that this is to be told too."""
        refusal = self._refusals.pop(task, None)
        return refusal is not None and refusal.told

    def of(self, serial: str) -> dict[Task, str]:
        """What a meter refuses, and why."""
        return {task: each.cause for task, each in self._refusals.items() if task.serial == serial}

    def forget(self, serial: str) -> None:
        """The meter is not read any more."""
        for task in self.of(serial):
            del self._refusals[task]
