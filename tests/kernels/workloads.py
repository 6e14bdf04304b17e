"""Random work of the whole package: silos under every rule, an index that is loaded and asked.

Everything follows from one NumPy generator, and is small: it is repeated without a compiler.
"""

import numpy as np
import pyarrow as pa
import pyarrow.csv
from pyroaring import BitMap

import bitdex
from bitdex.formats import bitmap, frame
from bitdex.formats.document import Append, Remove, encode_document
from bitdex.silo.silo import Silo
from tests.kernels import direct_calls
from tests.kernels.direct_calls import EDGES, TEXTS, random_integers, random_keys, random_slots

RULES = ("replace", "concatenate", "documents", "bitmap")


def work(seed, directory, direct=10):
    """Do one round of everything below an empty directory, and the direct calls so many times."""
    rng = np.random.default_rng(seed)
    for rule in RULES:
        work_on_silo(rng, directory / rule, rule)
    work_on_index(rng, directory / "index")
    for _ in range(direct):
        direct_calls.call_all(rng)


# silos


def work_on_silo(rng, path, rule):
    """Write, merge, delete, compact and read in random order, then look into what came out."""
    sizing = {"headroom": float(rng.uniform(1, 3)), "minimum": int(rng.integers(0, 80))}
    alignment = int(rng.choice([8, 16, 32]))
    with Silo.open(path, "w", rule, alignment=alignment, sync="none", **sizing) as silo:
        for _ in range(3):
            for _ in range(int(rng.integers(2, 6))):
                _write(rng, silo, rule)
                _read(rng, silo)
            rng.choice([silo.compact, silo.rewrite, lambda silo=silo, rule=rule: _merge(rng, silo, rule)])()
            _read(rng, silo)
        _write(rng, silo, rule)
        _look_into(silo)
    with Silo.open(path) as silo:
        _read(rng, silo)
        _look_into(silo)


