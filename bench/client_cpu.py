"""Client CPU time against stock gurux_dlms for the same answers of a meter: HDLC, information field 128, PDU 1024.

Each session is spoken once with a virtual meter in memory and recorded; then it is replayed to the client, octet for
octet, and only the client's own CPU time counts: framing, ciphering, codec, and rows as values that can be used. Both
read the same rows and registers of the same meter, in requests of the same number and kind.
"""

import contextlib
import gc
import hashlib
import io
import itertools
import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from unittest import mock
from zoneinfo import ZoneInfo

from gurux_dlms import GXDLMSClient
from gurux_dlms.enums import Authentication, Conformance, InterfaceType, Security
from gurux_dlms.objects import GXDLMSProfileGeneric, GXDLMSRegister
from gurux_dlms.secure import GXDLMSSecureClient

from bench.figure import Figure, at_least
from bench.gurux_session import Exchange, GuruxSession
from bench.vault import Vault
from dcu import obis
from dcu.config.meter_models import shipped
from dcu.drivers import hdlc
from dcu.drivers.association import Caller
from dcu.drivers.counters import CounterBook
from dcu.drivers.data_link import HdlcOffer, LineTiming
from dcu.drivers.hdlc_link import HdlcLink
from dcu.drivers.security import client_title
from dcu.meter import AttributeRef, ByEntry, ClassId, Meter, MeterSecrets, Protection, Purpose
from dcu.obis import LogicalName
from dcu.ports import Association, RowsWanted
from dcu.sim import MeterConfig, MeterKeys, VirtualMeter

ZONE = ZoneInfo("Asia/Kolkata")
KEYS = MeterKeys(guek=bytes(range(16)), gak=bytes(range(16, 32)), lls=b"bench-pw", hls=bytes(range(32, 48)))
SERIAL = "BENCH0000001"
REPLAYS = 3
REPLAYED_S = 1.0
"""Each piece of work is replayed so often and so long, and the least counts: others use the machine too."""
ADDRESS = 17
NOW = 1_795_000_000.0
TITLE = client_title("BENCH-0001")
READER, SETTING = 32, 48

CODES = ("12.7", "11.7", "91.7", "13.7", "14.7", "9.7", "1.7", "1.8", "9.8", "2.8")
REGISTERS = [LogicalName.of(f"1.0.{code}.0") for code in CODES]
REFS = [AttributeRef(ClassId.REGISTER, name, 2) for name in REGISTERS]


Work = Callable[[], int]
"""One piece of work in an open association; how many values it brought."""

Opened = Callable[[Exchange], dict[str, Work]]
"""Opens an association; the pieces of work that can be done in it."""


class _Recorder:
    """A meter whose answers are remembered in their order."""

    def __init__(self, meter: VirtualMeter) -> None:
        self._meter = meter
        self.answers: list[list[bytes]] = []

    def __call__(self, octets: bytes) -> list[bytes]:
        answer = [bytes(each) for each in self._meter.receive(octets, 0.0)]
        self.answers.append(answer)
        return answer


class _Replayer:
    """The answers again."""

    def __init__(self, answers: list[list[bytes]]) -> None:
        self._answers = iter(answers)

    def __call__(self, _octets: bytes) -> list[bytes]:
        return next(self._answers)


@contextlib.contextmanager
def _same_dice() -> Iterator[None]:
    """Challenges that are the same in each session."""
    numbers = itertools.count()
    with mock.patch.object(secrets, "token_bytes", lambda n: hashlib.sha256(b"%d" % next(numbers)).digest()[:n]):
        yield


# ---- ours ----


