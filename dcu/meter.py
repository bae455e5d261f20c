"""Meters as the box knows them: model, association, address, identity. Values only; no I/O.

Source: IS 15959 client table (reference/is15959.md 1.1), Blue Book class ids.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum, IntEnum

from dcu.obis import LogicalName


class ClassId(IntEnum):
    """COSEM interface classes in use here (Blue Book clause 4)."""

    DATA = 1
    REGISTER = 3
    EXTENDED_REGISTER = 4
    PROFILE_GENERIC = 7
    CLOCK = 8
    ASSOCIATION_LN = 15
    HDLC_SETUP = 23
    SECURITY_SETUP = 64
    DISCONNECT_CONTROL = 70
    LIMITER = 71


class Mechanism(IntEnum):
    """Authentication mechanism id of an association (Green Book 9.2.2.2)."""

    NONE = 0
    LLS = 1
    HLS_SECRET = 2  # each side encrypts the other's challenge with the HLS secret: what Indian meters use
    HLS_GMAC = 5


@dataclass(frozen=True, slots=True)
class AttributeRef:
    """One attribute of one COSEM object, as a GET or SET names it."""

    class_id: int
    logical_name: LogicalName
    attribute: int

    @classmethod
    def of(cls, text: str) -> "AttributeRef":
        """From `3:1.0.12.7.0.255/2`; group F may be left out. Raises ValueError for anything else."""
        class_id, _, rest = text.partition(":")
        name, _, attribute = rest.partition("/")
        if not (class_id.isdecimal() and attribute.isdecimal() and int(class_id) < 1 << 16 and int(attribute) < 128):
            raise ValueError(f"{text!r} is no attribute")
        return cls(int(class_id), LogicalName.of(name), int(attribute))

    def __str__(self) -> str:
        return f"{self.class_id}:{self.logical_name}/{self.attribute}"


@dataclass(frozen=True, slots=True)
class MethodRef:
    """One method of one COSEM object, as an ACTION names it."""

    class_id: int
    logical_name: LogicalName
    method: int

    def __str__(self) -> str:
        return f"{self.class_id}:{self.logical_name}({self.method})"


@dataclass(frozen=True, slots=True)
class ByRange:
    """Selective access 1: rows with since <= captured_at <= until; both aware."""

    since: datetime
    until: datetime


@dataclass(frozen=True, slots=True)
class ByEntry:
    """Selective access 2: entries first..last of the buffer, counted from 1; a `last` of 0 is the end."""

    first: int
    last: int


Selection = ByRange | ByEntry | None
"""Which rows of a buffer; None is all of them."""


class Protection(Enum):
    """What suite 0 does to the APDUs of an association: bits of the security control octet (Green Book 9.2.7.2.4)."""

    NONE = 0x00
    AUTHENTICATED = 0x10
    ENCRYPTED = 0x20
    BOTH = 0x30


class Purpose(Enum):
    """Why an association is opened; the model says which client that is."""

    IDENTIFY = "identify"  # public client: serial, clock, the other clients' invocation counters
    READ = "read"  # meter reader
    SWITCH = "switch"  # utility setting: writes and actions, warrants only


@dataclass(frozen=True, slots=True)
class AssociationSpec:
    """How one client of a meter opens its association.

    Attributes:
        client_sap: client service access point, e.g. 16 public, 32 meter reader, 48 utility setting.
        mechanism: authentication mechanism.
        protection: of every APDU, both ways.
        invocation_counter: where the meter publishes the counter it last accepted of this client (class 1 attribute 2,
            readable by the public client); None where it publishes none: the box's own count stands alone.
        general: general-glo-ciphering (0xDB) in the place of the service-specific tags.
        dedicated_key: a fresh key for each association, handed over in its InitiateRequest.
        encrypted_only_replies: replies that are encrypted and carry no tag are taken too. They prove nothing; some real
            meters give no others (reference/is15959.md 1.2).
        protected_release: RLRQ carries a ciphered InitiateRequest.
        counter_restarts: the meter counts its own APDUs anew in each association. An old association can then be played
            to the box again, without alarm; of other meters one that begins lower than the last is refused at first.
    """

    client_sap: int
    mechanism: Mechanism
    protection: Protection = Protection.NONE
    invocation_counter: LogicalName | None = None
    general: bool = False
    dedicated_key: bool = False
    encrypted_only_replies: bool = False
    protected_release: bool = True
    counter_restarts: bool = False

    @property
    def ciphered(self) -> bool:
        """Whether APDUs are protected at all."""
        return self.protection is not Protection.NONE


class ProfileKind(Enum):
    """How a profile's buffer behaves."""

    RING = "ring"  # one row a capture period: intervals are expected, gaps are known
    SNAPSHOT = "snapshot"  # one row, the present
    BILLING = "billing"  # one row a billing reset, and often the present as one more: read by entry, newest first
    EVENTS = "events"  # one row an event: read by entry from the newest row that is held
    NAMEPLATE = "nameplate"  # one row that changes with the firmware only


