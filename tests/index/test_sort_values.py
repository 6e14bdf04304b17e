"""Sort values of every source type, and where documents without one stand."""

import datetime
import math

import pandas as pd
import pyarrow as pa
import pytest

import bitdex
from bitdex.errors import InvalidError

VALUES = {  # source type -> values in order
    "uint32": [0, 1, 2**31, 2**32 - 1],
    "uint64": [0, 1, 2**32, 2**63 - 1],
    "int32": [-(2**31), -1, 0, 2**31 - 1],
    "int64": [-(2**63), -1, 0, 2**63 - 1],
    "timestamp": [-(2**40), -1, 0, 1_700_000_000],
    "float64": [-math.inf, -1.5, 0.0, 5e-324, 1e300, math.inf],
    "boolean": [False, True],
}
ABSENT = [7, 90, 3]  # ids without a value


def index_of(path, source_type, absent):
    sort = {"name": "value", "source_type": source_type}
    sort |= {} if absent is None else {"absent": absent}
    if VALUES[source_type][-1] > 2**32:
        sort["bits"] = 64
    return bitdex.create(path, {"name": "values", "config": {"sort_fields": [sort]}})


@pytest.mark.parametrize("source_type", VALUES)
@pytest.mark.parametrize("absent", [None, "last", "first", "lowest"])
@pytest.mark.parametrize("loaded", [False, True], ids=["put", "loaded"])
def test_order(tmp_path, source_type, absent, loaded):
    """Each value twice, so that ties are seen; pages by cursor and by offset are the one big answer."""
    values = VALUES[source_type]
    rows = {10 + i: values[i // 2] for i in range(2 * len(values))} | dict.fromkeys(ABSENT)
    ascending, without = sorted(set(rows) - set(ABSENT)), sorted(ABSENT)
    with index_of(tmp_path / "index", source_type, absent) as index:
        if loaded:
            phase = {"name": "rows", "slot_field": "id", "sets_alive": True, "fields": ["value"]}
            table = pa.table({"id": list(rows), "value": list(rows.values())})
            index.dump(phase, source={"rows": table})
        else:
            index.put_many({"id": id, "value": value} for id, value in rows.items())
        up = without + ascending if absent in ("first", "lowest") else ascending + without
        down = without[::-1] + ascending[::-1] if absent == "first" else ascending[::-1] + without[::-1]
        for sort, expected in (("value", up), ("-value", down)):
            assert index.query(sort=sort, limit=100).ids.tolist() == expected
            for limit in (1, 2, 3, len(without)):
                page, found = index.query(sort=sort, limit=limit), []
                while len(page):
                    found += page.ids.tolist()
                    later = index.query(sort=sort, limit=limit, after=str(page.cursor))
                    page = page.next()
                    assert later.ids.tolist() == page.ids.tolist()
                assert found == expected
                offsets = range(0, len(expected) + limit, limit)
                pages = [index.query(sort=sort, limit=limit, offset=one).ids.tolist() for one in offsets]
                assert [id for page in pages for id in page] == expected
        assert index.ids("value is null").tolist() == without, "standing first is no value"


@pytest.mark.parametrize("sort", [{"absent": "highest"}, {"absent": True}])
def test_another_place_is_refused(sort):
    with pytest.raises(InvalidError, match=r"sort_fields\[0\] 'a': absent is .*; use"):
        bitdex.Schema.load({"name": "x", "config": {"sort_fields": [{"name": "a", **sort}]}})


@pytest.mark.parametrize("kind", ["string", "low_cardinality_string", "mapped_string"])
def test_texts_have_no_order(kind):
    described = {"source": "a", "target": "a", "value_type": kind}
    described |= {"string_map": {"x": 1}} if kind == "mapped_string" else {}
    content = {
        "name": "x",
        "config": {"sort_fields": [{"name": "a"}]},
        "data_schema": {"fields": [described]},
    }
    with pytest.raises(InvalidError, match=f"'{kind}' cannot be sorted: "):
        bitdex.Schema.load(content)


MOMENTS = [
    datetime.datetime(1969, 12, 31, 23, 59, 59, 500_000),
    datetime.datetime(2024, 2, 29, 12, 0, 0, 999_999),
    None,
    datetime.datetime(2031, 1, 1),
]


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_moments_are_seconds_however_they_come(tmp_path, unit):
    """Put one by one, as a table, or loaded; with a zone or without, in any unit, they are rounded down."""
    phase = {"name": "rows", "slot_field": "id", "sets_alive": True, "fields": ["value"]}
    rounded = [one and one.replace(microsecond=0) for one in MOMENTS] if unit == "s" else MOMENTS
    plain = pa.array(rounded, pa.timestamp(unit))
    zoned = plain.cast(pa.timestamp(unit, "Europe/Berlin"))
    seconds = [-1, 1709208000, None, 1924992000]
    with index_of(tmp_path / "index", "timestamp", None) as index:
        for first, array in ((0, plain), (10, zoned)):
            table = pa.table({"id": range(first, first + 4), "value": array})
            index.dump({**phase, "name": f"rows {first}"}, source={f"rows {first}": table})
        index.put_many(pa.table({"id": range(20, 24), "value": plain}))
        index.put_many(pd.DataFrame({"id": range(30, 34), "value": zoned.to_pandas()}))
        index.put_many({"id": 40 + i, "value": one} for i, one in enumerate(rounded))
        for first in range(0, 50, 10):
            found = index.get_many(range(first, first + 4))
            assert [one.get("value") for one in found] == seconds, first
        days = pa.array([datetime.date(1970, 1, 2), None], pa.date32())
        index.dump({**phase, "name": "days"}, source={"days": pa.table({"id": [50, 51], "value": days})})
        index.put({"id": 52, "value": datetime.date(1970, 1, 2)})
        assert index.ids("value == '1970-01-02'").tolist() == [50, 52]


def test_moments_are_seconds_in_a_field_without_an_order_too(tmp_path):
    phase = {"name": "rows", "slot_field": "id", "sets_alive": True, "fields": ["day"]}
    fields = [{"name": "day", "field_type": "single_value"}]
    with bitdex.create(tmp_path / "index", {"name": "x", "config": {"filter_fields": fields}}) as index:
        table = pa.table({"id": [1], "day": pa.array([datetime.date(1970, 1, 2)])})
        index.dump(phase, source={"rows": table})
        index.put({"id": 2, "day": datetime.date(1970, 1, 2)})
        assert index.ids("day == 86400").tolist() == [1, 2]
