"""Virtual meters and a paced, faulty serial line. Shares no code with the drivers, so no misreading hides."""

from dcu.sim.errors import ConfigMistake
from dcu.sim.faults import Faults
from dcu.sim.ledger import Ledger, read_ledger
from dcu.sim.line import LineModel, Noise
from dcu.sim.meter import VirtualMeter
from dcu.sim.meter_config import MeterConfig
from dcu.sim.running import PtyLine, running_line
from dcu.sim.security import MeterKeys

__all__ = [
    "ConfigMistake",
    "Faults",
    "Ledger",
    "LineModel",
    "MeterConfig",
    "MeterKeys",
    "Noise",
    "PtyLine",
    "VirtualMeter",
    "read_ledger",
    "running_line",
]
