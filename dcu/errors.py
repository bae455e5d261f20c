"""Errors, named by their fate: what happens next to this request, this meter, this bus and this process.

Each class carries a `Fate`; the one `except DcuError` of each loop applies it and knows nothing else. Foreign
exceptions are translated into these at one door a library, eagerly. What is not a `DcuError` is our own bug.
Source: DESIGN "Errors are named by their fate".
"""

from enum import Enum
from typing import ClassVar


class Fate(Enum):
    """What the loop that catches the error does next."""

    RETRY_NOW = "retry now"  # reads only, within the job's budget; others on the bus wait for it
    GIVE_WAY = "give way, then again"  # a relay errand waits; the poll is taken up after it
    RETRY_LATER = "back off this meter"  # the bus goes on with the others
    PAUSE_METER = "pause this meter"  # repeating would lock a client or hide an attack; alarmed
    DROP_OBJECT = "drop this object"  # alarmed; asked again each day, at a start, and under other firmware
    SET_ASIDE = "set aside"  # nothing of it is stored as good; alarmed
    REOPEN_BUS = "reopen the bus"
    RECONNECT = "reconnect"
    END_CONNECTION = "end this connection"
    SHED_LOAD = "shed load"
    NEVER_RETRY = "never retry"
    STOP_PROCESS = "stop the process"  # systemd starts it again (crash-only)
    ANSWER = "answer who asked"  # bad input from a person: place, cause and cure


class DcuError(Exception):
    """Root of all errors that the box expects.

    Args:
        cause: what is wrong, in words; never a secret.
        place: where: a port, a meter's serial, `file:line`, a topic.
        cure: what to do about it, if a person can do something.
    """

    fate: ClassVar[Fate]

    def __init__(self, cause: str, *, place: str = "", cure: str = "") -> None:
        super().__init__(cause)
        self.cause = cause
        self.place = place
        self.cure = cure

    def __str__(self) -> str:
        text = f"{self.place}: {self.cause}" if self.place else self.cause
        return f"{text}; {self.cure}" if self.cure else text


# ---- the line and the bus -------------------------------------------------------------------------------------------


class LineFault(DcuError):
    """The wire garbled or lost one exchange. A read is asked again at once, within its budget; an ACTION never is."""

    fate = Fate.RETRY_NOW


class FrameDamaged(LineFault):
    """A frame with a bad FCS, a bad HCS or an impossible length. Nothing of it is used."""

    fate = Fate.RETRY_NOW


class ReplyLate(LineFault):
    """No whole answer before the deadline. Whatever comes after it belongs to nobody and is flushed."""

    fate = Fate.RETRY_NOW


class Preempted(DcuError):
    """An urgent errand waits for the bus: this one ends between two exchanges and is queued again behind it."""

    fate = Fate.GIVE_WAY


class MeterSilent(DcuError):
    """The meter answered no try of this request. It is backed off; the others on the bus keep their cadence."""

    fate = Fate.RETRY_LATER


class LinkLost(DcuError):
    """The meter ended the data link (DM, FRMR) or its TCP connection closed. The meter is tried again later."""

    fate = Fate.RETRY_LATER


class VisitTooLong(DcuError):
    """A visit that did not come to its end while others of the bus waited. What it brought home stays."""

    fate = Fate.RETRY_LATER


class EchoHeard(LineFault):
    """The adapter hears what it sends, and nothing else came: the meter did not answer. The echo itself is left out.

    Named, so that a person may switch it off or know of it.
    """

    fate = Fate.RETRY_LATER


class AddressClash(LineFault):
    """Two meters answered at one address at once, as far as a garbled answer can show it. Neither is taken as good."""

    fate = Fate.RETRY_LATER


class BusFault(DcuError):
    """The port vanished or cannot be opened. The bus is closed and reopened; its meters wait."""

    fate = Fate.REOPEN_BUS


# ---- one meter ------------------------------------------------------------------------------------------------------


class AssociationRefused(DcuError):
    """The meter refused the association (AARE result, wrong secret). Long pause: tries can lock a client."""

    fate = Fate.PAUSE_METER


