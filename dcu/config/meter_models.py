"""Meter models: one TOML file a model, read strictly. `docs/models.md` says how one is written.

The shipped ones lie in `config/meters` of a checkout and in `share/dcu/meters` of an installation; a box may have a
directory of its own (`[dcu] models`), whose models go before shipped ones of the same name.
"""

import sysconfig
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

from dcu.config import fields as f
from dcu.config.fields import Field, Refused, Sheet
from dcu.config.mistakes import ConfigMistakes, Mistake, syntax_mistake
from dcu.config.model_tables import clients, profiles
from dcu.config.model_vectors import Vector, vectors
from dcu.errors import ConfigFault
from dcu.meter import Amount, MeterModel, Quirk

EVENTS = "events"
"""Directory of the tables of event codes, beside the models."""

_OWN = Path(__file__).resolve()

_MODEL = {
    "title": Field(f.text),
    "server_sap": Field(f.whole(1, 16383), 1),
    "max_info": Field(f.whole(32, 2030), 128),
    "window": Field(f.whole(1, 7), 1),
    "max_pdu": Field(f.whole(64, 65535), 1024),
    "address_octets": Field(f.one_of([0, 1, 2, 4]), 0),
    "keep_open": Field(f.flag, False),
    "release": Field(f.flag, True),
    "inactivity_s": Field(f.whole(0, 86400), 120),
    "amount": Field(f.one_of([a.value for a in Amount]), Amount.PAISE.value),
    "quirks": Field(f.many(f.one_of([q.value for q in Quirk])), ()),
    "balance": Field(f.many(f.attribute), ()),
    "states": Field(f.many(f.attribute), ()),
    "events": Field(f.name, None),
    "event_codes": Field(lambda table: table, MappingProxyType({})),
    "client": Field(lambda table: table),
    "profile": Field(lambda tables: tables),
    "vector": Field(lambda tables: tables, ()),
}


@dataclass(frozen=True, slots=True)
class ModelFile:
    """What one file says: the model, and the bytes that prove its reading."""

    model: MeterModel
    vectors: tuple[Vector, ...]


def shipped_directory() -> Path:
    """Where the shipped models lie: of a checkout beside the package, else below the installation's data.

    Raises:
        ConfigFault: neither is there.
    """
    # An installation into another prefix (pip --prefix, --user) has lib/pythonX.Y/site-packages/dcu and share/dcu.
    places = [
        _OWN.parents[2] / "config" / "meters",
        Path(sysconfig.get_path("data")) / "share" / "dcu" / "meters",
        *(above / "share" / "dcu" / "meters" for above in _OWN.parents[2:6]),
    ]
    for place in places:
        if place.is_dir():
            return place
    raise ConfigFault("the shipped meter models are missing", place=str(places[1]), cure="install dcu again")


@cache
def shipped() -> Mapping[str, MeterModel]:
    """The shipped models by name. Raises ConfigFault when the installation is damaged."""
    return load_models(shipped_directory())


def load_models(directory: Path) -> Mapping[str, MeterModel]:
    """The models of a directory by name, which is the file's name without `.toml`.

    Raises:
        ConfigMistakes: with every mistake of every file.
        ConfigFault: the directory cannot be read.
    """
    return MappingProxyType({name: each.model for name, each in load_files(directory).items()})


def load_files(directory: Path) -> Mapping[str, ModelFile]:
    """As `load_models`, with the vectors of each model."""
    found, mistakes = read_directory(directory)
    if mistakes:
        raise ConfigMistakes(mistakes)
    return {name: each for name, each in found.items() if each is not None}


def read_directory(directory: Path) -> tuple[dict[str, ModelFile | None], list[Mistake]]:
    """Each model of a directory, None for one that has mistakes, and all mistakes.

    Raises:
        ConfigFault: the directory cannot be read.
    """
    try:
        files = sorted(path for path in directory.iterdir() if path.suffix == ".toml")
    except OSError as fault:
        cure = "name a directory of model files"
        raise ConfigFault(str(fault.strerror), place=str(directory), cure=cure) from None
    found: dict[str, ModelFile | None] = {}
    mistakes: list[Mistake] = []
    for path in files:
        found[path.stem] = _read(path, mistakes)
    return found, mistakes


