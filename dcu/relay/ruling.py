"""What was decided and committed about a document. Values only."""

from dataclasses import dataclass

from dcu.command import Command
from dcu.relay.letters import Verdict


@dataclass(frozen=True, slots=True)
class Ruling:
    """A decision that is on disk.

    Attributes:
        verdict: for who handed the document in.
        command: to be carried out before its meter, or None.
        wait_s: how long it waits before that; 0 where it is not judged as a disconnect.
        spacing_s: how long it waits behind the last disconnect.
        cuts: it is judged as a disconnect.
        cause: of a refusal, in words.
        meter: serial that the document names, where that is legible.
    """

    verdict: Verdict
    command: Command | None = None
    wait_s: int = 0
    spacing_s: int = 0
    cuts: bool = False
    cause: str = ""
    meter: str = ""