def _write(rng, target, rule):
    keys = random_keys(rng)
    {
        0: lambda: target.put_many(keys, [_value(rng, rule) for _ in keys]),
        1: lambda: target.merge_many(keys, [_change(rng, rule) for _ in keys]),
        2: lambda: target.delete_many(keys[: len(keys) // 4]),
        3: lambda: _write_few(rng, target, rule, keys[:5]),
    }[int(rng.integers(4 if isinstance(target, Silo) else 3))]()


def _write_few(rng, silo, rule, keys):
    puts = [(frame.PUT, key, _value(rng, rule)) for key in keys.tolist()]
    silo.apply_few([*puts, (frame.DELETE, int(rng.integers(9)), b"")])


def _merge(rng, silo, rule):
    with silo.merge_writer() as writer:
        for _ in range(4):
            _write(rng, writer, rule)


def _read(rng, silo):
    keys = random_keys(rng)
    list(silo.get_many(keys))
    silo.find_many(keys)
    for key in keys[:3].tolist():
        silo.get(key)
    assert len(silo.keys()) == len(silo)


def _look_into(silo):
    assert not [one for one in silo.check() if one.severity == "error"]
    silo.stats()
    for shown in (silo.index_frame, silo.records_frame, silo.ops_frame):
        shown()


def _value(rng, rule):
    if rule == "documents":
        return encode_document(_document(rng))
    if rule == "bitmap":
        return bitmap.encode(_bitmap(rng))
    return rng.bytes(int(rng.integers(0, 60)))


def _change(rng, rule):
    """Return what is merged into a value."""
    if rule == "documents":
        changes = _document(rng)
        changes[6] = Append(random_integers(rng))
        changes[7] = rng.choice([Remove(random_integers(rng)), None, Append(["a", 1.5])])
        return encode_document(changes)
    if rule == "bitmap":
        ops = [(int(rng.integers(1, 3)), _bitmap(rng)) for _ in range(int(rng.integers(1, 3)))]
        return bitmap.encode_ops(ops)
    return _value(rng, rule)


def _document(rng):
    values = {
        1: int(rng.choice(np.array(EDGES))),
        2: bool(rng.integers(2)),
        3: float(rng.normal()),
        4: str(rng.choice(TEXTS)) * int(rng.integers(0, 90)),
        5: [int(value) for value in rng.integers(0, 300, int(rng.integers(0, 9)))],
        6: random_integers(rng),
        7: [1, "two", [3.5, False]],
    }
    return {field: value for field, value in values.items() if rng.integers(3)}


def _bitmap(rng):
    return BitMap(random_slots(rng))


# an index

KINDS = {"label": "low_cardinality_string", "known": "exists_boolean", "text": "string", "url": "string"}
SCHEMA = {
    "name": "random",
    "config": {
        "filter_fields": [
            {"name": "level", "field_type": "single_value"},
            {"name": "owner", "field_type": "single_value"},
            {"name": "label", "field_type": "single_value"},
            {"name": "flag", "field_type": "boolean"},
            {"name": "known", "field_type": "boolean"},
            {"name": "tags", "field_type": "multi_value"},
        ],
        "sort_fields": [
            {"name": "likes", "bits": 32},
            {"name": "moved", "bits": 64, "source_type": "int64"},
            {"name": "score", "bits": 64, "source_type": "float64"},
        ],
    },
    "data_schema": {
        "fields": [
            {"source": name, "target": name, "value_type": kind}
            | ({"doc_only": True} if kind == "string" else {})
            for name, kind in KINDS.items()
        ]
    },
}
ROWS = {
    "name": "rows",
    "slot_field": "id",
    "sets_alive": True,
    "fields": ["level", "owner", "label", "flag", "likes", "moved", "score", "text"],
    "computed_fields": [{"target": "known", "expression": "level != null"}],
    "enrichment": [{"lookup": "urls.csv", "key": "level", "join_on": "level", "fields": ["url"]}],
}
TAGS = {"name": "tags", "slot_field": "id", "fields": ["tags"]}


def work_on_index(rng, path):
    """Load tables in several phases and forms, some of them again, and ask."""
    path.mkdir()
    slots = random_slots(rng) if rng.integers(2) else np.arange(3000)
    slots = np.append(rng.permutation(slots)[: int(rng.integers(1, 400))], 70_000)
    with bitdex.create(path / "index", SCHEMA, sync="none") as index:
        for phase in (ROWS, TAGS, ROWS)[: int(rng.integers(2, 4))]:
            index.dump([phase], source=_sources(rng, path, slots))
            _ask(rng, index)
    with bitdex.open(path / "index", "r") as index:
        _ask(rng, index)
        index.check()
        index.stats()


def _sources(rng, path, slots):
    """Return the tables as Arrow tables, or write them as text."""
    rows, tagged = len(slots), rng.choice(slots, 2 * len(slots))
    if rng.integers(2):
        tagged = np.sort(tagged)
    level = rng.integers(0, 9, rows)
    table = {
        "id": slots,
        "level": pa.array(level, mask=level == 8),
        "owner": rng.choice(np.array(EDGES), rows),
        "label": rng.choice(TEXTS[:4], rows),
        "flag": rng.integers(0, 2, rows) == 1,
        "likes": rng.integers(0, int(rng.choice([3, 1 << 16, 1 << 32])), rows),
        "moved": rng.choice(np.array(EDGES), rows),
        "score": rng.choice([0.5, -1e300, 7.0, -0.0, 1e-9], rows),
        "text": rng.choice(TEXTS, rows),
    }
    tags = {"id": tagged, "tags": rng.choice(np.array([1, 2, 3, 300, 2**40, -7]), len(tagged))}
    tables = {name: pa.table(one) for name, one in (("rows", table), ("tags", tags))}
    if rng.integers(3) == 0:
        return {**tables, "urls.csv": pa.table({"level": [1, 2, 3], "url": ["u1", "u2", "u,3"]})}
    for name, one in tables.items():
        pa.csv.write_csv(one, path / f"{name}.csv")
    (path / "urls.csv").write_text('level,url\n1,u1\n2,"u\n2"\n')
    return path


def _ask(rng, index):
    """Ask for pages in every order, by filters of every kind; read documents and columns."""
    filters = (
        None,
        f"level == {rng.integers(0, 10)}",
        "tags has any [1, 300, -7] and not flag",
        f"likes >= {rng.integers(0, 70000)} or label in ['a', 'B']",
        f"moved between -5 and {rng.integers(0, 1 << 40)}",
        "score < 1 and owner is not null",
    )
    for where in rng.choice(np.array(filters, object), 3, replace=False):
        for sort in (None, "likes", "-moved", "-score", "score"):
            page = index.query(where, sort=sort, limit=int(rng.choice([1, 5, 60])))
            page.next().documents()
        index.explain(where)
        index.count(where)
    index.containers("level", int(rng.integers(0, 9)))
    index.query(None, limit=50).to_pandas()
    index.to_pandas()
    index.memory()