class ReplyForged(DcuError):
    """A reply failed its security: bad GCM tag, clear text in a ciphered association, counter not above the last.

    Nothing of it is used; the meter is paused and the head-end alarmed.
    """

    fate = Fate.PAUSE_METER


class ReplyReplayed(ReplyForged):
    """A reply whose tag is right and whose counter is not above the last: played again, or its meter counts anew."""

    fate = Fate.PAUSE_METER


class CounterExhausted(DcuError):
    """No invocation counter is left, or none could be committed ahead of use. Nothing may be sent: no nonce twice."""

    fate = Fate.PAUSE_METER


class AttributeDenied(DcuError):
    """The meter answered and refused the attribute. The object is alarmed, and asked again each day."""

    fate = Fate.DROP_OBJECT


class AttributeFailed(AttributeDenied):
    """The meter answered that it cannot give the attribute, for a reason that may pass (hardware fault, other reason).

    Nobody waits for it now; the object is asked again at a later time.
    """

    fate = Fate.RETRY_LATER


class MeterBusy(DcuError):
    """The meter answered that it cannot now (temporary failure, exception response). It is asked again later."""

    fate = Fate.RETRY_LATER


class ReplyMalformed(DcuError):
    """An answer that is not what was asked, or not well-formed A-XDR. Nothing of it is stored as a reading."""

    fate = Fate.SET_ASIDE


class CaptureMismatch(DcuError):
    """A row whose columns are not the capture objects. Nothing of it is stored as a reading."""

    fate = Fate.SET_ASIDE


class WrongMeter(DcuError):
    """The serial read from the meter is not the configured one. The meter is set aside with an alarm.

    Args:
        cause, place, cure: as all.
        found: the serial that was read.
    """

    fate = Fate.SET_ASIDE

    def __init__(self, cause: str, *, place: str = "", cure: str = "", found: str = "") -> None:
        super().__init__(cause, place=place, cure=cure)
        self.found = found


class WarrantRequired(DcuError):
    """A SET or ACTION without a warrant that covers exactly it. It is not sent; the caller has a bug."""

    fate = Fate.NEVER_RETRY


# ---- store ----------------------------------------------------------------------------------------------------------


class StoreFault(DcuError):
    """The database failed and the transaction is rolled back. The process ends: what was committed is safe."""

    fate = Fate.STOP_PROCESS


class StoreFull(StoreFault):
    """The page limit or the disk is reached. Polling stops; commands that cannot be journalled are refused."""

    fate = Fate.SHED_LOAD


class StoreDown(StoreFull):
    """Nothing can be stored for now: read-only, an I/O error, no answer, being salvaged. It comes back without a hand.

    Nothing of the caller's work is committed or ever will be. Metering goes on into a bounded memory; what has to be
    journalled first is refused.
    """

    fate = Fate.SHED_LOAD


class StoreDamaged(StoreFault):
    """The file is not what was written. The process ends; the next start salvages what can be read into a new file."""

    fate = Fate.STOP_PROCESS


class RecordDamaged(StoreFault):
    """A stored record is not what was written. It is never delivered but given up and announced; the rest flows."""

    fate = Fate.SET_ASIDE


class StoreBusy(StoreFault):
    """No end of it in time. The caller's work was begun and may or may not be committed; it asks again or gives up."""

    fate = Fate.RETRY_LATER


# ---- uplink and its socket ------------------------------------------------------------------------------------------


class SessionLost(DcuError):
    """The connection to the broker is gone or was refused. Reconnect with jitter; field goes on metering."""

    fate = Fate.RECONNECT


class PublishRefused(DcuError):
    """The broker acknowledged with something other than 0x00. The cursor holds; the record stays."""

    fate = Fate.RECONNECT


class SocketFault(DcuError):
    """A peer on a Unix socket sent what is not a message of the contract. That connection ends; the process goes on."""

    fate = Fate.END_CONNECTION


# ---- people ---------------------------------------------------------------------------------------------------------


class ConfigFault(DcuError):
    """The configuration has one or more mistakes. Exit code 3, all of them listed."""

    fate = Fate.ANSWER


class OperatorFault(DcuError):
    """A person asked for something that cannot be done. Answered on the spot; nothing changes."""

    fate = Fate.ANSWER
