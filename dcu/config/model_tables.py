"""The tables of a meter model, `[client.*]` and `[[profile]]`, and the rules between their keys."""

from typing import Any

from dcu.config import fields as f
from dcu.config.fields import Field, Sheet
from dcu.config.mistakes import Where
from dcu.meter import AssociationSpec, Mechanism, ProfileKind, ProfileSpec, Protection, Purpose

MECHANISMS = {
    "none": Mechanism.NONE,
    "lls": Mechanism.LLS,
    "hls-secret": Mechanism.HLS_SECRET,
    "hls-gmac": Mechanism.HLS_GMAC,
}
PROTECTIONS = {
    "none": Protection.NONE,
    "authentication": Protection.AUTHENTICATED,
    "encryption": Protection.ENCRYPTED,
    "both": Protection.BOTH,
}

CLIENT = {
    "sap": Field(f.whole(1, 127)),
    "mechanism": Field(f.one_of(MECHANISMS)),
    "protection": Field(f.one_of(PROTECTIONS), "none"),
    "counter": Field(f.logical_name, None),
    "general": Field(f.flag, False),
    "dedicated_key": Field(f.flag, False),
    "encrypted_only_replies": Field(f.flag, False),
    "protected_release": Field(f.flag, True),
    "counter_restarts": Field(f.flag, False),
}

PROFILE = {
    "name": Field(f.name),
    "ln": Field(f.logical_name),
    "scalers": Field(f.logical_name, None),
    "kind": Field(f.one_of([k.value for k in ProfileKind])),
    "every_s": Field(f.whole(0, 86400 * 31), 0),
}


def clients(sheet: Sheet, tables: Any) -> dict[Purpose, AssociationSpec]:
    """Associations by purpose; mistakes are noted on the sheet."""
    purposes = {purpose.value: purpose for purpose in Purpose}
    found: dict[Purpose, AssociationSpec] = {}
    if not isinstance(tables, dict):
        sheet.wrong(("client",), "is not a table", "write [client.read]")
        return found
    for key, table in tables.items():
        where = ("client", key)
        if key not in purposes:
            sheet.wrong(where, "unknown client", f.did_you_mean(key, purposes))
            continue
        values = sheet.read(table, where, CLIENT)
        if values is not None:
            found[purposes[key]] = _client(values)
    if Purpose.READ.value not in tables:
        sheet.wrong(("client", "read"), "is missing", "add [client.read]: the client that reads the meter")
    for purpose, spec in found.items():
        check_client(sheet, ("client", purpose.value), purpose, spec, found)
    return found


def _client(values: dict[str, Any]) -> AssociationSpec:
    return AssociationSpec(
        client_sap=values["sap"],
        mechanism=MECHANISMS[values["mechanism"]],
        protection=PROTECTIONS[values["protection"]],
        invocation_counter=values["counter"],
        general=values["general"],
        dedicated_key=values["dedicated_key"],
        encrypted_only_replies=values["encrypted_only_replies"],
        protected_release=values["protected_release"],
        counter_restarts=values["counter_restarts"],
    )


def check_client(
    sheet: Sheet, where: Where, purpose: Purpose, spec: AssociationSpec, all_of_them: dict[Purpose, AssociationSpec]
) -> None:
    """Note what cannot work on a meter."""
    if spec.mechanism is Mechanism.HLS_GMAC and not spec.ciphered:
        sheet.wrong((*where, "mechanism"), "hls-gmac needs ciphering", 'set protection = "both"')
    if spec.dedicated_key and not spec.ciphered:
        sheet.wrong((*where, "dedicated_key"), "a dedicated key without ciphering", 'set protection = "both"')
    if spec.invocation_counter is not None and not spec.ciphered:
        cure = "leave counter out, or set a protection"
        sheet.wrong((*where, "counter"), "a client without ciphering has no counter", cure)
    if spec.invocation_counter is not None and Purpose.IDENTIFY not in all_of_them:
        cure = "add [client.identify], the public client, or leave counter out"
        sheet.wrong((*where, "counter"), "no client could read it", cure)
    if purpose is Purpose.IDENTIFY and (spec.ciphered or spec.mechanism is not Mechanism.NONE):
        cure = 'set mechanism = "none" and protection = "none"'
        sheet.wrong((*where, "mechanism"), "the public client has neither secret nor ciphering", cure)
    if purpose is Purpose.SWITCH and spec.mechanism in {Mechanism.NONE, Mechanism.LLS}:
        cure = 'set mechanism = "hls-secret" or "hls-gmac", or leave [client.switch] out'
        sheet.wrong((*where, "mechanism"), "a relay is not moved by a client without high-level security", cure)
    if purpose is Purpose.SWITCH and spec.protection in {Protection.NONE, Protection.ENCRYPTED}:
        cure = 'set protection = "both" or "authentication", or leave [client.switch] out'
        sheet.wrong((*where, "protection"), "a relay is not moved by requests that anybody on the line can alter", cure)
    if purpose is Purpose.SWITCH and spec.encrypted_only_replies:
        cure = "leave it to [client.read], or leave [client.switch] out"
        cause = "a relay is not moved where read-backs prove nothing: replies need a tag"
        sheet.wrong((*where, "encrypted_only_replies"), cause, cure)


def profiles(sheet: Sheet, tables: Any) -> tuple[ProfileSpec, ...]:
    """Profiles in the order of the file; mistakes are noted on the sheet."""
    if not isinstance(tables, list | tuple):
        sheet.wrong(("profile",), "is not a list of tables", "write each profile as [[profile]]")
        return ()
    found: list[ProfileSpec] = []
    seen: dict[object, int] = {}
    for n, table in enumerate(tables):
        where = ("profile", n)
        values = sheet.read(table, where, PROFILE)
        if values is None:
            continue
        spec = profile_spec(values)
        for key, value in (("name", spec.name), ("ln", spec.logical_name)):
            if value in seen:
                sheet.wrong((*where, key), f"the same as of profile[{seen[value]}]", f"each profile has its own {key}")
            seen[value] = n
        found.append(spec)
    return tuple(found)


def profile_spec(values: dict[str, Any]) -> ProfileSpec:
    """Of the values of a `[[profile]]` table."""
    kind = ProfileKind(values["kind"])
    return ProfileSpec(values["name"], values["ln"], values["scalers"], kind, values["every_s"])
