"""An association as it is lent to an errand: one that was parked and turns out to be gone is opened anew, once."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Protocol, TypeVar

from dcu.command import Warrant
from dcu.errors import AssociationRefused, DcuError, LinkLost, MeterBusy, MeterSilent, Preempted
from dcu.meter import AttributeRef, MethodRef, ProfileSpec
from dcu.obis import LogicalName
from dcu.ports import Association, Described, Polled, RowsWanted
from dcu.reading import Data, Layout, Row

T = TypeVar("T")

_GONE = (MeterSilent, LinkLost, MeterBusy, AssociationRefused)
"""What a meter does that has forgotten the association: no answer, DM, an exception response."""


class Session(Protocol):
    """An association that stays open until it is ended: `association.Session`."""

    @property
    def association(self) -> Association:
        """What it was opened for."""
        ...

    def keep_alive(self) -> bool:
        """Let the meter's inactivity time-out begin anew; False: it is gone. Raises BusFault."""
        ...

    def end(self, first: BaseException | None = None) -> None:
        """Release and close: quiet, idempotent; `first` is the fault that ends it."""
        ...


class LentAssociation:
    """Satisfies `ports.Association`.

    One object stands for one association from visit to visit: whoever compares sees whether it is still the same one.

    Args:
        session: open.
        monotonic: seconds that never go back.

    Attributes:
        session: the last one that was opened.
        is_open: False where it was found to be gone and could not be opened again.
        heard_s: when its last exchange ended.
    """

    def __init__(self, session: Session, monotonic: Callable[[], float]) -> None:
        self.session = session
        self.is_open = True
        self._reopen: Callable[[DcuError], Session] | None = None
        self._monotonic = monotonic
        self.heard_s = monotonic()

    def resume(self, reopen: Callable[[DcuError], Session]) -> None:
        """It was parked: `reopen` opens another session in its place when the first exchange shows that it is gone.

        It is told how it showed.
        """
        self._reopen = reopen

    @property
    def serial(self) -> str:
        """As `ports.Association.serial`."""
        return self.session.association.serial

    @serial.setter
    def serial(self, serial: str) -> None:
        self.session.association.serial = serial

    def _read(self, work: Callable[[Association], T]) -> T:
        try:
            result = work(self.session.association)
        except Preempted:
            raise
        except DcuError as fault:
            reopen, self._reopen = self._reopen, None
            if reopen is None or not isinstance(fault, _GONE):
                raise
            self.session.end(fault)
            self.is_open = False
            self.session = reopen(fault)
            self.is_open = True
            result = work(self.session.association)
        self._reopen = None
        self.heard_s = self._monotonic()
        return result

    def get(self, ref: AttributeRef) -> Data:
        """As `ports.Association.get`."""
        return self._read(lambda open_: open_.get(ref))

    def get_list(self, refs: Sequence[AttributeRef]) -> list[Data | Exception]:
        """As `ports.Association.get_list`."""
        return self._read(lambda open_: open_.get_list(refs))

    def poll(self, refs: Sequence[AttributeRef], wanted: Sequence[RowsWanted]) -> Polled:
        """As `ports.Association.poll`."""
        return self._read(lambda open_: open_.poll(refs, wanted))

    def describe(self, specs: Sequence[ProfileSpec]) -> list[Described | Exception]:
        """As `ports.Association.describe`."""
        return self._read(lambda open_: open_.describe(specs))

    def layout(self, profile: LogicalName, scalers: LogicalName | None) -> Layout:
        """As `ports.Association.layout`."""
        return self._read(lambda open_: open_.layout(profile, scalers))

    def capture_period_s(self, profile: LogicalName) -> int:
        """As `ports.Association.capture_period_s`."""
        return self._read(lambda open_: open_.capture_period_s(profile))

    def rows(self, profile: LogicalName, layout: Layout, since: datetime, until: datetime) -> list[Row]:
        """As `ports.Association.rows`."""
        return self._read(lambda open_: open_.rows(profile, layout, since, until))

    def snapshot(self, profile: LogicalName, layout: Layout) -> list[Row]:
        """As `ports.Association.snapshot`."""
        return self._read(lambda open_: open_.snapshot(profile, layout))

    def last_rows(self, profile: LogicalName, layout: Layout, count: int) -> list[Row]:
        """As `ports.Association.last_rows`."""
        return self._read(lambda open_: open_.last_rows(profile, layout, count))

    def oldest_row(self, profile: LogicalName, layout: Layout) -> Row | None:
        """As `ports.Association.oldest_row`."""
        return self._read(lambda open_: open_.oldest_row(profile, layout))

    def set(self, ref: AttributeRef, data: bytes, warrant: Warrant) -> None:
        """As `ports.Association.set`: sent once, never again."""
        self._reopen = None
        self.session.association.set(ref, data, warrant)

    def act(self, method: MethodRef, data: bytes, warrant: Warrant) -> None:
        """As `ports.Association.act`: sent once, never again."""
        self._reopen = None
        self.session.association.act(method, data, warrant)
