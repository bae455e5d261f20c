"""An open association: what errands call. Each call is one or more exchanges. Satisfies `ports.Association`.

Nothing is returned before the meter's serial was read in this very association and is the expected one: it stands at
the head of the first list that is asked for, where it costs no exchange of its own.
"""

import logging
from collections.abc import Callable, Sequence
from datetime import datetime, tzinfo
from typing import Final

from dcu import obis
from dcu.command import Warrant
from dcu.drivers import describing, profile, reply
from dcu.drivers.acse import Conformance
from dcu.drivers.asked import AskedRows, AskedValue
from dcu.drivers.by_entry import EntryBuffer
from dcu.drivers.dialogue import Dialogue
from dcu.drivers.get_request import LONGEST_LIST, by_entry, by_range, parts
from dcu.drivers.reply import RequestTooMuch
from dcu.errors import AttributeDenied, CaptureMismatch, MeterBusy, ReplyMalformed, WarrantRequired, WrongMeter
from dcu.meter import AttributeRef, ByEntry, ByRange, ClassId, MethodRef, ProfileSpec, Quirk, Selection
from dcu.obis import LogicalName
from dcu.ports import Described, Polled, RowsWanted
from dcu.reading import Data, Layout, Row

log = logging.getLogger(__name__)

_FEW: Final = 4
_SHORT_LIST: Final = 10  # attributes that every meter with lists is expected to take at once
_SERIAL: Final = AttributeRef(ClassId.DATA, obis.SERIAL_NUMBER, 2)

_Asked = AskedValue | AskedRows


