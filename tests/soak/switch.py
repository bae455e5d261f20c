"""A state that lasts as long as any of several faults holds it."""

from collections.abc import Callable


class Switch:
    """Something that several faults may hold at once."""

    def __init__(self, on: Callable[[], None], off: Callable[[], None]) -> None:
        self._on, self._off, self._holders = on, off, 0

    def hold(self) -> None:
        self._holders += 1
        if self._holders == 1:
            self._on()

    def release(self) -> None:
        self._holders -= 1
        if not self._holders:
            self._off()
