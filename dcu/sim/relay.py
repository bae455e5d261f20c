"""Disconnect control, class 70 (Blue Book 4.5.8)."""

from collections.abc import Callable
from enum import IntEnum
from typing import Final

from dcu.sim.axdr import Datum, Tag, boolean, enum
from dcu.sim.faults import Faults
from dcu.sim.objects import Attribute, CosemObject, expect, logical_name
from dcu.sim.xdlms import Refused, Result

RELAY_NAME: Final = logical_name("0.0.96.3.10")
DISCONNECT, RECONNECT = 1, 2
_ARMING_MODES: Final = {1, 3, 5, 6}
"""Control modes in which a remote reconnect only arms: a person at the meter closes it."""


class ControlState(IntEnum):
    """Attribute 3."""

    DISCONNECTED = 0
    CONNECTED = 1
    READY_FOR_RECONNECTION = 2


class Relay:
    """The switch and its logic.

    Args:
        control_mode: attribute 4, 0..6.
        now: real time, seconds since 1970.
        faults: of this meter.
        actuated: told of each accepted method: number, time.
        switched: told when the output has moved: whether it is closed, time.
    """

    def __init__(
        self,
        control_mode: int,
        now: Callable[[], float],
        faults: Faults,
        actuated: Callable[[int, float], None],
        switched: Callable[[bool, float], None],
    ) -> None:
        self.control_mode = control_mode
        self.control_state = ControlState.CONNECTED
        self.output_state = True
        self._now = now
        self._faults = faults
        self._actuated = actuated
        self._switched = switched

    def invoke(self, method: int, at: float | None = None) -> None:
        """Remote disconnect (1) or reconnect (2), at `at` when it is remembered from an earlier life.

        Raises:
            Refused: control mode 0 switches nothing.
        """
        if self.control_mode == 0:
            raise Refused(Result.OTHER_REASON)
        when = self._now() if at is None else at
        if method == DISCONNECT:
            self._move(ControlState.DISCONNECTED, when)
        elif self.control_state is not ControlState.CONNECTED:
            armed = self.control_mode in _ARMING_MODES
            self._move(ControlState.READY_FOR_RECONNECTION if armed else ControlState.CONNECTED, when)
        if at is None:
            self._actuated(method, when)

    def press_button(self) -> None:
        """A person at the meter: closes an armed relay."""
        if self.control_state is ControlState.READY_FOR_RECONNECTION:
            self._move(ControlState.CONNECTED, self._now())

    def _move(self, state: ControlState, when: float) -> None:
        self.control_state = state
        closed = state is ControlState.CONNECTED
        if self._faults.relay_sticks or closed == self.output_state:
            return
        self.output_state = closed
        self._switched(closed, when)


def relay_object(relay: Relay) -> CosemObject:
    """Class 70 over a relay."""

    def set_mode(value: Datum) -> None:
        mode = expect(value, Tag.ENUM).value
        if mode > 6:
            raise Refused(Result.OTHER_REASON)
        relay.control_mode = mode

    def method(number: int) -> Callable[[Datum], None]:
        def invoke(parameter: Datum) -> None:
            expect(parameter, Tag.INTEGER)
            relay.invoke(number)

        return invoke

    return CosemObject(
        70,
        RELAY_NAME,
        {
            2: Attribute(lambda: boolean(relay.output_state)),
            3: Attribute(lambda: enum(relay.control_state)),
            4: Attribute(lambda: enum(relay.control_mode), set_mode),
        },
        {DISCONNECT: method(DISCONNECT), RECONNECT: method(RECONNECT)},
    )
