"""An open association: what errands call. Each call is one or more exchanges. Satisfies `ports.Association`."""

import logging
from collections.abc import Callable, Sequence
from datetime import datetime, tzinfo
from typing import Final

from dcu.command import Warrant
from dcu.drivers import apdu, profile, reply
from dcu.drivers.acse import Conformance
from dcu.drivers.dialogue import Dialogue
from dcu.drivers.profile import ScalerUnit
from dcu.errors import AttributeDenied, CaptureMismatch, MeterBusy, ReplyMalformed, WarrantRequired
from dcu.meter import AttributeRef, ByEntry, ByRange, ClassId, MethodRef, ProfileSpec
from dcu.obis import LogicalName
from dcu.ports import Described, Polled, RowsWanted
from dcu.reading import Column, Data, Layout, Row

log = logging.getLogger(__name__)

_BUFFER: Final = 2
_CAPTURE_OBJECTS: Final = 3
_CAPTURE_PERIOD: Final = 4
_SORT_METHOD: Final = 5
_ENTRIES_IN_USE: Final = 7
_ENTRIES: Final = 8
_LIFO: Final = 2
_LIST_LIMIT: Final = 16  # attributes a GET with list; more would only make a lost answer dearer
_LIST_HEAD: Final = 4
_TARGET: Final = 10
_FEW: Final = 4