class _Line:
    """A ByteLink whose answers are there at once; where none is, its time jumps to the deadline."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._coming: list[bytes] = []
        self._taken = 0
        self._now_s = 0.0

    def monotonic(self) -> float:
        return self._now_s

    def send(self, octets: bytes) -> None:
        self._coming = self._exchange(octets)
        self._taken = 0

    def receive(self, deadline_s: float) -> bytes:
        if self._taken < len(self._coming):
            self._taken += 1
            return self._coming[self._taken - 1]
        self._now_s = max(self._now_s, deadline_s)
        return b""

    def flush_input(self) -> None:
        self._coming = []

    def close(self) -> None:
        pass


def _ours(ciphered: bool, rows: int) -> Opened:
    model = shipped()["is15959-1ph-gmac"]
    if not ciphered:
        clear = {which: replace(spec, protection=Protection.NONE) for which, spec in model.associations.items()}
        model = replace(model, associations=clear)
    meter = Meter(SERIAL, "bench", model, ADDRESS, "B", MeterSecrets(KEYS.guek, KEYS.gak, KEYS.lls, KEYS.hls))
    purpose = Purpose.SWITCH if ciphered else Purpose.READ

    def opened(exchange: Exchange) -> dict[str, Work]:
        def link(meter: Meter, client_sap: int) -> HdlcLink:
            client, server = hdlc.client_address(client_sap), hdlc.server_address(1, meter.address)
            line = _Line(exchange)
            return HdlcLink(line, client, server, HdlcOffer(128, 1), LineTiming(), line.monotonic, SERIAL)

        book = CounterBook(Vault())
        book.learn(SERIAL, SETTING, 0)
        association = Caller(link, book, TITLE, ZONE, lambda: 0.0, lambda: None).open(meter, purpose).association
        association.identify()
        layout = association.layout(obis.BLOCK_LOAD, obis.BLOCK_LOAD_SCALERS)
        return {"rows": lambda: _our_rows(association, layout, rows), "ten": lambda: _our_ten(association)}

    return opened


def _our_rows(association: Association, layout, rows: int) -> int:
    wanted = RowsWanted(obis.BLOCK_LOAD, layout, ByEntry(1, rows), 900)
    [found] = association.poll([], [wanted]).rows
    assert not isinstance(found, Exception)
    return sum(1 + len(row.values) for row in found)


def _our_ten(association: Association) -> int:
    return len([association.get(ref) for ref in REFS])


# ---- gurux ----


class _Gurux(GuruxSession):
    def __init__(self, client: GXDLMSClient, exchange: Exchange) -> None:
        super().__init__(client, exchange)
        self.registers = [GXDLMSRegister(str(name)) for name in REGISTERS]

    def open(self) -> None:
        client = self.client
        client.parseUAResponse(self.ask(client.snrmRequest()).data)
        client.parseAareResponse(self.ask(client.aarqRequest()).data)
        if client.isAuthenticationRequired:
            proof = self.ask(client.getApplicationAssociationRequest())
            client.parseApplicationAssociationResponse(proof.data)


def _gurux(ciphered: bool, rows: int) -> Opened:
    def opened(exchange: Exchange) -> dict[str, Work]:
        server = GXDLMSClient.getServerAddress(1, ADDRESS)
        if ciphered:
            client = GXDLMSSecureClient(True, SETTING, server, Authentication.HIGH_GMAC, None, InterfaceType.HDLC)
            client.ciphering.security = Security.AUTHENTICATION_ENCRYPTION
            client.ciphering.systemTitle = TITLE
            client.ciphering.blockCipherKey = KEYS.guek
            client.ciphering.authenticationKey = KEYS.gak
            client.ciphering.invocationCounter = 1
            client.ctoSChallenge = bytes(range(16))
        else:
            client = GXDLMSClient(True, READER, server, Authentication.LOW, KEYS.lls, InterfaceType.HDLC)
        client.proposedConformance &= ~Conformance.GENERAL_PROTECTION
        client.maxReceivePDUSize = 1024
        session = _Gurux(client, exchange)
        session.open()
        profile = GXDLMSProfileGeneric(str(obis.BLOCK_LOAD))
        client.updateValue(profile, 3, session.ask(client.read(profile, 3)).value)
        return {"rows": lambda: _their_rows(session, profile, rows), "ten": lambda: _their_ten(session)}

    return opened


def _their_rows(session: _Gurux, profile: GXDLMSProfileGeneric, rows: int) -> int:
    reply = session.ask(session.client.readRowsByEntry(profile, 1, rows))
    session.client.updateValue(profile, 2, reply.value)
    return sum(len(row) for row in profile.buffer)


def _their_ten(session: _Gurux) -> int:
    for register in session.registers:
        session.client.updateValue(register, 2, session.ask(session.client.read(register, 2)).value)
    return len(REGISTERS)


# ---- measuring ----


@dataclass(frozen=True, slots=True)
class Compared:
    """CPU seconds of one piece of work, of both, and the octets that they heard."""

    work: str
    ciphered: bool
    ours_s: float
    theirs_s: float
    octets: int

    @property
    def ratio(self) -> float:
        """How many times less."""
        return self.theirs_s / self.ours_s


def _measured(opened: Opened, work: str, *, ciphered: bool, rows: int, loops: int) -> tuple[float, int, int]:
    """(CPU seconds of the work, values brought, octets heard): the least of some replays of `loops` times the work."""
    config = MeterConfig(
        SERIAL, ADDRESS, KEYS, mechanism="gmac", ciphered=ciphered, history_s=(rows + 8) * 900, max_pdu=1024
    )
    recorder = _Recorder(VirtualMeter(config, now=lambda: NOW))
    with _same_dice():
        piece = opened(recorder)[work]
        mark = len(recorder.answers)
        values = piece()
        octets = sum(len(answer) for answers in recorder.answers[mark:] for answer in answers)
        for _ in range(loops - 1):
            piece()
    taken: list[float] = []
    while len(taken) < REPLAYS or sum(taken) < REPLAYED_S:
        with _same_dice():
            piece = opened(_Replayer(recorder.answers))[work]
        gc.collect()
        began = time.thread_time()
        for _ in range(loops):
            again = piece()
        taken.append(time.thread_time() - began)
        assert again == values
    return min(taken) / loops, values, octets


def compare(work: str, *, ciphered: bool, rows: int = 48, loops: int = 10) -> Compared:
    """One piece of work: `rows` of the block load in one GET, or `ten` registers in ten."""
    with contextlib.redirect_stdout(io.StringIO()):  # gurux prints at each APDU that it deciphers
        theirs_s, theirs, their_octets = _measured(
            _gurux(ciphered, rows), work, ciphered=ciphered, rows=rows, loops=loops
        )
        ours_s, ours, our_octets = _measured(_ours(ciphered, rows), work, ciphered=ciphered, rows=rows, loops=loops)
    if (ours, our_octets) != (theirs, their_octets):
        raise AssertionError(f"{work}: {ours} values of {our_octets} octets, {theirs} of {their_octets} with gurux")
    return Compared(work, ciphered, ours_s, theirs_s, our_octets)


CASES = (
    ("48 rows, ciphered", "rows", True, 48, 20),
    ("2,880 rows, ciphered", "rows", True, 2880, 30),
    ("ten registers, ciphered", "ten", True, 48, 40),
    ("48 rows, clear", "rows", False, 48, 6),
    ("2,880 rows, clear", "rows", False, 2880, 6),
    ("ten registers, clear", "ten", False, 48, 6),
)
"""(what, work, ciphered, rows, least ratio)."""


def figures() -> list[Figure]:
    """CPU time of stock gurux over ours, for the same answers of a meter."""
    found = []
    for what, work, ciphered, rows, least in CASES:
        compared = compare(work, ciphered=ciphered, rows=rows, loops=30 if rows < 100 else 1)
        found.append(at_least(f"client CPU, {what}", compared.ratio, least, "gurux/ours", digits=1))
    return found
