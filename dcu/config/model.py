"""What a valid configuration is, as values. The file's own form is in `config/dcu.example.toml`."""

from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Literal
from zoneinfo import ZoneInfo

from dcu.meter import Meter


class BusKind(Enum):
    """How the meters of a bus are reached."""

    RS485 = "rs485"  # DLMS over HDLC on a serial port
    WRAPPER = "wrapper"  # DLMS over TCP; each meter names its host
    HDLC_TCP = "hdlc-tcp"  # HDLC through a TCP connection; each meter names its host or its gateway

    @property
    def is_tcp(self) -> bool:
        """Whether each meter names a host, and a pool of workers speaks to them."""
        return self is not BusKind.RS485


@dataclass(frozen=True, slots=True)
class DcuConfig:
    """The box.

    Attributes:
        id: its name, as in its certificate and in every signed document.
        state_dir: holds the store.
        run_dir: holds the two Unix sockets.
        timezone: of the meters' clocks and of what is shown; nobody is disconnected at night by it.
        secrets: file of the meters' keys.
        models: directory of the box's own models.
        clock_assumed: the kernel's clock is taken for right though nothing disciplines it: for a bench.
    """

    id: str
    state_dir: Path
    run_dir: Path
    timezone: ZoneInfo
    clock_assumed: bool = False
    secrets: Path | None = None
    models: Path | None = None

    @property
    def store_file(self) -> Path:
        """Where the store is."""
        return self.state_dir / "dcu.db"


@dataclass(frozen=True, slots=True)
class UplinkConfig:
    """The broker and the identity that the box shows it.

    Attributes:
        host, port: of `mqtts://host:port`.
        ca: authority that signed the broker's certificate.
        certificate, key: the box's own.
        encoding: of batches.
        backoff_max_s: longest wait between two attempts to connect.
    """

    host: str
    port: int
    ca: Path
    certificate: Path
    key: Path
    encoding: Literal["cbor", "json"]
    backoff_max_s: float


@dataclass(frozen=True, slots=True)
class StoreConfig:
    """The box's store. `max_mb`: most that its file may take, readings are shed near it; None: by the disk's size."""

    max_mb: int | None = None


@dataclass(frozen=True, slots=True)
class TrustConfig:
    """Whom the box obeys, and the key that signs its receipts."""

    keys: Path
    signing_key: Path


@dataclass(frozen=True, slots=True)
class PollConfig:
    """Cadences in seconds; rings are polled by their own capture periods.

    `history_days` is how far back the first visit to a meter reaches into its profiles; `clock_limit_s` is how far a
    meter's clock may be from the box's before that is told.
    """

    snapshot_s: int
    balance_s: int
    health_s: int
    history_days: int
    clock_limit_s: int = 60


@dataclass(frozen=True, slots=True)
class BusConfig:
    """One line.

    Attributes:
        name: as the meters name it.
        kind: how meters on it are reached.
        port: serial port of an RS-485 line; empty on TCP.
        baud: of an RS-485 line.
        reply_s: how long a meter may take to begin its answer.
        workers: on TCP: to how many meters it speaks at once, one of them kept for relay errands.
    """

    name: str
    kind: BusKind
    port: str
    baud: int
    reply_s: int
    workers: int = 1


@dataclass(frozen=True, slots=True)
class Config:
    """A whole valid configuration."""

    path: Path
    dcu: DcuConfig
    uplink: UplinkConfig
    trust: TrustConfig
    poll: PollConfig
    buses: tuple[BusConfig, ...]
    meters: tuple[Meter, ...]
    store: StoreConfig = StoreConfig()

    def meters_on(self, bus: str) -> tuple[Meter, ...]:
        """Meters of one bus, in the order of the file."""
        return tuple(m for m in self.meters if m.bus == bus)
