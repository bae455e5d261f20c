"""Whether another client seems to use our identity: a copied card, a restored image. Pure.

A broker that knows MQTT 5 well says 0x8E to the one that it drops. mosquitto 2.0.11 says nothing and closes: the sign
is a session that was accepted and then closed by the broker without a word, soon, and again and again.
"""

from typing import Final

from dcu.errors import SessionLost

SOON_S: Final = 60.0
OFTEN: Final = 3


class Rivals:
    """Judges the ends of sessions, one after another."""

    def __init__(self) -> None:
        self._closed = 0

    def ended(self, lasted_s: float, *, closed: bool, told: bool) -> bool:
        """Whether another client seems to be there.

        Args:
            lasted_s: of the session that ended, from CONNACK on.
            closed: the broker closed it in order; a reset or silence is the network's doing.
            told: the broker said why, or refused something in it.
        """
        if told or lasted_s >= SOON_S:
            self._closed = 0
        elif closed:
            self._closed += 1
        return self._closed >= OFTEN


def unsaid_rival(dcu: str, place: str) -> SessionLost:
    """What to say where the broker did not."""
    cause = f"the broker took us and closed soon after, again and again: another client may use the id {dcu}"
    return SessionLost(cause, place=place, cure="is a copy of this box's card in use?")
