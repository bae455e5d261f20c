"""Reads and checks a configuration file: either a whole valid `Config`, or every mistake at once."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dcu.config import fields as f
from dcu.config import overrides
from dcu.config.fields import Field, Sheet
from dcu.config.keys import load_secrets
from dcu.config.meter_models import read_directory, shipped
from dcu.config.mistakes import ConfigMistakes, syntax_mistake
from dcu.config.model import BusConfig, BusKind, Config, DcuConfig, PollConfig, StoreConfig, TrustConfig, UplinkConfig
from dcu.drivers.hdlc import server_address
from dcu.errors import ConfigFault
from dcu.meter import Mechanism, Meter, MeterModel, MeterSecrets

TOP = ("version", "dcu", "uplink", "trust", "poll", "store", "bus", "meter")
WORKERS = 64
"""Of a TCP bus: enough for 1,000 meters at 15 minutes where a round trip takes two seconds."""

BAUDS = (1200, 2400, 4800, 9600, 19200, 38400, 57600, 115200)


def load(file: Path, *, with_keys: bool = True) -> Config:
    """The configuration in `file`.

    Args:
        file: to be read.
        with_keys: False leaves the meters' keys unread: the uplink process has no business with them.

    Raises:
        ConfigMistakes: with every mistake found, each by file and line.
        ConfigFault: the file cannot be read at all.
    """
    text = _read(file)
    try:
        top = tomllib.loads(text)
    except tomllib.TOMLDecodeError as fault:
        raise ConfigMistakes([syntax_mistake(file, fault)]) from None
    sheet = Sheet(file, text)
    config = _check(sheet, top, with_keys=with_keys)
    if config is None or sheet.mistakes:
        others = sorted((m for m in sheet.mistakes if m.file != file), key=lambda m: (str(m.file), m.line))
        own = sorted((m for m in sheet.mistakes if m.file == file), key=lambda m: m.line)
        raise ConfigMistakes([*own, *others])
    return config


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except OSError as fault:
        raise ConfigFault(str(fault.strerror), place=str(file), cure="name a configuration file that exists") from None
    except UnicodeDecodeError:
        raise ConfigFault("is not UTF-8 text", place=str(file), cure="save it as UTF-8") from None


def _check(sheet: Sheet, top: dict[str, Any], *, with_keys: bool) -> Config | None:
    base = sheet.path.resolve().parent
    for key in top.keys() - set(TOP):
        sheet.wrong((key,), "unknown key", f.did_you_mean(key, TOP))
    if top.get("version") != 1:
        sheet.wrong(("version",), f"is {top.get('version', 'missing')}", "this program reads version = 1")
    dcu = sheet.read(top.get("dcu", {}), ("dcu",), _dcu_fields(base))
    uplink = sheet.read(top.get("uplink", {}), ("uplink",), _uplink_fields(base))
    trust = sheet.read(
        top.get("trust", {}), ("trust",), {"keys": Field(f.existing(base)), "signing_key": Field(f.existing(base))}
    )
    poll = sheet.read(top.get("poll", {}), ("poll",), _POLL)
    store = sheet.read(top.get("store", {}), ("store",), {"max_mb": Field(f.whole(16, 1_000_000), None)})
    buses = _buses(sheet, top.get("bus", {}))
    secrets = _secrets(sheet, dcu) if with_keys else None
    models = read_models(sheet, top.get("dcu"), base)
    meters = read_meters(sheet, top.get("meter", []), buses, secrets, models)
    if dcu is None or uplink is None or trust is None or poll is None or store is None:
        return None
    host, port = uplink.pop("broker")
    dcu["clock_assumed"] = dcu.pop("clock") == "assumed"
    return Config(
        sheet.path,
        DcuConfig(**dcu),
        UplinkConfig(host=host, port=port, **uplink),
        TrustConfig(**trust),
        PollConfig(**poll),
        tuple(bus for bus in buses.values() if bus),
        tuple(meters),
        StoreConfig(**store),
    )


def _dcu_fields(base: Path) -> Mapping[str, Field]:
    return {
        "id": Field(f.name),
        "state_dir": Field(f.path(base), Path("/var/lib/dcu")),
        "run_dir": Field(f.path(base), Path("/run/dcu")),
        "timezone": Field(f.zone),
        "clock": Field(f.one_of(["kernel", "assumed"]), "kernel"),
        "secrets": Field(f.existing(base), None),
        "models": Field(f.directory(base), None),
    }


def _uplink_fields(base: Path) -> Mapping[str, Field]:
    return {
        "broker": Field(f.broker),
        "ca": Field(f.existing(base)),
        "certificate": Field(f.existing(base)),
        "key": Field(f.existing(base)),
        "encoding": Field(f.one_of(["cbor", "json"]), "cbor"),
        "backoff_max_s": Field(f.whole(1, 3600), 300),
    }


_POLL = {
    "snapshot_s": Field(f.whole(10, 86400), 900),
    "balance_s": Field(f.whole(10, 86400), 900),
    "health_s": Field(f.whole(10, 86400), 300),
    "history_days": Field(f.whole(0, 3650), 35),
    "clock_limit_s": Field(f.whole(1, 86400), 60),
}

_METER = {
    "serial": Field(f.name),
    "bus": Field(f.text),
    "model": Field(f.text),
    "address": Field(f.whole(0, 16383), 0),
    "area": Field(f.name),
    "secrets": Field(f.text, None),
    "host": Field(f.text, ""),
    "port": Field(f.whole(1, 65535), 4059),
}

_GONE = {"sim": "a virtual meter is one like any other: leave the line out"}
"""Keys of a meter that meant something once, and what to do."""

Models = Mapping[str, MeterModel | None]
"""Known models by name; None for one whose file has mistakes, which are told there."""


def read_models(sheet: Sheet, said: Any, base: Path) -> Models | None:
    """The shipped models and over them the box's own; None where nobody knows which directory is meant."""
    models: dict[str, MeterModel | None] = dict(shipped())
    place = said.get("models") if isinstance(said, dict) else None
    if place is None:
        return models
    if not isinstance(place, str) or not (base / place).is_dir():
        return None  # told as a mistake of [dcu]
    own, mistakes = read_directory(base / place)
    sheet.mistakes += mistakes
    return models | {name: each.model if each else None for name, each in own.items()}


