"""What a GET asks for: values and buffers, each taking its own answer out of the response's octets. Pure."""

from datetime import tzinfo

from dcu.drivers import axdr, profile, profile_rows
from dcu.errors import CaptureMismatch
from dcu.meter import AttributeRef, ClassId
from dcu.obis import LogicalName
from dcu.reading import UNTIMED, Data, Layout, Row

_BUFFER = 2


class AskedValue:
    """One attribute, whole.

    Attributes:
        ref: which.
        selector: empty.
        value: what the meter gave, or its refusal.
    """

    __slots__ = ("place", "ref", "selector", "value")

    def __init__(self, ref: AttributeRef, place: str) -> None:
        self.ref = ref
        self.place = place
        self.selector = b""
        self.value: Data | Exception = None

    def __str__(self) -> str:
        return f"{self.place}: {self.ref}"

    def take(self, octets: bytes, at: int) -> int:
        """As `reply.Asked`."""
        self.value, end = axdr.decode_at(octets, at)
        return end

    def refuse(self, refusal: Exception) -> None:
        """As `reply.Asked`."""
        self.value = refusal


class AskedRows:
    """Rows of one buffer.

    Attributes:
        ref: the buffer.
        selector: which rows.
        rows: what the meter gave, in its order; or its refusal, or CaptureMismatch.
        compressed: what has times that are compressed away: the meter's capture period brings them back, as it is now
            and not as it was when somebody asked.
        period_s: what the capture period is thought to be; says where to look, and gives no row its time.
    """

    __slots__ = ("compressed", "layout", "name", "period_s", "place", "ref", "rows", "selector", "zone")

    def __init__(
        self, name: LogicalName, layout: Layout, selector: bytes, period_s: int, zone: tzinfo, place: str
    ) -> None:
        """Rows to be read of the profile `name`; `period_s` is 0 where it is not known."""
        self.ref = AttributeRef(ClassId.PROFILE_GENERIC, name, _BUFFER)
        self.name = name
        self.layout = layout
        self.selector = selector
        self.period_s = period_s
        self.zone = zone
        self.place = place
        self.rows: list[Row] | Exception = []
        self.compressed: list[Data] | None = None

    def __str__(self) -> str:
        return f"{self.place}: {self.ref}"

    def take(self, octets: bytes, at: int) -> int:
        """As `reply.Asked`. Rows that do not fit the layout cost themselves and not what stands behind them."""
        quick = profile_rows.read(octets, at, self.layout, self.zone)
        if quick is not None:
            self.rows, dropped, end = quick
            profile.tell_dropped(dropped, dropped + len(self.rows), f"{self.place}: {self.name}")
            return end
        buffer, end = axdr.decode_at(octets, at)
        if self.layout[:1] != (UNTIMED,) and profile.is_compressed(buffer):
            self.compressed = buffer
        else:
            self._fill(buffer, 0)
        return end

    def refuse(self, refusal: Exception) -> None:
        """As `reply.Asked`."""
        self.rows = refusal

    def fill(self, period_s: int) -> None:
        """Give compressed rows their times, which are `period_s` apart; 0: those without a time are left out."""
        if self.compressed is not None:
            self._fill(self.compressed, period_s)
            self.compressed = None

    def _fill(self, buffer: Data, period_s: int) -> None:
        try:
            self.rows = profile.rows(buffer, self.layout, period_s, self.zone, f"{self.place}: {self.name}")
        except CaptureMismatch as fault:
            self.rows = fault
