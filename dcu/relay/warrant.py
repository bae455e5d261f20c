"""Warrants: the one thing that lets a driver change a meter, and the one place where they are made."""

import threading
from typing import Final

from dcu.command import Warrant
from dcu.errors import WarrantRequired
from dcu.meter import AttributeRef, MethodRef

VALID_S: Final = 2.0
"""From the commit of DISPATCHED; later it is FAILED_UNSENT (reference/command-authority.md 0 item 3)."""


class OneAct(Warrant):
    """Leave for one SET or ACTION on one meter, spent by the first use or the passing of time.

    Args:
        serial: the meter.
        target: attribute or method.
        data: A-XDR encoded value or parameter, exactly.
        until_s: monotonic moment from which on it is worth nothing.
    """

    __slots__ = ("_data", "_lock", "_open", "_serial", "_spent", "_target", "_until_s")

    def __init__(self, serial: str, target: AttributeRef | MethodRef, data: bytes, until_s: float) -> None:
        self._serial = serial
        self._target = target
        self._data = data
        self._until_s = until_s
        self._open = True
        self._spent = False
        self._lock = threading.Lock()

    @property
    def target(self) -> AttributeRef | MethodRef:
        """What may be sent to."""
        return self._target

    @property
    def data(self) -> bytes:
        """What may be sent."""
        return self._data

    @property
    def spent(self) -> bool:
        """Whether it was used: only then can anything have been sent."""
        return self._spent

    def spend(self, serial: str, target: AttributeRef | MethodRef, data: bytes, monotonic_s: float) -> None:
        """Use it up. Raises WarrantRequired: spent, void, too late, or for another meter, target or value."""
        with self._lock:
            if not self._open:
                raise WarrantRequired("the warrant is spent", place=serial)
            self._open = False  # whatever comes next, it opens nothing twice
            if monotonic_s >= self._until_s:
                raise WarrantRequired("the warrant's time has passed", place=serial)
            if (serial, target, data) != (self._serial, self._target, self._data):
                raise WarrantRequired(f"the warrant is not for {target} of this meter", place=serial)
            self._spent = True

    def void(self) -> bool:
        """Let it open nothing from now on. True when it was never used: then surely nothing was sent."""
        with self._lock:
            self._open = False
            return not self._spent
