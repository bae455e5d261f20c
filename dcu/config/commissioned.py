"""One more meter for a configuration that was loaded before: checked as those of the file are."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from dcu.config.fields import Sheet
from dcu.config.keys import load_secrets
from dcu.config.load import endpoint, read_meters, read_models
from dcu.config.model import Config
from dcu.errors import ConfigFault
from dcu.meter import Meter

MEMBERS: Final = ("bus", "model", "address", "area", "secrets", "host", "port")
"""What places a meter, beside its serial; as `[[meter]]` of the configuration names it."""


def read_meter(config: Config, table: Mapping[str, Any], others: Iterable[Meter]) -> Meter:
    """The meter that `table` describes.

    Its keys are those that the box's secrets file has now: they are never part of a command.

    Args:
        config: as loaded.
        table: `serial` and `MEMBERS`, as a `[[meter]]` of the file.
        others: meters that are here already.

    Raises:
        ConfigFault: it cannot be read so, in words.
    """
    sheet = Sheet(config.path, "")
    secrets = load_secrets(sheet, config.dcu.secrets) if config.dcu.secrets else {}
    own = {"models": str(config.dcu.models)} if config.dcu.models else {}
    models = read_models(sheet, own, config.path.resolve().parent)
    buses = {bus.name: bus for bus in config.buses}
    found = read_meters(sheet, [dict(table)], buses, secrets, models)
    if sheet.mistakes or not found:
        causes = "; ".join(mistake.cause for mistake in sheet.mistakes)
        raise ConfigFault(f"{table['serial']}: {causes}", place="meter", cure="correct it, and sign it again")
    for other in others:
        if other.serial == found[0].serial or endpoint(other) == endpoint(found[0]):
            raise ConfigFault(f"{other.serial} is there already", place="meter", cure="replace it, or retire it first")
    return found[0]
