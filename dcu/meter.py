"""Meters as the box knows them: model, association, address, identity. Values only; no I/O.

Source: IS 15959 client table (reference/is15959.md 1.1), Blue Book class ids.
"""

from dataclasses import dataclass, field
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
        ciphered: suite 0 with authentication and encryption on every APDU.
        invocation_counter: where the meter publishes the counter it last accepted of this client (class 1 attribute 2,
            readable by the public client); None for a clear association.
    """

    client_sap: int
    mechanism: Mechanism
    ciphered: bool
    invocation_counter: LogicalName | None = None


class ProfileKind(Enum):
    """How a profile's buffer behaves."""

    RING = "ring"  # one row a capture period: intervals are expected, gaps are known
    SNAPSHOT = "snapshot"  # one row, the present


@dataclass(frozen=True, slots=True)
class ProfileSpec:
    """One class 7 profile to be read.

    Attributes:
        logical_name: of the profile.
        scalers: logical name of its scaler profile, or None where there is none.
        kind: ring or snapshot.
    """

    logical_name: LogicalName
    scalers: LogicalName | None
    kind: ProfileKind


@dataclass(frozen=True, slots=True)
class MeterModel:
    """What all meters of one make and type have in common.

    Attributes:
        name: as the configuration names it.
        server_sap: logical device (upper HDLC address, wrapper destination).
        associations: one per purpose.
        profiles: what is read on schedule.
        balance: payment and balance registers, read on schedule into the `credit` stream; empty where there are none.
        max_info_bytes: HDLC information field proposed in SNRM.
        max_pdu_bytes: xDLMS PDU proposed in InitiateRequest.
    """

    name: str
    server_sap: int
    associations: dict[Purpose, AssociationSpec]
    profiles: tuple[ProfileSpec, ...]
    balance: tuple[AttributeRef, ...] = ()
    max_info_bytes: int = 128
    max_pdu_bytes: int = 1024


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
        sim: a virtual meter: the only kind whose relay may be opened until command authority is complete.
    """

    serial: str
    bus: str
    model: MeterModel
    address: int
    area: str
    secrets: MeterSecrets = field(default_factory=MeterSecrets, repr=False)
    host: str = ""
    port: int = 4059
    sim: bool = False
