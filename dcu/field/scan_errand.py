"""A scan through the running field process: the technician's command drives it, the bus lends its line slice by slice.

Between two slices the bus does what is due on it, and inside one a relay errand goes first. A technician who goes away
asks for no more slices, and that is the end of the scan.
"""

import secrets
import threading
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from datetime import tzinfo
from typing import Any, Final, Protocol, runtime_checkable

from dcu.config import Config
from dcu.config.meter_models import shipped
from dcu.drivers.scan import PHYSICAL, Sweep
from dcu.errors import BusFault, DcuError, OperatorFault
from dcu.field.survey import Survey
from dcu.meter import Meter, MeterSecrets
from dcu.ports import Bus, ByteLink, Clock, Line

SLICE_S: Final = 2.0
LENT_WITHIN_S: Final = 60.0
SCANS_AT_MOST: Final = 4
BAUDS_MOST: Final = 12


@runtime_checkable
class SurveyLine(Protocol):
    """A bus that lends its line itself."""

    def survey(self) -> AbstractContextManager[ByteLink]:
        """The line; its speed is put back at the end. Raises OperatorFault, BusFault."""
        ...

    def give_way(self) -> None:
        """Raises Preempted where a relay errand waits."""
        ...


class ScanErrand:
    """One slice of a scan (`ports.Errand`)."""

    def __init__(self, survey: Survey, bus: str) -> None:
        self.meter = Meter("scan", bus, shipped()["dlms-generic"], 0, "", MeterSecrets())
        self._survey = survey
        self._done = threading.Event()
        self._fault: Exception | None = None

    def run(self, line: Line) -> None:
        """As many addresses as the slice has time for, at least one."""
        if not isinstance(line, SurveyLine):
            raise OperatorFault("this bus lends no line", place=self.meter.bus)
        until = self._survey.clock.monotonic_s() + SLICE_S
        with line.survey() as link:
            while self._survey.step(link, line.give_way) and self._survey.clock.monotonic_s() < until:
                pass
        self._done.set()

    def failed(self, fault: Exception) -> None:
        """Hand the reason to who waits."""
        self._fault = fault
        self._done.set()

    def wait(self, bus: Bus) -> None:
        """Post it and wait for its end. Raises its fault, and BusFault when the bus did not come to it."""
        bus.post(self, urgent=False)
        if not self._done.wait(LENT_WITHIN_S):
            raise BusFault(f"did not come to it in {LENT_WITHIN_S:g} s", place=bus.name, cure="see `dcu status`")
        if self._fault is not None:
            fault = self._fault
            raise fault if isinstance(fault, DcuError) else OperatorFault(f"failed: {fault!r}", place=bus.name)


class Scans:
    """The scans that technicians have begun; asked through `field.sock`.

    Args:
        config: of the box.
        buses: by name.
        clock: time.
    """

    def __init__(self, config: Config, buses: Mapping[str, Bus], clock: Clock) -> None:
        self._config = config
        self._buses = buses
        self._clock = clock
        self._scans: dict[str, tuple[Survey, Bus]] = {}
        self._lock = threading.Lock()

    def asks(self) -> dict[str, Callable[[Mapping[str, Any]], Any]]:
        """What `field.sock` answers of scans."""
        return {"scan": self.begin, "scan-more": self.go_on}

    def begin(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """`{bus, addresses, bauds, all_bauds, server_sap, answer_ms, mode_e}`; its id. Raises OperatorFault."""
        name = str(request.get("bus"))
        known = {bus.name: bus for bus in self._config.buses if bus.name in self._buses}
        if name not in known:
            raise OperatorFault(f"no bus {name!r}", place="field", cure=f"known here: {', '.join(known)}")
        if not known[name].port:
            raise OperatorFault("its meters share no line", place=name, cure="name the endpoint with --tcp")
        survey = survey_of(request, known[name].baud, self._config.dcu.timezone, self._clock)
        key = secrets.token_hex(4)
        with self._lock:
            while len(self._scans) >= SCANS_AT_MOST:
                del self._scans[next(iter(self._scans))]  # its technician has gone away
            self._scans[key] = (survey, self._buses[name])
        return {"scan": key, "progress": survey.progress()}

    def go_on(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """`{scan}`: one more slice; what was found so far, and whether that was all. Raises as `ScanErrand.wait`."""
        key = str(request.get("scan"))
        with self._lock:
            if key not in self._scans:
                raise OperatorFault("that scan is over", place="field", cure="begin it again")
            survey, bus = self._scans[key]
        ScanErrand(survey, bus.name).wait(bus)
        progress = survey.progress()
        over = survey.sweep.next() is None
        if over:
            with self._lock:
                self._scans.pop(key, None)
        return {"over": over, "progress": progress, "found": survey.found, "notes": survey.notes}


def survey_of(request: Mapping[str, Any], baud: int, zone: tzinfo, clock: Clock) -> Survey:
    """The survey that a request describes, checked.

    Args:
        request: `addresses` and `bauds` lists, `all_bauds`, `server_sap`, `answer_ms`, `mode_e`.
        baud: the line's own speed, 0 where it has none.
        zone: of the meters' clocks.
        clock: time.

    Raises:
        OperatorFault: no addresses, or one that no meter can have.
    """
    addresses, bauds = request.get("addresses", []), request.get("bauds", [])
    if not isinstance(addresses, list) or not addresses or not all(_is_address(each) for each in addresses):
        raise OperatorFault("no addresses to try", cure="0, or 16 to 16383")
    if not isinstance(bauds, list) or not all(isinstance(each, int) and each > 0 for each in bauds):
        raise OperatorFault("no such speeds", cure="whole numbers, as 9600")
    others = [each for each in bauds if each != baud][:BAUDS_MOST] if baud and not request.get("mode_e") else []
    server_sap, answer_ms = request.get("server_sap", 1), request.get("answer_ms", 300)
    if not isinstance(server_sap, int) or not 1 <= server_sap <= PHYSICAL[-1]:
        raise OperatorFault("no such logical device", cure="1 to 16383")
    if not isinstance(answer_ms, int) or not 20 <= answer_ms <= 10_000:
        raise OperatorFault("no such time", cure="20 to 10000 ms")
    sweep = Sweep([baud, *others], addresses, all_bauds=bool(request.get("all_bauds")))
    return Survey(sweep, zone, clock, server_sap, answer_ms / 1000, mode_e=bool(request.get("mode_e")))


def _is_address(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and (value == 0 or value in PHYSICAL)