def _read(path: Path, mistakes: list[Mistake]) -> ModelFile | None:
    sheet, top = _toml(path, mistakes)
    if sheet is None:
        return None
    if not f.NAME.fullmatch(path.stem):
        sheet.wrong((), f"{path.name!r} is no name of a model", "name the file with A-Z a-z 0-9 . _ -")
    read = _model(sheet, top, path)
    mistakes += sorted(sheet.mistakes, key=lambda m: m.line)
    return read if not sheet.mistakes else None


def _toml(path: Path, mistakes: list[Mistake]) -> tuple[Sheet | None, dict[str, Any]]:
    try:
        text = path.read_text(encoding="utf-8")
        return Sheet(path, text), tomllib.loads(text)
    except tomllib.TOMLDecodeError as fault:
        mistakes.append(syntax_mistake(path, fault))
    except OSError as fault:
        mistakes.append(Mistake(path, 1, "file", str(fault.strerror), "let it be read"))
    except UnicodeDecodeError:
        mistakes.append(Mistake(path, 1, "file", "is not UTF-8 text", "save it as UTF-8"))
    return None, {}


def _model(sheet: Sheet, top: dict[str, Any], path: Path) -> ModelFile | None:
    values = sheet.read(top, (), _MODEL)
    associations = clients(sheet, top.get("client", {}))
    specs = profiles(sheet, top.get("profile", ()))
    codes = _event_codes(sheet, path, top)
    proofs = vectors(sheet, top.get("vector", ()), {spec.name for spec in specs})
    if values is None or sheet.mistakes:
        return None
    model = MeterModel(
        name=path.stem,
        server_sap=values["server_sap"],
        associations=MappingProxyType(associations),
        profiles=specs,
        balance=values["balance"],
        states=values["states"],
        title=values["title"],
        max_info_bytes=values["max_info"],
        window=values["window"],
        max_pdu_bytes=values["max_pdu"],
        address_octets=values["address_octets"],
        keep_open=values["keep_open"],
        release=values["release"],
        inactivity_s=values["inactivity_s"],
        event_codes=MappingProxyType(codes),
        amount=Amount(values["amount"]),
        quirks=frozenset(Quirk(word) for word in values["quirks"]),
    )
    return ModelFile(model, proofs)


# ---- event codes ----------------------------------------------------------------------------------------------------


def _event_codes(sheet: Sheet, path: Path, top: dict[str, Any]) -> dict[int, str]:
    """Codes of the table that `events` names, and over them the model's own."""
    codes: dict[int, str] = {}
    table = top.get("events")
    if isinstance(table, str):
        file = _events_file(path.parent, table)
        if file is None:
            sheet.wrong(("events",), f"no table of event codes {table!r}", f"put it at {EVENTS}/{table}.toml")
        else:
            codes = _event_table(sheet, file)
    return codes | _codes(sheet, top.get("event_codes", {}), ("event_codes",))


def _events_file(directory: Path, table: str) -> Path | None:
    """In the model's own directory, else among the shipped ones."""
    name = f"{table}.toml"
    for place in (directory / EVENTS, shipped_directory() / EVENTS):
        if (place / name).is_file():
            return place / name
    return None


def _event_table(main: Sheet, file: Path) -> dict[int, str]:
    sheet, top = _toml(file, main.mistakes)
    if sheet is None:
        return {}
    for key in top.keys() - {"codes"}:
        sheet.wrong((key,), "unknown key", "a table of event codes has [codes] and nothing else")
    codes = _codes(sheet, top.get("codes", {}), ("codes",))
    main.mistakes += sheet.mistakes
    return codes


def _codes(sheet: Sheet, table: Any, where: tuple[str, ...]) -> dict[int, str]:
    if not isinstance(table, dict):
        sheet.wrong(where, "is not a table", f"write it as [{where[0]}]")
        return {}
    codes: dict[int, str] = {}
    for key, value in table.items():
        if not (key.isascii() and key.isdecimal() and int(key) <= 0xFFFF):
            sheet.wrong((*where, key), f"{key!r} is no event code", 'write it as 101 = "meaning", 0 to 65535')
            continue
        try:
            codes[int(key)] = f.text(value)
        except Refused as refused:
            sheet.wrong((*where, key), refused.cause, refused.cure)
    return codes
