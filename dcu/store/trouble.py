"""What is said of a store in which nothing can be stored: to callers meanwhile, and by an alarm afterwards."""

from dcu.clock import alarm_now
from dcu.errors import StoreDown, StoreFault
from dcu.event import AlarmKind, Fact
from dcu.ports import Clock
from dcu.record import Stream, encode_alarm
from dcu.store.memory import Kept


def told_trouble(clock: Clock, fault: StoreFault | None, seconds: int, kept: int, lost: int) -> Kept:
    """The alarm `store-trouble`: for so many seconds nothing could be stored; what became of what came."""
    facts: dict[str, Fact] = {"cause": fault.cause if fault else "", "seconds": seconds, "kept": kept, "lost": lost}
    text = f"nothing could be stored for {seconds} s: {fault}; {kept} works waited in memory, {lost} were lost"
    body = encode_alarm(alarm_now(clock, AlarmKind.STORE_TROUBLE, text[:500], "", facts))
    return Kept(lambda tx: tx.append(Stream.ALARM, body), len(body), lasting=True)


def down_by(fault: StoreFault) -> StoreDown:
    """Each caller gets an exception of its own."""
    return StoreDown(fault.cause, place=fault.place or "store", cure=fault.cure)
