"""What a scan found, as configuration to paste. The keys of the meters are for the technician to add."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from dcu.config.fields import NAME

AREA = "AREA"
"""Stands where nobody said which area of the signed policy the meters are in."""


def stanza(found: Sequence[Mapping[str, Any]], bus: str, *, area: str = "", baud: int = 0) -> str:
    """`[[meter]]` tables, TOML; in comments what stands in their way.

    Args:
        found: as `dcu.field.survey` has it; `host`, `port` and `kind` of the bus where a meter is on TCP.
        bus: name of the bus.
        area: of all of them.
        baud: speed of the bus, to be compared; 0 where it has none.
    """
    return "\n".join(_meter(each, bus, area or AREA, baud) for each in found)


def _meter(found: Mapping[str, Any], bus: str, area: str, baud: int) -> str:
    place = found.get("host") or f"address {found['address']}"
    if found["condition"] != "meter":
        return f"# {place}: {found['condition']}: {_line(found.get('note', ''))}\n"
    [serial] = found["serials"]
    if not NAME.fullmatch(serial):
        return f"# {place}: no configuration can name the serial {_line(json.dumps(serial))}\n"
    lines = [f"# {_line(found['make'] or 'unknown make')}; {_line(found['why'])}"]
    if baud and found["baud"] != baud:
        lines.append(f"# answers at {found['baud']} baud, and the bus is at {baud}: all meters of a bus have one speed")
    lines += ["[[meter]]", f"serial = {json.dumps(serial)}", f"bus = {json.dumps(bus)}"]
    guess = "  # a guess: look at the meter" if found.get("guess") else ""
    lines.append(f"model = {json.dumps(found['model'])}{guess}")
    if found.get("host"):
        lines.insert(1, f'# its bus is of kind "{found["kind"]}"')
        lines += [f"host = {json.dumps(found['host'])}", f"port = {found['port']}"]
    if found["baud"] or not found.get("host") or found["address"]:
        lines.append(f"address = {found['address']}")
        lines += ["address_octets = 1"] if found["address"] == 0 else []
    if found.get("mode_e"):
        lines.append('quirks = ["mode-e"]')
    lines.append(f"area = {json.dumps(area)}" + ("" if area != AREA else "  # of the signed policy"))
    lines.append(f"secrets = {json.dumps(serial)}  # its table in secrets.toml")
    return "\n".join(lines) + "\n"


def _line(text: str) -> str:
    """One line, fit for a comment."""
    return "".join(char if char.isprintable() else "?" for char in str(text))
