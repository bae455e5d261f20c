"""A poll as the examples of gurux_dlms write it: one request an attribute, all of it asked anew, a session a poll."""

import contextlib
import io

from gurux_dlms import GXDLMSClient
from gurux_dlms.enums import Authentication, Conformance, InterfaceType, Security
from gurux_dlms.objects import GXDLMSClock, GXDLMSProfileGeneric, GXDLMSRegister
from gurux_dlms.secure import GXDLMSSecureClient

from bench.counted_line import CountedLine, Used
from bench.gurux_session import GuruxSession
from dcu import obis
from dcu.drivers.security import client_title
from dcu.obis import LogicalName
from dcu.sim import MeterConfig, MeterKeys

READER = 32
ROWS = 48


class _Session(GuruxSession):
    def read(self, target, attribute: int) -> None:
        """One attribute."""
        self.client.updateValue(target, attribute, self.ask(self.client.read(target, attribute)).value)


def naive_poll(config: MeterConfig, keys: MeterKeys, registers: tuple[LogicalName, ...]) -> Used:
    """What it uses: SNRM, AARQ, clock, value and scaler of each register, capture objects, 48 rows, DISC."""
    line = CountedLine(config)
    server = GXDLMSClient.getServerAddress(1, config.address)
    client = GXDLMSSecureClient(True, READER, server, Authentication.LOW, keys.lls, InterfaceType.HDLC)
    client.ciphering.security = Security.AUTHENTICATION_ENCRYPTION
    client.ciphering.systemTitle = client_title("NAIVE")
    client.ciphering.blockCipherKey = keys.guek
    client.ciphering.authenticationKey = keys.gak
    client.ciphering.invocationCounter = 1
    client.proposedConformance &= ~Conformance.GENERAL_PROTECTION
    client.maxReceivePDUSize = 1024
    session = _Session(client, line.exchange)
    with contextlib.redirect_stdout(io.StringIO()):  # gurux prints at each APDU that it deciphers
        client.parseUAResponse(session.ask(client.snrmRequest()).data)
        client.parseAareResponse(session.ask(client.aarqRequest()).data)
        session.read(GXDLMSClock("0.0.1.0.0.255"), 2)
        for name in registers:
            register = GXDLMSRegister(str(name))
            session.read(register, 3)
            session.read(register, 2)
        profile = GXDLMSProfileGeneric(str(obis.BLOCK_LOAD))
        session.read(profile, 3)
        held = len(line.meter.rows(str(obis.BLOCK_LOAD)))
        rows = session.ask(client.readRowsByEntry(profile, held - ROWS + 1, ROWS))
        client.updateValue(profile, 2, rows.value)
        if len(profile.buffer) != ROWS:
            raise AssertionError(f"{len(profile.buffer)} rows where {ROWS} were asked for")
        session.ask(client.disconnectRequest())
    return line.used
