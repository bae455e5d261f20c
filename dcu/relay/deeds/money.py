"""Recharge and balance registers. Pure.

They show the consumer what the billing system's wallet holds (reference/is15959.md 2.11, 3). A deed of money is sent
once, as every other: whether a meter adds or only shows what is written is its own affair.
"""

import struct
from datetime import datetime, tzinfo
from typing import Final

from dcu import obis
from dcu.command import Command
from dcu.errors import ReplyMalformed
from dcu.meter import AttributeRef, ClassId, MeterModel
from dcu.obis import LogicalName
from dcu.reading import Data, date_time, from_epoch, meter_time
from dcu.relay.case import Evidence
from dcu.relay.deeds.shape import RELAY, Deed, Scene, Step, Values, all_hold, given, number, octet_string
from dcu.relay.receipts import ReadBack

_DOUBLE_LONG: Final = 5


def balance_register(model: MeterModel) -> AttributeRef:
    """Where this model keeps the current balance."""
    return _register(model, obis.CURRENT_BALANCE)


def _register(model: MeterModel, name: LogicalName) -> AttributeRef:
    """Where this model keeps a register of money: some makes have them in another group (reference/is15959.md 2.11)."""
    found = (ref for ref in model.balance if ref.logical_name.octets[4] == name.octets[4])
    return next(found, AttributeRef(ClassId.DATA, name, 2))


def _purse(command: Command, model: MeterModel) -> dict[AttributeRef, int | datetime]:
    """What each register is to hold. The balance stands last: it is what the consumer lives by."""
    return {
        _register(model, obis.LAST_RECHARGE_AMOUNT): given(command.recharge),
        _register(model, obis.LAST_RECHARGE_TIME): from_epoch(given(command.recharged_at)),
        _register(model, obis.BALANCE_TIME): from_epoch(command.iat),
        _register(model, obis.CURRENT_BALANCE): given(command.balance),
    }


def _balance_refs(command: Command, scene: Scene) -> tuple[AttributeRef, ...]:
    return tuple(_purse(command, scene.model))


def _balance_steps(command: Command, _evidence: Evidence, scene: Scene) -> tuple[Step, ...]:
    return tuple(Step(ref, _encoded(value, scene.zone)) for ref, value in _purse(command, scene.model).items())


def _encoded(value: int | datetime, zone: tzinfo) -> bytes:
    if isinstance(value, datetime):
        return octet_string(date_time(value, zone))
    return struct.pack(">Bi", _DOUBLE_LONG, value)


def _balance_look(command: Command, values: Values, scene: Scene) -> ReadBack:
    names = {"balance": obis.CURRENT_BALANCE, "recharge": obis.LAST_RECHARGE_AMOUNT}
    found = {name: number(values.get(_register(scene.model, register))) for name, register in names.items()}
    said = {name: amount for name, amount in found.items() if amount is not None}
    return ReadBack(holds=_holds(command, values, scene), said=said)


def _holds(command: Command, values: Values, scene: Scene) -> bool | None:
    purse = _purse(command, scene.model)
    return all_hold(_held(values.get(ref), wanted, scene.zone) for ref, wanted in purse.items())


def _balance_unfit(command: Command, values: Values, scene: Scene) -> str:
    return "its registers of money cannot all be read" if _holds(command, values, scene) is None else ""


def _held(value: Data | Exception, wanted: int | datetime, zone: tzinfo) -> bool | None:
    if isinstance(wanted, int):
        amount = number(value)
        return None if amount is None else amount == wanted
    if not isinstance(value, bytes):
        return None
    try:
        return meter_time(value, zone).at == wanted
    except ReplyMalformed:  # a time of which nothing is specified: no recharge yet
        return False


BALANCE: Final = Deed(
    lambda command, scene: (*RELAY, *_balance_refs(command, scene)),
    _balance_refs,
    _balance_steps,
    _balance_look,
    unfit=_balance_unfit,
)
