"""The secrets file: keys of meters, mode 0600, one table a meter. Values never reach a message."""

import stat
import tomllib
from pathlib import Path
from typing import Any

from dcu.config.fields import Field, Refused, Sheet, text
from dcu.config.mistakes import ConfigMistakes
from dcu.errors import ConfigFault
from dcu.meter import MeterSecrets


def load_secrets(main: Sheet, file: Path) -> dict[str, MeterSecrets]:
    """Entries of the secrets file by name; its mistakes are added to those of the main file, by its own lines."""
    where = ("dcu", "secrets")
    mode = file.stat().st_mode
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        main.wrong(where, f"{file} is readable by others (mode {mode & 0o777:03o})", f"chmod 600 {file}")
        return {}
    try:
        content = file.read_text(encoding="utf-8")
        tables = tomllib.loads(content)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as fault:
        # tomllib's own text may quote the line, and the line may be a key.
        main.wrong(where, f"{file} cannot be read as TOML ({type(fault).__name__})", "mend it, or restore a copy")
        return {}
    sheet = Sheet(file, content)
    entries: dict[str, MeterSecrets] = {}
    for name, table in tables.items():
        values = sheet.read(table, (name,), _FIELDS)
        if values is not None:
            entries[name] = MeterSecrets(values["guek"], values["gak"], values["lls"], values["hls"])
    main.mistakes += sheet.mistakes
    return entries


def read_secrets(file: Path) -> dict[str, MeterSecrets]:
    """Entries of a secrets file that no configuration names.

    Raises:
        ConfigMistakes: with every mistake.
        ConfigFault: there is no such file.
    """
    if not file.is_file():
        raise ConfigFault("there is no such file", place=str(file), cure="name the file that holds the meter's keys")
    sheet = Sheet(file, "")
    entries = load_secrets(sheet, file)
    if sheet.mistakes:
        raise ConfigMistakes(sheet.mistakes)
    return entries


def _hex(*lengths: int) -> Any:
    def read(value: Any) -> bytes:
        cure = " or ".join(f"{2 * n} hex digits" for n in lengths)
        if not isinstance(value, str):
            raise Refused("is not a string", f"write {cure}, in quotes")
        try:
            octets = bytes.fromhex(value)
        except ValueError:
            raise Refused("is not hexadecimal", f"write {cure}") from None
        if len(octets) not in lengths:
            raise Refused(f"has {len(octets)} bytes", f"write {cure}")
        return octets

    return read


def _password(value: Any) -> bytes:
    try:
        return text(value).encode("ascii")
    except UnicodeEncodeError:
        raise Refused("is not ASCII", "a meter's password is ASCII text") from None
    except Refused:
        raise Refused("is not a text", "write the password in quotes") from None


_FIELDS = {
    "guek": Field(_hex(16), b""),
    "gak": Field(_hex(16), b""),
    "lls": Field(_password, b""),
    "hls": Field(_hex(16), b""),
}
