"""The least client that can speak to a virtual meter in a test: requests by hand, answers by their octets."""

import struct

from dcu.sim import MeterConfig, MeterKeys, VirtualMeter, security
from dcu.sim.axdr import Datum, array, decode, encode, i8, octets, structure, u16, u32
from dcu.sim.hdlc import Frame, parse
from dcu.sim.objects import logical_name

KEYS = MeterKeys(guek=bytes(range(16)), gak=bytes(range(0xD0, 0xE0)), lls=b"reader01", hls=b"0123456789abcdef")
TITLE = b"MMM\x00\x00\x00\x00\x01"
CONFORMANCE = 0x00521D
NOON = 1_798_000_200.0  # 2026-12-23T04:30:00Z, ten in the morning at the meter
RESPONSE = {0xC8: 0xCC, 0xC9: 0xCD, 0xCB: 0xCF}
GLO = {0xC0: 0xC8, 0xC1: 0xC9, 0xC3: 0xCB}


class Clock:
    """A `now` that stands still until told."""

    def __init__(self, at=NOON):
        self.at = at

    def __call__(self):
        return self.at


def meter(clock=None, ledger=None, **changes):
    defaults = {"serial": "GXT00017", "keys": KEYS}
    return VirtualMeter(MeterConfig(**(defaults | changes)), now=clock or Clock(), ledger=ledger)


def initiate(pdu=1024, conformance=CONFORMANCE, version=6):
    return (
        b"\x01\x00\x00\x00"
        + bytes([version])
        + b"\x5f\x1f\x04\x00"
        + conformance.to_bytes(3, "big")
        + struct.pack(">H", pdu)
    )


def field(code, body):
    return bytes([code, len(body)]) + body


def aarq(user, *, context=1, mechanism=None, secret=b"", title=b""):
    body = field(0xA1, field(6, bytes.fromhex("608574050801") + bytes([context])))
    if title:
        body += field(0xA6, field(4, title))
    if mechanism is not None:
        body += field(0x8A, b"\x07\x80") + field(0x8B, bytes.fromhex("608574050802") + bytes([mechanism]))
    if secret:
        body += field(0xAC, field(0x80, secret))
    return field(0x60, body + field(0xBE, field(4, user)))


def element(apdu, code):
    """Contents of one field of an AARE."""
    at = 2
    while at < len(apdu):
        if apdu[at] == code:
            return apdu[at + 2 : at + 2 + apdu[at + 1]]
        at += 2 + apdu[at + 1]
    return None


def verdict(apdu):
    """(result, diagnostic) of an AARE."""
    return element(apdu, 0xA2)[-1], element(apdu, 0xA3)[-1]


def descriptor(class_id, name, member):
    return class_id.to_bytes(2, "big") + logical_name(name) + bytes([member])


def get_apdu(class_id, name, member, selection=None):
    tail = b"\x00" if selection is None else b"\x01" + bytes([selection[0]]) + encode(selection[1])
    return b"\xc0\x01\x81" + descriptor(class_id, name, member) + tail


def set_apdu(class_id, name, member, value):
    return b"\xc1\x01\x81" + descriptor(class_id, name, member) + b"\x00" + encode(value)


def action_apdu(class_id, name, member, value):
    return b"\xc3\x01\x81" + descriptor(class_id, name, member) + b"\x01" + encode(value)