class OpenAssociation:
    """Satisfies `ports.Association`.

    Attributes:
        serial: read from the meter in this association and equal to the configured one.
    """

    def __init__(
        self, dialogue: Dialogue, conformance: int, zone: tzinfo, monotonic: Callable[[], float], place: str
    ) -> None:
        self.serial = ""
        self._dialogue = dialogue
        self._conformance = conformance
        self._zone = zone
        self._monotonic = monotonic
        self._place = place
        self._periods: dict[LogicalName, int] = {}

    # ---- reads ----

    def get(self, ref: AttributeRef) -> Data:
        """One attribute. Raises as `ports.Association`."""
        return self._get(ref)

    def _get(self, ref: AttributeRef, selector: bytes = b"") -> Data:
        request = self._dialogue.codec.get(ref, selector)
        return reply.one(self._dialogue.get(request), self._what(ref))

    def get_list(self, refs: Sequence[AttributeRef]) -> list[Data | Exception]:
        """Several attributes in order; AttributeDenied or MeterBusy in the place of one that was refused."""
        many = min(_LIST_LIMIT, (self._dialogue.room() - _LIST_HEAD) // _TARGET)
        if many < 2 or not self._conformance & Conformance.MULTIPLE_REFERENCES:
            return [self._get_or_refusal(ref) for ref in refs]
        values: list[Data | Exception] = []
        for at in range(0, len(refs), many):
            part = refs[at : at + many]
            request = self._dialogue.codec.get_list(part)
            values += reply.several(self._dialogue.get(request), [self._what(ref) for ref in part])
        return values

    def _get_or_refusal(self, ref: AttributeRef) -> Data | Exception:
        try:
            return self._get(ref)
        except (AttributeDenied, MeterBusy) as refusal:
            return refusal

    def poll(self, refs: Sequence[AttributeRef], wanted: Sequence[RowsWanted]) -> Polled:
        """Attributes and rows together. Raises as `ports.Association`."""
        values = tuple(self.get_list(refs)) if refs else ()
        return Polled(values, tuple(self._wanted(each) for each in wanted))

    def _wanted(self, want: RowsWanted) -> list[Row] | Exception:
        selector = b""
        match want.selection:
            case ByRange(since, until) if self._selective:
                selector = apdu.by_range(since, until, self._zone)
            case ByEntry(first, last) if self._selective:
                selector = apdu.by_entry(first, last)
        try:
            return self._buffer(want.profile, want.layout, selector)
        except (AttributeDenied, MeterBusy) as refusal:
            return refusal

    # ---- profiles ----

    def describe(self, specs: Sequence[ProfileSpec]) -> list[Described | Exception]:
        """What the meter says of several profiles. Raises as `ports.Association`."""
        return [self._described(spec) for spec in specs]

    def _described(self, spec: ProfileSpec) -> Described | Exception:
        try:
            layout = self.layout(spec.logical_name, spec.scalers)
            period_s = self.capture_period_s(spec.logical_name)
            in_use, newest_first = self._extent(spec.logical_name)
            entries = self.get(AttributeRef(ClassId.PROFILE_GENERIC, spec.logical_name, _ENTRIES))
        except (AttributeDenied, MeterBusy, ReplyMalformed, CaptureMismatch) as fault:
            return fault
        return Described(layout, period_s, entries if isinstance(entries, int) else 0, in_use, newest_first)

    def layout(self, profile_name: LogicalName, scalers: LogicalName | None) -> Layout:
        """Capture objects with scalers: of the scaler profile, else of each register's own attribute 3.

        Raises:
            CaptureMismatch: the clock is not the first column.
            DcuError: as `ports.Association`.
        """
        columns = self._columns(profile_name)
        profile.check_clock(columns, self._name(profile_name))
        found = self._scaler_profile(scalers) if scalers is not None else {}
        wanted = [
            column
            for column in columns
            if profile.is_scaled(column) and (column.class_id, column.logical_name) not in found
        ]
        found |= self._register_scalers(wanted)
        return profile.with_scalers(columns, found)

    def _columns(self, name: LogicalName) -> list[Column]:
        ref = AttributeRef(ClassId.PROFILE_GENERIC, name, _CAPTURE_OBJECTS)
        return profile.columns(self.get(ref), self._name(name))

    def _scaler_profile(self, name: LogicalName) -> dict[tuple[int, LogicalName], ScalerUnit]:
        """What it says; nothing where the meter has none, or one that does not fit itself."""
        try:
            objects = self._columns(name)
            buffer = self.get(AttributeRef(ClassId.PROFILE_GENERIC, name, _BUFFER))
            return profile.scalers(objects, buffer, self._name(name))
        except (AttributeDenied, ReplyMalformed) as fault:
            log.info("%s: no use of scaler profile %s, asking each register: %s", self._place, name, fault.cause)
            return {}

    def _register_scalers(self, columns: list[Column]) -> dict[tuple[int, LogicalName], ScalerUnit]:
        refs = [AttributeRef(column.class_id, column.logical_name, 3) for column in columns]
        found: dict[tuple[int, LogicalName], ScalerUnit] = {}
        for ref, value in zip(refs, self.get_list(refs), strict=True):
            if isinstance(value, MeterBusy):
                raise value  # a layout without a scaler that exists would be wrong for good
            if not isinstance(value, Exception):
                found[ref.class_id, ref.logical_name] = profile.scaler_unit(value, self._what(ref))
        return found

    def capture_period_s(self, profile_name: LogicalName) -> int:
        """Class 7 attribute 4, seconds. Raises ReplyMalformed when it is no number."""
        ref = AttributeRef(ClassId.PROFILE_GENERIC, profile_name, _CAPTURE_PERIOD)
        period = self.get(ref)
        if not isinstance(period, int) or isinstance(period, bool) or period < 0:
            raise ReplyMalformed(f"{self._what(ref)}: no period")
        self._periods[profile_name] = period
        return period

    def rows(self, profile_name: LogicalName, layout: Layout, since: datetime, until: datetime) -> list[Row]:
        """Rows with since <= captured_at <= until; by range where the meter has selective access."""
        selector = apdu.by_range(since, until, self._zone) if self._selective else b""
        return profile.within(self._buffer(profile_name, layout, selector), since, until)

    def snapshot(self, profile_name: LogicalName, layout: Layout) -> list[Row]:
        """The whole buffer."""
        return self._buffer(profile_name, layout, b"")

    def last_rows(self, profile_name: LogicalName, layout: Layout, count: int) -> list[Row]:
        """The newest `count` rows, in the order of the meter's buffer."""
        if count < 1:
            return []
        entries, newest_first = self._extent(profile_name)
        count = min(count, entries)
        if count == 0:
            return []
        if not self._selective:
            found = self._buffer(profile_name, layout, b"")
            return found[:count] if newest_first else found[-count:]
        first, last = (1, count) if newest_first else (entries - count + 1, entries)
        return self._buffer(profile_name, layout, apdu.by_entry(first, last))

    def oldest_row(self, profile_name: LogicalName, layout: Layout) -> Row | None:
        """The oldest row with a valid time among the first entries, or None where the buffer is empty."""
        entries, newest_first = self._extent(profile_name)
        if entries == 0:
            return None
        if not self._selective:
            found = self._buffer(profile_name, layout, b"")
        else:
            few = min(entries, _FEW)  # the very first may have an invalid time
            first, last = (entries - few + 1, entries) if newest_first else (1, few)
            found = self._buffer(profile_name, layout, apdu.by_entry(first, last))
        return min(found, key=lambda row: row.captured_at.at, default=None)

    def _extent(self, name: LogicalName) -> tuple[int, bool]:
        """(entries in use, whether the newest is entry 1)."""
        refs = [AttributeRef(ClassId.PROFILE_GENERIC, name, index) for index in (_ENTRIES_IN_USE, _SORT_METHOD)]
        entries, order = self.get_list(refs)
        if isinstance(entries, Exception):
            raise entries
        if not isinstance(entries, int) or entries < 0:
            raise ReplyMalformed(f"{self._what(refs[0])}: no count of entries")
        return entries, order == _LIFO

    @property
    def _selective(self) -> bool:
        return bool(self._conformance & Conformance.SELECTIVE_ACCESS)

    def _buffer(self, name: LogicalName, layout: Layout, selector: bytes) -> list[Row]:
        buffer = self._get(AttributeRef(ClassId.PROFILE_GENERIC, name, _BUFFER), selector)
        return profile.rows(buffer, layout, self._period(name, buffer), self._zone, self._name(name))

    def _period(self, name: LogicalName, buffer: Data) -> int:
        """Capture period, asked for only when a row's time is compressed away."""
        if not isinstance(buffer, list) or not any(isinstance(row, list) and row[:1] == [None] for row in buffer):
            return 0
        return self._periods[name] if name in self._periods else self.capture_period_s(name)

    # ---- what changes a meter ----

    def set(self, ref: AttributeRef, data: bytes, warrant: Warrant) -> None:
        """SET of A-XDR encoded `data`, once. Raises WarrantRequired, and as `ports.Association`."""
        request = self._dialogue.codec.set(ref, data)
        response = self._dialogue.order(request, self._spending(warrant, ref, data))
        reply.check_set(request, response, self._what(ref))

    def act(self, method: MethodRef, data: bytes, warrant: Warrant) -> None:
        """ACTION with the A-XDR encoded parameter `data`, once. Raises as `set`."""
        request = self._dialogue.codec.action(method, data)
        response = self._dialogue.order(request, self._spending(warrant, method, data))
        reply.action_result(request, response, f"{self._place}: {method}")

    def _spending(self, warrant: Warrant, target: AttributeRef | MethodRef, data: bytes) -> Callable[[], None]:
        if not isinstance(warrant, Warrant):
            raise WarrantRequired(f"{target} without a warrant", place=self._place)
        return lambda: warrant.spend(self.serial, target, data, self._monotonic())

    def _what(self, ref: AttributeRef) -> str:
        return f"{self._place}: {ref}"

    def _name(self, name: LogicalName) -> str:
        return f"{self._place}: {name}"