@dataclass(frozen=True, slots=True)
class ProfileSpec:
    """One class 7 profile to be read.

    Attributes:
        name: what people call it: `block-load`; unique in a model.
        logical_name: of the profile.
        scalers: logical name of its scaler profile, or None where there is none.
        kind: how its buffer behaves.
        every_s: how often it is read; 0: a ring by its own capture period, others as the configuration says.
    """

    name: str
    logical_name: LogicalName
    scalers: LogicalName | None
    kind: ProfileKind
    every_s: int = 0


class Quirk(Enum):
    """What meters of a model get wrong, and the box goes round."""

    NO_LIST = "no-get-with-list"  # grants multiple references and fails
    NO_RANGE = "no-range-access"  # grants selective access, and only by entry works
    MODE_E = "mode-e"  # optical head: IEC 62056-21 mode E opening before HDLC


class Amount(Enum):
    """Unit of a meter's money registers; no standard says which (reference/is15959.md 2.11)."""

    RUPEE = "rupee"
    PAISE = "paise"


@dataclass(frozen=True, slots=True)
class MeterModel:
    """What all meters of one make and type have in common.

    Attributes:
        name: as the configuration names it.
        server_sap: logical device (upper HDLC address, wrapper destination).
        associations: one per purpose.
        profiles: what is read on schedule.
        balance: payment and balance registers, read on schedule into the `credit` stream; empty where there are none.
        states: relay, limiter, metering and payment mode, read and stored with the balance.
        title: one line for people.
        max_info_bytes: HDLC information field proposed in SNRM, at most; the line's speed may allow less.
        window: HDLC window proposed in SNRM, at most.
        max_pdu_bytes: xDLMS PDU proposed in InitiateRequest.
        address_octets: of the HDLC server address: 1, 2 or 4; 0 as few as hold it.
        keep_open: the association may stay open between polls.
        release: RLRQ goes before the end of an HDLC link; without it DISC alone ends the association too.
        inactivity_s: the meter ends an idle link after so long; 0 never.
        event_codes: meaning of each event code that is known.
        amount: unit of the money registers.
        quirks: known faults.
    """

    name: str
    server_sap: int
    associations: Mapping[Purpose, AssociationSpec]
    profiles: tuple[ProfileSpec, ...]
    balance: tuple[AttributeRef, ...] = ()
    states: tuple[AttributeRef, ...] = ()
    title: str = ""
    max_info_bytes: int = 128
    window: int = 1
    max_pdu_bytes: int = 1024
    address_octets: int = 0
    keep_open: bool = False
    release: bool = True
    inactivity_s: int = 120
    event_codes: Mapping[int, str] = field(default_factory=dict)
    amount: Amount = Amount.PAISE
    quirks: frozenset[Quirk] = frozenset()

    @property
    def balance_and_states(self) -> tuple[AttributeRef, ...]:
        """What a `credit` record carries, each once: the payment mode is of both."""
        return tuple(dict.fromkeys((*self.balance, *self.states)))


@dataclass(frozen=True, slots=True)
class MeterSecrets:
    """Keys of one meter; never printed.

    Attributes:
        unicast_key: GUEK, 16 bytes.
        authentication_key: GAK, 16 bytes.
        lls_secret: password of the meter reader.
        hls_secret: secret of the utility setting client (mechanism 2).
    """

    unicast_key: bytes = field(default=b"", repr=False)
    authentication_key: bytes = field(default=b"", repr=False)
    lls_secret: bytes = field(default=b"", repr=False)
    hls_secret: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class Meter:
    """One configured meter.

    Attributes:
        serial: identity, as text: leading zeros count. Must match what the meter says.
        bus: name of its line in the configuration.
        model: its model.
        address: physical device address (lower HDLC address); 0 on the wrapper.
        area: must agree with the signed policy.
        secrets: its keys.
        host, port: endpoint on TCP lines; empty on RS-485.
    """

    serial: str
    bus: str
    model: MeterModel
    address: int
    area: str
    secrets: MeterSecrets = field(default_factory=MeterSecrets, repr=False)
    host: str = ""
    port: int = 4059
