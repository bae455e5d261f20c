"""What a `[[meter]]` says otherwise than its model: one meter's client, security, addressing and profiles."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from dcu.config import fields as f
from dcu.config.fields import Field, Refused, Sheet
from dcu.config.mistakes import Where
from dcu.config.model_tables import MECHANISMS, PROFILE, PROTECTIONS, check_client, profile_spec
from dcu.meter import Amount, AssociationSpec, MeterModel, ProfileSpec, Protection, Purpose, Quirk

_NOT_SAID = None


def _counter(value: Any) -> Any:
    """A logical name, or false where the meter publishes no counter."""
    if isinstance(value, bool):
        if value:
            raise Refused("is true", 'write the counter\'s name, as "0.0.43.1.2", or false for none')
        return False
    return f.logical_name(value)


READER = {
    "client": Field(f.whole(1, 127), _NOT_SAID),
    "mechanism": Field(f.one_of(MECHANISMS), _NOT_SAID),
    "protection": Field(f.one_of(PROTECTIONS), _NOT_SAID),
    "counter": Field(_counter, _NOT_SAID),
    "general": Field(f.flag, _NOT_SAID),
    "dedicated_key": Field(f.flag, _NOT_SAID),
    "encrypted_only_replies": Field(f.flag, _NOT_SAID),
    "protected_release": Field(f.flag, _NOT_SAID),
    "counter_restarts": Field(f.flag, _NOT_SAID),
}
"""Keys that change the client that reads the meter; four of the last five the other ciphered clients too."""

MODEL = {
    "server_sap": Field(f.whole(1, 16383), _NOT_SAID),
    "max_info": Field(f.whole(32, 2030), _NOT_SAID),
    "window": Field(f.whole(1, 7), _NOT_SAID),
    "max_pdu": Field(f.whole(64, 65535), _NOT_SAID),
    "address_octets": Field(f.one_of([0, 1, 2, 4]), _NOT_SAID),
    "keep_open": Field(f.flag, _NOT_SAID),
    "inactivity_s": Field(f.whole(0, 86400), _NOT_SAID),
    "amount": Field(f.one_of([a.value for a in Amount]), _NOT_SAID),
    "quirks": Field(f.many(f.one_of([q.value for q in Quirk])), _NOT_SAID),
    "profiles": Field(lambda table: table, _NOT_SAID),
}

KEYS = READER | MODEL
"""All keys of `[[meter]]` that change its model."""

_RENAMED = {"max_info": "max_info_bytes", "max_pdu": "max_pdu_bytes"}
_EVERY_CLIENT = ("general", "dedicated_key", "protected_release", "counter_restarts")


def overridden(sheet: Sheet, where: Where, model: MeterModel, said: Mapping[str, Any]) -> MeterModel:
    """The model as this meter has it; mistakes are noted at the meter's keys."""
    changes: dict[str, Any] = {
        _RENAMED.get(key, key): said[key] for key in MODEL if key != "profiles" and said[key] is not None
    }
    if "amount" in changes:
        changes["amount"] = Amount(changes["amount"])
    if "quirks" in changes:
        changes["quirks"] = frozenset(Quirk(word) for word in changes["quirks"])
    if any(said[key] is not None for key in READER):
        changes["associations"] = _associations(sheet, where, model, said)
    if said["profiles"] is not None:
        changes["profiles"] = _profiles(sheet, (*where, "profiles"), model, said["profiles"])
    return replace(model, **changes) if changes else model


def _associations(
    sheet: Sheet, where: Where, model: MeterModel, said: Mapping[str, Any]
) -> dict[Purpose, AssociationSpec]:
    changed = dict(model.associations)
    for purpose, spec in model.associations.items():
        if purpose is Purpose.READ:
            changed[purpose] = _reader(spec, said)
        elif spec.ciphered:
            changed[purpose] = replace(spec, **_options(said))
    check_client(sheet, where, Purpose.READ, changed[Purpose.READ], changed)
    return changed


def _options(said: Mapping[str, Any]) -> dict[str, Any]:
    """What is said of every client. Not that replies need no tag: `check_client` rules it out for one that switches."""
    return {key: said[key] for key in _EVERY_CLIENT if said[key] is not None}


def _reader(spec: AssociationSpec, said: Mapping[str, Any]) -> AssociationSpec:
    changes = _options(said)
    if said["encrypted_only_replies"] is not None:
        changes["encrypted_only_replies"] = said["encrypted_only_replies"]
    if said["client"] is not None:
        changes["client_sap"] = said["client"]
    if said["mechanism"] is not None:
        changes["mechanism"] = MECHANISMS[said["mechanism"]]
    if said["protection"] is not None:
        changes["protection"] = PROTECTIONS[said["protection"]]
        if changes["protection"] is Protection.NONE:
            changes |= {"invocation_counter": None, "dedicated_key": False}
    if said["counter"] is not None:
        changes["invocation_counter"] = said["counter"] or None
    return replace(spec, **changes)


def _profiles(sheet: Sheet, where: Where, model: MeterModel, tables: Any) -> tuple[ProfileSpec, ...]:
    """The model's profiles, less those that are false, with what is said of the others, and new ones behind them."""
    specs = {spec.name: spec for spec in model.profiles}
    if not isinstance(tables, dict):
        sheet.wrong(where, "is not a table", "write profiles.billing = false, or profiles.block-load.every_s = 1800")
        return model.profiles
    for name, table in tables.items():
        here = (*where, name)
        if table is False:
            if name not in specs:
                sheet.wrong(here, f"model {model.name} has no such profile", f.did_you_mean(name, specs))
            specs.pop(name, None)
        elif not isinstance(table, dict):
            sheet.wrong(here, f"{table!r} is not allowed", "write false, or a table as { every_s = 1800 }")
        elif (spec := _profile(sheet, here, name, specs.get(name), table, model)) is not None:
            specs[name] = spec
    _check_names(sheet, where, specs, tables)
    return tuple(specs.values())


def _profile(
    sheet: Sheet, where: Where, name: str, old: ProfileSpec | None, table: dict[str, Any], model: MeterModel
) -> ProfileSpec | None:
    fields = {key: field for key, field in PROFILE.items() if key != "name"}
    if old is not None:
        kept = {"ln": old.logical_name, "scalers": old.scalers, "kind": old.kind.value, "every_s": old.every_s}
        fields = {key: Field(field.read, kept[key]) for key, field in fields.items()}
    elif not {"ln", "kind"} <= table.keys():
        cure = f"{f.did_you_mean(name, [p.name for p in model.profiles])}; a new one needs ln and kind"
        sheet.wrong(where, f"model {model.name} has no such profile", cure)
        return None
    values = sheet.read(table, where, fields)
    return profile_spec({"name": name, **values}) if values is not None else None


def _check_names(sheet: Sheet, where: Where, specs: Mapping[str, ProfileSpec], tables: Mapping[str, Any]) -> None:
    for name in tables:
        spec = specs.get(name)
        same = [other.name for other in specs.values() if spec and other.logical_name == spec.logical_name]
        if len(same) > 1:
            other = next(each for each in same if each != name)
            sheet.wrong((*where, name), f"has the logical name of profile {other!r}", "each profile has its own ln")
