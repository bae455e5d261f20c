"""Who a meter says that it is to the public client, and which model it may be. Pure but for the reading itself."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from dcu import obis
from dcu.errors import AttributeDenied, CaptureMismatch, DcuError, MeterBusy, ReplyMalformed
from dcu.meter import AttributeRef, ClassId
from dcu.obis import LogicalName
from dcu.ports import Association
from dcu.reading import Data

_DATA: Final = {
    "serial": obis.SERIAL_NUMBER,
    "device_id": obis.DEVICE_ID,
    "ldn": obis.LOGICAL_DEVICE_NAME,
    "manufacturer": LogicalName.of("0.0.96.1.1"),
    "firmware": LogicalName.of("1.0.0.2.0"),
    "type": LogicalName.of("0.0.94.91.9"),
    "category": LogicalName.of("0.0.94.91.11"),
    "reader_counter": LogicalName.of("0.0.43.1.2"),
}
_FLAG_IDS: Final = {"CRY": "Crystal", "GOE": "Genus", "HPL": "HPL"}
"""Makers by the FLAG id in logical device name and system title, as far as captures of real meters show them."""

_BY_CATEGORY: Final = {"D1": "is15959-1ph", "D2": "is15959-3ph-wc", "D3": "is15959-3ph-ct", "D4": "is15959-3ph-ct"}
_BY_TYPE: Final = {6: "is15959-1ph", 7: "is15959-3ph-wc"}
"""Meter category and type of the nameplate (reference/is15959.md 2.2)."""

_REFUSED: Final = (AttributeDenied, MeterBusy, ReplyMalformed, CaptureMismatch)


@dataclass(frozen=True, slots=True)
class Identity:
    """What the public client may know.

    Attributes:
        said: texts and numbers by name; what the meter refuses is not there.
    """

    said: Mapping[str, str | int]

    @property
    def serial(self) -> str:
        """Empty where the meter does not say."""
        return str(self.said.get("serial", ""))

    @property
    def make(self) -> str:
        """The manufacturer's own word, else by the FLAG id; empty where neither is known."""
        if "manufacturer" in self.said:
            return str(self.said["manufacturer"])
        flag = str(self.said.get("ldn") or self.said.get("device_id") or "")[:3].upper()
        return _FLAG_IDS.get(flag, flag if flag.isalpha() and len(flag) == 3 else "")

    @property
    def model(self) -> tuple[str, str]:
        """(name of the model that it may be, why)."""
        said = self._said_model
        if said is not None:
            return said
        if "reader_counter" in self.said:
            return "is15959-1ph", "a guess: it publishes an IS 15959 counter; look whether it has one phase or three"
        return "dlms-generic", "a guess: nothing that it says is of IS 15959"

    @property
    def is_guess(self) -> bool:
        """It did not say which kind of meter it is: a person has to look."""
        return self._said_model is None

    @property
    def _said_model(self) -> tuple[str, str] | None:
        category, kind = str(self.said.get("category", "")).strip().upper(), self.said.get("type")
        if category in _BY_CATEGORY:
            return _BY_CATEGORY[category], f"category {category}"
        if isinstance(kind, int) and kind in _BY_TYPE:
            return _BY_TYPE[kind], f"meter type {kind}"
        return None


def identity(association: Association) -> Identity:
    """Ask. Raises as `ports.Association`, where nothing can be read at all."""
    refs = [AttributeRef(ClassId.DATA, name, 2) for name in _DATA.values()]
    try:
        values = association.get_list(refs)
    except _REFUSED:
        values = [_one(association, ref) for ref in refs]  # a list is more than it can
    said = {
        name: text
        for name, value in zip(_DATA, values, strict=True)
        if not isinstance(value, Exception) and (text := _text(value)) is not None
    }
    return Identity(said)


def _one(association: Association, ref: AttributeRef) -> Data | DcuError:
    try:
        return association.get(ref)
    except _REFUSED as fault:
        return fault


def _text(value: Data) -> str | int | None:
    if isinstance(value, bytes):
        text = value.decode("latin-1").strip("\0 ")
        return text if text.isprintable() else value.hex()
    return value if isinstance(value, str | int) and not isinstance(value, bool) else None
