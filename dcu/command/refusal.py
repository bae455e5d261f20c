"""Why a document is refused: the codes are a contract with the head-end.

Source: the check table of reference/command-authority.md 8.
"""

from enum import Enum

from dcu.errors import DcuError, Fate


class Refusal(Enum):
    """Why a document was refused (check table of command-authority.md 8), in the order of the checks."""

    E_TOPIC = "E_TOPIC"  # 1 not the command topic, or not QoS 1
    E_RETAINED = "E_RETAINED"  # 1
    E_SIZE = "E_SIZE"  # 2 more than 8 KiB
    E_FLOOD = "E_FLOOD"  # 2 more documents a minute than anyone needs
    E_JSON = "E_JSON"  # 3
    E_SHAPE = "E_SHAPE"  # 4
    E_CANON = "E_CANON"  # 4
    E_B64 = "E_B64"  # 5
    E_HDR = "E_HDR"  # 6
    E_KID = "E_KID"  # 6
    E_ORDER = "E_ORDER"  # 6 kids not ascending, or one twice
    E_KEY = "E_KEY"  # 7 revoked, expired, or one key under two names
    E_ALG = "E_ALG"  # 7
    E_SIG = "E_SIG"  # 8
    E_SCHEMA = "E_SCHEMA"  # 9
    E_TARGET = "E_TARGET"  # 10 another box, or another head-end
    E_JID = "E_JID"  # 10 signed for another journal
    E_ID_REUSE = "E_ID_REUSE"  # 11 a command id with other bytes
    E_QUORUM = "E_QUORUM"  # 12
    E_VERSION = "E_VERSION"  # of a policy or key document: not above the last one
    E_CLOCK = "E_CLOCK"  # 13 the box's clock is not trusted
    E_EARLY = "E_EARLY"  # 14
    E_EXPIRED = "E_EXPIRED"  # 14
    E_TTL = "E_TTL"  # 14
    E_LEASE = "E_LEASE"  # 15 not the lease that this process gave out
    E_SEQ = "E_SEQ"  # 16
    E_METER = "E_METER"  # 17 not here, set aside, or not the meter that answers
    E_FROZEN = "E_FROZEN"  # 18 by a freeze, of the meter or of the box
    E_LOCKED = "E_LOCKED"  # 18 by somebody at the pole
    E_PROTECTED = "E_PROTECTED"  # 19 medical or essential supply
    E_NOTICE = "E_NOTICE"  # 20 the evidence is missing or too young
    E_NOT_LIVE = "E_NOT_LIVE"  # 20 prepaid is not live in that area
    E_NOT_PREPAID = "E_NOT_PREPAID"  # 20 the meter's own payment mode says post-paid
    E_AREA = "E_AREA"  # 20 command, configuration and policy name different areas
    E_GRACE = "E_GRACE"  # 20 grace or emergency credit is not used up
    E_POLICY = "E_POLICY"  # 17 not carried out here; 19 no policy in force, or another version
    E_WINDOW = "E_WINDOW"  # 21 outside the hours, or on a closed day
    E_PERMIT = "E_PERMIT"  # 22 none for this box and day, or used up
    E_CAP = "E_CAP"  # 22 too many in the hour, the day or the week, or too close together
    E_STORE = "E_STORE"  # 23 cannot be journalled
    E_STATE = "E_STATE"  # 25 the relay is not in the state that the command expects
    E_UNREACHABLE = "E_UNREACHABLE"  # 25


class CommandRefused(DcuError):
    """A document that is not carried out, with the code of the first check that it failed. Never retried by the box."""

    fate = Fate.NEVER_RETRY

    def __init__(self, code: Refusal, cause: str) -> None:
        super().__init__(cause, place=code.value)
        self.code = code
