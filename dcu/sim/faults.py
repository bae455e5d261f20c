"""Faults of one virtual meter, switched while it runs by plain assignment."""

from dataclasses import dataclass, field
from typing import Literal

from dcu.sim.link_faults import LinkFaults

BadTime = Literal["hour-24", "february-30", "wildcards", "unspecified"]
"""A row's time that no calendar has: hour 24, 30 February, time of day FF, all FF."""


@dataclass(slots=True)
class Faults:
    """All off by default.

    Attributes:
        silent: answers nothing at all.
        serial: says this serial instead of its own.
        bad_tag: one bit of the GCM tag of each ciphered answer is wrong.
        lower_counter: ciphered answers carry an invocation counter that was used before.
        wrong_title: ciphered answers come in general form under another system title than the meter's.
        clear_answer: answers in clear inside a ciphered association.
        lose_action_reply: so many answers to relay ACTIONs are lost after the relay has acted.
        lose_set_reply: so many answers to SETs are lost after the value was taken.
        silent_after_action: the meter falls silent once a relay ACTION is done (sets `silent`).
        relay_sticks: the relay does not move whatever it is told; the control state changes all the same.
        answer_as: answers bear the HDLC address of this physical device instead of its own.
        delay_s: added to the turnaround time of each answer.
        link: what it does to its own frames, and unasked.
        bad_times: rows of rings that show a time that is none, by the moment of their capture.
        range_ignored: selective access by range gives all rows, or one more at each end.
    """

    silent: bool = False
    serial: str | None = None
    bad_tag: bool = False
    lower_counter: bool = False
    wrong_title: bool = False
    clear_answer: bool = False
    lose_action_reply: int = 0
    lose_set_reply: int = 0
    silent_after_action: bool = False
    relay_sticks: bool = False
    answer_as: int | None = None
    delay_s: float = 0.0
    link: LinkFaults = field(default_factory=LinkFaults)
    bad_times: dict[int, BadTime] = field(default_factory=dict)
    range_ignored: Literal["", "all", "ends"] = ""
