"""How long frames may be to a meter whose line garbles them: learnt from what came, link by link. Pure.

A frame that loses one bit is lost whole. At one wrong bit in ten thousand four of five frames of 2030 octets are lost,
and one in ten of 128 octets, with seven of which a window is nearly as quick. So a noisy line gets shorter frames, and
longer ones again when it has been clean for a while.
"""

from dataclasses import dataclass, replace
from typing import Final

from dcu.drivers.data_link import DEFAULT_INFO, HdlcOffer, LineTiming

_GARBLED_SHARE: Final = 0.2
_GARBLED_LEAST: Final = 2
_SHORTER: Final = 4
_CLEAN_LINKS: Final = 32
"""Links without one garbled answer before longer frames are tried again: each costs a little where it is too early."""


@dataclass(frozen=True, slots=True)
class Heard:
    """What came over one link, from SNRM to DISC.

    Attributes:
        whole: polls that the meter answered to the end.
        garbled: polls whose answer was garbled.
        echoes: frames of our own that came back.
    """

    whole: int
    garbled: int
    echoes: int = 0

    @property
    def is_noisy(self) -> bool:
        """So much was garbled that shorter frames are quicker."""
        return self.garbled >= max(_GARBLED_LEAST, _GARBLED_SHARE * (self.whole + self.garbled))


@dataclass(frozen=True, slots=True)
class _Cap:
    info: int
    clean: int = 0


class FrameSizes:
    """Longest frames by meter; one thread a meter at a time."""

    def __init__(self) -> None:
        self._caps: dict[str, _Cap] = {}

    def offer(self, serial: str, timing: LineTiming, max_info: int, window: int) -> HdlcOffer:
        """What SNRM may propose to a meter whose model allows so much."""
        cap = self._caps.get(serial)
        return timing.hdlc_offer(max_info if cap is None else min(cap.info, max_info), window)

    def learn(self, serial: str, offered: HdlcOffer, heard: Heard) -> None:
        """Take in how a link went that was opened with that offer."""
        info, cap = offered.max_info_bytes, self._caps.get(serial)
        if heard.is_noisy and info > DEFAULT_INFO:
            self._caps[serial] = _Cap(max(DEFAULT_INFO, info // _SHORTER))
        elif cap is None or heard.whole == 0:
            return
        elif heard.garbled:
            self._caps[serial] = replace(cap, clean=0)
        elif cap.clean + 1 < _CLEAN_LINKS:
            self._caps[serial] = replace(cap, clean=cap.clean + 1)
        elif info < cap.info:
            del self._caps[serial]  # the model or the line allows no more than this anyway
        else:
            self._caps[serial] = _Cap(cap.info * 2)