class Talk:
    """One client of one meter over the wrapper, optionally ciphered."""

    def __init__(self, virtual, client, keys=KEYS):
        self.meter = virtual
        self.client = client
        self.keys = keys
        self.port = virtual.wrapper_port()
        self.ciphered = False
        self.counter = virtual.credentials.last_counter(client)
        self.heard_counter = -1
        self.last_aare = b""

    def raw(self, apdu):
        """One APDU as it is; the answer as it is, or None."""
        message = struct.pack(">4H", 1, self.client, 1, len(apdu)) + apdu
        answers = self.meter.converse(self.port, message)
        if not answers:
            return None
        assert len(answers) == 1
        assert answers[0][:8] == struct.pack(">4H", 1, 1, self.client, len(answers[0]) - 8)
        return answers[0][8:]

    def seal(self, tag, apdu, title=TITLE):
        self.counter += 1
        return security.cipher(self.keys, title, self.counter, tag, apdu)

    def unseal(self, apdu):
        self.heard_counter, plain = security.decipher(self.keys, self.meter.credentials.system_title, apdu)
        return plain

    def ask(self, apdu):
        """A clear APDU, ciphered on the way if the association is; the clear answer."""
        if not self.ciphered:
            return self.raw(apdu)
        answer = self.raw(self.seal(GLO[apdu[0]], apdu))
        if answer is None or answer[0] == 0xD8:
            return answer
        assert answer[0] == RESPONSE[GLO[apdu[0]]]
        return self.unseal(answer)

    def open(self, pdu=1024, conformance=CONFORMANCE):
        """Associate as this meter's configuration wants; asserts that it worked."""
        config = self.meter.config
        ciphered = config.ciphered and self.client != 16
        user = initiate(pdu, conformance)
        if ciphered:
            user = self.seal(0x21, user)
        context = 3 if ciphered else 1
        title = TITLE if ciphered or self.client == 48 else b""
        if self.client == 16 or (self.client == 32 and config.reader_mechanism == "none"):
            self.last_aare = self.raw(aarq(user, context=context, title=title))
        elif self.client == 32:
            self.last_aare = self.raw(aarq(user, context=context, mechanism=1, secret=config.keys.lls, title=title))
        else:
            mechanism = 5 if config.mechanism == "gmac" else 2
            own = bytes(range(0x40, 0x50))
            self.last_aare = self.raw(aarq(user, context=context, mechanism=mechanism, secret=own, title=title))
        assert element(self.last_aare, 0xA2)[-1] == 0, self.last_aare.hex()
        self.ciphered = ciphered
        if self.client == 48:
            self.prove(own)
        return self

    def prove(self, own):
        """Pass 3 and 4."""
        config, keys = self.meter.config, self.keys
        assert verdict(self.last_aare) == (0, 14)
        theirs = element(self.last_aare, 0xAA)[2:]
        if config.mechanism == "gmac":
            self.counter += 1
            proof = security.gmac(keys, TITLE, self.counter, theirs)
        else:
            proof = security.ecb(keys.hls, theirs)
        answer = self.ask(action_apdu(15, "0.0.40.0.0", 1, octets(proof)))
        assert answer[:6] == b"\xc7\x01\x81\x00\x01\x00", answer.hex()
        returned = decode(answer[6:]).value
        if config.mechanism == "gmac":
            counter = int.from_bytes(returned[1:5], "big")
            assert returned == security.gmac(keys, self.meter.credentials.system_title, counter, own)
        else:
            assert returned == security.ecb(keys.hls, own)

    def get(self, class_id, name, member=2, selection=None):
        """Value of an attribute, blocks put together; an int where it is refused."""
        answer = self.ask(get_apdu(class_id, name, member, selection))
        raw = b""
        while answer[1] == 2:
            assert answer[8] == 0, answer.hex()
            size, at = answer[9], 10
            if size & 0x80:
                at += size & 0x7F
                size = int.from_bytes(answer[10:at], "big")
            assert len(answer) == at + size
            raw += answer[at:]
            if answer[3]:
                return decode(raw)
            answer = self.ask(b"\xc0\x02\x81" + answer[4:8])
        return answer[4] if answer[3] else decode(answer[4:])

    def set(self, class_id, name, member, value):
        return self.ask(set_apdu(class_id, name, member, value))[3]

    def act(self, class_id, name, member, value):
        return self.ask(action_apdu(class_id, name, member, value))[3]


def plain(datum):
    """Values without their tags."""
    if isinstance(datum.value, tuple):
        return [plain(item) for item in datum.value]
    return datum.value if isinstance(datum, Datum) else datum


def frame(control, information=b"", *, destination=b"\x02\x23", client=32, segmented=False):
    return Frame(destination, bytes([client << 1 | 1]), control, information, segmented).octets()


def frames(answers):
    return [parse(answer[1:-1]) for answer in answers]


CLOCK_COLUMN = structure(u16(8), octets(logical_name("0.0.1.0.0")), i8(2), u16(0))


def between(virtual, start, end, columns=()):
    """Selective access by range of the clock."""
    low, high = (octets(virtual.clock.octets(at)) for at in (start, end))
    return 1, structure(CLOCK_COLUMN, low, high, array(list(columns)))


def entries(first, last, left=1, right=0):
    """Selective access by entry."""
    return 2, structure(u32(first), u32(last), u16(left), u16(right))


def refs(capture_objects):
    """(class, logical name without F, attribute) of each capture object."""
    return [(c, ".".join(map(str, name[:5])), attribute) for c, name, attribute, _ in plain(capture_objects)]


def seconds(virtual, face):
    """Seconds since 1970 of 12 octets on that meter's face; 0 of none."""
    return virtual.clock.moment(face) or 0


def raw(virtual, row):
    """A row as the meter keeps it: times in seconds."""
    return tuple(seconds(virtual, value) if isinstance(value, bytes) else value for value in row)
