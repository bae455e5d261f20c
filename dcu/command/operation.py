"""What a command may ask for, the reasons it may give, and the two profiles of authority. Values only.

Source: reference/command-authority.md 0 items 7, 8, 10 and 12.
"""

from enum import Enum


class Operation(Enum):
    """What a command asks for. What is not here is refused."""

    CONNECT = "connect"
    DISCONNECT = "disconnect"
    CANCEL = "cancel"  # takes another command back that has not been dispatched
    FREEZE = "freeze"  # no disconnect of a meter, or of the whole box, for a day
    UNFREEZE = "unfreeze"
    READ = "read"  # any profile, on demand
    RESEND = "resend"  # a range of records once more
    CLOCK_SET = "clock-set"  # a meter's clock, from the box's own
    BALANCE = "balance"  # recharge and balance registers; a lowered balance is judged as a disconnect
    MESSAGE = "message"  # text on the consumer's display
    LIMIT = "limit"  # load limiter; below the policy's floor it is judged as a disconnect
    METER = "meter"  # add, replace or retire one
    MODE = "mode"  # payment mode or control mode; always judged as a disconnect


class Why(Enum):
    """The reason that a disconnect or a message gives; each has its own rules."""

    CREDIT = "credit"
    ARREARS = "arrears"
    SAFETY = "safety"
    REQUEST = "request"


class Profile(Enum):
    """How much authority a disconnect needs; the policy chooses for each area."""

    ARREARS = "arrears"  # strict: two people, notice and case, a permit for the day
    PREPAID = "prepaid"  # automatic, for lack of credit only: two systems under separate administrators


class Change(Enum):
    """What a `meter` operation does."""

    ADD = "add"
    REPLACE = "replace"
    RETIRE = "retire"


class OutputState(Enum):
    """Physical state of a meter's relay (class 70 attribute 2)."""

    CONNECTED = "connected"
    DISCONNECTED = "disconnected"


class ControlState(Enum):
    """Logical state of a meter's relay (class 70 attribute 3)."""

    DISCONNECTED = 0
    CONNECTED = 1
    READY_FOR_RECONNECTION = 2
