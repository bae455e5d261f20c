"""The configuration file: one TOML file is the truth; every mistake in it is told at once, by file and line."""

from dcu.config.load import load
from dcu.config.mistakes import ConfigMistakes, Mistake
from dcu.config.model import BusConfig, Config, DcuConfig, PollConfig, TrustConfig, UplinkConfig

__all__ = [
    "BusConfig",
    "Config",
    "ConfigMistakes",
    "DcuConfig",
    "Mistake",
    "PollConfig",
    "TrustConfig",
    "UplinkConfig",
    "load",
]
