"""Commands: their vocabulary, their life, and the warrant that lets one act on a meter. Values only; no I/O.

Source: reference/command-authority.md sections 0, 5, 8 and 11. Refusal codes are a contract with the head-end.
"""

from dcu.command.life import LIFE, OPEN, WAITING, Event, State, after
from dcu.command.operation import Change, ControlState, Operation, OutputState, Profile, Why
from dcu.command.payload import Command, Debit, RelaySequence, Restraint, StoredCommand
from dcu.command.refusal import CommandRefused, Refusal
from dcu.command.warrant import Warrant

__all__ = [
    "LIFE",
    "OPEN",
    "WAITING",
    "Change",
    "Command",
    "CommandRefused",
    "ControlState",
    "Debit",
    "Event",
    "Operation",
    "OutputState",
    "Profile",
    "Refusal",
    "RelaySequence",
    "Restraint",
    "State",
    "StoredCommand",
    "Warrant",
    "Why",
    "after",
]
