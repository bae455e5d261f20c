"""Meter models that the box knows, by the name the configuration uses.

Source: IS 15959 object model (reference/is15959.md 1.1 and 2). Capture objects, scalers and capture periods are
always read from the meter itself; a model only says who to ask and for what.
"""

from dcu import obis
from dcu.meter import (
    AssociationSpec,
    AttributeRef,
    ClassId,
    Mechanism,
    MeterModel,
    ProfileKind,
    ProfileSpec,
    Protection,
    Purpose,
)
from dcu.obis import LogicalName

PUBLIC_CLIENT = 16
METER_READER = 32
UTILITY_SETTING = 48

_BALANCE = (
    obis.PAYMENT_MODE,
    obis.LAST_RECHARGE_AMOUNT,
    obis.LAST_RECHARGE_TIME,
    obis.TOTAL_AT_LAST_RECHARGE,
    obis.CURRENT_BALANCE,
    obis.BALANCE_TIME,
)


def _single_phase(name: str, switching: Mechanism) -> MeterModel:
    return MeterModel(
        name=name,
        server_sap=1,
        associations={
            Purpose.IDENTIFY: AssociationSpec(PUBLIC_CLIENT, Mechanism.NONE),
            Purpose.READ: AssociationSpec(METER_READER, Mechanism.LLS, Protection.BOTH, LogicalName.of("0.0.43.1.2")),
            Purpose.SWITCH: AssociationSpec(UTILITY_SETTING, switching, Protection.BOTH, LogicalName.of("0.0.43.1.3")),
        },
        profiles=(
            ProfileSpec("instantaneous", obis.INSTANTANEOUS, obis.INSTANTANEOUS_SCALERS, ProfileKind.SNAPSHOT),
            ProfileSpec("block-load", obis.BLOCK_LOAD, obis.BLOCK_LOAD_SCALERS, ProfileKind.RING),
            ProfileSpec("daily-load", obis.DAILY_LOAD, obis.DAILY_LOAD_SCALERS, ProfileKind.RING),
        ),
        balance=tuple(AttributeRef(ClassId.DATA, name, 2) for name in _BALANCE),
    )


MODELS = {
    model.name: model
    for model in (
        _single_phase("is15959-1ph", Mechanism.HLS_SECRET),
        _single_phase("is15959-1ph-gmac", Mechanism.HLS_GMAC),
    )
}
"""Model by name."""
