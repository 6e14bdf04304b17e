"""An index of random documents, in files, in logs and by default, and the DataFrame that pandas works on."""

import numpy as np
import pandas as pd

import bitdex

SCHEMA = {
    "name": "shop",
    "config": {
        "filter_fields": [
            {"name": "kind", "field_type": "single_value"},
            {"name": "state", "field_type": "single_value"},
            {"name": "size", "field_type": "single_value"},
            {"name": "owner", "field_type": "single_value"},
            {"name": "open", "field_type": "boolean"},
            {"name": "tags", "field_type": "multi_value"},
            {"name": "marks", "field_type": "multi_value"},
        ],
        "sort_fields": [
            {"name": "price", "bits": 32},
            {"name": "delta", "bits": 64, "source_type": "int64"},
            {"name": "huge", "bits": 64},
            {"name": "score", "source_type": "float64"},
            {"name": "at", "source_type": "timestamp"},
        ],
    },
    "data_schema": {
        "fields": [
            {"source": "kind", "target": "kind", "value_type": "low_cardinality_string", "default": "none"},
            {
                "source": "state",
                "target": "state",
                "value_type": "mapped_string",
                "string_map": {"new": 1, "used": 2},
            },
            {"source": "open", "target": "open", "value_type": "boolean"},
            {"source": "marks", "target": "marks", "value_type": "integer_array", "default": [5, -9]},
            {"source": "tags", "target": "tags", "value_type": "integer_array"},
            {"source": "size", "target": "size", "value_type": "integer", "default": 3},
            {"source": "score", "target": "score", "value_type": "float"},
        ]
    },
}
NUMBERS = ["price", "delta", "huge", "score", "at"]
SINGLE = ["kind", "state", "size", "owner", "open"]
LISTS = ["tags", "marks"]
TAKEN = {
    "kind": [None, "shoe", "hat", "Ähre", ""],
    "state": [None, "new", "used"],
    "size": [None, 0, 3, 44],
    "owner": [None, 0, 7, -1, 2**63 - 1, -(2**63), 2**47],
    "open": [None, True, False],
    "price": [None, 0, 1, 99, 100, 2**32 - 1],
    "delta": [None, 0, -1, 5, 2**63 - 1, -(2**63)],
    "huge": [None, 0, 1, 2**53 + 1, 2**63 - 1],
    "score": [None, 0.0, -1.5, 0.1, 7.25, 1e300],
    "at": [None, 0, -86_401, 1_700_000_000, 1_700_086_400],
}
VALUES = [0, 1, 2, 3, 4, -9, 2**50]


def document(draw, id):
    """Return a random document; `draw` is a random.Random."""
    held = {"id": id}
    for name, values in TAKEN.items():
        value = draw.choice(values)
        if value is not None and draw.random() < 0.9:
            held[name] = value
    for name in LISTS:
        if draw.random() < 0.7:
            held[name] = draw.choices(VALUES, k=draw.randint(0, 4))  # a value may come twice
    return held


def make(path, draw, ids):
    """Return an index of random documents of which some lie in the data files, some in the logs."""
    index = bitdex.create(path, SCHEMA, sync="none")
    change(index, draw, ids)
    if draw.random() < 0.7:
        index.compact()
        index.where().quantile("price")  # what is kept of the files is used after the changes too
        index.where().facets(LISTS)
        few = draw.choice([0, 1, len(ids) // 3])
        change(index, draw, draw.sample(ids, few))
        index.delete(draw.sample(ids, few // 3), missing_ok=True)
    return index


def change(index, draw, ids):
    """Put random documents."""
    index.put_many([document(draw, id) for id in ids])


def frame_of(index):
    """Return all documents as pandas has them, by id: nulls as None, lists as lists."""
    rows = {one: index.get(one) for one in index.ids().tolist()}
    columns = [*SINGLE, *LISTS, *NUMBERS]
    return pd.DataFrame(
        {name: pd.Series([row.get(name) for row in rows.values()], dtype=object) for name in columns},
    ).set_axis(pd.Index(list(rows), dtype=np.int64, name="id"))