def _secrets(sheet: Sheet, dcu: dict[str, Any] | None) -> Mapping[str, MeterSecrets] | None:
    """Entries by name; None where a mistake elsewhere keeps them from being known, which is told there."""
    if dcu is None:
        return None
    before = len(sheet.mistakes)
    entries = load_secrets(sheet, dcu["secrets"]) if dcu["secrets"] else {}
    return entries if len(sheet.mistakes) == before else None


def _buses(sheet: Sheet, tables: Any) -> dict[str, BusConfig | None]:
    """Buses by name; None for one that has mistakes, so that its meters are not told to have none."""
    buses: dict[str, BusConfig | None] = {}
    if not isinstance(tables, dict) or not tables:
        sheet.wrong(("bus",), "there is no bus", "add a table, as [bus.north]")
        return buses
    ports: dict[str, str] = {}
    for name, table in tables.items():
        where = ("bus", name)
        tcp = isinstance(table, dict) and table.get("kind") in {kind.value for kind in BusKind if kind.is_tcp}
        fields = {"kind": Field(f.one_of([k.value for k in BusKind])), "reply_s": Field(f.whole(1, 30), 3)}
        if tcp:
            fields |= {"workers": Field(f.whole(2, 128), WORKERS)}
        else:
            fields |= {"port": Field(f.text), "baud": Field(f.one_of(BAUDS), 9600)}
        values = sheet.read(table, where, fields)
        buses[name] = None
        if values is None:
            continue
        kind, reply_s = BusKind(values["kind"]), values["reply_s"]
        bus = BusConfig(name, kind, values.get("port", ""), values.get("baud", 0), reply_s, values.get("workers", 1))
        if bus.port and bus.port in ports:
            sheet.wrong((*where, "port"), f"{bus.port} is also the port of bus {ports[bus.port]!r}", "one bus a port")
        if bus.port:
            ports[bus.port] = name
        buses[name] = bus
    return buses


