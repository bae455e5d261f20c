"""COSEM objects as the virtual meter keeps them: attributes that can be read or written, methods, and access rights.

Rights follow reference/is15959.md 1.1: the public client sees a handful of attributes, the meter reader reads, the
utility setting client reads, writes and acts.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum

from dcu.sim.axdr import NULL, Datum, Tag, array, boolean, enum, i8, octets, structure, u8, u16
from dcu.sim.xdlms import Reference, Refused, Result


class Client(IntEnum):
    """Client addresses of IS 15959."""

    PUBLIC = 16
    METER_READER = 32
    UTILITY_SETTING = 48


def logical_name(text: str) -> bytes:
    """Six octets of `a.b.c.d.e` or `a.b.c.d.e.f`; group F is 255 where it is left out."""
    groups = [int(group) for group in text.split(".")]
    return bytes(groups if len(groups) == 6 else [*groups, 255])


def dotted(name: bytes) -> str:
    """`a.b.c.d.e.f` of six octets."""
    return ".".join(map(str, name))


@dataclass(frozen=True, slots=True)
class Attribute:
    """One attribute.

    Attributes:
        read: its value now; None where nobody may read it.
        write: takes a new value, raises `Refused`; None where nobody may write it.
        select: its value under selective access (selector, parameters).
        public: the public client may read it.
    """

    read: Callable[[], Datum] | None
    write: Callable[[Datum], None] | None = None
    select: Callable[[int, Datum], Datum] | None = None
    public: bool = False


@dataclass(frozen=True, slots=True)
class CosemObject:
    """One object: its class, version, logical name, attributes by number (1 is always the name) and methods."""

    class_id: int
    name: bytes
    attributes: Mapping[int, Attribute]
    methods: Mapping[int, Callable[[Datum], None]] = field(default_factory=dict)
    version: int = 0

    @property
    def public(self) -> bool:
        """Whether the public client sees it at all."""
        return any(attribute.public for attribute in self.attributes.values())

    def attribute(self, number: int) -> Attribute:
        """Raises `Refused` where there is none."""
        if number == 1:
            return Attribute(lambda: octets(self.name), public=self.public)
        if number not in self.attributes:
            raise Refused(Result.OBJECT_UNDEFINED)
        return self.attributes[number]


def fixed(value: Datum, *, public: bool = False) -> Attribute:
    """An attribute that never changes."""
    return Attribute(lambda: value, public=public)


def datum_object(name: str, read: Callable[[], Datum] | Datum, *, public: bool = False) -> CosemObject:
    """A class 1 object with its value in attribute 2."""
    getter = (lambda: read) if isinstance(read, Datum) else read
    return CosemObject(1, logical_name(name), {2: Attribute(getter, public=public)})


def scaler_unit(scaler: int, unit: int) -> Datum:
    """Attribute 3 of a register."""
    return structure(i8(scaler), enum(unit))


def expect(value: Datum, *tags: Tag) -> Datum:
    """`value` if it has one of the tags.

    Raises:
        Refused: type unmatched.
    """
    if value.tag not in tags:
        raise Refused(Result.TYPE_UNMATCHED)
    return value


class Cabinet:
    """All objects of a meter, and who may do what with them."""

    def __init__(self, objects: Iterable[CosemObject]) -> None:
        self._objects = {entry.name: entry for entry in objects}

    def _find(self, client: int, reference: Reference) -> CosemObject:
        entry = self._objects.get(reference.name)
        if entry is None or (client == Client.PUBLIC and not entry.public):
            raise Refused(Result.OBJECT_UNDEFINED)
        if entry.class_id != reference.class_id:
            raise Refused(Result.CLASS_INCONSISTENT)
        return entry

    def read(self, client: int, reference: Reference) -> Datum:
        """Value of an attribute, or `Refused`."""
        attribute = self._find(client, reference).attribute(reference.member)
        if attribute.read is None or (client == Client.PUBLIC and not attribute.public):
            raise Refused(Result.READ_WRITE_DENIED)
        if reference.selector == 0:
            return attribute.read()
        if attribute.select is None:
            raise Refused(Result.SCOPE_VIOLATED)
        return attribute.select(reference.selector, reference.selection)

    def write(self, client: int, reference: Reference, value: Datum) -> None:
        """Set an attribute, or `Refused`."""
        attribute = self._find(client, reference).attribute(reference.member)
        if attribute.write is None or client != Client.UTILITY_SETTING:
            raise Refused(Result.READ_WRITE_DENIED)
        if reference.selector:
            raise Refused(Result.SCOPE_VIOLATED)
        attribute.write(value)

    def act(self, client: int, reference: Reference, parameter: Datum) -> None:
        """Invoke a method, or `Refused`."""
        entry = self._find(client, reference)
        if reference.member not in entry.methods:
            raise Refused(Result.OBJECT_UNDEFINED)
        if client != Client.UTILITY_SETTING:
            raise Refused(Result.READ_WRITE_DENIED)
        entry.methods[reference.member](parameter)

    def object_list(self, client: int) -> Datum:
        """Attribute 2 of the current association: what `client` sees, with its rights."""
        seen = [entry for entry in self._objects.values() if client != Client.PUBLIC or entry.public]
        return array([_listed(entry, client) for entry in seen])


def _listed(entry: CosemObject, client: int) -> Datum:
    attributes = array(
        [
            structure(
                i8(number),
                enum(_mode(entry.attribute(number), client)),
                array([i8(1), i8(2)]) if entry.attribute(number).select else NULL,
            )
            for number in (1, *entry.attributes)
        ]
    )
    allowed = client == Client.UTILITY_SETTING
    methods = array([structure(i8(number), boolean(allowed)) for number in entry.methods])
    return structure(u16(entry.class_id), u8(entry.version), octets(entry.name), structure(attributes, methods))


def _mode(attribute: Attribute, client: int) -> int:
    """access_mode: 0 none, 1 read, 2 write, 3 both."""
    readable = attribute.read is not None and (attribute.public or client != Client.PUBLIC)
    writable = attribute.write is not None and client == Client.UTILITY_SETTING
    return (1 if readable else 0) | (2 if writable else 0)