class OpenAssociation:
    """Satisfies `ports.Association`.

    Attributes:
        serial: of the meter: expected by the configuration, and read before anything else of it is returned.
    """

    def __init__(
        self,
        dialogue: Dialogue,
        conformance: int,
        zone: tzinfo,
        monotonic: Callable[[], float],
        place: str,
        *,
        expected_serial: str | None = None,
        quirks: frozenset[Quirk] = frozenset(),
    ) -> None:
        """An association that is open.

        Args:
            dialogue: with the meter.
            conformance: what the meter granted.
            zone: of the meter's clock.
            monotonic: seconds that never go back.
            place: the meter, for errors.
            expected_serial: what the meter must say that it is; None takes whoever answers.
            quirks: of the meter's model.
        """
        self.serial = expected_serial or ""
        self._expected = expected_serial
        self._identified = expected_serial is None
        self._dialogue = dialogue
        self._conformance = conformance
        self._quirks = quirks
        self._zone = zone
        self._monotonic = monotonic
        self._place = place
        self._periods: dict[LogicalName, int] = {}
        self._longest_list = LONGEST_LIST

    # ---- identity ----

    def identify(self) -> None:
        """Read the serial now, if it was not yet. Raises WrongMeter, and as `ports.Association`."""
        if not self._identified:
            self._ask([AskedValue(_SERIAL, self._place)])

    def _check_identity(self, said: _Asked) -> None:
        """Raises WrongMeter, and the refusal of the serial itself."""
        value = said.value if isinstance(said, AskedValue) else None
        if isinstance(value, Exception):
            raise value
        text = value.decode("latin-1") if isinstance(value, bytes) else str(value)
        text = text.strip("\0 ")
        if text != self._expected:
            raise WrongMeter(
                f"the meter says that it is {text[:32]!r}",
                place=self._place,
                cure="correct the configuration, or find out who moved the meter",
                found=text[:32],
            )
        self._identified = True

    # ---- exchanges ----

    def _ask(self, asked: Sequence[_Asked]) -> None:
        """Read them all, in lists where the meter has them; each holds its value or its refusal then."""
        if not asked:
            return
        if not self._identified and asked[0].ref != _SERIAL:
            asked = [AskedValue(_SERIAL, self._place), *asked]
        for part in parts(asked, self._dialogue.room(), self._longest):
            if len(part) == 1:
                self._ask_one(part[0])
            else:
                self._ask_list(part)

    def _longest(self) -> int:
        """Attributes a list: as long as this meter takes, 1 where it takes none."""
        granted = self._conformance & Conformance.MULTIPLE_REFERENCES
        return self._longest_list if granted and Quirk.NO_LIST not in self._quirks else 1

    def _ask_list(self, part: list[_Asked]) -> None:
        try:
            payload = self._dialogue.get(self._dialogue.codec.get_list(part))
        except (AttributeDenied, MeterBusy) as refusal:
            self._ask_shorter(part, refusal)
            return
        try:
            reply.take_several(payload, part)
        except ReplyMalformed as fault:
            # One value that cannot be read hides all behind it: each is asked again by itself, and it alone is lost.
            log.warning("%s: a list that cannot be read: %s", self._place, fault.cause)
            self._ask_each(part)
            return
        if not self._identified:
            self._check_identity(part[0])

    def _ask_shorter(self, part: list[_Asked], refusal: AttributeDenied | MeterBusy) -> None:
        """After a list was refused as a whole: a long one may be too long, a short one means that there are none."""
        if len(part) > _SHORT_LIST:
            self._longest_list = _SHORT_LIST
            for at in range(0, len(part), _SHORT_LIST):
                self._ask_list(part[at : at + _SHORT_LIST])
        elif isinstance(refusal, AttributeDenied | RequestTooMuch):
            log.info("%s: no lists in this association: %s", self._place, refusal.cause)
            self._longest_list = 1
            self._ask_each(part)
        else:
            raise refusal

    def _ask_each(self, part: list[_Asked]) -> None:
        for item in part:
            self._ask_one(item)

    def _ask_one(self, item: _Asked) -> None:
        try:
            payload = self._dialogue.get(self._dialogue.codec.get(item.ref, item.selector))
        except (AttributeDenied, MeterBusy) as refusal:
            item.refuse(refusal)
        else:
            try:
                reply.take_one(payload, item)
            except ReplyMalformed as fault:
                item.refuse(fault)
        if not self._identified:
            self._check_identity(item)

    # ---- reads ----

    def get(self, ref: AttributeRef) -> Data:
        """One attribute. Raises as `ports.Association`."""
        asked = AskedValue(ref, self._place)
        if self._identified:
            self._ask_one(asked)
        else:
            self._ask((asked,))
        if isinstance(asked.value, Exception):
            raise asked.value
        return asked.value

    def get_list(self, refs: Sequence[AttributeRef]) -> list[Data | Exception]:
        """Several attributes in order; its error in the place of one that was refused or cannot be read."""
        asked = [AskedValue(ref, self._place) for ref in refs]
        self._ask(asked)
        return [each.value for each in asked]

    def poll(self, refs: Sequence[AttributeRef], wanted: Sequence[RowsWanted]) -> Polled:
        """Attributes and rows together. Raises as `ports.Association`."""
        values = [AskedValue(ref, self._place) for ref in refs]
        buffers = [self._asked_rows(want.profile, want.layout, want.selection, want.period_s) for want in wanted]
        listed = [buffer for buffer, want in zip(buffers, wanted, strict=True) if not self._is_searched(want.selection)]
        self._ask([*values, *listed])
        for buffer, want in zip(buffers, wanted, strict=True):
            if isinstance(want.selection, ByRange) and self._is_searched(want.selection):
                self._search(buffer, want.selection)
            self._decompress(buffer)
        return Polled(tuple(each.value for each in values), tuple(each.rows for each in buffers))

    # ---- profiles ----

    def describe(self, specs: Sequence[ProfileSpec]) -> list[Described | Exception]:
        """What the meter says of several profiles. Raises as `ports.Association`."""
        found = describing.describe(specs, self._ask, self._place)
        for spec, described in zip(specs, found, strict=True):
            if isinstance(described, Described):
                self._periods[spec.logical_name] = described.period_s
        return found

    def layout(self, profile_name: LogicalName, scalers: LogicalName | None) -> Layout:
        """Capture objects with scalers: of the scaler profile, else of each register's own attribute 3.

        Raises:
            CaptureMismatch: the clock is not the first column.
            DcuError: as `ports.Association`.
        """
        return describing.layout(profile_name, scalers, self._ask, self._place)

    def capture_period_s(self, profile_name: LogicalName) -> int:
        """Class 7 attribute 4, seconds. Raises ReplyMalformed when it is no number."""
        [period] = self._profile_values(profile_name, describing.CAPTURE_PERIOD)
        self._periods[profile_name] = describing.count(period)
        return self._periods[profile_name]

    def rows(self, profile_name: LogicalName, layout: Layout, since: datetime, until: datetime) -> list[Row]:
        """Rows with since <= captured_at <= until; by range where the meter has it."""
        wanted = ByRange(since, until)
        if self._is_searched(wanted):
            return self._searched(profile_name, layout, wanted, self._periods.get(profile_name, 0))
        return profile.within(self._buffer(profile_name, layout, wanted), since, until)

    def snapshot(self, profile_name: LogicalName, layout: Layout) -> list[Row]:
        """The whole buffer."""
        return self._buffer(profile_name, layout, None)

    def last_rows(self, profile_name: LogicalName, layout: Layout, count: int) -> list[Row]:
        """The newest `count` rows, in the order of the meter's buffer."""
        if count < 1:
            return []
        entries, newest_first = self._extent(profile_name)
        count = min(count, entries)
        if count == 0:
            return []
        if not self._selective:
            found = self._buffer(profile_name, layout, None)
            return found[:count] if newest_first else found[-count:]
        first, last = (1, count) if newest_first else (entries - count + 1, entries)
        return self._buffer(profile_name, layout, ByEntry(first, last))

    def oldest_row(self, profile_name: LogicalName, layout: Layout) -> Row | None:
        """The oldest row with a valid time among the first entries, or None where the buffer is empty."""
        entries, newest_first = self._extent(profile_name)
        if entries == 0:
            return None
        few = min(entries, _FEW)  # the very first may have an invalid time
        first, last = (entries - few + 1, entries) if newest_first else (1, few)
        found = self._buffer(profile_name, layout, ByEntry(first, last))
        return min(found, key=lambda row: row.captured_at.at, default=None)

    def _profile_values(self, name: LogicalName, *attributes: int) -> list[AskedValue]:
        asked = [AskedValue(AttributeRef(ClassId.PROFILE_GENERIC, name, each), self._place) for each in attributes]
        self._ask(asked)
        return asked

    def _extent(self, name: LogicalName) -> tuple[int, bool]:
        """(entries in use, whether the newest is entry 1)."""
        entries, order = self._profile_values(name, describing.ENTRIES_IN_USE, describing.SORT_METHOD)
        return describing.count(entries), describing.is_newest_first(order)

    @property
    def _selective(self) -> bool:
        return bool(self._conformance & Conformance.SELECTIVE_ACCESS)

    def _is_searched(self, selection: Selection) -> bool:
        """Whether rows of a range have to be found by entry."""
        return isinstance(selection, ByRange) and self._selective and Quirk.NO_RANGE in self._quirks

    def _searched(self, name: LogicalName, layout: Layout, wanted: ByRange, period_s: int) -> list[Row]:
        entries, newest_first = self._extent(name)

        def read(first: int, last: int) -> list[Row]:
            return self._buffer(name, layout, ByEntry(first, last))

        return EntryBuffer(read, entries, newest_first, period_s).rows(wanted.since, wanted.until)

    def _search(self, asked: AskedRows, wanted: ByRange) -> None:
        try:
            asked.rows = self._searched(asked.name, asked.layout, wanted, asked.period_s)
        except (AttributeDenied, MeterBusy, ReplyMalformed, CaptureMismatch) as fault:
            asked.refuse(fault)

    def _asked_rows(self, name: LogicalName, layout: Layout, selection: Selection, period_s: int = 0) -> AskedRows:
        """Rows to be asked for; all where the meter has not that kind of selection."""
        selector = b""
        match selection:
            case ByRange(since, until) if self._selective:
                selector = by_range(since, until, self._zone)
            case ByEntry(first, last) if self._selective:
                selector = by_entry(first, last)
        known_s = period_s or self._periods.get(name, 0)
        return AskedRows(name, layout, selector, known_s, self._zone, self._place)

    def _buffer(self, name: LogicalName, layout: Layout, selection: Selection) -> list[Row]:
        asked = self._asked_rows(name, layout, selection)
        self._ask((asked,))
        self._decompress(asked)
        if isinstance(asked.rows, Exception):
            raise asked.rows
        return asked.rows

    def _decompress(self, asked: AskedRows) -> None:
        """The capture period is asked for only when a row's time is compressed away; then behind the rows each time.

        One that was set meanwhile, and is remembered as it was, would put rows at times that they never had.
        """
        if asked.compressed is None:
            return
        try:
            asked.fill(self.capture_period_s(asked.name))
        except (AttributeDenied, MeterBusy, ReplyMalformed) as refusal:
            asked.refuse(refusal)

    # ---- what changes a meter ----

    def set(self, ref: AttributeRef, data: bytes, warrant: Warrant) -> None:
        """SET of A-XDR encoded `data`, once. Raises WarrantRequired, and as `ports.Association`."""
        spend = self._spending(warrant, ref, data)
        self.identify()
        request = self._dialogue.codec.set(ref, data)
        reply.check_set(request, self._dialogue.order(request, spend), f"{self._place}: {ref}")

    def act(self, method: MethodRef, data: bytes, warrant: Warrant) -> None:
        """ACTION with the A-XDR encoded parameter `data`, once. Raises as `set`."""
        spend = self._spending(warrant, method, data)
        self.identify()
        request = self._dialogue.codec.action(method, data)
        reply.action_result(request, self._dialogue.order(request, spend), f"{self._place}: {method}")

    def _spending(self, warrant: Warrant, target: AttributeRef | MethodRef, data: bytes) -> Callable[[], None]:
        if not isinstance(warrant, Warrant):
            raise WarrantRequired(f"{target} without a warrant", place=self._place)
        return lambda: warrant.spend(self.serial, target, data, self._monotonic())
