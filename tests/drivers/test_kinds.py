"""All that each kind of meter has to say, in each way of saying it: what the drivers read is what the meter kept."""

from dataclasses import replace

import pytest

from dcu.config.meter_models import shipped
from dcu.meter import ByEntry, ProfileKind
from dcu.ports import RowsWanted
from tests.drivers.bench import Bench

VARIETIES = {
    "plain": {},
    "vendor's order": {"columns": "vendor"},
    "amended": {"columns": "amended"},
    "compact": {"compact": True},
    "null-compressed": {"null_compressed": True},
    "newest first": {"newest_first": True},
    "newest first, null-compressed": {"newest_first": True, "null_compressed": True},
    "no scaler profiles": {"scaler_profiles": "missing"},
    "scaler profiles in another order": {"scaler_profiles": "wrong-order"},
    "weekday, deviation": {"weekday": True, "deviation": "right"},
    "deviation of the wrong sign": {"deviation": "wrong-sign"},
    "date-times": {"clock_tag25": True},
    "compact date-times, newest first": {"clock_tag25": True, "compact": True, "newest_first": True},
}
MODELS = {"1ph": "is15959-1ph", "3ph-wc": "is15959-3ph-wc", "3ph-ct": "is15959-3ph-ct"}


@pytest.mark.parametrize("variety", list(VARIETIES))
@pytest.mark.parametrize("kind", list(MODELS))
def test_rows_and_scalers_are_those_of_the_meter(kind, variety):
    bench = Bench(kind=kind, solar_w=3_000.0, **VARIETIES[variety])
    bench.meter = replace(bench.meter, model=shipped()[MODELS[kind]])
    virtual = bench.virtual
    for code in (1, 7, 8, 51, 101, 102, 151, 201, 251, 301):
        virtual.happen(code)
    virtual.reset_demand()
    specs = [s for s in bench.meter.model.profiles if s.kind is not ProfileKind.SNAPSHOT]
    specs = [s for s in specs if s.kind is not ProfileKind.NAMEPLATE]
    assert len(specs) == (9 if kind == "3ph-ct" else 10), "a meter without a relay has no control log to read"
    with bench.associate() as association:
        described = association.describe(specs)
        wanted = [
            RowsWanted(spec.logical_name, each.layout, ByEntry(1, 0), each.period_s)
            for spec, each in zip(specs, described, strict=True)
        ]
        polled = association.poll((), wanted)
    for spec, each, rows in zip(specs, described, polled.rows, strict=True):
        kept = virtual.rows(str(spec.logical_name))
        kept = kept[::-1] if each.newest_first else kept
        if spec.kind is ProfileKind.BILLING:  # the present bill is newer than all
            rows = rows[1:] if each.newest_first else rows[:-1]
        assert each.newest_first is virtual.config.newest_first
        assert [row.captured_at.epoch_s for row in rows] == [row[0] for row in kept], spec.name
        times = {at for at, column in enumerate(each.layout[1:]) if column.attribute == 5}
        for row, (_, *values) in zip(rows, kept, strict=True):
            assert len(row.values) == len(values), spec.name
            for at, (got, value) in enumerate(zip(row.values, values, strict=True)):
                assert at in times or got == value, (spec.name, each.layout[1 + at])
        for column in each.layout[1:]:
            scaled = column.class_id in {3, 4} and column.attribute == 2
            assert (column.unit is not None) is scaled, (spec.name, column)