def read_meters(
    sheet: Sheet,
    tables: Any,
    buses: Mapping[str, BusConfig | None],
    secrets: Mapping[str, MeterSecrets] | None,
    models: Models | None,
) -> list[Meter]:
    """The meters of a list of tables; those with mistakes are left out, and each mistake is noted."""
    meters: list[Meter] = []
    if not isinstance(tables, list):
        sheet.wrong(("meter",), "is not a list of tables", "write each meter as [[meter]]")
        return meters
    seen: dict[tuple[object, ...], int] = {}
    for n, table in enumerate(tables):
        values = sheet.read(table, ("meter", n), _METER | overrides.KEYS, gone=_GONE)
        model = _model(sheet, n, values, models) if values is not None else None
        if values is None or model is None:
            continue
        meter = _meter(sheet, n, values, model, buses, secrets)
        for key, place in (("serial", (meter.serial,)), ("address", endpoint(meter))):
            if place in seen:
                sheet.wrong(("meter", n, key), f"the same as of meter[{seen[place]}]", f"each meter has its own {key}")
            seen[place] = n
        meters.append(meter)
    return meters


def _model(sheet: Sheet, n: int, values: dict[str, Any], models: Models | None) -> MeterModel | None:
    """The model that a meter names, as this meter has it; takes the keys that change it out of `values`."""
    said = {key: values.pop(key) for key in overrides.KEYS}
    name = values["model"]
    if models is not None and name not in models:
        sheet.wrong(("meter", n, "model"), f"{name!r} is not allowed", f.did_you_mean(name, models))
    model = models.get(name) if models is not None else None
    return overrides.overridden(sheet, ("meter", n), model, said) if model is not None else None


def _meter(
    sheet: Sheet,
    n: int,
    values: dict[str, Any],
    model: MeterModel,
    buses: Mapping[str, BusConfig | None],
    secrets: Mapping[str, MeterSecrets] | None,
) -> Meter:
    bus = buses.get(values["bus"])
    if values["bus"] not in buses:
        sheet.wrong(("meter", n, "bus"), f"no bus {values['bus']!r}", f.did_you_mean(values["bus"], buses))
    if bus and bus.kind.is_tcp and not values["host"]:
        sheet.wrong(("meter", n, "host"), "is missing", f"a meter on a {bus.kind.value} bus names its host")
    hdlc = bus.kind is not BusKind.WRAPPER if bus else not values["host"]
    alone = model.address_octets == 1 and values["address"] == 0
    if hdlc and values["address"] < 16 and not alone:
        cure = "physical HDLC addresses: 16 to 16383; or 0 with address_octets = 1: the logical device alone"
        sheet.wrong(("meter", n, "address"), f"{values['address']} is reserved", cure)
    elif hdlc:
        _address_fits(sheet, n, model, values["address"])
    found = MeterSecrets() if secrets is None else _keys(sheet, n, values["secrets"], model, secrets)
    return Meter(**{**values, "model": model, "secrets": found})


def _address_fits(sheet: Sheet, n: int, model: MeterModel, address: int) -> None:
    """Whether the HDLC address has room in as many octets as the model gives it."""
    try:
        server_address(model.server_sap, address, model.address_octets)
    except ValueError as fault:
        cure = "address_octets: 1 for the logical device alone, 2 for addresses to 127, 4 beyond, 0 as few as hold it"
        sheet.wrong(("meter", n, "address"), str(fault), cure)


def _keys(
    sheet: Sheet, n: int, entry: str | None, model: MeterModel, secrets: Mapping[str, MeterSecrets]
) -> MeterSecrets:
    """The secrets entry of a meter, with all that its model needs."""
    where = ("meter", n, "secrets")
    found = secrets.get(entry or "", MeterSecrets())
    associations = model.associations.values()
    if entry is not None and entry not in secrets:
        sheet.wrong(where, f"no entry {entry!r} in the secrets file", f.did_you_mean(entry, secrets))
    elif any(a.ciphered for a in associations) and not (found.unicast_key and found.authentication_key):
        sheet.wrong(where, f"model {model.name} needs keys", "name an entry of the secrets file that has guek and gak")
    elif any(a.mechanism is Mechanism.LLS and not a.ciphered for a in associations) and not found.lls_secret:
        cure = 'give its secrets entry `lls`, or set mechanism = "none" here'
        sheet.wrong(where, f"model {model.name} needs a password", cure)
    elif any(a.mechanism is Mechanism.HLS_SECRET for a in associations) and not found.hls_secret:
        sheet.wrong(where, f"model {model.name} needs an HLS secret", "give its secrets entry `hls`, 32 hex digits")
    return found


def endpoint(meter: Meter) -> tuple[object, ...]:
    """Where a meter is reached; no two have the same."""
    return (meter.bus, meter.host, meter.port, meter.address)
