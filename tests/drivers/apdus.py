"""A virtual meter behind a data link that carries whole APDUs: no frames, and every octet of a reply in hand."""

import struct
from dataclasses import replace

from dcu.config.meter_models import shipped
from dcu.drivers.association import Caller
from dcu.drivers.counters import CounterBook
from dcu.drivers.security import client_title
from dcu.meter import AssociationSpec, Mechanism, Meter, Protection, Purpose
from dcu.obis import LogicalName
from dcu.sim import MeterConfig, VirtualMeter

from .bench import KEYS, NOW, SECRETS, SERIAL, ZONE, Vault
from .line import FakeTime

READER, SETTING = 32, 48
PUBLISHED = {READER: LogicalName.of("0.0.43.1.2"), SETTING: LogicalName.of("0.0.43.1.3")}


class ApduLink:
    """A DataLink to one client of the meter. What passes is noted in `passed`: (sent, heard)."""

    def __init__(self, table, client_sap):
        self.table = table
        self.client_sap = client_sap
        self.port = table.virtual.wrapper_port()
        self.closed = 0

    def open(self):
        pass

    def exchange(self, apdu, *, once):
        del once
        message = struct.pack(">4H", 1, self.client_sap, 1, len(apdu)) + apdu
        answers = self.table.virtual.converse(self.port, message)
        heard = self.table.garble(apdu, answers[0][8:])
        if self.client_sap != 16:
            self.table.passed.append((apdu, heard))
        return heard

    def keep_alive(self):
        return True

    def settle(self):
        pass

    def close(self):
        self.closed += 1


class Table:
    """One meter and one caller; `garble(sent, answer)` may alter what is heard.

    Args:
        mechanism: of the client: LLS is the reader's, the others are the utility setting client's.
        protection: of both sides.
        options: of the AssociationSpec.
        meter: of the MeterConfig.
    """

    def __init__(self, mechanism=Mechanism.LLS, protection=Protection.BOTH, *, meter=None, vault=None, **options):
        self.purpose = Purpose.READ if mechanism is Mechanism.LLS else Purpose.SWITCH
        sap = READER if mechanism is Mechanism.LLS else SETTING
        said = {"protection": protection.name.lower(), "general": options.get("general", False)}
        said["mechanism"] = "gmac" if mechanism is Mechanism.HLS_GMAC else "secret"
        config = MeterConfig(SERIAL, 17, KEYS, **(said | (meter or {})))
        self.virtual = VirtualMeter(config, now=lambda: NOW)
        options.setdefault("invocation_counter", PUBLISHED[sap] if protection is not Protection.NONE else None)
        spec = AssociationSpec(sap, mechanism, protection, **options)
        model = shipped()["is15959-1ph"]
        model = replace(model, associations={**model.associations, self.purpose: spec})
        self.meter = Meter(SERIAL, "north", model, 17, "JH-RNC", SECRETS)
        self.client_sap = sap
        self.vault = vault or Vault()
        self.told = []
        self.garble = lambda _sent, answer: answer
        self.passed = []
        self.links = []
        self.restart()

    def restart(self):
        """A new process of the box, with the vault as it is."""
        self.book = CounterBook(self.vault, lambda *said: self.told.append(said))
        self.caller = Caller(self._link, self.book, client_title("JH-RNC-0042"), ZONE, FakeTime(), lambda: None)

    def _link(self, _meter, client_sap):
        self.links.append(ApduLink(self, client_sap))
        return self.links[-1]

    def open(self):
        return self.caller.open(self.meter, self.purpose)

    def associate(self):
        return self.caller.associate(self.meter, self.purpose)
